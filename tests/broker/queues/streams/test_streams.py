"""Streams in a process with topics: declared, published to, consumed, deleted; and again later."""

import pytest
from queue_parts import Channel, Consumer, props

import logstore
from logstore.amqp import fields, properties
from logstore.broker.policies import Policy
from logstore.broker.queues.refusals import (
    ConsumersThere,
    InvalidConsumerArgument,
    InvalidQueueArgument,
    Nameless,
    NoSuchStream,
    NotEmpty,
    NotOfStreams,
    NotOfType,
    NoTopicForIt,
    QueueDiffers,
    Unlimited,
)
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import Refused, UnknownTopic


def stream(node, name=b"s", **given):
    return node.declare(name, queue_type="stream", **given)


def consumer(node, name=b"s", prefetch=100, channel=None, **given):
    arguments = arguments_of({f"x-{it.replace('_', '-')}": value for it, value in given.items()})
    found = Consumer(channel or Channel(), prefetch, arguments=arguments)
    node.vhost.queue(name).subscribe(found)
    node.run()
    return found


def offsets(consumer):
    return [properties.read(it.properties).headers["x-stream-offset"] for _, it in consumer.had]


def numbers(*of):
    return [b"%d" % it for it in of]


def test_what_is_published_is_there_for_everybody(node):
    stream(node)
    node.publish(b"s", *numbers(0, 1, 2))
    first, second = consumer(node, stream_offset="first"), consumer(node, stream_offset="first")
    node.publish(b"s", b"3")
    assert first.bodies == second.bodies == numbers(0, 1, 2, 3)
    assert offsets(first) == [0, 1, 2, 3]
    assert node.ready(b"s") == 4
    assert not any(it.redelivered for _, it in first.had)


def test_a_topic_has_its_records(node):
    stream(node)
    node.exchange(b"x", "topic")
    node.bind(b"x", b"s", b"a.#")
    node.publish(b"a.b", b"body", exchange=b"x", headers={"h": "v"}, content_type="text/plain")
    log = node.topics.get("s").partition(0)
    [batch] = log.read(0, 1000)
    from logstore.records.decode import decode

    [record] = decode(batch)
    assert (record.key, record.value) == (b"a.b", b"body")
    assert ("h", b"v") in record.headers
    assert ("amqp.content_type", b"text/plain") in record.headers


def test_what_others_append_is_delivered(node):
    stream(node)
    it = consumer(node)
    node.topics.get("s").append(b"value", b"key", {"h": b"v"})
    node.run(until=lambda: it.had)
    [(_, delivery)] = it.had
    assert (delivery.key, delivery.body) == (b"key", b"value")
    assert properties.read(delivery.properties).headers["h"] == "v"
    assert offsets(it) == [0]


def test_a_message_comes_back_as_it_was_sent(node):
    stream(node)
    given = {
        "headers": {"n": fields.Long(5), "t": {"a": [1, None]}},
        "priority": 3,
        "message_id": "m",
        "expiration": "1000",
        "timestamp": 5,
        "delivery_mode": 1,
    }
    node.publish(b"s", b"x", **given)
    it = consumer(node, stream_offset="first")
    [(_, delivery)] = it.had
    found = properties.read(delivery.properties)
    headers = dict(found.headers)
    assert headers.pop("x-stream-offset") == 0
    assert found._replace(headers=headers) == properties.read(props(**given))
    assert (delivery.exchange, delivery.key) == (b"", b"s")


def test_an_offset_that_a_publisher_says_counts_nothing(node):
    stream(node)
    node.publish(b"s", b"x", headers={"x-stream-offset": fields.Long(99), "z": "last"})
    it = consumer(node, stream_offset="first")
    assert offsets(it) == [0]
    assert properties.read(it.had[0][1].properties).headers["z"] == "last"


def test_acknowledging_makes_room(node):
    stream(node)
    node.publish(b"s", *numbers(*range(10)))
    it = consumer(node, prefetch=3, stream_offset="first")
    assert it.bodies == numbers(0, 1, 2)
    it.channel.ack(2)
    node.run()
    assert it.bodies == numbers(0, 1, 2, 3)
    it.channel.ack(4, multiple=True)
    node.run()
    assert it.bodies == numbers(*range(7))


