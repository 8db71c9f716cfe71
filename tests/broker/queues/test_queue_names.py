"""Names of queues: whose they are, when they go, what is bound to them."""

import re

import pytest
from queue_parts import Channel, Consumer, props
from storage_kit import FullDisk

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import ConsumersThere, Locked, NotEmpty, ReservedName
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.errors import StorageFull

ONE, OTHER = object(), object()


def test_a_queue_that_is_not_there(node):
    with pytest.raises(NoQueue):
        node.vhost.queue(b"q")


def test_the_server_makes_names(node):
    names = {node.declare(b"", durable=False).facts.name for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(rb"amq\.gen-[A-Za-z0-9_-]{22}", name) for name in names)
    name = names.pop()
    assert node.declare(name, durable=False) is node.vhost.queue(name)


def test_nobody_else_may_use_reserved_names(node):
    with pytest.raises(ReservedName):
        node.declare(b"amq.own")
    with pytest.raises(NoQueue):
        node.vhost.queue(b"amq.own")


def test_an_exclusive_queue_is_its_connections(node):
    queue = node.declare(b"q", ONE, exclusive=True)
    assert node.vhost.queue(b"q", ONE) is queue
    assert node.declare(b"q", ONE, exclusive=True) is queue
    node.vhost.unbind(Binding(b"amq.direct", b"q"), OTHER)  # there is no such binding
    node.vhost.bind(Binding(b"amq.direct", b"q"), ONE)
    for attempt in (
        lambda: node.vhost.queue(b"q", OTHER),
        lambda: node.vhost.queue(b"q"),
        lambda: node.declare(b"q", OTHER, exclusive=True),
        lambda: node.declare(b"q", OTHER, message_ttl=1),
        lambda: node.vhost.bind(Binding(b"amq.direct", b"q"), OTHER),
        lambda: node.vhost.bind(Binding(b"amq.direct", b"q", b"new"), OTHER),
        lambda: node.vhost.unbind(Binding(b"amq.direct", b"q"), OTHER),
    ):
        with pytest.raises(Locked):
            attempt()
    assert len(list(node.vhost.topology.bindings_to(b"q"))) == 2
    with pytest.raises(NoExchange):  # RabbitMQ looks for that first
        node.vhost.bind(Binding(b"no", b"q"), OTHER)


@pytest.mark.long
def test_two_hundred_reconnections_never_find_the_name_taken(node, tmp_path):
    for _ in range(200):
        owner = object()
        node.declare(b"q", owner, exclusive=True)
        node.publish(b"q", b"1")
        node.vhost.owner_gone(owner)
    node.run()
    assert list((tmp_path / "data" / "volatile").iterdir()) == []


def test_exclusive_queues_go_with_their_connection_alone(node):
    node.declare(b"a", ONE, exclusive=True)
    node.declare(b"b", OTHER, exclusive=True)
    node.declare(b"c", ONE)
    consumer = Consumer()
    node.vhost.queue(b"a", ONE).subscribe(consumer)
    node.vhost.owner_gone(ONE)
    assert consumer.is_cancelled
    assert sorted(it.facts.name for it in node.vhost.queues()) == [b"b", b"c"]
    node.vhost.owner_gone(ONE)


@pytest.mark.parametrize("given", [{"durable": False}, {"exclusive": True}])
def test_what_does_not_last_is_gone_after_a_restart(lives, given):
    node = lives.node
    node.declare(b"q", ONE, **given)
    node.publish(b"q", b"1")
    node = lives.again()
    with pytest.raises(NoQueue):
        node.vhost.queue(b"q", ONE)
    node.declare(b"q", ONE, **given)
    assert node.vhost.queue(b"q", ONE).ready == 0


def test_auto_delete_goes_with_the_last_consumer(node):
    queue = node.declare(b"q", auto_delete=True)
    node.publish(b"q", b"1")
    node.get(b"q")
    first, second = Consumer(), Consumer()
    for consumer in (first, second):
        queue.subscribe(consumer)
    queue.unsubscribe(first)
    node.run()
    assert node.vhost.queue(b"q") is queue
    queue.unsubscribe(second)
    with pytest.raises(NoQueue):
        node.vhost.queue(b"q")
    queue.unsubscribe(second)  # once more does no harm


