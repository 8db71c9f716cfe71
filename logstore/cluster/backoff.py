"""The wait before something is tried again: longer each time, with a random part."""

from random import Random
from typing import Final

FIRST_S: Final = 0.05
MOST_S: Final = 1.0
SPREAD: Final = 0.2  # of it, either way


class Backoff:
    """The waits of one thing that is tried."""

    def __init__(self, random: Random, first_s: float = FIRST_S, most_s: float = MOST_S) -> None:
        self._random = random
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def failed(self) -> float:
        """Count a failure; returns the seconds to wait."""
        wait: float = min(self._first_s * 2**self._failures, self._most_s)
        self._failures = min(self._failures + 1, 16)
        return wait * self._random.uniform(1 - SPREAD, 1 + SPREAD)

    def succeeded(self) -> None:
        """Reset: the next failure counts as the first one."""
        self._failures = 0
