"""The owner's end of a link: who is let in, what a node may not do, and what is held for it."""

import random

import pytest
from relay_kit import FarChannel, FarClient, Joined

from logstore.errors import ClusterUnreachable
from logstore.protocols.relay import lending
from logstore.relay.messages import (
    EARLY_BYTES_MAX,
    FRAME_BYTES_MAX,
    Answer,
    Credit,
    Get,
    Look,
    Purge,
    Reject,
    Release,
    Settle,
    Subscribe,
    Unsubscribe,
    framed,
)
from logstore.relay.talk import ANSWER_S, BEGIN_S, PING_S, WrongSecret
from logstore.slices import Slices


@pytest.fixture
def open_(joined):
    joined.connect()
    return joined


def put(joined, *messages):
    """As a node that does not keep to what is agreed."""
    joined.there += b"".join(b"".join(framed(it)) for it in messages)
    joined.send()
    joined.node.run()


def subscribe(joined, id=10, below=100, **given):
    wanted = joined.wanted()
    asked = Subscribe(id, *wanted, b"tag", b"channel", False, 0, 0, None, bytes(4), below)
    return asked._replace(**given)


# Who is let in


def test_another_secret_is_held_back_and_told_in_one_line(joined):
    joined.connect(secret=b"another", run=False)
    for _ in range(2):
        joined.send()
        joined.take()
    assert isinstance(joined.session.talk.failure, WrongSecret)
    assert joined.session.closed is None
    assert joined.session.deadline == joined.now + 1
    joined.there = b"more"
    assert joined.send() == 4  # nobody reads it
    joined.now += 1
    joined.session.wake(joined.now)
    assert "another secret" in joined.session.closed
    assert "\n" not in joined.session.closed
    joined.take()
    assert "different secrets" in str(joined.talk.failure)


def test_whoever_guesses_is_answered_later_and_later(joined):
    delays = []
    for _ in range(3):
        joined.connect(secret=b"another", run=False)
        for _ in range(2):
            joined.send()
            joined.take()
        delays.append(joined.session.deadline - joined.now)
        joined.cut()
    # Each of these links has another port, and all have one address.
    assert delays == [1, 2, 2]


def test_whoever_says_nothing_is_closed(joined):
    joined.connect(run=False)
    joined.session.wake(joined.now)
    joined.now = joined.session.deadline
    assert joined.now == 100 + BEGIN_S
    joined.session.wake(joined.now)
    assert "has not come to terms" in joined.session.closed


def test_a_node_that_is_frozen_is_noticed(open_, queue):
    open_.consume()
    open_.node.publish(b"q", b"one")
    open_.run()
    assert queue.out == 1
    open_.now += PING_S
    open_.session.wake(open_.now)
    open_.now += ANSWER_S
    open_.session.wake(open_.now)
    open_.node.run()
    assert "has sent nothing" in open_.session.closed
    assert (queue.ready, queue.out, queue.subscriptions) == (1, 0, [])


def test_what_was_not_read_yet_is_a_sign_of_life(open_):
    open_.now += PING_S
    open_.session.wake(open_.now)
    open_.now += ANSWER_S
    open_.link.unread = 10
    open_.session.wake(open_.now)
    assert open_.session.closed is None


@pytest.mark.parametrize("size", [0, -1, EARLY_BYTES_MAX + 1, FRAME_BYTES_MAX])
def test_a_stranger_sends_no_long_message(joined, size):
    joined.connect(run=False)
    joined.session.receive(memoryview(size.to_bytes(4, signed=True)), joined.now)
    assert f"a message of {size} bytes" in joined.session.closed


def test_a_message_over_the_bound_ends_the_link(open_):
    open_.there = (FRAME_BYTES_MAX + 1).to_bytes(4)
    open_.send()
    assert "a message of" in open_.session.closed


def test_a_message_that_has_begun_says_how_long_it_is(open_):
    assert open_.session.wants == 0
    open_.session.receive(memoryview((1000).to_bytes(4) + b"x"), open_.now)
    assert open_.session.wants == 1004


