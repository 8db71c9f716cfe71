"""One lane of a queue: its log, its settlements, and the batches read last.

While its log is being opened in another thread, batches are parked in order. Reading uses windows:
several batches decoded together. One window is kept for each lane (several if it is read at many
places), with a bound on the bytes of all windows.
"""

import logging
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from logstore.broker.queues.bits import Bits
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.message import Framed
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.settlement import Settlement
from logstore.errors import CorruptBatch, LogstoreError
from logstore.log import Log, Wake
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.record import Record

if TYPE_CHECKING:  # few queues keep repeats out
    from logstore.broker.deduplication.present import Present

READ_BYTES: Final = 65_536  # some 500 small messages: decoding more at once keeps others waiting
# Of all windows together: as much as two of the largest batches that a publish makes.
WINDOWS_BYTES: Final = 16 << 20
# Of a lane that is read at many places at once, since messages wait for others of their keys.
SEVERAL_BYTES: Final = 4 << 20
SEVERAL_MAX: Final = 1024  # windows: where a consumer keeps up they are as small as the publishes

log: Final = logging.getLogger("logstore.queues")


class Window(NamedTuple):
    """Consecutive records: those of some whole batches."""

    first: int
    upto: int  # the offset after the last; batches may end with offsets that have no record
    records: list[Record]
    offsets: list[int] | None  # of each; None: there are no gaps
    expires: bool  # perhaps: some have an expiration of their own
    mean_bytes: int  # of a record

    def place(self, offset: int) -> int:
        """Return the index of the first record at this offset or above."""
        if self.offsets is None:
            return min(max(0, offset - self.first), len(self.records))
        return bisect_left(self.offsets, offset)


class _Shelf:
    """The windows of one lane."""

    __slots__ = ("bytes", "firsts", "windows")

    def __init__(self) -> None:
        self.windows: dict[int, tuple[Window, int]] = {}  # by their first offsets; used last: last
        self.firsts: list[int] = []  # the same, ascending
        self.bytes = 0

    def find(self, offset: int) -> Window | None:
        place = bisect_right(self.firsts, offset) - 1
        if place < 0:
            return None
        first = self.firsts[place]
        window = self.windows[first][0]
        if offset >= window.upto:
            return None
        if len(self.firsts) > 1:
            self.windows[first] = self.windows.pop(first)
        return window

    def put(self, window: Window, size: int) -> None:
        if window.first in self.windows:
            self.bytes -= self.windows.pop(window.first)[1]
        else:
            insort(self.firsts, window.first)
        self.windows[window.first] = window, size
        self.bytes += size

    def drop_oldest(self) -> None:
        first = next(iter(self.windows))
        self.bytes -= self.windows.pop(first)[1]
        del self.firsts[bisect_left(self.firsts, first)]


class Windows:
    """The windows of all lanes: the latest used, up to a bound of bytes."""

    def __init__(self, bytes_max: int = WINDOWS_BYTES) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[Lane, _Shelf] = OrderedDict()
        self._bytes = 0

    def find(self, lane: "Lane", offset: int) -> Window | None:
        """Return the window that contains this offset."""
        kept = self._kept.get(lane)
        return None if kept is None else kept.find(offset)

    def put(self, lane: "Lane", window: Window, size: int) -> None:
        """Put a window in place of the lane's last one, unless the lane has several.

        If there are too many bytes, windows of other lanes that were read longest ago are dropped.
        """
        shelf = self._kept.pop(lane, None)
        if shelf is None:
            shelf = _Shelf()
        self._bytes -= shelf.bytes
        most = SEVERAL_BYTES - size if lane.several else 0
        while shelf.windows and (shelf.bytes > most or len(shelf.windows) >= SEVERAL_MAX):
            shelf.drop_oldest()
        shelf.put(window, size)
        self._kept[lane] = shelf
        self._bytes += shelf.bytes
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.bytes

    def drop(self, lane: "Lane") -> None:
        shelf = self._kept.pop(lane, None)
        if shelf is not None:
            self._bytes -= shelf.bytes


class Parked(NamedTuple):
    """A batch that waits until the lane is open or has room."""

    batch: Batch
    waiting: Waiting
    held: bool = False  # it is of a held transaction: safe in the journal, and not given up
    again: int = 0  # its number, if it is of an earlier process, and may be here
    body_bytes: int = 0


