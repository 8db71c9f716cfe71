"""Queues with ``x-ordering-key``: what happens around consumers who get messages key by key."""

import pytest
from queue_parts import Channel, Consumer, props

from logstore.amqp import fields
from logstore.broker.queues.keys import key_of, keys_of
from logstore.broker.queues.message import PROPERTIES, Message
from logstore.broker.queues.moving import Target, move
from logstore.records.record import Record

BY_HEADER = {"ordering_key": "header:k"}


def publish(node, *messages, queue=b"q", **given):
    """Bodies; the key of each is its first letter."""
    for body in messages:
        headers = {"k": body[:1].decode()}
        node.publish_soon(queue, body, headers=headers, **given)
    node.run()


@pytest.fixture
def queue(node):
    return node.declare(b"q", durable=False, **BY_HEADER)


def two(queue, node, *prefetch, **given):
    found = [Consumer(prefetch=it, **given) for it in prefetch]
    for it in found:
        queue.subscribe(it)
    node.run()
    return found


def test_messages_of_one_key_go_to_one_consumer_and_others_to_others(node, queue):
    first, second = two(queue, node, 9, 9)
    publish(node, b"a1", b"b1", b"a2", b"b2", b"a3")
    assert (first.bodies, second.bodies) == ([b"a1", b"a2", b"a3"], [b"b1", b"b2"])


def test_a_consumer_that_has_room_gets_what_stands_behind_a_key_that_is_busy(node, queue):
    first, second = two(queue, node, 1, 2)
    publish(node, *(b"a%d" % n for n in range(500)), b"b0", b"c0")
    assert (first.bodies, second.bodies) == ([b"a0"], [b"b0", b"c0"])
    assert (queue.ready, queue.out) == (499, 3)
    second.channel.ack(2, multiple=True)
    node.run()
    assert second.bodies == [b"b0", b"c0"]
    first.channel.ack(1)
    node.run()
    assert {*first.bodies, *second.bodies} >= {b"a1"}


def test_a_nack_holds_up_its_own_key_alone(node, queue):
    (consumer,) = two(queue, node, 2)
    publish(node, b"a1", b"b1", b"a2", b"b2")
    consumer.forget()
    consumer.channel.requeue(1)
    node.run()
    assert consumer.forget()[0][1].body == b"a1"
    consumer.channel.ack(2)
    node.run()
    assert consumer.bodies == [b"a2"]  # it has a1, too
    consumer.channel.ack(3)
    node.run()
    assert consumer.bodies == [b"a2", b"b2"]


def test_a_key_of_a_cancelled_consumer_waits_for_what_it_has(node, queue):
    first, second = two(queue, node, 1, 1)
    publish(node, b"a1", b"a2", b"b1")
    queue.unsubscribe(first)
    second.channel.ack(1)
    node.run()
    assert (first.bodies, second.bodies) == ([b"a1"], [b"b1"])
    first.channel.ack(1)
    node.run()
    assert second.bodies == [b"b1", b"a2"]


def test_what_a_channel_has_had_when_it_ends_goes_to_another_in_order(node, queue):
    first, second = two(queue, node, 3, 0)
    publish(node, b"a1", b"a2", b"a3", b"a4")
    assert (first.bodies, second.bodies) == ([b"a1", b"a2", b"a3"], [])
    queue.unsubscribe(first)
    first.channel.end()
    node.run()
    assert second.bodies == [b"a1", b"a2", b"a3", b"a4"]
    assert [it.redelivered for _, it in second.had] == [True, True, True, False]


def test_messages_without_the_key_stand_in_no_order(node, queue):
    first, second = two(queue, node, 0, 0)
    node.publish(b"q", b"1", b"2", b"3", b"4")
    assert (first.bodies, second.bodies) == ([b"1", b"3"], [b"2", b"4"])


def test_one_of_a_key_at_a_time(node):
    queue = node.declare(b"q", durable=False, ordering_key="routing-key", ordering_prefetch=1)
    node.exchange(b"e", "fanout", durable=False)
    node.bind(b"e", b"q")
    (consumer,) = two(queue, node, 0)
    for body in (b"a1", b"a2", b"b1"):
        node.publish(body[:1], body, exchange=b"e")
    assert consumer.bodies == [b"a1", b"b1"]
    consumer.channel.requeue(1)
    node.run()
    assert consumer.bodies == [b"a1", b"b1", b"a1"]
    consumer.channel.ack(3)
    node.run()
    assert consumer.bodies[3:] == [b"a2"]


def test_what_is_fetched_is_not_of_a_key_that_somebody_else_has(node, queue):
    publish(node, b"a1", b"a2", b"b1")
    mine, others = Channel(), Channel()
    assert node.get(b"q", mine, no_ack=False).delivery.body == b"a1"
    assert node.get(b"q", others, no_ack=False).delivery.body == b"b1"
    assert node.get(b"q", others, no_ack=False) is None
    assert node.get(b"q", mine, no_ack=False).delivery.body == b"a2"
    assert node.get(b"q", mine, no_ack=False) is None


