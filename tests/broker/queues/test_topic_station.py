"""Exchanges of type x-topic: what reaches them is in a topic, as the mapping says."""

import pytest
from queue_parts import Channel, Consumer

from logstore.broker.mapping.messages import Messaging
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.refusals import Inequivalent, InvalidArgument, NotASource
from logstore.errors import InvalidRecord, Refused, UnknownTopic


def bound(node, source, destination, key=b"#"):
    pending = node.vhost.bind(Binding(source, destination, key, kind="exchange"))
    node.run(until=lambda: pending.done)


def values(node, name):
    return [[it.value for it in those] for those in node.records(name)]


@pytest.fixture
def audit(node):
    node.topic("audit")
    node.exchange(b"audit", "x-topic")
    return node


def test_a_message_is_a_record_and_comes_back_the_same(audit):
    message = audit.message(
        b"order.eu", b"body", exchange=b"audit", headers={"n": 5}, priority=3, message_id="m"
    )
    audit.publish(b"order.eu", b"body", exchange=b"audit", data=message.properties)
    ((record,),) = audit.records("audit")
    assert (record.key, record.value) == (b"order.eu", b"body")
    assert record.timestamp_ms == audit.clock.now_ms
    assert ("n", b"5") in record.headers
    back = Messaging().content(record.key, record.value, record.headers, record.timestamp_ms)
    assert tuple(back) == tuple(message)


def test_queues_and_a_topic_get_the_same_messages(audit):
    audit.exchange(b"orders", "topic")
    audit.declare(b"q")
    audit.bind(b"orders", b"q", b"#")
    bound(audit, b"orders", b"audit", b"order.#")
    published = audit.publish_each(
        [(b"order.1", b"1"), (b"other", b"2"), (b"order.3", b"3")], exchange=b"orders"
    )
    assert (published.unrouted, published.rejected) == ([], [])
    assert values(audit, "audit") == [[b"1", b"3"]]
    assert audit.bodies(b"q") == [b"1", b"2", b"3"]
    # Records say which exchange a message was published to.
    assert {dict(it.headers)["amqp.exchange"] for it in audit.records("audit")[0]} == {b"orders"}


def test_keys_go_to_the_partitions_that_kafka_clients_would_choose(node):
    topic = node.topic("t", 4)
    node.exchange(b"to-t", "x-topic", x_target="t")
    keys = [b"k%d" % n for n in range(20)]
    node.publish_each([(key, key) for key in keys], exchange=b"to-t")
    found = {it: n for n, those in enumerate(values(node, "t")) for it in those}
    assert found == {key: topic._partitioner.partition(key) for key in keys}
    for n, those in enumerate(values(node, "t")):  # in their order
        assert those == [key for key in keys if found[key] == n]


def test_a_topic_that_has_grown_gets_keys_where_they_belong_now(node):
    node.topic("t", 1)
    node.exchange(b"t", "x-topic")
    node.publish(b"k", b"1", exchange=b"t")
    topic = node.topics.grow("t", 5)
    node.publish(b"k", b"2", exchange=b"t")
    assert b"2" in values(node, "t")[topic._partitioner.partition(b"k")]


def test_messages_are_refused_while_the_topic_is_missing_and_taken_when_it_is_back(audit):
    audit.publish(b"k", b"1", exchange=b"audit")
    audit.topics.delete("audit")
    published = audit.publish_soon(b"k", b"2", exchange=b"audit")
    assert published.rejected == [0]
    assert isinstance(published.error, UnknownTopic)
    audit.topic("audit")
    audit.publish(b"k", b"3", exchange=b"audit")
    assert values(audit, "audit") == [[b"3"]]


def test_what_the_topic_does_not_take_is_refused_and_nothing_else(node):
    node.topic("t", 1, **{"max.message.bytes": "1000"})
    node.exchange(b"t", "x-topic")
    bodies = [b"1", b"x" * 2000, b"3", b"y" * 2000, b"5"]
    published = node.publish_each([(b"k", it) for it in bodies], exchange=b"t")
    assert published.rejected == [1, 3]
    assert isinstance(published.error, InvalidRecord)
    assert values(node, "t") == [[b"1", b"3", b"5"]]


def test_a_compacted_topic_refuses_messages_without_a_routing_key(node):
    node.topic("t", 1, **{"cleanup.policy": "compact"})
    node.exchange(b"t", "x-topic")
    published = node.publish_each([(b"", b"1"), (b"k", b"2")], exchange=b"t")
    assert published.rejected == [0]
    assert values(node, "t") == [[b"2"]]


def test_messages_stay_in_order_while_a_worker_opens_the_topic(audit):
    messages = [audit.message(b"k", b"%d" % n, exchange=b"audit") for n in range(3)]
    told = [audit.vhost.publish([(audit.vhost.route(it), it)]) for it in messages]
    assert told[0].waiting.parked
    assert audit.queues.logs.parked_bytes > 0
    for it in told:
        it.waiting.watch(lambda: audit.deliver(lambda: None))
    audit.run(until=lambda: {it.waiting.settled() for it in told} == {True})
    assert values(audit, "audit") == [[b"0", b"1", b"2"]]
    assert audit.queues.logs.parked_bytes == 0


