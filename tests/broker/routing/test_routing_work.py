"""What routing costs, in work and memory: routes that are remembered, and many bindings."""

import gc
import tracemalloc

import pytest
from work_counted import lines_run

from logstore.broker.routing import routes, topology
from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.properties import PlainProperties
from logstore.broker.routing.refusals import NoExchange
from logstore.broker.routing.topology import Topology

ROUTING = "/logstore/broker/routing/"


class Counted(Topology):
    """Counts the routes that are worked out."""

    worked_out = 0

    def _walk(self, *arguments):
        self.worked_out += 1
        return super()._walk(*arguments)

    def works_out(self, *arguments, **named):
        before = self.worked_out
        self.route(*arguments, **named)
        return self.worked_out - before


def counted(*exchanges, queues=(b"q", b"r")):
    made = Counted()
    for facts in exchanges:
        made.declare(facts)
    for queue in queues:
        made.add_queue(queue, queue, durable=True)
    return made


def chain_of_three(last="fanout"):
    made = counted(
        ExchangeFacts(b"e", "topic"),
        ExchangeFacts(b"f", "fanout"),
        ExchangeFacts(b"g", last),
        ExchangeFacts(b"other", "fanout"),
    )
    made.bind(Binding(b"e", b"f", b"#", kind="exchange"))
    made.bind(Binding(b"f", b"g", kind="exchange"))
    made.bind(Binding(b"other", b"r"))
    return made


def test_a_route_is_worked_out_once_for_each_exchange_and_key():
    made = chain_of_three()
    asked = [(b"e", b"k"), (b"e", b"k2"), (b"g", b"k"), (b"other", b"k"), (b"", b"q"), (b"", b"no")]
    assert [made.works_out(*it) for it in asked] == [1] * 6
    assert [made.works_out(*it) for it in asked] == [0] * 6


def test_a_change_forgets_the_routes_that_lead_through_it_and_no_other():
    made = chain_of_three()

    def forgotten():
        asked = [(b"e", b"k"), (b"f", b"k"), (b"g", b"k"), (b"other", b"k"), (b"", b"q")]
        return [it[0] for it in asked if made.works_out(*it)]

    forgotten()
    made.bind(Binding(b"g", b"q"))
    assert forgotten() == [b"e", b"f", b"g"]
    made.bind(Binding(b"f", b"q"))
    assert forgotten() == [b"e", b"f"]
    made.unbind(Binding(b"other", b"r"))
    assert forgotten() == [b"other"]
    made.add_queue(b"new", "new", durable=False)
    assert forgotten() == []
    made.remove_queue(b"new")
    made.declare(ExchangeFacts(b"h", "fanout"))
    made.delete(b"h")
    assert forgotten() == []
    made.remove_queue(b"q")
    assert forgotten() == [b"e", b"f", b"g", b""]


def test_a_queue_of_a_name_that_was_published_to_is_found():
    made = counted()
    assert made.route(b"", b"later") == ()
    assert made.works_out(b"", b"q") == 1
    made.add_queue(b"later", "there", durable=False)
    assert made.route(b"", b"later") == ("there",)
    assert made.works_out(b"", b"q") == 0


def test_an_exchange_that_is_deleted_is_not_found_though_its_routes_were_remembered():
    made = counted(ExchangeFacts(b"e", "fanout"))
    assert made.route(b"e", b"k") == ()
    made.delete(b"e")
    with pytest.raises(NoExchange):
        made.route(b"e", b"k")


def test_an_alternate_that_comes_later_leads_on_at_once():
    def alternate(name):
        return Arguments.of({b"alternate-exchange": Field("S", name)})

    made = counted(ExchangeFacts(b"e", "fanout", arguments=alternate(b"later")))
    made.bind(Binding(b"amq.fanout", b"q"))
    assert made.route(b"e", b"k") == ()
    made.declare(ExchangeFacts(b"later", "direct", arguments=alternate(b"amq.fanout")))
    assert made.route(b"e", b"k") == (b"q",)
    made.delete(b"later")
    assert made.route(b"e", b"k") == ()
    made.delete(b"e")
    assert made._alternate_of == {}


def test_what_goes_on_after_a_headers_exchange_is_not_remembered():
    made = chain_of_three()
    made.declare(ExchangeFacts(b"h", "headers"))
    asked = Arguments.of({b"n": Field("I", 1)})
    made.bind(Binding(b"h", b"other", b"", asked, "exchange"))
    assert made.route(b"h", b"k", PlainProperties({b"n": 1})) == (b"r",)
    assert made.route(b"h", b"k") == ()


def test_what_is_forgotten_by_key_no_longer_counts():
    made = counted()
    made.route(b"", b"q")
    assert (len(made._routes), made._routes._queues) == (1, 1)
    made.remove_queue(b"q")
    assert (len(made._routes), made._routes._queues) == (0, 0)


