"""Detects that open files were removed or moved, since writes to them would still succeed.

If the data directory of a running process is removed, moved or replaced, the process has open files
that no one will find again, and records that it acknowledges are lost. The directory and the lock
file are held open, and compared with the ones that have their names now. This is done often enough
to notice a change within a second, and seldom enough to cost nothing.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from logstore.errors import LogFailed
from logstore.storage.disk import ASTRAY, Disk

LOOK_S: Final = 0.25


def is_in_place(disk: Disk, fd: int, path: str) -> bool:
    """Whether the path leads to the open file. Where that can't be told: yes."""
    try:
        return disk.identity(path) == disk.identity_of(fd)
    except OSError as error:
        return error.errno not in ASTRAY


def identities(disk: Disk, paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Of files that were opened just now, and are held open by others; those that can be told."""
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = disk.identity(path)
    return found


def are_in_place(disk: Disk, found: Mapping[str, tuple[int, int]]) -> bool:
    """Whether each path leads to the file that it led to. Where that can't be told: yes."""
    for path, identity in found.items():
        try:
            if disk.identity(path) != identity:
                return False
        except OSError as error:
            if error.errno in ASTRAY:
                return False
    return True


class InPlace:
    """The check for one data directory, by its lock file. Once lost, it stays lost. From any
    thread.
    """

    def __init__(
        self,
        path: str,
        looks: Callable[[], bool],
        lost: Callable[[LogFailed], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``looks()``: whether the directory and its lock file are in place; ``lost`` is told once
        that they are not.
        """
        self._path = path
        self._looks = looks
        self._lost = lost
        self._clock = clock
        self._due_s = clock() + LOOK_S
        self._due_of: dict[str, float] = {}  # of files, by path
        self.error: LogFailed | None = None

    def check(self) -> None:
        """Raises LogFailed; looks only now and then."""
        if self.error is not None:
            raise self.error
        if self._clock() >= self._due_s:
            self.check_now()

    def check_now(self) -> None:
        """Raises LogFailed. To be called before names in the directory are made or removed."""
        if self.error is None:
            self._due_s = self._clock() + LOOK_S
            if not self._looks():
                self.error = LogFailed(
                    f"{self._path}: was removed, moved or replaced (the directory, or its lock"
                    " file, catalogue or watermarks, is not the one that was opened): nothing"
                    " more is written or acknowledged; put it back, then start again"
                )
                self._lost(self.error)
        if self.error is not None:
            raise self.error

    def is_due(self, path: str) -> bool:
        """Whether it is time to look at this file, which is one of the directory's."""
        now = self._clock()
        if now < self._due_of.get(path, 0.0):
            return False
        if len(self._due_of) > 4096:  # rolled and trimmed ones stay
            self._due_of.clear()
        self._due_of[path] = now + LOOK_S
        return True


def moved(path: str) -> OSError:
    """The error of a file that is not where it was opened."""
    sentence = "the file was removed or moved while it was written"
    return OSError(errno.ESTALE, sentence, os.fspath(path))
