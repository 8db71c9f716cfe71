"""Volatile queues of one node, as another one knows, routes to and uses them."""

import pytest
from queue_parts import KINDS_WITH_NOTES, Time
from relay_kit import FarClient
from roaming_parts import Common
from storage_kit import Opened
from volatile_parts import Pair, VolatileNode

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.refusals import Locked
from logstore.broker.queues.volatile.others import LOST_S
from logstore.broker.queues.volatile.told import PATIENCE_S
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import ClusterUnreachable, Refused


@pytest.fixture
def pair(tmp_path):
    common, clock = Common(), Time()
    opened = [Opened(tmp_path / name) for name in ("a", "b")]
    a, b = (
        VolatileNode(it.writer(kinds=KINDS_WITH_NOTES), clock, common, name, first)
        for it, name, first in zip(opened, (b"a", b"b"), (2000, 3000), strict=True)
    )
    pair = Pair(a, b)
    yield pair
    for node, its in zip(pair.nodes, opened, strict=True):
        node.link.cut()
        node.close()
        its.close_all()


def routed(node, key, exchange=b""):
    return [it.facts.name for it in node.vhost.route(node.message(key, b"", exchange=exchange))]


def bind(pair, node, exchange, queue, key=b""):
    pending = node.vhost.bind(Binding(exchange, queue, key))
    pair.run(until=lambda: pending is None or pending.done)
    return pending


def test_a_reply_goes_to_the_node_whose_client_waits_for_it(pair):
    connection = object()
    pair.declare(pair.a, b"reply", exclusive=True, owner=connection)
    published = pair.publish(pair.b, b"reply", b"1", b"2")
    assert published.unrouted == []
    assert published.waiting.failed is None
    got = []
    pair.a.vhost.queue(b"reply", connection).get(FarClient().channel, True, got.append)
    pair.run(until=lambda: got)
    assert got[0].delivery.body == b"1"
    assert pair.b.parked_bytes == 0


def test_what_a_message_says_comes_with_it(pair):
    pair.declare(pair.a, b"q")
    pair.publish(pair.b, b"q", b"x", priority=3, correlation_id="7", headers={"n": 1})
    delivery = pair.get(pair.a, b"q").delivery
    there = pair.b.message(b"q", b"x", priority=3, correlation_id="7", headers={"n": 1})
    assert (delivery.exchange, delivery.key, delivery.properties) == (b"", b"q", there.properties)


def test_a_declaration_is_answered_once_the_other_node_knows(pair):
    _, pending = pair.a.vhost.declare_queue(QueueFacts(b"q"))
    assert not pending.done
    assert routed(pair.b, b"q") == []
    pair.run(until=lambda: pending.done)
    assert routed(pair.b, b"q") == [b"q"]


def test_a_declaration_does_not_wait_for_ever_for_a_node_that_is_silent(pair):
    pair.b.link.session = None  # nothing goes over
    _, first = pair.a.vhost.declare_queue(QueueFacts(b"q"))
    _, second = pair.a.vhost.declare_queue(QueueFacts(b"r"))
    assert [seconds for seconds, _ in pair.a.timers] == [PATIENCE_S]
    pair.a.late()
    assert first.done
    assert second.done
    assert pair.a.vhost.declare_queue(QueueFacts(b"s"))[1] is None  # it is not waited for again


def test_bindings_lead_to_queues_of_the_other_node(pair):
    for node in pair.nodes:
        node.vhost.declare_exchange(ExchangeFacts(b"news", "topic"))
    pair.declare(pair.a, b"q", auto_delete=True)
    bind(pair, pair.a, b"news", b"q", b"x.#")
    pair.publish(pair.b, b"x.y", b"1", exchange=b"news")
    assert pair.publish(pair.b, b"y", b"2", exchange=b"news").unrouted == [0]
    assert pair.bodies(pair.a, b"q") == [b"1"]
    pair.a.vhost.unbind(Binding(b"news", b"q", b"x.#"))
    pair.run()
    assert routed(pair.b, b"x.y", b"news") == []


def test_a_binding_waits_for_its_exchange(pair):
    pair.a.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    pair.declare(pair.a, b"q")
    bind(pair, pair.a, b"logs", b"q")
    pair.b.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    assert routed(pair.b, b"", b"logs") == [b"q"]


