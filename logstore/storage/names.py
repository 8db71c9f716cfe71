"""Every file and directory name below a data directory: built here, and parsed here."""

import re
from typing import Final

from logstore.names import TOPIC_PATTERN

LOCK: Final = "lock"  # held by the writing process; says who
CATALOG: Final = "catalog.mdb"  # LMDB: topics, log states, committed offsets
LOCK_ENDING: Final = "-lock"  # of LMDB's lock file, behind the catalogue's name
WATERMARKS: Final = "watermarks"  # mmap: each log's start and safe, for reading processes
CONFIG: Final = "logstore.toml"
DESK: Final = "api.sock"  # where others of this machine ask the writing process
OLD_DESK: Final = "upkeep.sock"  # the same of earlier versions
CLAIMS: Final = "claims"  # one lock file for each consumer in a group, and for a server's groups
PIN: Final = "pin.lock"  # shared by those who copy the store: the journal keeps its start
VOLATILE: Final = "volatile"  # logs of queues that do not outlive the process
COORDINATOR: Final = "coordinator.lock"

LOG: Final = ".log"
INDEX: Final = ".index"
TIMEINDEX: Final = ".timeindex"
TXNINDEX: Final = ".txnindex"  # only where transactions were aborted
_CLEANED: Final = ".cleaned"

_DIRECTORY = re.compile(rf"({TOPIC_PATTERN})-(0|[1-9][0-9]{{0,9}})")
_SEGMENT = re.compile(r"([0-9]{20})\.log")
_ABORTED = re.compile(r"([0-9]{20})\.txnindex")


def log_directory(topic: str, partition: int) -> str:
    return f"{topic}-{partition}"


def parse_log_directory(name: str) -> tuple[str, int] | None:
    """``flights-0`` -> ("flights", 0); None for any other name."""
    match = _DIRECTORY.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def segment_stem(directory: str, base_offset: int) -> str:
    """A segment's path without extension: 20 digits, so that names sort by offset."""
    return f"{directory}/{base_offset:020d}"


def cleaned_stem(directory: str, base_offset: int, pid: int) -> str:
    """As ``segment_stem``, of a segment that this process writes anew; nothing after a crash."""
    return f"{segment_stem(directory, base_offset)}.{pid}{_CLEANED}"


def is_cleaned(name: str) -> bool:
    """Whether the file belongs to a segment that is being rewritten, or was when a process died."""
    for ending in (LOG, INDEX, TIMEINDEX, TXNINDEX):
        name = name.removesuffix(ending)
    return name.endswith(_CLEANED)


def parse_segment(name: str) -> int | None:
    """The base offset of a ``.log`` file's name; None for any other name."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def parse_aborted(name: str) -> int | None:
    """The base offset of a ``.txnindex`` file's name; None for any other name."""
    match = _ABORTED.fullmatch(name)
    return int(match[1]) if match else None


def member_file(member: str) -> str:
    """The lock file of an embedded member, whose id logstore has made."""
    return f"{member}.lock"
