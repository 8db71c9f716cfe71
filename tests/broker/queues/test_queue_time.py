"""Messages and queues whose time is over."""

import pytest
from queue_parts import Channel, Consumer, props

from logstore.amqp import properties
from logstore.broker.queues.limits import TTL_MAX_MS
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import InvalidExpiration, InvalidQueueArgument
from logstore.broker.queues.trimming import EVERY_MS
from logstore.broker.routing.refusals import NoQueue

DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}


def there(node, name):
    try:
        node.vhost.queue(name)
    except NoQueue:
        return False
    return True


def test_what_has_expired_behind_a_head_that_has_not_stays_and_is_never_delivered(node):
    node.declare(b"dead")
    node.declare(b"q", **DEAD)
    node.publish(b"q", b"1", expiration="60000")
    node.publish(b"q", b"2", expiration="100")
    node.later(1_000)
    assert node.ready(b"q") == 2
    assert node.get(b"q").delivery.body == b"1"
    assert node.get(b"q") is None
    dead = node.get(b"dead").delivery
    assert dead.body == b"2"
    assert properties.read(dead.properties).headers["x-death"][0]["reason"] == "expired"


def test_the_shorter_time_counts(node):
    node.declare(b"q", message_ttl=100)
    node.publish(b"q", b"long", expiration="200")
    node.publish(b"q", b"short", expiration="50")
    node.later(99)
    assert node.ready(b"q") == 2
    node.later(1)
    assert node.ready(b"q") == 0


def test_a_consumer_is_never_sent_what_has_expired(node):
    queue = node.declare(b"q")
    node.publish(b"q", b"1")
    node.publish(b"q", b"2", b"3", expiration="100")
    node.publish(b"q", b"4")
    node.clock.now_ms += 100
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    assert consumer.bodies == [b"1", b"4"]
    assert (queue.ready, queue.out) == (0, 2)


def test_what_comes_back_expired_is_gone_at_once_whoever_had_it(node):
    queue = node.declare(b"q")
    channel = Channel()
    node.publish(b"q", b"1", b"2", expiration="100")
    assert node.get(b"q", channel, no_ack=False).ready == 1
    node.get(b"q", channel, no_ack=False)
    node.run()
    node.clock.now_ms += 100
    channel.end()
    node.run()
    assert (queue.ready, queue.out) == (0, 0)


def test_what_comes_back_is_waited_for_until_its_time_is_over(node):
    node.declare(b"q")
    channel = Channel()
    node.publish(b"q", b"1", expiration="100")
    node.get(b"q", channel, no_ack=False)
    node.run()
    channel.end()
    node.later(99)
    assert node.ready(b"q") == 1
    node.later(1)
    assert node.ready(b"q") == 0


def test_a_fetch_counts_none_that_has_expired_behind_it(node):
    node.declare(b"q")
    node.publish(b"q", b"1")
    node.publish(b"q", b"2", b"3", expiration="0")
    node.publish(b"q", b"4")
    assert node.get(b"q").ready == 1
    assert node.get(b"q").delivery.body == b"4"


def test_what_a_fetch_finds_expired_is_dead_lettered_at_once(node):
    node.declare(b"dead")
    node.declare(b"q", **DEAD)
    node.publish(b"q", b"1")
    node.publish(b"q", b"2", expiration="0")
    assert node.get(b"q").delivery.body == b"1"
    node.run()
    assert node.ready(b"dead") == 1


def test_being_requeued_does_not_renew_the_time(node):
    queue = node.declare(b"q", message_ttl=100)
    node.publish(b"q", b"1")
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    node.later(150)
    assert queue.out == 1  # what is out does not expire
    channel.requeue(1)
    node.run()
    assert (queue.ready, queue.out) == (0, 0)


def test_with_no_time_at_all_only_a_consumer_that_waits_gets_it(node):
    queue = node.declare(b"q", message_ttl=0)
    node.publish(b"q", b"1")
    assert node.ready(b"q") == 0
    consumer = Consumer(prefetch=1)
    queue.subscribe(consumer)
    node.run()
    node.publish(b"q", b"2", b"3")
    assert consumer.bodies == [b"2"]
    assert (queue.ready, queue.out) == (0, 1)


@pytest.mark.parametrize("durable", [True, False])
def test_an_expiration_of_nothing_likewise(node, durable):
    queue = node.declare(b"q", durable=durable)
    consumer = Consumer(no_ack=True)
    queue.subscribe(consumer)
    node.run()
    node.publish(b"q", b"1", expiration="0")
    assert consumer.bodies == [b"1"]
    queue.unsubscribe(consumer)
    node.publish(b"q", b"2", expiration="0")
    assert node.ready(b"q") == 0


def test_each_priority_has_a_head_of_its_own(node):
    node.declare(b"q", max_priority=2)
    node.publish(b"q", b"high", priority=2)
    node.publish(b"q", b"low", priority=1, expiration="10")
    node.later(10)
    assert node.ready(b"q") == 1


@pytest.mark.parametrize("given", ["expiration", "queue"])
def test_time_goes_on_while_nobody_is_there(lives, given):
    node = lives.node
    node.declare(b"dead")
    node.declare(b"q", **DEAD, **({"message_ttl": 1_000} if given == "queue" else {}))
    node.publish(b"q", b"1", **({"expiration": "1000"} if given == "expiration" else {}))
    node.publish(b"q", b"2", expiration="5000" if given == "expiration" else "900")
    lives.close()
    node.clock.now_ms += 2_000
    node = lives.open()
    node.run()  # nobody asks for anything
    assert node.ready(b"q") == (1 if given == "expiration" else 0)
    assert node.ready(b"dead") == (1 if given == "expiration" else 2)


