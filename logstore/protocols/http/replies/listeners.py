"""All listeners to events, and how many bytes each of them may leave unread."""

from typing import Final

from logstore.http.faults import UNAVAILABLE, Fault
from logstore.protocols.http.replies.flows import UNREAD_BYTES_MAX, Unread

LISTENERS_MAX: Final = 2000  # tabs of browsers; each has a connection besides
TOGETHER_BYTES_MAX: Final = 64 << 20  # that all may leave unread


class Listeners:
    """The listeners of one door."""

    def __init__(self) -> None:
        self._all: set[Unread] = set()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, now: float) -> Unread:
        """One more. Raises Fault."""
        if len(self._all) >= LISTENERS_MAX:
            raise Fault(UNAVAILABLE, f"{LISTENERS_MAX} listen to events already: try again later")
        found = Unread(now, self._bytes_max)
        self._all.add(found)
        return found

    def remove(self, it: Unread) -> None:
        """It is gone."""
        self._all.discard(it)

    def _bytes_max(self) -> int:
        share = TOGETHER_BYTES_MAX // max(len(self._all), 1)
        return min(share, UNREAD_BYTES_MAX)