def test_auto_delete_waits_for_a_first_consumer_also_over_a_restart(lives):
    lives.node.declare(b"q", auto_delete=True)
    node = lives.again()
    node.run()
    queue = node.vhost.queue(b"q")
    consumer = Consumer()
    queue.subscribe(consumer)
    queue.unsubscribe(consumer)
    with pytest.raises(NoQueue):
        node.vhost.queue(b"q")


def test_deleting_tells_how_many_messages_and_all_who_wait(node):
    queue = node.declare(b"q")
    consumer = Consumer(prefetch=1)
    queue.subscribe(consumer)
    node.publish(b"q", b"1", b"2", b"3")
    assert node.delete(b"q") == 2
    assert consumer.is_cancelled
    consumer.channel.ack(1)  # silently fine
    for bad in (Channel.requeue, Channel.reject):
        node.declare(b"q")
        node.publish(b"q", b"1")
        channel = Channel()
        node.get(b"q", channel, no_ack=False)
        node.delete(b"q")
        bad(channel, 1)
    node.run()


def test_if_unused_and_if_empty(node):
    queue = node.declare(b"q")
    consumer = Consumer(prefetch=1)
    queue.subscribe(consumer)
    with pytest.raises(ConsumersThere):
        node.delete(b"q", if_unused=True)
    queue.unsubscribe(consumer)
    node.publish(b"q", b"1")
    with pytest.raises(NotEmpty):
        node.delete(b"q", if_empty=True)
    node.get(b"q")
    assert node.delete(b"q", if_empty=True, if_unused=True) == 0


def test_a_publish_is_confirmed_although_its_queue_goes_before_it_is_safe(node):
    for durable in (True, False):
        node.declare(b"q", durable=durable)
        node.publish(b"q", b"0")
        published = node.publish_soon(b"q", b"1")
        node.delete(b"q")
        published.waiting.watch(lambda: None)
        node.run(until=published.waiting.settled)
        assert published.waiting.failed is None


def test_a_publish_waits_until_its_queue_is_kept(node):
    _, pending = node.vhost.declare_queue(QueueFacts(b"q", durable=True))
    published = node.publish_soon(b"q", b"1")
    assert not pending.done
    assert not published.waiting.settled()
    node.run(until=lambda: pending.done)
    published.waiting.watch(lambda: node.deliver(lambda: None))
    node.run(until=published.waiting.settled)
    assert published.waiting.failed is None


def test_routes_in_hand_when_a_queue_goes_lead_nowhere(node):
    node.declare(b"q")
    message = Message(b"", b"q", props(), b"1")
    route = node.vhost.route(message)
    node.delete(b"q")
    published = node.vhost.publish([(route, message)])
    node.run(until=published.waiting.settled)
    assert node.vhost.route(message) == ()


def test_exchanges_queues_and_bindings_are_there_after_a_restart(lives):
    node = lives.node
    node.exchange(b"x\xff", "topic")
    node.exchange(b"gone", "topic", durable=False)
    node.declare(b"q\xfe")
    node.bind(b"x\xff", b"q\xfe", b"a.*.\x80")
    node.bind(b"gone", b"q\xfe", b"#")
    node.bind(b"amq.fanout", b"q\xfe")
    node.vhost.bind(Binding(b"amq.topic", b"x\xff", b"#", kind="exchange"))
    node.run()
    for _ in range(2):
        node = lives.again()
        assert node.publish(b"a.b.\x80", b"1", exchange=b"x\xff").unrouted == []
        assert node.publish(b"b", b"2", exchange=b"x\xff").unrouted == [0]
        node.publish(b"", b"3", exchange=b"amq.fanout")
        node.publish(b"a.c.\x80", b"4", exchange=b"amq.topic")
        with pytest.raises(NoExchange):
            node.publish_soon(b"", b"5", exchange=b"gone")
        assert node.bodies(b"q\xfe") == [b"1", b"3", b"4"]


def test_what_was_removed_stays_removed(lives):
    node = lives.node
    node.exchange(b"x", "fanout")
    for name in (b"a", b"b"):
        node.declare(name)
        node.bind(b"x", name)
        node.bind(b"amq.fanout", name)
    node.delete(b"a")
    node.vhost.unbind(Binding(b"amq.fanout", b"b"))
    node.vhost.delete_exchange(b"x")
    node.run()
    node = lives.again()
    with pytest.raises(NoExchange):
        node.publish_soon(b"", b"1", exchange=b"x")
    assert node.publish(b"", b"1", exchange=b"amq.fanout").unrouted == [0]
    assert [it.facts.name for it in node.vhost.queues()] == [b"b"]