def test_a_client_of_the_other_node_uses_what_is_no_ones_own(pair):
    pair.declare(pair.a, b"q")
    pair.publish(pair.a, b"q", b"1")
    assert pair.get(pair.b, b"q").delivery.body == b"1"
    client = FarClient()
    pair.b.vhost.queue(b"q").subscribe(client)
    pair.run()
    pair.publish(pair.b, b"q", b"2")
    pair.run(until=lambda: client.had)
    assert client.bodies == [b"2"]


def test_a_client_of_the_other_node_binds_and_deletes_it(pair):
    for node in pair.nodes:
        node.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    pair.declare(pair.a, b"q")
    assert bind(pair, pair.b, b"logs", b"q").error is None
    assert routed(pair.a, b"", b"logs") == [b"q"]
    pair.b.vhost.unbind(Binding(b"logs", b"q"))
    pair.run()
    assert routed(pair.a, b"", b"logs") == []
    _, pending = pair.b.vhost.delete_queue(pair.b.vhost.queue(b"q"))
    pair.run(until=lambda: pending.done)
    assert pending.error is None
    for node in pair.nodes:
        assert node.vhost.topology.queue(b"q") is None


def test_a_binding_that_its_node_refuses_is_not_here_either(pair):
    pair.b.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    pair.declare(pair.a, b"q")
    assert "no exchange" in str(bind(pair, pair.b, b"logs", b"q").error)
    assert routed(pair.b, b"", b"logs") == []


def test_an_exclusive_one_is_locked_at_the_other_node(pair):
    pair.declare(pair.a, b"q", exclusive=True, owner=object())
    with pytest.raises(Locked):
        pair.b.vhost.queue(b"q", object())
    with pytest.raises(Locked):
        pair.declare(pair.b, b"q")
    with pytest.raises(Locked):
        pair.a.volatile.find(b"/", b"q", pair.a.vhost.topology.queue(b"q").id)


def test_queues_go_with_their_connection_at_both_nodes(pair):
    connection = object()
    pair.declare(pair.a, b"q", exclusive=True, owner=connection)
    pair.a.vhost.owner_gone(connection)
    pair.run()
    with pytest.raises(NoQueue):
        pair.b.vhost.queue(b"q")


def test_a_node_that_is_lost_takes_its_queues_after_a_while(pair):
    pair.declare(pair.a, b"q")
    client = FarClient()
    pair.b.vhost.queue(b"q").subscribe(client)
    pair.run()
    pair.cut(pair.b)
    refused = pair.b.publish_soon(b"q", b"1")
    assert isinstance(refused.error, ClusterUnreachable)
    assert refused.rejected == [0]
    pair.b.volatile.moved(b"a")  # as often as anybody asks for a seat there
    assert [seconds for seconds, _ in pair.b.timers] == [LOST_S]
    pair.b.late()
    pair.run()
    assert pair.b.vhost.topology.queue(b"q") is None
    assert client.is_cancelled


def test_a_link_that_comes_again_says_all_anew(pair):
    for name in (b"stays", b"goes"):
        pair.declare(pair.a, name)
    for node in pair.nodes:
        node.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    bind(pair, pair.a, b"logs", b"stays")
    shown = pair.b.vhost.queue(b"stays")
    pair.cut(pair.b)
    pair.a.vhost.delete_queue(pair.a.vhost.queue(b"goes"))
    pair.a.vhost.unbind(Binding(b"logs", b"stays"))
    pair.declare(pair.a, b"new")
    pair.connect(pair.b)
    pair.b.late()  # it has come again in time
    assert pair.b.vhost.queue(b"stays") is shown
    assert {it.facts.name for it in pair.b.vhost.queues()} == {b"stays", b"new"}
    assert routed(pair.b, b"", b"logs") == []
    pair.publish(pair.b, b"stays", b"1")
    assert pair.bodies(pair.a, b"stays") == [b"1"]


def test_a_node_that_could_not_be_asked_for_its_queues_is_asked_again(pair, monkeypatch):
    pair.cut(pair.b)
    pair.b.timers.clear()
    monkeypatch.setattr("logstore.broker.queues.away.owner.ASKS_MAX", 0)
    pair.connect(pair.b)
    monkeypatch.undo()
    pair.declare(pair.a, b"q")
    assert routed(pair.b, b"q") == []
    pair.b.late()
    pair.run()
    assert routed(pair.b, b"q") == [b"q"]


