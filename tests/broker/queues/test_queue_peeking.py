"""A queue is looked at, and stays as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_parts import Channel, Consumer

from logstore.broker.queues import peeking
from logstore.broker.queues.peeking import READY, UNACKED, Spot, spot_of
from logstore.broker.queues.settlement import Settlement
from logstore.errors import Refused


def peek(node, name, begin=None, most=100, **given):
    queue = node.vhost.queue(name)
    known = []
    queue.when_open(lambda: known.append(1))
    node.run(until=lambda: known)
    return peeking.read(peeking.places(queue, begin, most), queue.limits.ttl_ms, **given)


def seen(peek):
    return [(it.record.value, it.place.state) for it in peek.messages]


@pytest.mark.parametrize("durable", [True, False])
def test_to_peek_takes_nothing(shared, durable):
    node = shared
    queue = node.declare(b"q", durable=durable)
    node.publish(b"q", b"1", b"2", b"3", content_type="text/plain")
    for _ in range(2):
        found = peek(node, b"q")
        assert seen(found) == [(b"1", READY), (b"2", READY), (b"3", READY)]
    assert (queue.ready, queue.out) == (3, 0)
    [first, *_] = found.messages
    assert first.record.key == b"q"
    assert first.shown.properties == b"\x80\0\x0atext/plain"
    assert (first.place.failures, first.place.redelivered, first.expires_ms) == (0, False, None)
    assert not node.get(b"q").delivery.redelivered


def test_messages_that_a_consumer_has_stand_among_the_others(shared):
    node = shared
    node.declare(b"q")
    node.publish(b"q", *(b"%d" % n for n in range(5)))
    channel = Channel()
    for _ in range(4):
        node.get(b"q", channel, no_ack=False)
    channel.requeue(2)
    channel.ack(3)
    node.run()
    found = peek(node, b"q")
    assert seen(found) == [(b"0", UNACKED), (b"1", READY), (b"3", UNACKED), (b"4", READY)]
    again = found.messages[1].place
    assert (again.failures, again.redelivered) == (1, True)


def test_messages_stand_by_priority_and_are_found_again_by_their_places(shared):
    node = shared
    queue = node.declare(b"q", max_priority=9)
    for number, priority in enumerate((0, 9, 4, 9)):
        node.publish(b"q", b"%d" % number, priority=priority)
    found = peek(node, b"q")
    assert [it.record.value for it in found.messages] == [b"1", b"3", b"2", b"0"]
    assert [str(it.place.spot) for it in found.messages] == ["9:0", "9:1", "4:0", "0"]
    for it in found.messages:
        place = peeking.place(queue, spot_of(str(it.place.spot)))
        assert place == it.place
    assert peeking.place(queue, Spot(9, 2)) is None
    assert peeking.place(queue, Spot(5, 0)) is None


def test_a_page_says_where_the_next_begins(shared):
    node = shared
    node.declare(b"q", max_priority=1)
    for number in range(5):
        node.publish(b"q", b"%d" % number, priority=number % 2)
    begin, found = None, []
    for _ in range(3):
        page = peek(node, b"q", begin, 2)
        found += [it.record.value for it in page.messages]
        begin = page.following
    assert found == [b"1", b"3", b"0", b"2", b"4"]
    assert begin is None


def test_large_messages_are_not_read_all_at_once(shared):
    node = shared
    node.declare(b"q")
    for number in range(3):
        node.publish(b"q", b"%d" % number * 100)
    page = peek(node, b"q", bytes_max=1)
    while page.following is not None:  # small ones of one read come together all the same
        assert page.messages
        page = peek(node, b"q", page.following, bytes_max=1)
    assert page.messages[-1].record.value == b"2" * 100


def test_it_is_said_when_a_message_expires(shared):
    node = shared
    node.declare(b"q", message_ttl=5000)
    node.publish(b"q", b"1")
    node.publish(b"q", b"2", expiration="100")
    first, second = peek(node, b"q").messages
    assert first.expires_ms == first.record.timestamp_ms + 5000
    assert second.expires_ms == second.record.timestamp_ms + 100


def test_messages_of_an_earlier_process_are_seen_where_they_are(lives):
    lives.node.declare(b"q")
    lives.node.publish(b"q", *(b"%d" % n for n in range(4)))
    channel = Channel()
    for _ in range(3):
        lives.node.get(b"q", channel, no_ack=False)
    channel.ack(2)
    lives.node.run()
    node = lives.again()
    found = peek(node, b"q")
    assert seen(found) == [(b"0", READY), (b"2", READY), (b"3", READY)]
    assert [it.place.redelivered for it in found.messages] == [True, True, False]


def test_what_is_settled_after_it_was_found_does_no_harm(shared):
    node = shared
    queue = node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    wanted = peeking.places(queue, None, 10)
    node.get(b"q")
    node.run()
    queue.stock.order[0].log.trim(1)
    found = peeking.read(wanted, None)
    assert [it.record.value for it in found.messages] in ([b"2"], [b"1", b"2"])


def test_a_consumer_that_waits_gets_its_message_before_anybody_looks(shared):
    node = shared
    queue = node.declare(b"q")
    queue.subscribe(Consumer(Channel()))
    node.run()
    node.publish(b"q", b"1")
    assert seen(peek(node, b"q")) == [(b"1", UNACKED)]


@pytest.mark.parametrize("text", ["", "x", "1:", ":1", "1:2:3", "-1", "\u0661", "9" * 20])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(Refused, match="not the position of a message"):
        spot_of(text)


@settings(max_examples=12)
@given(st.data())
def test_all_that_is_not_settled_is_told(data):
    settlement = Settlement()
    settlement.take(600, 600)
    state = dict.fromkeys(range(600), "out")
    for _ in range(data.draw(st.integers(0, 40))):
        offset = data.draw(st.sampled_from(sorted(state)))
        if state[offset] == "out" and data.draw(st.booleans()):
            settlement.settle(offset)
            del state[offset]
        elif state[offset] == "out":
            settlement.release(offset)
            state[offset] = "back"
    first = data.draw(st.integers(0, 700))
    expected = [(it, state[it] == "back") for it in sorted(state) if it >= first]
    assert list(settlement.unsettled(first)) == expected
