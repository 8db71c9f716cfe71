"""Who is served: prefetch, turns, priorities, exclusive and single active consumers."""

from itertools import pairwise

import pytest
from queue_parts import Channel, Consumer

from logstore.broker.queues.dealing import deal, strides
from logstore.broker.queues.refusals import ExclusiveUse, SingleActive


def numbers(upto):
    return [b"%d" % n for n in range(upto)]


def subscribed(queue, *consumers):
    for consumer in consumers:
        queue.subscribe(consumer)
    return consumers


def test_messages_go_to_each_consumer_in_turn(node):
    queue = node.declare(b"q")
    consumers = subscribed(queue, *(Consumer() for _ in range(3)))
    node.publish(b"q", *numbers(10))
    assert sorted(len(it.had) for it in consumers) == [3, 3, 4]
    assert sorted(body for it in consumers for body in it.bodies) == numbers(10)
    for one in consumers:
        offsets = list(map(int, one.bodies))
        assert all(b - a == 3 for a, b in pairwise(offsets))
        one.channel.ack(len(one.had), multiple=True)
    node.run()
    assert (queue.ready, queue.out) == (0, 0)


def test_turns_go_on_from_one_message_to_the_next(node):
    queue = node.declare(b"q")
    consumers = subscribed(queue, *(Consumer() for _ in range(3)))
    for body in numbers(9):
        node.publish(b"q", body)
    assert [len(it.had) for it in consumers] == [3, 3, 3]


def test_a_prefetch_count_bounds_what_is_unacked(node):
    queue = node.declare(b"q")
    (consumer,) = subscribed(queue, Consumer(prefetch=2))
    node.publish(b"q", *numbers(5))
    assert consumer.bodies == numbers(2)
    consumer.channel.ack(1)
    node.run()
    assert consumer.bodies == numbers(3)
    consumer.channel.ack(3, multiple=True)
    node.run()
    assert consumer.bodies == numbers(5)


def test_a_consumer_without_acks_ignores_prefetch(node):
    queue = node.declare(b"q")
    (consumer,) = subscribed(queue, Consumer(Channel(prefetch=1), prefetch=1, no_ack=True))
    node.publish(b"q", *numbers(5))
    assert consumer.bodies == numbers(5)
    assert (queue.ready, queue.out, len(consumer.channel.unacked)) == (0, 0, 0)


def test_what_is_sent_without_acks_does_not_come_again(lives):
    node = lives.node
    queue = node.declare(b"q")
    subscribed(queue, Consumer(no_ack=True))
    node.publish(b"q", *numbers(5))
    node = lives.kill()
    assert node.bodies(b"q") == []


def test_a_channels_prefetch_is_shared_by_its_consumers(node):
    first, second = node.declare(b"a"), node.declare(b"b")
    channel = Channel(prefetch=3)
    consumers = [*subscribed(first, Consumer(channel)), *subscribed(second, Consumer(channel))]
    node.publish(b"a", *numbers(2))
    node.publish(b"b", *numbers(4))
    assert [len(it.had) for it in consumers] == [2, 1]
    channel.prefetch = 2  # below what is out: nothing more until it is below
    channel.ack(1)
    node.run()
    assert [len(it.had) for it in consumers] == [2, 1]
    channel.prefetch = 4
    second.wake()
    node.run()
    assert [len(it.had) for it in consumers] == [2, 3]
    channel.prefetch = 0
    second.wake()
    node.run()
    assert [len(it.had) for it in consumers] == [2, 4]


def test_two_consumers_of_one_channel_share_its_room(node):
    queue = node.declare(b"q")
    channel = Channel(prefetch=3)
    consumers = subscribed(queue, Consumer(channel), Consumer(channel))
    node.publish(b"q", *numbers(8))
    assert sum(len(it.had) for it in consumers) == 3 == len(channel.unacked)


def test_the_limit_of_a_consumer_and_of_its_channel_both_hold(node):
    queue = node.declare(b"q")
    channel = Channel(prefetch=5)
    (consumer,) = subscribed(queue, Consumer(channel, prefetch=3))
    node.publish(b"q", *numbers(8))
    assert len(consumer.had) == 3
    (other,) = subscribed(queue, Consumer(channel, prefetch=3))
    node.run()
    assert (len(consumer.had), len(other.had)) == (3, 2)


def test_a_peer_that_does_not_read_is_sent_nothing(node):
    queue = node.declare(b"q")
    slow, quick = subscribed(queue, Consumer(), Consumer())
    slow.takes = 0
    node.publish(b"q", *numbers(4))
    assert (slow.bodies, quick.bodies) == ([], numbers(4))
    slow.takes = 10
    node.publish(b"q", *numbers(4))
    assert len(slow.had) == 2


def test_consumers_of_a_higher_priority_are_served_first(node):
    queue = node.declare(b"q")
    low, high = subscribed(queue, Consumer(), Consumer(prefetch=2, priority=10))
    node.publish(b"q", *numbers(5))
    assert (high.bodies, low.bodies) == (numbers(2), numbers(5)[2:])
    high.channel.ack(2, multiple=True)
    node.publish(b"q", b"x")
    assert high.bodies[2:] == [b"x"]


