"""A data directory, as any process opens it: the interface of storage to the library.

``WriterDirectory`` holds the lock and writes; ``ReaderDirectory`` works beside a writer in another
process, or without one; ``BareDirectory`` reads Kafka-format partition directories that no
catalogue describes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from logstore.config import Config
from logstore.counts.recoveries import Recoveries
from logstore.counts.syncs import Syncs
from logstore.errors import CorruptStore, Damaged
from logstore.log import Log
from logstore.owner import Owner
from logstore.settings import TopicSettings
from logstore.storage.catalog import Entry, GivenIds, LogState
from logstore.storage.chain import Chain
from logstore.storage.disk import Disk, failure
from logstore.storage.groups import GroupTable
from logstore.storage.kinds import Kinds
from logstore.storage.leftovers import Leftover
from logstore.storage.pin import Pin
from logstore.storage.segment import Segment, SegmentFacts


@dataclass(frozen=True, slots=True)
class LogSize:
    """The size of a log: offsets, number of segments, bytes of the .log files."""

    partition: int
    start: int
    safe: int
    end: int
    segments: int
    bytes: int
    damage: Damaged | None = None


class SegmentedLog(Log, Protocol):
    """A log on disk."""

    chain: Chain

    def bases(self) -> list[int]:
        """The present base offsets of its segments. Raises OSError."""

    def bytes(self) -> int:
        """The size of its batches, without zeros at the end. Raises OSError, UnknownPartition."""

    def segments(self, *, timed: bool = True) -> list[SegmentFacts]:
        """The facts by which upkeep decides, in order. Raises Damaged, Failed.

        With ``timed`` False, without timestamps, which require reading each file: ``timed(facts)``
        returns the same facts with them.
        """

    def timed(self, facts: SegmentFacts) -> SegmentFacts:
        """The facts with the largest timestamp. Raises Damaged, Failed."""

    @property
    def state(self) -> LogState:
        """The last saved state."""

    def segment(self, base_offset: int) -> Segment:
        """One of its segments."""

    def secure(self) -> int:
        """Sync everything and move the recovery point up; no recovery reads below the returned
        offset.

        Raises LogFailed, Damaged, Failed, ReadOnly.
        """

    def mark(self, **marks: int) -> None:
        """Store these fields of the state; durable on return. Raises Failed, ReadOnly."""

    def sweep(self) -> None:
        """Remove the remains of interrupted rewrites."""

    def swap(self, bases: Sequence[int], stem: str, aborts_gone: Sequence[int] = ()) -> bool:
        """Replace these adjacent sealed segments by a rewritten one, ``stem``.

        One rename does it. Returns False, and changes nothing, if one of them was trimmed since.
        Raises StorageFull, Failed, ReadOnly, UnknownPartition.
        """

    def rebuild_index(self, base_offset: int) -> None:
        """Write a segment's index files again. Raises StorageFull, Failed, ReadOnly."""

    def roll(self) -> None:
        """Seal the active segment and begin a new one, unless it is empty.

        Raises StorageFull, LogFailed, ReadOnly.
        """


def size_of(log: SegmentedLog, partition: int) -> LogSize:
    """The present size of a log. Raises Failed, CorruptBatch, UnknownPartition."""
    try:
        size = log.bytes()
    except OSError as error:
        raise failure(error, "measure", error.filename or log.chain.directory) from None
    return LogSize(partition, log.start, log.safe, log.end, len(log.chain.bases), size)


class Directory(Protocol):
    """What every store has, wherever its logs are."""

    @property
    def config(self) -> Config: ...
    @property
    def store_id(self) -> str: ...
    @property
    def groups(self) -> GroupTable | None:
        """Groups and their offsets; None without a catalogue."""

    def topics(self) -> dict[str, Entry]: ...
    def topic(self, name: str) -> Entry:
        """Raises UnknownTopic."""

    def settings(self, entry: Entry) -> TopicSettings: ...
    def log(self, name: str, entry: Entry, partition: int) -> Log:
        """Raises UnknownPartition, CorruptStore, Failed."""

    def close(self) -> None: ...


