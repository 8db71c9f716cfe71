"""A virtual host as a graph: exchanges and queues as nodes, and the ways of messages as edges.

Edges are bindings, alternate exchanges and dead-letter exchanges. The graph has a maximum size, and
says if it is cut off. Conspicuous nodes have flags.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Final, NamedTuple

from logstore.broker.queues.named import Named
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.vhost import Vhost
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE, is_predefined
from logstore.broker.routing.exchange_types import matcher_of
from logstore.broker.routing.refusals import NoExchange, NoQueue, UnknownType
from logstore.errors import LogstoreError
from logstore.slices import Steps

NODES_MAX: Final = 500
EDGES_MAX: Final = 2000
AT_ONCE: Final = 50  # queues that are looked at between yields

BINDING, ALTERNATE, DEAD_LETTER = "binding", "alternate", "dead-letter"

# Flags
UNBOUND: Final = "unbound"  # nothing is bound to the queue, or to the exchange's other side
NO_CONSUMER: Final = "no-consumer"
LOOP: Final = "dead-letter-loop"  # a message that dies here may come back
MISSING: Final = "missing"  # it is named by others, and is not there
UNKNOWN_TYPE: Final = "unknown-type"  # the type of the exchange is not installed
FAILED: Final = "failed"  # the queue can't be opened

Spot = tuple[Kind, bytes]
Sees = Callable[[Kind, bytes], bool]


class Node(NamedTuple):
    """An exchange or a queue, or a name without either."""

    spot: Spot
    flags: tuple[str, ...]


class Edge(NamedTuple):
    """A way of messages. ``key``: of a binding, or x-dead-letter-routing-key."""

    source: Spot
    destination: Spot
    kind: str
    key: bytes | None = None
    arguments: Arguments = NO_ARGUMENTS


class Picture(NamedTuple):
    nodes: list[Node]
    edges: list[Edge]
    cut: bool  # there is more


def drawn(vhost: Vhost, sees: Sees, focus: Spot | None, depth: int) -> Steps:
    """Draw what is within ``depth`` steps up and down from ``focus``; without one, everything.

    ``sees``: whether a node may be shown. Returns a ``Picture``; raises NoExchange, NoQueue.
    """
    found = _Drawing(vhost, sees)
    yield from found.look_for_dead_letters()
    if focus is None:
        yield from found.all()
    else:
        yield from found.around(focus, depth)
    yield from found.join()
    return (yield from found.finish())


class _Drawing:
    def __init__(self, vhost: Vhost, sees: Sees) -> None:
        self._vhost = vhost
        self._topology = vhost.topology
        self._sees = sees
        self._nodes: dict[Spot, None] = {}
        self._edges: dict[Edge, None] = {}
        self._cut = False
        self._dying_into: dict[Spot, list[bytes]] = {}  # by where dead letters go: their queues

    # What leads where

    def look_for_dead_letters(self) -> Steps:
        """Find the queues whose dead letters go to each target."""
        for number, queue in enumerate(list(self._vhost.queues())):
            edge = _dead_letters(queue)
            if edge is not None:
                self._dying_into.setdefault(edge.destination, []).append(queue.facts.name)
            if number % AT_ONCE == AT_ONCE - 1:
                yield AT_ONCE

    def _down(self, spot: Spot) -> Iterator[Edge]:
        kind, name = spot
        if kind == "queue":
            queue = self._topology.queue(name)
            if queue is not None and (edge := _dead_letters(queue)) is not None:
                yield edge
            return
        try:
            alternate = self._topology.alternate(name)
        except NoExchange:
            return
        yield from map(_bound, self._topology.bindings_from(name))
        if alternate is not None:
            yield Edge(spot, ("exchange", alternate), ALTERNATE)

    def _up(self, spot: Spot) -> Iterator[Edge]:
        kind, name = spot
        try:
            for binding in self._topology.bindings_to(name, kind):
                if binding.source != DEFAULT_EXCHANGE:
                    yield _bound(binding)
        except (NoExchange, NoQueue):
            pass  # it is named by others, and is not there
        for queue_name in self._dying_into.get(spot, ()):
            queue = self._topology.queue(queue_name)
            if queue is not None and (edge := _dead_letters(queue)) is not None:
                yield edge
        if kind == "exchange":
            for other in self._topology.alternates(name):
                yield Edge(("exchange", other), spot, ALTERNATE)

    # Which are in the picture

    def around(self, focus: Spot, depth: int) -> Steps:
        """Draw what is around the focus. Raises NoExchange, NoQueue."""
        kind, name = focus
        if not self._sees(*focus) or not self._is_there(focus):
            raise NoQueue(name) if kind == "queue" else NoExchange(name)
        self._nodes[focus] = None
        for ends in (self._sources, self._destinations):
            reached, last = {focus}, [focus]
            for _ in range(depth):
                following: list[Spot] = []
                for spot in last:
                    found = ends(spot)
                    yield _units(found)
                    for to in found:
                        if to not in reached and self._add(to):
                            reached.add(to)
                            following.append(to)
                last = following

    def _sources(self, spot: Spot) -> list[Spot]:
        return [edge.source for edge in islice(self._up(spot), EDGES_MAX)]

    def _destinations(self, spot: Spot) -> list[Spot]:
        return [edge.destination for edge in islice(self._down(spot), EDGES_MAX)]

    def all(self) -> Steps:
        """Draw exchanges with bindings, each with its targets, then the other queues."""
        topology = self._topology
        names = sorted(it.name for it in topology.exchanges() if it.name != DEFAULT_EXCHANGE)
        for name in names:
            spot: Spot = ("exchange", name)
            down = self._destinations(spot)
            yield _units(down)
            if (down or not is_predefined(name) or next(self._up(spot), None)) and self._add(spot):
                for it in down:
                    self._add(it)
            if self._cut:
                return
        for name in sorted(queue.facts.name for queue in self._vhost.queues()):
            spot = ("queue", name)
            yield 1
            if self._add(spot):
                for it in self._destinations(spot):
                    self._add(it)
            if self._cut:
                return

    @property
    def _full(self) -> bool:
        return len(self._nodes) >= NODES_MAX

    def _add(self, spot: Spot) -> bool:
        """Add a node; return whether it is in the picture."""
        if spot in self._nodes:
            return True
        if not self._sees(*spot):
            return False
        if self._full:
            self._cut = True
            return False
        self._nodes[spot] = None
        return True

    def _is_there(self, spot: Spot) -> bool:
        kind, name = spot
        if kind == "queue":
            return self._topology.queue(name) is not None
        try:
            self._topology.exchange(name)
        except NoExchange:
            return False
        return True

    def join(self) -> Steps:
        """Add the edges between the nodes."""
        for spot in list(self._nodes):
            found = list(islice(self._down(spot), EDGES_MAX + 1))
            yield _units(found)
            for edge in found:
                if edge.destination not in self._nodes or edge in self._edges:
                    continue
                if len(self._edges) >= EDGES_MAX:
                    self._cut = True
                    return
                self._edges[edge] = None

    # What is worth a look

    def finish(self) -> Steps:
        """Return the whole picture with its flags."""
        below: dict[Spot, set[Spot]] = {}
        for edge in self._edges:
            ends = [edge.destination]
            if edge.kind == DEAD_LETTER and edge.key is not None:
                ends = self._ends(edge)  # it is known which queues that key leads to
            below.setdefault(edge.source, set()).update(ends)
            yield _units(ends)
        loops = on_cycles(below)
        nodes = []
        for spot in self._nodes:
            nodes.append(Node(spot, tuple(self._flags(spot, loops))))
            yield 1
        return Picture(nodes, list(self._edges), self._cut)

    def _flags(self, spot: Spot, loops: Container[Spot]) -> Iterator[str]:
        kind, name = spot
        if not self._is_there(spot):
            yield MISSING
        elif kind == "exchange":
            facts = self._topology.exchange(name)
            if name != DEFAULT_EXCHANGE and not self._topology.count_bindings_from(name):
                yield UNBOUND
            try:
                matcher_of(facts.type_name)
            except UnknownType:
                yield UNKNOWN_TYPE
        else:
            queue = self._topology.queue(name)
            assert queue is not None
            if next(islice(self._topology.bindings_to(name), 1, None), None) is None:
                yield UNBOUND
            if not queue.subscriptions:
                yield NO_CONSUMER
            if spot in loops and queue.limits.dead_letter_exchange is not None:
                yield LOOP
            if queue.failed is not None:
                yield FAILED

    def _ends(self, edge: Edge) -> list[Spot]:
        kind, name = edge.destination
        if kind == "queue":
            return [edge.destination]
        try:
            queues = self._topology.route(name, edge.key or b"", dead=True)
        except LogstoreError:  # it is not there, or of a type that is not installed
            return []
        return [("queue", it.facts.name) for it in queues if isinstance(it, Queue)]


def _units(found: Sized) -> int:
    """Return the units of work that it took to find these."""
    return 2 + len(found) // 4


def _bound(binding: Binding) -> Edge:
    return Edge(
        ("exchange", binding.source), (binding.kind, binding.destination), BINDING, binding.key,
        binding.arguments,
    )  # fmt: skip


def _dead_letters(queue: Named) -> Edge | None:
    """Return the edge to the dead letter exchange; if that is the default one, to the queue."""
    to, key = queue.limits.dead_letter_exchange, queue.limits.dead_letter_key
    if to is None:
        return None
    spot: Spot = ("queue", queue.facts.name)
    if to == DEFAULT_EXCHANGE and key is not None:
        return Edge(spot, ("queue", key), DEAD_LETTER, key)
    return Edge(spot, ("exchange", to), DEAD_LETTER, key)


def on_cycles(below: Mapping[Spot, Iterable[Spot]]) -> set[Spot]:
    """Return all nodes on cycles (Tarjan's strongly connected components)."""
    found: set[Spot] = set()
    numbers: dict[Spot, int] = {}
    lowest: dict[Spot, int] = {}
    path: dict[Spot, None] = {}  # those whose component is not known yet
    for start in below:
        if start in numbers:
            continue
        work = [(start, iter(below.get(start, ())))]
        numbers[start] = lowest[start] = len(numbers)
        path[start] = None
        while work:
            spot, ends = work[-1]
            for end in ends:
                if end == spot:
                    found.add(spot)
                if end not in numbers:
                    numbers[end] = lowest[end] = len(numbers)
                    path[end] = None
                    work.append((end, iter(below.get(end, ()))))
                    break
                if end in path:
                    lowest[spot] = min(lowest[spot], numbers[end])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[spot])
                if lowest[spot] == numbers[spot]:
                    component: list[Spot] = []
                    while not component or component[-1] != spot:
                        component.append(path.popitem()[0])
                    if len(component) > 1:
                        found.update(component)
    return found
