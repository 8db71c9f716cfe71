"""Connects the space of topics with AMQP's exchanges at amq.topic, in the virtual host ``/``.

Messages published to that exchange, by any way, come here as to a station; messages of the space go
to the queues that are bound to it. No message returns to its origin.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.amqp.properties import NONE
from logstore.broker.mqtt.mapping import (
    EXCHANGE,
    PROPERTIES_BYTES_MAX,
    Seen,
    has_key,
    key_of,
    properties_of,
    seen,
    smaller,
)
from logstore.broker.mqtt.message import About, Carried
from logstore.broker.mqtt.space import Space, ahead
from logstore.broker.mqtt.swap import swap
from logstore.broker.queues.message import Content, Framed
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.station import Intake, Parcel, Route
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.vhost import Vhost
from logstore.errors import LogstoreError, Refused
from logstore.kept.queues import DEFAULT_VHOST

SAID_MAX: Final = 4096  # properties of AMQP that are remembered, of some 100 bytes


def join(
    space: Space, queues: Queues, soon: Callable[[Callable[[], object]], object]
) -> "Crossing":
    """Connect the space with the queues, so that messages pass in both directions."""
    crossing = Crossing(space, queues, soon)
    space.join(crossing)
    return crossing


class Crossing:
    """A ``Station`` beside the bindings of amq.topic. In the sessions' thread."""

    def __init__(
        self, space: Space, queues: Queues, soon: Callable[[Callable[[], object]], object]
    ) -> None:
        self.gone = False
        self.vhost: Vhost = queues.vhost(DEFAULT_VHOST.encode())
        self._space = space
        self._queues = queues
        self._soon = soon
        self._here = False  # whether it is beside amq.topic
        self._leads: bool | None = None  # whether anything is bound there; None: to be looked at
        self._said: dict[bytes, Seen] = {}
        self._came: list[tuple[bytes, Sequence[bytes]]] = []  # published elsewhere, in this turn
        self._late: deque[_Late] = deque()  # for queues that are being opened, and behind those
        self.vhost.topology.watch(EXCHANGE, self._bound)
        self._bound()

    @property
    def crowded(self) -> bool:
        """Whether too many messages wait for queues."""
        return self._queues.crowded

    # To queues

    def _bound(self) -> None:
        """Note that the bindings of amq.topic may be about to change."""
        self._leads = None
        self._space.channels.onward = self.onward

    @property
    def leads(self) -> bool:
        """Whether any queue or exchange is bound to amq.topic."""
        if self._leads is None:
            self._leads = self.vhost.topology.leads(EXCHANGE)
            if not self._leads:
                self._space.channels.onward = None
        return self._leads

    def rows(self) -> "Rows":
        """Return an empty collection for messages that are about to be published."""
        return Rows(self, self._space)

    def bound(self, key: bytes, framed: Framed) -> Route:
        """Return the route of a message of the space from amq.topic."""
        try:
            route = self.vhost.route_of(key, framed)
        except Refused:  # as by an exchange of a type that is not there any more
            return ()
        return tuple([it for it in route if it is not self])

    def hold_back(self, rows: "Rows", waiting: Waiting | None) -> bool:
        """Hold the rows back if a queue on their route has not counted its messages yet.

        Returns whether they are held back. Rows that were held back earlier are published first.
        """
        if not self._late and not self._queues.uncounted:  # as nearly always
            return False
        queue = self.vhost.uncounted(rows.routes)
        if queue is None and not self._late:
            return False
        if waiting is not None:
            waiting.park()
        size = rows.body_bytes
        self.vhost.logs.parked(size)
        self._late.append(_Late(rows, waiting, size))
        if queue is not None and len(self._late) == 1:
            queue.when_open(self._later)
        return True

    def _later(self) -> None:
        self._soon(self._go_on_late)

    def _go_on_late(self) -> None:
        while self._late:
            rows, waiting, size = self._late[0]
            queue = self.vhost.uncounted(rows.routes)
            if queue is not None:
                queue.when_open(self._later)
                return
            self._late.popleft()
            self.vhost.logs.parked(-size)
            rows.publish_now(waiting, None)
            if waiting is not None:
                waiting.unparked(None, 0)

    def onward(self, channel: bytes, payloads: Sequence[bytes]) -> None:
        """As Channels.onward. From any thread, with the channels' lock."""
        if not has_key(channel):
            self._space.counts.no_keys += len(payloads)
            return
        if not self._came:
            self._soon(self._go_on)
        self._came.append((channel, payloads))

    def _go_on(self) -> None:
        """Publish the messages of channels of this turn to the bound queues."""
        with self._space.channels.lock:
            came, self._came = self._came, []
        if not self.leads:
            return
        if self.crowded:  # publishers to a channel do not wait for room
            self._space.counts.full += sum(len(payloads) for _, payloads in came)
            return
        rows = self.rows()
        for channel, payloads in came:
            rows.add_plain(channel, payloads)
        rows.publish(None, None)

    # From exchanges

    def look(self) -> None:
        """Attend amq.topic while the space has subscribers, and only then: it costs time per
        message.
        """
        heard = self._space.is_heard
        if heard != self._here:
            self._here = heard
            self.vhost.topology.attend(EXCHANGE, self if heard else None)

    def drop(self) -> None:
        """As Station.drop: ``/`` is never deleted."""
        self.gone = True

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        space, rows = self._space, Rows(self, self._space)
        with space.channels.lock:
            begin, keys, framed = 0, parcel.keys, parcel.framed
            for n in range(1, len(keys) + 1):
                if n == len(keys) or keys[n] != keys[begin] or framed[n] is not framed[begin]:
                    self._take(parcel, range(begin, n), intake, rows)
                    begin = n
            space.channels.settle_elsewhere()
        rows.publish(intake.waiting, intake.held, intake)
        if not space.is_heard:
            self._soon(self.look)

    def _take(self, parcel: Parcel, numbers: range, intake: Intake, rows: "Rows") -> None:
        """Publish a run of messages with one routing key and the same properties to the space."""
        space, framed = self._space, parcel.framed[numbers.start]
        key = parcel.keys[numbers.start]
        topic = swap(key)
        said = self._seen(framed.properties, intake.now_ms)
        bodies = parcel.bodies[numbers.start : numbers.stop]
        try:
            beyond = space.beyond(topic, foreign=True)
            matched = self._to_channel(topic, bodies, said, intake)
        except LogstoreError as error:
            space.counts.unkept += len(numbers)
            intake.refuse(numbers, error)
            return
        queues = beyond.queues if said.qos else space.away(beyond)
        if queues:
            rows.add_framed(key, bodies, framed, queues, numbers)
        elif not matched:
            intake.unrouted.update(numbers)

    def _to_channel(
        self, topic: bytes, bodies: Sequence[Content], said: Seen, intake: Intake
    ) -> int:
        contents = [bytes(it) for it in bodies]
        if said.about is not None:
            contents = [Carried(it, said.about, None, retain=False) for it in contents]
        acked = said.qos > 0
        if intake.held is None:
            return self._space.to_channel(
                topic, contents, intake.waiting, acked=acked, foreign=True
            )
        size = sum(map(len, contents))
        go = partial(ahead, self._space, topic, contents, acked=acked, foreign=True)
        intake.held.before(go, size)
        return 1

    def _seen(self, data: bytes, now_ms: int) -> Seen:
        known = self._said.get(data)
        if known is None:
            known = seen(data, now_ms)
            if known.about is None or known.about.expires_at_ms is None:
                if len(self._said) >= SAID_MAX:
                    self._said.clear()
                self._said[data] = known
        return known


