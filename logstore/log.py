"""The waist: how the models above see a log, and what all storage below must provide.

Offsets number records within one log, from 0, without reuse. ``start <= safe <= end``, and none of
the three goes back; nor does ``stable``, which equals ``safe`` if no transaction is open.

Marks number the records that this process has appended to the log: a batch's first record has the
mark that ``append`` returned, its second record the next. A mark identifies a record that is to
become safe before its offset is known, because others may append to the same log elsewhere. On a
local disk only this process appends, and a mark equals the offset.

The bytes may be on another machine. So ``read`` never waits, and may return nothing although
records exist: the end is reached when ``at >= safe``, not when a read is empty. Calls that may wait
long for a network or a disk are never made in a thread that serves clients: opening a log,
``find``, ``latest_timestamp``, ``trim`` and ``wait``. All other calls return immediately.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from logstore.records.batch import Batch
from logstore.settings import TopicSettings

TopicPartition = tuple[str, int]  # a log by its topic's name and its number in it
Wake = Callable[[], None]

NOT_KNOWN: Final = -1  # the offset of a mark, yet
ABORTED_MAX: Final = 2**31 - 1  # of one log: all
MARKS_KEPT: Final = 65_536  # appends whose offsets can be asked for: no log remembers all of them


class Aborted(NamedTuple):
    """An aborted transaction of one log: readers of committed records skip its records."""

    producer_id: int
    first: int  # offset of its first record
    last: int  # of its marker
    stable: int  # where the log was stable up to then


class Notes(Protocol):
    """What a model stores beside a log, derived from its batches alone; to the log, it is bytes.

    The log saves the notes together with its recovery point, so that they match, and at opening
    passes them the batches above that point. Calls are made one at a time.
    """

    def load(self, note: bytes) -> None:
        """Begin with the result of an earlier ``freeze``. Raises Damaged."""

    def appended(self, batch: Batch, base_offset: int) -> Aborted | None:
        """The batch, any batch, is in the log; it may already be known.

        Called under the log's lock at every append: return immediately if there is nothing to
        store. Returns the transaction that the batch aborts, if any; the log stores that.
        """

    def freeze(self) -> Callable[[], bytes]:
        """The present state; its bytes are made when they are needed."""


@runtime_checkable
class Once(Notes, Protocol):
    """Notes that keep duplicates out: records whose id the log has, or had."""

    def apply(self, settings: TopicSettings) -> None:
        """Set the log's settings. Called before everything else, and when they change."""

    def admitted(self, batch: Batch) -> Batch:
        """The batch as it will be appended: perhaps with fewer records, at the same offsets.

        Called under the log's lock, before it is written. Raises CorruptBatch.
        """


@runtime_checkable
class Deciding(Notes, Protocol):
    """Notes that track the log's transactions."""

    @property
    def undecided(self) -> int | None:
        """The first offset of the earliest open transaction; None if none is open."""


class Extent(Protocol):
    """Whole batches in an open file, to be sent from there and then released."""

    @property
    def position(self) -> int:
        """The position of the remaining bytes in the file."""

    @property
    def following(self) -> int:
        """The offset after its last record."""

    def __len__(self) -> int:
        """The number of remaining bytes."""

    def fileno(self) -> int:
        """The open file."""

    def sent(self, size: int) -> None:
        """Mark this many more bytes as sent."""

    def release(self) -> None:
        """Release the file. Called once."""


class Log(Protocol):
    """Records in the order in which they were appended, each at its own offset."""

    @property
    def name(self) -> str:
        """The log's name in messages: ``<topic>-<partition>``."""

    @property
    def start(self) -> int:
        """The first offset still held."""

    @property
    def safe(self) -> int:
        """Everything below may be acknowledged and shown to readers, by this log's sync policy."""

    @property
    def stable(self) -> int:
        """Everything below is safe, and not in an open transaction (Kafka's LSO)."""

    @property
    def end(self) -> int:
        """The offset of the next record."""

    @property
    def notes(self) -> Notes | None:
        """The notes beside the log, if any."""

    @property
    def done(self) -> int:
        """The mark below which all appends of this process are safe."""

    @property
    def synced(self) -> int:
        """The mark below which all appends of this process survive a power cut.

        Equal to ``done``, unless the log's sync policy acknowledges unsynced records.
        """

    def append(self, batch: Batch) -> int:
        """Append the whole batch, and return the mark of its first record.

        Returns before the batch is safe: it may be acknowledged once ``done`` has passed the mark
        of its last record (``wait``, ``watch``). Raises StorageFull (nothing kept), LogFailed,
        ReadOnly.
        """

    def offset_of(self, mark: int) -> int:
        """The offset of the record with this mark; -1 if it is not known yet.

        It is known from the moment ``done`` has passed it until 65,536 more batches were appended.
        """

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """Whole batches from the one that contains offset ``at``, undecoded, all below ``safe``.

        Never waits. Empty when ``at >= safe``, or if the bytes must first be fetched: this call
        begins that, and ``watch`` tells when to read again. If a batch is available, at least one
        is returned, however small ``bytes_max`` is; the first may begin below ``at``. Raises
        OffsetBelowStart, OffsetAboveEnd (``at > end``), CorruptBatch.
        """

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """The result of ``read`` without reading it: from ``at`` itself on, to ``bytes_max``.

        None if that is impossible or not worthwhile: call ``read``. Never waits.
        """

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """The aborted transactions with a record or the marker in this range.

        In the order of their markers, up to a maximum number. Never waits. Raises CorruptBatch,
        Failed.
        """

    def where(self, offset: int) -> str:
        """The place of this offset for a message: a file's path."""

    def following(self, at: int) -> int | None:
        """The offset at which reading can continue if ``at`` cannot be read; None: nowhere."""

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """The offset of the first record with at least this timestamp; ``safe`` if there is none.

        ``damaged``: a batch that cannot be read may count as the result; otherwise raises
        CorruptBatch.
        """

    def latest_timestamp(self) -> int:
        """The largest timestamp of its records (ms); -1 without any. Raises CorruptBatch."""

    def trim(self, before: int) -> None:
        """Delete records below ``before``; durable on return.

        Raises OffsetAboveEnd (``before > safe``), ReadOnly.
        """

    def wait(self, upto: int) -> None:
        """Return once ``done >= upto``, a mark; the caller's thread may do the sync itself.

        Raises LogFailed if a sync has failed: appends above ``done`` are not acknowledged.
        """

    def check_failure(self) -> None:
        """Raises LogFailed, Damaged or Refused if appends above ``done`` will never be safe."""

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """Start a sync of written records without waiting; ``watch`` tells when it is done.

        Without ``hurry`` no caller waits, and the sync happens when ``flush.ms`` has passed.
        ``always``: even if the log's sync policy says that records are safe without a sync.
        """

    def show_soon(self) -> None:
        """Show written records soon, which are durable elsewhere.

        Immediately if somebody watches, otherwise together with the appends of the next few
        milliseconds.
        """

    def watch(self, wake: Wake) -> Wake:
        """Call ``wake``, from any thread, when there is news. Returns "stop watching".

        News: one of the log's offsets has moved, bytes that a read requested have arrived, or the
        log has failed.
        """
