"""One record, as read and as to be appended. Knows nothing of bytes on disk."""

from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """A record in a log, with its position."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def content_bytes(self) -> int:
        """The bytes of its key, value and headers."""
        headers = sum([len(name) + len(value or b"") for name, value in self.headers])
        return len(self.key or b"") + len(self.value or b"") + headers


class Message(NamedTuple):
    """A message to append; without a timestamp, the appending code stamps it."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
