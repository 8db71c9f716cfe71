"""How long a queue may get, and its arguments."""

import re

import pytest
from queue_parts import Channel, Consumer, props

from logstore.amqp import fields, properties
from logstore.broker.queues.limits import CHECKS, QueueFacts, limits_of
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import (
    InvalidHeader,
    InvalidQueueArgument,
    NotOfType,
    QueueDiffers,
)
from logstore.broker.routing.arguments import Arguments, Field


def numbers(*of):
    return [b"%d" % n for n in of]


def test_the_oldest_are_dropped(node):
    node.declare(b"dead")
    node.declare(b"q", max_length=3, dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", *numbers(*range(10)))
    assert node.bodies(b"q") == numbers(7, 8, 9)
    dead = node.get(b"dead").delivery
    assert dead.body == b"0"
    assert properties.read(dead.properties).headers["x-death"][0]["reason"] == "maxlen"
    assert node.bodies(b"dead") == numbers(1, 2, 3, 4, 5, 6)


def test_what_is_out_does_not_count(node):
    queue = node.declare(b"q", max_length=2)
    consumer = Consumer(prefetch=3)
    queue.subscribe(consumer)
    node.run()
    node.publish(b"q", *numbers(0, 1, 2))
    node.publish(b"q", *numbers(3, 4))
    assert (queue.ready, queue.out) == (2, 3)


def test_requeueing_drops_what_would_come_next(node):
    queue = node.declare(b"q", max_length=2)
    node.publish(b"q", b"0")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    node.publish(b"q", *numbers(1, 2))
    channel.requeue(1)
    node.run()
    assert (queue.ready, node.bodies(b"q")) == (2, numbers(1, 2))


def test_of_priorities_the_highest_go_first(node):
    node.declare(b"q", max_length=2, max_priority=5)
    for priority in (1, 5, 3):
        node.publish(b"q", b"%d" % priority, priority=priority)
    assert node.bodies(b"q") == numbers(3, 1)


def test_bytes_of_bodies_are_limited(node):
    queue = node.declare(b"q", max_length_bytes=10)
    node.publish(b"q", b"aaaa", b"bbbb", b"")
    assert node.ready(b"q") == 3
    node.publish(b"q", b"ccc")
    assert node.bodies(b"q") == [b"bbbb", b"", b"ccc"]
    assert queue.stock.ready_bytes == 0


def test_bytes_that_are_out_do_not_count_until_they_are_back(node):
    queue = node.declare(b"q", max_length_bytes=4)
    node.publish(b"q", b"aaaa")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    node.publish(b"q", b"bbbb")
    assert (queue.ready, queue.stock.ready_bytes) == (1, 4)
    channel.requeue(1)
    node.run()
    assert (queue.stock.ready_bytes, node.bodies(b"q")) == (4, [b"bbbb"])


@pytest.mark.parametrize("end", ["again", "kill"])
def test_bytes_are_known_after_a_restart(lives, end):
    node = lives.node
    node.declare(b"q", max_length_bytes=10)
    node.publish(b"q", b"aaa", b"bbb", b"ccc")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    node.get(b"q", channel, no_ack=False)
    channel.ack(2)
    node.run()
    node = getattr(lives, end)()
    assert node.ready(b"q") == 2
    assert node.vhost.queue(b"q").stock.ready_bytes == 6
    node.publish(b"q", b"ddddd")
    assert node.bodies(b"q") == [b"ccc", b"ddddd"]


def test_whichever_limit_is_hit_first_counts(node):
    node.declare(b"q", max_length_bytes=4, max_length=2)
    node.publish(b"q", b"a", b"b", b"c")
    assert node.ready(b"q") == 2
    node.publish(b"q", b"dddd")
    assert node.bodies(b"q") == [b"dddd"]


def test_a_publisher_is_told_of_what_is_refused(node):
    node.declare(b"q", max_length=2, overflow="reject-publish")
    node.declare(b"other")
    node.exchange(b"x", "fanout")
    node.bind(b"x", b"q")
    node.bind(b"x", b"other")
    published = node.publish(b"", *numbers(0, 1, 2, 3), exchange=b"x")
    assert published.rejected == [2, 3]
    assert node.bodies(b"q") == numbers(0, 1)
    assert node.bodies(b"other") == numbers(0, 1, 2, 3)
    assert node.publish(b"q", b"4").rejected == []


def test_by_bytes_a_small_one_may_fit_where_a_large_one_does_not(node):
    node.declare(b"q", max_length_bytes=5, overflow="reject-publish")
    assert node.publish(b"q", b"aaa", b"bbb", b"cc", b"d").rejected == [1, 3]
    assert node.bodies(b"q") == [b"aaa", b"cc"]


def test_refused_messages_in_runs_of_several_keys_are_counted_by_their_numbers(node):
    for name in (b"a", b"b"):
        node.declare(name, max_length=1, overflow="reject-publish")
    run = [Message(b"", name, props(), b"") for name in (b"a", b"b", b"b", b"nobody", b"a")]
    published = node.vhost.publish([(node.vhost.route(it), it) for it in run])
    assert (published.unrouted, published.rejected) == ([3], [2, 4])
    node.run()


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
def test_of_length_nothing_a_consumer_that_waits_is_served_or_nobody(node, overflow):
    queue = node.declare(b"q", max_length=0, overflow=overflow)
    node.publish(b"q", b"0")
    assert node.ready(b"q") == 0
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    published = node.publish(b"q", b"1")
    assert published.rejected == ([0] if overflow == "reject-publish" else [])
    assert consumer.bodies == ([] if overflow == "reject-publish" else [b"1"])


def test_a_consumer_with_room_makes_room(node):
    queue = node.declare(b"q", max_length=1, overflow="reject-publish")
    consumer = Consumer(prefetch=3)
    queue.subscribe(consumer)
    node.run()
    assert node.publish(b"q", *numbers(0, 1, 2, 3, 4)).rejected == [4]
    assert (consumer.bodies, queue.ready) == (numbers(0, 1, 2), 1)


def test_purging_settles_what_is_ready_and_leaves_what_is_out(lives):
    node = lives.node
    queue = node.declare(b"q", max_length_bytes=1000)
    node.publish(b"q", *numbers(0, 1, 2, 3))
    channel = Channel()
    for _ in range(2):
        node.get(b"q", channel, no_ack=False)
    channel.requeue(1)
    purged = []
    queue.purge(purged.append)
    node.run()
    assert (purged, queue.ready, queue.out, queue.stock.ready_bytes) == ([3], 0, 1, 0)
    node = lives.kill()
    assert node.bodies(b"q") == [b"1"]


WRONG = {
    "x-expires": [0, -1, "1"],
    "x-message-ttl": [-1, "1", None],
    "x-max-length": [-1, "1", 1.0],
    "x-max-length-bytes": [-1, True],
    "x-max-priority": [-1, 256, "9"],
    "x-overflow": ["drop", 1],
    "x-dead-letter-exchange": [1, None],
    "x-dead-letter-routing-key": [1, "without exchange"],
    "x-dead-letter-strategy": ["twice", 1],
    "x-queue-type": ["other", 1],
    "x-queue-mode": ["eager", 1],
    "x-queue-version": [0, 3, "1"],
    "x-single-active-consumer": ["true", 1],
    "x-delivery-limit": [-2, "1"],
    "x-consumer-timeout": [-1, "1"],
    "x-consumer-disconnected-timeout": [-1],
    "x-delayed-retry-type": ["some"],
    "x-delayed-retry-min": [-1],
    "x-delayed-retry-max": [-1],
    "x-quorum-initial-group-size": [0, "1"],
    "x-quorum-target-group-size": [0],
    "x-queue-leader-locator": ["far"],
    "x-queue-master-locator": [1],
    "x-max-in-memory-length": [-1],
    "x-max-in-memory-bytes": [-1],
    "x-retention-ms": [-1, "1h", 1.0],
    "x-retention-bytes": [-2, "1", True],
    "x-message-deduplication": ["true", 1],
    "x-cache-ttl": [0, -1, "5"],
    "x-cache-size": [0, "1"],
    "x-deduplication-header": [5, "", "a\nb", "x" * 256],
    "x-ordering-key": ["", "key", "header", "header:", "header:" + "n" * 256, 1, True],
    "x-ordering-prefetch": [-1, 65_536, "1", 1],
}
OF_STREAMS = {
    "x-max-age": "1D", "x-stream-max-segment-size-bytes": 5, "x-stream-filter-size-bytes": 16,
    "x-initial-cluster-size": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_an_argument_that_means_nothing_is_refused_by_name(shared, name, value):
    with pytest.raises(InvalidQueueArgument) as caught:
        shared.declare(b"q", **{name[2:].replace("-", "_"): value})
    assert caught.value.argument == name.encode()
    assert caught.value.queue == b"q"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "x-queue-type", "x-overflow", "x-queue-mode", "x-dead-letter-strategy",
        "x-queue-leader-locator", "x-delayed-retry-type",
    ],
)  # fmt: skip
def test_a_wrong_word_is_refused_with_those_that_are_accepted(name):
    def declared(value):
        arguments = Arguments.of({name.encode(): Field("S", value.encode())})
        return limits_of(QueueFacts(b"q", True, False, False, arguments))

    with pytest.raises(InvalidQueueArgument) as caught:
        declared("wrong")
    words = re.split(", | or ", str(caught.value).partition("; use ")[2])
    assert len(words) >= 2
    for word in words:
        declared(word)


