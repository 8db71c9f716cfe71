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
        """``lanes``: those that already exist. ``wake``: called from any thread when there is news.

        ``sized``: body bytes are counted. ``ordering_...``: as in ``Limits``.
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
        """Whether body bytes are counted."""
        return self._out_bytes is not None

    def live(self, ttl_ms: int | None, now_ms: int) -> None:
        """Set the TTL of messages that come from now on; existing messages keep theirs."""
        empty = self.opened and not (self.ready or self.out or self.coming)
        self.earlier = () if empty else changed(self.earlier, self.ttl_ms, now_ms)
        self.ttl_ms = ttl_ms

    def count_bytes(self, *, wanted: bool) -> None:
        """Start or stop counting body bytes."""
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
        """Begin to count: all existing lanes are open or have failed, or count on opening."""
        if not self.sizing or self._sizing is not None:
            return
        self._out_bytes = {}
        self.ready_bytes = self._stuck_bytes
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
        """The number of messages that are not unacknowledged; exact once the queue is open."""
        return sum([lane.ready for lane in self.order])

    @property
    def out(self) -> int:
        """The number of unacknowledged messages."""
        return sum([lane.settlement.out - size_of(lane.done) for lane in self.order])

    @property
    def unsafe(self) -> bool:
        """Whether some ready messages cannot be delivered yet."""
        return any((lane.end > lane.safe and not lane.broken) or lane.parked for lane in self.order)

    @property
    def blocked(self) -> bool:
        """Whether messages wait for others of their keys, so that not every consumer
        may take them.
        """
        return self.in_order is not None and self.in_order.ordering.waiting > 0

    @property
    def more(self) -> bool:
        """Whether the last caller for messages in order must ask again for later ones."""
        return self.in_order is not None and self.in_order.more

    @property
    def failed(self) -> LogstoreError | None:
        """The error of a lane that cannot be opened, or None."""
        return next((lane.failed for lane in self.order if lane.failed is not None), None)

    @property
    def busy(self) -> bool:
        """Whether a lane is being opened now."""
        return self._opening.under_way > 0

    def names(self) -> list[int]:
        """Return the numbers of all lanes, opened or not."""
        return [*self.lanes, *self._opening.unopened]

    # Opening

    @property
    def opened(self) -> bool:
        """Whether all existing lanes are open. Does not open any."""
        return not (self._opening.unopened or self._opening.under_way)

    def open(self) -> bool:
        """Begin to open the existing lanes; return whether all are open."""
        for number in list(self._opening.unopened):
            self.lane(number)
        return not self._opening.under_way

    def when_open(self, call: Callable[[], None]) -> None:
        """Call ``call`` once all existing lanes are open or have failed, perhaps at once."""
        self.open()
        self._opening.when_still(call)

    def when_still(self, call: Callable[[], None]) -> None:
        """Call ``call`` once no lane is being opened, perhaps at once."""
        self._opening.when_still(call)

    def lane(self, number: int) -> Lane:
        """Return the lane of a priority, perhaps still being opened. Raises StorageFull, Failed."""
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
        """Return the lane, to be opened and appended to in a later turn: many are published to."""
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
        """Set how long settled messages are retained."""
        if retention != self.retention:
            self.retention = retention
            if self._lasts:
                self._logs.alter(self._queue, self.names(), lambda: self.retention)

    def drop(self) -> None:
        """Drop everything: the queue is deleted."""
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
        """Append to the lane of this priority. ``expires``: some messages have their own
        expiration.

        ``later``: append in another turn; later batches queue up behind it. Raises StorageFull,
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
        """Append messages of a transaction. It is safe in the journal, so nothing is raised.

        ``again``: its number, if the lane may already have it. If the disk is full, the append is
        retried; if the lane fails, it is made after the next start.
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
        """Begin to open the lane of this priority. Raises the error if the lane has failed."""
        if not self._lasts and number not in self.lanes:
            return
        lane = self.lane(number)
        if lane.failed is not None:
            raise lane.failed
        if lane.log is not None:
            lane.log.check_failure()

    @property
    def stuck(self) -> bool:
        """Whether the disk was too full for messages of a transaction."""
        return any(lane.stuck for lane in self.order)

    @property
    def _stuck_bytes(self) -> int:
        """The bytes of their bodies."""
        return sum(it.body_bytes for lane in self.order for it in lane.stuck)

    def unstick(self) -> None:
        """Retry the appends for which the disk was too full."""
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
        """Journal at a close up to where messages were delivered; return whether that is known.

        It is unknown for messages that an earlier process may have delivered, until they are
        delivered again.
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
        """Return the number of failures of the message that is delivered next."""
        for lane in self.order:
            if (head := lane.head) is not None:
                return lane.settlement.failures(head)
        return 0

    def take(self, n: int, now_ms: int, *, fresh: bool) -> list[Chunk]:
        """Take the first ``n`` messages that are ready and safe, or as many as can be read now.

        Expired ones are among them, and must die. ``fresh``: messages that came since consumers
        were last looked for have not expired, however short their TTL.
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
        """Take consecutive messages of one window from the head on; -1: none can be taken now."""
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
        """Note that these messages are no longer ready."""
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
        """Settle offsets without records, which compaction has removed."""
        for run in lane.settlement.take_between(first, upto):
            self.settle(lane.number, run.first, (1 << run.length) - 1)
        self.flush()

    def alike(
        self, lane: Lane, records: list[Record], place: int, most: int, now_ms: int, fresh: bool
    ) -> tuple[int, bool]:
        """Return how many records from ``place`` on have expired, or have not, like the first; and
        which.
        """
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
        """Whether the queue has a message TTL, or had one."""
        return self.ttl_ms is not None or bool(self.earlier)

    def deadline(self, record: Record) -> int:
        """Return when the message expires."""
        own = self._showing.shown(record.headers).expiration_ms
        return self.expires_at(record.timestamp_ms, own)

    def expires_at(self, time_ms: int, own_ms: int | None) -> int:
        """Return when a message with this timestamp expires; ``own_ms``: its own expiration."""
        ttl = self.ttl_ms
        if self.earlier:
            ttl = ttl_at(self.earlier, time_ms, ttl)
        if own_ms is None or (ttl is not None and ttl < own_ms):
            own_ms = ttl
        return NO_TIME if own_ms is None else time_ms + own_ms

    def expired(self, n: int, now_ms: int) -> Iterator[Chunk]:
        """Take up to ``n`` expired messages from the heads of lanes; they must die."""
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
        """Return when the lane's head expires, as far as that is known now."""
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
        """Whether some messages are safe for which consumers were not looked for yet."""
        return any(lane.seen < lane.safe for lane in self.order)

    def all_seen(self) -> None:
        """Note that consumers were looked for, for all safe messages."""
        for lane in self.order:
            lane.seen = lane.safe
        if self.expiring and not self.ready and not self.out:  # what is out may come back
            self.expiring = False

    # Unacknowledged messages

    def settle(self, number: int, first: int, bits: int) -> None:
        """Settle the offsets ``first + n``, for each bit n of ``bits``."""
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
        """Settle offsets at once that the journal already has as settled."""
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
        """Apply the gathered settlements; return whether there were any."""
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
        """Note that these unacknowledged messages are on their way elsewhere, and are settled on
        arrival.
        """
        if self.repeats is not None:
            for block, mask in parts(first, bits):
                lane.leaving[block] = lane.leaving.get(block, 0) | mask

    def failures(self, lane: Lane, offset: int) -> int:
        return lane.settlement.failures(offset)

    def part(self, number: int, first: int, bits: int) -> None:
        """Note that these unacknowledged messages have no consumer any more, and do not return."""
        if self.in_order is not None:
            self.in_order.parted(number, first, bits)

    def delay(self, number: int, first: int, bits: int) -> None:
        """Note that these unacknowledged messages have no consumer any more;
        ``release`` follows.
        """
        if self.in_order is not None:
            self.in_order.delayed(number, first, bits)

    def release(self, number: int, first: int, bits: int, *, failed: bool, dead_at: int) -> Bits:
        """Make these messages ready again; return those that have failed too often, and
        must die.
        """
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
        """Settle all ready messages; return how many."""
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
        self.ready_bytes = self._stuck_bytes
        return total

    def record(self, lane: Lane, offset: int) -> Record | None:
        """Return an unacknowledged record; None: it must be read from disk first, or is damaged."""
        window = lane.window(offset)
        if window is None:
            return None
        place = window.place(offset)
        if place < len(window.records) and window.records[place].offset == offset:
            return window.records[place]
        return None


def in_a_row(offsets: list[int], place: int, most: int) -> int:
    """Return how many offsets from this place on are consecutive, up to ``most``."""
    upto = min(len(offsets), place + most)
    first = offsets[place]
    if offsets[upto - 1] - first == upto - 1 - place:
        return upto - place
    n = 1
    while offsets[place + n] == first + n:
        n += 1
    return n
