"""Messages that queues have delivered to a session and its client has not acknowledged.

To the queues, it is a channel whose prefetch count is the client's receive maximum. It outlives the
connection: unacknowledged messages stay delivered, and are sent again on the next connection, with
their packet identifiers, before anything else [MQTT-4.4.0-1], but never on the same connection.

Deliveries are not stored. So after a crash, messages of QoS 1 are sent again as possible
duplicates, with other identifiers. For QoS 2 that is not enough; ``exact`` handles it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple, Protocol

from logstore.broker.mqtt import mapping
from logstore.broker.mqtt.grants import UNASKED
from logstore.broker.mqtt.line import Line, Sent
from logstore.broker.mqtt.message import About
from logstore.broker.mqtt.outlet import Outlet
from logstore.broker.mqtt.packet_ids import NO_DELIVERY, PacketIds
from logstore.broker.queues.message import Delivery
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.subscription import Whose
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Delivered, Unacked
from logstore.counts.mqtt_sessions import SessionCounts
from logstore.errors import LogstoreError
from logstore.slices import Steps

MESSAGE_BYTES: Final = 128  # that a message takes at least: so many are asked for at once
PID_BYTES: Final = 150  # of memory, for a message that is not acknowledged
COUNTED: Final = 64  # such messages more, or less, that are told
FEW: Final = 100  # that a client may have where sessions take too much memory
HEAD_BYTES: Final = 16  # of a packet, about
AGAIN_AT_ONCE: Final = 200  # messages that are sent again before others have their turn
LEFT_UNITS: Final = 3  # of work in slices, to stop consuming a queue
SEEN_MAX: Final = 1024
SEEN_BYTES_MAX: Final = 1024

log: Final = logging.getLogger("logstore.mqtt")

Group = Delivered[Queue, Outlet]


class Way(NamedTuple):
    """How messages with one routing key and properties are sent to a client."""

    granted: bool  # False: they are not for it
    topic: bytes
    qos: int
    retain: bool
    ids: tuple[int, ...]
    about: About | None
    expires: bool  # it is of one message alone


class Exact(Protocol):
    """Ensures that messages of QoS 2 arrive exactly once (``exact.py``)."""

    def __contains__(self, pid: object) -> bool:
        """Whether this packet identifier belongs to an exchange of QoS 2 that has begun."""

    def has_any(self, pids: Sequence[int]) -> bool:
        """Whether one of these packet identifiers belongs to an exchange of QoS 2."""

    @property
    def held_bytes(self) -> int:
        """The size of messages that wait to be sent; above 0 if there are any.

        Later messages must wait behind them [MQTT-4.6.0-6].
        """

    def send(self, messages: Sequence[Sent], size: int) -> None:
        """Send messages of ``size`` bytes in order, once the packet identifiers of QoS 2 are
        durable.
        """

    def release(self, pid: int) -> bool:
        """Whether the client is known to have this message, so that PUBREL is to be sent."""

    def sent_again(self, pid: int) -> bool:
        """Whether this message may be sent again now.

        False: its packet identifier is not durable yet; ``Outbound.go_on`` is called once it is.
        """

    def unsendable(self, pids: Sequence[int]) -> None:
        """Count these as delivered: they are above the client's maximum packet size."""

    def lost(self, pids: Iterable[int]) -> None:
        """Forget these packet identifiers: their messages are gone without an acknowledgement."""


