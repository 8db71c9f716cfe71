"""The memory of values that are being downloaded, bounded for all together."""

from collections.abc import Callable
from typing import Final

from logstore.http.faults import UNAVAILABLE, Fault

BYTES_MAX: Final = 256 << 20  # of all; one alone may be larger


class Downloads:
    """The downloads of one door."""

    def __init__(self) -> None:
        self.bytes = 0

    def begin(self, size: int, at_end: Callable[[Callable[[], object]], object]) -> None:
        """One more is held, until ``at_end`` makes the call that it is given. Raises Fault."""
        if self.bytes and self.bytes + size > BYTES_MAX:
            raise Fault(UNAVAILABLE, "too much is being downloaded: try again later")
        self.bytes += size
        at_end(lambda: self._end(size))

    def _end(self, size: int) -> None:
        self.bytes -= size
