"""The length of the turns of the sessions' thread: the delay that one client may cause for others.

Only figures; ``turn.py`` measures them.
"""

from bisect import bisect_left
from typing import Final

# The upper ends of the histogram's columns; the last one has none. No request is to take 50 ms.
COLUMNS_MS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000)
_SHORT_S: Final = COLUMNS_MS[0] / 1000


class Turns:
    """The turns of one process since it began to serve."""

    __slots__ = ("columns", "count", "gap_s", "gaps", "longest_s", "total_s")

    def __init__(self) -> None:
        self.count = 0
        self.total_s = self.longest_s = 0.0
        self.columns = [0] * (len(COLUMNS_MS) + 1)
        self.gaps = 0  # times in which nobody was heard, and how long they were together
        self.gap_s = 0.0

    def add(self, length_s: float) -> None:
        """A turn is over."""
        self.count += 1
        self.total_s += length_s
        if length_s > self.longest_s:
            self.longest_s = length_s
        if length_s <= _SHORT_S:  # as most are
            self.columns[0] += 1
        else:
            self.columns[bisect_left(COLUMNS_MS, length_s * 1000)] += 1

    def forget_longest(self) -> None:
        """Begin anew to look for the longest."""
        self.longest_s = 0.0

    def add_gap(self, length_s: float) -> None:
        """The thread did not run for so long, or was in one turn."""
        self.gaps += 1
        self.gap_s += length_s

    def histogram(self) -> str:
        """``0.1ms=90,...``: how many turns took at most so long, and longer than before."""
        names = [*(f"{it}ms" for it in COLUMNS_MS), "more"]
        return ",".join(f"{name}={n}" for name, n in zip(names, self.columns, strict=True))