@pytest.mark.parametrize("act", ["ack", "requeue", "reject"])
def test_whatever_is_said_of_a_message_it_stays(node, act):
    stream(node)
    node.publish(b"s", *numbers(0, 1, 2))
    it = consumer(node, prefetch=1, stream_offset="first")
    for tag in (1, 2, 3):
        getattr(it.channel, act)(tag)
        node.run()
    assert it.bodies == numbers(0, 1, 2)
    assert consumer(node, stream_offset="first").bodies == numbers(0, 1, 2)
    assert node.ready(b"s") == 3


def test_what_a_channel_had_when_it_ended_comes_to_nobody(node):
    stream(node)
    node.publish(b"s", *numbers(0, 1))
    it = consumer(node, stream_offset="first")
    other = consumer(node)
    node.vhost.queue(b"s").unsubscribe(it)
    it.channel.end()
    node.run()
    assert other.bodies == []


BEGINS = [
        ("first", numbers(0, 1, 2)), ("last", numbers(2)), ("next", []), (1, numbers(1, 2)),
        (0, numbers(0, 1, 2)), (3, []), (100, []), (fields.Timestamp(0), numbers(0, 1, 2)),
        ("1h", numbers(0, 1, 2)), ("0s", numbers(2)), (fields.Timestamp(1 << 40), []),
    ]  # fmt: skip


def test_where_a_consumer_begins(node):
    stream(node)
    for body in numbers(0, 1, 2):
        node.clock.now_ms += 1000
        node.publish(b"s", body)
    found = [(begin, consumer(node, stream_offset=begin), bodies) for begin, bodies in BEGINS]
    for begin, it, bodies in found:
        assert it.bodies == bodies, begin
    node.publish(b"s", b"3")
    for begin, it, bodies in found:
        assert it.bodies == [*bodies, *([] if begin == 100 else [b"3"])], begin


def test_an_offset_that_is_not_reached_is_waited_for(node):
    stream(node)
    it = consumer(node, stream_offset=2)
    node.publish(b"s", *numbers(0, 1))
    assert it.bodies == []
    node.publish(b"s", *numbers(2, 3))
    assert it.bodies == numbers(2, 3)


def test_a_filter_lets_through_what_it_names(node):
    stream(node)
    for value in ("a", "b", "a", None, "c"):
        headers = {} if value is None else {"x-stream-filter-value": value}
        node.publish(b"s", (value or "none").encode(), headers=headers)
    first = {"stream_offset": "first"}
    assert consumer(node, stream_filter="a", **first).bodies == [b"a", b"a"]
    assert consumer(node, stream_filter=["a", "c"], **first).bodies == [b"a", b"a", b"c"]
    with_none = consumer(node, prefetch=2, stream_filter="c", stream_match_unfiltered=True, **first)
    assert with_none.bodies == [b"none", b"c"]


def test_a_slow_consumer_holds_up_nobody(node):
    stream(node)
    node.publish(b"s", *numbers(*range(3000)))
    slow = Consumer(prefetch=100, arguments=arguments_of({"x-stream-offset": "first"}))
    slow.takes = 0
    node.vhost.queue(b"s").subscribe(slow)
    quick = consumer(node, prefetch=5000, stream_offset="first")
    assert quick.bodies == numbers(*range(3000))
    assert slow.bodies == []
    slow.takes = 7
    node.vhost.queue(b"s").wake()
    node.turn()
    assert slow.bodies == numbers(*range(7))


def test_consumers_share_a_turn(node):
    """None is served twice before all are, however much there is."""
    stream(node)
    node.publish(b"s", *numbers(*range(5000)))
    there = [
        Consumer(prefetch=5000, arguments=arguments_of({"x-stream-offset": "first"}))
        for _ in range(3)
    ]
    for it in there:
        node.vhost.queue(b"s").subscribe(it)
    sizes = []
    while not sizes or sizes[-1] < 15_000:
        node.turn()
        sizes.append(sum(len(it.had) for it in there))
    node.run()
    assert max(after - before for before, after in zip([0, *sizes], sizes, strict=False)) <= 1000
    assert all(len(it.had) == 5000 for it in there)


def test_a_consumer_that_acknowledges_late_has_all_that_its_prefetch_allows(node):
    stream(node)
    for at in range(0, 3000, 1000):
        node.publish(b"s", *numbers(*range(at, at + 1000)))
    assert consumer(node, prefetch=5000, stream_offset="first").bodies == numbers(*range(3000))