class _Late(NamedTuple):
    """Messages that were delayed."""

    rows: "Rows"
    waiting: Waiting | None
    size: int  # of their bodies


class Rows:
    """Messages for queues, in columns, gathered to be published together."""

    __slots__ = ("_bodies", "_crossing", "_framed", "_keys", "_numbers", "_routes", "_space")

    def __init__(self, crossing: Crossing, space: Space) -> None:
        self._crossing = crossing
        self._space = space
        self._routes: list[Route] = []
        self._keys: list[bytes] = []
        self._bodies: list[Content] = []
        self._framed: list[Framed] = []
        self._numbers: list[int] = []  # of a station's parcel

    def add(
        self,
        topic: bytes,
        payloads: Sequence[bytes],
        qos: int,
        about: About | None,
        queues: tuple[Queue, ...],
        *,
        retain: bool,
    ) -> int:
        """Add MQTT messages for these queues and the bound ones; return how many queues
        get each.
        """
        crossing = self._crossing
        if not queues and not crossing.leads:
            return 0
        data = properties_of(topic, qos, about, crossing.vhost.clock(), retain=retain)
        once = about is not None and about.expires_at_ms is not None
        framed = crossing.vhost.framing.framed(EXCHANGE, data, once=once)
        key = key_of(topic)
        bound: Route = ()
        if crossing.leads and has_key(topic):
            bound = crossing.bound(key, framed)
            if bound and len(data) > PROPERTIES_BYTES_MAX:
                less = crossing.vhost.framing.framed(EXCHANGE, smaller(data), once=True)
                self._add(bound, key, payloads, less)
                self._add(queues, key, payloads, framed)
                return len(queues) + len(bound)
        elif crossing.leads:
            self._space.counts.no_keys += len(payloads)
        route = tuple(dict.fromkeys([*queues, *bound])) if bound else queues
        self._add(route, key, payloads, framed)
        return len(route)

    def add_plain(self, channel: bytes, payloads: Sequence[bytes]) -> None:
        """Add messages of a channel for the bound queues."""
        crossing, key = self._crossing, swap(channel)
        framed = crossing.vhost.framing.framed(EXCHANGE, NONE)
        self._add(crossing.bound(key, framed), key, payloads, framed)

    def add_framed(
        self,
        key: bytes,
        bodies: Sequence[Content],
        framed: Framed,
        queues: tuple[Queue, ...],
        numbers: Sequence[int],
    ) -> None:
        """Add AMQP messages for these queues; ``numbers`` are their publisher's numbers
        for them.
        """
        self._add(queues, key, bodies, framed)
        self._numbers += numbers

    def _add(self, route: Route, key: bytes, bodies: Sequence[Content], framed: Framed) -> None:
        if route:
            count = len(bodies)
            self._routes += [route] * count
            self._keys += [key] * count
            self._bodies += bodies
            self._framed += [framed] * count

    def publish(
        self, waiting: Waiting | None, held: Transaction | None, intake: Intake | None = None
    ) -> None:
        """Publish the rows, or hold them back until their queues are ready.

        ``waiting`` is told which marks must become safe, ``intake`` which messages were rejected.
        """
        if not self._routes:
            return
        if held is None and self._crossing.hold_back(self, waiting):
            return
        self.publish_now(waiting, held, intake)

    @property
    def routes(self) -> set[Route]:
        """The distinct routes of the rows."""
        return set(self._routes)

    @property
    def body_bytes(self) -> int:
        return sum(map(len, self._bodies))

    def publish_now(
        self, waiting: Waiting | None, held: Transaction | None, intake: Intake | None = None
    ) -> None:
        """Publish the rows even if a queue has not counted its messages yet."""
        published = self._crossing.vhost.publish_columns(
            self._routes, self._keys, self._bodies, self._framed, held, waiting
        )
        if waiting is None:
            published.waiting.close()
        if intake is not None:
            intake.refuse([self._numbers[n] for n in published.rejected], published.error)
            intake.lasting.update(self._numbers[n] for n in published.lasting)
        elif published.error is not None:
            if waiting is not None:
                waiting.failed = waiting.failed or published.error
        else:
            self._space.counts.full += len(published.rejected)
