"""Tells if a directory that is open for writing can acknowledge records, and why if it cannot."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from logstore.errors import LogFailed, LogstoreError
from logstore.storage.disk import Disk

ROOM_BYTES_MIN: Final = 1 << 20  # of the file system: with less the next segment does not begin

# What may be wrong
DIRECTORY: Final = "directory"  # it is not where it was opened
DISK: Final = "disk"  # it takes no more
CATALOGUE: Final = "catalogue"  # a change of it can't be made durable
LOGS: Final = "logs"  # a sync of some has failed


class Failing(Protocol):
    """The failure of a log."""

    def check_failure(self) -> None:
        """Raises LogFailed if a sync has failed."""


def unready(
    path: str,
    disk: Disk,
    check_in_place: Callable[[], None],
    try_catalogue: Callable[[], None],
    logs: Iterable[Failing],
) -> Mapping[str, str]:
    """The problems, by the words above; empty if it is ready. Waits for the disk."""
    found = {}
    for name, check in (
        (DIRECTORY, check_in_place),
        (DISK, lambda: _check_disk(disk, path)),
        (CATALOGUE, try_catalogue),
        (LOGS, lambda: _check_logs(logs)),
    ):
        try:
            check()
        except (LogstoreError, OSError) as error:
            found[name] = str(error)
    return found


def _check_disk(disk: Disk, path: str) -> None:
    """Raises OSError."""
    if not disk.writable(path):
        raise OSError(f"{path}: it can't be written to: perhaps the file system is read-only")
    total, usable = disk.space(path)
    if total and usable < ROOM_BYTES_MIN:  # some file systems count nothing
        raise OSError(f"{path}: the disk is full: {usable} bytes are left")


def _check_logs(logs: Iterable[Failing]) -> None:
    """Raises LogFailed."""
    failed: list[LogFailed] = []
    for log in logs:
        with suppress(LogstoreError):  # what is deleted, or damaged, fails nobody else
            try:
                log.check_failure()
            except LogFailed as error:
                failed.append(error)
    if failed:
        more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise LogFailed(f"{failed[0]}{more}")
