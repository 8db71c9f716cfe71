"""Bounds the memory of all windows of a process, and chooses the window that forgets ids.

The largest window forgets. So an unused window does not keep others small forever, and a user of
few ids loses none to a user of many.
"""

import logging
import threading
from typing import Final, TypeVar
from weakref import WeakSet

from logstore.broker.deduplication.window import CHUNK, ID_COST, Held

SPARE_PART: Final = 32  # so much is made free beyond: to count all windows takes long

_Held = TypeVar("_Held", bound=Held)

log: Final = logging.getLogger("logstore.deduplication")


class Room:
    """The memory of one store's windows. From any thread; the caller holds no window's lock."""

    def __init__(self, bytes_max: int) -> None:
        """As ``deduplication.memory.bytes``."""
        self.forgotten = 0  # ids, before their time was over
        self._most = max(CHUNK, bytes_max // ID_COST)  # ids
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._windows: WeakSet[Held] = WeakSet()
        self._ids = 0  # at most so many, since they were counted last
        self._told = False

    def enter(self, window: _Held) -> _Held:
        """Add a window, whose memory counts here."""
        with self._lock:
            self._windows.add(window)
            self._ids += len(window)
        return window

    @property
    def bytes(self) -> int:
        """The approximate memory of all windows."""
        with self._lock:
            return ID_COST * sum(map(len, self._windows))

    def came(self, count: int) -> None:
        """Count new ids of some window; forget old ones if there are too many."""
        with self._lock:
            self._ids += count
            if self._ids <= self._most:
                return
            there = sum(map(len, self._windows))
            if there > self._most:
                while there > self._most - self._most // SPARE_PART:
                    there -= self._make_room()
            self._ids = there

    def _make_room(self) -> int:
        largest = max(self._windows, key=len)
        with largest.lock:
            count = min(CHUNK, len(largest))
            largest.forget(count)
        self.forgotten += count
        if not self._told:
            self._told = True
            log.warning(
                "more ids are to be remembered than fit into deduplication.memory.bytes, %d: the "
                "oldest are forgotten before their time is over, and what is sent again after that "
                "is stored twice: raise it, or make the windows shorter", self._bytes_max,
            )  # fmt: skip
        return count
