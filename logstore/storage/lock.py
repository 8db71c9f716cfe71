"""A lock file, which names the process that holds it. The kernel releases it when that ends."""

import errno
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from logstore import forks
from logstore.clock import now_ms
from logstore.errors import Forked
from logstore.owner import Owner, command_of, pid_namespace
from logstore.storage.disk import NO_SPACE, Disk
from logstore.storage.in_place import is_in_place

OWNER_BYTES_MAX = 4096  # a command line can be long; this much says which


class LockFile:
    """Held from ``take`` until ``release``."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self._disk = disk
        self._fd: int | None = None
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the lock is the parent's, as long as that has it."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._disk.close(fd)

    def take(self, *, untold: bool = False) -> bool:
        """Take the lock and write the owner; False if another process holds it. Raises OSError.

        ``untold``: take it even if a full disk has no room for the owner.
        """
        fd = self._disk.open(self.path, write=True, create=True)
        try:
            if not self._disk.lock(fd):
                self._disk.close(fd)
                return False
            self._owner = Owner(os.getpid(), _command(), now_ms(), pid_namespace=pid_namespace())
            self._write(fd)
        except OSError as error:
            if not untold or error.errno not in NO_SPACE:
                self._disk.close(fd)  # the lock must not stay with this process
                raise
        self._fd = fd
        return True

    def _write(self, fd: int) -> None:
        """Written in place, so that it needs no more space than before: the disk may be full."""
        text = json.dumps(asdict(self._owner)).encode().ljust(OWNER_BYTES_MAX)
        self._disk.write(fd, [text], 0)
        self._disk.truncate(fd, len(text))

    def announce(self, endpoints: Mapping[str, str], cluster: str = "") -> None:
        """Write the addresses and the cluster of the holder for other processes. Raises OSError."""
        if self._fd is None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), self.path)
        self._owner = replace(self._owner, endpoints=dict(endpoints), cluster=cluster)
        self._write(self._fd)

    def in_place(self) -> bool:
        """Whether the file of this name is the locked one."""
        return self._fd is None or is_in_place(self._disk, self._fd, self.path)

    def release(self) -> None:
        """Release the lock. Clears the owner in the file if possible; a stale one is harmless."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):
                self._disk.write(fd, [b" " * OWNER_BYTES_MAX], 0)
            self._disk.close(fd)


def owner_of(disk: Disk, path: str) -> Owner | None:
    """The process that holds the lock now; None if none does."""
    try:
        fd = disk.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not disk.locked(fd):
            return None
        text = disk.read(fd, OWNER_BYTES_MAX, 0)
    finally:
        disk.close(fd)
    try:
        facts = json.loads(text)
        # A newer version may say more of itself.
        return Owner(**{name: facts[name] for name in Owner.__slots__ if name in facts})
    except (ValueError, TypeError, RecursionError):
        return Owner(0, "a process that is just starting", 0)


def _command() -> str:
    words = [Path(sys.argv[0] or "python").name, *sys.argv[1:]]
    return command_of(words)[:1000]
