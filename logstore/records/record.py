"""One record, as it is read and as it is to be appended. Knows nothing of bytes on disk."""

from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """A record that a log holds, with the place where it stands."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Message(NamedTuple):
    """What is to be appended; without a timestamp it is stamped by whoever appends it."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