def test_an_exchange_goes_with_its_last_queue_if_it_is_to(lives):
    node = lives.node
    node.vhost.declare_exchange(ExchangeFacts(b"x", "fanout", auto_delete=True))
    node.declare(b"q")
    node.bind(b"x", b"q")
    node.delete(b"q")
    node = lives.again()
    with pytest.raises(NoExchange):
        node.publish_soon(b"", b"1", exchange=b"x")


def test_what_cannot_be_kept_is_not_there(lives, monkeypatch):
    node = lives.node
    environment = node.committer._environment

    def full():
        raise StorageFull("no space left")

    monkeypatch.setattr(environment, "check_room", full)
    _, pending = node.vhost.declare_queue(QueueFacts(b"q", durable=True))
    published = node.publish_soon(b"q", b"1")
    published.waiting.watch(lambda: node.deliver(lambda: None))
    node.run(until=lambda: pending.done and published.waiting.settled())
    assert isinstance(pending.error, StorageFull)
    assert isinstance(published.waiting.failed, StorageFull)  # of one transaction, or of the next
    with pytest.raises(NoQueue):
        node.vhost.queue(b"q")
    monkeypatch.undo()
    node.declare(b"q")
    assert node.ready(b"q") == 0


@pytest.fixture
def full(lives, monkeypatch):
    """Has the disk be full, or not."""

    def switch(on):
        def check_room():
            if on:
                raise StorageFull("no space left")

        monkeypatch.setattr(lives.node.committer._environment, "check_room", check_room)

    return switch


def test_an_exchange_that_cannot_be_kept_is_not_there_for_the_next_either(lives, full):
    node, facts = lives.node, ExchangeFacts(b"x", "direct")
    full(True)
    first, second = node.vhost.declare_exchange(facts), node.vhost.declare_exchange(facts)
    node.run(until=lambda: first.done and second.done)
    assert (type(first.error), type(second.error)) == (StorageFull, StorageFull)
    with pytest.raises(NoExchange):
        node.vhost.topology.exchange(b"x")
    full(False)
    node.exchange(b"x")
    assert lives.again().vhost.topology.exchange(b"x") == facts


@pytest.mark.parametrize("exchange", [b"amq.direct", b"x"])
def test_a_binding_that_cannot_be_kept_is_not_there_for_the_next_either(lives, full, exchange):
    node = lives.node
    if exchange == b"x":
        node.exchange(b"x")
    node.declare(b"q")
    binding = Binding(exchange, b"q", b"k")
    full(True)
    first, second = node.vhost.bind(binding), node.vhost.bind(binding)
    node.run(until=lambda: first.done and second.done)
    assert (type(first.error), type(second.error)) == (StorageFull, StorageFull)
    full(False)
    node.bind(exchange, b"q", b"k")
    node = lives.again()
    node.publish(b"k", b"1", exchange=exchange)
    assert node.bodies(b"q") == [b"1"]


def test_who_declares_what_another_has_just_declared_waits_for_it_too(lives):
    node, facts = lives.node, ExchangeFacts(b"x", "direct")
    first = node.vhost.declare_exchange(facts)
    assert node.vhost.declare_exchange(facts) is first
    node.run(until=lambda: first.done)
    assert node.vhost.declare_exchange(facts) is None


def test_an_exchange_that_was_deleted_meanwhile_stays_so(lives, full):
    node, facts = lives.node, ExchangeFacts(b"x", "direct")
    full(True)
    first = node.vhost.declare_exchange(facts)
    node.vhost.delete_exchange(b"x")
    full(False)
    again = node.vhost.declare_exchange(facts)
    node.run(until=lambda: first.done and again.done)
    assert lives.again().vhost.topology.exchange(b"x") == facts


def test_a_full_disk_refuses_messages_and_nothing_else(lives):
    lives.close()
    disk = FullDisk()
    node = lives.open(disk)
    node.declare(b"q")
    node.publish(b"q", b"1")
    disk.writes = 0
    published = node.publish_soon(b"q", b"2")
    assert published.rejected == [0]
    assert "space" in str(published.error)
    disk.writes = None
    node.publish(b"q", b"3")
    assert node.bodies(b"q") == [b"1", b"3"]
