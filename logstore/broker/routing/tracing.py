"""The way of a message through the exchanges of a virtual host, hop by hop, for who asks why.

A route says where a message ends; this says by which bindings. Nothing is published. Where chance
decides (x-random), this is one way of several.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE
from logstore.broker.routing.exchange_types import matcher_of
from logstore.broker.routing.properties import NO_PROPERTIES, Properties
from logstore.broker.routing.refusals import InternalExchange
from logstore.broker.routing.topology import Topology

HOPS_MAX: Final = 500  # of one trace: what follows is cut off
BINDINGS_MAX: Final = 20  # that are told of one hop
LOOKED_AT_MAX: Final = 2000  # bindings to one end, to find those that match
BINDING, DEFAULT, ALTERNATE = "binding", "default", "alternate"


class Hop(NamedTuple):
    """From an exchange to a queue or another exchange."""

    source: bytes
    kind: Kind  # of the destination
    destination: bytes
    by: str  # a binding; the default exchange, by its name; or an alternate exchange
    bindings: Sequence[Binding]  # some that match


class Trace(NamedTuple):
    """The whole way."""

    hops: Sequence[Hop]
    queues: Sequence[bytes]  # each once
    cut: bool  # there are more


def trace(
    topology: Topology[Any],
    exchange: bytes,
    keys: Sequence[bytes],
    properties: Properties = NO_PROPERTIES,
    *,
    dead: bool = False,
) -> Trace:
    """``keys``: the routing key, then those of CC and BCC. ``dead``: a dead letter.

    Raises NoExchange, InternalExchange, UnknownType.
    """
    if topology.exchange(exchange).internal and not dead:
        raise InternalExchange(exchange)
    hops: list[Hop] = []
    queues: dict[bytes, None] = {}
    reached = {exchange: None}
    waiting = [exchange]  # grows while it is gone through
    for source in waiting:
        ends, only_alternate = topology.sends(source, keys, properties)
        for kind, name in ends:
            if len(hops) >= HOPS_MAX:
                return Trace(hops, list(queues), cut=True)
            hops.append(_hop(topology, source, kind, name, keys, properties, only_alternate))
            if kind == "queue":
                queues[name] = None
            elif name not in reached:
                reached[name] = None
                waiting.append(name)
    return Trace(hops, list(queues), cut=False)


def _hop(
    topology: Topology[Any],
    source: bytes,
    kind: Kind,
    name: bytes,
    keys: Sequence[bytes],
    properties: Properties,
    only_alternate: bool,
) -> Hop:
    if source == DEFAULT_EXCHANGE:
        return Hop(source, kind, name, DEFAULT, ())
    if only_alternate:
        return Hop(source, kind, name, ALTERNATE, ())
    facts = topology.exchange(source)
    make = matcher_of(facts.type_name)
    found = []
    for binding in islice(topology.bindings_to(name, kind), LOOKED_AT_MAX):
        if binding.source != source:
            continue
        # By itself in an exchange of its own, it says whether it would let the message pass.
        alone = make(facts.arguments, lambda _: 0)
        alone.add(binding, name)
        if any(True for _ in alone.match(keys, properties)):
            found.append(binding)
            if len(found) >= BINDINGS_MAX:
                break
    return Hop(source, kind, name, BINDING, found)
