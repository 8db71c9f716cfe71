"""A stretch of records that were checked without decoding them, and found intact."""

from typing import NamedTuple


class Stretch(NamedTuple):
    """Neighbouring records of a batch."""

    records: int
    end: int  # where the last of them ends
    least: int  # timestamp deltas
    most: int
    keyless: bool  # all of them, or none
