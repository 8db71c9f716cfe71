"""Reads that would wait for the disk, done in a separate thread.

A server reads logs in the thread that serves all connections. To read data from the page cache,
this thread only copies it; a read from the disk would delay every connection. So the thread first
checks the page cache. If data is missing, a worker reads it into the page cache, and then the log's
watchers are told.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from logstore.errors import LogstoreError
from logstore.storage.disk import Disk

# Appends wait for the same disk. Beside one thread that reads 1 MiB after the other (1.1 GB/s) a
# sync took 5 ms in place of 0.3, beside two 12; with these pauses, at 300 MB/s, what it does alone.
PIECE_BYTES: Final = 256 << 10
PAUSE_S: Final = 0.0005  # after a piece, while others sync
SYNCING_S: Final = 0.1  # who has synced so recently will again
# The kernel reads ahead by 128 KiB or more, and evicts what is old, neighbours together.
PROBE_EVERY: Final = 128 << 10

log = logging.getLogger("logstore.storage")

Place = tuple[str, int, int]  # a file's path, a position in it, bytes
PLACES_KEPT: Final = 1000  # fetched for readers who may be gone


class NotHere(Exception):
    """The bytes are not in the page cache, and this thread must not wait for them."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class ColdReads:
    """Reads for one thread that must not wait; other threads read directly."""

    def __init__(
        self,
        disk: Disk,
        use: Callable[[str], AbstractContextManager[int]],
        thread: int,
        synced_s: Callable[[], float],
    ) -> None:
        """``use(path)`` opens a file; ``thread`` is the one that must not wait.

        ``synced_s()``: when files were last synced, by ``time.monotonic``.
        """
        self._synced_s = synced_s
        self._disk = disk
        self._use = use
        self._thread = thread
        self._asked: deque[Place] = deque()
        # The callbacks, each called once: a topic that is created again has the paths of the old
        # one.
        self._waiting: dict[Place, dict[Callable[[], None], None]] = {}
        # What was fetched is read at the next try, come what may: under memory pressure it might
        # be gone again, for ever.
        self._fetched: set[Place] = set()
        self._more = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="cold-reads", daemon=True)
        self._worker.start()

    @property
    def is_for_this_thread(self) -> bool:
        return threading.get_ident() == self._thread

    def check(self, path: str, fd: int, position: int, size: int) -> None:
        """Raises NotHere."""
        place = (path, position, size)
        if place in self._fetched:
            self._fetched.discard(place)
        elif not self._disk.cached(fd, position, size, PROBE_EVERY):
            raise NotHere(place)

    def fetch(self, missing: NotHere, done: Callable[[], None]) -> None:
        """Read these bytes in the worker; ``done`` is called, from another thread, when they are
        cached.
        """
        with self._more:
            waiting = self._waiting.setdefault(missing.place, {})
            if not waiting:
                self._asked.append(missing.place)
                self._more.notify()
            waiting[done] = None

    def _work(self) -> None:
        room = bytearray(PIECE_BYTES)
        while True:
            with self._more:
                self._more.wait_for(lambda: self._asked or self._closed)
                if self._closed:
                    return
                place = self._asked.popleft()
            try:  # whoever asked tries again, and is told what is wrong
                self._read(place, room)
            except (OSError, LogstoreError) as error:
                log.debug("%s: %s", place[0], error)
            except Exception:
                log.exception("a bug in reading %s", place[0])
            with self._more:
                waiting = self._waiting.pop(place)
                if len(self._fetched) >= PLACES_KEPT:
                    self._fetched.clear()
                self._fetched.add(place)
            for done in waiting:
                try:
                    done()
                except Exception:  # all others would wait for ever
                    log.exception("a bug in telling of what was read of %s", place[0])

    def _read(self, place: Place, room: bytearray) -> None:
        path, position, size = place
        with self._use(path) as fd:
            end = position + size
            while position < end and not self._closed:
                read = self._disk.read_into(fd, room, position)
                if not read:
                    return
                position += read
                if time.monotonic() - self._synced_s() < SYNCING_S:
                    time.sleep(PAUSE_S)

    def close(self) -> None:
        """Stop the worker; no more reads follow."""
        with self._more:
            self._closed = True
            self._more.notify_all()
        self._worker.join()