@pytest.mark.parametrize("way", ["headers", "x-random", "hash of a header"])
def test_routes_that_depend_on_more_than_the_key_are_not_remembered(way):
    made = chain_of_three()
    last = ExchangeFacts(b"last", way)
    if way == "hash of a header":
        arguments = Arguments.of({b"hash-header": Field("S", b"n")})
        last = ExchangeFacts(b"last", "x-consistent-hash", arguments=arguments)
    made.declare(last)
    asked = Arguments.of({b"x-match": Field("S", b"any"), b"n": Field("I", 1)})
    for queue in (b"q", b"r"):
        made.bind(Binding(b"last", queue, b"1", asked))
    made.bind(Binding(b"g", b"last", kind="exchange"))
    for exchange in (b"last", b"g", b"e"):
        found = [made.works_out(exchange, b"k", PlainProperties({b"n": it})) for it in (1, 2, 1)]
        assert found == [1, 1, 1]
    if way == "headers":
        assert made.route(b"e", b"k", PlainProperties({b"n": 1})) == (b"q", b"r")
        assert made.route(b"e", b"k", PlainProperties({b"n": 2})) == ()


def test_routes_of_several_keys_are_not_remembered():
    made = chain_of_three()
    assert [made.works_out(b"e", b"k", copies=[b"k2"]) for _ in range(2)] == [1, 1]


def test_what_is_remembered_is_bounded_by_keys(monkeypatch):
    monkeypatch.setattr(routes, "ROUTES_MAX", 100)
    made = counted()
    for number in range(1000):
        made.route(b"", b"%d" % number)
        made.route(b"amq.topic", b"%d" % number)
        assert len(made._routes) <= 100
    assert made.works_out(b"", b"999") == 0


def test_what_is_remembered_is_bounded_by_queues(monkeypatch):
    monkeypatch.setattr(routes, "QUEUES_MAX", 500)
    made = counted(queues=[b"%d" % number for number in range(100)])
    for number in range(100):
        made.bind(Binding(b"amq.fanout", b"%d" % number))
    for number in range(50):
        assert len(made.route(b"amq.fanout", b"%d" % number)) == 100
        assert sum(map(len, made._routes.by_exchange[b"amq.fanout"].values())) <= 500
    assert len(made._routes) == 5
    made.bind(Binding(b"amq.fanout", b"0", b"again"))
    assert len(made._routes) == made._routes._queues == 0


def test_many_exchanges_above_a_change_are_forgotten_together(monkeypatch):
    monkeypatch.setattr(topology, "UPSTREAM_MAX", 10)
    made = chain_of_three()
    for number in range(20):
        made.declare(ExchangeFacts(b"%d" % number, "fanout"))
        made.bind(Binding(b"%d" % number, b"g", kind="exchange"))
        assert made.route(b"%d" % number, b"k") == ()
    made.route(b"other", b"k")
    made.bind(Binding(b"g", b"q"))
    assert {made.route(b"%d" % number, b"k") for number in range(20)} == {(b"q",)}


def test_one_bound_often_does_not_hide_others_above_a_change(monkeypatch):
    monkeypatch.setattr(topology, "UPSTREAM_MAX", 10)
    made = chain_of_three()
    for number in range(9):
        made.bind(Binding(b"f", b"g", b"%d" % number, kind="exchange"))
    made.bind(Binding(b"other", b"g", kind="exchange"))
    assert made.route(b"other", b"k") == (b"r",)
    made.bind(Binding(b"g", b"q"))
    assert sorted(made.route(b"other", b"k")) == [b"q", b"r"]


@pytest.mark.parametrize("type_name", ["direct", "topic", "headers"])
def test_a_route_among_ten_thousand_bindings_touches_only_those_that_match(type_name):
    work = {}
    for count in (100, 10_000):
        made = Topology()
        made.declare(ExchangeFacts(b"e", type_name))
        for number in range(100):
            made.add_queue(b"%d" % number, number, durable=True)
        for number in range(count):
            table = Arguments.of({b"n": Field("I", number // 10)})
            key = b"stock.*.%d" % number if number >= 10 else b"stock.#.%d.#" % number
            if type_name == "direct" or number < 10:
                key = b"stock.usd.%d" % (number // 10)
            made.bind(Binding(b"e", b"%d" % (number % 100), key, table))
        found = []
        of = PlainProperties({b"n": 0, b"m": 1})
        work[count] = lines_run(
            ROUTING, lambda made=made, of=of, found=found: found.extend(
                made.route(b"e", b"stock.usd.0", of)
            ),
        )  # fmt: skip
        assert sorted(found) == list(range(10))
    assert work[10_000] == work[100] < 300


def test_a_remembered_route_costs_a_look():
    made = Topology()
    made.route(b"amq.topic", b"k")
    assert lines_run(ROUTING, lambda: made.route(b"amq.topic", b"k")) <= 5


@pytest.mark.long
def test_a_binding_takes_less_than_a_kilobyte():
    """To a queue of its own, with a pattern of its own; names, keys and the queue counted."""
    count = 20_000
    gc.collect()
    tracemalloc.start()
    try:
        made = Topology()
        made.declare(ExchangeFacts(b"e", "topic"))
        for number in range(count):
            name = b"queue-%d" % number
            made.add_queue(name, number, durable=True)
            made.bind(Binding(b"e", name, b"stock.%d.price" % number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.route(b"e", b"stock.19999.price") == (19_999,)
    assert 100 < taken / count < 1000
