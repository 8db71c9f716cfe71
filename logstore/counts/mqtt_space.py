"""What happens in the space of topics, and is told to nobody else."""

from dataclasses import dataclass


@dataclass(slots=True)
class SpaceCounts:
    """Since the process began."""

    no_topics: int = 0  # names from other doors that are no topics, when they were looked at
    no_keys: int = 0  # messages whose topic is too long for a routing key
    full: int = 0  # messages that a queue had no room for
    unkept: int = 0  # messages that a channel's history did not take
