"""The next deadline of each group."""

import heapq
from collections.abc import Callable
from typing import Final

STALE_MAX: Final = 64  # entries that are not valid any more, beside as many as there are groups


class Timetable:
    """One time for each group, in ms."""

    def __init__(self, told: Callable[[int], None]) -> None:
        """``told(at_ms)`` is called when the earliest time becomes earlier."""
        self._told = told
        self._heap: list[tuple[int, str]] = []  # a time may be too early, never too late
        self._at_ms: dict[str, int] = {}  # the valid entries of the heap

    def __contains__(self, name: object) -> bool:
        return name in self._at_ms

    def __len__(self) -> int:
        return len(self._at_ms)

    def first_ms(self) -> int | None:
        """Return the earliest time; None: there is none."""
        while self._heap and self._at_ms.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self) -> str:
        """Remove and return the name whose time ``first_ms`` has just returned."""
        name = heapq.heappop(self._heap)[1]
        del self._at_ms[name]
        return name

    def put(self, name: str, at_ms: int | None) -> None:
        """Set the time of this name; None: it has none."""
        if at_ms is None:
            self._at_ms.pop(name, None)
        elif self._at_ms.get(name) != at_ms:
            self._at_ms[name] = at_ms
            heapq.heappush(self._heap, (at_ms, name))
            if self._heap[0] == (at_ms, name):
                self._told(at_ms)
            if len(self._heap) > 2 * len(self._at_ms) + STALE_MAX:
                self._heap = [(its_ms, it) for it, its_ms in self._at_ms.items()]
                heapq.heapify(self._heap)