# What is refused


NOT_SO = [
        ({"durable": False}, NoSuchStream), ({"exclusive": True}, NoSuchStream),
        ({"auto_delete": True}, NoSuchStream), ({"message_ttl": 5}, NotOfType),
        ({"max_length": 5}, NotOfType), ({"dead_letter_exchange": "x"}, NotOfType),
        ({"max_priority": 5}, NotOfType), ({"single_active_consumer": True}, NotOfType),
        ({"retention_ms": 5}, NotOfType), ({"max_age": "5"}, InvalidQueueArgument),
        ({"max_age": 5}, InvalidQueueArgument), ({"max_length_bytes": -1}, InvalidQueueArgument),
        ({"stream_max_segment_size_bytes": 3_000_000_001}, InvalidQueueArgument),
        ({"initial_cluster_size": 0}, InvalidQueueArgument),
    ]  # fmt: skip


def test_what_a_stream_can_not_be(node):
    for given, error in NOT_SO:
        owner = object() if given.get("exclusive") else None
        with pytest.raises(error):
            stream(node, owner=owner, **given)
    assert list(node.vhost.queues()) == []
    assert node.topics.get("s") is None


NO_NAMES = [
        b"a b",
        b"a/b",
        b"\xc3\xa4",
        b"x" * 250,
        b".",
        b"__audit",
        b"__queue.q",
        b"__cluster_metadata",
    ]  # fmt: skip


def test_a_stream_is_called_as_a_topic_may_be(node):
    for name in NO_NAMES:
        with pytest.raises(NoTopicForIt):
            stream(node, name)
    assert list(node.vhost.queues()) == []


def test_a_stream_has_a_name(node):
    with pytest.raises(Nameless):
        stream(node, b"")


def test_a_topic_with_one_partition_becomes_the_stream(node):
    topic = node.topics.create("s", 1, {"retention.ms": "5000000"})
    topic.append(b"there before")
    stream(node)
    assert consumer(node, stream_offset="first").bodies == [b"there before"]
    assert node.topics.given("s") == {"retention.ms": "5000000"}


def test_a_topic_with_more_partitions_becomes_none(node):
    node.topics.create("s", 2, {})
    with pytest.raises(NoTopicForIt, match="2 partitions"):
        stream(node)
    assert node.topics.get("s") is not None


def test_a_topic_where_records_wait_becomes_no_stream(node):
    """The queue would go when it is deleted, and its topic could not."""
    node.topics.create("orders", 1, {"delivery.schedule": "true"})
    with pytest.raises(NoTopicForIt, match="holds delayed records of 'orders'"):
        stream(node, b"orders.delayed")
    stream(node, b"orders")
    node.topics.alter("orders", {"delivery.schedule": "false"}, ())
    stream(node, b"orders.delayed")
    with pytest.raises(Refused, match=r"'orders\.delayed' can't store delayed records"):
        node.topics.alter("orders", {"delivery.schedule": "true"}, ())
    node.delete(b"orders.delayed")
    assert node.topics.names() == ["orders"]


def test_arguments_become_settings_of_the_topic(node):
    stream(node, max_age="1h", max_length_bytes=8_000_000)
    given = node.topics.given("s")
    assert given["retention.ms"] == "3600000"
    assert given["segment.ms"] == "900000"
    assert given["retention.bytes"] == "8000000"
    assert given["segment.bytes"] == "2000000"
    node.topics.create("t", 1, {"retention.ms": "5", "segment.ms": "7"})
    stream(node, b"t", stream_max_segment_size_bytes=5_000_000)
    assert node.topics.given("t") == {
        "retention.ms": "5", "segment.ms": "7", "segment.bytes": "5000000",
    }  # fmt: skip


def test_without_arguments_all_is_kept(node):
    stream(node)
    given = node.topics.given("s")
    assert (given["retention.ms"], given["retention.bytes"]) == ("-1", "-1")


def test_it_is_declared_again_as_it_is(node):
    there = stream(node, max_age="1h")
    assert stream(node, max_age="1h") is there
    with pytest.raises(QueueDiffers, match="x-max-age"):
        stream(node, max_age="2h")
    with pytest.raises(QueueDiffers, match="x-queue-type"):
        node.declare(b"s")
    node.declare(b"q")
    with pytest.raises(QueueDiffers, match="x-queue-type"):
        stream(node, b"q")


