"""A histogram with fixed columns."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

# The upper ends of columns; the last column has none.
SYNC_MS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000)
# As RabbitMQ has them, so that what shows its metrics shows ours.
MESSAGE_BYTES: Final = (
    100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000,
)  # fmt: skip


class Histogram:
    """Written by one thread at a time; read from any thread."""

    __slots__ = ("columns", "count", "ends", "total")

    def __init__(self, ends: Sequence[float]) -> None:
        """``ends``: the upper ends of its columns, rising; what is larger has a column more."""
        self.ends = ends
        self.columns = [0] * (len(ends) + 1)
        self.count = 0
        self.total: float = 0  # of all that was measured

    def add(self, measured: float, times: int = 1) -> None:
        """It was so large, so many times."""
        self.columns[bisect_left(self.ends, measured)] += times
        self.count += times
        self.total += measured * times

    def upto(self) -> list[int]:
        """How many were at most as large as each end, and how many there are in all."""
        found, sum_ = [], 0
        for column in self.columns:
            sum_ += column
            found.append(sum_)
        return found
