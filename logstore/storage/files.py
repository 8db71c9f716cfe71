"""Open files, by path, up to a maximum number; the least recently used file is closed first.

The maximum never exceeds this process's share of file descriptors (``descriptors.py``).
"""

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import TracebackType

from logstore import descriptors, forks
from logstore.errors import Closed, Forked
from logstore.storage.cold import ColdReads, NotHere
from logstore.storage.disk import ASTRAY, Buffer, Disk
from logstore.storage.in_place import is_in_place
from logstore.storage.names import LOG


class OpenFile:
    """One descriptor, and how many are using it now."""

    __slots__ = ("_files", "dirty", "doomed", "fd", "lent", "linked", "path", "uses")

    def __init__(self, files: "OpenFiles", path: str, fd: int) -> None:
        self._files, self.path, self.fd, self.uses = files, path, fd, 0
        self.lent = 0  # of the uses: those that a peer ends when it likes
        self.doomed = False  # closed when nobody uses it any more
        self.dirty = False  # written to since the last sync
        self.linked = False  # the name is a link: it is read, and never written to

    def __enter__(self) -> int:
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._files.release(self)

    def give_back(self) -> None:
        """End a use that was lent."""
        self._files.give_back(self)


class OpenFiles:
    """Open files by path.

    A dirty file is synced before it is closed to make room, because the kernel may forget a failed
    write-back with the last descriptor. If the sync fails, the next ``sync`` of the path reports
    it.
    """

    def __init__(self, disk: Disk, open_max: int, *, write: bool) -> None:
        self.disk = disk
        self.unsynced_below: str | None = None  # files in this folder are never synced
        self._open_max = descriptors.shares(open_max).files
        self._write = write
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._failed: dict[str, OSError] = {}  # by path
        self._lent = 0  # files that are lent
        # Entered again where a file that is being opened has others closed.
        self._lock = threading.RLock()
        self._closed: Closed | None = None
        self._cold: ColdReads | None = None
        self._synced_s = 0.0  # when a sync was last begun
        descriptors.keeps(self)
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: these descriptors are copies."""
        self._lock = threading.RLock()
        self._closed = error
        self._cold = None  # its thread is in the other process
        for file in self._open.values():
            self.disk.close(file.fd)
        self._open.clear()

    def never_wait_in(self, thread: int) -> None:
        """From now on, reads in this thread raise NotHere instead of waiting for the disk."""
        self._cold = ColdReads(self.disk, self.use, thread, lambda: self._synced_s)

    def must_not_wait(self) -> bool:
        """Whether this thread is the one that must not wait."""
        return self._cold is not None and self._cold.is_for_this_thread

    def check_here(self, path: str, fd: int, position: int, size: int) -> None:
        """Raises NotHere if reading these bytes would wait."""
        assert self._cold is not None, "else nobody asks"
        self._cold.check(path, fd, position, size)

    def fetch(self, missing: NotHere, done: Callable[[], None]) -> None:
        """Read the bytes in another thread, which then calls ``done``."""
        assert self._cold is not None, "nothing else raises NotHere"
        self._cold.fetch(missing, done)

    def use(self, path: str, *, create: bool = False) -> OpenFile:
        """``with files.use(path) as fd``: open and not closed by others meanwhile.

        ``create``: the file will be written, and is created if it does not exist. A .log file that
        is a link is only read. Raises Closed after ``close``, because nothing would close the file;
        OSError.
        """
        with self._lock:
            if self._closed is not None:
                raise self._closed
            file = self._open.get(path)
            if file is None:
                file = self._open[path] = self._opened(path, create=create)
                self._close_surplus()
            else:
                self._open.move_to_end(path)
            if create:
                _check_writable(file)
            file.uses += 1
            return file

    def _opened(self, path: str, *, create: bool) -> OpenFile:
        try:
            return OpenFile(self, path, self.disk.open(path, write=self._write, create=create))
        except OSError as error:
            # An operator may keep what is sealed elsewhere; nobody has a reason to with an index.
            if error.errno != errno.ELOOP or create or not path.endswith(LOG):
                raise
        file = OpenFile(self, path, self.disk.open(path))
        file.linked = True
        return file

    def release(self, file: OpenFile) -> None:
        with self._lock:
            file.uses -= 1
            if file.doomed and not file.uses:
                self._close(file)

    def lend(self, file: OpenFile) -> bool:
        """Hand a use over to a slow peer, until ``give_back``.

        Returns False, and the use stays with the caller, if half of the maximum number of files is
        lent: peers that do not read keep files open, even removed ones.
        """
        with self._lock:
            if not file.lent:
                if self._lent >= self._open_max // 2:
                    return False
                self._lent += 1
            file.lent += 1
            return True

    def give_back(self, file: OpenFile) -> None:
        with self._lock:
            file.lent -= 1
            if not file.lent:
                self._lent -= 1
            self.release(file)

    def _close_surplus(self) -> None:
        while len(self._open) > self._open_max:
            self._retire(self._open.popitem(last=False)[1])

    def close_idle(self) -> bool:
        """As Keeper.close_idle: half of them, the least recently used."""
        if not self._lock.acquire(blocking=False):
            return False  # it is being changed by another thread
        try:
            idle = [path for path, file in self._open.items() if not file.uses]
            for path in idle[: len(idle) // 2 + 1]:
                self._retire(self._open.pop(path))
            return bool(idle)
        finally:
            self._lock.release()

    def _retire(self, file: OpenFile) -> None:
        file.doomed = True
        if not file.uses:
            self._close(file)

    def _close(self, file: OpenFile) -> None:
        unsynced = self.unsynced_below
        if file.dirty and not (unsynced and file.path.startswith(unsynced)):
            try:
                self.disk.sync(file.fd)
            except OSError as error:
                self._failed[file.path] = error
        self.disk.close(file.fd)

    def forget(self, path: str) -> None:
        """Close a file that was or will be removed or replaced."""
        with self._lock:
            self._forget(path)

    def forget_below(self, directory: str) -> None:
        """As ``forget``, for all files of a directory."""
        prefix = directory + "/"
        with self._lock:
            for path in [*self._open, *self._failed]:
                if path.startswith(prefix):
                    self._forget(path)

    def _forget(self, path: str) -> None:
        self._failed.pop(path, None)
        file = self._open.pop(path, None)
        if file is not None:
            file.dirty = False
            self._retire(file)

    def close(self) -> None:
        """Close all files. The sync of files that are still dirty was never reported."""
        if self._cold is not None:
            self._cold.close()
        with self._lock:
            self._closed = self._closed or Closed("the store is closed")
            while self._open:
                self._forget(next(iter(self._open)))

    def in_place(self, path: str) -> bool:
        """Whether the file is still at the path at which it was opened. Raises OSError."""
        with self.use(path) as fd:
            return is_in_place(self.disk, fd, path)

    def stands(self, path: str) -> bool:
        """Whether the file exists, and is the open one if it is open; opens none.

        True if that is unknown.
        """
        with self._lock:
            file = self._open.get(path)
            if file is not None:
                file.uses += 1
        if file is not None:
            with file as fd:
                return is_in_place(self.disk, fd, path)
        try:
            self.disk.identity(path)
        except OSError as error:
            return error.errno not in ASTRAY
        return True

    def read(self, path: str, size: int, position: int) -> bytes:
        with self.use(path) as fd:
            return self.disk.read(fd, size, position)

    def write(self, path: str, buffers: Sequence[Buffer], position: int) -> None:
        """Write all buffers, in one call unless the disk is full. Raises OSError."""
        size = sum(map(len, buffers))
        file = self.use(path, create=True)
        with file as fd:
            file.dirty = True
            written = self.disk.write(fd, buffers, position)
            while written < size:  # the call after a short one tells why
                rest = b"".join(buffers)[written:]
                more = self.disk.write(fd, [rest], position + written)
                if not more:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                written += more

    def forget_cached(self, path: str, position: int) -> None:
        """Make reads from ``position`` on come from the disk. Raises OSError."""
        with self.use(path) as fd:
            self.disk.sync(fd)  # only what is clean can be dropped
            self.disk.drop_cached(fd, position)

    def truncate(self, path: str, size: int) -> None:
        file = self.use(path)
        with file as fd:
            _check_writable(file)
            file.dirty = True
            self.disk.truncate(fd, size)

    def sync(self, path: str) -> None:
        """Sync the file. Raises OSError, also for a failed sync when the file was closed."""
        with self.use(path) as fd:
            self.syncing(path)
            self.disk.sync(fd)

    def syncing(self, path: str) -> None:
        """The file is about to be synced; a write meanwhile makes it dirty again.

        Raises OSError if an earlier sync failed when the file was closed.
        """
        if path in self._failed:
            raise self._failed[path]
        self._synced_s = time.monotonic()
        file = self._open.get(path)
        if file is not None:
            file.dirty = False


def _check_writable(file: OpenFile) -> None:
    """Raises OSError."""
    if file.linked:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), file.path)
