"""A virtual host as a picture: what is in it, what is not, and what is worth a look."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_parts import Consumer

from logstore.broker.queues import picture
from logstore.broker.queues.picture import drawn, on_cycles
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.errors import LogstoreError
from logstore.slices import Slices


def draw(node, focus=None, depth=10, sees=lambda kind, name: True):
    found = []
    Slices().begin(drawn(node.vhost, sees, focus, depth), found.append)
    [it] = found
    if isinstance(it, LogstoreError):
        raise it
    return it


def names(found):
    return [f"{kind[0]}:{name.decode()}" for (kind, name), _ in found.nodes]


def edges(found):
    return {
        (f"{it.source[0][0]}:{it.source[1].decode()}",
         f"{it.destination[0][0]}:{it.destination[1].decode()}", it.kind)
        for it in found.edges
    }  # fmt: skip


def flags(found, name):
    return next(flags for (_, own), flags in found.nodes if own == name)


@pytest.fixture
def shop(shared):
    """in -> orders -> (mail, bills); bills dies into dead by the exchange dlx."""
    node = shared
    for name in (b"in", b"orders"):
        node.exchange(name, "topic")
    node.exchange(b"dlx", "fanout")
    node.declare(b"mail")
    node.declare(b"bills", dead_letter_exchange="dlx")
    node.declare(b"dead")
    node.declare(b"alone")
    node.vhost.bind(Binding(b"in", b"orders", b"#", kind="exchange"))
    node.bind(b"orders", b"mail", b"a.#")
    node.bind(b"orders", b"mail", b"b.#")
    node.bind(b"orders", b"bills", b"#")
    node.bind(b"dlx", b"dead")
    return node


def test_all_of_a_virtual_host_is_in_its_picture(shop):
    found = draw(shop)
    assert Counter(names(found)) == Counter(
        ["e:dlx", "q:dead", "e:in", "e:orders", "q:mail", "q:bills", "q:alone"]
    )
    assert edges(found) == {
        ("e:in", "e:orders", "binding"), ("e:orders", "q:mail", "binding"),
        ("e:orders", "q:bills", "binding"), ("q:bills", "e:dlx", "dead-letter"),
        ("e:dlx", "q:dead", "binding"),
    }  # fmt: skip
    assert sorted(it.key for it in found.edges if it.destination[1] == b"mail") == [b"a.#", b"b.#"]
    assert not found.cut


def test_around_one_there_is_what_leads_there_and_what_it_leads_to(shop):
    assert Counter(names(draw(shop, ("queue", b"bills")))) == Counter(
        ["q:bills", "e:orders", "e:in", "e:dlx", "q:dead"]
    )  # not mail, which only has the same source
    assert Counter(names(draw(shop, ("queue", b"bills"), 1))) == Counter(
        ["q:bills", "e:orders", "e:dlx"]
    )
    assert Counter(names(draw(shop, ("queue", b"dead")))) == Counter(
        ["q:dead", "e:dlx", "q:bills", "e:orders", "e:in"]
    )
    assert Counter(names(draw(shop, ("exchange", b""), 1))) == Counter(
        ["e:", "q:mail", "q:bills", "q:dead", "q:alone"]
    )


def test_what_is_worth_a_look_is_flagged(shop):
    shop.exchange(b"nowhere", "direct")
    shop.vhost.queue(b"mail").subscribe(Consumer())
    shop.declare(b"lost", dead_letter_exchange="gone")
    found = draw(shop)
    assert flags(found, b"mail") == ()
    assert flags(found, b"bills") == ("no-consumer",)
    assert flags(found, b"alone") == ("unbound", "no-consumer")
    assert flags(found, b"nowhere") == ("unbound",)
    assert flags(found, b"gone") == ("missing",)


@pytest.mark.parametrize(
    ("first", "second", "loops"),
    [
        ({"dead_letter_exchange": "", "dead_letter_routing_key": "b"},
         {"dead_letter_exchange": "", "dead_letter_routing_key": "a"}, True),
        ({"dead_letter_exchange": "", "dead_letter_routing_key": "b"}, {}, False),
        ({"dead_letter_exchange": "", "dead_letter_routing_key": "a"}, {}, True),
        ({"dead_letter_exchange": "x", "dead_letter_routing_key": "k"}, {}, True),
        ({"dead_letter_exchange": "x", "dead_letter_routing_key": "other"}, {}, False),
        ({"dead_letter_exchange": "x"}, {}, True),  # by which key is not known
    ],
)  # fmt: skip
def test_dead_letters_that_may_come_back_are_flagged(shared, first, second, loops):
    shared.exchange(b"x", "direct")
    shared.declare(b"a", **first)
    shared.declare(b"b", **second)
    shared.bind(b"x", b"a", b"k")
    assert ("dead-letter-loop" in flags(draw(shared), b"a")) == loops


def test_an_alternate_exchange_is_an_edge(shared):
    args = arguments_of({"alternate-exchange": "other"})
    shared.vhost.declare_exchange(ExchangeFacts(b"x", "direct", arguments=args))
    shared.exchange(b"other", "fanout")
    found = draw(shared, ("exchange", b"other"))
    assert edges(found) == {("e:x", "e:other", "alternate")}


def test_what_one_may_not_see_is_not_there(shop):
    found = draw(shop, sees=lambda kind, name: name != b"orders")
    assert "e:orders" not in names(found)
    assert all(b"orders" not in (it.source[1], it.destination[1]) for it in found.edges)
    for focus, error in ((("exchange", b"orders"), NoExchange), (("queue", b"no"), NoQueue)):
        with pytest.raises(error):
            draw(shop, focus, sees=lambda kind, name: name != b"orders")


def test_a_picture_has_a_bound(shop, monkeypatch):
    monkeypatch.setattr(picture, "NODES_MAX", 3)
    assert (len(draw(shop).nodes), draw(shop).cut) == (3, True)
    assert draw(shop, ("queue", b"bills")).cut
    assert not draw(shop, ("queue", b"mail")).cut
    monkeypatch.setattr(picture, "NODES_MAX", 500)
    monkeypatch.setattr(picture, "EDGES_MAX", 2)
    assert (len(draw(shop).edges), draw(shop).cut) == (2, True)


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 6), st.frozensets(st.integers(0, 6), max_size=3)))
def test_cycles_are_those_that_one_finds_by_walking(below):
    def comes_back(start):
        reached, waiting = set(), list(below.get(start, ()))
        while waiting:
            at = waiting.pop()
            if at not in reached:
                reached.add(at)
                waiting += below.get(at, ())
        return start in reached

    assert on_cycles(below) == {it for it in range(7) if comes_back(it)}
