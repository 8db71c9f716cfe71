"""The station of an x-delayed-message exchange: holds messages until they are due.

The messages are in a log like a queue's, and settled in the journal like a queue's. Due messages
are read, routed by the bindings at that time, and published to their queues by a held transaction,
which also settles them: so at any moment a message is either here or there, never in both. The log
contains the due times, and an index (``schedules/schedule.py``) has the next ones.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from logstore.amqp.fields import text
from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import batch_of
from logstore.broker.queues.pending import NO_TIME, Pending
from logstore.broker.queues.publishing import Run, of
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.station_home import StationHome
from logstore.broker.queues.stock import Stock
from logstore.broker.queues.transaction import Part, Target, Transaction
from logstore.broker.queues.waited import Waited, due_of_record, waited
from logstore.broker.schedules.schedule import NEAR_MAX, Schedule
from logstore.counts.queues import QueueCounts, QueueTotals
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import CorruptBatch, LogstoreError
from logstore.kept.schedules import Entry, ScheduleIndex, of_exchange
from logstore.log import Log
from logstore.records.decode import decode
from logstore.records.picked import picked
from logstore.records.record import Record

_T = TypeVar("_T")

READ_BYTES: Final = 65_536
LOOKED_AT_MAX: Final = 200  # new records in one turn: to read when each is due takes 10 us
# What one turn moves: to read a message takes as much as to route two.
COST_MAX: Final = 100
BATCH_COST: Final = 2
MOVED_BYTES: Final = 1 << 20  # of bodies, beside the last
STEPS_MAX: Final = 4  # transactions that are on their way
UNWRITTEN_MAX: Final = 16_384  # entries missing in the index, at which scanning pauses
WRITE_AT: Final = 1000  # and so many are written at once, or what there is
WRITE_MS: Final = 2000  # after so long
WRITTEN_MAX: Final = 4096
CROWDED_MS: Final = 50  # between checks whether fewer are on their way
RETRY_MS: Final = 1000  # after which what could not be done is tried again
MANY: Final = 1 << 62
LANE: Final = 0

log: Final = logging.getLogger("logstore.queues")


class Moved(NamedTuple):
    """Messages that are about to be published to their queues."""

    offset: int
    message: Waited


class _Stale(NamedTuple):
    """Index entries without records; ``mark``: the index's own mark."""

    mark: int
    entries: Sequence[Entry] = ()
    following: Entry | None = None  # where more of it may begin


