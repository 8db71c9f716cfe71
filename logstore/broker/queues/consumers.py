"""The consumers of one queue: which is served next, and what each is given.

Does not know what happens to messages without a taker, nor when messages are available.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Protocol

from logstore.broker.queues.chunk import Chunk
from logstore.broker.queues.dealing import Turns, deal, in_order, shared, strides
from logstore.broker.queues.in_order import Dealt
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import Limits, QueueFacts
from logstore.broker.queues.message import Delivery, Showing, counted
from logstore.broker.queues.ordering import Hands
from logstore.broker.queues.refusals import ExclusiveUse
from logstore.broker.queues.stock import Stock
from logstore.broker.queues.subscription import Channel, Subscription
from logstore.broker.queues.timeouts import Timeouts
from logstore.counts.queues import QueueCounts, QueueTotals, gave
from logstore.records.record import Record


class Served(Protocol):
    """The queue as its consumers see it."""

    facts: QueueFacts
    limits: Limits
    stock: Stock
    counts: QueueCounts
    totals: QueueTotals

    def touch(self) -> None:
        """Note that messages were settled."""


class Consumers:
    """The consumers of one queue."""

    __slots__ = ("_queue", "_showing", "_turns", "_used", "active", "there", "timeouts")

    def __init__(self, queue: Served, showing: Showing, used: Callable[[], None]) -> None:
        """``used``: called when a lasting message was delivered."""
        self.there: list[Subscription] = []  # by priority, then as they came
        self.active: Subscription | None = None  # the one that is served, if it is a single one
        self.timeouts = Timeouts(queue.limits.consumer_timeout_ms)
        self._queue = queue
        self._showing = showing
        self._used = used
        self._turns: Turns[Subscription] | None = None  # of several

    def add(self, subscription: Subscription) -> None:
        """Add a consumer, behind all of its priority. Raises ExclusiveUse."""
        there, queue = self.there, self._queue
        if (
            (there and (subscription.exclusive or there[0].exclusive))
            or (queue.limits.single_active and subscription.exclusive)
        ):  # fmt: skip
            raise ExclusiveUse(queue.facts.name)
        place = sum(1 for it in there if it.priority >= subscription.priority)
        there.insert(place, subscription)
        if self._turns is not None:
            self._turns.add(subscription)
        elif len(there) > 1:
            those = [it for it in there if it is not subscription]
            self._turns = Turns(those, passed=self._waits())
            self._turns.add(subscription)
        if self.active is None:
            self.active = there[0]

    def remove(self, subscription: Subscription) -> None:
        """Remove a consumer, which must be present."""
        self.there.remove(subscription)
        if self._turns is not None:
            self._turns.remove(subscription)
            if len(self.there) < 2:
                self._turns = None
        self.timeouts.forget(subscription)
        if self.active is subscription:
            self.active = self.there[0] if self.there else None

    def clear(self) -> list[Subscription]:
        """Remove all consumers, and return them."""
        found, self.there, self._turns = self.there, [], None
        self.active = None
        return found

    def _waits(self) -> bool:
        """Whether a message could be delivered."""
        return any(lane.head is not None for lane in self._queue.stock.order)

    def none_has_room(self) -> None:
        """Note that no consumer has room: if messages wait, all were passed over."""
        if self._turns is not None and self._waits():
            self._turns.none_has_room()

    def rooms(self, *, every: bool = False) -> list[tuple[Subscription, int]]:
        """Return the consumers to be served now, the next one first, each with its room.

        ``every``: include those with lower priorities than the highest that has room.
        """
        if self._queue.limits.single_active:
            candidates = [] if self.active is None else [self.active]
        else:
            candidates = self.there if self._turns is None else self._turns.order
        found: list[tuple[Subscription, int]] = []
        for it in candidates:
            if found and it.priority < found[0][0].priority and not every:
                break
            room, of_channel = it.can_take(), it.channel.room()
            if of_channel <= 0:
                continue  # nor does it get what needs no acknowledgement
            if room > 0 and not it.no_ack:
                if it.prefetch:
                    room = min(room, it.prefetch - it.channel.unacked.of(it))
                room = min(room, of_channel)
            if room > 0:
                found.append((it, room))
        return found if self._turns is None else _within_channels(self._turns.next(found))

    def push(self, rooms: list[tuple[Subscription, int]], chunks: list[Chunk], now_ms: int) -> None:
        """Deliver the chunks to these consumers, whose rooms are large enough."""
        deliveries = self.deliveries(chunks)
        if len(rooms) == 1:
            consumer = rooms[0][0]
            tag = self.hand(consumer.channel, consumer, consumer.no_ack, chunks)
            self.timeouts.had(consumer, tag + len(deliveries), now_ms)
            consumer.push(tag, deliveries)
            if self._turns is not None:
                self._turns.served(rooms, [list(range(len(deliveries)))])
            return
        offsets: list[tuple[int, int]] = []  # lane and offset of each
        for chunk in chunks:
            offsets += zip(
                [chunk.lane.number] * len(chunk.records), count(chunk.first), strict=False
            )
        hands = deal(len(deliveries), [room for _, room in rooms])
        assert self._turns is not None
        self._turns.served(rooms, hands)
        for consumer, hand in in_order([it for it, _ in rooms], hands):
            tag = self._hand_apart(consumer, [offsets[n] for n in hand])
            self.timeouts.had(consumer, tag + len(hand), now_ms)
            self._count(len(hand), fetched=False, no_ack=consumer.no_ack)
            consumer.push(tag, [deliveries[n] for n in hand])
        self._count_again(chunks)

    def hands(self) -> Hands[Subscription] | None:
        """Return all consumers with room, for messages bound to a consumer; None: there
        are none.
        """
        rooms = self.rooms(every=True)
        if not rooms:
            return None
        highest = rooms[0][0].priority
        front = sum(1 for it, _ in rooms if it.priority == highest)
        holders = [it for it, _ in rooms]
        return Hands(holders, [room for _, room in rooms], front, [not it.no_ack for it in holders])

    def push_dealt(self, hands: Hands[Subscription], dealt: Dealt, now_ms: int) -> None:
        """Deliver each message to the consumer to which it was dealt."""
        consumers = hands.holders
        numbers: list[list[int]] = [[] for _ in consumers]
        for n, place in enumerate(dealt.places):
            numbers[place].append(n)
        if self._turns is not None:
            self._turns.served([(it, 1) for it in consumers], numbers)
        deliveries = self.deliveries(dealt.chunks)
        offsets = [
            (lane.number, record.offset) for lane, _, records, _, _ in dealt.chunks
            for record in records
        ]  # fmt: skip
        for consumer, hand in in_order(consumers, numbers):
            tag = self._hand_apart(consumer, [offsets[n] for n in hand])
            self.timeouts.had(consumer, tag + len(hand), now_ms)
            self._count(len(hand), fetched=False, no_ack=consumer.no_ack)
            consumer.push(tag, [deliveries[n] for n in hand])
        self._count_again(dealt.chunks)

    def hand(
        self,
        channel: Channel,
        consumer: Subscription | None,
        no_ack: bool,
        chunks: Sequence[Chunk],
    ) -> int:
        """Deliver the chunks to the channel; return the first delivery tag."""
        queue, unacked = self._queue, channel.unacked
        first = unacked.next_tag
        for chunk in chunks:
            total = len(chunk.records)
            if no_ack:
                unacked.pass_over(total)
                queue.stock.settle(chunk.lane.number, chunk.first, (1 << total) - 1)
            else:
                unacked.add(queue, chunk.lane.number, chunk.first, total, consumer)
        self._count(unacked.next_tag - first, fetched=consumer is None, no_ack=no_ack)
        self._count_again(chunks)
        if queue.facts.lasts:
            self._used()
        if no_ack:
            queue.touch()
        return first

    def _hand_apart(self, consumer: Subscription, places: list[tuple[int, int]]) -> int:
        """As ``hand``, for messages that are not consecutive."""
        queue, unacked = self._queue, consumer.channel.unacked
        first = unacked.next_tag
        at = 0
        while at < len(places):
            number = places[at][0]
            end = at
            while end < len(places) and places[end][0] == number:
                end += 1
            for begin, total, stride in strides([offset for _, offset in places[at:end]]):
                if consumer.no_ack:
                    unacked.pass_over(total)
                    for n in range(total):
                        queue.stock.settle(number, begin + n * stride, 1)
                else:
                    unacked.add(queue, number, begin, total, consumer, stride)
            at = end
        if queue.facts.lasts:
            self._used()
        if consumer.no_ack:
            queue.touch()
        return first

    def _count(self, count: int, *, fetched: bool, no_ack: bool) -> None:
        gave(self._queue.counts, count, fetched=fetched, no_ack=no_ack)
        gave(self._queue.totals, count, fetched=fetched, no_ack=no_ack)

    def _count_again(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            if chunk.redelivered:
                self._queue.counts.redelivered += len(chunk.records)
                self._queue.totals.redelivered += len(chunk.records)

    def again(self, lane: Lane, record: Record) -> Delivery:
        """Return an unacknowledged message as it is delivered again."""
        return self.deliveries([Chunk(lane, record.offset, [record], True, False)])[0]

    def deliveries(self, chunks: Iterable[Chunk]) -> list[Delivery]:
        """Return these messages as deliveries."""
        shown_of, found = self._showing.shown, list[Delivery]()
        last, shown = None, None
        new = tuple.__new__
        for lane, _, records, again, _ in chunks:
            for record in records:
                headers = record.headers
                if headers is not last or shown is None:
                    last, shown = headers, shown_of(headers)
                fields = (
                    shown.exchange, record.key or b"", shown.deliver, record.value or b"", again,
                    record.timestamp_ms,
                )  # fmt: skip
                delivery = new(Delivery, fields)
                if again and (failures := lane.settlement.failures(record.offset)):
                    delivery = delivery._replace(properties=counted(shown.deliver, failures))
                found.append(delivery)
        return found


def _within_channels(rooms: list[tuple[Subscription, int]]) -> list[tuple[Subscription, int]]:
    """Limit the rooms of one channel's consumers to the room of the channel."""
    by_channel: dict[Channel, list[int]] = {}
    for n, (it, _) in enumerate(rooms):
        if not it.no_ack:
            by_channel.setdefault(it.channel, []).append(n)
    for channel, those in by_channel.items():
        wanted = [rooms[n][1] for n in those]
        if len(those) > 1 and channel.room() < sum(wanted):
            for n, room in zip(those, shared(channel.room(), wanted), strict=True):
                rooms[n] = rooms[n][0], room
    return [it for it in rooms if it[1] > 0]
