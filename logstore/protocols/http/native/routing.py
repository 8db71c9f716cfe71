"""The routes of messages in a virtual host: as a graph, and for one message that is only tried."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from logstore.access.resources import DESCRIBE, EXCHANGE
from logstore.amqp import fields
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.broker.routing.binding import Kind
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE
from logstore.broker.routing.refusals import NoExchange
from logstore.errors import LogstoreError
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.asked import asked, headers_of, message_of, name_in
from logstore.protocols.http.native.exchanges import waiting_at
from logstore.protocols.http.replies.shown import arguments
from logstore.protocols.http.within import Within, within

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.picture import Edge, Node, Picture, Spot
    from logstore.broker.routing.tracing import Hop, Trace

DEPTH: Final = 10
DEPTH_MAX: Final = 50
_KINDS: Final[dict[str, Kind]] = {"queue": "queue", "exchange": "exchange"}


class RoutingTest(Struct, forbid_unknown_fields=True):
    """A message that is not published. ``dead``: it is routed as a dead letter."""

    exchange: str
    key: str = ""
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    dead: bool = False


def pictured(door: HttpDoor, call: Call) -> None:
    """Reply with nodes and edges. Raises Fault, Forbidden, NoVhost; NoExchange, NoQueue for the
    focus.
    """
    from logstore.broker.queues.picture import drawn

    host = within(door, call)
    depth = call.number("depth", DEPTH, DEPTH_MAX)
    text = call.text("focus")

    def sees(kind: Kind, name: bytes) -> bool:
        return host.may(DESCRIBE, kind, name)

    def done(found: "Picture | LogstoreError") -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: call.answer(_picture(host, found)))

    door.slices.begin(drawn(host.vhost, sees, _spot(text) if text else None, depth), done)


def _spot(text: str) -> "Spot":
    kind, colon, name = text.partition(":")
    if not colon or kind not in _KINDS:
        raise Fault(BAD_REQUEST, f"focus={text[:30]}: must be exchange:NAME or queue:NAME")
    return _KINDS[kind], name_in(name)


def _id(spot: "Spot") -> str:
    return f"{spot[0]}:{fields.text(spot[1])}"


def _picture(host: Within, picture: "Picture") -> dict[str, Any]:
    return {
        "nodes": [_node(host, it) for it in picture.nodes],
        "edges": [_edge(it) for it in picture.edges],
        "cut": picture.cut,
    }


def _node(host: Within, node: "Node") -> dict[str, Any]:
    kind, name = node.spot
    found: dict[str, Any] = {
        "id": _id(node.spot),
        "kind": kind,
        "name": fields.text(name),
        "type": None,
        "flags": list(node.flags),
    }
    queue = host.vhost.topology.queue(name) if kind == "queue" else None
    if queue is not None:
        found["type"] = queue.facts.type_name
        found["durable"] = queue.facts.durable
        found["consumers"] = len(queue.subscriptions)
        found |= {"ready": queue.ready, "unacked": queue.out}
    elif kind == "exchange":
        try:
            facts = host.vhost.topology.exchange(name)
        except NoExchange:
            return found
        found |= {"type": facts.type_name, "durable": facts.durable, "internal": facts.internal,
                  "bindings": host.vhost.topology.count_bindings_from(name),
                  "waiting": waiting_at(host, facts)}  # fmt: skip
    return found


def _edge(edge: "Edge") -> dict[str, Any]:
    return _as_edge(edge.source, edge.destination, edge.kind, edge.key, edge.arguments)


def _as_edge(
    source: "Spot",
    destination: "Spot",
    kind: str,
    key: bytes | None = None,
    given: Arguments = NO_ARGUMENTS,
) -> dict[str, Any]:
    return {
        "from": _id(source),
        "to": _id(destination),
        "kind": kind,
        "key": None if key is None else fields.text(key),
        "arguments": arguments(given),
    }


def tested(door: HttpDoor, call: Call) -> None:
    """Reply with the route of a message. Raises Fault, Forbidden, NoVhost, NoExchange,
    InternalExchange.
    """
    from logstore.broker.queues.message import Looked, keys_of
    from logstore.broker.routing.tracing import trace

    host, given = within(door, call), asked(call, RoutingTest)
    name = name_in(given.exchange)
    host.require(DESCRIBE, EXCHANGE, name)
    headers = headers_of(given.headers)
    properties = {**given.properties, "headers": headers} if headers else given.properties
    message = message_of(name, given.key, properties, "", "text")
    host.vhost.copies(message)  # whether CC and BCC are what they must be
    keys = keys_of(message.key, headers)
    steps = trace(host.vhost.topology, name, keys, Looked(message.properties), dead=given.dead)

    def done(found: "Trace | LogstoreError") -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not call.over:
            call.attempt(lambda: call.answer(_traced(host, found)))

    door.slices.begin(steps, done)


def _traced(host: Within, found: "Trace") -> dict[str, Any]:
    queues = [it for it in found.queues if host.may(DESCRIBE, "queue", it)]
    return {
        "path": [edge for hop in found.hops if _seen(host, hop) for edge in _edges(hop)],
        "queues": [fields.text(it) for it in queues],
        "hidden": len(found.queues) - len(queues),  # that he may not see
        "cut": found.cut,
    }


def _seen(host: Within, hop: "Hop") -> bool:
    return (hop.source == DEFAULT_EXCHANGE or host.may(DESCRIBE, EXCHANGE, hop.source)) and (
        host.may(DESCRIBE, hop.kind, hop.destination)
    )


def _edges(hop: "Hop") -> Iterator[dict[str, Any]]:
    """Edges as in the graph; a hop by several bindings has one for each."""
    source: Spot = ("exchange", hop.source)
    destination: Spot = (hop.kind, hop.destination)
    for it in hop.bindings:
        yield _as_edge(source, destination, hop.by, it.key, it.arguments)
    if not hop.bindings:
        yield _as_edge(source, destination, hop.by)