NOT_CONSUMED = [
        ({"prefetch": 0}, Unlimited),
        ({"no_ack": True}, NotOfStreams),
        ({"prefetch": 0, "no_ack": True}, Unlimited),
    ]  # fmt: skip


def test_how_a_stream_is_not_consumed(node):
    stream(node)
    for given, error in NOT_CONSUMED:
        with pytest.raises(error):
            node.vhost.queue(b"s").subscribe(Consumer(**{"prefetch": 5, **given}))
    assert node.vhost.queue(b"s").subscriptions == []


NOT_ASKED = [
        ({"x-stream-offset": "soon"}, InvalidConsumerArgument),
        ({"x-stream-offset": -1}, InvalidConsumerArgument),
        ({"x-stream-filter": 5}, InvalidConsumerArgument),
        ({"x-stream-filter": ["a", 5]}, InvalidConsumerArgument),
        ({"x-stream-match-unfiltered": 1}, InvalidConsumerArgument),
        ({"x-priority": 5}, NotOfType),
        ({"x-consumer-timeout": 5}, NotOfType),
    ]  # fmt: skip


def test_what_a_consumer_can_not_ask_for(node):
    stream(node)
    for given, error in NOT_ASKED:
        with pytest.raises(error):
            node.vhost.queue(b"s").subscribe(Consumer(prefetch=5, arguments=arguments_of(given)))
    assert node.vhost.queue(b"s").subscriptions == []


def test_a_queue_has_no_offsets(node):
    node.declare(b"q")
    arguments = arguments_of({"x-stream-offset": "first"})
    with pytest.raises(NotOfType, match="x-stream-offset"):
        node.vhost.queue(b"q").subscribe(Consumer(prefetch=5, arguments=arguments))


def test_what_only_queues_do(node):
    it = stream(node)
    with pytest.raises(NotOfStreams, match=r"basic\.get"):
        it.get(Channel(), False, print)
    with pytest.raises(NotOfStreams, match=r"queue\.purge"):
        it.purge(print)


def test_a_record_that_the_topic_does_not_take_is_refused_alone(node):
    node.topics.create("s", 1, {"max.message.bytes": "500"})
    stream(node)
    node.run()
    published = node.publish_soon(b"s", b"0", b"x" * 1000, b"2")
    node.run(until=published.waiting.settled)
    assert published.rejected == [1]
    assert consumer(node, stream_offset="first").bodies == numbers(0, 2)


# Its end


def test_deleting_the_queue_deletes_the_topic(node):
    stream(node)
    node.publish(b"s", b"x")
    it = consumer(node)
    assert node.delete(b"s") == 0
    assert it.is_cancelled
    assert node.topics.get("s") is None
    with pytest.raises(NoQueue):
        node.vhost.queue(b"s")
    stream(node)
    assert node.ready(b"s") == 0


def test_deleting_the_topic_deletes_the_queue(node):
    stream(node)
    node.exchange(b"x", "fanout")
    node.bind(b"x", b"s")
    it = consumer(node)
    node.topics.delete("s")
    node.run(until=lambda: it.is_cancelled)
    with pytest.raises(NoQueue):
        node.vhost.queue(b"s")
    assert list(node.vhost.topology.bindings_from(b"x")) == []


def test_a_consumer_that_reads_on_while_the_topic_is_deleted_is_no_error(node, caplog):
    stream(node)
    node.publish(b"s", *numbers(*range(5)))
    it = consumer(node, prefetch=5, stream_offset="first")
    node.publish(b"s", *numbers(*range(5)))
    node.topics.delete("s")
    it.channel.ack(5, multiple=True)
    node.vhost.queue(b"s").look()
    node.run(until=lambda: it.is_cancelled)
    assert [it.levelname for it in caplog.records] == ["WARNING"]


def test_it_is_deleted_on_conditions(node):
    stream(node)
    node.publish(b"s", b"x")
    with pytest.raises(NotEmpty):
        node.delete(b"s", if_empty=True)
    it = consumer(node)
    with pytest.raises(ConsumersThere):
        node.delete(b"s", if_unused=True)
    node.vhost.queue(b"s").unsubscribe(it)
    node.delete(b"s", if_unused=True)
    assert node.topics.get("s") is None


