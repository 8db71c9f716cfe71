"""Exchanges and bindings of a virtual host: what may be declared, what goes, where messages go."""

from itertools import pairwise

import pytest

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.change import NOTHING, Change
from logstore.broker.routing.exchange import PREDEFINED, ExchangeFacts
from logstore.broker.routing.properties import PlainProperties
from logstore.broker.routing.refusals import (
    ConflictingArguments,
    Inequivalent,
    InternalExchange,
    InUse,
    InvalidArgument,
    InvalidWeight,
    NoExchange,
    NoQueue,
    NotPermitted,
    Reserved,
    UnknownType,
)
from logstore.broker.routing.topology import Topology


def alternate(name, kind="S"):
    return Arguments.of({b"alternate-exchange": Field(kind, name)})


def facts(name, type_name="direct", **others):
    return ExchangeFacts(name, type_name, **others)


def to_queue(source, queue, key=b"", arguments=NO_ARGUMENTS):
    return Binding(source, queue, key, arguments)


def to_exchange(source, exchange, key=b""):
    return Binding(source, exchange, key, kind="exchange")


def topology_of(*exchanges, queues=b"qrs"):
    """Durable queues of one letter; each is its own name, as text."""
    topology = Topology()
    for name in map(chr, queues):
        topology.add_queue(name.encode(), name, durable=True)
    for exchange in exchanges:
        topology.declare(exchange)
    return topology


# What is there from the start


def test_each_virtual_host_has_rabbitmqs_exchanges():
    topology = Topology()
    assert [(it.name, it.type_name, it.internal) for it in topology.exchanges()] == [
        (b"", "direct", False),
        (b"amq.direct", "direct", False),
        (b"amq.fanout", "fanout", False),
        (b"amq.headers", "headers", False),
        (b"amq.match", "headers", False),
        (b"amq.rabbitmq.trace", "topic", True),
        (b"amq.topic", "topic", False),
    ]
    assert all(it.durable and not it.auto_delete for it in PREDEFINED)


def test_each_queue_is_bound_to_the_default_exchange_by_its_name():
    topology = topology_of()
    assert topology.route(b"", b"q") == ("q",)
    assert topology.route(b"", b"nobody") == ()
    assert list(topology.bindings_from(b"")) == [to_queue(b"", it, it) for it in (b"q", b"r", b"s")]
    assert list(topology.bindings_to(b"q")) == [to_queue(b"", b"q", b"q")]
    topology.remove_queue(b"q")
    assert topology.route(b"", b"q") == ()
    topology.add_queue(b"q", "another", durable=False)
    assert topology.route(b"", b"q") == ("another",)


# Declaring


def test_the_same_again_changes_nothing():
    topology = Topology()
    event = facts(b"e", "topic", auto_delete=True, arguments=alternate(b"a"))
    assert topology.declare(event) == Change(put=(event,))
    assert topology.declare(event) == NOTHING
    assert topology.exchange(b"e") == event


def test_what_is_transient_is_not_kept():
    topology = topology_of()
    assert topology.declare(facts(b"e", durable=False)) == NOTHING
    assert not topology.bind(to_queue(b"e", b"q"))
    assert topology.delete(b"e") == Change(gone=(facts(b"e", durable=False),))


