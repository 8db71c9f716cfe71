"""A lock file: one process holds it, and it says who. The kernel lets go of it at any death."""

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from logstore.storage.disk import Disk

OWNER_BYTES_MAX = 4096  # a command line can be long; this much says which


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    pid: int
    command: str
    since_ms: int

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})"


class LockFile:
    """Held from ``take`` until ``release``."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self._disk = disk
        self._fd: int | None = None

    def take(self) -> bool:
        """Hold the lock and write who does; False where another holds it. Raises OSError."""
        fd = self._disk.open(self.path, write=True, create=True)
        try:
            if not self._disk.lock(fd):
                self._disk.close(fd)
                return False
            owner = {"pid": os.getpid(), "command": _command(), "since_ms": time.time_ns() // 10**6}
            self._disk.truncate(fd, 0)
            self._disk.write(fd, [json.dumps(owner).encode()], 0)
        except OSError:
            self._disk.close(fd)  # a full disk, say: the lock must not stay with this process
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go. Who held it is cut off where that can be done; it means nothing any more."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):
                self._disk.truncate(fd, 0)
            self._disk.close(fd)


def owner_of(disk: Disk, path: str) -> Owner | None:
    """Who holds the lock now; None when nobody does."""
    try:
        fd = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        if not disk.locked(fd):
            return None
        text = disk.read(fd, OWNER_BYTES_MAX, 0)
    finally:
        disk.close(fd)
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):
        return Owner(0, "a process that is just starting", 0)


def _command() -> str:
    words = [Path(sys.argv[0] or "python").name, *sys.argv[1:]]
    return " ".join(words)[:1000]