def test_a_cancelled_consumer_keeps_what_it_has_unacked(node):
    queue = node.declare(b"q")
    first, second = subscribed(queue, Consumer(prefetch=2), Consumer())
    queue.unsubscribe(second)
    node.publish(b"q", *numbers(3))
    queue.unsubscribe(first)
    subscribed(queue, second)
    node.run()
    assert (first.bodies, second.bodies) == (numbers(2), [b"2"])
    first.channel.ack(1)
    first.channel.requeue(2)
    node.run()
    assert second.bodies == [b"2", b"1"]


def test_an_exclusive_consumer_is_alone(node):
    queue = node.declare(b"q")
    (one,) = subscribed(queue, Consumer())
    with pytest.raises(ExclusiveUse):
        queue.subscribe(Consumer(exclusive=True))
    queue.unsubscribe(one)
    (alone,) = subscribed(queue, Consumer(exclusive=True))
    for exclusive in (False, True):
        with pytest.raises(ExclusiveUse):
            queue.subscribe(Consumer(exclusive=exclusive))
    queue.unsubscribe(alone)
    subscribed(queue, one)


def test_of_single_active_consumers_one_is_served(node):
    queue = node.declare(b"q", single_active_consumer=True)
    first, second, third = subscribed(queue, Consumer(prefetch=2), Consumer(), Consumer(priority=5))
    node.publish(b"q", *numbers(4))
    assert (first.bodies, second.bodies, third.bodies) == (numbers(2), [], [])
    first.channel.end()
    queue.unsubscribe(first)
    node.run()
    assert (second.bodies, third.bodies) == ([], numbers(4))
    with pytest.raises(SingleActive):
        queue.get(Channel(), False, print)
    with pytest.raises(ExclusiveUse):
        queue.subscribe(Consumer(exclusive=True))


def test_what_the_old_active_consumer_had_goes_to_the_new_one_in_order(node):
    queue = node.declare(b"q", single_active_consumer=True)
    first, second = subscribed(queue, Consumer(prefetch=3), Consumer())
    node.publish(b"q", *numbers(5))
    queue.unsubscribe(first)  # in either order within one turn
    first.channel.end()
    node.run()
    assert second.bodies == numbers(5)
    assert [it.redelivered for _, it in second.had] == [True] * 3 + [False] * 2


def test_a_consumer_that_takes_too_long_is_cancelled_and_its_messages_come_back(node):
    queue = node.declare(b"q", consumer_timeout=10_000)
    slow, quick = subscribed(queue, Consumer(prefetch=3), Consumer(prefetch=1))
    node.publish(b"q", *numbers(4))
    quick.channel.ack(1)
    had = len(slow.had)
    assert had == 3
    slow.channel.ack(1)
    node.later(9_999)
    assert not slow.is_cancelled
    node.later(1)
    assert slow.is_cancelled
    assert len(slow.channel.unacked) == 0
    assert queue.subscriptions == [quick]
    assert quick.had[-1][1].redelivered


def test_a_consumer_that_is_quick_enough_is_not_cancelled(node):
    queue = node.declare(b"q")
    (consumer,) = subscribed(queue, Consumer(prefetch=1, timeout_ms=5_000))
    node.publish(b"q", *numbers(20))
    for tag in range(1, 20):
        node.later(4_000)
        consumer.channel.ack(tag)
        node.run()
    assert not consumer.is_cancelled
    node.later(5_000)
    assert consumer.is_cancelled


def test_without_a_timeout_a_message_may_be_held_for_ever(node):
    queue = node.declare(b"q")
    (consumer,) = subscribed(queue, Consumer())
    node.publish(b"q", b"1")
    node.later(10**10)
    assert not consumer.is_cancelled
    assert node.queues.deadline_ms() is None


@pytest.mark.long
def test_ten_thousand_are_held_unacked_and_counted(node):
    queue = node.declare(b"q")
    (consumer,) = subscribed(queue, Consumer())
    for _ in range(10):
        node.publish(b"q", *[b"x"] * 1000)
    assert (len(consumer.had), queue.out, queue.ready) == (10_000, 10_000, 0)
    consumer.channel.end()
    queue.unsubscribe(consumer)
    assert node.ready(b"q") == 10_000


@pytest.mark.parametrize("rooms", [[1], [5, 5], [1, 4, 2], [0, 3, 1], [9, 0, 9]])
def test_dealing_goes_round(rooms):
    for count in range(sum(rooms) + 1):
        hands = deal(count, rooms)
        assert sorted(n for hand in hands for n in hand) == list(range(count))
        assert all(hand == sorted(hand) for hand in hands)
        assert all(len(hand) <= room for hand, room in zip(hands, rooms, strict=True))
        naive = [[] for _ in rooms]
        dealt = 0
        while dealt < count:
            for n, room in enumerate(rooms):
                if dealt < count and len(naive[n]) < room:
                    naive[n].append(dealt)
                    dealt += 1
        assert hands == naive


@pytest.mark.parametrize(
    "offsets", [[], [3], [1, 2, 3], [0, 3, 6, 7, 8], [5, 1, 2], [9, 8, 7], [1, 4, 9, 16, 17]]
)
def test_strides_are_the_same_offsets(offsets):
    runs = strides(offsets)
    assert [first + n * step for first, count, step in runs for n in range(count)] == offsets
