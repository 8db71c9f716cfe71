"""What counts as a failed delivery, where the limit acts, and what of it outlives a restart."""

import pytest
from queue_parts import Channel, Consumer, props

from logstore.amqp import fields, properties
from logstore.broker.queues import pace


def count_of(delivery):
    headers = properties.read(delivery.properties).headers or {}
    return headers.get("x-delivery-count")


def got(node, channel, name=b"q"):
    return node.get(name, channel, no_ack=False)


def test_the_count_is_absent_at_first_and_then_a_long(node):
    node.declare(b"q")
    node.publish(b"q", b"1", headers={"own": 1}, message_id="m")
    channel = Channel()
    first = got(node, channel)
    assert (count_of(first.delivery), first.delivery.redelivered) == (None, False)
    for n in (1, 2, 3):
        channel.requeue(n)
        again = got(node, channel)
        assert again.delivery.redelivered
        count = count_of(again.delivery)
        assert (count, type(count)) == (n, fields.Long)
        found = properties.read(again.delivery.properties)
        assert (found.message_id, found.headers["own"]) == ("m", 1)


def test_a_count_that_a_client_has_sent_is_of_an_earlier_life(node):
    node.declare(b"q", delivery_limit=1)
    node.publish(b"q", b"1", headers={"x-delivery-count": 7})
    channel = Channel()
    assert count_of(got(node, channel).delivery) == 7
    channel.requeue(1)
    assert count_of(got(node, channel).delivery) == 1
    channel.requeue(2)
    assert node.get(b"q") is None


@pytest.mark.parametrize(("limit", "deliveries"), [(0, 1), (1, 2), (2, 3), (5, 6)])
def test_a_limit_acts_at_the_return(node, limit, deliveries):
    node.declare(b"dead")
    node.declare(
        b"q", delivery_limit=limit, dead_letter_exchange="", dead_letter_routing_key="dead"
    )
    node.publish(b"q", b"1")
    channel = Channel()
    for tag in range(1, deliveries + 1):
        assert node.ready(b"dead") == 0
        assert got(node, channel).delivery.body == b"1"
        channel.requeue(tag)
        node.run()
    assert node.ready(b"q") == 0
    dead = properties.read(node.get(b"dead").delivery.properties).headers
    assert dead["x-death"][0]["reason"] == "delivery_limit"


@pytest.mark.parametrize("given", [{}, {"delivery_limit": -1}, {"queue_type": "quorum"}])
def test_without_a_limit_a_message_comes_back_for_ever(node, given):
    node.declare(b"q", **given)
    node.publish(b"q", b"1")
    channel = Channel()
    for tag in range(1, 101):
        assert got(node, channel).delivery.body == b"1"
        channel.requeue(tag)


@pytest.mark.parametrize("end", ["again", "kill"])
def test_the_count_and_the_limit_outlive_a_restart(lives, end):
    node = lives.node
    node.declare(b"q", delivery_limit=2)
    node.publish(b"q", b"1", b"2")
    channel = Channel()
    for tag in (1, 2):
        got(node, channel)
        channel.requeue(tag)
    node.run()
    node = getattr(lives, end)()
    channel = Channel()
    last = got(node, channel)
    assert (last.delivery.body, count_of(last.delivery)) == (b"1", 2)
    assert last.delivery.redelivered
    channel.requeue(1)
    assert node.bodies(b"q") == [b"2"]


def test_a_graceful_end_does_not_count(lives):
    node = lives.node
    queue = node.declare(b"q", delivery_limit=0)
    node.publish(b"q", b"1")
    channel = Channel()
    got(node, channel)
    for it in channel.unacked.drain():
        queue.release(it, failed=False)
    node = lives.again()
    again = node.get(b"q")
    assert (again.delivery.redelivered, count_of(again.delivery)) == (True, None)


@pytest.mark.parametrize("given", [1, 3])
def test_what_was_given_out_before_a_kill_comes_as_redelivered(lives, given):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1", b"2", b"3")
    channel = Channel()
    for _ in range(given):
        got(node, channel)
    node.run()
    node = lives.kill()
    found = [node.get(b"q").delivery for _ in range(3)]
    assert [it.body for it in found] == [b"1", b"2", b"3"]
    assert all(it.redelivered for it in found)
    assert [count_of(it) for it in found] == [None] * 3  # it did not come back