def test_what_is_confirmed_is_there_after_a_kill(lives):
    lives.node.topic("t")
    lives.node.exchange(b"t", "x-topic")
    lives.node.publish(b"k", b"1", exchange=b"t")
    lives.crash()
    node = lives.open()
    assert values(node, "t") == [[b"1"]]
    node.publish(b"k", b"2", exchange=b"t")  # the exchange is there, too
    assert values(node, "t") == [[b"1", b"2"]]


def test_a_transaction_brings_to_the_topic_once_it_is_committed(audit):
    audit.declare(b"q")
    audit.exchange(b"all", "fanout")
    audit.bind(b"all", b"q")
    bound(audit, b"all", b"audit")
    held = Transaction()
    message = audit.message(b"k", b"1", exchange=b"all")
    published = audit.vhost.publish([(audit.vhost.route(message), message)], held)
    assert set(published.lasting) == {0}
    assert values(audit, "audit") == [[]]
    told = []
    audit.vhost.commit(held, told.append)
    audit.run(until=lambda: told)
    assert told == [None]
    assert values(audit, "audit") == [[b"1"]]
    assert audit.bodies(b"q") == [b"1"]
    assert not audit.queues._holding.bytes


def test_a_transaction_that_the_topic_does_not_take_fails_as_a_whole(audit):
    audit.declare(b"q")
    audit.exchange(b"all", "fanout")
    audit.bind(b"all", b"q")
    bound(audit, b"all", b"audit")
    held = Transaction()
    message = audit.message(b"k", b"1", exchange=b"all")
    audit.vhost.publish([(audit.vhost.route(message), message)], held)
    audit.topics.delete("audit")
    told = []
    audit.vhost.commit(held, told.append)
    audit.run(until=lambda: told)
    assert isinstance(told[0], UnknownTopic)
    assert audit.bodies(b"q") == []
    assert not audit.queues._holding.bytes


def test_dead_letters_go_to_a_topic_and_are_settled_then(audit):
    queue = audit.declare(b"q", dead_letter_exchange="audit")
    consumer = Consumer(Channel())
    queue.subscribe(consumer)
    audit.publish(b"q", b"1", b"2")
    consumer.channel.reject(1)
    audit.run(until=lambda: not len(queue.dead_letters))
    ((record,),) = audit.records("audit")
    assert (record.key, record.value) == (b"q", b"1")
    assert b'"reason":"rejected"' in dict(record.headers)["x-death"]
    assert not any(name.startswith("__logstore.") for name, _ in record.headers)
    consumer.channel.ack(2)
    audit.run()
    assert audit.ready(b"q") == 0


def test_dead_letters_wait_while_their_topic_is_missing(audit):
    queue = audit.declare(
        b"q", dead_letter_exchange="audit", dead_letter_strategy="at-least-once",
        overflow="reject-publish",
    )  # fmt: skip
    audit.topics.delete("audit")
    consumer = Consumer(Channel())
    queue.subscribe(consumer)
    audit.publish(b"q", b"1")
    consumer.channel.reject(1)
    audit.run()
    assert len(queue.dead_letters) == 1
    audit.topic("audit")
    audit.later(5000)
    audit.run(until=lambda: not len(queue.dead_letters))
    assert values(audit, "audit") == [[b"1"]]


@pytest.mark.parametrize("name", [b"no topic", b"", b".", b"x" * 250, b"\xff"])
def test_a_name_that_no_topic_can_have_is_refused(node, name):
    with pytest.raises(InvalidArgument):
        node.exchange(
            name or b"named-otherwise", "x-topic", x_target=name.decode(errors="surrogateescape")
        )
    assert node.vhost.topology.stations == 0


@pytest.mark.parametrize("target", [5, ["t"], True])
def test_a_target_that_is_no_name_is_refused(node, target):
    for kind in ("x-topic", "x-channel"):
        with pytest.raises(InvalidArgument):
            node.exchange(b"x", kind, x_target=target)


def test_nobody_writes_to_the_audit_log(node):
    with pytest.raises(Refused, match="the server's own"):
        node.exchange(b"x", "x-topic", x_target="__audit")


def test_nothing_is_bound_from_an_exchange_that_leads_to_a_topic(audit):
    audit.declare(b"q")
    with pytest.raises(NotASource):
        audit.bind(b"audit", b"q")


def test_the_same_exchange_with_another_target_is_another_one(node):
    node.exchange(b"x", "x-topic", x_target="a")
    node.exchange(b"x", "x-topic", x_target="a")
    with pytest.raises(Inequivalent):
        node.exchange(b"x", "x-topic", x_target="b")


def test_a_channel_gets_the_bodies(node):
    heard = []

    class Form:
        def opening(self, match):
            return match.channel

        def chunk(self, openings, payloads):
            return [(it, payload) for payload in payloads for it in openings]

        def join(self, chunks):
            return [it for chunk in chunks for it in chunk]

    class Subscriber:
        form = Form()

        def deliver(self, chunk):
            heard.extend(chunk)

        def deliver_kept(self, chunk, kept):
            heard.extend(chunk)

    node.exchange(b"news", "x-channel")
    node.exchange(b"other", "x-channel", x_target="news")
    published = node.publish(b"k", b"0", exchange=b"news")  # nobody listens
    assert published.unrouted == []
    with node.channels.lock:
        node.channels.subscribe(Subscriber(), b"news")
    node.publish(b"k", b"1", b"2", exchange=b"news")
    node.publish(b"k", b"3", exchange=b"other")
    assert heard == [(b"news", b"1"), (b"news", b"2"), (b"news", b"3")]