def test_each_argument_has_a_wrong_value_here():
    assert {it.decode() for it in CHECKS} <= set(WRONG) | set(OF_STREAMS)


@pytest.mark.parametrize(("name", "value"), OF_STREAMS.items())
def test_what_only_streams_have_is_refused_by_name(node, name, value):
    with pytest.raises(NotOfType) as caught:
        node.declare(b"q", **{name[2:].replace("-", "_"): value})
    assert caught.value.argument == name.encode()


@pytest.mark.parametrize("kind", "Sx")
def test_an_age_that_means_nothing_is_refused_of_either_kind_of_text(kind):
    def declared(age):
        arguments = {b"x-queue-type": Field("S", b"stream"), b"x-max-age": Field(kind, age)}
        return limits_of(QueueFacts(b"s", True, False, False, Arguments.of(arguments)))

    for age in (b"", b"1W", b"\xff"):
        with pytest.raises(InvalidQueueArgument, match="invalid max age"):
            declared(age)
    assert declared(b"1D").max_age_ms == 86_400_000


def test_arguments_of_both_types_go_together_and_unknown_ones_pass(node):
    node.declare(
        b"q", queue_type="quorum", max_priority=10, delivery_limit=5, overflow="reject-publish",
        queue_mode="lazy", queue_version=2, what_is_this={"a": [1]}, quorum_initial_group_size=3,
    )  # fmt: skip
    node.publish(b"q", b"low", priority=1)
    node.publish(b"q", b"high", priority=9)
    assert node.bodies(b"q") == [b"high", b"low"]