def test_after_a_clean_stop_only_what_was_given_out_is_redelivered(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1", b"2", b"3")
    channel = Channel()
    got(node, channel)
    channel.end()
    node = lives.again()
    channel = Channel()
    found = [got(node, channel).delivery.redelivered for _ in range(2)]
    assert found == [True, False]
    node = lives.again()  # without being told that the channel has ended
    found = [node.get(b"q").delivery.redelivered for _ in range(3)]
    assert found == [True, True, False]


def test_a_kill_before_anything_was_given_out_marks_nothing(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1")
    node = lives.kill()
    assert node.get(b"q").delivery.redelivered is False


def test_a_clean_stop_after_a_kill_does_not_hide_what_was_given_out_before(lives):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"1")
    channel = Channel()
    got(node, channel)
    node.run()
    node = lives.kill()
    node.publish(b"q", b"2")
    node = lives.again()
    found = [node.get(b"q").delivery for _ in range(2)]
    assert (found[0].body, found[0].redelivered) == (b"1", True)
    node.publish(b"q", b"3")
    node = lives.again()
    assert node.get(b"q").delivery.redelivered is False


def test_properties_that_are_none_are_delivered_as_they_came(node):
    node.declare(b"q")
    node.publish(b"q", b"1", data=props())
    channel = Channel()
    got(node, channel)
    channel.requeue(1)
    assert count_of(got(node, channel).delivery) == 1


@pytest.mark.parametrize(
    ("kind", "waits"), [("all", True), ("failed", True), ("returned", False), ("disabled", False)]
)
def test_a_message_that_has_failed_waits_longer_each_time(node, kind, waits):
    node.declare(b"q", delayed_retry_type=kind, delayed_retry_min=1_000, delayed_retry_max=2_500)
    node.publish(b"q", b"1", b"2")
    channel = Channel()
    assert got(node, channel).delivery.body == b"1"
    channel.requeue(1)
    node.run()
    if not waits:
        assert got(node, channel).delivery.body == b"1"
        return
    assert got(node, channel).delivery.body == b"2"
    tag = 2
    for wait_ms in (1_000, 2_000, 2_500, 2_500):
        node.later(wait_ms - 1)
        assert got(node, channel) is None
        node.later(1)
        tag += 1
        assert got(node, channel).delivery.body == b"1"
        channel.requeue(tag)
        node.run()


def test_a_delayed_message_dies_at_its_limit_at_once(node):
    queue = node.declare(b"q", delayed_retry_type="all", delayed_retry_min=1_000, delivery_limit=1)
    node.publish(b"q", b"1")
    channel = Channel()
    got(node, channel)
    channel.requeue(1)
    node.later(1_000)
    got(node, channel)
    channel.requeue(2)
    node.run()
    assert (queue.ready, queue.out) == (0, 0)


def test_a_consumer_gets_a_delayed_message_when_its_time_has_come(node):
    queue = node.declare(b"q", delayed_retry_type="all", delayed_retry_min=1_000)
    consumer = Consumer()
    queue.subscribe(consumer)
    node.publish(b"q", b"1")
    consumer.channel.requeue(1)
    node.run()
    assert len(consumer.had) == 1
    node.later(1_000)
    assert len(consumer.had) == 2


def test_a_delayed_message_that_did_not_fail_is_not_counted(lives):
    """It was given out, and its consumer has gone without a look at it."""
    node = lives.node
    node.declare(b"q", delayed_retry_type="all", delayed_retry_min=100, delivery_limit=1)
    node.publish(b"q", b"1")
    for _ in range(3):
        channel = Channel()
        got = node.get(b"q", channel, no_ack=False)
        assert got.delivery.body == b"1"
        for delivered in channel.unacked.drain():
            delivered.queue.release(delivered, failed=False)
        node.later(100)
    assert node.ready(b"q") == 1


def test_what_comes_back_for_ever_is_given_out_at_a_pace_and_in_order(node):
    queue = node.declare(b"q")
    count = pace.MESSAGES * 2 + 10
    node.publish(b"q", *[b"%d" % n for n in range(count)])
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    for _ in range(pace.FAILING):
        had = consumer.forget()
        assert [it.body for _, it in had] == [b"%d" % n for n in range(count)]
        consumer.channel.requeue(had[-1][0], multiple=True)
        node.run()
    for first in (0, pace.MESSAGES, 2 * pace.MESSAGES):
        expected = range(first, min(count, first + pace.MESSAGES))
        assert consumer.bodies == [b"%d" % n for n in expected]
        consumer.forget()
        node.run()
        assert consumer.had == []
        node.later(pace.EACH_MS)
    assert consumer.had == []
    assert (queue.ready, queue.out) == (0, count)
    node.publish(b"q", b"new")
    assert consumer.bodies == [b"new"]


def test_a_queue_waits_for_no_time_once_nobody_wants_what_comes_back_for_ever(node):
    queue = node.declare(b"q")
    node.publish(b"q", *[b"%d" % n for n in range(pace.MESSAGES + 1)])
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    for _ in range(pace.FAILING):
        consumer.channel.requeue(consumer.forget()[-1][0], multiple=True)
        node.run()
    assert node.queues._alarms[queue] == node.clock.now_ms + pace.EACH_MS
    queue.unsubscribe(consumer)
    node.later(pace.EACH_MS)
    assert queue not in node.queues._alarms
