"""System calls that not every system has: each follows its rule in ``platforms.py``.

Errors are OSError, as those of ``os`` are.
"""

import ctypes
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from struct import Struct
from typing import Final

from logstore import platforms

Buffer = bytes | bytearray | memoryview

PATH_ONLY: Final = getattr(os, "O_PATH", os.O_RDONLY)  # to take paths from; nothing is read by it
MSG_MORE: Final = getattr(socket, "MSG_MORE", 0)

_F_FULLFSYNC: Final = 51  # fcntl.h of macOS
_OFD_GETLK, _OFD_SETLK, _OFD_SETLKW = 36, 37, 38  # fcntl.h of Linux
_FLOCK: Final = Struct("hhqqi0q")  # struct flock: type, whence, start, length (0: all), pid
_SOCKET_PATH_BYTES: Final = 103  # of sun_path, which has 104 bytes on macOS and 108 on Linux
_SHORT: Final = "/tmp"  # TMPDIR of macOS has 50 bytes itself
_ZEROS: Final = bytes(64 << 10)
_SENT_BYTES: Final = 256 << 10  # through memory, in one call
# A process that tests a flock holds it for microseconds.
_TRIES: Final = 6
_TRY_S: Final = 0.001


# Syncing


def sync(fd: int) -> None:
    """Have the data of a file on the platter, and its size."""
    if platforms.FDATASYNC.there:
        os.fdatasync(fd)
    else:
        sync_whole(fd)


def sync_whole(fd: int) -> None:
    """The same of a directory; of a file with all that is known of it."""
    if platforms.MACOS:
        fcntl.fcntl(fd, _F_FULLFSYNC)
    else:
        os.fsync(fd)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Have the names in it on the platter."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_whole(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> None:
    """Sync all that is dirty on the file system of ``fd``; only where ``SYNCFS`` is there."""
    assert platforms.SYNCFS.there
    if _syncfs()(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _syncfs() -> "ctypes._NamedFuncPointer":
    # CDLL, not PyDLL: the call must release the interpreter lock.
    return ctypes.CDLL(None, use_errno=True).syncfs


# Reading and writing


def read_into(fd: int, room: bytearray, position: int) -> int:
    """Fill ``room`` as far as the file goes; how many bytes were read."""
    if platforms.PREADV.there:
        return os.preadv(fd, [room], position)
    data = os.pread(fd, len(room), position)
    room[: len(data)] = data
    return len(data)


def are_cached(fd: int, positions: Iterable[int]) -> bool:
    """Whether the bytes there can be read without the device. True, too, if that can't be told."""
    if not platforms.PREADV2.there:
        return True
    room = [bytearray(1)]
    try:
        for position in positions:
            os.preadv(fd, room, position, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return True


def write(fd: int, buffers: Sequence[Buffer], position: int) -> int:
    """All the buffers in one call; fewer bytes than given means that space ran out.

    At most IOV_MAX of them (1024).
    """
    if platforms.PREADV.there:
        return os.pwritev(fd, buffers, position)
    return os.pwrite(fd, b"".join(buffers), position)


def drop_cached(fd: int, position: int) -> None:
    """Have clean pages from ``position`` on read from the device again, where that can be said."""
    if platforms.POSIX_FADVISE.there:
        os.posix_fadvise(fd, position, 0, os.POSIX_FADV_DONTNEED)


def allocate(fd: int, size: int) -> None:
    """Make the file at least so long, with zeros; what is in it stays, whoever writes meanwhile."""
    if platforms.POSIX_FALLOCATE.there:
        os.posix_fallocate(fd, 0, size)
        return
    before = fcntl.fcntl(fd, fcntl.F_GETFL)
    # Appended, never written at a place: another process may have made it longer meanwhile.
    fcntl.fcntl(fd, fcntl.F_SETFL, before | os.O_APPEND)
    try:
        while (lacking := size - os.fstat(fd).st_size) > 0:
            os.write(fd, memoryview(_ZEROS)[:lacking])
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, before)


def send_file(to: int, fd: int, position: int, size: int) -> int:
    """Some of a file into a socket; how many bytes. 0: the file ends before ``position``."""
    if platforms.SENDFILE.there:
        return os.sendfile(to, fd, position, size)
    data = os.pread(fd, min(size, _SENT_BYTES), position)
    return os.write(to, data) if data else 0


def open_nameless(directory: str) -> int:
    """A new file to be written, which goes as it is closed."""
    if platforms.O_TMPFILE.there:
        return os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    path = f"{directory}/.logstore-{os.getpid()}"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


# Locks: of the open file, so that two of one process exclude each other, and none is lost when
# somebody else in the process closes the file.


def lock(fd: int) -> bool:
    """Take the whole-file lock for this open file; False where another has it."""
    if platforms.OFD_LOCKS.there:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(fd, _OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError):
            return False
        return True
    for tries_left in reversed(range(_TRIES)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tries_left:
                time.sleep(_TRY_S)
        else:
            return True
    return False


def share(fd: int) -> None:
    """Take a lock that others may share, but for those of ``lock``; waits for one of these."""
    if platforms.OFD_LOCKS.there:
        fcntl.fcntl(fd, _OFD_SETLKW, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
    else:
        fcntl.flock(fd, fcntl.LOCK_SH)


def is_locked(fd: int) -> bool:
    """Whether another has locked the file; nothing is locked by this open file itself.

    Takes nothing that is kept: who wants the lock now still gets it.
    """
    if platforms.OFD_LOCKS.there:
        return _is_locked(fd, _OFD_GETLK, 0, 0)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def are_locked(fd: int, start: int, length: int) -> bool:
    """Whether another process has locked any of these bytes, as LMDB does.

    False where it can't be told: only Linux has namespaces that make it worth asking.
    """
    if not platforms.LINUX:
        return False
    asked = _OFD_GETLK if platforms.OFD_LOCKS.there else fcntl.F_GETLK
    return _is_locked(fd, asked, start, length)


def _is_locked(fd: int, asked: int, start: int, length: int) -> bool:
    found = fcntl.fcntl(fd, asked, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK


# Paths


def path_in(fd: int, name: str) -> str | None:
    """A path to what has this name in an open directory, wherever that is; None: none is known."""
    return f"/proc/self/fd/{fd}/{name}" if platforms.PROC.there else None


@contextmanager
def socket_path(fd: int, path: str) -> Iterator[str]:
    """The same file by a path that fits into a socket's address. ``fd``: of its directory.

    Raises OSError; ESTALE where another directory has got the name of that one.
    """
    directory, name = os.path.split(os.path.abspath(path))
    by_fd, by_name = path_in(fd, name), f"{directory}/{name}"
    if by_fd is not None:
        yield by_fd
        return
    if not os.path.samestat(os.stat(directory), os.fstat(fd)):
        raise OSError(errno.ESTALE, "another directory has got its name", path)
    if len(os.fsencode(by_name)) <= _SOCKET_PATH_BYTES:
        yield by_name
        return
    from tempfile import TemporaryDirectory  # rarely needed, and slow to import

    with TemporaryDirectory(dir=_SHORT) as beside:
        link = f"{beside}/d"
        os.symlink(directory, link)
        yield f"{link}/{name}"
