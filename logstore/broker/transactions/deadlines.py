"""Names with a time each: which of them have expired. Pure."""

from heapq import heapify, heappop, heappush
from typing import Final

_SPARE: Final = 64  # void entries are kept up to this many


class Deadlines:
    """Times of one monotonic clock."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []  # with those that were dropped since

    def __len__(self) -> int:
        return len(self._at)

    def set(self, name: str, at: int) -> None:
        """Set the deadline of this name."""
        self._at[name] = at
        heappush(self._heap, (at, name))
        if len(self._heap) > 2 * len(self._at) + _SPARE:
            self._heap = [(at, name) for name, at in self._at.items()]
            heapify(self._heap)

    def drop(self, name: str) -> None:
        """Remove the deadline of this name."""
        self._at.pop(name, None)

    @property
    def next(self) -> int | None:
        """The earliest deadline; None: there is none."""
        self._tidy()
        return self._heap[0][0] if self._heap else None

    def due(self, now: int) -> str | None:
        """Remove and return a name whose deadline has passed; None: there is none."""
        self._tidy()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, name = heappop(self._heap)
        del self._at[name]
        return name

    def _tidy(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
