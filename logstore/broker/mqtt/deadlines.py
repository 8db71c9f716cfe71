"""Deadlines of numbers, such as session numbers. Pure.

Only numbers are stored, so that a removed object is freed immediately, however distant its deadline
is.
"""

from heapq import heapify, heappop, heappush
from typing import Final

STALE_MAX: Final = 1000  # entries that no deadline has any more, beside as many as there are


class Deadlines:
    """Each number has at most one deadline."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, number: int, at_ms: int) -> None:
        """Set the deadline of this number, which replaces an earlier one."""
        if self._at.get(number) == at_ms:
            return
        self._at[number] = at_ms
        heappush(self._heap, (at_ms, number))
        self._tidy()

    def forget(self, number: int) -> None:
        """Remove the deadline of this number. Has no effect if it has none."""
        if self._at.pop(number, None) is not None:
            self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._at) + STALE_MAX:
            self._heap = [(at_ms, number) for number, at_ms in self._at.items()]
            heapify(self._heap)

    @property
    def next_ms(self) -> int | None:
        """The earliest deadline; None: there is none."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int, most: int) -> list[int]:
        """Remove and return up to ``most`` numbers whose deadlines have passed, earliest first."""
        found: list[int] = []
        while len(found) < most and (at_ms := self.next_ms) is not None and at_ms <= now_ms:
            number = heappop(self._heap)[1]
            del self._at[number]
            found.append(number)
        return found
