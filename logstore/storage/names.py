"""Every file and directory name below a data directory: built here, and parsed here."""

import re
from collections.abc import Iterable
from typing import Final

from logstore.errors import InvalidName

LOCK: Final = "lock"  # held by the writing process; says who
CATALOG: Final = "catalog.mdb"  # LMDB: topics, log states, committed offsets
WATERMARKS: Final = "watermarks"  # mmap: each log's start and safe, for reading processes
CONFIG: Final = "logstore.toml"
DESK: Final = "upkeep.sock"  # where the writing process takes jobs
CLAIMS: Final = "claims"  # one lock file for each consumer in a group, and for a server's groups
COORDINATOR: Final = "coordinator.lock"

KEY_BYTES_MAX: Final = 511  # of a row in LMDB
TOPIC_CHARACTERS_MAX: Final = 249  # as Kafka
GROUP_BYTES_MAX: Final = 255
PARTITION_BYTES: Final = 4

# The key of a committed offset: group NUL topic NUL partition.
assert GROUP_BYTES_MAX + 1 + TOPIC_CHARACTERS_MAX + 1 + PARTITION_BYTES <= KEY_BYTES_MAX

LOG: Final = ".log"
INDEX: Final = ".index"
TIMEINDEX: Final = ".timeindex"
_CLEANED: Final = ".cleaned"

_TOPIC = re.compile(rf"[a-zA-Z0-9._-]{{1,{TOPIC_CHARACTERS_MAX}}}")
_DIRECTORY = re.compile(rf"([a-zA-Z0-9._-]{{1,{TOPIC_CHARACTERS_MAX}}})-(0|[1-9][0-9]{{0,9}})")
_SEGMENT = re.compile(r"([0-9]{20})\.log")


def check_topic(name: str) -> str:
    """The same name, if Kafka would take it. Raises InvalidName."""
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise InvalidName(
            f"topic name {name!r} is not allowed: use 1 to 249 of the characters a-z A-Z 0-9 . _ -"
        )
    return name


def check_apart(name: str, others: Iterable[str]) -> None:
    """Raises InvalidName where another topic's name differs in '.' and '_' alone.

    Kafka refuses such a pair, since its metrics write both signs alike.
    """
    if "." not in name and "_" not in name:
        return
    same = name.replace(".", "_")
    for other in others:
        if len(other) == len(same) and other != name and other.replace(".", "_") == same:
            raise InvalidName(
                f"topic name {name!r} is not allowed: it collides with topic {other!r}, since '.' "
                f"and '_' count as the same"
            )


def check_group(name: str) -> str:
    """The same name, if a group may have it. Raises InvalidName."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= GROUP_BYTES_MAX or b"\0" in encoded:
        raise InvalidName(
            f"group name {name!r} is not allowed: use 1 to {GROUP_BYTES_MAX} bytes of UTF-8, no NUL"
        )
    return name


def log_directory(topic: str, partition: int) -> str:
    return f"{topic}-{partition}"


def parse_log_directory(name: str) -> tuple[str, int] | None:
    """``flights-0`` -> ("flights", 0); None for any other name."""
    match = _DIRECTORY.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def segment_stem(directory: str, base_offset: int) -> str:
    """A segment's path without its ending: 20 digits, so that names sort as offsets do."""
    return f"{directory}/{base_offset:020d}"


def cleaned_stem(directory: str, base_offset: int, pid: int) -> str:
    """As ``segment_stem``, of a segment that this process writes anew; nothing after a crash."""
    return f"{segment_stem(directory, base_offset)}.{pid}{_CLEANED}"


def is_cleaned(name: str) -> bool:
    """Whether it is a file of a segment that is being written anew, or was as a process died."""
    return name.removesuffix(LOG).removesuffix(TIMEINDEX).removesuffix(INDEX).endswith(_CLEANED)


def parse_segment(name: str) -> int | None:
    """The base offset of a ``.log`` file's name; None for any other name."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def member_file(member: str) -> str:
    """The lock file of an embedded member; its id is one that logstore has made."""
    return f"{member}.lock"
