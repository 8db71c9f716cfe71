"""Delivers from a queue whose messages stay in order by key (``x-ordering-key``).

``ordering.py`` decides which consumer may get which message. This file supplies the messages: they
are read in the order of the queue, while a consumer has room for messages of free keys. Messages
that must wait for others with their key stay ready, and are read again when their turn comes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits, offsets_of, parts
from logstore.broker.queues.chunk import TAKEN_BYTES, Chunk
from logstore.broker.queues.keys import keys_of
from logstore.broker.queues.lane import Lane, Window
from logstore.broker.queues.ordering import Hands, Ordering, Tops, Waiting
from logstore.kept.queues import PRIORITY_MAX
from logstore.records.record import Record

SPOT_SHIFT: Final = 63  # offsets have as many bits
_OFFSET: Final = (1 << SPOT_SHIFT) - 1


class Stocked(Protocol):
    """The messages of the queue, as ``Stock`` provides them."""

    lanes: dict[int, Lane]
    order: list[Lane]
    cold: bool

    @property
    def sized(self) -> bool: ...
    @property
    def may_expire(self) -> bool: ...
    def record(self, lane: Lane, offset: int) -> Record | None: ...
    def deadline(self, record: Record) -> int: ...
    def alike(
        self, lane: Lane, records: list[Record], place: int, most: int, now_ms: int, fresh: bool
    ) -> tuple[int, bool]:
        """Return how many records from ``place`` on have expired, or have not, like the first; and
        which.
        """

    def gone_out(self, lane: Lane, records: Iterable[Record]) -> None:
        """Note that these records are no longer ready."""

    def settle_gap(self, lane: Lane, first: int, upto: int) -> None:
        """Settle offsets without records."""


class Dealt:
    """The result of one round of delivery."""

    __slots__ = ("chunks", "expired", "looked", "places", "size", "stuck")

    def __init__(self) -> None:
        # These are out. Messages of a chunk are in order, and others may lie between them.
        self.chunks: list[Chunk] = []
        self.places: list[int] = []  # who gets each of them, as a place among the hands
        self.expired: list[Chunk] = []  # these are out, too, and are to die
        self.looked = 0  # how many messages were looked at
        self.size = 0  # of the bodies that were read
        self.stuck: set[int] = set()  # lanes that can't be read on, for they are damaged


class InOrder:
    """The ordered delivery of one queue."""

    def __init__(self, stock: Stocked, ordering_key: bytes, prefetch: int) -> None:
        self.ordering: Ordering[Any] = Ordering(prefetch)
        self._stock = stock
        self._keys_of = keys_of(ordering_key)
        self.more = False  # the last deal has reached its limit
        # Of each lane: what an earlier process has left and was not looked at yet, the lowest last.
        self._left: dict[int, list[tuple[int, int]]] = {}

    # Giving out

    def deal(self, hands: Hands[Any], most: int, now_ms: int, *, fresh: bool) -> Dealt:
        """Deal messages to the hands, looking at ``most`` at most. ``fresh``: as in
        ``Stock.take``.
        """
        dealt, ordering, stock = Dealt(), self.ordering, self._stock
        tops = ordering.tops(hands)
        stock.cold = False
        while dealt.looked < most and dealt.size < TAKEN_BYTES:
            waits = ordering.first(tops, hands)
            found = None
            if not ordering.full and (waits is not None or hands.open):
                found = self._unseen(dealt.stuck)
            if waits is not None and (found is None or waits.spot < _spot(*found)):
                if not self._give(waits, tops, hands, now_ms, dealt):
                    break
            elif found is not None:
                before = ordering.waiting
                if not self._look(*found, hands, most - dealt.looked, now_ms, fresh, dealt):
                    break
                if ordering.waiting > before:  # perhaps before what has waited
                    tops = ordering.tops(hands)
            else:
                break
        else:
            self.more = True
            return dealt
        self.more = False
        return dealt

    def _give(self, it: Waiting, tops: Tops, hands: Hands[Any], now_ms: int, dealt: Dealt) -> bool:
        """Deal a message that has waited; False: it must be read first."""
        stock = self._stock
        lane, offset = self._place(it.spot)
        settlement = lane.settlement
        record = stock.record(lane, offset)
        dealt.looked += 1
        if record is None:
            if settlement.is_back(offset) and not lane.damaged:
                stock.cold = True
                return False
            settlement.take_one(offset)  # damaged: it is out, and is not lost sight of
            self.ordering.lose(it, tops, hands)
            return True
        again = settlement.again(offset)
        settlement.take_one(offset)
        stock.gone_out(lane, (record,))
        dealt.size += len(record.value or b"")
        if stock.may_expire and stock.deadline(record) <= now_ms:
            self.ordering.lose(it, tops, hands)
            dealt.expired.append(Chunk(lane, offset, [record], again, True))
        else:
            dealt.places.append(self.ordering.give(it, tops, hands))
            dealt.chunks.append(Chunk(lane, offset, [record], again, False))
        return True

    def _place(self, spot: int) -> tuple[Lane, int]:
        return self._stock.lanes[PRIORITY_MAX - (spot >> SPOT_SHIFT)], spot & _OFFSET

    def _unseen(self, stuck: set[int]) -> tuple[Lane, int] | None:
        """Return the first message that was not looked at yet."""
        for lane in self._stock.order:
            if lane.log is None or lane.number in stuck:
                continue
            left = self._left_of(lane)
            while left:
                block, mask = left[-1]
                if mask := mask & lane.settlement.back_of(block):
                    return lane, (block << BLOCK_SHIFT) + (mask & -mask).bit_length() - 1
                left.pop()
            if lane.settlement.cursor < lane.log.safe:
                return lane, lane.settlement.cursor
        return None

    def _left_of(self, lane: Lane) -> list[tuple[int, int]]:
        left = self._left.get(lane.number)
        if left is None:
            left = self._left[lane.number] = lane.settlement.backs()[::-1]
        return left

    def _look(
        self,
        lane: Lane,
        offset: int,
        hands: Hands[Any],
        most: int,
        now_ms: int,
        fresh: bool,
        dealt: Dealt,
    ) -> bool:
        """Look at consecutive messages of one window; False: nothing can be read now."""
        stock = self._stock
        window = lane.window(offset)
        if window is None and lane.damaged:
            dealt.stuck.add(lane.number)
            return True
        if window is None:
            stock.cold = True
            return False
        if not window.first <= offset < window.upto:
            return True  # damage was passed over
        place = window.place(offset)
        if place == len(window.records) or window.records[place].offset != offset:
            last = place == len(window.records)
            stock.settle_gap(lane, offset, window.upto if last else window.records[place].offset)
            return True
        again = bool(self._left_of(lane)) or offset < lane.settlement.delivered_below
        most = min(most, max(1, hands.room), self._in_a_row(lane, offset, window, place))
        expired = False
        if stock.may_expire or window.expires:
            most, expired = stock.alike(lane, window.records, place, most, now_ms, fresh)
        taken = sum(run.length for run in lane.settlement.take_between(offset, offset + most))
        if not taken:
            return False  # too much is unsettled
        self._looked_at(lane, offset, taken)
        records = window.records[place : place + taken]
        dealt.looked += taken
        if expired:
            stock.gone_out(lane, records)
            dealt.expired.append(Chunk(lane, offset, records, False, True))
            return True
        self._offer(Chunk(lane, offset, records, again, False), hands, dealt)
        return True

    def _in_a_row(self, lane: Lane, offset: int, window: Window, place: int) -> int:
        """Return how many consecutive messages are all new, or all left from before."""
        assert lane.log is not None
        left = self._left_of(lane)
        if left:
            block, mask = left[-1]
            ones = (mask & lane.settlement.back_of(block)) >> (offset & BIT)
            most = (~ones & (ones + 1)).bit_length() - 1
        else:
            most = lane.log.safe - offset
            if offset < (before := lane.settlement.delivered_below):
                most = min(most, before - offset)
        most = min(most, window.upto - offset)
        if window.offsets is None:
            return min(most, len(window.records) - place)
        n = 1
        while n < most and place + n < len(window.offsets) and (
            window.offsets[place + n] == offset + n
        ):  # fmt: skip
            n += 1
        return n

    def _looked_at(self, lane: Lane, offset: int, count: int) -> None:
        left = self._left_of(lane)
        if left:
            block, mask = left[-1]
            mask &= ~((1 << (offset & BIT) + count) - 1)
            if mask:
                left[-1] = block, mask
            else:
                left.pop()

    def _offer(self, chunk: Chunk, hands: Hands[Any], dealt: Dealt) -> None:
        lane, first, records, _, _ = chunk
        base = _base(lane.number)
        keys = self._keys_of(records, base)
        places = self.ordering.offer(range(base + first, base + first + len(keys)), keys, hands)
        if -1 in places:
            waiting = sum(1 << n for n, place in enumerate(places) if place < 0)
            lane.settlement.put_back(first, waiting)
            records = [it for it, place in zip(records, places, strict=True) if place >= 0]
            chunk = Chunk(lane, records[0].offset if records else first, records, chunk[3], False)
            places = [it for it in places if it >= 0]
        if records:
            dealt.chunks.append(chunk)
            dealt.places += places
            dealt.size += sum([len(it.value or b"") for it in records])
            self._stock.gone_out(lane, records)

    # Settled and returned messages

    def parted(self, number: int, first: int, bits: int) -> None:
        """Note that these messages are with no consumer any more: settled, or sent elsewhere."""
        self.ordering.settled(_base(number) + first, bits)

    def delayed(self, number: int, first: int, bits: int) -> None:
        """Note that these messages were returned, and are ready again after a delay."""
        base = _base(number)
        for offset in offsets_of(dict(parts(first, bits))):
            self.ordering.delay(base + offset)

    def returned(self, lane: Lane, those: Bits, dead: Bits) -> None:
        """Note that these messages were returned; those in ``dead`` die."""
        base = _base(lane.number)
        for offset in offsets_of(dead):
            self.ordering.settled(base + offset)
        for block, mask in those.items():
            for offset in offsets_of({block: mask & ~dead.get(block, 0)}):
                if not self.ordering.returned(base + offset):
                    left = self._left_of(lane)  # it is looked at as if it were left
                    left.append((block, 1 << (offset & BIT)))
                    left.sort(reverse=True)

    def dropped(self, lane: Lane, records: Sequence[Record], cursor: int) -> None:
        """Note that these messages, first and ready, are to die. ``cursor``: the lane's before
        that.
        """
        left, base = self._left_of(lane), _base(lane.number)
        for record, key in zip(records, self._keys_of(records, base), strict=True):
            offset = record.offset
            if offset < cursor and not (left and _is_left(left, offset)):
                self.ordering.dropped(base + offset, key)  # otherwise it was not looked at
        while left and not left[-1][1] & lane.settlement.back_of(left[-1][0]):
            left.pop()

    def purged(self) -> None:
        """Note that no message is ready any more."""
        self._left = {number: [] for number in self._left}
        self.ordering.purged()


def _is_left(left: list[tuple[int, int]], offset: int) -> bool:
    """Whether the message was not looked at yet.

    Messages leave from the lowest offset on, at the end of the list.
    """
    block = offset >> BLOCK_SHIFT
    for at in range(len(left) - 1, -1, -1):
        if left[at][0] >= block:
            return left[at][0] == block and bool(left[at][1] >> (offset & BIT) & 1)
    return False


def _base(number: int) -> int:
    """Return the spot of offset 0 of a lane."""
    return PRIORITY_MAX - number << SPOT_SHIFT


def _spot(lane: Lane, offset: int) -> int:
    """Return the position of a message in the queue: by priority, then by offset."""
    return PRIORITY_MAX - lane.number << SPOT_SHIFT | offset
