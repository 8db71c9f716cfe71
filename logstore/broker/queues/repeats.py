"""Deduplication in one queue, by the ids of messages that it has or had.

An id is known while its message is in the queue, ready or delivered, and has not expired; with
``x-cache-ttl``, also for that time after its arrival. Lanes know the ids of their messages; this
file knows the ids of messages on their way into a lane. A duplicate is safe when the first message
is: its publisher waits for that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.broker.deduplication.deduplication import QUEUES, Deduplication
from logstore.broker.deduplication.headers import HEADER
from logstore.broker.deduplication.present import NONE, Mark, Placed, Present
from logstore.broker.deduplication.window import FOREVER
from logstore.broker.queues.bits import BIT, BLOCK_SHIFT
from logstore.broker.queues.deaths import own_deaths
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.message import Framed, Showing
from logstore.broker.queues.message_ids import id_in, marks_of
from logstore.broker.queues.once import Once
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.stock import Stock
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError, Refused
from logstore.records.batch import Batch

NOT_OPEN: Final = "the queue is being opened, and what it has is not known yet: send it again"
NOT_STORED: Final = "a message was not stored, and so its repeat was not taken: send it again"


class Admitted(NamedTuple):
    """The result for some messages of a run, by their numbers in it."""

    ids: dict[int, bytes]  # ids of messages that are not repeats
    repeats: dict[int, int]  # of each repeat, the number of its first, if that is in this run


class _Coming(NamedTuple):
    """An id whose message is not in its lane yet."""

    held: Transaction | None  # it comes with this
    waiting: list[Waiting]  # of its repeats


class QueueRepeats:
    """The deduplication of one queue. Used in the sessions' thread."""

    def __init__(
        self,
        name: bytes,
        stock: Stock,
        once: Callable[[], Once | None],
        showing: Showing,
        clock: Callable[[], int],
        deduplication: Deduplication,
        *,
        known: bool,
    ) -> None:
        """``known``: there are no existing lanes that must be opened first."""
        self.kept_out = 0  # messages
        self.known = known
        self._name = name
        self._stock = stock
        self._once = once
        self._showing = showing
        self._clock = clock
        self._deduplication = deduplication
        self._coming: dict[bytes, _Coming] = {}
        self._prepared: tuple[Batch, list[Mark]] | None = None  # the last of a publish

    @property
    def ids(self) -> int:
        """The number of remembered ids."""
        return sum([len(it.present) for it in self._stock.order if it.present is not None])

    @property
    def forgotten(self) -> int:
        """The number of ids that were forgotten while they were in force."""
        return sum([it.present.forgotten for it in self._stock.order if it.present is not None])

    # What comes

    @staticmethod
    def not_stored() -> LogstoreError:
        """Return the error for a repeat of a message that was not stored."""
        return Refused(NOT_STORED)

    @staticmethod
    def not_open() -> LogstoreError:
        """Return the error before all existing ids are known."""
        return Refused(NOT_OPEN)

    def admit(
        self,
        framed: Sequence[Framed],
        numbers: Iterable[int],
        now_ms: int,
        waiting: Waiting,
        held: Transaction | None,
    ) -> Admitted:
        """Return which messages of a run are repeats; the others count as coming.

        ``waiting``, or the commit of ``held``, waits for the first messages that are not safe yet.
        """
        admitted, fresh = Admitted({}, {}), dict[bytes, int]()
        header = self._header
        for n in numbers:
            it = id_in(framed[n].properties, header)
            if it is None:
                continue
            if it in fresh:
                admitted.repeats[n] = fresh[it]
            elif self._is_known(it, now_ms, waiting, held, returns=self._returns(framed[n])):
                admitted.repeats[n] = NONE
            else:
                fresh[it] = n
                admitted.ids[n] = it
                self._coming[it] = _Coming(held, [])
        if admitted.repeats:
            self.kept_out += len(admitted.repeats)
            self._deduplication.keeps_out(QUEUES, len(admitted.repeats))
        return admitted

    @property
    def _header(self) -> str:
        once = self._once()
        return HEADER if once is None else once.header

    def _returns(self, framed: Framed) -> bool:
        """Whether the message has died here before and returns: it is not a repeat."""
        return bool(framed.deaths) and any(
            queue == self._name for queue, _ in own_deaths(framed.deaths)
        )

    def _is_known(
        self, it: bytes, now_ms: int, waiting: Waiting, held: Transaction | None, *, returns: bool
    ) -> bool:
        coming = self._coming.get(it)
        found = None if coming is not None else self._find(it, now_ms, returns=returns)
        if coming is None and found is None:
            return False
        if held is None and found is not None:
            _until_safe(*found, waiting)
        elif held is None:
            self._wait(it, waiting)
        elif coming is None or coming.held is None or coming.held.whole is not held.whole:
            held.ahead.append(lambda ahead: self._wait(it, ahead))
        return True

    def _wait(self, it: bytes, waiting: Waiting) -> None:
        """Wait until the message with this id is safe."""
        coming = self._coming.get(it)
        if coming is not None:
            waiting.park()
            coming.waiting.append(waiting)
            return
        found = self._find(it, self._clock())
        if found is not None:
            _until_safe(*found, waiting)

    def _find(self, it: bytes, now_ms: int, *, returns: bool = False) -> tuple[Lane, int] | None:
        """Return the message of this id that is in force: its lane and its offset.

        ``returns``: a settled message is then ignored, however recent.
        """
        for lane in self._stock.lanes.values():
            present = lane.present
            if present is None:
                continue
            with present.lock:
                placed = present.find(it)
            if placed is None or (returns and _is_done(lane, placed.offset)):
                continue
            if self._counts(lane, placed, now_ms):
                return lane, placed.offset
        return None

    def _counts(self, lane: Lane, placed: Placed, now_ms: int) -> bool:
        once = self._once()
        known_ms = None if once is None else once.known_ms
        if known_ms is not None and now_ms < placed.time_ms + known_ms:
            return True
        own_ms = None if placed.expiration_ms == NONE else placed.expiration_ms
        if now_ms >= self._stock.expires_at(placed.time_ms, own_ms):
            return False
        return not _is_done(lane, placed.offset)

    def forget(self, ids: Iterable[bytes], error: LogstoreError | None) -> None:
        """Forget coming messages that will never be stored; their repeats get the error.

        Without an error no one needs them: the queue is deleted.
        """
        for it in ids:
            coming = self._coming.pop(it, None)
            for waiting in () if coming is None else coming.waiting:
                waiting.unparked(None, 0, error)

    def drop(self) -> None:
        """Forget all coming messages: the queue is deleted."""
        self.forget(list(self._coming), None)

    def forget_framed(self, framed: Iterable[Framed], error: LogstoreError | None) -> None:
        """Forget coming messages of a failed transaction."""
        ids = [id_in(it.properties, self._header) for it in framed]
        self.forget([it for it in ids if it is not None], error)

    # Into lanes

    def prepare(
        self,
        batch: Batch,
        framed: Sequence[Framed],
        numbers: Sequence[int],
        ids: Mapping[int, bytes],
        now_ms: int,
    ) -> None:
        """Set the marks of a batch that is about to be appended, so that it need not be decoded."""
        marks = [
            Mark(ids.get(n), now_ms, NONE if it.expiration_ms is None else it.expiration_ms)
            for n, it in zip(numbers, framed, strict=True)
        ]
        self._prepared = batch, marks

    def _marks(self, batch: Batch) -> list[Mark]:
        if self._prepared is not None and self._prepared[0] is batch:
            return self._prepared[1]
        return marks_of(batch, self._header, self._showing)

    def append(self, lane: Lane, batch: Batch) -> int:
        """Append the batch to the lane's log. Raises as ``Log.append``."""
        assert lane.log is not None
        marks = self._marks(batch)
        notes = lane.log.notes
        lasts = isinstance(notes, LaneNotes) and notes.present is not None
        if isinstance(notes, LaneNotes):
            notes.coming = marks
        try:
            mark = lane.log.append(batch)
        finally:
            if isinstance(notes, LaneNotes):
                notes.coming = None
        present = lane.present
        if not lasts and present is not None:
            with present.lock:
                came = present.add(marks, mark, self._counting(lane))
            self._deduplication.room.came(came)
        self._forget_oldest()
        for place, (it, _, _) in enumerate(marks, 1):
            coming = None if it is None else self._coming.pop(it, None)
            for waiting in () if coming is None else coming.waiting:
                waiting.unparked(lane.log, mark + place)
        return mark

    def _forget_oldest(self) -> None:
        """Forget the oldest ids of all lanes together; each lane has its own limit too."""
        once, lanes = self._once(), self._stock.order
        if once is None or once.most is None or len(lanes) < 2:
            return
        over = self.ids - once.most
        while over > 0:
            found = []
            for lane in lanes:
                if lane.present is not None:
                    with lane.present.lock:
                        oldest = lane.present.oldest()
                    if oldest is not None:
                        found.append((oldest.time_ms, -lane.number, lane.present))
            if not found:  # another thread made room meanwhile
                return
            present = min(found)[2]
            before = len(present)
            with present.lock:
                present.forget(over)
            over -= before - len(present)

    def gave_up(self, batch: Batch, error: LogstoreError | None) -> None:
        """Note that a batch will not be appended."""
        self.forget([it for it, _, _ in self._marks(batch) if it is not None], error)

    def present_of(self, lane: Lane) -> Present:
        """Return the remembered ids of a lane that was just opened."""
        assert lane.log is not None
        notes = lane.log.notes
        present = notes.present if isinstance(notes, LaneNotes) else None
        if present is None:  # it does not last
            present = self._deduplication.of_lane()
        elif isinstance(notes, LaneNotes):
            notes.counts = self._counting(lane)
        once = self._once()
        present.most = FOREVER if once is None or once.most is None else once.most
        return present

    def _counting(self, lane: Lane) -> Callable[[Placed], bool]:
        return lambda placed: self._counts(lane, placed, self._clock())


def _until_safe(lane: Lane, offset: int, waiting: Waiting) -> None:
    if lane.log is not None and lane.log.done <= offset:
        waiting.appended(lane.log, offset + 1)


def _is_done(lane: Lane, offset: int) -> bool:
    """Whether a message is settled, or dies while its copy is on its way."""
    if lane.settlement.is_settled(offset):
        return True
    block, bit = offset >> BLOCK_SHIFT, offset & BIT
    return bool((lane.done.get(block, 0) | lane.leaving.get(block, 0)) >> bit & 1)
