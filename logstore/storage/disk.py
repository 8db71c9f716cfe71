"""The file system: every call of logstore that touches it, and nothing else.

Storage takes a ``Disk`` as an argument, so that a test can pass a disk that loses unsynced data,
fails at the Nth call, or is full. Errors stay OSError here; ``refusal`` translates them.

A path is a name, and another directory can get this name at any moment. So a process that opens a
data directory has the disk ``anchor`` it: from then on, files below are opened relative to the open
directory, even if it is moved, and never in another directory that has got its name.
"""

import errno
import mmap
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from logstore import forks, platforms, portable
from logstore.descriptors import opened
from logstore.errors import Failed, Forked, LogstoreError, ReadOnly, StorageFull

_T = TypeVar("_T")
Buffer = bytes | bytearray | memoryview

_CACHED_AT_ONCE = 2 << 20  # the largest page; one is dropped as a whole or not at all

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLACE = portable.PATH_ONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ANY = portable.PATH_ONLY | os.O_NONBLOCK | os.O_CLOEXEC

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_SYNCABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}  # a directory
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}


# Whatever the umask: records, and keys that passwords are checked against, are nobody else's.
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
OTHERS = 0o077  # what the group and all others may do

_NO_FILE = "it is not a regular file"

# What says that a path leads nowhere, or elsewhere than to a directory.
ASTRAY = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class _Anchor:
    fd: int
    users: int


