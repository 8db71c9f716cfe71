"""Open files, by path: at most so many at once, the least recently used closed first."""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType

from logstore.errors import Closed
from logstore.storage.disk import Buffer, Disk


class _OpenFile:
    """One descriptor, and how many calls are using it now."""

    __slots__ = ("_files", "doomed", "fd", "uses")

    def __init__(self, files: "OpenFiles", fd: int) -> None:
        self._files, self.fd, self.uses, self.doomed = files, fd, 0, False

    def __enter__(self) -> int:
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._files.release(self)


class OpenFiles:
    """Files used by path. A dirty file may be closed: a sync through any descriptor syncs it."""

    def __init__(self, disk: Disk, open_max: int, *, write: bool) -> None:
        self.disk = disk
        self._open_max = open_max
        self._write = write
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def use(self, path: str, *, create: bool = False) -> _OpenFile:
        """``with files.use(path) as fd``: open and not closed by others meanwhile.

        Raises Closed after ``close``: what is opened then nobody would close.
        """
        with self._lock:
            if self._closed:
                raise Closed(f"{path}: the store is closed")
            file = self._open.get(path)
            if file is None:
                fd = self.disk.open(path, write=self._write, create=create)
                file = self._open[path] = _OpenFile(self, fd)
                self._close_surplus()
            else:
                self._open.move_to_end(path)
            file.uses += 1
            return file

    def release(self, file: _OpenFile) -> None:
        with self._lock:
            file.uses -= 1
            if file.doomed and not file.uses:
                self.disk.close(file.fd)

    def _close_surplus(self) -> None:
        while len(self._open) > self._open_max:
            _, oldest = self._open.popitem(last=False)
            self._retire(oldest)

    def _retire(self, file: _OpenFile) -> None:
        file.doomed = True
        if not file.uses:
            self.disk.close(file.fd)

    def forget(self, path: str) -> None:
        """The file was or will be removed, or replaced: close it."""
        with self._lock:
            file = self._open.pop(path, None)
            if file is not None:
                self._retire(file)

    def forget_below(self, directory: str) -> None:
        """As ``forget``, for all files of a directory."""
        prefix = directory + "/"
        with self._lock:
            for path in [path for path in self._open if path.startswith(prefix)]:
                self._retire(self._open.pop(path))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._open:
                self._retire(self._open.popitem()[1])

    def read(self, path: str, size: int, position: int) -> bytes:
        with self.use(path) as fd:
            return self.disk.read(fd, size, position)

    def write(self, path: str, buffers: Sequence[Buffer], position: int) -> None:
        """All the buffers, in one call unless the disk fills up. Raises OSError."""
        size = sum(map(len, buffers))
        with self.use(path, create=True) as fd:
            written = self.disk.write(fd, buffers, position)
            while written < size:  # the call after a short one tells why
                rest = b"".join(buffers)[written:]
                more = self.disk.write(fd, [rest], position + written)
                if not more:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                written += more

    def truncate(self, path: str, size: int) -> None:
        with self.use(path) as fd:
            self.disk.truncate(fd, size)

    def sync(self, path: str) -> None:
        with self.use(path) as fd:
            self.disk.sync(fd)
