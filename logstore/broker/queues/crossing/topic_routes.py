"""All topic routes of a process: add, remove, list; refuses circles."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from logstore.amqp import fields
from logstore.broker.committed import CommittedLog
from logstore.broker.queues.crossing.circles import Node, Ways, circle
from logstore.broker.queues.crossing.key_template import PLAIN, KeyTemplate
from logstore.broker.queues.crossing.topic_route import Around, TopicRoute, group_of
from logstore.broker.queues.decided_offsets import DecidedOffsets
from logstore.broker.queues.opening import Work
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.refusals import NoRoute, NoVhost, RouteDiffers, TooManyRoutes
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.vhost import Crossings, Vhost
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, ExchangeFacts
from logstore.broker.routing.refusals import Circular, InternalExchange, NoExchange
from logstore.broker.routing.targets import TO_CHANNEL, TYPES, target_of_exchange
from logstore.broker.start import Start, offset_of
from logstore.broker.transactions.operations import Offset
from logstore.errors import Failed, LogstoreError, Refused, UnknownTopic
from logstore.kept.groups import OffsetToCommit
from logstore.kept.queues import KeptTopicRoute
from logstore.log import TopicPartition
from logstore.names import check_topic

ROUTES_MAX: Final = 1000  # each looks at its topic, and keeps its partitions open
SCHEDULED: Final = ".delayed"  # ends the name of a topic whose records move to another when due

Then = Callable[["TopicRoute | LogstoreError"], object]


def routes_of(
    surroundings: Surroundings,
    offsets: Callable[[str, Mapping[TopicPartition, OffsetToCommit]], DecidedOffsets],
    journaled: Callable[[str], Sequence[tuple[int, Offset]]],
    work: Work,
    soon: Callable[[Callable[[], object]], object],
    alarm: Callable[[Any, int], None],
    crowded: Callable[[], bool],
) -> "TopicRoutes":
    """Return the routes of a process. Raises Failed if it has no topics."""
    topics, positions = surroundings.topics, surroundings.positions
    if topics is None or positions is None:
        raise Failed("no topic can feed an exchange in this process: it has no topics")
    routes = TopicRoutes(Around(topics, positions, offsets, journaled, work, soon, alarm, crowded))
    routes.is_lone = surroundings.roamers is None
    if surroundings.tell is not None:
        # From any thread: topics are made by workers.
        routes.stop = surroundings.tell(lambda _: soon(routes.changed))
    return routes


def _nothing() -> None:
    pass


class TopicRoutes(Crossings):
    """The routes of one process. Used in the sessions' thread."""

    is_lone = True  # of several nodes, each would send every record

    def __init__(self, around: Around) -> None:
        self.stop = _nothing  # being told of topics
        self._around = around
        self._by_topic: dict[str, list[TopicRoute]] = {}
        self._adding: set[tuple[bytes, str, str]] = set()
        self._hosts: dict[bytes, Vhost] = {}
        # Whether a route is in a circle, as far as it was found out: policies may make one.
        self._checked: dict[TopicRoute, LogstoreError | None] = {}

    def __iter__(self) -> Iterator[TopicRoute]:
        return (it for those in list(self._by_topic.values()) for it in those if not it.gone)

    def __bool__(self) -> bool:
        return bool(self._by_topic)

    def of(self, vhost: Vhost) -> list[TopicRoute]:
        """Return the routes of a virtual host, sorted by topic and exchange."""
        those = [it for it in self if it.vhost is vhost]
        return sorted(those, key=lambda it: (it.topic, it.exchange))

    def named(self, vhost: Vhost, topic: str, exchange: bytes) -> TopicRoute:
        """Return this route. Raises NoRoute."""
        for it in self._by_topic.get(topic, ()):
            if it.vhost is vhost and it.exchange == exchange and not it.gone:
                return it
        raise NoRoute(topic, fields.text(exchange))

    # Made and removed

    def restore(self, vhost: Vhost, fact: KeptTopicRoute) -> None:
        """Restore a stored route. Raises Refused if this version does not accept its template."""
        self._put(TopicRoute(fact, vhost, self._around, self._circular))

    def _put(self, route: TopicRoute) -> TopicRoute:
        self._by_topic.setdefault(route.topic, []).append(route)
        return route

    def check(
        self, vhost: Vhost, topic: str, exchange: bytes, key: str = PLAIN,
        fallback: str | None = None,
    ) -> TopicRoute | None:  # fmt: skip
        """Check a new route; return the existing one if it is equal.

        Raises NoVhost, InvalidName, UnknownTopic, NoExchange, InternalExchange, RouteDiffers,
        Circular, TooManyRoutes; Refused for an illegal template.
        """
        if vhost.gone:
            raise NoVhost(vhost.name)
        if not self.is_lone:
            raise Refused("no topic can feed an exchange at the nodes of a cluster")
        template = KeyTemplate(key, fallback)
        check_topic(topic)
        if self._around.topics.get(topic) is None:
            raise UnknownTopic(f"no topic {topic!r}; create it first", topic)
        if vhost.topology.exchange(exchange).internal:
            raise InternalExchange(exchange)
        try:
            there = self.named(vhost, topic, exchange)
        except NoRoute:
            pass
        else:
            if (there.fact.key, there.fact.arguments) != (key, _arguments(fallback)):
                raise RouteDiffers(topic, fields.text(exchange), there.fact.key)
            return there
        if sum(1 for _ in self) + len(self._adding) >= ROUTES_MAX:
            raise TooManyRoutes(ROUTES_MAX)
        ends = self._entered(vhost, exchange, template.literal)
        self._check_edges(Node("topic", topic.encode()), ends)
        return None

    def add(
        self,
        vhost: Vhost,
        topic: str,
        exchange: bytes,
        then: Then,
        *,
        key: str = PLAIN,
        fallback: str | None = None,
        start: Start = "earliest",
    ) -> None:
        """Route the records of the topic, from ``start`` on, to the exchange as well.

        Its position is stored before ``then`` is called. Raises as ``check``; ``then`` gets
        OffsetOutOfRange, Damaged, StorageFull.
        """
        there = self.check(vhost, topic, exchange, key, fallback)
        name = vhost.name, topic, fields.text(exchange)
        if name in self._adding or (there is not None and not there.begun):
            raise Refused(f"topic {topic!r} is about to feed exchange {name[2]!r}; try again")
        if there is not None:
            then(there)
            return
        found = self._around.topics.get(topic)
        assert found is not None
        self._adding.add(name)

        def work() -> Mapping[int, int] | LogstoreError:
            try:
                return {
                    n: offset_of(CommittedLog(found.partition(n)), start)
                    for n in range(len(found.partitions))
                }
            except LogstoreError as error:
                return error

        def looked_up(offsets: Mapping[int, int] | LogstoreError) -> None:
            self._adding.discard(name)
            if isinstance(offsets, LogstoreError):
                then(offsets)
                return
            try:
                self.check(vhost, topic, exchange, key, fallback)  # all may be otherwise by now
            except LogstoreError as error:
                then(error)
                return
            self._add(vhost, topic, exchange, key, fallback, found.id, offsets, then)

        self._around.work(work, looked_up)

    def _add(
        self, vhost: Vhost, topic: str, exchange: bytes, key: str, fallback: str | None,
        topic_id: str, offsets: Mapping[int, int], then: Then,
    ) -> None:  # fmt: skip
        fact = vhost.new_route(topic, fields.text(exchange), key, _arguments(fallback))
        # In one transaction with its row, or in one before: a route begins where it was told to.
        places = {
            (topic, n): OffsetToCommit(offset, topic_id=topic_id) for n, offset in offsets.items()
        }
        positions = self._around.positions.commit(group_of(fact.id, topic), places)
        pending = vhost.keep_route(fact)
        route = self._put(TopicRoute(fact, vhost, self._around, self._circular, hold=True))

        def kept(pending: Pending) -> None:
            error = positions.error or pending.error
            if error is None:
                route.begin()
                then(route)
                return
            if pending.error is None and not route.gone:
                vhost.forget_route(fact)
            self._take_out(route)
            then(error)

        positions.then(lambda _: pending.then(kept))

    def remove(self, vhost: Vhost, topic: str, exchange: bytes) -> Pending:
        """Remove a route and its position. Raises NoRoute."""
        route = self.named(vhost, topic, exchange)
        pending = vhost.forget_route(route.fact)
        self._take_out(route)  # its position goes after its row, or it would begin with the first
        return pending

    def _take_out(self, route: TopicRoute) -> None:
        route.drop()
        self._clean(route.topic)

    def _clean(self, topic: str) -> None:
        those = [it for it in self._by_topic.get(topic, ()) if not it.gone]
        if those:
            self._by_topic[topic] = those
        else:
            self._by_topic.pop(topic, None)
        self._checked.clear()

    # Changes around them

    def vhost_gone(self) -> None:
        """Remove the routes of a deleted virtual host."""
        for topic in list(self._by_topic):
            self._clean(topic)

    def changed(self) -> None:
        """Wake the routes: exchanges, policies or topics have changed."""
        self._checked.clear()
        for route in self:
            route.poke()

    def loosened(self) -> None:
        """Wake the routes if one is stopped by a circle: there may be fewer bindings."""
        if any(self._checked.values()):
            self.changed()

    # Circles

    def check_binding(self, vhost: Vhost, binding: Binding) -> None:
        """Check a new binding. Raises Circular."""
        if self._by_topic:
            begin = Node("exchange", binding.source, vhost.name)
            self._check_edges(begin, self._bound_to(vhost, binding))

    def check_exchange(self, vhost: Vhost, facts: ExchangeFacts) -> None:
        """Check an exchange that is about to be declared. Raises Circular, InvalidArgument."""
        if self._by_topic:
            for begin, end in _of_exchange(vhost, facts):
                self._check_edges(begin, [end])

    def check_stream(self, vhost: Vhost, name: bytes) -> None:
        """Check a stream that is about to be declared. Raises Circular."""
        if self._by_topic:
            for begin, end in _of_stream(vhost, name):
                self._check_edges(begin, [end])

    def check_together(
        self,
        exchanges: Iterable[tuple[Vhost, ExchangeFacts]],
        streams: Iterable[tuple[Vhost, bytes]],
        bindings: Iterable[tuple[Vhost, Binding]],
        alternates: Iterable[tuple[Vhost, bytes, bytes]] = (),
    ) -> Iterator[Circular | None]:
        """Check a group of new objects: yield for each route the circle that they would close.

        ``alternates``: exchanges, each with the alternate exchange that policies will give it.
        """
        if not self._by_topic:
            return
        new = {(vhost.name, name): _of_stream(vhost, name) for vhost, name in streams}
        ways = chain(
            (_of_exchange(*it) for it in exchanges),
            new.values(),
            (self._of_binding(*it, new) for it in bindings),
            (_of_alternate(*it) for it in alternates),
        )
        more: dict[Node, list[Node]] = {}
        for those in ways:
            for begin, end in those:
                more.setdefault(begin, []).append(end)
            yield None
        for route in self if more else ():
            if self._circular(route) is None:  # else it stands still already
                yield self._back(route, lambda it: chain(self._ways(it), more.get(it, ())))

    def _of_binding(
        self,
        vhost: Vhost,
        binding: Binding,
        new: Mapping[tuple[bytes, bytes], Sequence[tuple[Node, Node]]],
    ) -> Iterator[tuple[Node, Node]]:
        """Yield the edges that a new binding adds; ``new``: those of new streams."""
        begin = Node("exchange", binding.source, vhost.name)
        for end in self._bound_to(vhost, binding):
            yield begin, end
        if binding.kind == "queue":
            for _, end in new.get((vhost.name, binding.destination), ()):
                yield begin, end

    def _check_edges(self, begin: Node, ends: Iterable[Node]) -> None:
        """Check new edges from ``begin``. Raises Circular."""
        for end in ends:
            way = circle(end, begin, self._ways)
            if way is not None:
                raise Circular([str(it) for it in (begin, *way)])

    def _circular(self, route: TopicRoute) -> LogstoreError | None:
        """Return the error if messages of the route come back into its topic, else None."""
        if route not in self._checked:
            self._checked[route] = self._back(route, self._ways)
        return self._checked[route]

    def _back(self, route: TopicRoute, ways: Ways) -> Circular | None:
        topic = Node("topic", route.topic.encode())
        for end in self._entered(route.vhost, route.exchange, route.template.literal):
            way = circle(end, topic, ways)
            if way is not None:
                return Circular([str(it) for it in (topic, *way)])
        return None

    def _ways(self, node: Node) -> Iterator[Node]:
        """Yield the nodes to which messages go from this one."""
        if node.kind == "topic":
            yield from self._from_topic(node.name.decode(errors="replace"))
            return
        vhost = self._hosts.get(node.vhost)
        if vhost is None:
            return
        if node.kind == "queue":
            yield from self._queue(vhost, node.name)
            return
        topology = vhost.topology
        try:
            bindings = topology.bindings_from(node.name)
            alternate, facts = topology.alternate(node.name), topology.exchange(node.name)
        except NoExchange:
            return
        if facts.type_name in TYPES:
            yield from _led_to(vhost, facts.type_name, target_of_exchange(facts))
        if alternate is not None:
            yield Node("exchange", alternate, vhost.name)
        for binding in bindings:
            yield from self._bound_to(vhost, binding)

    def _from_topic(self, topic: str) -> Iterator[Node]:
        for route in self._by_topic.get(topic, ()):
            if not route.gone:
                yield from self._entered(route.vhost, route.exchange, route.template.literal)
        base = topic.removesuffix(SCHEDULED)
        scheduled = self._around.topics.get(base) if base != topic else None
        if scheduled is not None and getattr(scheduled.settings, "delivery_schedule", False):
            yield Node("topic", base.encode())

    def _entered(self, vhost: Vhost, exchange: bytes, key: bytes | None) -> Sequence[Node]:
        """Return where a route leads; the default exchange with a fixed key leads to one queue."""
        self._hosts[vhost.name] = vhost
        if exchange == DEFAULT_EXCHANGE and key is not None:
            return [Node("queue", key, vhost.name)]
        return [Node("exchange", exchange, vhost.name)]

    def _bound_to(self, vhost: Vhost, binding: Binding) -> Iterator[Node]:
        self._hosts[vhost.name] = vhost
        if binding.kind == "exchange":
            yield Node("exchange", binding.destination, vhost.name)
        else:
            yield from self._queue(vhost, binding.destination)

    @staticmethod
    def _queue(vhost: Vhost, name: bytes) -> Iterator[Node]:
        """Yield the topic of a stream; other queues send nothing on by themselves."""
        queue = vhost.topology.queue(name)
        topic = None if queue is None else queue.topic_name
        if topic is not None:
            yield Node("topic", topic.encode())

    # The end

    def halt(self) -> None:
        """Call ``TopicRoute.halt`` of all routes."""
        for route in self:
            route.halt()

    @property
    def on_the_way(self) -> bool:
        """Whether some sent messages have not arrived."""
        return any(it.on_the_way for it in self)

    def close(self) -> None:
        """Commit all positions."""
        self.stop()
        for route in self:
            route.close()


