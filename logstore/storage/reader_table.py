"""The table of readers in LMDB's lock file, read before LMDB opens it.

LMDB knows a process by its pid: it locks the byte of the lock file at that position, and writes the
pid into its slots of the table. So two processes with the same pid, in two pid namespaces
(containers) on one volume, exclude each other: the second one can't read.
"""

from struct import Struct
from typing import Final

from logstore.storage.disk import Disk

# As mdb.c has it on 64 bits, behind a header: transaction, pid.
_PLACE: Final = Struct("=Qi52x")
_NO_TRANSACTION: Final = (1 << 64) - 1
HEADER_BYTES: Final = 128
PLACE_BYTES: Final = _PLACE.size
PLACES_MAX: Final = 1024
assert PLACE_BYTES == 64, "as long as a line of the processor's cache"


def table_bytes() -> int:
    """The length of the lock file."""
    return HEADER_BYTES + PLACE_BYTES * PLACES_MAX


def has_number(disk: Disk, path: str, pid: int) -> bool:
    """Whether a process with this number reads there, or died there during a read.

    The slot of such a dead process stays while any process with its number lives, because LMDB
    attributes the slot to that process. Only a process that opens the file alone begins a new
    table.

    Call it before this process opens the catalogue, because closing the lock file releases all
    locks of the process in it. Raises OSError. ``path``: of the lock file.
    """
    try:
        fd = disk.open(path)
    except FileNotFoundError:
        return False
    try:
        if disk.locked_bytes(fd, pid, 1):
            return True
        return disk.locked_bytes(fd, 0, 1) and pid in _reading(
            disk.read(fd, table_bytes() + HEADER_BYTES, 0)
        )
    finally:
        disk.close(fd)


def _reading(table: bytes) -> set[int]:
    """The numbers of processes that are within a transaction, or died in one."""
    if len(table) < table_bytes():
        return set()
    places = table[-PLACE_BYTES * PLACES_MAX :]  # the header is longer on some processors
    return {pid for at, pid in _PLACE.iter_unpack(places) if at != _NO_TRANSACTION}
