"""What queues count of their messages, each and all together."""

import pytest
from queue_parts import Channel, Consumer, props

from logstore.broker.queues.message import Message
from logstore.broker.queues.transaction import Transaction
from logstore.counts.queues import NAMES


def counted(queue):
    """Those of its counters that are not 0."""
    return {name: it for name in NAMES if (it := getattr(queue.counts, name))}


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_published_and_acknowledged_is_counted(shared, durable):
    queue = shared.declare(b"q", durable=durable)
    consumer = Consumer()
    queue.subscribe(consumer)
    shared.publish(b"q", b"1", b"2", b"3")
    consumer.channel.ack(1)
    consumer.channel.ack(3, multiple=True)
    shared.run()
    assert counted(queue) == {"published": 3, "delivered": 3, "acked": 3}


def test_to_consumers_that_do_not_acknowledge_is_another_count(shared):
    queue = shared.declare(b"q")
    queue.subscribe(Consumer(no_ack=True))
    shared.publish(b"q", b"1", b"2")
    assert counted(queue) == {"published": 2, "delivered_no_ack": 2}


def test_each_way_to_fetch_is_counted(shared):
    queue = shared.declare(b"q")
    shared.publish(b"q", b"1", b"2")
    channel = Channel()
    shared.get(b"q", channel, no_ack=False)
    shared.get(b"q")
    shared.get(b"q")
    channel.ack(1)
    assert counted(queue) == {
        "published": 2, "got": 1, "got_no_ack": 1, "got_empty": 1, "acked": 1,
    }  # fmt: skip
    assert queue.counts.given_out == 2


def test_what_comes_back_is_counted_and_given_out_again(shared):
    queue = shared.declare(b"q")
    consumer = Consumer()
    queue.subscribe(consumer)
    shared.publish(b"q", b"1", b"2")
    consumer.channel.requeue(2, multiple=True)
    shared.run()
    assert counted(queue) == {"published": 2, "delivered": 4, "returned": 2, "redelivered": 2}


def test_several_consumers_are_counted_once_for_each_message(shared):
    queue = shared.declare(b"q")
    consumers = [Consumer(prefetch=2), Consumer(prefetch=2, no_ack=True), Consumer(prefetch=2)]
    for it in consumers:
        queue.subscribe(it)
    shared.publish(b"q", *[b"%d" % n for n in range(9)])
    delivered = sum(len(it.had) for it in consumers if not it.no_ack)
    no_ack = sum(len(it.had) for it in consumers if it.no_ack)
    assert delivered
    assert no_ack
    assert counted(queue) == {
        "published": 9, "delivered": delivered, "delivered_no_ack": no_ack,
    }  # fmt: skip


def test_messages_that_die_are_counted_by_their_reason(shared):
    rejecting = shared.declare(b"r")
    shared.publish(b"r", b"1", b"2")
    channel = Channel()
    shared.get(b"r", channel, no_ack=False)
    channel.reject(1)
    expiring = shared.declare(b"x", message_ttl=10)
    shared.publish(b"x", b"1", b"2")
    full = shared.declare(b"f", max_length=1)
    shared.publish(b"f", b"1", b"2", b"3")
    limited = shared.declare(b"d", queue_type="quorum", delivery_limit=0)
    shared.publish(b"d", b"1")
    shared.get(b"d", channel, no_ack=False)
    channel.requeue(2)
    shared.later(11)
    assert rejecting.counts.rejected == 1
    assert expiring.counts.expired == 2
    assert full.counts.maxlen == 2
    assert limited.counts.delivery_limit == 1
    assert [it.counts.died for it in (rejecting, expiring, full, limited)] == [1, 2, 2, 1]


def test_a_dead_letter_is_published_where_it_goes(shared):
    dying = shared.declare(
        b"d", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="t"
    )
    target = shared.declare(b"t")
    shared.publish(b"d", b"1", b"2")
    shared.later(11)
    shared.run(until=lambda: target.ready == 2)
    assert counted(dying) == {"published": 2, "expired": 2}
    assert counted(target) == {"published": 2}


def test_what_a_transaction_settles_and_brings_is_counted_once_it_is_done(shared):
    queue = shared.declare(b"q")
    held, ended = Transaction(), []
    it = Message(b"", b"q", props(), b"body")
    shared.vhost.publish([(shared.vhost.route(it), it)], held)
    assert counted(queue) == {}
    shared.vhost.commit(held, ended.append)
    shared.run(until=lambda: ended)
    assert ended == [None]
    assert counted(queue) == {"published": 1}


def test_all_together_are_counted_and_those_that_are_gone_too(shared):
    totals = shared.queues.totals
    before = {name: getattr(totals, name) for name in (*NAMES, "created", "deleted")}
    sizes = totals.sizes.count
    queue = shared.declare(b"q")
    shared.publish(b"q", bytes(50), bytes(150))
    shared.get(b"q")
    shared.vhost.delete_queue(queue)
    shared.run()
    now = {name: getattr(totals, name) for name in before}
    more = {name: it - before[name] for name, it in now.items() if it != before[name]}
    assert more == {"published": 2, "got_no_ack": 1, "created": 1, "deleted": 1}
    assert totals.sizes.count - sizes == 2


def test_one_message_to_many_queues_is_one_size_and_counted_in_each(shared):
    shared.exchange(b"fan", "fanout")
    queues = [shared.declare(b"q%d" % n) for n in range(3)]
    for queue in queues:
        shared.bind(b"fan", queue.facts.name)
    sizes = shared.queues.totals.sizes.count
    shared.publish(b"", b"1", exchange=b"fan")
    assert [counted(it) for it in queues] == [{"published": 1}] * 3
    assert shared.queues.totals.sizes.count - sizes == 1