def test_one_that_is_deleted_while_all_is_said_anew_is_gone(pair):
    pair.declare(pair.a, b"goes")
    pair.cut(pair.b)
    pair.a.vhost.delete_queue(pair.a.vhost.queue(b"goes"))
    for number in range(450):
        pair.a.vhost.declare_queue(QueueFacts(b"%d" % number))
    pair.b.link.connect(me=b"b", run=False)
    pair.run(until=lambda: pair.b.link.owner.ready)
    pair.b.volatile.moved(b"a")
    while len(list(pair.b.vhost.queues())) == 1:
        pair.step()
    _, pending = pair.b.vhost.delete_queue(pair.b.vhost.queue(b"goes"))
    pair.run(until=lambda: pending.done)
    assert {it.facts.name for it in pair.b.vhost.queues()} == {b"%d" % n for n in range(450)}


def test_a_binding_that_could_not_be_removed_is_there_still(pair):
    for node in pair.nodes:
        node.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    pair.declare(pair.a, b"q")
    bind(pair, pair.a, b"logs", b"q")
    pair.cut(pair.b)
    pending = pair.b.vhost.unbind(Binding(b"logs", b"q"))
    assert isinstance(pending.error, ClusterUnreachable)
    pair.connect(pair.b)
    for node in pair.nodes:
        assert routed(node, b"", b"logs") == [b"q"]


def test_a_queue_waits_for_its_virtual_host(pair):
    """To read on for it is in vain where the cluster is not reached."""
    pair.a.queues.add_vhost(b"x")
    pair.run(until=lambda: b"x" in pair.a.queues.vhosts)
    pair.a.queues.vhosts[b"x"].declare_queue(QueueFacts(b"q"))
    pair.run()
    pair.b.queues.add_vhost(b"x")
    pair.run(until=lambda: b"x" in pair.b.queues.vhosts)
    pair.run()
    assert pair.b.queues.vhosts[b"x"].queue(b"q").facts.name == b"q"


def test_of_two_with_one_name_each_node_has_its_own_until_that_goes(pair):
    pair.cut(pair.b)
    pair.cut(pair.a)
    for node in pair.nodes:
        pair.declare(node, b"q")
    for node in pair.nodes:
        pair.connect(node)
    for node in pair.nodes:
        pair.publish(node, b"q", node.name)
    assert [pair.bodies(it, b"q") for it in pair.nodes] == [[b"a"], [b"b"]]
    pair.b.vhost.delete_queue(pair.b.vhost.queue(b"q"))
    pair.run()
    pair.publish(pair.b, b"q", b"from b")
    assert pair.bodies(pair.a, b"q") == [b"from b"]


def test_many_come_in_some_answers_and_go_in_some_turns(pair):
    pair.cut(pair.b)
    for number in range(450):
        pair.a.vhost.declare_queue(QueueFacts(b"%d" % number))
    pair.connect(pair.b)
    assert len(list(pair.b.vhost.queues())) == 450
    pair.cut(pair.b)
    pair.b.timers[-1][1]()
    assert 0 < len(list(pair.b.vhost.queues())) < 450
    pair.run()
    assert list(pair.b.vhost.queues()) == []


def test_a_queue_that_its_node_does_not_delete_is_here_still(pair, monkeypatch):
    for node in pair.nodes:
        node.vhost.declare_exchange(ExchangeFacts(b"logs", "fanout"))
    pair.declare(pair.a, b"q")
    bind(pair, pair.a, b"logs", b"q")

    def refuse(queue, **_):
        raise Refused("not now")

    monkeypatch.setattr(pair.a.vhost, "delete_queue", refuse)
    assert "not now" in str(delete(pair, pair.b, b"q").error)
    assert routed(pair.b, b"", b"logs") == [b"q"]
    pair.publish(pair.b, b"q", b"1")
    assert pair.bodies(pair.a, b"q") == [b"1"]
    monkeypatch.undo()
    assert delete(pair, pair.b, b"q").error is None
    for node in pair.nodes:
        assert node.vhost.topology.queue(b"q") is None


def delete(pair, node, name):
    _, pending = node.vhost.delete_queue(node.vhost.queue(name))
    assert node.vhost.topology.queue(name) is None, "while its node is asked"
    pair.run(until=lambda: pending.done)
    return pending