SAME = [
    ({"message_ttl": 5}, {"message_ttl": fields.Long(5)}),
    ({"message_ttl": fields.Octet(5)}, {"message_ttl": fields.UnsignedLong(5)}),
    ({}, {"queue_type": "classic"}), ({"queue_type": "classic"}, {}),
    ({"unknown": 1}, {"unknown": 2}), ({"unknown": 1}, {}),
]  # fmt: skip
OTHER = [
    ({}, {"message_ttl": 5}, "x-message-ttl"), ({"message_ttl": 5}, {}, "x-message-ttl"),
    ({"message_ttl": 5}, {"message_ttl": 6}, "x-message-ttl"),
    ({}, {"queue_type": "quorum"}, "x-queue-type"), ({}, {"durable": False}, "durable"),
    ({}, {"auto_delete": True}, "auto_delete"),
    ({}, {"auto_delete": True, "durable": False, "message_ttl": 1}, "durable"),
    ({"expires": 5}, {"expires": 6, "message_ttl": 1}, "x-expires"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME)
def test_the_same_queue_may_be_declared_again(node, first, second):
    queue = node.declare(b"q", **first)
    assert node.declare(b"q", **second) is queue


@pytest.mark.parametrize(("first", "second", "argument"), OTHER)
def test_another_one_of_its_name_may_not(node, first, second, argument):
    node.declare(b"q", **first)
    with pytest.raises(QueueDiffers) as caught:
        node.declare(b"q", **second)
    assert caught.value.argument == argument


def test_equivalence_outlives_a_restart(lives):
    node = lives.node
    given = {"message_ttl": fields.Long(5000), "dead_letter_exchange": "", "max_priority": 3}
    node.declare(b"q\xff", **given)
    node = lives.again()
    node.declare(b"q\xff", **given)
    with pytest.raises(QueueDiffers):
        node.declare(b"q\xff", **given, max_length=1)


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("value", ["text", 5, {}, True, b"bytes"])
def test_copies_that_are_none_are_refused(node, header, value):
    with pytest.raises(InvalidHeader) as caught:
        node.vhost.route(Message(b"", b"q", props(headers={header: value}), b""))
    assert caught.value.header == header.encode()


def test_copies_that_are_no_texts_are_none(node):
    """RabbitMQ takes those of an array that are."""
    node.declare(b"a")
    node.publish(b"nowhere", b"1", headers={"CC": [5, None, "a"]})
    assert node.vhost.queue(b"a").ready == 1


def test_copies_go_to_each_queue_once_and_nobody_sees_blind_ones(node):
    for name in (b"a", b"b", b"c"):
        node.declare(name)
    headers = {"CC": ["b", "a"], "BCC": ["c", "c"], "own": 1}
    node.publish(b"a", b"1", headers=headers)
    for name in (b"a", b"b", b"c"):
        got = node.get(name)
        assert node.get(name) is None
        assert properties.read(got.delivery.properties).headers == {"CC": ["b", "a"], "own": 1}
        assert got.delivery.key == b"a"
