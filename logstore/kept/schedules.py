"""The waist for delayed records: an index by the time at which they are due.

The logs hold the records; the index is derived from them and can be rebuilt. A log's *mark* is the
offset below which the index knows every delayed record: records above it are read when the log is
opened. Before records are moved between topics, the move is noted, so that after a crash it is
known whether it was completed.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple, Protocol

from logstore.kept.keeping import Keeping

_EXCHANGE: Final = Struct(">cQ")
_PARTITION: Final = Struct(">c16sI")


class Entry(NamedTuple):
    """One record that waits; entries go in this order."""

    due_ms: int  # since 1970
    offset: int


class Moving(NamedTuple):
    """Records that are being moved to another partition, as one batch there."""

    end: int  # of the target, before the batch is appended
    number: int  # that the batch has
    entries: Sequence[Entry]


def of_exchange(number: int) -> bytes:
    """The key of an exchange's log."""
    return _EXCHANGE.pack(b"x", number)


def of_partition(topic: bytes, partition: int) -> bytes:
    """The key of a topic's partition, by the topic's id of 16 bytes."""
    return _PARTITION.pack(b"t", topic, partition)


def exchange_of(key: bytes) -> int | None:
    """The exchange whose log this is."""
    if key[:1] != b"x" or len(key) != _EXCHANGE.size:
        return None
    number: int = _EXCHANGE.unpack(key)[1]
    return number


def partition_of(key: bytes) -> tuple[bytes, int] | None:
    """The topic and partition whose log this is."""
    if key[:1] != b"t" or len(key) != _PARTITION.size:
        return None
    _, topic, partition = _PARTITION.unpack(key)
    return topic, partition


class ScheduleIndex(Protocol):
    """Read access to the index. From any thread; may take long."""

    def logs(self) -> Sequence[bytes]:
        """The logs that have entries."""

    def mark(self, log: bytes) -> int:
        """The offset below which the index knows every delayed record; 0: none."""

    def page(self, log: bytes, first: Entry, most: int) -> tuple[Sequence[Entry], bool]:
        """Up to this many entries from ``first`` on, in order; and whether there are more."""


class ScheduleKeeper(Protocol):
    """Changes of the index by a process that has the queues, as in ``QueueKeeper``."""

    @property
    def index(self) -> ScheduleIndex: ...
    def write(
        self, log: bytes, put: Sequence[Entry], gone: Sequence[Entry], mark: int
    ) -> Keeping: ...
    def forget(self, log: bytes, most: int) -> Keeping:
        """Delete this many of the log's entries; with the last one, also its mark."""
