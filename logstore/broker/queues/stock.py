"""The messages of one queue: its lanes, and the next messages to deliver.

Knows the messages and their order, but not their receivers, nor what happens to dead ones.
Settlements of a durable queue are gathered for the journal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits, offsets_of, parts, size_of
from logstore.broker.queues.chunk import TAKEN_BYTES, Chunk
from logstore.broker.queues.in_order import InOrder
from logstore.broker.queues.lane import KeepsOut, Lane, Parked, Window, Windows
from logstore.broker.queues.lifetimes import Lifetimes, changed, ttl_at
from logstore.broker.queues.message import Showing
from logstore.broker.queues.opening import Logs, Opening, Part
from logstore.broker.queues.pending import NO_TIME, Waiting
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.sizing import Sizing
from logstore.errors import LogstoreError
from logstore.records.batch import Batch
from logstore.records.record import Record

NO_SETTINGS: Final[Mapping[str, str]] = {}


class Stock:
    """The messages of one queue."""

    def __init__(
        self,
        queue: int,
        logs: Logs,
        windows: Windows,
        showing: Showing,
        wake: Callable[[], None],
        *,
        lasts: bool,
        ttl_ms: int | None,
        sized: bool,
        lanes: Sequence[int] = (),
        retention: Mapping[str, str] = NO_SETTINGS,
        ordering_key: bytes | None = None,
        ordering_prefetch: int = 0,
    ) -> None:
        """``lanes``: those that there are already. ``wake``: from any thread, there is news.

        ``sized``: the bytes of bodies count. ``ordering_...``: as in ``Limits``.
        """
        self.repeats: KeepsOut | None = None  # what keeps repeats out, if the queue does
        self.settled = Settled()  # of this turn
        self.lanes: dict[int, Lane] = {}
        self.order: list[Lane] = []  # those that were opened or are being, highest first
        self.ready_bytes = 0  # if they count
        # Of held transactions that are on their way here.
        self.coming = self.coming_bytes = 0
        self.expiring = False  # some may have an expiration of their own
        self.came: Callable[[Lane], object] | None = None  # as Counted.came
        self.cold = False  # the last take has ended where something has to be read first
        self.retention = retention  # settings of its lanes: how long what is settled stays
        self._queue = queue
        self._logs = logs
        self._windows = windows
        self._showing = showing
        self._wake = wake
        self._lasts = lasts
        self.ttl_ms = ttl_ms  # of messages that come
        self.earlier: Lifetimes = ()  # of those that came before it was that
        self._out_bytes: dict[tuple[int, int], int] | None = {} if sized else None
        self.sizing = False  # these are being counted of what there was before, and not known yet
        self._sizing: Sizing | None = None
        self.in_order: InOrder | None = None  # where messages of one key stay in order
        if ordering_key is not None:
            self.in_order = InOrder(self, ordering_key, ordering_prefetch)
        self._opening = Opening(self, queue, logs, wake, lanes, lasts=lasts, sized=sized)

    # What there is

    @property
    def sized(self) -> bool:
        """Whether the bytes of bodies count."""
        return self._out_bytes is not None

    def live(self, ttl_ms: int | None, now_ms: int) -> None:
        """Messages that come from now on live so long; those that are here, as they did."""
        empty = self.opened and not (self.ready or self.out or self.coming)
        self.earlier = () if empty else changed(self.earlier, self.ttl_ms, now_ms)
        self.ttl_ms = ttl_ms

    def count_bytes(self, *, wanted: bool) -> None:
        """The bytes of bodies count from now on, or do not any more."""
        if wanted == self._opening.sized:
            return
        self._opening.sized = wanted
        if self._sizing is not None:
            self._sizing.give_up()
        self._sizing = None
        self.sizing = wanted
        self._out_bytes = {} if wanted else None
        if wanted:
            self._opening.when_still(self._count_bytes)

    def _count_bytes(self) -> None:
        """All that there is of it is open, or has failed, or will count what it has."""
        if not self.sizing or self._sizing is not None:
            return
        self._out_bytes = {}
        self.ready_bytes = sum(it.body_bytes for lane in self.order for it in lane.stuck)
        self._sizing = Sizing(self.order, self._logs, self._counted, self._all_counted)
        self._sizing.begin()

    def _counted(self, lane: Lane, part: Part) -> None:
        settlement, out = lane.settlement, self._out_bytes
        assert out is not None
        if part.offsets and part.offsets[0] >= settlement.cursor:
            self.ready_bytes += sum(part.sizes)
            return
        for offset, size in zip(part.offsets, part.sizes, strict=True):
            if offset >= settlement.cursor or settlement.is_back(offset):
                self.ready_bytes += size
            elif not settlement.is_settled(offset):
                out[lane.number, offset] = size

    def _all_counted(self) -> None:
        self._sizing = None
        self.sizing = False
        self._wake()

    @property
    def ready(self) -> int:
        """Messages that are not out. Right once it is open."""
        return sum([lane.ready for lane in self.order])

    @property
    def out(self) -> int:
        """Messages that are given out and not settled."""
        return sum([lane.settlement.out - size_of(lane.done) for lane in self.order])

    @property
    def unsafe(self) -> bool:
        """Whether something is ready that can't be given out yet."""
        return any((lane.end > lane.safe and not lane.broken) or lane.parked for lane in self.order)

    @property
    def blocked(self) -> bool:
        """Whether messages wait for others of their keys: not every consumer takes those."""
        return self.in_order is not None and self.in_order.ordering.waiting > 0

    @property
    def more(self) -> bool:
        """Whether the last that asked for messages in order is to ask again for what is behind."""
        return self.in_order is not None and self.in_order.more

    @property
    def failed(self) -> LogstoreError | None:
        """Why some lane can't be opened."""
        return next((lane.failed for lane in self.order if lane.failed is not None), None)

    @property
    def busy(self) -> bool:
        """Whether a lane is being opened now."""
        return self._opening.under_way > 0

    def names(self) -> list[int]:
        """All its lanes, opened or not."""
        return [*self.lanes, *self._opening.unopened]

    # Opening

    @property
    def opened(self) -> bool:
        """Whether all there is is open; nothing is opened for that."""
        return not (self._opening.unopened or self._opening.under_way)

    def open(self) -> bool:
        """Whether all there is is open; begin to open what is not."""
        for number in list(self._opening.unopened):
            self.lane(number)
        return not self._opening.under_way

    def when_open(self, call: Callable[[], None]) -> None:
        """Call it once all there is is open, or has failed to be; at once where it is."""
        self.open()
        self._opening.when_still(call)

    def when_still(self, call: Callable[[], None]) -> None:
        """Call it once no lane is being opened; at once where none is."""
        self._opening.when_still(call)

    def lane(self, number: int) -> Lane:
        """The lane of a priority, perhaps still being opened. Raises StorageFull, Failed."""
        known = self.lanes.get(number)
        if known is not None:
            return known
        lane = self._new(number)
        if not self._lasts:
            self._opening.open_volatile(lane)
            self._add(lane)
            return lane
        self._add(lane)
        self._opening.begin(lane)
        return lane

    def _new(self, number: int) -> Lane:
        return Lane(number, self._windows, self.repeats, several=self.in_order is not None)

    def _put_off(self, number: int) -> Lane:
        """The lane, to be opened, and appended to, in a later turn: many are published to."""
        lane = self.lanes.get(number)
        if lane is None:
            lane = self._new(number)
            self._add(lane)
        elif lane.log is None or lane.parked:
            return lane  # as others have it
        self._opening.put_off(lane)
        return lane

    def _add(self, lane: Lane) -> None:
        self.lanes[lane.number] = lane
        self.order = sorted(self.lanes.values(), key=lambda it: -it.number)

    def retain(self, retention: Mapping[str, str]) -> None:
        """What is settled stays for so long, from now on."""
        if retention != self.retention:
            self.retention = retention
            if self._lasts:
                self._logs.alter(self._queue, self.names(), lambda: self.retention)

    def drop(self) -> None:
        """The queue is gone: nobody needs any of it."""
        self._opening.drop()
        if self._sizing is not None:
            self._sizing.give_up()
        for lane in self.order:
            if lane.log is not None or lane.failed is not None:
                self._logs.parked(-lane.give_up(None))
            lane.close()

    # Adding

    def append(
        self,
        number: int,
        batch: Batch,
        body_bytes: int,
        waiting: Waiting,
        *,
        expires: bool,
        later: bool = False,
    ) -> None:
        """To the lane of this priority. ``expires``: some have an expiration of their own.

        ``later``: in another turn, and all that comes until then behind it. Raises StorageFull,
        LogFailed, Damaged.
        """
        if later and (lane := self._put_off(number)).failed is None:
            lane.park(Parked(batch, waiting))
        else:
            lane = self.lane(number)
            if lane.stuck:
                self._unstick(lane)
            lane.append(batch, waiting)
        if lane.parked:
            self._logs.parked(len(batch.data))
        self.ready_bytes += body_bytes
        self.expiring = self.expiring or expires

    def append_held(
        self,
        number: int,
        batch: Batch,
        body_bytes: int,
        waiting: Waiting,
        *,
        again: int = 0,
        expires: bool,
        later: bool = False,
    ) -> None:
        """The same of what a transaction brings: it is safe in the journal, so nothing is raised.

        ``again``: its number, where the lane may have it from before the start. What the disk has
        no room for is tried again; what the lane never takes is there after the next start.
        """
        try:
            lane = self._put_off(number) if later else self.lane(number)
        except LogstoreError as error:
            waiting.park()
            waiting.unparked(None, 0, error)
            if self.repeats is not None:
                self.repeats.gave_up(batch, error)
            return
        before = len(lane.parked) + len(lane.stuck)
        parked = Parked(batch, waiting, True, again, body_bytes)
        if later and lane.failed is None:
            lane.park(parked)
        elif not lane.append_held(parked):
            return
        if len(lane.parked) + len(lane.stuck) > before:
            self._logs.parked(len(batch.data))
            self._wake()
        self.ready_bytes += body_bytes
        self.expiring = self.expiring or expires

    def check(self, number: int) -> None:
        """Begin to open the lane of this priority; raises why it takes nothing any more."""
        if not self._lasts and number not in self.lanes:
            return
        lane = self.lane(number)
        if lane.failed is not None:
            raise lane.failed
        if lane.log is not None:
            lane.log.check_failure()

    @property
    def stuck(self) -> bool:
        """Whether the disk was too full for what a transaction brings."""
        return any(lane.stuck for lane in self.order)

    def unstick(self) -> None:
        """Try again."""
        for lane in self.order:
            if lane.stuck:
                with suppress(LogstoreError):  # there is no room yet
                    self._unstick(lane)

    def _unstick(self, lane: Lane) -> None:
        before = lane.stuck_bytes
        try:
            lane.unstick()
        finally:
            self._logs.parked(lane.stuck_bytes - before)

    def tell_cursors(self) -> bool:
        """Tell the journal of all that was given out, at a close; whether that is known.

        Of what an earlier process may have given out it is not, until it is given out again.
        """
        known = True
        for lane in self.order:
            if lane.log is not None and self._lasts:
                settlement = lane.settlement
                known = known and settlement.delivered_below <= settlement.cursor
                self.settled.given_out(lane.number, settlement.cursor)
        return known

    # Giving out

    def head_failures(self) -> int:
        """How often the message has failed that would be given out first."""
        for lane in self.order:
            if (head := lane.head) is not None:
                return lane.settlement.failures(head)
        return 0

    def take(self, n: int, now_ms: int, *, fresh: bool) -> list[Chunk]:
        """Give out the first ``n`` that are ready and safe, or as many as can be read now.

        Among them are those that have expired, which are to die. ``fresh``: what has come since
        consumers were looked for last has not, however short its time is.
        """
        found: list[Chunk] = []
        room = TAKEN_BYTES
        self.cold = False
        for lane in self.order:
            while n > 0 and room > 0 and (head := lane.head) is not None:
                window = lane.window(head)
                if window is None:
                    if lane.damaged:
                        break
                    self.cold = True
                    return found
                if (head := lane.head) is None:  # damage was passed over
                    break
                most = min(n, max(1, room // (window.mean_bytes + 1)))
                taken = self._take(lane, window, head, most, now_ms, fresh, found)
                if taken < 0:
                    return found
                n -= taken
                room -= taken * window.mean_bytes
        return found

    def _take(
        self,
        lane: Lane,
        window: Window,
        head: int,
        most: int,
        now_ms: int,
        fresh: bool,
        found: list[Chunk],
    ) -> int:
        """Messages in a row from the head on, of one window; -1: nothing can be taken now."""
        place = window.place(head)
        if window.offsets is None:
            most = min(most, window.upto - head)
        elif place == len(window.records) or window.records[place].offset != head:
            behind = window.upto if place == len(window.records) else window.offsets[place]
            self.settle_gap(lane, head, behind)
            return 0
        else:
            most = in_a_row(window.offsets, place, most)
        expired = False
        if self._limited or window.expires:
            most, expired = self.alike(lane, window.records, place, most, now_ms, fresh)
        cursor = lane.settlement.cursor
        runs = lane.settlement.take(most, head + most)
        taken = 0
        for run in runs:
            begin = place + run.first - head
            records = window.records[begin : begin + run.length]
            found.append(Chunk(lane, run.first, records, run.redelivered, expired))
            taken += run.length
            self.gone_out(lane, records)
            if self.in_order is not None:
                self.in_order.dropped(lane, records, cursor)
        return taken or -1

    def gone_out(self, lane: Lane, records: Iterable[Record]) -> None:
        """These are not ready any more."""
        if self._out_bytes is not None:
            for record in records:
                if self._sizing and self._sizing.leaves_out(lane.number, record.offset):
                    continue
                size = len(record.value or b"")
                self._out_bytes[lane.number, record.offset] = size
                self.ready_bytes -= size

    def is_out(self, lane: int, sizes: Mapping[int, int]) -> None:
        """As Counted.is_out."""
        if self._out_bytes is not None:
            self._out_bytes |= {(lane, offset): size for offset, size in sizes.items()}

    def settle_gap(self, lane: Lane, first: int, upto: int) -> None:
        """Offsets without records: compaction has taken those."""
        for run in lane.settlement.take_between(first, upto):
            self.settle(lane.number, run.first, (1 << run.length) - 1)
        self.flush()

    def alike(
        self, lane: Lane, records: list[Record], place: int, most: int, now_ms: int, fresh: bool
    ) -> tuple[int, bool]:
        """How many from there on have expired, or have not, as the first; which of the two."""
        first = None
        for n in range(most):
            record = records[place + n]
            late = self.deadline(record) <= now_ms and not (fresh and record.offset >= lane.seen)
            if first is None:
                first = late
            elif late != first:
                return n, first
        return most, bool(first)

    @property
    def may_expire(self) -> bool:
        """Whether some messages may expire."""
        return self._limited or self.expiring

    @property
    def _limited(self) -> bool:
        """Whether the queue has them expire, or had."""
        return self.ttl_ms is not None or bool(self.earlier)

    def deadline(self, record: Record) -> int:
        """When the message expires."""
        own = self._showing.shown(record.headers).expiration_ms
        return self.expires_at(record.timestamp_ms, own)

    def expires_at(self, time_ms: int, own_ms: int | None) -> int:
        """When a message of this time expires; ``own_ms``: its own expiration."""
        ttl = self.ttl_ms
        if self.earlier:
            ttl = ttl_at(self.earlier, time_ms, ttl)
        if own_ms is None or (ttl is not None and ttl < own_ms):
            own_ms = ttl
        return NO_TIME if own_ms is None else time_ms + own_ms

    def expired(self, n: int, now_ms: int) -> Iterator[Chunk]:
        """Give out those heads of lanes that have expired, at most so many; they are to die."""
        for lane in self.order:
            while n > 0 and self.head_deadline(lane) <= now_ms:
                head = lane.head
                window = None if head is None else self._windows.find(lane, head)
                found: list[Chunk] = []
                if head is None or window is None:
                    return
                taken = self._take(lane, window, head, n, now_ms, False, found)
                if taken < 0:
                    return
                n -= taken
                yield from found

    def head_deadline(self, lane: Lane) -> int:
        """When the lane's head expires, as far as that is known now."""
        if not self.may_expire:
            return NO_TIME
        head = lane.head
        window = None if head is None else lane.window(head)
        if head is None or window is None or not (self._limited or window.expires):
            return NO_TIME
        place = window.place(head)
        if place == len(window.records):
            return 0  # a gap: it is passed over
        return self.deadline(window.records[place])

    @property
    def unseen(self) -> bool:
        """Whether something is safe for which consumers were not looked for."""
        return any(lane.seen < lane.safe for lane in self.order)

    def all_seen(self) -> None:
        """Consumers were looked for, for all that is safe."""
        for lane in self.order:
            lane.seen = lane.safe
        if self.expiring and not self.ready and not self.out:  # what is out may come back
            self.expiring = False

    # What was given out

    def settle(self, number: int, first: int, bits: int) -> None:
        """It is done with: the offsets ``first + n``, for each bit n of ``bits``."""
        if self.in_order is not None:
            self.in_order.parted(number, first, bits)
        done = self.lanes[number].done
        if bits == 1:
            block = first >> BLOCK_SHIFT
            done[block] = done.get(block, 0) | 1 << (first & BIT)
        else:
            for block, mask in parts(first, bits):
                done[block] = done.get(block, 0) | mask

    def settle_told(self, number: int, first: int, bits: int) -> None:
        """The same of what the journal has been told of, at once."""
        if self.in_order is not None:
            self.in_order.parted(number, first, bits)
        lane = self.lanes[number]
        lane.settlement.settle_bits(first, bits)
        if lane.leaving:
            for block, mask in parts(first, bits):
                lane.left(block, mask)
        if self._out_bytes is not None:
            for offset in offsets_of(dict(parts(first, bits))):
                self._out_bytes.pop((number, offset), None)

    def flush(self) -> bool:
        """Make it so: what was settled is gathered until it is told. Whether it was anything."""
        some = False
        for lane in self.order:
            if not lane.done:
                continue
            some = True
            done, lane.done = lane.done, {}
            for block, mask in done.items():
                lane.settlement.settle_bits(block << BLOCK_SHIFT, mask)
                if lane.leaving:
                    lane.left(block, mask)
            if self._lasts:
                self.settled.settle_set(lane.number, done)
            if self._out_bytes is not None:
                for offset in offsets_of(done):
                    self._out_bytes.pop((lane.number, offset), None)
        return some

    def dies(self, lane: Lane, first: int, bits: int) -> None:
        """These, which are out, are on their way elsewhere, and are settled when they are there."""
        if self.repeats is not None:
            for block, mask in parts(first, bits):
                lane.leaving[block] = lane.leaving.get(block, 0) | mask

    def failures(self, lane: Lane, offset: int) -> int:
        return lane.settlement.failures(offset)

    def part(self, number: int, first: int, bits: int) -> None:
        """These, which are out, are with no consumer any more, and do not come back."""
        if self.in_order is not None:
            self.in_order.parted(number, first, bits)

    def delay(self, number: int, first: int, bits: int) -> None:
        """These, which are out, are with no consumer any more; ``release`` comes later."""
        if self.in_order is not None:
            self.in_order.delayed(number, first, bits)

    def release(self, number: int, first: int, bits: int, *, failed: bool, dead_at: int) -> Bits:
        """It is ready again; what is returned has come back too often, and is to die."""
        lane = self.lanes[number]
        dead = lane.settlement.release_bits(first, bits, failed=failed, dead_at=dead_at)
        those = dict(parts(first, bits))
        if failed and self._lasts:
            self.settled.failed(number, lane.settlement.failures_of(those))
        if self.in_order is not None:
            self.in_order.returned(lane, those, dead)
        if self._out_bytes is not None:
            for block, mask in dead.items():
                those[block] &= ~mask
            for offset in offsets_of(those):
                self.ready_bytes += self._out_bytes.pop((number, offset), 0)
        return dead

    def purge(self) -> int:
        """Settle all that is ready; how many that was."""
        self.flush()
        total = 0
        for lane in self.order:
            if lane.log is None:
                continue
            gone = lane.settlement.purge(lane.end)
            total += gone.total
            if self._lasts:
                self.settled.remove(lane.number, gone, lane.log.start)
        if self.in_order is not None:
            self.in_order.purged()
        self.ready_bytes = 0
        return total

    def record(self, lane: Lane, offset: int) -> Record | None:
        """One that is out, read again; None: it has to be read from disk first, or is damaged."""
        window = lane.window(offset)
        if window is None:
            return None
        place = window.place(offset)
        if place < len(window.records) and window.records[place].offset == offset:
            return window.records[place]
        return None


def in_a_row(offsets: list[int], place: int, most: int) -> int:
    """How many there are from this place on, up to ``most``, before the next gap."""
    upto = min(len(offsets), place + most)
    first = offsets[place]
    if offsets[upto - 1] - first == upto - 1 - place:
        return upto - place
    n = 1
    while offsets[place + n] == first + n:
        n += 1
    return n