def test_a_node_has_one_link_and_what_it_had_by_the_one_before_goes_back_first(open_, queue):
    open_.door.slices = Slices(open_.node.soon)
    for _ in range(400):
        open_.subscribe(FarClient())
    open_.run()
    old, old_talk = open_.session, open_.talk
    assert len(queue.subscriptions) == 400
    open_.owner.lost(ClusterUnreachable("cut"))  # which the owner does not know
    open_.connect(run=False)
    for _ in range(2):
        open_.send()
        open_.take()
    assert open_.owner.ready
    assert "by another link" in old.closed
    assert 0 < len(queue.subscriptions) < 400
    client = open_.subscribe(FarClient(exclusive=True))
    assert open_.send() == 0  # it waits
    open_.run()
    assert client.told == [None]
    assert len(queue.subscriptions) == 1
    assert open_.door.ending == {}
    assert old_talk.failure is None
    old.close()


def test_links_of_other_nodes_stay(open_):
    first = open_.session
    open_.connect(me=b"third")
    assert first.closed is None
    first.close()


def test_a_turn_takes_no_longer_than_it_may(open_, queue):
    seconds = iter(range(1000))
    open_.door.stopwatch = lambda: float(next(seconds))
    put_ = b"".join(framed(Purge(100 + n, b"/", b"q", queue.id))[0] for n in range(5))
    for left in range(4, -1, -1):
        taken = open_.session.receive(memoryview(put_), open_.now)
        put_ = put_[taken:]
        assert len(put_) == left * taken
        assert open_.node.turns.left  # it has itself woken


# What a node may not do


@pytest.mark.parametrize(
    "given",
    [
        [Settle(10, ((1, 1),))],
        [Settle(99, ((1, 1),))],
        [Release(10, True, ((1, 2),))],
        [Reject(10, ((1 << 40, 1),))],
        [Credit(10, 5, 0)],
        [Credit(10, 5, 2)],
        [Credit(99, 5, 1)],
        [Unsubscribe(99)],
        [Answer(10, b"")],
        [Look(10, b"/", b"q", 1)],  # a number that it has used
        [Get(20, 10, b"/", b"q", 1)],  # out as what is a consumer
        [Get(20, 15, b"/", b"q", 1), Get(21, 16, b"/", b"q", 1)],
    ],
)
def test_what_makes_no_sense_ends_the_link(open_, queue, given):
    put(open_, subscribe(open_))
    assert open_.session.closed is None
    assert len(queue.subscriptions) == 1
    put(open_, *given)
    assert open_.session.closed
    assert queue.subscriptions == []


@pytest.mark.parametrize("arguments", [b"", b"\0\0\0\5x", bytes(5)])
def test_arguments_that_are_none_end_the_link(open_, queue, arguments):
    put(open_, subscribe(open_, arguments=arguments))
    assert open_.session.closed
    assert queue.subscriptions == []


def test_what_is_settled_twice_is_settled_once(open_, queue):
    put(open_, subscribe(open_))
    open_.node.publish(b"q", b"one", b"two", b"three")
    open_.node.run()
    held = open_.session._lending
    assert held.out == 3
    put(open_, Settle(10, ((1, 2),)), Settle(10, ((1, 3),)))
    assert open_.session.closed is None
    assert (queue.ready, queue.out, held.out, queue.counts.acked) == (0, 0, 0, 3)


def test_a_node_has_so_many_consumers_at_the_most(open_, monkeypatch):
    monkeypatch.setattr(lending, "CONSUMERS_MAX", 2)
    told = [open_.subscribe(FarClient()).told for _ in range(3)]
    open_.run()
    assert told[:2] == [[None], [None]]
    assert "2 consumers" in str(told[2][0])


def test_a_node_has_so_many_messages_at_the_most(open_, queue, monkeypatch):
    monkeypatch.setattr(lending, "OUT_MAX", 2)
    client = open_.consume()
    open_.node.publish(b"q", b"1", b"2")
    open_.node.publish(b"q", b"3")
    open_.run()
    assert (len(client.had), queue.ready) == (2, 1)
    client.channel.ack(1)
    open_.run()
    assert (len(client.had), queue.ready) == (3, 0)


def test_a_node_has_so_many_questions_at_the_most(node, queue, monkeypatch):
    monkeypatch.setattr(lending, "ASKS_MAX", 2)
    waiting = []
    joined = Joined(node, asked={1: lambda _, __, then: waiting.append(then)})
    joined.connect()
    told = []
    for _ in range(3):
        joined.owner.ask(1, b"", told.append)
    joined.run()
    assert "more than 2 things" in joined.session.closed
    joined.cut()
    waiting[0](b"late")
    assert [type(it) for it in told] == [ClusterUnreachable] * 3


