"""Consecutive messages of one lane, delivered together."""

from typing import Final, NamedTuple

from logstore.broker.queues.lane import Lane
from logstore.records.record import Record

TAKEN_BYTES: Final = 1 << 20  # of bodies that are given out at once, beside the first


class Chunk(NamedTuple):
    """Consecutive messages that are delivered together."""

    lane: Lane
    first: int
    records: list[Record]
    redelivered: bool
    expired: bool