def test_one_is_fetched_from_behind_many_of_a_key_that_is_busy(node, queue):
    (consumer,) = two(queue, node, 1)
    publish(node, *(b"a%d" % n for n in range(2500)), b"b1")
    assert consumer.bodies == [b"a0"]
    assert node.get(b"q").delivery.body == b"b1"
    assert node.get(b"q") is None


def test_rejected_dead_and_expired_ones_hold_up_nothing(node):
    node.declare(b"dead", durable=False)
    queue = node.declare(
        b"q", durable=False, **BY_HEADER, ordering_prefetch=1, delivery_limit=0,
        dead_letter_exchange="", dead_letter_routing_key="dead",
    )  # fmt: skip
    (consumer,) = two(queue, node, 0)
    publish(node, b"a1", b"a2", b"a3")
    publish(node, b"a4", expiration="10")
    publish(node, b"a5")
    consumer.channel.reject(1)
    node.run()
    assert consumer.bodies == [b"a1", b"a2"]
    consumer.channel.requeue(2)  # once is too often
    node.run()
    assert consumer.bodies == [b"a1", b"a2", b"a3"]
    node.later(20)
    consumer.channel.ack(3)
    node.run()
    assert consumer.bodies[3:] == [b"a5"]
    assert node.bodies(b"dead") == [b"a1", b"a2", b"a4"]


def test_the_oldest_is_dropped_wherever_it_waits(node):
    queue = node.declare(b"q", durable=False, **BY_HEADER, max_length=2)
    first, second = two(queue, node, 1, 1)
    publish(node, b"a1", b"a2", b"b1", b"a3", b"a4")
    assert (first.bodies, second.bodies, queue.ready) == ([b"a1"], [b"b1"], 2)
    for it in (first, second):
        it.channel.ack(1)
    node.run()
    assert [*first.bodies[1:], *second.bodies[1:]] == [b"a3"]


def test_a_full_queue_takes_no_more_for_consumers_that_wait_for_other_keys(node):
    queue = node.declare(b"q", durable=False, **BY_HEADER, max_length=3, overflow="reject-publish")
    first, second = two(queue, node, 1, 5)
    publish(node, *(b"a%d" % n for n in range(20)))  # in one turn: nobody knows whose they are
    assert (first.bodies, second.bodies) == ([b"a0"], [])
    ready = queue.ready
    assert 3 <= ready <= 8
    publish(node, *(b"a%d" % n for n in range(20)))
    assert queue.ready == ready


def test_after_a_purge_what_is_new_goes_on(node, queue):
    first, second = two(queue, node, 1, 1)
    publish(node, b"a1", b"a2", b"a3")
    purged = []
    queue.purge(purged.append)
    node.run()
    publish(node, b"a4", b"b1")
    assert (purged, second.bodies) == ([2], [b"b1"])
    first.channel.ack(1)
    second.channel.ack(1)
    node.run()
    assert [*first.bodies[1:], *second.bodies[1:]] == [b"a4"]


def test_one_that_comes_back_for_ever_keeps_no_other_key_waiting(node, queue):
    (consumer,) = two(queue, node, 1)
    publish(node, b"a1", b"a2")
    for _ in range(30):
        ((tag, delivery),) = consumer.forget()
        assert delivery.body == b"a1"
        consumer.channel.requeue(tag)
        node.run()
        if not consumer.had:
            break
    else:
        raise AssertionError("it comes back at once, for ever")
    publish(node, b"b1")
    assert consumer.bodies == [b"b1"]
    node.later(1000)
    consumer.channel.ack(consumer.forget()[0][0])
    node.run()
    assert consumer.bodies == [b"a1"]


def test_delayed_retries_keep_the_order_of_their_key(node):
    queue = node.declare(
        b"q", durable=False, **BY_HEADER, delayed_retry_type="all", delayed_retry_min=100
    )
    (consumer,) = two(queue, node, 2)
    publish(node, b"a1", b"b1", b"a2", b"b2")
    consumer.forget()
    consumer.channel.requeue(1)
    consumer.channel.ack(2)
    node.run()
    assert consumer.bodies == [b"b2"]
    consumer.forget()
    node.later(100)
    assert consumer.bodies == [b"a1"]


def test_a_single_active_consumer_takes_over_in_order(node):
    queue = node.declare(b"q", durable=False, **BY_HEADER, single_active_consumer=True)
    first, second = two(queue, node, 2, 9)
    publish(node, b"a1", b"b1", b"a2")
    queue.unsubscribe(first)
    node.run()
    assert (first.bodies, second.bodies) == ([b"a1", b"b1"], [])
    first.channel.end()
    node.run()
    assert second.bodies == [b"a1", b"b1", b"a2"]