class KeepsOut(Protocol):
    """A queue's deduplication (``repeats.py``) as its lanes and others see it."""

    def append(self, lane: "Lane", batch: Batch) -> int:
        """As ``Log.append``, to the lane's log."""

    def gave_up(self, batch: Batch, error: LogstoreError | None) -> None:
        """Note that a batch will not be appended."""

    def forget_framed(self, framed: Iterable[Framed], error: LogstoreError | None) -> None:
        """Note that messages of a failed transaction will never be appended."""

    def present_of(self, lane: "Lane") -> "Present":
        """Return the remembered ids of a lane that was just opened."""


class Lane:
    """The lane of one priority."""

    __slots__ = (
        "_stop", "_told", "damaged", "done", "failed", "leaving", "log", "number", "parked",
        "parked_messages", "present", "repeats", "seen", "settlement", "several", "stuck",
        "windows",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        windows: Windows,
        repeats: "KeepsOut | None" = None,
        *,
        several: bool = False,
    ) -> None:
        """``repeats``: the queue's deduplication, if it has any.

        ``several``: the lane is read at many places at once.
        """
        self.number = number
        self.several = several
        self.repeats = repeats
        self.present: Present | None = None  # what is remembered of its messages, then
        self.leaving: Bits = {}  # and which of them die, and are on their way elsewhere
        self.log: Log | None = None  # until it is open
        self.failed: LogstoreError | None = None  # why it never will be
        self.settlement = Settlement()
        self.done: Bits = {}  # settled in this turn
        self.parked: list[Parked] = []
        self.parked_messages = 0
        self.stuck: list[Parked] = []  # of transactions: the disk is full
        self.seen = 0  # below, consumers with room have been looked for
        self.windows = windows
        self._stop: Wake | None = None
        self._told = -1  # where damage was told of last
        self.damaged = False  # what was to be read last, as a rule its head, never can be

    # Its log

    def opened(self, log: Log, settlement: Settlement, wake: Callable[[], None]) -> None:
        """Attach the log; ``wake`` is called from any thread when it has news."""
        self.log, self.settlement = log, settlement
        self.seen = log.safe
        self._stop = log.watch(wake)
        if self.repeats is not None:
            self.present = self.repeats.present_of(self)

    def append(self, batch: Batch, waiting: Waiting) -> None:
        """Append a batch. Raises StorageFull, LogFailed, Damaged."""
        if self.failed is not None:
            raise self.failed
        if self.log is None or self.parked:
            self.park(Parked(batch, waiting))
            return
        assert not self.stuck  # those are in the journal: others come after them
        mark = self._append(batch)
        waiting.appended(self.log, mark + batch.record_count)
        self.log.sync_soon()  # consumers wait, though a publisher without confirms does not

    def _append(self, batch: Batch) -> int:
        assert self.log is not None
        if self.repeats is None:
            return self.log.append(batch)
        return self.repeats.append(self, batch)

    def park(self, parked: Parked) -> None:
        """Park a batch until ``unpark``; later ones queue up behind it."""
        parked.waiting.park()
        self.parked.append(parked)
        self.parked_messages += parked.batch.record_count

    def append_held(self, parked: Parked) -> bool:
        """Append a part of a transaction; False: the lane already has it from before the start."""
        if self.failed is None and (self.log is None or self.parked):
            self.park(parked)
            return True
        parked.waiting.park()
        return self._put_held(parked)

    def _put_held(self, parked: Parked) -> bool:
        """Append a part of a transaction that was parked. Bodies come in the order of their
        numbers.
        """
        if self.failed is not None:  # the next start does it
            self._refuse(parked, self.failed)
            return False
        assert self.log is not None
        if parked.again and parked.again <= self.last_held:
            parked.waiting.unparked(None, 0)  # recovery has synced it
            return False
        if not self.stuck:
            try:
                self._put(parked)
            except LogstoreError as error:
                if self.broken:
                    self._refuse(parked, error)
                    return False
            else:
                return True
        self.stuck.append(parked)
        return True

    @property
    def last_held(self) -> int:
        """The number of the last body that the lane has; 0: none."""
        notes = None if self.log is None else self.log.notes
        return notes.last if isinstance(notes, LaneNotes) else 0

    def _put(self, parked: Parked) -> None:
        assert self.log is not None
        mark = self._append(parked.batch)
        self.log.sync_soon()
        parked.waiting.unparked(self.log, mark + parked.batch.record_count)

    def unstick(self) -> None:
        """Append the stuck batches. Raises as ``append`` if there is still no room."""
        while self.stuck:
            self._put(self.stuck[0])
            del self.stuck[0]

    @property
    def stuck_bytes(self) -> int:
        return sum(len(it.batch.data) for it in self.stuck)

    def unpark(self) -> tuple[int, int]:
        """Append the parked batches; return the bytes no longer parked, and those of unneeded
        bodies.
        """
        assert self.log is not None
        parked, self.parked = self.parked, []
        self.parked_messages = 0
        unneeded, before = 0, self.stuck_bytes
        for it in parked:
            if it.held:
                unneeded += 0 if self._put_held(it) else it.body_bytes
                continue
            try:
                if self.stuck:
                    self.unstick()
                self._put(it)
            except LogstoreError as error:
                self._refuse(it, error)
        return sum(len(it.batch.data) for it in parked) + before - self.stuck_bytes, unneeded

    def give_up(self, error: LogstoreError | None) -> int:
        """Drop the parked batches; return their bytes. Without an error they are not needed any
        more.
        """
        self.failed = error
        parked, self.parked, self.stuck = [*self.parked, *self.stuck], [], []
        self.parked_messages = 0
        for it in parked:
            self._refuse(it, error)
        return sum(len(it.batch.data) for it in parked)

    def _refuse(self, parked: Parked, error: LogstoreError | None) -> None:
        parked.waiting.unparked(None, 0, error)
        if self.repeats is not None:
            self.repeats.gave_up(parked.batch, error)

    def close(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
        self.windows.drop(self)

    def left(self, block: int, mask: int) -> None:
        """Note that these messages are at their target, and settled."""
        rest = self.leaving.get(block, 0) & ~mask
        if rest:
            self.leaving[block] = rest
        else:
            self.leaving.pop(block, None)

    # What there is

    @property
    def end(self) -> int:
        return 0 if self.log is None else self.log.end

    @property
    def safe(self) -> int:
        return 0 if self.log is None else self.log.safe

    @property
    def broken(self) -> bool:
        """Whether the log has failed, so that unsafe records never become safe."""
        assert self.log is not None
        try:
            self.log.check_failure()
        except LogstoreError:
            return True
        return False

    @property
    def ready(self) -> int:
        """The number of messages that are not unacknowledged, safe or not."""
        return self.settlement.ready(self.end) + self.parked_messages

    @property
    def head(self) -> int | None:
        """The offset that is delivered next."""
        return None if self.log is None else self.settlement.head(self.log.safe)

    # Reading

    def window(self, offset: int) -> Window | None:
        """Return the records around this safe offset; None: not read yet, or damaged.

        The log's watch tells when they are here. A damaged record stays unsettled, and is passed
        over if a later one can be read.
        """
        window = self.windows.find(self, offset)
        if window is not None:
            return window
        assert self.log is not None
        self.damaged = False
        try:
            batches = self.log.read(offset, READ_BYTES)
            if not batches:
                return None
            window = self._decoded(batches, offset)
        except CorruptBatch as error:
            return self._pass_over(offset, error)
        except LogstoreError as error:
            self._tell(offset, error)
            return None
        self.windows.put(self, window, sum(len(it.data) for it in batches))
        return window

    def _decoded(self, batches: Sequence[Batch], offset: int) -> Window:
        records: list[Record] = []
        upto, expires = offset, False
        for batch in batches:
            try:
                found = decode(batch)
            except CorruptBatch:
                if upto > offset:  # read the intact records first
                    break
                raise
            records += found
            upto = batch.next_offset
        first = min(offset, batches[0].base_offset)
        gaps = len(records) != upto - first
        offsets = [it.offset for it in records] if gaps else None
        seen: set[int] = set()
        for record in records:
            if id(record.headers) not in seen:
                seen.add(id(record.headers))
                expires = expires or _may_expire(record)
        size = sum(len(it.data) for it in batches)
        return Window(first, upto, records, offsets, expires, size // max(1, len(records)))

    def _pass_over(self, offset: int, error: CorruptBatch) -> Window | None:
        assert self.log is not None
        self._tell(offset, error)
        following = self.log.following(offset)
        if following is None or self.settlement.is_out(offset):
            return None
        # Taken and never settled: it is out until the log is mended, and is not lost sight of.
        self.settlement.take_between(offset, following)
        self.damaged = False
        return self.window(head) if (head := self.head) is not None else None

    def _tell(self, offset: int, error: LogstoreError) -> None:
        self.damaged = True
        if self._told != offset:
            self._told = offset
            log.error("messages from offset %d on can't be delivered: %s", offset, error)


def _may_expire(record: Record) -> bool:
    # The flag of ``expiration`` in the property flags, whatever else they are.
    return len(record.headers) > 1 and bool((record.headers[1][1] or b"\0")[0] & 1)
