"""Whose turn it is among the consumers of one queue, as RabbitMQ has it message by message."""

from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Channel, Consumer

from logstore.broker.queues.dealing import Turns, deal, in_order, shared


def numbers(begin, end=None):
    return [b"%d" % n for n in (range(begin) if end is None else range(begin, end))]


def test_a_consumer_that_joins_comes_behind_the_others(node):
    queue = node.declare(b"q")
    there = [Consumer(), Consumer()]
    for it in there:
        queue.subscribe(it)
    node.publish(b"q", b"0")
    late = Consumer()
    queue.subscribe(late)
    for body in numbers(1, 6):
        node.publish(b"q", body)
    bodies = [it.bodies for it in (*there, late)]
    assert bodies == [[b"0", b"2", b"5"], [b"1", b"4"], [b"3"]]


def test_a_consumer_that_had_no_room_in_its_turn_comes_behind_the_others(node):
    queue = node.declare(b"q")
    slow, quick = Consumer(prefetch=1), Consumer()
    queue.subscribe(slow)
    queue.subscribe(quick)
    node.publish(b"q", b"0")
    node.publish(b"q", b"1")
    node.publish(b"q", b"2")  # in the turn of the slow one
    slow.channel.ack(1)
    node.run()
    node.publish(b"q", b"3")
    node.publish(b"q", b"4")
    assert (slow.bodies, quick.bodies) == ([b"0", b"4"], [b"1", b"2", b"3"])


def test_a_channel_gets_messages_in_their_order_whatever_consumers_it_has(node):
    queue = node.declare(b"q")
    channel, had = Channel(), []
    for _ in range(3):
        consumer = Consumer(channel)
        consumer.push = lambda tag, deliveries: had.extend(enumerate(deliveries, tag))
        queue.subscribe(consumer)
    node.publish(b"q", *numbers(10))
    assert [(tag, it.body) for tag, it in had] == list(enumerate(numbers(10), 1))
    channel.requeue(7, multiple=True)
    had.clear()
    node.run()
    assert [it.body for _, it in had] == numbers(7)


def test_consumers_of_one_channel_have_their_turns_within_its_limit(node):
    queue = node.declare(b"q")
    channel = Channel(prefetch=4)
    consumers = [Consumer(channel), Consumer(channel)]
    for it in consumers:
        queue.subscribe(it)
    node.publish(b"q", *numbers(10))
    assert [it.bodies for it in consumers] == [[b"0", b"2"], [b"1", b"3"]]


class One:
    """A consumer with so much room."""

    def __init__(self, room, channel, priority=0):
        self.room, self.channel, self.priority = room, channel, priority


class ByMessage:
    """As RabbitMQ does it: the first is asked, and goes to the end, or away until it has room.

    Those that have room again come back with the next message, in the order in which they went
    away (RabbitMQ: each at once).
    """

    def __init__(self):
        self.order, self.away = [], []

    def give(self, waiting):
        given = []
        if waiting:
            self.order += [it for it in self.away if it.room]
            self.away = [it for it in self.away if not it.room]
        while len(given) < waiting and self.order:
            it = self.order.pop(0)
            if it.room:
                it.room -= 1
                given.append(it)
                self.order.append(it)
            else:
                self.away.append(it)
        return given

    def remove(self, it):
        (self.away if it in self.away else self.order).remove(it)


def give(turns, waiting):
    """As a queue does it: many at once."""
    given = []
    while waiting:
        rooms = turns.next([(it, it.room) for it in turns.order if it.room])
        if not rooms:
            turns.none_has_room()
            break
        count = min(waiting, sum(room for _, room in rooms))
        hands = deal(count, [room for _, room in rooms])
        turns.served(rooms, hands)
        whose = {n: it for (it, _), hand in zip(rooms, hands, strict=True) for n in hand}
        for n in range(count):
            whose[n].room -= 1
            given.append(whose[n])
        waiting -= count
    return given


@given(st.data())
def test_turns_are_as_if_messages_went_one_by_one(data):
    one_by_one, turns = ByMessage(), Turns()
    pairs, waiting = [], 0
    for _ in range(data.draw(st.integers(1, 25))):
        what = data.draw(st.sampled_from(["joins", "leaves", "room", "publish", "publish"]))
        if what == "joins" or not pairs:
            room = data.draw(st.integers(0, 3))
            pairs.append((One(room, None), One(room, None)))
            one_by_one.order.append(pairs[-1][0])
            turns.add(pairs[-1][1])
        elif what == "leaves":
            theirs, ours = pairs.pop(data.draw(st.integers(0, len(pairs) - 1)))
            one_by_one.remove(theirs)
            turns.remove(ours)
        elif what == "room":
            theirs, ours = pairs[data.draw(st.integers(0, len(pairs) - 1))]
            theirs.room += 1
            ours.room += 1
        else:
            waiting += data.draw(st.integers(1, 5))
        had = one_by_one.give(waiting)
        numbered = {it: n for n, both in enumerate(pairs) for it in both}
        assert [numbered[it] for it in had] == [numbered[it] for it in give(turns, waiting)]
        waiting -= len(had)


def test_those_of_a_higher_priority_come_first_whenever_they_joined():
    low, high = [One(9, None, 0) for _ in range(2)], [One(9, None, 5) for _ in range(2)]
    turns = Turns([low[0]])
    for it in (high[0], low[1], high[1]):
        turns.add(it)
    assert turns.order == [*high, *low]
    turns.served([(it, 9) for it in high], [[0], []])
    assert turns.order == [high[1], high[0], *low]


@given(st.integers(0, 40), st.lists(st.integers(0, 9), max_size=6))
def test_room_of_a_channel_is_shared_in_turn(total, rooms):
    count = min(total, sum(rooms))
    assert shared(total, rooms) == [len(hand) for hand in deal(count, rooms)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=6))
def test_each_channel_is_sent_its_messages_ascending(those):
    consumers = [One(room, channel) for channel, room in those]
    hands = deal(sum(it.room for it in consumers), [it.room for it in consumers])
    sent = list(in_order(consumers, hands))
    for channel in range(3):
        its = [n for it, hand in sent if it.channel == channel for n in hand]
        assert its == sorted(its)
    together = [sorted(n for it, hand in sent if it is one for n in hand) for one in consumers]
    assert together == hands