class LocalDirectory(Directory, Protocol):
    """A store on local disk: its files, segments and catalogue, for logs of all kinds."""

    @property
    def path(self) -> str: ...
    @property
    def disk(self) -> Disk: ...
    @property
    def schema(self) -> int | None:
        """The version of the catalogue's schema; None without a catalogue."""

    @property
    def kinds(self) -> Kinds:
        """The kinds of logs that it may contain."""

    @property
    def pin(self) -> Pin:
        """The pin that keeps the journal from being trimmed while the store is copied."""

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes."""

    def entries(self) -> list[tuple[str, Entry]]:
        """The logs of every kind by name, topics first, without damaged ones."""

    def damaged_entries(self) -> Mapping[tuple[str, str], CorruptStore]:
        """The damaged entries, by kind and name, with the reason."""

    def doomed(self) -> list[str]:
        """Directories of deleted logs whose files are still to be removed."""

    def oldest_reader(self) -> tuple[int, int] | None:
        """The process that reads the oldest state of the catalogue (pid), and how many commits it
        is behind.
        """

    def leftovers(self) -> list[Leftover]:
        """The doomed directories that could not be removed, with the reason."""

    def look(self) -> None:
        """Check that the directory is in place, and for dead readers of the catalogue.

        Called about twice a second in a process that writes.
        """

    def tidy(self) -> None:
        """Try again to remove leftovers. Does nothing in a reading process."""

    def log(self, name: str, entry: Entry, partition: int) -> SegmentedLog: ...
    def standing(self, entry: Entry, partition: int) -> tuple[LogState, bytes]:
        """The log's state in the catalogue, and its notes, both as of then or later.

        Raises CorruptStore, Failed.
        """

    def size(self, name: str, entry: Entry, partition: int) -> LogSize: ...
    def writer(self) -> Owner | None:
        """The process that writes the directory now."""

    def noted_upkeep(self) -> bytes:
        """What any process last gave to ``note_upkeep``; empty: nothing yet."""

    def copy_catalog(self, path: str) -> None:
        """Copy the catalogue as of one moment into a new file; synced.

        Raises Refused where there is no catalogue, StorageFull, OSError.
        """

    def writable(self) -> "WritableDirectory":
        """The same object, if this is the writing process. Raises ReadOnly."""


class WritableDirectory(LocalDirectory, Protocol):
    """A store on local disk in the one process that writes it."""

    rolled: Callable[[str, int], None] | None
    """Told of each segment that a log begins: the log's name, the segment's base offset."""

    @property
    def recoveries(self) -> Recoveries:
        """Of logs that a crash had left."""

    @property
    def syncs(self) -> Syncs:
        """How long syncs take."""

    def stands(self, entry: Entry, partition: int) -> tuple[int, int] | None:
        """Where its log's start and safe are, without opening it; None: that is not known."""

    def weight(self, name: str, entry: Entry, partition: int) -> int:
        """Bytes of its log's batches, without opening it: then with zeros written ahead, if any.

        Raises Failed.
        """

    def note_upkeep(self, text: bytes) -> None:
        """Store the results of upkeep; durable. Raises Failed."""

    def stirred(self) -> set[str]:
        """The directories of logs that were rolled or altered since the last call."""

    def is_worth_opening(self, name: str, entry: Entry, partition: int) -> bool:
        """Whether an unused log has work for upkeep. Raises OSError."""

    @property
    def recovered(self) -> bool:
        """Whether every log has been recovered after a crash."""

    @property
    def unrecovered(self) -> int:
        """The number of logs that were not recovered yet."""

    def is_recovered(self, entry: Entry, partition: int) -> bool:
        """Whether this log was recovered."""

    def undecided(self, name: str, entry: Entry, partition: int) -> int | None:
        """Where the earliest open transaction of a log begins; recovers the log if necessary.

        None without an open transaction. May take long. Raises UnknownTopic, UnknownPartition,
        Damaged, Failed.
        """

    def recover_next(self) -> bool:
        """Recover an unused log; False if none is left. Logs errors."""

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> Entry:
        """Create a topic; durable on return. Raises InvalidName, TopicExists, CorruptStore,
        ReadOnly.
        """

    def change_topic(
        self, name: str, *, partitions: int | None = None, settings: Mapping[str, str] | None = None
    ) -> Entry:
        """Change a topic; durable on return. Raises UnknownTopic, ReadOnly."""

    def delete_topic(self, name: str) -> None:
        """Delete a topic, its files and all offsets in it. Raises UnknownTopic, ReadOnly."""

    def create(self, kind: str, name: str, partitions: int, settings: Mapping[str, str]) -> Entry:
        """As ``create_topic``, for logs of any kind."""

    def change(self, kind: str, name: str, settings: Mapping[str, str]) -> Entry:
        """As ``change_topic``, for logs of any kind."""

    def delete(self, kind: str, name: str) -> None:
        """As ``delete_topic``, for logs of any kind."""

    def make_volatile(self, name: str) -> SegmentedLog:
        """Create a log that is never synced, and removed when the directory is closed.

        Raises StorageFull, Failed.
        """

    def drop_volatile(self, name: str) -> None:
        """Delete a volatile log. Raises Failed."""

    def unready(self) -> Mapping[str, str]:
        """Why nothing can be acknowledged now, by the kind of problem (``readiness.py``).

        Empty if records can be acknowledged. Waits for the disk.
        """

    def announce(self, endpoints: Mapping[str, str], cluster: str = "") -> None:
        """Let other processes know where this one can be spoken to, and of which cluster it is a
        node. Raises ReadOnly, Failed.
        """

    def never_wait_in(self, thread: int) -> None:
        """Make reads in this thread (``threading.get_ident()``) never wait for the disk."""

    def producer_ids(self) -> GivenIds:
        """How producer ids are recognised; durable. Raises ReadOnly."""

    def new_producer_ids(self, count: int) -> int:
        """The first of this many ids that were never given before; durable. Raises ReadOnly."""