@pytest.mark.parametrize(
    ("declared", "argument", "received", "current"),
    [
        (facts(b"e", "fanout", durable=False, internal=True), "type", "fanout", "direct"),
        (facts(b"e", durable=False, auto_delete=True), "durable", False, True),
        (facts(b"e", auto_delete=True, internal=True), "auto_delete", True, False),
        (facts(b"e", internal=True, arguments=alternate(b"b")), "internal", True, False),
        (facts(b"e"), "alternate-exchange", None, Field("S", b"a")),
        (
            facts(b"e", arguments=alternate(b"b")),
            "alternate-exchange", Field("S", b"b"), Field("S", b"a"),
        ),
        (
            facts(b"e", arguments=alternate(7, "I")),
            "alternate-exchange", Field("I", 7), Field("S", b"a"),
        ),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(declared, argument, received, current):
    topology = topology_of(facts(b"e", arguments=alternate(b"a")))
    with pytest.raises(Inequivalent) as refused:
        topology.declare(declared)
    error = refused.value
    assert (error.exchange, error.argument) == (b"e", argument)
    assert (error.received, error.current) == (received, current)
    assert topology.exchange(b"e") == facts(b"e", arguments=alternate(b"a"))


def test_other_arguments_are_not_compared():
    topology = topology_of(facts(b"e"))
    more = Arguments.of({b"x-anything": Field("I", 1)})
    assert topology.declare(facts(b"e", arguments=more)) == NOTHING
    assert topology.exchange(b"e").arguments == NO_ARGUMENTS


def test_reserved_names_are_for_the_server_but_may_be_declared_as_they_are():
    topology = Topology()
    with pytest.raises(Reserved) as refused:
        topology.declare(facts(b"amq.mine"))
    assert refused.value.exchange == b"amq.mine"
    assert topology.declare(facts(b"amq.topic", "topic")) == NOTHING
    with pytest.raises(Inequivalent):
        topology.declare(facts(b"amq.topic", "fanout"))
    topology.declare(facts(b"amq"))
    topology.declare(facts(b"AMQ.mine"))


def test_checks_are_made_in_rabbitmqs_order():
    topology = topology_of(facts(b"e"))
    with pytest.raises(UnknownType) as refused:
        topology.declare(facts(b"", "x-none"))
    assert refused.value.type_name == "x-none"
    with pytest.raises(UnknownType):
        topology.declare(facts(b"e", "x-none"))
    with pytest.raises(NotPermitted):
        topology.declare(facts(b"", "direct"))
    with pytest.raises(Inequivalent):
        topology.declare(facts(b"e", "fanout", arguments=alternate(1, "I")))
    with pytest.raises(Reserved):
        topology.declare(facts(b"amq.e", arguments=alternate(1, "I")))
    with pytest.raises(InvalidArgument) as invalid:
        topology.declare(facts(b"f", "x-consistent-hash", arguments=Arguments.of({
            b"alternate-exchange": Field("I", 1),
            b"hash-header": Field("S", b"a"),
            b"hash-property": Field("S", b"message_id"),
        })))  # fmt: skip
    assert invalid.value.argument == b"alternate-exchange"
    with pytest.raises(ConflictingArguments):
        topology.declare(facts(b"f", "x-consistent-hash", arguments=Arguments.of({
            b"hash-header": Field("S", b"a"), b"hash-property": Field("S", b"message_id"),
        })))  # fmt: skip
    with pytest.raises(NoExchange):
        topology.exchange(b"f")


def test_an_error_is_one_line_whatever_the_names_are():
    topology = topology_of(facts(b"e\n\xff", arguments=alternate(b"a\x1b")))
    with pytest.raises(Inequivalent) as refused:
        topology.declare(facts(b"e\n\xff"))
    assert str(refused.value).isprintable()
    with pytest.raises(NoExchange) as missing:
        topology.exchange(b"\r\n\xfe")
    assert str(missing.value).isprintable()


# Deleting


def test_deleting_takes_all_bindings_along():
    topology = topology_of(facts(b"e"), facts(b"f"), facts(b"g"))
    bound = [to_exchange(b"e", b"f"), to_queue(b"f", b"q"), to_exchange(b"f", b"g")]
    for binding in bound:
        topology.bind(binding)
    change = topology.delete(b"f")
    assert change.gone == (facts(b"f"),)
    assert sorted(map(repr, change.removed)) == sorted(map(repr, [facts(b"f"), *bound]))
    assert list(topology.bindings_from(b"e")) == []
    assert list(topology.bindings_to(b"q")) == [to_queue(b"", b"q", b"q")]
    assert list(topology.bindings_to(b"g", "exchange")) == []
    with pytest.raises(NoExchange):
        topology.route(b"f", b"")
    topology.declare(facts(b"f"))
    assert topology.route(b"e", b"") == topology.route(b"f", b"") == ()


def test_deleting_what_is_not_there_is_answered_like_a_deletion():
    assert Topology().delete(b"e") == Topology().delete(b"e", if_unused=True) == NOTHING


@pytest.mark.parametrize("name", [b"", b"amq.direct", b"amq.rabbitmq.trace", b"amq.nobody"])
def test_predefined_exchanges_are_not_deleted(name):
    with pytest.raises(NotPermitted) as refused:
        Topology().delete(name)
    assert refused.value.exchange == name


def test_if_unused_asks_for_bindings_from_the_exchange_alone():
    topology = topology_of(facts(b"e"), facts(b"f"))
    topology.bind(to_exchange(b"e", b"f"))
    with pytest.raises(InUse) as refused:
        topology.delete(b"e", if_unused=True)
    assert refused.value.exchange == b"e"
    assert topology.delete(b"f", if_unused=True).gone == (facts(b"f"),)
    assert topology.delete(b"e", if_unused=True).gone == (facts(b"e"),)


# Going by themselves


def test_an_auto_delete_exchange_goes_with_its_last_binding():
    auto = facts(b"e", auto_delete=True)
    topology = topology_of(auto)
    first, second = to_queue(b"e", b"q", b"1"), to_queue(b"e", b"q", b"2")
    topology.bind(first)
    topology.bind(second)
    assert topology.unbind(first) == Change(removed=(first,))
    assert topology.unbind(second) == Change(removed=(second, auto), gone=(auto,))
    assert topology.unbind(second) == NOTHING
    with pytest.raises(NoExchange):
        topology.exchange(b"e")


def test_an_auto_delete_exchange_that_never_had_a_binding_stays():
    topology = topology_of(facts(b"e", auto_delete=True), facts(b"f"))
    topology.bind(to_exchange(b"f", b"e"))
    topology.unbind(to_exchange(b"f", b"e"))
    assert topology.unbind(to_queue(b"e", b"q")) == NOTHING
    assert topology.exchange(b"e").auto_delete


def test_an_auto_delete_exchange_goes_when_its_last_queue_is_deleted():
    auto = facts(b"e", auto_delete=True)
    topology = topology_of(auto)
    keys = [to_queue(b"e", b"q", key) for key in (b"1", b"2")]
    for binding in keys:
        topology.bind(binding)
    assert topology.remove_queue(b"q") == Change(removed=(*keys, auto), gone=(auto,))


def test_an_auto_delete_exchange_is_not_deleted_as_a_destination():
    topology = topology_of(facts(b"e"), facts(b"f", auto_delete=True))
    topology.bind(to_exchange(b"e", b"f"))
    topology.bind(to_queue(b"f", b"q"))
    topology.unbind(to_exchange(b"e", b"f"))
    topology.bind(to_exchange(b"e", b"f"))
    assert topology.delete(b"e").gone == (facts(b"e"),)
    assert topology.route(b"f", b"") == ("q",)


def test_going_by_themselves_cascades():
    """A chain of 2,000 auto-delete exchanges, one bound to the next, falls to its last queue."""
    chained = [facts(b"%d" % it, "fanout", auto_delete=True) for it in range(2000)]
    topology = topology_of(*chained, facts(b"stays", "fanout"))
    for one, next_one in pairwise(chained):
        topology.bind(to_exchange(one.name, next_one.name))
    topology.bind(to_exchange(b"stays", b"0"))
    topology.bind(to_queue(b"1999", b"q"))
    assert topology.route(b"stays", b"k") == ("q",)
    assert topology.remove_queue(b"q").gone == tuple(reversed(chained))
    assert topology.route(b"stays", b"k") == ()
    assert list(topology.bindings_from(b"stays")) == []


def test_auto_delete_exchanges_in_a_ring_hold_each_other():
    topology = topology_of(
        facts(b"e", auto_delete=True), facts(b"f", auto_delete=True), facts(b"g", auto_delete=True)
    )
    topology.bind(to_exchange(b"e", b"f"))
    topology.bind(to_exchange(b"f", b"e"))
    topology.bind(to_exchange(b"g", b"e"))
    topology.bind(to_exchange(b"g", b"g"))
    topology.bind(to_queue(b"e", b"q"))
    topology.remove_queue(b"q")
    assert [it.name for it in topology.delete(b"e").gone] == [b"e", b"f"]
    assert [it.name for it in topology.delete(b"g").gone] == [b"g"]
    assert [it.name for it in topology.exchanges()] == [it.name for it in PREDEFINED]


# Binding


def test_the_default_exchange_takes_no_bindings():
    topology = topology_of(facts(b"e"))
    for binding in (to_queue(b"", b"q"), to_exchange(b"", b"e"), to_exchange(b"e", b"")):
        for act in (topology.bind, topology.unbind):
            with pytest.raises(NotPermitted):
                act(binding)


def test_both_ends_must_be_there_the_source_first():
    topology = topology_of(facts(b"e", "x-consistent-hash"))
    with pytest.raises(NoExchange) as missing:
        topology.bind(to_queue(b"f", b"nobody"))
    assert missing.value.exchange == b"f"
    with pytest.raises(NoQueue) as missing:
        topology.bind(to_queue(b"e", b"nobody", b"no weight"))
    assert missing.value.queue == b"nobody"
    with pytest.raises(NoExchange) as missing:
        topology.bind(to_exchange(b"e", b"g", b"no weight"))
    assert missing.value.exchange == b"g"


def test_a_binding_that_its_type_refuses_leaves_nothing_behind():
    topology = topology_of(facts(b"e", "x-consistent-hash"), facts(b"h", "headers"))
    with pytest.raises(InvalidWeight):
        topology.bind(to_queue(b"e", b"q", b"no weight"))
    bad = Arguments.of({b"x-match": Field("S", b"foo"), b"a": Field("I", 1)})
    with pytest.raises(InvalidArgument):
        topology.bind(to_queue(b"h", b"q", b"", bad))
    assert [*topology.bindings_from(b"e"), *topology.bindings_from(b"h")] == []
    assert topology.remove_queue(b"q") == NOTHING


def test_unbinding_what_is_not_there_is_answered_like_unbinding():
    topology = topology_of(facts(b"e"))
    for binding in (
        to_queue(b"e", b"q"), to_queue(b"nobody", b"q"), to_queue(b"e", b"nobody"),
        to_exchange(b"e", b"nobody"),
    ):  # fmt: skip
        assert topology.unbind(binding) == NOTHING


def test_bindings_that_differ_in_the_width_of_an_integer_are_two():
    """rabbitmq-server#10590: unbinding must be given the same table."""
    auto = facts(b"e", "headers", auto_delete=True)
    topology = topology_of(auto)
    bindings = [
        to_queue(b"e", b"q", b"", Arguments.of({b"a": Field(kind, 1)})) for kind in ("I", "l")
    ]
    for binding in bindings:
        assert topology.bind(binding).put == (binding,)
    assert list(topology.bindings_from(b"e")) == bindings
    of = PlainProperties({b"a": 1})
    assert topology.route(b"e", b"", of) == ("q",)
    other = to_queue(b"e", b"q", b"", Arguments.of({b"a": Field("s", 1)}))
    assert topology.unbind(other) == NOTHING
    topology.unbind(bindings[0])
    assert topology.route(b"e", b"", of) == ("q",)
    assert topology.unbind(bindings[1]).gone == (auto,)


def test_the_order_of_arguments_means_nothing():
    topology = topology_of(facts(b"e", "headers"))
    fields = [(b"a", Field("I", 1)), (b"b", Field("I", 2))]
    binding = to_queue(b"e", b"q", b"", Arguments.of(fields))
    topology.bind(binding)
    again = to_queue(b"e", b"q", b"", Arguments.of(reversed(fields)))
    assert topology.bind(again) == NOTHING
    assert topology.unbind(again) == Change(removed=(binding,))


def test_arguments_tell_bindings_of_any_type_apart():
    for type_name in ("direct", "fanout", "topic", "x-random"):
        topology = topology_of(facts(b"e", type_name))
        plain, named = (
            to_queue(b"e", b"q", b"k", it) for it in (NO_ARGUMENTS, alternate(b"whatever"))
        )
        topology.bind(plain)
        topology.bind(named)
        topology.unbind(plain)
        assert topology.route(b"e", b"k") == ("q",)
        topology.unbind(named)
        assert topology.route(b"e", b"k") == ()


@pytest.mark.parametrize(
    ("source_durable", "queue_durable", "kept"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_binding_outlives_a_restart_if_both_its_ends_do(source_durable, queue_durable, kept):
    topology = topology_of(facts(b"e", durable=source_durable))
    topology.add_queue(b"t", "t", durable=queue_durable)
    binding = to_queue(b"e", b"t")
    assert bool(topology.bind(binding)) == kept
    assert bool(topology.unbind(binding)) == kept
    topology.bind(binding)
    assert topology.remove_queue(b"t") == (Change(removed=(binding,)) if kept else NOTHING)


# Routing


def test_direct_asks_for_an_equal_key():
    topology = topology_of(facts(b"e"))
    for queue, key in ((b"q", b"k"), (b"r", b"k"), (b"s", b"K"), (b"q", b"")):
        topology.bind(to_queue(b"e", queue, key))
    assert topology.route(b"e", b"k") == ("q", "r")
    assert topology.route(b"e", b"K") == ("s",)
    assert topology.route(b"e", b"") == ("q",)
    assert topology.route(b"e", b"*") == ()


def test_fanout_asks_for_nothing():
    topology = topology_of(facts(b"e", "fanout"))
    topology.bind(to_queue(b"e", b"q", b"k"))
    topology.bind(to_queue(b"e", b"q", b"k2"))
    topology.bind(to_queue(b"e", b"r"))
    assert topology.route(b"e", b"anything") == ("q", "r")


def test_the_empty_key_reaches_only_whom_it_matches():
    """rabbitmq-server#16425: in 4.3.0 it reached every queue of the virtual host."""
    topology = topology_of(facts(b"e", "topic"))
    for queue, key in ((b"q", b"*"), (b"r", b"a.b"), (b"s", b"#")):
        topology.bind(to_queue(b"e", queue, key))
    assert topology.route(b"e", b"") == ("s",)


def test_a_queue_gets_one_copy_however_many_bindings_match():
    topology = topology_of(facts(b"e", "topic"), facts(b"f", "fanout"))
    for key in (b"#", b"a.#", b"*.b", b"a.b", b"a.*"):
        topology.bind(to_queue(b"e", b"q", key))
    topology.bind(to_exchange(b"e", b"f", b"#"))
    topology.bind(to_queue(b"f", b"q"))
    assert topology.route(b"e", b"a.b") == ("q",)


def test_cc_and_bcc_make_a_union():
    topology = topology_of(facts(b"e"), facts(b"t", "topic"))
    for queue in (b"q", b"r"):
        topology.bind(to_queue(b"e", queue, b"to-" + queue))
        topology.bind(to_queue(b"t", queue, b"#." + queue))
    assert topology.route(b"e", b"to-q", copies=[b"to-r", b"to-q", b"to-nobody"]) == ("q", "r")
    assert topology.route(b"e", b"to-nobody", copies=[b"to-r"]) == ("r",)
    assert topology.route(b"t", b"a.r", copies=[b"b.q", b"c.r"]) == ("r", "q")
    assert topology.route(b"", b"s", copies=[b"q", b"s", b"nobody"]) == ("s", "q")
    # What was worked out for all keys is not taken for what one of them leads to.
    assert topology.route(b"e", b"to-q") == ("q",)
    assert topology.route(b"e", b"to-q", copies=[b"to-r"]) == ("q", "r")


def test_cycles_of_exchanges_end():
    topology = topology_of(facts(b"e", "fanout"), facts(b"f", "fanout"), facts(b"g", "fanout"))
    for source, destination in (b"ef", b"fg", b"ge", b"ee", b"eg", b"gf"):
        topology.bind(to_exchange(bytes([source]), bytes([destination])))
    topology.bind(to_queue(b"g", b"q"))
    topology.bind(to_queue(b"e", b"r"))
    assert sorted(topology.route(b"f", b"")) == ["q", "r"]
    topology.unbind(to_queue(b"g", b"q"))
    topology.unbind(to_queue(b"e", b"r"))
    assert topology.route(b"f", b"") == ()


def test_celerys_ladder_of_28_exchanges_is_one_route():
    """kombu's native delayed delivery: 28 levels of queues, one for each bit of the delay."""
    topology = Topology()
    top = 27
    topology.declare(facts(b"celery_delayed_delivery", "topic"))
    for level in range(top + 1):
        name = b"celery_delayed_%d" % level
        below = b"celery_delayed_%d" % (level - 1) if level else b"celery_delayed_delivery"
        topology.declare(facts(name, "topic"))
        topology.add_queue(name, level, durable=True)
        stars = b"*." * (top - level)
        topology.bind(to_queue(name, name, stars + b"1.#"))
        topology.bind(to_exchange(name, below, stars + b"0.#"))
    topology.declare(facts(b"tasks", "topic"))
    topology.add_queue(b"tasks", "tasks", durable=True)
    topology.bind(to_exchange(b"celery_delayed_delivery", b"tasks", b"#.mail.send"))
    topology.bind(to_queue(b"tasks", b"tasks", b"#.mail.send"))

    def key(delay):
        return b".".join(b"%d" % (delay >> bit & 1) for bit in range(top, -1, -1)) + b".mail.send"

    assert topology.route(b"celery_delayed_27", key(0)) == ("tasks",)
    for level in range(top + 1):
        assert topology.route(b"celery_delayed_27", key(1 << level)) == (level,)
    assert topology.route(b"celery_delayed_9", key(0b1_0000_0000_0101)) == (2,)


def test_a_chain_of_thousands_of_exchanges_is_walked():
    chained = [facts(b"%d" % it, "fanout") for it in range(5000)]
    topology = topology_of(*chained)
    for one, next_one in pairwise(chained):
        topology.bind(to_exchange(one.name, next_one.name))
    topology.bind(to_queue(b"4999", b"q"))
    assert topology.route(b"0", b"k") == ("q",)
    topology.unbind(to_queue(b"4999", b"q"))
    assert topology.route(b"0", b"k") == ()


def test_internal_exchanges_take_messages_from_exchanges_and_dead_letters():
    topology = topology_of(facts(b"e", "fanout"), facts(b"i", "fanout", internal=True))
    topology.bind(to_exchange(b"e", b"i"))
    topology.bind(to_queue(b"i", b"q"))
    for _ in range(2):  # remembered or not
        with pytest.raises(InternalExchange) as refused:
            topology.route(b"i", b"k")
        assert refused.value.exchange == b"i"
        assert topology.route(b"e", b"k") == topology.route(b"i", b"k", dead=True) == ("q",)
    topology.delete(b"i")
    topology.declare(facts(b"i", "fanout"))
    assert topology.route(b"i", b"k") == ()


# Alternate exchanges


def test_the_alternate_exchange_gets_what_has_no_route():
    topology = topology_of(facts(b"e", arguments=alternate(b"a")), facts(b"a", "fanout"))
    topology.bind(to_queue(b"e", b"q", b"k"))
    topology.bind(to_queue(b"a", b"r"))
    assert topology.route(b"e", b"k") == ("q",)
    assert topology.route(b"e", b"other") == ("r",)
    # The routes of all keys together are looked at.
    assert topology.route(b"e", b"other", copies=[b"k"]) == ("q",)
    assert topology.route(b"e", b"other", copies=[b"another"]) == ("r",)


def test_a_missing_alternate_exchange_is_ignored_until_it_is_there():
    topology = topology_of(facts(b"e", arguments=alternate(b"a")))
    assert topology.route(b"e", b"k") == ()
    topology.declare(facts(b"a", "fanout"))
    topology.bind(to_queue(b"a", b"r"))
    assert topology.route(b"e", b"k") == ("r",)
    topology.delete(b"a")
    assert topology.route(b"e", b"k") == ()


def test_alternate_exchanges_may_be_chained_in_a_ring():
    topology = topology_of(
        facts(b"e", arguments=alternate(b"f")),
        facts(b"f", arguments=alternate(b"g")),
        facts(b"g", arguments=alternate(b"e")),
        facts(b"self", arguments=alternate(b"self")),
    )
    assert topology.route(b"e", b"k") == topology.route(b"self", b"k") == ()
    topology.bind(to_queue(b"g", b"q", b"k"))
    assert topology.route(b"e", b"k") == ("q",)


def test_the_default_exchange_may_be_the_alternate():
    topology = topology_of(facts(b"e", arguments=alternate(b"")))
    assert topology.route(b"e", b"q") == ("q",)
    assert topology.route(b"e", b"later") == ()
    topology.add_queue(b"later", "later", durable=False)
    assert topology.route(b"e", b"later") == ("later",)
    topology.remove_queue(b"later")
    assert topology.route(b"e", b"later") == ()


def test_an_exchange_that_is_bound_is_a_route_though_it_leads_nowhere():
    topology = topology_of(
        facts(b"e", arguments=alternate(b"a")), facts(b"f", "fanout"), facts(b"a", "fanout")
    )
    topology.bind(to_exchange(b"e", b"f", b"k"))
    topology.bind(to_queue(b"a", b"q"))
    assert topology.route(b"e", b"k") == ()
    assert topology.route(b"e", b"other") == ("q",)


def test_an_internal_exchange_may_be_the_alternate():
    topology = topology_of(
        facts(b"e", arguments=alternate(b"i")), facts(b"i", "fanout", internal=True)
    )
    topology.bind(to_queue(b"i", b"q"))
    assert topology.route(b"e", b"k") == ("q",)


# What others have changed


def test_what_is_followed_joins_what_is_there():
    topology = Topology()
    topology.put(ExchangeFacts(b"x", "topic"))
    topology.add_queue(b"q", "q", durable=True)
    binding = Binding(b"x", b"q", b"k")
    assert topology.join(binding)
    assert not topology.join(binding), "it is there"
    assert not topology.join(Binding(b"x", b"no", b"k"))
    assert topology.route(b"x", b"k") == ("q",)
    assert topology.remove(binding).removed == (binding,)
    assert topology.remove(binding) == topology.remove(b"no") == NOTHING
    assert topology.route(b"x", b"k") == ()


def test_what_lasts_goes_by_itself_only_where_it_is_said_so():
    topology = Topology()
    topology.put(ExchangeFacts(b"lasts", "topic", auto_delete=True))
    topology.declare(ExchangeFacts(b"mine", "topic", durable=False, auto_delete=True))
    topology.add_queue(b"q", "q", durable=True)
    for source in (b"lasts", b"mine"):
        topology.bind(Binding(source, b"q"))
    change = topology.remove_queue(b"q", followed=True)
    assert [it.name for it in change.gone] == [b"mine"]
    assert topology.has_exchange(b"lasts")
    assert [it.name for it in topology.remove(b"lasts").gone] == [b"lasts"]
