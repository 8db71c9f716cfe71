"""The way of a message, hop by hop, and by which bindings."""

import pytest
from naive_routing import traced

from logstore.broker.routing import tracing
from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.properties import PlainProperties
from logstore.broker.routing.refusals import InternalExchange, NoExchange
from logstore.broker.routing.topology import Topology
from logstore.broker.routing.tracing import ALTERNATE, BINDING, DEFAULT, Hop


def text(value):
    return Field("S", value)


@pytest.fixture
def topology():
    topology = Topology(choose=lambda n: 0)
    for name in (b"q", b"r"):
        topology.add_queue(name, name, durable=True)
    return topology


def test_the_default_exchange_goes_by_names(topology):
    assert traced(topology, b"", [b"q"]).hops == [Hop(b"", "queue", b"q", DEFAULT, ())]
    assert traced(topology, b"", [b"nobody"]) == ([], [], False)


def test_headers_say_which_bindings_let_a_message_pass(topology):
    one = Binding(b"amq.headers", b"q", b"", Arguments.of({b"a": text(b"1")}))
    other = Binding(
        b"amq.headers", b"q", b"", Arguments.of({b"x-match": text(b"any"), b"b": text(b"1")})
    )
    for it in (one, other):
        topology.bind(it)
    [hop] = traced(topology, b"amq.headers", [b""], PlainProperties({b"a": b"1"})).hops
    assert hop.bindings == [one]
    [hop] = traced(topology, b"amq.headers", [b""], PlainProperties({b"a": b"1", b"b": b"1"})).hops
    assert hop.bindings == [one, other]
    assert traced(topology, b"amq.headers", [b""]).hops == []


def test_an_alternate_exchange_is_a_hop_where_nothing_else_is(topology):
    arguments = Arguments.of({b"alternate-exchange": text(b"amq.fanout")})
    topology.declare(ExchangeFacts(b"x", "direct", arguments=arguments))
    topology.bind(Binding(b"amq.fanout", b"q"))
    topology.bind(Binding(b"x", b"r", b"k"))
    assert [(it.source, it.by) for it in traced(topology, b"x", [b"no"]).hops] == [
        (b"x", ALTERNATE), (b"amq.fanout", BINDING),
    ]  # fmt: skip
    [hop] = traced(topology, b"x", [b"k"]).hops
    assert (hop.destination, hop.by) == (b"r", BINDING)


@pytest.mark.parametrize("type_name", ["x-consistent-hash", "x-random"])
def test_an_exchange_that_picks_one_shows_the_one(topology, type_name):
    topology.declare(ExchangeFacts(b"x", type_name))
    for name in (b"q", b"r"):
        topology.bind(Binding(b"x", name, b"1"))
    way = traced(topology, b"x", [b"k"])
    [hop] = way.hops
    assert (hop.bindings, list(way.queues)) == (
        [Binding(b"x", hop.destination, b"1")], [hop.destination],
    )  # fmt: skip
    if type_name == "x-consistent-hash":
        assert way.queues == list(topology.route(b"x", b"k"))


def test_exchanges_bound_in_a_ring_are_gone_through_once(topology):
    topology.bind(Binding(b"amq.fanout", b"amq.topic", kind="exchange"))
    topology.bind(Binding(b"amq.topic", b"amq.fanout", b"#", kind="exchange"))
    topology.bind(Binding(b"amq.topic", b"q", b"#"))
    way = traced(topology, b"amq.fanout", [b"a"])
    assert [(it.source, it.destination) for it in way.hops] == [
        (b"amq.fanout", b"amq.topic"), (b"amq.topic", b"amq.fanout"), (b"amq.topic", b"q"),
    ]  # fmt: skip


def test_what_can_not_be_published_to_is_no_way_but_for_dead_letters(topology):
    topology.declare(ExchangeFacts(b"i", "fanout", internal=True))
    topology.bind(Binding(b"i", b"q"))
    with pytest.raises(InternalExchange):
        traced(topology, b"i", [b""])
    assert traced(topology, b"i", [b""], dead=True).queues == [b"q"]
    with pytest.raises(NoExchange):
        traced(topology, b"nobody", [b""])


def test_a_way_to_thousands_is_cut_off(topology, monkeypatch):
    monkeypatch.setattr(tracing, "HOPS_MAX", 2)
    monkeypatch.setattr(tracing, "BINDINGS_MAX", 3)
    topology.add_queue(b"s", b"s", durable=True)
    for name in (b"q", b"r", b"s"):
        for number in range(5):
            topology.bind(Binding(b"amq.fanout", name, b"%d" % number))
    way = traced(topology, b"amq.fanout", [b""])
    assert ([len(it.bindings) for it in way.hops], way.cut) == ([3, 3], True)
