"""The file system: every call of logstore that touches it, and nothing else.

Storage takes a ``Disk`` as an argument, so that a test can pass one that forgets what was not
synced, fails at the Nth call, or is full. Errors stay OSError here; ``refusal`` translates them.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from struct import Struct

from logstore.descriptors import opened
from logstore.errors import Failed, LogstoreError, ReadOnly, StorageFull

Buffer = bytes | bytearray | memoryview

_LOCK = Struct("hhqqi0q")  # struct flock: type, whence, start, length (0: all that follows), pid

_CACHED_AT_ONCE = 2 << 20  # the largest page; one is dropped as a whole or not at all

# os.pwritev takes at most IOV_MAX (1024) buffers.
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_SYNCABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}  # a directory
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}


class Disk:
    """The real one."""

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        # Not blocking: a pipe of that name, which somebody has put there, must hold up nobody.
        flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDWR if write else os.O_RDONLY)
        # A link that somebody has put there must not have us make, or empty, a file elsewhere.
        flags |= os.O_CREAT | os.O_NOFOLLOW if create else 0
        return opened(lambda: os.open(path, flags, 0o644))

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size: int, position: int) -> bytes:
        """Up to ``size`` bytes: fewer at the end of the file."""
        return os.pread(fd, size, position)

    def read_into(self, fd: int, room: bytearray, position: int) -> int:
        """Fill ``room`` as far as the file goes; how many bytes were read."""
        return os.preadv(fd, [room], position)

    def cached(self, fd: int, position: int, size: int, every: int) -> bool:
        """Whether these bytes can be read without the device, going by one of ``every`` bytes.

        True also where the file system can't tell. What is not cached begins to be read.
        """
        room = [bytearray(1)]
        try:
            for at in (*range(position, position + size, every), position + size - 1):
                os.preadv(fd, room, at, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        return True

    def write(self, fd: int, buffers: Sequence[Buffer], position: int) -> int:
        """All the buffers in one call; fewer bytes than given means that space ran out."""
        return os.pwritev(fd, buffers, position)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def drop_cached(self, fd: int, position: int) -> None:
        """Let go of clean cached pages from ``position`` on: the next read is from the device."""
        begin = position // _CACHED_AT_ONCE * _CACHED_AT_ONCE
        os.posix_fadvise(fd, begin, 0, os.POSIX_FADV_DONTNEED)

    def sync_all(self, fd: int) -> None:
        """Sync all that is dirty on the file system of ``fd``."""
        if _syncfs()(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def sync_directory(self, path: str) -> None:
        fd = opened(lambda: os.open(path, _DIRECTORY))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Make the file at least so long, with zeros; what is in it stays."""
        os.posix_fallocate(fd, 0, size)

    def reserve(self, path: str, size: int) -> None:
        """Have a file there, so long at least, with room on the disk for all of it."""
        fd = self.open(path, write=True, create=True)
        try:
            self.allocate(fd, size)
        finally:
            self.close(fd)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def size_of(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def modified_ms(self, path: str) -> int:
        """When the file was last written, in ms since 1970."""
        return os.stat(path).st_mtime_ns // 1_000_000

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def device(self, path: str) -> int:
        """The same for two paths on the same file system."""
        return os.stat(path).st_dev

    def identity(self, path: str) -> tuple[int, int]:
        """The same for two paths that lead to the same file."""
        facts = os.stat(path)
        return facts.st_dev, facts.st_ino

    def identity_of(self, fd: int) -> tuple[int, int]:
        """As ``identity``, of an open file."""
        facts = os.fstat(fd)
        return facts.st_dev, facts.st_ino

    def space(self, path: str) -> tuple[int, int]:
        """Bytes of the file system in all, and those that this process may still write."""
        facts = os.statvfs(path)
        return facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize

    def writable(self, path: str) -> bool:
        return os.access(path, os.W_OK) and not os.statvfs(path).f_flag & os.ST_RDONLY

    def list(self, path: str) -> list[str]:
        return opened(lambda: os.listdir(path))

    def make_directory(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def set_modified(self, path: str, ms: int) -> None:
        """Say that the file was last written then."""
        os.utime(path, ns=(ms * 1_000_000, ms * 1_000_000))

    def link(self, path: str, other: str) -> None:
        """The same file under another name, too."""
        os.link(path, other)

    def rename(self, path: str, other: str) -> None:
        """In one step; what had the other name is gone."""
        os.rename(path, other)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        """A directory and all that is in it; no symbolic link is followed (ELOOP).

        What can be removed is, whatever else can't. Raises OSError: the first of that, by its path.
        """
        above, name = os.path.split(path)
        fd = opened(lambda: os.open(above or ".", _DIRECTORY))
        try:
            failure = _remove_tree(fd, name, path)
        finally:
            os.close(fd)
        if failure is not None:
            raise failure

    def map(self, fd: int, size: int, *, write: bool) -> mmap.mmap:
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        return mmap.mmap(fd, size, access=access)

    def listen(self, path: str) -> socket.socket:
        """A socket that other processes find by this path; for the user of this process alone."""
        with suppress(FileNotFoundError):
            os.unlink(path)  # a killed process leaves its own
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _short(path) as short:
                listening.bind(short)
            os.chmod(path, 0o600)
            listening.listen()
        except BaseException:
            listening.close()
            raise
        return listening

    def connect(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            with _short(path) as short:
                connection.connect(short)
        except BaseException:
            connection.close()
            raise
        return connection

    def lock(self, fd: int) -> bool:
        """Take the whole-file lock for this open file; False where another has it."""
        wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def locked(self, fd: int, start: int = 0, length: int = 0) -> bool:
        """Whether another has locked any of these bytes (the whole file, if none are named).

        Takes nothing: who wants the lock now still gets it.
        """
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
        kind: int = _LOCK.unpack(found)[0]
        return kind != fcntl.F_UNLCK


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The same file by a path that fits into the 107 bytes of a socket's address."""
    directory, name = os.path.split(path)
    fd = opened(lambda: os.open(directory or ".", _DIRECTORY))
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def _remove_tree(above: int, name: str, path: str) -> OSError | None:
    """Remove a directory below the open one ``above``; the first thing that can't be removed."""
    try:
        if stat.S_ISLNK(os.lstat(name, dir_fd=above).st_mode):
            return OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError as error:
        return OSError(error.errno, error.strerror, path)
    failure: OSError | None = None
    try:
        for entry in os.listdir(fd):
            failed = _remove(fd, entry, f"{path}/{entry}")
            failure = failure or failed
    finally:
        os.close(fd)
    if failure is not None:
        return failure
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:
        return OSError(error.errno, error.strerror, path)
    return None


def _remove(above: int, name: str, path: str) -> OSError | None:
    try:
        if stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode):
            return _remove_tree(above, name, path)
        os.unlink(name, dir_fd=above)
    except OSError as error:
        return OSError(error.errno, error.strerror, path)
    return None


@cache
def _syncfs() -> "ctypes._NamedFuncPointer":
    # CDLL, not PyDLL: the call must release the interpreter lock.
    return ctypes.CDLL(None, use_errno=True).syncfs


@contextmanager
def room_or_not() -> Iterator[None]:
    """Do without what does not fit on a full disk: something derived."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


def make_directories(disk: Disk, path: str) -> None:
    """Make a directory, and those above it that are missing; their names are durable on return.

    Those that are there are synced, too: who made them may have been killed before. Raises OSError.
    """
    disk.make_directory(path)
    above, below = os.path.dirname(path), path
    while above != below:
        try:
            disk.sync_directory(above or ".")
        except OSError as error:
            if error.errno not in _NOT_SYNCABLE:
                raise
            return  # nobody like us has made what is in there
        above, below = os.path.dirname(above), above


def refusal(error: OSError, doing: str, path: str) -> LogstoreError:
    """What an OSError means to who asks for a store, as one line."""
    if error.errno in _NOT_WRITABLE:
        return ReadOnly(f"{path}: {doing}: {os.strerror(error.errno or 0)}")
    return failure(error, doing, path)


def failure(error: OSError, doing: str, path: str) -> Failed:
    """What an OSError in one log's files means: they may be forbidden, the store is not."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ELOOP:
        reason = "it is a symbolic link, which is not followed here"
    if error.errno in NO_SPACE:
        return StorageFull(f"{path}: {doing}: {reason}; nothing of it was kept: free some space")
    return Failed(f"{path}: {doing}: {reason}")