class Outbound:
    """The unacknowledged messages of one session. A ``Channel`` of queues."""

    __slots__ = (
        "_again", "_average", "_counted", "_counts", "_crowded", "_first", "_full", "_holds",
        "_seen", "_starved", "_told", "_unserved", "_watched", "exact", "line", "name", "outlets",
        "pids", "retired", "soon", "unacked", "window",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        soon: Callable[[Callable[[], object]], None],
        counts: SessionCounts,
        holds: Callable[[int], None],
        crowded: Callable[[], bool],
        last_pid: int = 0,
    ) -> None:
        """``name``: the client's id. ``holds``: is told of changes in memory, in bytes.

        ``crowded``: whether all sessions together have reached their memory limit.
        """
        self.name = name
        self.line: Line | None = None  # once what is to be sent may be sent
        self.window = 0  # messages that its client takes before it acknowledges some
        self.unacked: Unacked[Any, Any] = Unacked()
        self.pids = PacketIds(last_pid)
        self.outlets: list[Outlet] = []
        self.retired: list[Outlet] = []  # shared queues it left with unacked messages
        self.exact: Exact | None = None  # once there was a message of QoS 2
        self.soon = soon
        self._counts = counts
        self._holds = holds
        self._crowded = crowded
        self._counted = 0  # packet ids whose memory was told
        self._average = MESSAGE_BYTES
        self._starved = False  # a queue had more than there was room for
        self._full = False  # a queue has found no room in the window
        self._first = 0  # the outlet whose queue goes on first then, in rotation
        # Packet ids of messages to send again before any other; None: there are none.
        self._again: deque[int] | None = None
        self._watched: Callable[[], object] | None = None  # a log that is read for that
        self._seen: dict[bytes, mapping.Seen] = {}
        self._unserved: Callable[[], object] = lambda: None
        self._told = ""  # why it gets nothing of a queue, as was logged

    # As Channel

    @property
    def whose(self) -> Whose | None:
        """As Channel.whose."""
        return None if self.line is None else self.line.whose

    def room(self) -> int:
        """As Channel.room."""
        if self._again is not None:
            return 0
        window = min(self.window, FEW if self._crowded() else self.pids.most)
        # Some may be settled although their client does not know it yet.
        room = window - max(len(self.unacked), len(self.pids))
        self._full = self._full or room <= 0
        return room

    def can_take(self) -> int:
        """As ``Subscription.can_take``, for all outlets."""
        if self.line is None or self._again is not None:
            return 0
        room = self.line.room_bytes() - (0 if self.exact is None else self.exact.held_bytes)
        if room <= 0:
            self._starved = True
            return 0
        return -(-room // self._average)

    # The connection

    def attach(self, line: Line, window: int, unserved: Callable[[], None]) -> None:
        """Start sending on a new connection: first the unacknowledged messages, then the waiting
        ones.

        ``unserved`` is called if a queue cannot be consumed now, so that ``serve`` is tried again.
        """
        assert self.line is None
        self.line, self.window, self._unserved = line, window, unserved
        self._starved = False
        self._again = deque(self.pids)
        self.go_on()

    def detach(self) -> Steps:
        """Handle the end of the connection. Sent messages stay unacknowledged.

        Returns the steps that stop consuming the queues; the client gets nothing more meanwhile.
        """
        self.line = None
        self._again = None
        self._stop_watching()
        self._give_back_shared()
        return self._stop_consuming(self.outlets.copy())

    def _stop_consuming(self, outlets: Sequence[Outlet]) -> Steps:
        for outlet in outlets:
            if self.line is not None:  # the next connection is there
                return
            outlet.queue.unsubscribe(outlet)
            yield LEFT_UNITS

    def _give_back_shared(self) -> None:
        """Return messages of shared queues to other clients, except those of QoS 2
        [MQTT-4.8.2-4].
        """
        if not self.retired and not any(it.shared for it in self.outlets):
            return
        self.retired = []
        for pid, tag in list(self.pids.items()):
            if self.exact is not None and pid in self.exact:
                continue
            found = self.unacked.find(tag)
            if found is not None and found.consumer.shared:
                self.unacked.ack(tag)
                self.pids.free(pid)
                found.queue.release(found)

    def drained(self) -> None:
        """Go on sending: the connection has room again."""
        if not self._starved:
            return
        self._starved = False
        if self._again is not None:
            self.go_on()
        else:
            for outlet in self.outlets:
                outlet.queue.wake()

    # Queues

    def add(self, outlet: Outlet) -> None:
        """Consume one more queue."""
        self.outlets.append(outlet)
        if self.line is not None and self._again is None:
            self._subscribe(outlet)

    def retire(self, outlet: Outlet) -> None:
        """Stop consuming a shared queue.

        Messages that it has delivered stay with the client until they are acknowledged, or the
        connection ends.
        """
        self.outlets.remove(outlet)
        outlet.queue.unsubscribe(outlet)
        if self.unacked.of(outlet):
            self.retired.append(outlet)
            if self.line is None:
                self._give_back_shared()

    def forget_shared(self) -> None:
        """Settle messages of QoS 2 from shared queues when the session ends.

        No other client may get them [MQTT-4.8.2-5].
        """
        for delivered in self.unacked.drain(lambda tag: not self._is_shared(tag)):
            delivered.queue.settle(delivered)
        self._forget_settled()

    def _is_shared(self, tag: int) -> bool:
        found = self.unacked.find(tag)
        return found is not None and found.consumer.shared

    def remove(self, outlet: Outlet) -> list[Group]:
        """Stop consuming a queue; return its unacknowledged messages."""
        self.outlets.remove(outlet)
        outlet.queue.unsubscribe(outlet)
        found = self.unacked.drain_consumer(outlet)
        if found:
            self._forget_settled()
            self._make_room()
        return found

    def serve(self) -> bool:
        """Try again to consume the queues that could not be consumed; return whether
        all are now.
        """
        good = True
        if self.line is not None and self._again is None:
            for outlet in self.outlets:
                if outlet not in outlet.queue.subscriptions and not outlet.queue.gone:
                    good = self._subscribe(outlet) and good
        return good

    def _subscribe(self, outlet: Outlet) -> bool:
        try:
            outlet.queue.subscribe(outlet)
        except LogstoreError as error:  # another has it for itself, or its files are damaged
            if self._told != str(error):
                self._told = str(error)
                log.warning("client %r gets nothing of its queue: %s", self.name, error)
            self._unserved()
            return False
        self._told = ""
        return True

    def _forget_settled(self) -> None:
        """Free the packet identifiers of messages that were settled without an acknowledgement."""
        gone = [
            it for it, tag in self.pids.items()
            if tag not in self.unacked and tag != NO_DELIVERY
        ]  # fmt: skip
        for pid in gone:
            self.pids.free(pid)
        if self.exact is not None and gone:
            self.exact.lost(gone)

    # Deliveries

    def push(self, outlet: Outlet, tag: int, deliveries: Sequence[Delivery]) -> None:
        """Send these deliveries, whose delivery tags are consecutive."""
        assert self.line is not None
        alike = self._alike(outlet, tag, deliveries)
        messages, done = alike or self._each(outlet, tag, deliveries)
        if messages:
            size = sum([HEAD_BYTES + len(it[0]) + len(it[1]) for it in messages])
            self._average = max(MESSAGE_BYTES, size // len(messages))
            self._count()
            exact = self.exact
            if exact is not None and (exact.held_bytes or any(it[2] > 1 for it in messages)):
                exact.send(messages, size)
            else:
                self.put(messages)
        for n in done:
            self._settle(n, n)

    def _alike(
        self, outlet: Outlet, tag: int, deliveries: Sequence[Delivery]
    ) -> tuple[list[Sent], Sequence[int]] | None:
        """Return the messages if all have one topic and are acknowledged; None: they differ."""
        _, keys, said, bodies, again, times = zip(*deliveries, strict=True)
        count, key, data = len(keys), keys[0], said[0]
        if keys.count(key) < count or said.count(data) < count:
            return None
        way = self._way(outlet, key, data, times[0])
        if not way.granted or not way.qos or way.expires:
            return None
        columns = zip(
            repeat(way.topic), bodies, repeat(way.qos), self.pids.take_all(tag, count), again,
            repeat(way.retain), repeat(way.ids), repeat(way.about),
        )  # fmt: skip
        return list(map(tuple.__new__, repeat(Sent), columns)), ()

    def _each(
        self, outlet: Outlet, tag: int, deliveries: Sequence[Delivery]
    ) -> tuple[list[Sent], Sequence[int]]:
        """Return the messages, and the tags of deliveries that need no acknowledgement."""
        messages: list[Sent] = []
        done: list[int] = []
        take, new = self.pids.take, tuple.__new__
        last_key, last_data, way = b"", b"", None
        for n, (_, key, data, body, again, time_ms) in enumerate(deliveries, tag):
            if way is None or data is not last_data or key != last_key or way.expires:
                last_key, last_data = key, data
                way = self._way(outlet, key, data, time_ms)
            if not way.granted:
                self._counts.not_for_it += 1
                done.append(n)
                continue
            if way.qos:
                pid = take(n)
            else:
                pid, again = 0, False  # [MQTT-3.3.1-2]
                done.append(n)
            fields = (way.topic, body, way.qos, pid, again, way.retain, way.ids, way.about)
            messages.append(new(Sent, fields))
        return messages, done

    def _way(self, outlet: Outlet, key: bytes, data: bytes, time_ms: int) -> Way:
        """Return how the client gets messages with this routing key and these properties."""
        said = self._said(data, time_ms)
        topic = mapping.topic_of(key, said)
        granted = outlet.granted(topic)
        if granted is None:
            return Way(False, topic, 0, False, (), None, said.expires)
        qos = min(said.qos, granted.qos, 1 if self.exact is None else 2)
        retain = said.retained or (granted.retain_as_published and said.retain)
        return Way(True, topic, qos, retain, granted.ids, said.about, said.expires)

    def _count(self) -> None:
        more = len(self.pids) - self._counted
        if not -COUNTED < more < COUNTED:
            self._counted += more
            self._holds(more * PID_BYTES)

    def put(self, messages: Sequence[Sent]) -> None:
        """Send the messages; one above the client's maximum packet size counts as delivered."""
        if self.line is None:
            return
        too_long = self.line.send(messages)
        self._counts.sent += len(messages) - len(too_long)
        if too_long:
            self._counts.too_long += len(too_long)
            there = [it for it in too_long if it]  # of QoS 0 there is nothing to be freed
            exact = self.exact
            if exact is not None and (those := [it for it in there if it in exact]):
                exact.unsendable(those)
                there = [it for it in there if it not in those]
            self._free(there)

    def _said(self, data: bytes, time_ms: int) -> mapping.Seen:
        known = self._seen.get(data)
        if known is not None:
            return known
        said = mapping.seen(data, time_ms)
        if not said.expires and len(data) <= SEEN_BYTES_MAX:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen[data] = said
        return said

    # Acknowledgements

    def acked(self, pids: Sequence[int]) -> bool:
        """Handle PUBACK for these messages of QoS 1. False: one is of QoS 2, a protocol error."""
        if self.exact is not None and self.exact.has_any(pids):
            return False
        self._free(pids)
        return True

    def _free(self, pids: Sequence[int]) -> None:
        ranges, unknown = self.pids.free_all(pids)
        self._counts.unknown_acks += unknown
        self._count()
        self._make_room()  # before the queues do it that messages are settled of
        for first, last in ranges:
            self._settle(first, last)
        if self._again is not None:
            self.go_on()

    def completed(self, pids: Sequence[int], held: Transaction) -> None:
        """End exchanges of QoS 2, and settle their messages within the transaction ``held``."""
        ranges, unknown = self.pids.free_all(pids)
        self._counts.unknown_acks += unknown
        self._make_room()
        for first, last in ranges:
            for delivered in self._taken_out(first, last):
                if not delivered.queue.gone:
                    held.settle(delivered.queue, *delivered[1:4])
                    delivered.queue.count_acked(delivered)
        if self._again is not None:
            self.soon(self.go_on)

    def _make_room(self) -> None:
        """Let all queues go on, each time another one first: the window is of all of them."""
        if self._full and (count := len(self.outlets)) > 1:
            self._first = first = (self._first + 1) % count
            for outlet in (*self.outlets[first:], *self.outlets[:first]):
                outlet.queue.wake()
        self._full = False

    def _settle(self, first: int, last: int) -> None:
        for delivered in self._taken_out(first, last):
            delivered.queue.settle(delivered)

    def _taken_out(self, first: int, last: int) -> Sequence[Group]:
        found = self.unacked.ack_range(first, last)
        if found is None:  # some were taken out meanwhile
            found = [it for n in range(first, last + 1) if (it := self.unacked.ack(n)) is not None]
        return found

    # Messages to send again

    def go_on(self) -> None:
        """Send unacknowledged messages again as far as there is room, then consume the queues."""
        self._stop_watching()
        while (again := self._again) is not None and self.line is not None:
            if not again:
                self._all_again()
                return
            if self.line.room_bytes() <= 0:
                self._starved = True
                return
            if not self._some_again(again, self.line):
                return
            if again:
                self.soon(self.go_on)
                return

    def _all_again(self) -> None:
        self._again = None
        for outlet in self.outlets:
            if outlet not in outlet.queue.subscriptions:  # otherwise it is still consumed
                self._subscribe(outlet)

    def _some_again(self, again: deque[int], line: Line) -> bool:
        """Send some messages again; False: one must be read first, or the window is full."""
        messages: list[Sent] = []
        goes_on = True
        unsent = len(again)
        for _ in range(AGAIN_AT_ONCE):
            if not again or len(self.pids) - len(again) >= self.window:
                break
            pid = again[0]
            tag = self.pids.tag(pid)
            if tag is None:  # it was acknowledged by its number, or is settled
                again.popleft()
                continue
            if self.exact is not None and pid in self.exact:
                if self.exact.release(pid):
                    again.popleft()
                    self._put_again(messages)
                    messages = []
                    line.release([pid])
                    continue
                if not self.exact.sent_again(pid):
                    goes_on = False
                    break
            delivered = self.unacked.find(tag)
            if delivered is None or delivered.queue.gone:
                again.popleft()
                self.pids.free(pid)
                self.unacked.ack(tag)
                if self.exact is not None:
                    self.exact.lost([pid])
                continue
            message = self._message_again(pid, delivered)
            if message is None and self._watched is not None:
                goes_on = False
                break
            again.popleft()
            if message is not None:  # what is damaged stays out
                messages.append(message)
        self._put_again(messages)
        return goes_on and len(again) < unsent

    def _put_again(self, messages: list[Sent]) -> None:
        if messages and self.line is not None:
            self._counts.sent_again += len(messages)
            self.put(messages)

    def _message_again(self, pid: int, delivered: Group) -> Sent | None:
        """Return a message that is to be sent again.

        None: it must be read first, and ``go_on`` is called after that; or it is damaged, and then
        no log is watched.
        """
        delivery = delivered.queue.again(delivered)
        if delivery is None:
            lane = delivered.queue.stock.lanes[delivered.lane]
            if lane.damaged or lane.log is None:
                return None
            self._watched = lane.log.watch(self._news)
            delivery = delivered.queue.again(delivered)  # it may have come before that
        if delivery is None:
            return None
        self._stop_watching()
        _, key, data, body, _, time_ms = delivery
        said = self._said(data, time_ms)
        topic = mapping.topic_of(key, said)
        granted = delivered.consumer.granted(topic) or UNASKED
        qos = 2 if self.exact is not None and pid in self.exact else 1
        retain = said.retained or (granted.retain_as_published and said.retain)
        return Sent(topic, body, qos, pid, True, retain, granted.ids, said.about)

    def _news(self) -> None:
        """Wake the session: the log has records. Called from any thread."""
        self.soon(self.go_on)

    def _stop_watching(self) -> None:
        if self._watched is not None:
            self._watched()
            self._watched = None

    # Its end

    def give_back(self) -> None:
        """Return sent messages to their places in the queues, at the end of the process."""
        for delivered in self.unacked.drain():
            delivered.queue.release(delivered, failed=False)
