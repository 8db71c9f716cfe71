"""A queue's plain life: messages come, go to consumers, are settled, and outlive restarts."""

import pytest
from queue_parts import Channel, Consumer

KINDS = pytest.mark.parametrize("durable", [True, False])


@KINDS
def test_what_is_published_is_fetched_in_order(node, durable):
    node.declare(b"q", durable=durable)
    node.publish(b"q", b"1", b"2", content_type="text/plain")
    node.publish(b"q", b"3")
    got = node.get(b"q")
    assert (got.tag, got.ready) == (1, 2)
    assert got.delivery.body == b"1"
    assert got.delivery.key == b"q"
    assert got.delivery.exchange == b""
    assert got.delivery.properties == b"\x80\0\x0atext/plain"
    assert not got.delivery.redelivered
    assert node.bodies(b"q") == [b"2", b"3"]
    assert node.get(b"q") is None


@KINDS
def test_a_consumer_is_sent_what_is_there_and_what_comes(node, durable):
    queue = node.declare(b"q", durable=durable)
    node.publish(b"q", b"1", b"2")
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    node.publish(b"q", b"3")
    assert consumer.bodies == [b"1", b"2", b"3"]
    assert [tag for tag, _ in consumer.had] == [1, 2, 3]
    assert (queue.ready, queue.out) == (0, 3)
    consumer.channel.ack(2, multiple=True)
    node.run()
    assert queue.out == 1


def test_what_is_settled_does_not_come_again(lives):
    node = lives.node
    queue = node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(10)))
    channel = Channel()
    consumer = Consumer(channel)
    queue.subscribe(consumer)
    node.run()
    for tag in (1, 2, 5, 9):
        channel.ack(tag)
    node = lives.again()
    assert node.ready(b"q") == 6
    found = [node.get(b"q") for _ in range(6)]
    assert [it.delivery.body for it in found] == [b"%d" % n for n in (2, 3, 5, 6, 7, 9)]
    assert all(it.delivery.redelivered for it in found)