def _of_alternate(vhost: Vhost, exchange: bytes, alternate: bytes) -> list[tuple[Node, Node]]:
    return [(Node("exchange", exchange, vhost.name), Node("exchange", alternate, vhost.name))]


def _of_exchange(vhost: Vhost, facts: ExchangeFacts) -> Iterator[tuple[Node, Node]]:
    """Yield the edges that a new exchange adds. Raises InvalidArgument."""
    begin = Node("exchange", facts.name, vhost.name)
    if facts.alternate is not None:
        yield begin, Node("exchange", facts.alternate, vhost.name)
    if facts.type_name in TYPES:
        for end in _led_to(vhost, facts.type_name, target_of_exchange(facts)):
            yield begin, end


def _of_stream(vhost: Vhost, name: bytes) -> list[tuple[Node, Node]]:
    """Return the edges that a new stream adds.

    It is reached through the default exchange, and by a route with its name as the key.
    """
    found = vhost.topic_of_new(name)
    if found is None:
        return []
    topic = Node("topic", found[0].encode())
    begins = Node("exchange", DEFAULT_EXCHANGE, vhost.name), Node("queue", name, vhost.name)
    return [(begin, topic) for begin in begins]


def _led_to(vhost: Vhost, type_name: str, target: bytes) -> Iterator[Node]:
    """Yield the topic that holds messages of such an exchange: for a channel it is the history."""
    channel = type_name == TO_CHANNEL
    if not channel or vhost.keeps_history(target.decode(errors="replace")):
        yield Node("topic", target)


def _arguments(fallback: str | None) -> dict[str, str]:
    return {} if fallback is None else {"fallback": fallback}
