"""Counters of the space of topics."""

from dataclasses import dataclass


@dataclass(slots=True)
class SpaceCounts:
    """The counters since the server started."""

    no_topics: int = 0  # look-ups of names from other doors that are not MQTT topics
    no_keys: int = 0  # messages whose topic is too long for a routing key
    full: int = 0  # messages that a queue had no room for
    unkept: int = 0  # messages that a channel's history did not take