class DelayedStation:
    """The ``Station`` of one exchange; a ``Holder`` for transactions."""

    def __init__(self, home: StationHome) -> None:
        self.name = home.facts.name
        self.facts = QueueFacts(self.name, home.facts.durable)
        self.gone = False
        self.counts = QueueCounts()
        self.became = ScheduleCounts()
        self.totals = QueueTotals()  # its own: it is no queue
        self._home = home
        self._vhost = home.vhost
        self._host = home.vhost.host
        self._stock: Stock | None = None
        self._id = 0
        self._schedule: Schedule | None = None  # once the index was asked
        self._asking = False
        self._fresh: deque[Record] = deque()  # given out, and not in the schedule yet
        self._damaged = NO_TIME  # the first offset that can't be read
        self._damage = 0  # offsets that can't be read
        self._checked = False
        self._steps = 0
        self._later: list[tuple[int, list[int]]] = []  # when offsets are tried again
        self._write_ms = NO_TIME
        self._read_ms = 0  # not before: the index could not be read
        self._cold = False
        self._awake = False
        # Below, not all is looked at that was there at the start; 0: it is.
        self._there_upto = NO_TIME
        self._knowing: list[Callable[[LogstoreError | None], None]] = []
        if home.vhost.is_kept(self.name) or home.lanes:
            self._make_stock()
            if home.lanes:
                home.vhost.soon(self._open)

    def __repr__(self) -> str:
        return f"<DelayedStation {self.name!r}>"

    # As Holder

    @property
    def id(self) -> int:
        return self._id

    @property
    def kept(self) -> Pending | None:
        """What finishes once the exchange is durable; None: it is, or is not to be."""
        return self._vhost.being_kept(self.name)

    @property
    def stock(self) -> Stock:
        """The messages of the exchange."""
        return self._stock or self._make_stock()

    def _make_stock(self) -> Stock:
        self._id = self._home.number()
        self._stock = Stock(
            self._id, self._vhost.logs, self._vhost.windows, self._vhost.showing,
            self._wake_from_afar, lasts=self.facts.lasts, ttl_ms=None, sized=False,
            lanes=self._home.lanes,
        )  # fmt: skip
        self._vhost.hold(self)
        return self._stock

    def _open(self) -> None:
        if not self.gone:
            self.stock.open()

    # What there is

    @property
    def waiting(self) -> int:
        """The number of waiting messages; exact once the exchange is open."""
        return 0 if self._stock is None else self._stock.ready + self._stock.out

    @property
    def failed(self) -> LogstoreError | None:
        """The error if its messages cannot be read."""
        return None if self._stock is None else self._stock.failed

    @property
    def schedule(self) -> Schedule | None:
        """The schedule of waiting messages; None: it is not known yet."""
        return self._schedule

    @property
    def log(self) -> Log | None:
        """The log of its messages; None: it never had any."""
        lane = None if self._stock is None else self._stock.lanes.get(LANE)
        return None if lane is None else lane.log

    @property
    def index(self) -> ScheduleIndex:
        return self._host.schedules.index

    def work(self, first: Callable[[], _T], second: Callable[[_T], None]) -> None:
        """As Host.work."""
        self._host.work(first, second)

    def waits(self, offset: int) -> bool:
        """Whether a message waits at this offset, and is not being published now."""
        lane = None if self._stock is None else self._stock.lanes.get(LANE)
        if lane is None or self._schedule is None or self.gone:
            return False
        schedule = self._schedule
        given_out = offset < lane.settlement.cursor and not lane.settlement.is_settled(offset)
        return given_out and not schedule.is_out(offset) and not schedule.is_gone(offset)

    def when_known(self, call: Callable[[LogstoreError | None], None]) -> None:
        """Call ``call`` once the waiting messages are known, or with the error."""
        if self.failed is not None:
            call(self.failed)
        elif self._stock is None or not self._stock.names() or self._there_upto == 0:
            call(None)
        else:
            self._knowing.append(call)
            self._stock.when_open(self.wake)

    def cancel(self, entry: Entry, then: Callable[[LogstoreError | None], object]) -> None:
        """Cancel a waiting message."""
        schedule = self._schedule
        assert schedule is not None
        schedule.take(entry)

        def done(error: LogstoreError | None) -> None:
            if error is None:
                schedule.done([entry.offset])
                self._count(cancelled=1)
            else:
                schedule.back([entry.offset])
            then(error)

        self._settle([entry.offset], done)

    def _look_whether_known(self, lane: Lane) -> None:
        """Note whether all messages from before the start were looked at."""
        if self._there_upto and not self._fresh:
            head = lane.head
            if head is None or head >= self._there_upto:
                self._there_upto = 0
                self._known()

    def _known(self, error: LogstoreError | None = None) -> None:
        calls, self._knowing = self._knowing, []
        for call in calls:
            call(error)

    # As Station

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As ``Station.take``. A message without a queue counts as unrouted, and is stored
        nevertheless.

        There may be a queue for it when it is due.
        """
        stock = self.stock
        numbers = range(len(parcel.keys))
        if stock.failed is not None:
            intake.refuse(numbers, stock.failed)
            return
        for n in numbers:
            if not self._vhost.onward(self.name, parcel.keys[n], parcel.framed[n]):
                intake.unrouted.add(n)
        run = Run([()] * len(numbers), parcel.keys, parcel.bodies, parcel.framed)
        for some in run.batches((numbers,)):
            self._take(run, some, intake)

    def _take(self, run: Run, numbers: Sequence[int], intake: Intake) -> None:
        bodies, keys, framed = (
            of(run.bodies, numbers),
            of(run.keys, numbers),
            of(run.framed, numbers),
        )
        size = sum(map(len, bodies))
        stock = self.stock
        try:
            if intake.held is not None:
                stock.check(LANE)
                target = Target(self, LANE)
                part = Part([target], bodies, keys, framed, intake.now_ms, size, False)
                intake.held.bring(part)
                if self.facts.lasts:
                    intake.lasting.update(numbers)
                return
            batch = batch_of(bodies, keys, framed, intake.now_ms)
            stock.append(LANE, batch, size, intake.waiting, expires=False)
        except LogstoreError as error:
            intake.refuse(numbers, error)
            return
        self.counts.published += len(numbers)
        if (pending := self.kept) is not None:
            intake.waiting.pending(pending)

    def drop(self) -> None:
        """As ``Station.drop``: waiting messages are deleted too."""
        self.gone = True
        self._fresh.clear()
        if self._stock is not None:
            self._vhost.let_go(self)
            self._stock.drop()
        self._known()

    # Time

    def wake(self) -> None:
        """Schedule ``look``: there is news, or a message is due."""
        if not self._awake and not self.gone:
            self._awake = True
            self._vhost.soon(self.look)

    def _wake_from_afar(self) -> None:
        """Schedule ``look``. Called from any thread."""
        self._vhost.soon(self.look)

    def look(self) -> None:
        """Read new records and publish due messages, within bounds."""
        self._awake = False
        if self.gone or self._stock is None:
            return
        if self._stock.stuck:
            self._stock.unstick()
        lane = self._stock.lanes.get(LANE)
        if lane is None or lane.log is None:
            if self._stock.failed is not None:
                self._known(self._stock.failed)
            return
        now_ms = self._vhost.clock()
        if self._schedule is None:
            self._begin(lane, now_ms)
        else:
            self._cold = False
            more = self._scan(self._schedule, lane)
            self._look_whether_known(lane)
            more = self._move(self._schedule, lane, now_ms) or more
            self._index(self._schedule, lane, now_ms)
            if more:
                self.wake()
        self._arm(now_ms)

    def _arm(self, now_ms: int) -> None:
        stock = self._stock
        if self.gone or stock is None:
            return
        at_ms = NO_TIME
        schedule = self._schedule
        if schedule is not None:
            next_ms = schedule.next_ms
            blocked = self._steps >= STEPS_MAX or self._cold or self._host.crowded
            if next_ms is not None and not blocked:
                at_ms = min(at_ms, next_ms)
            if schedule.unwritten and not schedule.busy:
                at_ms = min(at_ms, self._write_ms)
            at_ms = min([at_ms, *(at for at, _ in self._later)])
        waits_for_index = schedule is None or (schedule.wants_more and not schedule.busy)
        if stock.stuck or self._cold or (waits_for_index and stock.names()):
            at_ms = min(at_ms, now_ms + RETRY_MS)
        if self._host.crowded:
            at_ms = min(at_ms, now_ms + CROWDED_MS)
        if at_ms < NO_TIME:
            self._host.alarm(self, at_ms)

    # The index, asked first

    def _begin(self, lane: Lane, now_ms: int) -> None:
        """Begin with the index, whose records need not be read again."""
        if not self._asking and now_ms >= self._read_ms:
            # All that there was when the log was opened: what came since is in no index.
            self._clip(lane, Entry(0, 0), lane.seen)

    def _clip(self, lane: Lane, first: Entry, end: int) -> None:
        """Remove index entries whose records were lost with the end of the log.

        Other records will get their offsets. It removes some at a time; while any are left, the
        mark stays beyond the end.
        """
        self._asking = True
        index, key = self._host.schedules.index, of_exchange(self._id)
        lasts = self.facts.lasts

        def read() -> _Stale | LogstoreError:
            try:
                mark = index.mark(key) if lasts else 0
                return _Stale(mark) if mark <= end else _stale(index, key, first, end, mark)
            except LogstoreError as error:
                return error

        def known(found: _Stale | LogstoreError) -> None:
            self._asking = False
            if self.gone:
                return
            if isinstance(found, LogstoreError):
                self._unreadable(found)
            elif found.mark <= end:
                self._know(lane, found.mark)
            else:
                self._remove(lane, end, found)
            self.wake()

        self._host.work(read, known)

    def _remove(self, lane: Lane, end: int, stale: "_Stale") -> None:
        self._asking = True

        def removed(pending: Pending) -> None:
            self._asking = False
            if self.gone:
                return
            if pending.error is not None:
                self._unreadable(pending.error)
            elif stale.following is not None:
                self._clip(lane, stale.following, end)
            else:
                self._know(lane, end)
            self.wake()

        mark = end if stale.following is None else stale.mark
        keeping = self._host.schedules.write(of_exchange(self._id), (), stale.entries, mark)
        Pending(keeping).then(removed)

    def _know(self, lane: Lane, mark: int) -> None:
        """Note that all unsettled records below the mark are in the index."""
        if mark:
            lane.settlement.take(MANY, mark)
        self._schedule = Schedule(Entry(0, 0) if mark else None)
        self._there_upto = lane.end

    def _unreadable(self, error: LogstoreError) -> None:
        log.warning("what waits at exchange %r is not known: %s", text(self.name), error)
        self._read_ms = self._vhost.clock() + RETRY_MS
        self._known(error)

    # Looking at what came

    def _scan(self, schedule: Schedule, lane: Lane) -> bool:
        """Schedule some new records; return whether there are more."""
        if not self._fresh and schedule.unwritten < UNWRITTEN_MAX:
            self._read(lane)
        for _ in range(min(LOOKED_AT_MAX, len(self._fresh))):
            record = self._fresh.popleft()
            schedule.add(due_of_record(record), record.offset)
        full = schedule.unwritten >= UNWRITTEN_MAX
        return bool(self._fresh) or (lane.head is not None and not self._cold and not full)

    def _read(self, lane: Lane) -> None:
        """Read some records that were not looked at yet."""
        head = lane.head
        if head is None or lane.log is None:
            return
        records: list[Record] = []
        upto = head
        try:
            batches = lane.log.read(head, READ_BYTES)
            if not batches:
                self._cold = True
                return
            for batch in batches:
                records += decode(batch)
                upto = batch.next_offset
        except CorruptBatch as error:
            if upto == head:
                self._pass_over(lane, head, error)
                return
        except LogstoreError as error:
            self._tell(error)
            self._cold = True
            return
        runs = lane.settlement.take(MANY, upto)
        if not runs:
            self._cold = True  # more are unsettled than memory is there for
        taken = {it for run in runs for it in range(run.first, run.upto)}
        found = [it for it in records if it.offset in taken]
        self._fresh.extend(found)
        gaps = taken.difference(it.offset for it in found)
        if gaps:  # upkeep has taken what was settled there
            self._settle(gaps, lambda error: None)

    def _pass_over(self, lane: Lane, offset: int, error: CorruptBatch) -> None:
        """Pass over a damaged record: it stays unsettled, and the next start looks at it again."""
        assert lane.log is not None
        self._tell(error)
        following = lane.log.following(offset)
        upto = lane.log.safe if following is None else following
        self._damage += sum(it.length for it in lane.settlement.take(MANY, upto))
        self._damaged = min(self._damaged, offset)

    def _tell(self, error: LogstoreError) -> None:
        log.error("messages that wait at exchange %r can't be read: %s", text(self.name), error)

    # Moving

    def _move(self, schedule: Schedule, lane: Lane, now_ms: int) -> bool:
        """Publish some due messages; return whether there are more."""
        due = [offsets for at_ms, offsets in self._later if at_ms <= now_ms]
        self._later = [it for it in self._later if it[0] > now_ms]
        for offsets in due:
            schedule.back(offsets)
        if self._steps >= STEPS_MAX or self._host.crowded:
            return False
        entries = schedule.due(now_ms, COST_MAX)
        if not entries:
            return False
        found, missing, left = self._records(lane, [it.offset for it in entries])
        order = {it.offset: n for n, it in enumerate(entries)}
        messages = [
            Moved(it.offset, waited(it, self._host.framing))
            for it in sorted(found, key=lambda it: order[it.offset])
        ]
        schedule.back(left)
        if messages or missing:
            self._go_on(schedule, messages, missing, now_ms)
        next_ms = schedule.next_ms
        return not self._cold and next_ms is not None and next_ms <= now_ms

    def _records(self, lane: Lane, offsets: list[int]) -> tuple[list[Record], list[int], list[int]]:
        """Return the records that can be read now, the missing offsets, and the offsets left for
        later.
        """
        assert lane.log is not None
        offsets.sort()
        found: list[Record] = []
        missing: list[int] = []
        cost = size = 0
        while offsets and cost < COST_MAX and size < MOVED_BYTES:
            those = offsets[:1]
            try:
                batches = lane.log.read(offsets[0], 1)
                if not batches:
                    self._cold = True
                    break
                those = [it for it in offsets if it < batches[0].next_offset]
                records = picked(batches[0], those)
                found += records
                size += sum(len(it.value or b"") for it in records)
                there = {it.offset for it in records}
                missing += [it for it in those if it not in there]
            except CorruptBatch as error:
                self._tell(error)
                self._damaged = min(self._damaged, offsets[0])
                self._later.append((NO_TIME, those))  # until the next start
            except LogstoreError as error:
                self._tell(error)
                self._later.append((self._vhost.clock() + RETRY_MS, offsets))
                return found, missing, []
            cost += BATCH_COST + len(those)
            del offsets[: len(those)]
        return found, missing, offsets

    def _go_on(
        self, schedule: Schedule, messages: list[Moved], missing: list[int], now_ms: int
    ) -> None:
        held = Transaction()
        routes = [
            self._vhost.onward(self.name, it.message.key, it.message.framed) for it in messages
        ]
        if (queue := self._vhost.uncounted(routes)) is not None:
            schedule.back([*(it.offset for it in messages), *missing])
            self._cold = True
            queue.when_open(self.wake)
            return
        while True:
            run = [(route, it.message) for route, it in zip(routes, messages, strict=True)]
            published = self._vhost.forward(run, held)
            stay = set(published.rejected) if published.error is not None else set()
            if not stay:
                break
            # A full disk is not a refusal by a queue. One queue may have taken what another did
            # not.
            held.forget()
            self._later.append((now_ms + RETRY_MS, [messages[n].offset for n in sorted(stay)]))
            routes = [it for n, it in enumerate(routes) if n not in stay]
            messages = [it for n, it in enumerate(messages) if n not in stay]
            if not messages:
                break
        dropped = len({*published.unrouted, *published.rejected} - stay) if messages else 0
        offsets = [*(it.offset for it in messages), *missing]
        if not offsets:
            return
        count = len(messages)

        def done(error: LogstoreError | None) -> None:
            self._steps -= 1
            if self.gone:
                return
            if error is not None:
                self._later.append((self._vhost.clock() + RETRY_MS, offsets))
            else:
                schedule.done(offsets)
                self._count(delivered=count - dropped, dropped=dropped)
            self.wake()

        self._steps += 1
        self._settle(offsets, done, held)

    def _settle(
        self,
        offsets: Sequence[int] | set[int],
        done: Callable[[LogstoreError | None], None],
        held: Transaction | None = None,
    ) -> None:
        """Settle the offsets, with the transaction ``held`` or by themselves."""
        held = Transaction() if held is None else held
        blocks: Bits = {}
        for offset in offsets:
            block = offset >> BLOCK_SHIFT
            blocks[block] = blocks.get(block, 0) | 1 << (offset & BIT)
        for block, mask in blocks.items():
            held.settle(self, LANE, block << BLOCK_SHIFT, mask)

        def committed(error: LogstoreError | None) -> None:
            if error is None and not self.gone:
                self._host.may_trim(self)
            done(error)

        self._vhost.commit(held, committed)

    def _count(self, *, delivered: int = 0, dropped: int = 0, cancelled: int = 0) -> None:
        for counts in (self.became, self._host.scheduled):
            counts.delivered += delivered
            counts.dropped += dropped
            counts.cancelled += cancelled

    # The index

    def _index(self, schedule: Schedule, lane: Lane, now_ms: int) -> None:
        if not schedule.unwritten:
            self._write_ms = NO_TIME
        elif self._write_ms == NO_TIME:
            self._write_ms = now_ms + WRITE_MS
        if schedule.unwritten >= WRITE_AT or self._write_ms <= now_ms:
            self._write(schedule, lane)
        if now_ms >= self._read_ms and (first := schedule.begin_load()) is not None:
            self._load(schedule, lane, first)
        if schedule.complete and not self._checked and lane.head is None and not self._fresh:
            self._checked = True
            self._check(schedule, lane)

    def _write(self, schedule: Schedule, lane: Lane) -> None:
        changes = schedule.begin_write(WRITTEN_MAX)
        if changes is None:
            return
        self._write_ms = NO_TIME
        key = of_exchange(self._id)
        keeping = self._host.schedules.write(
            key, changes.put, changes.gone, self._mark(schedule, lane)
        )

        def written(pending: Pending) -> None:
            schedule.wrote(kept=pending.error is None)
            if pending.error is not None:
                self._write_ms = self._vhost.clock() + RETRY_MS
            self.wake()

        Pending(keeping).then(written)

    def _mark(self, schedule: Schedule, lane: Lane) -> int:
        """Return the offset below which all records are in the index or settled."""
        mark = min(lane.settlement.cursor, self._damaged, schedule.first_new)
        if self._fresh:
            mark = min(mark, min(it.offset for it in self._fresh))
        head = lane.head
        return mark if head is None else min(mark, head)

    def _load(self, schedule: Schedule, lane: Lane, first: Entry) -> None:
        index, key = self._host.schedules.index, of_exchange(self._id)

        def read() -> tuple[Sequence[Entry], bool] | LogstoreError:
            try:
                return index.page(key, first, NEAR_MAX)
            except LogstoreError as error:
                return error

        def loaded(found: tuple[Sequence[Entry], bool] | LogstoreError) -> None:
            if self.gone:
                return
            if isinstance(found, LogstoreError):
                schedule.failed()
                self._unreadable(found)
            else:
                entries, more = found
                settled = lane.settlement.is_settled
                schedule.loaded(entries, more=more, settled=settled)
            self.wake()

        self._host.work(read, loaded)

    def _check(self, schedule: Schedule, lane: Lane) -> None:
        """Check that every unsettled record is scheduled, since it would otherwise wait forever."""
        if schedule.near + schedule.out + self._damage >= lane.settlement.out:
            return
        known = {it.offset for it in schedule.first(NEAR_MAX * 2)}
        lacking = [
            offset for offset, back in lane.settlement.unsettled(0)
            if not back and offset not in known and not schedule.is_out(offset)
        ]  # fmt: skip
        for offset in lacking:
            lane.settlement.release(offset, failed=False)
        log.warning(
            "the index of exchange %r lacks %d messages: they are read again",
            text(self.name), len(lacking),
        )  # fmt: skip
        self.wake()


def _stale(index: ScheduleIndex, key: bytes, first: Entry, end: int, mark: int) -> _Stale:
    """Return entries from ``first`` on with offsets of at least ``end``.

    It reads as many pages as hold a few thousand of them at most. Raises LogstoreError.
    """
    found: list[Entry] = []
    while len(found) < NEAR_MAX:
        entries, more = index.page(key, first, NEAR_MAX)
        found += [it for it in entries if it.offset >= end]
        if not more:
            return _Stale(mark, found)
        first = _behind(entries[-1])
    return _Stale(mark, found, first)


def _behind(entry: Entry) -> Entry:
    return Entry(entry.due_ms, entry.offset + 1)
