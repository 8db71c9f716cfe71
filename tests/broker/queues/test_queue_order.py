"""In what order messages go, above all those that come back; priorities."""

import pytest
from queue_parts import Channel, Consumer

KINDS = pytest.mark.parametrize("given", [{}, {"queue_type": "quorum"}], ids=["classic", "quorum"])
DIGITS = [b"%d" % n for n in range(1, 6)]


def consumed(node, queue, prefetch):
    consumer = Consumer(prefetch=prefetch)
    queue.subscribe(consumer)
    node.run()
    return consumer


@KINDS
def test_a_requeued_message_goes_to_its_own_place(node, given):
    queue = node.declare(b"q", **given)
    node.publish(b"q", *DIGITS)
    consumer = consumed(node, queue, 3)
    assert consumer.bodies == DIGITS[:3]
    consumer.forget()
    consumer.channel.requeue(2)
    node.run()
    assert [(it.body, it.redelivered) for _, it in consumer.had] == [(b"2", True)]
    consumer.channel.ack(1)
    node.run()
    assert [(it.body, it.redelivered) for _, it in consumer.had][1:] == [(b"4", False)]


@KINDS
def test_several_requeued_at_once_come_in_their_order(node, given):
    queue = node.declare(b"q", **given)
    node.publish(b"q", *DIGITS)
    consumer = consumed(node, queue, 3)
    consumer.forget()
    consumer.channel.requeue(3, multiple=True)
    node.run()
    assert consumer.bodies == DIGITS[:3]
    consumer.channel.ack(4)
    node.run()
    assert consumer.bodies == DIGITS[:4]


def test_what_a_lost_consumer_had_comes_first_whoever_had_it(node):
    queue = node.declare(b"q")
    node.publish(b"q", *DIGITS)
    first, second = consumed(node, queue, 2), consumed(node, queue, 2)
    assert (first.bodies, second.bodies) == ([b"1", b"2"], [b"3", b"4"])
    queue.unsubscribe(second)
    second.channel.end()
    queue.unsubscribe(first)
    first.channel.end()
    assert node.bodies(b"q") == DIGITS


def test_a_requeued_message_is_offered_at_the_next_end_of_a_turn(node):
    queue = node.declare(b"q")
    node.publish(b"q", b"1")
    consumer = consumed(node, queue, 1)
    for tag in range(1, 6):
        consumer.channel.requeue(tag)
        assert len(consumer.had) == tag
        node.turn()
        assert len(consumer.had) == tag + 1


def test_high_priorities_go_first_and_each_in_order(lives):
    node = lives.node
    node.declare(b"q", max_priority=5)
    sent = [(3, b"a"), (None, b"b"), (5, b"c"), (3, b"d"), (9, b"e"), (0, b"f"), (1, b"g")]
    for priority, body in sent:
        node.publish(b"q", body, **({} if priority is None else {"priority": priority}))
    expected = [b"c", b"e", b"a", b"d", b"g", b"b", b"f"]
    channel = Channel()
    got = [node.get(b"q", channel, no_ack=False).delivery.body for _ in sent]
    assert got == expected
    channel.requeue(4)  # "d"
    channel.requeue(1)  # "c"
    assert node.bodies(b"q") == [b"c", b"d"]
    channel.end()
    node = lives.again()
    assert node.bodies(b"q") == [b"e", b"a", b"g", b"b", b"f"]


def test_priorities_mean_nothing_to_a_queue_without_them(node):
    node.declare(b"q")
    for priority in (1, 9, 0):
        node.publish(b"q", b"%d" % priority, priority=priority)
    assert node.bodies(b"q") == [b"1", b"9", b"0"]


def test_a_consumer_of_one_at_a_time_gets_the_highest(node):
    queue = node.declare(b"q", max_priority=255)
    node.publish(b"q", b"low", priority=1)
    consumer = consumed(node, queue, 1)
    node.publish(b"q", b"high", priority=255)
    node.publish(b"q", b"middle", priority=100)
    for tag in (1, 2, 3):
        consumer.channel.ack(tag)
        node.run()
    assert consumer.bodies == [b"low", b"high", b"middle"]


@pytest.mark.parametrize("order", [(0, 7, 3), (7, 3, 0), (3, 0, 7)])
def test_what_is_published_while_lanes_are_opened_keeps_its_order(lives, order):
    node = lives.node
    node.declare(b"q", max_priority=9)
    node.publish(b"q", b"old", priority=5)
    node = lives.again()
    for round_ in range(3):
        for priority in order:
            node.publish_soon(b"q", b"%d.%d" % (priority, round_), priority=priority)
    node.run()
    assert node.ready(b"q") == 10
    want = [b"7.%d" % n for n in range(3)] + [b"old"]
    want += [b"%d.%d" % (p, n) for p in (3, 0) for n in range(3)]
    assert node.bodies(b"q") == want