class Disk:
    """The real file system, for one store."""

    _anchors: Mapping[str, _Anchor] = {}  # by the directory's path; replaced, never changed

    # Where paths are taken from

    def anchor(self, path: str) -> None:
        """Open files below this directory relative to it from now on; undone by ``let_go``.

        Raises OSError; ESTALE if another directory has that name now.
        """
        known = self._anchors.get(path)
        if known is not None and not self.at_home(path):
            raise OSError(errno.ESTALE, "another directory has got its name", path)
        fd = opened(lambda: os.open(path, _PLACE)) if known is None else known.fd
        users = 1 if known is None else known.users + 1
        self._anchors = {**self._anchors, path: _Anchor(fd, users)}
        forks.watch(self)

    def let_go(self, path: str) -> None:
        """One user less; after the last one, files below are found by name again."""
        known = self._anchors.get(path)
        if known is None:
            return
        others = {at: it for at, it in self._anchors.items() if at != path}
        if known.users > 1:
            self._anchors = {**others, path: _Anchor(known.fd, known.users - 1)}
        else:
            self._anchors = others
            os.close(known.fd)

    @contextmanager
    def anchored(self, path: str) -> Iterator[None]:
        """A context with ``anchor`` in effect; no effect without a directory. Raises OSError."""
        try:
            self.anchor(path)
        except OSError as error:
            if error.errno not in ASTRAY:
                raise
            yield
            return
        try:
            yield
        finally:
            self.let_go(path)

    def anchors(self) -> dict[str, int]:
        """The descriptors of anchored directories, by path: for a child process to ``adopt``."""
        return {path: it.fd for path, it in self._anchors.items()}

    def adopt(self, anchors: Mapping[str, int]) -> None:
        """In a child process: use the parent's anchors."""
        self._anchors = {path: _Anchor(fd, 1) for path, fd in anchors.items()}

    def at_home(self, path: str) -> bool:
        """Whether an anchored directory still has its name; True if that is unknown."""
        known = self._anchors.get(path)
        if known is None:
            return True
        try:
            named = os.stat(path)
        except OSError as error:
            return error.errno not in ASTRAY
        return os.path.samestat(named, os.fstat(known.fd))

    def place_of(self, path: str) -> str:
        """A path to the same file for code that opens files itself, such as LMDB."""
        at, name = self._at(path)
        found = None if at is None else portable.path_in(at, name)
        return path if found is None else found

    def forked(self, error: Forked) -> None:
        """As Forkable.forked."""
        anchors, self._anchors = self._anchors, {}
        for anchor in anchors.values():
            os.close(anchor.fd)

    def _at(self, path: str) -> tuple[int | None, str]:
        """The open directory to which a path is relative, and the path from there."""
        for root, anchor in self._anchors.items():
            if path.startswith(root):
                if path[len(root) :].startswith("/"):
                    return anchor.fd, path[len(root) + 1 :] or "."
                if path == root:
                    return anchor.fd, "."
        return None, path

    def _call(self, path: str, call: Callable[..., _T], *given: Any, **named: Any) -> _T:  # noqa: ANN401
        """Call a function of ``os`` for this path. Raises OSError with the original path."""
        at, name = self._at(path)
        try:
            return call(name, *given, dir_fd=at, **named)
        except OSError as error:
            error.filename = path
            raise

    def _open_directory(self, path: str) -> int:
        return opened(lambda: self._call(path or ".", os.open, _DIRECTORY))

    def _stat(self, path: str) -> os.stat_result:
        return self._call(path, os.stat)

    # Files

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        """Open a regular file. Raises OSError: ELOOP for a link that would be written through,
        ENXIO.
        """
        # Not blocking: a pipe of that name, which somebody has put there, must hold up nobody.
        flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDWR if write else os.O_RDONLY)
        # A link that somebody has put there must not have us make, or change, a file elsewhere.
        flags |= os.O_NOFOLLOW if write or create else 0
        flags |= os.O_CREAT if create else 0
        fd = opened(lambda: self._call(path, os.open, flags, FILE_MODE))
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.ENXIO, _NO_FILE, path)
            if write or create:
                _make_private(fd, mode, create=create)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size: int, position: int) -> bytes:
        """Up to ``size`` bytes: fewer at the end of the file."""
        return os.pread(fd, size, position)

    def read_into(self, fd: int, room: bytearray, position: int) -> int:
        """Fill ``room`` as far as the file reaches; returns the number of bytes."""
        return portable.read_into(fd, room, position)

    def cached(self, fd: int, position: int, size: int, every: int) -> bool:
        """Whether these bytes can be read without the device, by testing one of ``every`` bytes.

        Also True if the file system cannot tell. Starts reading bytes that are not cached.
        """
        end = position + size
        return portable.are_cached(fd, (*range(position, end, every), end - 1))

    def write(self, fd: int, buffers: Sequence[Buffer], position: int) -> int:
        """All the buffers in one call; fewer bytes than given means that space ran out."""
        return portable.write(fd, buffers, position)

    def sync(self, fd: int) -> None:
        portable.sync(fd)

    def drop_cached(self, fd: int, position: int) -> None:
        """Drop clean cached pages from ``position`` on: the next read is from the device."""
        portable.drop_cached(fd, position // _CACHED_AT_ONCE * _CACHED_AT_ONCE)

    @property
    def syncs_all(self) -> bool:
        """Whether ``sync_all`` is available."""
        return platforms.SYNCFS.there

    def sync_all(self, fd: int) -> None:
        """Sync all dirty data of the file system of ``fd``."""
        portable.sync_file_system(fd)

    def sync_directory(self, path: str) -> None:
        fd = self._open_directory(path)
        try:
            portable.sync_whole(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Extend the file to at least this length with zeros; its content stays."""
        portable.allocate(fd, size)

    def reserve(self, path: str, size: int) -> None:
        """Create a file of at least this length, with disk space for all of it."""
        fd = self.open(path, write=True, create=True)
        try:
            self.allocate(fd, size)
        finally:
            self.close(fd)

    def size(self, path: str) -> int:
        return self._stat(path).st_size

    def size_of(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def modified_ms(self, path: str) -> int:
        """The time of the last write to the file, in ms since 1970."""
        return self._stat(path).st_mtime_ns // 1_000_000

    def exists(self, path: str) -> bool:
        try:
            self._stat(path)
        except (OSError, ValueError):  # as os.path.exists
            return False
        return True

    def is_odd(self, path: str) -> bool:
        """Whether the name belongs to something other than a regular file: a link, a pipe, a
        directory.
        """
        try:
            facts = self._call(path, os.stat, follow_symlinks=False)
        except OSError as error:
            if error.errno in ASTRAY:
                return False
            raise
        return not stat.S_ISREG(facts.st_mode)

    def device(self, path: str) -> int:
        """A value that is equal for two paths on the same file system."""
        return self._stat(path).st_dev

    def identity(self, path: str) -> tuple[int, int]:
        """A value that is equal for two paths to the same file."""
        facts = self._stat(path)
        return facts.st_dev, facts.st_ino

    def identity_of(self, fd: int) -> tuple[int, int]:
        """As ``identity``, of an open file."""
        facts = os.fstat(fd)
        return facts.st_dev, facts.st_ino

    def space(self, path: str) -> tuple[int, int]:
        """The size of the file system in bytes, and how much this process may still write."""
        facts = self._statvfs(path)
        return facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize

    def writable(self, path: str) -> bool:
        may = self._call(path, os.access, os.W_OK)
        return may and not self._statvfs(path).f_flag & os.ST_RDONLY

    def _statvfs(self, path: str) -> os.statvfs_result:
        fd = opened(lambda: self._call(path, os.open, _ANY))
        try:
            return os.statvfs(fd)
        finally:
            os.close(fd)

    def list(self, path: str) -> list[str]:
        fd = self._open_directory(path)
        try:
            return opened(lambda: os.listdir(fd))
        finally:
            os.close(fd)

    def make_directory(self, path: str) -> None:
        """Create a directory and missing parents; parents get the permissions of the umask."""
        above = os.path.dirname(path)
        if above not in ("", path) and not self.exists(above):
            self._make_directory(above, 0o777)
        self._make_directory(path, DIRECTORY_MODE)

    def _make_directory(self, path: str, mode: int) -> None:
        above = os.path.dirname(path)
        if above not in ("", path) and not self.exists(above):
            self._make_directory(above, mode)
        try:
            self._call(path, os.mkdir, mode)
        except OSError:
            if not (self.exists(path) and stat.S_ISDIR(self._stat(path).st_mode)):
                raise
            return
        made = self.mode(path)
        if made & DIRECTORY_MODE != DIRECTORY_MODE:  # a umask that leaves out its owner
            self.set_mode(path, made | DIRECTORY_MODE)

    def mode(self, path: str) -> int:
        """The permissions of owner, group and others."""
        return stat.S_IMODE(self._stat(path).st_mode)

    def set_mode(self, path: str, mode: int) -> None:
        self._call(path, os.chmod, mode)

    def set_modified(self, path: str, ms: int) -> None:
        """Set the time of the last write."""
        self._call(path, os.utime, ns=(ms * 1_000_000, ms * 1_000_000))

    def link(self, path: str, other: str) -> None:
        """Give the same file a second name."""
        self._call_both(os.link, path, other, follow_symlinks=False)

    def rename(self, path: str, other: str) -> None:
        """Rename in one step; replaces a file of the other name."""
        self._call_both(os.rename, path, other)

    def _call_both(self, call: Callable[..., None], path: str, other: str, **named: bool) -> None:
        """As ``_call``, with two paths."""
        at, name = self._at(path)
        other_at, other_name = self._at(other)
        try:
            call(name, other_name, src_dir_fd=at, dst_dir_fd=other_at, **named)
        except OSError as error:
            error.filename, error.filename2 = path, other
            raise

    def remove(self, path: str) -> None:
        self._call(path, os.unlink)

    def remove_tree(self, path: str) -> None:
        """Remove a directory and its content; follows no symbolic link (ELOOP).

        Removes as much as possible. Raises the first OSError, with its path.
        """
        above, name = os.path.split(path)
        fd = self._open_directory(above)
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
        """A listening socket at this path, for the user of this process only."""
        with suppress(FileNotFoundError):
            self.remove(path)  # a killed process leaves its own
        listening = socket.socket(socket.AF_UNIX)
        try:
            if platforms.SOCKET_MODES.there:
                os.fchmod(listening.fileno(), FILE_MODE)  # at no moment can others connect
            with self._short(path) as short:
                listening.bind(short)
            if self.mode(path) != FILE_MODE:  # or a umask that leaves out its owner
                self.set_mode(path, FILE_MODE)
            listening.listen()
        except BaseException:
            listening.close()
            raise
        return listening

    @contextmanager
    def _short(self, path: str) -> Iterator[str]:
        """A path to the same file that fits into a socket's address."""
        fd = opened(lambda: self._call(os.path.dirname(path) or ".", os.open, _PLACE))
        try:
            with portable.socket_path(fd, path) as short:
                yield short
        finally:
            os.close(fd)

    def connect(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            with self._short(path) as short:
                connection.connect(short)
        except BaseException:
            connection.close()
            raise
        return connection

    def lock(self, fd: int) -> bool:
        """Take the whole-file lock for this open file; False if another process has it."""
        return portable.lock(fd)

    def share(self, fd: int) -> None:
        """Take a shared lock, which excludes ``lock``; waits until no such lock is held."""
        portable.share(fd)

    def locked(self, fd: int) -> bool:
        """Whether another process has locked the file; ``fd`` itself has not been locked.

        Takes no lasting lock: another process that requests the lock now still gets it.
        """
        return portable.is_locked(fd)

    def locked_bytes(self, fd: int, start: int, length: int) -> bool:
        """As ``locked``, for some bytes, which only LMDB locks."""
        return portable.are_locked(fd, start, length)


def _make_private(fd: int, mode: int, *, create: bool) -> None:
    """Remove permissions that an earlier version, or a copy, has given to other users.

    ``create``: the file may be new, with a umask that excludes its owner.
    """
    wanted = FILE_MODE if create else stat.S_IMODE(mode) & ~OTHERS
    if stat.S_IMODE(mode) == wanted:
        return
    with suppress(OSError):  # it is another user's, or the file system knows no modes
        os.fchmod(fd, wanted)


def _remove_tree(above: int, name: str, path: str) -> OSError | None:
    """Remove a directory below the open one ``above``; returns the first failure."""
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


@contextmanager
def room_or_not() -> Iterator[None]:
    """Write something derived, and go without it if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


def make_directories(disk: Disk, path: str) -> None:
    """Create a directory and missing parents; their names are durable on return.

    Existing ones are synced, too, because the process that made them may have been killed before.
    Raises OSError.
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
    """The error for a store, in one line, that an OSError stands for."""
    if error.errno in _NOT_WRITABLE:
        return ReadOnly(f"{path}: {doing}: {os.strerror(error.errno or 0)}")
    return failure(error, doing, path)


def failure(error: OSError, doing: str, path: str) -> Failed:
    """The error for one log's files that an OSError stands for: they may be forbidden while the
    store is not.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.ENXIO and isinstance(error.filename, str):
        path = error.filename  # which of the files below it
    if error.errno == errno.ELOOP:
        reason = "it is a symbolic link, which is not followed here"
    if error.errno == errno.ENXIO:
        reason = _NO_FILE
    if error.errno == errno.ESTALE:
        reason = "it was removed, moved or replaced meanwhile: try again"
    if error.errno in NO_SPACE:
        return StorageFull(f"{path}: {doing}: {reason}; nothing of it was kept: free some space")
    return Failed(f"{path}: {doing}: {reason}")
