"""What becomes of the records that share groups give up on."""

from dataclasses import dataclass


@dataclass(slots=True)
class ShareCounts:
    """Since the process began."""

    dead_letters: int = 0  # that are in a dead-letter topic
    dropped: int = 0  # records of groups with such a topic that are done with, and have none
