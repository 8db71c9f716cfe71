"""Counters of records that share groups give up on."""

from dataclasses import dataclass


@dataclass(slots=True)
class ShareCounts:
    """The counters since the server started."""

    dead_letters: int = 0  # written to a dead-letter topic
    dropped: int = 0  # settled without one, in groups with such a topic