def test_what_is_held_is_counted(open_, queue):
    empty = open_.session.held_bytes
    client = open_.consume()
    open_.node.publish(b"q", *[bytes(1000)] * 10)
    open_.node.run()
    assert open_.session.held_bytes >= empty + 10_000
    open_.run()
    assert open_.session.held_bytes >= empty + 10 * lending.OUT_BYTES
    client.channel.ack(0, multiple=True)
    open_.owner.unsubscribe(client.far)
    open_.run()
    assert open_.session.held_bytes == empty


def test_a_consumer_of_hundreds_ends_with_its_link_a_slice_at_a_time(open_, node, queue):
    open_.door.slices = Slices(node.soon)
    for _ in range(400):
        open_.subscribe(FarClient())
    open_.run()
    assert len(queue.subscriptions) == 400
    open_.cut()
    assert 0 < len(queue.subscriptions) < 400
    node.run()
    assert queue.subscriptions == []


def test_a_message_that_was_fetched_for_a_node_that_is_gone_goes_back(open_, node, monkeypatch):
    queue = node.vhost.queue(b"q")
    node.publish(b"q", b"one")
    asked = []
    monkeypatch.setattr(type(queue), "get", lambda _, *given: asked.append(given))
    open_.owner.get(open_.wanted(), open_.away, FarChannel(), False, lambda _: None)
    open_.run()
    monkeypatch.undo()
    open_.cut()
    queue.get(*asked[0])
    node.run()
    assert (queue.ready, queue.out) == (1, 0)


def test_a_long_message_is_not_copied_once_more(open_, queue):
    open_.consume()
    open_.node.publish(b"q", b"short", bytes(200_000), b"short", b"short")
    open_.node.run()
    pieces = open_.session.outgoing(1 << 20)
    assert max(map(len, pieces)) > 200_000
    assert len(pieces) <= 3
    open_.back.data += b"".join(pieces)
    open_.run()
    assert queue.out == 4


# Its end


@pytest.mark.parametrize("end", ["leave", "finish", "close", "end_by"])
def test_all_that_is_out_goes_back_however_it_ends(open_, queue, end):
    open_.consume()
    open_.node.publish(b"q", b"one")
    open_.run()
    session = open_.session
    match end:
        case "leave":
            assert not session.leave(open_.now)
        case "finish":
            session.finish(open_.now)
        case "end_by":
            session.end_by("an operator says so")
        case "close":
            session.close()
    open_.node.run()
    assert session.closed is not None
    assert (queue.ready, queue.out, queue.subscriptions) == (1, 0, [])
    open_.take()
    assert open_.talk.failure is not None
    session.close()


def test_people_are_told_who_it_is(open_, queue):
    open_.consume()
    open_.node.publish(b"q", b"one")
    open_.run()
    about = open_.session.about()
    assert (about.client, about.state) == ("asker", "open")
    assert about.facts == {"consumers": 1, "unacked": 1, "questions": 0}
    [lent] = queue.subscriptions
    assert lent.channel.name == FarChannel.name


# Bytes


def test_any_bytes_end_the_link_at_the_worst(node, queue):
    """Of a node that has shown that it has the secret, with bytes of its own."""
    print("seed 1")
    drawn = random.Random(1)
    joined = Joined(node)
    for _ in range(60):
        joined.connect()
        node.publish_soon(b"q", b"one", b"two")
        good = [
            subscribe(joined, 1000), Credit(1000, 50, 1), Settle(1000, ((1, 1),)),
            Release(1000, False, ((2, 1),)), Get(1001, 999, b"/", b"q", queue.id),
            Look(1002, b"/", b"q", queue.id), Purge(1003, b"/", b"q", queue.id),
        ]  # fmt: skip
        data = bytearray(b"".join(b"".join(framed(it)) for it in good))
        for _ in range(drawn.randint(0, 3)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        at = drawn.randrange(len(data))
        for some in data[:at], data[at:]:
            joined.there += bytes(some)
            joined.send()
            joined.node.run()
        joined.session.outgoing(1 << 20)
        joined.cut()
        node.run()
        assert (queue.out, queue.subscriptions) == (0, [])
