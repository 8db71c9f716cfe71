"""The way of a message through the exchanges of a virtual host, hop by hop, as an explanation.

A route contains the destinations of a message; a trace also contains the bindings on the way.
Nothing is published. If chance decides (x-random), the trace is one of several possible ways.
"""

from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from logstore.broker.routing.binding import Binding, Kind
from logstore.broker.routing.exchange import DEFAULT_EXCHANGE
from logstore.broker.routing.exchange_types import matcher_of
from logstore.broker.routing.properties import NO_PROPERTIES, Properties
from logstore.broker.routing.refusals import InternalExchange, NoExchange, NoQueue
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
    topology: Topology[Any, Any],
    exchange: bytes,
    keys: Sequence[bytes],
    properties: Properties = NO_PROPERTIES,
    *,
    dead: bool = False,
) -> Generator[int, None, Trace]:
    """Trace a message. ``keys``: the routing key, then those of CC and BCC. ``dead``: a dead
    letter.

    Yields units of work. Raises NoExchange, InternalExchange, UnknownType.
    """
    if topology.exchange(exchange).internal and not dead:
        raise InternalExchange(exchange)
    hops: list[Hop] = []
    queues: dict[bytes, None] = {}
    reached = {exchange: None}
    waiting = [exchange]  # grows while it is gone through
    for source in waiting:
        try:
            ends, only_alternate = topology.sends(source, keys, properties)
        except NoExchange:  # deleted since it was found
            continue
        for kind, name in ends:
            if len(hops) >= HOPS_MAX:
                return Trace(hops, list(queues), cut=True)
            hop = Hop(source, kind, name, ALTERNATE if only_alternate else BINDING, ())
            if source == DEFAULT_EXCHANGE:
                hop = hop._replace(by=DEFAULT)
            elif not only_alternate:
                hop = yield from _by_bindings(topology, hop, keys, properties)
            hops.append(hop)
            yield 1
            if kind == "queue":
                queues[name] = None
            elif name not in reached:
                reached[name] = None
                waiting.append(name)
    return Trace(hops, list(queues), cut=False)


def _by_bindings(
    topology: Topology[Any, Any], hop: Hop, keys: Sequence[bytes], properties: Properties
) -> Generator[int, None, Hop]:
    """Return the hop with the bindings that match the message."""
    try:
        facts = topology.exchange(hop.source)
        there = list(islice(topology.bindings_to(hop.destination, hop.kind), LOOKED_AT_MAX))
    except (NoExchange, NoQueue):  # deleted since it was found
        return hop
    make = matcher_of(facts.type_name)
    found: list[Binding] = []
    for binding in there:
        yield 1
        if binding.source != hop.source:
            continue
        # A matcher with only this binding tells whether the binding matches the message.
        alone = make(facts.arguments, lambda _: 0)
        alone.add(binding, hop.destination)
        if any(True for _ in alone.match(keys, properties)):
            found.append(binding)
            if len(found) >= BINDINGS_MAX:
                break
    return hop._replace(bindings=found)
