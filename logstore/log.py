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
        """Begin with what ``freeze`` gave. Raises Damaged."""

    def appended(self, batch: Batch, base_offset: int) -> Aborted | None:
        """The batch, any batch, stands in the log; perhaps it is known already.

        Called under the log's lock at every append: return at once where nothing is to be kept.
        Gives the transaction that the batch aborts, if it does; the log keeps that.
        """

    def freeze(self) -> Callable[[], bytes]:
        """What is known now; the bytes of it are made when they are asked for."""


@runtime_checkable
class Once(Notes, Protocol):
    """Notes that keep duplicates out: records whose id the log has, or had."""

    def apply(self, settings: TopicSettings) -> None:
        """The log has these settings. Called before all else, and when they change."""

    def admitted(self, batch: Batch) -> Batch:
        """The batch as it goes into the log now: perhaps with fewer records, at the same offsets.

        Called under the log's lock, before it is written. Raises CorruptBatch.
        """


@runtime_checkable
class Deciding(Notes, Protocol):
    """Notes that track the log's transactions."""

    @property
    def undecided(self) -> int | None:
        """The first offset of the earliest transaction that is open; None: none is."""


class Extent(Protocol):
    """Whole batches in an open file, to be sent from there and then released."""

    @property
    def position(self) -> int:
        """Where the bytes that are left begin in the file."""

    @property
    def following(self) -> int:
        """The offset after its last record."""

    def __len__(self) -> int:
        """Bytes that are left."""

    def fileno(self) -> int:
        """The open file."""

    def sent(self, size: int) -> None:
        """So many more bytes are done with."""

    def release(self) -> None:
        """The file is not needed any more. Called once."""


class Log(Protocol):
    """Records in the order in which they were appended, each at its own offset."""

    @property
    def name(self) -> str:
        """What messages call this log: ``<topic>-<partition>``."""

    @property
    def start(self) -> int:
        """The first offset still held."""

    @property
    def safe(self) -> int:
        """Everything below may be acknowledged and shown to readers, by this log's sync policy."""

    @property
    def stable(self) -> int:
        """Everything below is safe, and of no transaction that is open (Kafka's LSO)."""

    @property
    def end(self) -> int:
        """The offset that the next record takes."""

    @property
    def notes(self) -> Notes | None:
        """What is kept beside it, if anything."""

    @property
    def done(self) -> int:
        """The mark below which all that this process has appended is safe."""

    @property
    def synced(self) -> int:
        """The mark below which all that this process has appended outlives a power cut.

        ``done``, unless the log's sync policy acknowledges what is not synced.
        """

    def append(self, batch: Batch) -> int:
        """Take the whole batch, and return the mark of its first record.

        Returns before the batch is safe: it may be acknowledged once ``done`` has passed the mark
        of its last record (``wait``, ``watch``).
        Raises StorageFull (nothing kept), LogFailed, ReadOnly.
        """

    def offset_of(self, mark: int) -> int:
        """The offset of the record with this mark; -1 while it is not known.

        Known as soon as ``done`` has passed it, and until 65,536 more batches were appended.
        """

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """Whole batches from the one that holds offset ``at``, undecoded, all below ``safe``.

        What is here now; never waits. Empty when ``at >= safe``; also where the bytes have to be
        fetched first, which begins with this call, and ``watch`` tells when it is worth asking
        again. At least one batch is returned where there is one here, however small ``bytes_max``
        is; the first may begin below ``at``.
        Raises OffsetBelowStart, OffsetAboveEnd (``at > end``), CorruptBatch.
        """

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """What ``read`` would give, without reading it: from ``at`` itself on, to ``bytes_max``.

        None where that is not to be had, or not worth it: ``read`` tells why. Never waits.
        """

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """Transactions that were aborted, of which some record or the marker is in this range.

        In the order of their markers, at most so many. Never waits. Raises CorruptBatch, Failed.
        """

    def where(self, offset: int) -> str:
        """What holds this offset, for a message: a file's path."""

    def following(self, at: int) -> int | None:
        """Where reading can go on if nothing can be read from ``at`` on; None: nowhere."""

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """The offset of the first record whose timestamp is at least this; ``safe`` if none is.

        ``damaged``: also a batch that can't be read, and may hold it. Else raises CorruptBatch.
        """

    def latest_timestamp(self) -> int:
        """The largest timestamp of its records (ms); -1 without any. Raises CorruptBatch."""

    def trim(self, before: int) -> None:
        """Let go of records below ``before``; durable when it returns.

        Raises OffsetAboveEnd (``before > safe``), ReadOnly.
        """

    def wait(self, upto: int) -> None:
        """Return once ``done >= upto``, a mark; the caller's thread may do the sync itself.

        Raises LogFailed when a sync has failed: what is above ``done`` is not acknowledged.
        """

    def check_failure(self) -> None:
        """Raises LogFailed, Damaged or Refused where what is above ``done`` never will be safe."""

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """Have what is written synced without waiting for it; ``watch`` tells when it is.

        Without ``hurry`` nobody waits for it: by itself it is synced when ``flush.ms`` is over.
        ``always``: whatever the log's sync policy, which may say that it is safe without.
        """

    def show_soon(self) -> None:
        """Have what is written shown soon, which is durable elsewhere: at once where somebody
        watches, else with all that is appended in the next few milliseconds.
        """

    def watch(self, wake: Wake) -> Wake:
        """Call ``wake``, from any thread, when there is news. Returns "stop watching".

        News: one of its offsets has moved, what a read has asked for is here, the log has failed.
        """
