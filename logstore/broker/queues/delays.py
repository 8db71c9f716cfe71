"""Messages that have come back, and are not ready again before a time (x-delayed-retry-...)."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from logstore.broker.queues.pending import NO_TIME

DUE_MAX: Final = 1000  # that are let go at once


class Delays:
    """Of one queue. After a restart all of them are ready."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, bool]] = []  # when; lane, offset, whether it failed

    def add(self, at_ms: int, lane: int, offset: int, *, failed: bool) -> None:
        heappush(self._heap, (at_ms, lane, offset, failed))

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def deadline_ms(self) -> int:
        return self._heap[0][0] if self._heap else NO_TIME

    def due(self, now_ms: int) -> Iterator[tuple[int, int, bool]]:
        """Lane and offset of those whose time has come, whether they failed; so many at most."""
        for _ in range(DUE_MAX):
            if not self._heap or self._heap[0][0] > now_ms:
                return
            _, lane, offset, failed = heappop(self._heap)
            yield lane, offset, failed
