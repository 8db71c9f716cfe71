"""Returned messages that are not ready again before a certain time (x-delayed-retry-...)."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from logstore.broker.queues.pending import NO_TIME

DUE_MAX: Final = 1000  # messages that are let go at once, beside the last group


class Delayed(NamedTuple):
    """Messages of one lane: ``first + n`` for each bit n of ``bits``."""

    at_ms: int
    lane: int
    first: int
    bits: int
    failed: bool


class Delays:
    """The delayed messages of one queue. After a restart, all of them are ready."""

    def __init__(self) -> None:
        self._heap: list[Delayed] = []
        self._total = 0

    def add(self, delayed: Delayed) -> None:
        heappush(self._heap, delayed)
        self._total += delayed.bits.bit_count()

    def __len__(self) -> int:
        return self._total

    @property
    def deadline_ms(self) -> int:
        return self._heap[0].at_ms if self._heap else NO_TIME

    def due(self, now_ms: int) -> Iterator[Delayed]:
        """Yield the messages whose time has come, up to a maximum."""
        left = DUE_MAX
        while left > 0 and self._heap and self._heap[0].at_ms <= now_ms:
            delayed = heappop(self._heap)
            count = delayed.bits.bit_count()
            self._total -= count
            left -= count
            yield delayed
