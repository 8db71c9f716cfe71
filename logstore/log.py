"""The waist: what the models above see of a log, and all that storage below must offer.

Offsets number records within one log, from 0, without reuse. ``start <= safe <= end``, and none
of the three goes back.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from logstore.records.batch import Batch

TopicPartition = tuple[str, int]  # a log by its topic's name and its number in it
Wake = Callable[[], None]


class Notes(Protocol):
    """What a model keeps beside a log, made of its batches alone; to the log it is bytes.

    The log saves it with its recovery point, so that both say the same, and at opening tells it of
    the batches above. All calls come one at a time.
    """

    def load(self, note: bytes) -> None:
        """Begin with what ``freeze`` gave. Raises Damaged."""

    def appended(self, batch: Batch, base_offset: int) -> None:
        """The batch, any batch, stands in the log; perhaps it is known already.

        Called under the log's lock at every append: return at once where nothing is to be kept.
        """

    def freeze(self) -> Callable[[], bytes]:
        """What is known now; the bytes of it are made when they are asked for."""


class Log(Protocol):
    """Records in the order appended, each at its own offset."""

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
    def end(self) -> int:
        """The offset that the next record takes."""

    @property
    def notes(self) -> Notes | None:
        """What is kept beside it, if anything."""

    def append(self, batch: Batch) -> int:
        """Take the whole batch, stamp its base offset, and return that offset.

        Returns after the write, before the sync: the batch may be acknowledged once ``safe`` has
        passed its last offset (``wait``, ``watch``).
        Raises StorageFull (nothing kept), LogFailed, ReadOnly.
        """

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """Whole batches from the one that holds offset ``at``, undecoded, all below ``safe``.

        What is here now; never blocks; empty when ``at >= safe``. At least one batch is returned
        where there is one, however small ``bytes_max`` is; the first may begin below ``at``.
        Raises OffsetBelowStart, OffsetAboveEnd (``at > end``), CorruptBatch.
        """

    def find(self, timestamp_ms: int) -> int:
        """The offset of the first record whose timestamp is at least this; ``safe`` if none is."""

    def latest_timestamp(self) -> int:
        """The largest timestamp of its records (ms); -1 without any. Raises CorruptBatch."""

    def trim(self, before: int) -> None:
        """Let go of records below ``before``; durable when it returns.

        Raises OffsetAboveEnd (``before > safe``), ReadOnly.
        """

    def wait(self, upto: int) -> None:
        """Return once ``safe >= upto``; the caller's thread may do the sync itself.

        Raises LogFailed when a sync has failed: what is above ``safe`` is not acknowledged.
        """

    def check_failure(self) -> None:
        """Raises LogFailed, Damaged or Refused where what is above ``safe`` never will be safe."""

    def sync_soon(self) -> None:
        """Have what is written synced without waiting for it; ``watch`` tells when it is."""

    def watch(self, wake: Wake) -> Wake:
        """Call ``wake`` (from any thread) after ``safe`` moves. Returns "stop watching"."""