def test_a_deadline_after_a_restart_is_waited_for(lives):
    node = lives.node
    node.declare(b"q", message_ttl=1_000)
    node.publish(b"q", b"1")
    node = lives.again()
    node.run()
    node.later(1_000)
    assert node.ready(b"q") == 0


GOOD = [("0", 0), ("1", 1), ("+5", 5), ("007", 7), ("-0", 0), (str(TTL_MAX_MS), TTL_MAX_MS)]


@pytest.mark.parametrize(("text", "ms"), GOOD)
def test_a_good_expiration(node, text, ms):
    node.declare(b"q")
    data = props(expiration=text)
    node.vhost.route(Message(b"", b"q", data, b""))
    assert node.queues.framing.framed(b"", data).expiration_ms == ms


BAD = [
    "", " ", "1 ", " 1", "1.5", "1s", "-1", "-", "+", "0x10", "\u0661", str(TTL_MAX_MS + 1),
    "9" * 255, "1_000", "--1", "\udc80",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_bad_expiration_is_refused(node, text):
    node.declare(b"q")
    with pytest.raises(InvalidExpiration):
        node.vhost.route(Message(b"", b"q", props(expiration=text), b""))


@pytest.mark.parametrize("name", ["message_ttl", "expires"])
@pytest.mark.parametrize("value", [-1, TTL_MAX_MS + 1, "1000", True, 1.5, None])
def test_a_bad_time_of_a_queue_is_refused(node, name, value):
    with pytest.raises(InvalidQueueArgument) as caught:
        node.declare(b"q", **{name: value})
    assert caught.value.argument == b"x-" + name.encode().replace(b"_", b"-")
    assert not there(node, b"q")


def test_a_queue_can_not_expire_at_once(node):
    with pytest.raises(InvalidQueueArgument, match="value zero"):
        node.declare(b"q", expires=0)


def test_the_longest_time_is_taken(node):
    node.declare(b"q", message_ttl=2**27 * 1000, expires=TTL_MAX_MS)
    node.publish(b"q", b"1", expiration=str(TTL_MAX_MS))
    node.later(2**27 * 1000 - 1)
    assert node.ready(b"q") == 1
    node.later(1)
    assert node.ready(b"q") == 0


def test_an_unused_queue_goes_with_what_it_has_and_without_dead_letters(node):
    node.declare(b"dead")
    node.declare(b"q", expires=1_000, **DEAD)
    node.publish(b"q", b"1")
    node.later(999)
    assert there(node, b"q")
    node.later(1)
    assert not there(node, b"q")
    assert node.ready(b"dead") == 0


@pytest.mark.parametrize("use", ["redeclare", "get", "consumer"])
def test_use_keeps_a_queue(node, use):
    queue = node.declare(b"q", expires=1_000)
    node.later(900)
    if use == "redeclare":
        node.declare(b"q", expires=1_000)
    elif use == "get":
        node.get(b"q")
    else:
        consumer = Consumer()
        queue.subscribe(consumer)
        node.run()
        node.later(10_000)
        assert there(node, b"q")
        queue.unsubscribe(consumer)
        node.run()
    node.later(999)
    assert there(node, b"q")
    node.later(1)
    assert not there(node, b"q")


@pytest.mark.parametrize("use", ["publish", "ack"])
def test_publishing_and_settling_are_no_use(node, use):
    node.declare(b"q", expires=1_000)
    channel = Channel()
    node.publish(b"q", b"1")
    node.get(b"q", channel, no_ack=False)
    node.later(500)
    if use == "publish":
        node.publish(b"q", b"2")
    else:
        channel.ack(1)
        node.run()
    node.later(500)
    assert not there(node, b"q")


def test_a_queue_with_a_time_and_messages_with_one_delivers_both_messages(node):
    queue = node.declare(b"q", expires=60_000, message_ttl=5_000)
    consumer = Consumer()
    queue.subscribe(consumer)
    node.run()
    node.publish(b"q", b"1")
    node.publish(b"q", b"2")
    assert consumer.bodies == [b"1", b"2"]


def test_a_queue_expires_after_a_restart_as_if_it_had_just_been_used(lives):
    node = lives.node
    node.declare(b"q", expires=1_000)
    lives.close()
    node.clock.now_ms += 5_000
    node = lives.open()
    assert there(node, b"q")
    node.later(999)
    assert there(node, b"q")
    node.later(1)
    assert not there(node, b"q")
    node = lives.again()
    assert not there(node, b"q")


def test_times_are_told_to_whoever_waits_for_them(node):
    node.declare(b"a", message_ttl=1_000)
    node.declare(b"b", expires=500)
    now_ms = node.clock.now_ms
    node.publish(b"a", b"1")
    assert node.queues.deadline_ms() == min(node.alarms) == now_ms + 500
    node.later(500)
    assert node.queues.deadline_ms() == now_ms + 1_000
    node.later(500)
    for _ in range(3):  # what has expired is trimmed, and then
        node.later(EVERY_MS)
    assert node.queues.deadline_ms() is None


def test_flowing_consumers_arm_no_timers(node):
    queue = node.declare(b"q", message_ttl=60_000)
    queue.subscribe(Consumer())
    node.run()
    for _ in range(50):
        node.publish(b"q", b"1")
    assert len(node.queues._times) <= 1
