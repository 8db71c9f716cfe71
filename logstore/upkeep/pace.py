"""Limits work to a number of bytes a second, averaged over the last moments."""

import time
from collections.abc import Callable
from typing import Final

_LOOK_BYTES: Final = 1 << 20  # the clock is looked at that often
_CREDIT_S: Final = 0.25  # what was not used longer ago is lost, so that no burst follows a rest


class Pace:
    """Waits when more bytes are reported than the pace allows; -1 allows any number."""

    def __init__(
        self,
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock, self._sleep = clock, sleep
        self._due_s = clock()  # when what was spent so far is paid for
        self._unpaid = 0

    def spend(self, size: int) -> None:
        """Report that this many bytes were read or written."""
        self._unpaid += size
        if self._rate < 0 or self._unpaid < _LOOK_BYTES:
            return
        now = self._clock()
        self._due_s = max(self._due_s, now - _CREDIT_S) + self._unpaid / self._rate
        self._unpaid = 0
        if self._due_s > now:
            self._sleep(self._due_s - now)