def test_its_topic_gets_no_more_partitions(node):
    stream(node)
    with pytest.raises(Refused, match="one partition"):
        node.topics.grow("s", 2)
    node.delete(b"s")
    node.topics.create("s", 1, {})
    node.topics.grow("s", 2)


def test_its_topic_gets_none_while_nobody_has_opened_the_queues_either(tmp_path):
    """Messages in the others would never come to its consumers."""
    with logstore.open(tmp_path / "data") as store:
        store.queue("s", queue_type="stream")
        store.create_topic("t")
    with logstore.open(tmp_path / "data") as store:
        with pytest.raises(Refused, match="'s' must keep one partition: it is a stream"):
            store.alter_topic("s", partitions=2)
        store.alter_topic("s", {"retention.ms": "1000"})
        store.alter_topic("t", partitions=2)


def test_a_stream_whose_topic_was_made_again_with_more_partitions_says_so(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("s", queue_type="stream")
    with logstore.open(tmp_path / "data") as store:
        store.delete_topic("s")
        store.create_topic("s", partitions=2)
    with logstore.open(tmp_path / "data") as store:
        with pytest.raises(Refused, match="'s' has more than one partition"):
            store.queue("s").publish(b"x")
        store.queue("q").publish(b"x")  # others are what they were


def test_a_topic_that_is_made_again_at_once_is_no_stream_and_stays(node):
    """The stream of the one that was deleted would take neither messages nor its leave."""
    stream(node)
    node.publish(b"s", b"x")
    it = consumer(node)
    node.topics.delete("s")
    made = node.topics.create("s", 1, {})
    node.run(until=lambda: it.is_cancelled)
    with pytest.raises(NoQueue):
        node.vhost.queue(b"s")
    node.run()
    assert node.topics.get("s") is made
    made.append(b"kept")
    stream(node)
    node.publish(b"s", b"y")
    assert consumer(node, stream_offset="first").bodies == [b"kept", b"y"]


def test_deleting_a_stream_deletes_no_topic_that_was_made_in_its_place(node):
    stream(node)
    node.publish(b"s", b"x")
    node.topics.delete("s")
    node.topics.create("s", 1, {})
    node.vhost.delete_queue(node.vhost.queue(b"s"))
    node.run()
    node.run()
    assert node.topics.names() == ["s"]


def test_a_stream_that_is_made_and_deleted_at_once(node):
    from logstore.broker.queues.limits import QueueFacts

    facts = QueueFacts(b"s", True, arguments=arguments_of({"x-queue-type": "stream"}))
    for _ in range(3):
        made, pending = node.vhost.declare_queue(facts)
        published = node.publish_soon(b"s", b"lost")
        _, gone = node.vhost.delete_queue(made)
    _, pending = node.vhost.declare_queue(facts)
    kept = node.publish_soon(b"s", b"kept")
    node.run(until=lambda: pending.done and kept.waiting.settled())
    assert gone.done
    assert published.waiting.settled()
    assert consumer(node, stream_offset="first").bodies == [b"kept"]


def test_a_stream_that_can_not_be_made_leaves_the_topic_that_was_there(node, monkeypatch):
    topic = node.topics.create("s", 1, {})
    topic.append(b"mine")
    monkeypatch.setattr(node.topics, "alter", _refuse)
    from logstore.broker.queues.limits import QueueFacts

    given = {"x-queue-type": "stream", "x-max-age": "1h"}
    facts = QueueFacts(b"s", True, arguments=arguments_of(given))
    _, pending = node.vhost.declare_queue(facts)
    node.run(until=lambda: pending.done)
    assert isinstance(pending.error, Refused)
    assert list(node.vhost.queues()) == []
    assert node.topics.get("s") is topic


def _refuse(*_):
    raise Refused("no")


# Virtual hosts


def test_in_another_virtual_host_the_topic_has_its_name_before(node):
    node.add_vhost(b"other")
    stream(node)
    node.within(b"other")
    stream(node)
    node.publish(b"s", b"there")
    assert node.topics.names() == ["other.s", "s"]
    assert consumer(node, stream_offset="first").bodies == [b"there"]
    node.within(b"/")
    assert node.ready(b"s") == 0
    assert node.delete_vhost(b"other") is None
    assert node.topics.names() == ["s"]


def test_one_topic_is_one_stream(node):
    node.add_vhost(b"a")
    stream(node, b"a.s")
    node.within(b"a")
    with pytest.raises(NoTopicForIt, match="another stream"):
        stream(node)


# Another process


@pytest.mark.parametrize("end", ["again", "kill"])
def test_it_is_there_in_the_next_process(lives, end):
    node = lives.node
    stream(node, max_age="1Y")
    node.exchange(b"x", "fanout")
    node.bind(b"x", b"s")
    node.publish(b"", *numbers(0, 1), exchange=b"x")
    node = getattr(lives, end)()
    assert stream(node, max_age="1Y").facts.type_name == "stream"
    node.publish(b"", b"2", exchange=b"x")
    assert consumer(node, stream_offset="first").bodies == numbers(0, 1, 2)
    assert node.delete(b"s") == 0
    node = getattr(lives, end)()
    assert list(node.vhost.queues()) == []
    assert node.topics.get("s") is None


def test_a_stream_whose_topic_was_deleted_elsewhere_is_gone(lives):
    node = lives.node
    stream(node)
    node.exchange(b"x", "fanout")
    node.bind(b"x", b"s")
    node.declare(b"q")
    node.bind(b"x", b"q")
    node.close()
    node.topics.delete("s")
    lives._opened.close()
    node = lives.open()
    node.run()
    assert [it.facts.name for it in node.vhost.queues()] == [b"q"]
    node.publish(b"", b"x", exchange=b"x")
    assert node.ready(b"q") == 1
    node = lives.again()
    assert [it.facts.name for it in node.vhost.queues()] == [b"q"]
    with pytest.raises(UnknownTopic):
        node.topics.topic("s")


# Policies


def test_a_policy_changes_the_topics_retention(node):
    stream(node, max_length_bytes=8_000_000)
    policy = Policy("p", "^s", {"max-age": "1h", "max-length-bytes": 4_000_000}, 0, "streams")
    pending = node.vhost.set_policies([policy])
    node.run(until=lambda: pending.done)
    given = node.topics.given("s")
    assert (given["retention.ms"], given["retention.bytes"]) == ("3600000", "4000000")
    stream(node, b"s2")
    assert node.topics.given("s2")["retention.ms"] == "3600000"
    pending = node.vhost.set_policies((), ["p"])
    node.run(until=lambda: pending.done)
    given = node.topics.given("s")
    assert (given["retention.ms"], given["retention.bytes"]) == ("-1", "8000000")
    assert "segment.ms" not in given


# Transactions


def test_a_dead_letter_reaches_a_stream_once_it_is_safe(node):
    stream(node)
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="s", max_length=1)
    node.publish(b"q", *numbers(0, 1, 2))
    node.run()
    it = consumer(node, stream_offset="first")
    assert it.bodies == numbers(0, 1)
    assert properties.read(it.had[0][1].properties).headers["x-death"][0]["reason"] == "maxlen"
    assert node.vhost.queue(b"q").dropped == 0


def test_what_is_moved_reaches_a_stream(node):
    from logstore.broker.queues.moving import Target, move

    stream(node)
    node.declare(b"q")
    node.publish(b"q", *numbers(0, 1, 2))
    found = []
    move(node.vhost, node.vhost.queue(b"q"), Target(b"", b"s"), None, found.append)
    node.run(until=lambda: found)
    assert (found[0].moved, found[0].error) == (3, None)
    assert node.ready(b"q") == 0
    assert consumer(node, stream_offset="first").bodies == numbers(0, 1, 2)


def test_a_transaction_settles_nothing_that_its_stream_has_not(node):
    node.topics.create("s", 1, {"max.message.bytes": "300"})
    stream(node)
    queue = node.declare(b"q")
    node.publish(b"q", b"x" * 1000)
    channel, found = Channel(), []
    got = node.get(b"q", channel, no_ack=False)
    held = Transaction()
    message = node.message(b"s", got.delivery.body)
    published = node.vhost.publish([(node.vhost.route(message), message)], held)
    assert published.rejected == [0]
    assert queue.out == 1
    assert found == []
