"""A virtual host from the rows that were kept."""

from logstore.broker.routing.binding import Binding
from logstore.broker.routing.change import Change
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.topology import Topology


def test_bindings_whose_ends_are_not_all_there_are_removed():
    """A power cut may leave the rows of a change half there, where they are kept so."""
    facts = ExchangeFacts(b"e", "fanout")
    whole = Binding(b"e", b"q")
    halves = [
        Binding(b"gone", b"q"),
        Binding(b"e", b"gone"),
        Binding(b"e", b"gone", kind="exchange"),
    ]
    topology, change = Topology.restore([facts], [(b"q", "q")], [halves[0], whole, *halves[1:]])
    assert change == Change(removed=tuple(halves))
    assert list(topology.bindings_from(b"e")) == [whole]
    assert topology.route(b"e", b"") == ("q",)


def test_restored_bindings_are_kept_and_known():
    facts = ExchangeFacts(b"e", "topic", auto_delete=True)
    binding = Binding(b"e", b"q", b"a.#")
    topology, _ = Topology.restore([facts], [(b"q", "q")], [binding])
    assert not topology.declare(facts)
    assert not topology.bind(binding)
    assert topology.remove_queue(b"q") == Change(removed=(binding, facts), gone=(facts,))


def test_a_restored_auto_delete_exchange_without_bindings_waits_for_one():
    topology, _ = Topology.restore([ExchangeFacts(b"e", "fanout", auto_delete=True)], [], [])
    assert topology.exchange(b"e").auto_delete
