"""A stretch of records that were looked at without decoding them, and found whole."""

from typing import NamedTuple


class Stretch(NamedTuple):
    """Neighbours in a batch."""

    records: int
    end: int  # where the last of them ends
    least: int  # timestamp deltas
    most: int
    keyless: bool  # all of them, or none