def test_what_nobody_has_is_moved_in_order(node, queue):
    node.declare(b"to", durable=False)
    (consumer,) = two(queue, node, 1)
    publish(node, b"a1", b"b1", b"a2", b"b2", b"c1")
    moved = []
    move(node.vhost, queue, Target(b"", b"to"), None, moved.append)
    node.run(until=lambda: moved)
    assert moved[0].moved == 3
    assert node.bodies(b"to") == [b"b1", b"b2", b"c1"]
    assert (consumer.bodies, queue.ready) == ([b"a1"], 1)


@pytest.mark.parametrize("ending", ["again", "kill"])
def test_after_a_restart_keys_are_in_order_again(lives, ending):
    node = lives.node
    queue = node.declare(b"q", **BY_HEADER, max_priority=1)
    (consumer,) = two(queue, node, 3)
    publish(node, b"a1", b"b1", b"a2", b"a3", b"b2")
    publish(node, b"a4", priority=1)
    consumer.channel.ack(1)
    node.run()
    assert consumer.bodies == [b"a1", b"b1", b"a2", b"a4"]
    consumer.channel.ack(4)
    node.run()
    node = getattr(lives, ending)()
    queue = node.vhost.queue(b"q")
    first, second = two(queue, node, 9, 9)
    assert (first.bodies, second.bodies) == ([b"b1", b"b2"], [b"a2", b"a3"])


def test_many_that_an_earlier_process_left_are_looked_at_once(lives):
    node = lives.node
    queue = node.declare(b"q", ordering_key="routing-key")
    node.exchange(b"e", "fanout")
    node.bind(b"e", b"q")
    names = [b"%d" % (n % 7) for n in range(1500)]
    messages = [Message(b"e", name, props(), b"%d" % n) for n, name in enumerate(names)]
    node.vhost.publish([(node.vhost.route(it), it) for it in messages])
    node.run()
    (consumer,) = two(queue, node, 0)
    assert len(consumer.had) == 1500
    for tag in range(2, 1501, 3):
        consumer.channel.ack(tag)
    node.run()
    node = lives.kill()
    queue = node.vhost.queue(b"q")
    first, second = two(queue, node, 100, 0)
    node.run()
    left = [n for n in range(1500) if n % 3 != 1]
    found = {}
    for place, consumer in enumerate((first, second)):
        for it in consumer.bodies:
            found.setdefault(int(it) % 7, []).append((place, int(it)))
    for key, those in found.items():
        assert len({place for place, _ in those}) == 1
        assert [n for _, n in those] == [n for n in left if n % 7 == key][: len(those)]
    second.channel.ack(0, multiple=True)
    first.channel.ack(0, multiple=True)
    for _ in range(20):
        node.run()
        for it in (first, second):
            if len(it.channel.unacked):
                it.channel.ack(0, multiple=True)
    node.run()
    assert sorted(int(it) for it in first.bodies + second.bodies) == left


def record(**headers):
    properties = (("amqp.exchange", b""), (PROPERTIES, props(headers)))
    return Record("", 0, 0, 0, b"routing", b"", properties)


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ("text", b"text"), (1, fields.Long(1)), (fields.Octet(7), 7), (True, True), (1.5, 1.5),
        ([1, "a"], [1, "a"]), ({"a": 1}, {"a": 1}), (fields.Timestamp(5), fields.Timestamp(5)),
    ],
)  # fmt: skip
def test_equal_headers_are_one_key(value, same):
    one, other = record(k=value), record(a=[{"k": 0}], k=same, z="z")
    assert key_of(one, b"k") == key_of(other, b"k") is not None


@pytest.mark.parametrize("value", ["1", True, 1.0, 2, fields.Timestamp(1), [1], {"k": 1}])
def test_unequal_headers_are_two_keys(value):
    assert key_of(record(k=value), b"k") != key_of(record(k=1), b"k")


@pytest.mark.parametrize("headers", [{}, {"K": 1}, {"k": None}, {"other": {"k": 1}}])
def test_a_message_may_have_no_key(headers):
    assert key_of(record(**headers), b"k") is None


@pytest.mark.parametrize("data", [b"", b"\x20", b"\x20\0\0\0\0\x09\x01k", b"\xff", b"\x80\0\x09a"])
def test_properties_that_are_none_have_no_key(data):
    found = record()._replace(headers=(("amqp.exchange", b""), (PROPERTIES, data)))
    assert key_of(found, b"k") is None
    assert key_of(found._replace(headers=()), b"k") is None
    other = found._replace(offset=1)
    assert len({*keys_of(b"header:k")([found, found, other], 0)}) == 2
    assert len({*keys_of(b"routing-key")([found, record(), other], 0)}) == 1
