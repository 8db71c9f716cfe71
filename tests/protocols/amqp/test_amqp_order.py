"""In which order things happen on a channel, as programs written for RabbitMQ rely on it."""

import pytest
from amqp_kit import consume, declare, get, message

from logstore.amqp import methods
from logstore.amqp.frames import method_frame


def bodies(peer):
    return [it[3] for it in peer.all() if isinstance(it[1], methods.BasicDeliver)]


def fetched(peer, queue="q"):
    """The body of the next message that is ready; None where there is none."""
    found = peer.ask(get(queue, no_ack=True))
    return None if isinstance(found, methods.BasicGetEmpty) else found[2]


@pytest.mark.parametrize("durable", [False, True])
def test_a_message_that_a_consumer_waits_for_is_not_there_to_be_fetched(door, peer, durable):
    peer.ask(declare(durable=durable))
    peer.ask(consume())
    peer.give(message(b"x") + method_frame(1, get()))
    door.run()
    (_, first, *_), (_, second) = sorted(peer.all(), key=len, reverse=True)
    assert isinstance(first, methods.BasicDeliver)
    assert second == methods.BasicGetEmpty()


def test_a_message_that_a_consumer_waits_for_is_not_counted_as_ready(door, peer):
    peer.ask(declare())
    peer.ask(consume(no_ack=True))
    for method in (declare(passive=True), methods.QueuePurge(0, "q", False),
                   methods.QueueDelete(0, "q", False, True, False)):  # fmt: skip
        peer.give(message(b"x") + method_frame(1, method))
        door.run()
        answer = next(it[1] for it in peer.all() if not isinstance(it[1], methods.BasicDeliver))
        assert answer.message_count == 0


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("limit", [{"max_length": 2}, {"max_length_bytes": 2}])
def test_what_is_over_the_limit_is_gone_when_the_next_is_fetched(door, peer, durable, limit):
    peer.ask(declare(durable=durable, **limit))
    peer.give(b"".join(message(b"%d" % n) for n in range(5)) + method_frame(1, get(no_ack=True)))
    door.run()
    ((_, got, _, body),) = peer.all()
    assert (body, got.message_count) == (b"3", 1)


def test_what_is_requeued_over_the_limit_is_gone_when_the_next_is_fetched(peer):
    peer.ask(declare(max_length=1))
    peer.publish(b"1")
    peer.ask(get())
    peer.publish(b"2")
    peer.send(methods.BasicNack(1, False, True))
    peer.give(method_frame(1, get()))
    assert [(it[1].message_count, it[3]) for it in peer.all()] == [(0, b"2")]


def test_who_fetched_before_a_consumer_came_gets_the_message(door, peer):
    peer.ask(declare(durable=True))
    peer.publish(b"1")
    peer.send(get(), consume())
    door.run()
    assert [type(it[1]) for it in peer.all()] == [methods.BasicGetOk, methods.BasicConsumeOk]


def test_who_deletes_a_queue_is_answered_before_its_consumers_are_cancelled(door, peer):
    for nowait in (False, True):
        peer.ask(declare(durable=True))
        peer.ask(consume(tag="c"))
        peer.send(methods.QueueDelete(0, "q", False, False, nowait))
        door.run()
        answer = [] if nowait else [methods.QueueDeleteOk(0)]
        assert peer.methods() == [*answer, methods.BasicCancel("c", True)]


def test_t35_what_is_acknowledged_and_not_committed_does_not_come_again(door, peer):
    peer.ask(declare())
    peer.publish(*[b"%d" % n for n in range(5)])
    peer.ask(methods.TxSelect())
    for _ in range(5):
        peer.ask(get())
    peer.send(methods.BasicAck(2, True), methods.BasicNack(4, False, True))
    assert peer.ask(methods.BasicRecover(True)) == methods.BasicRecoverOk()
    assert [fetched(peer) for _ in range(3)] == [b"2", b"4", None]
    peer.ask(methods.TxCommit())
    assert [fetched(peer) for _ in range(2)] == [b"3", None]


@pytest.mark.parametrize("given", [None, "high", True, 1.5, [1], {}])
@pytest.mark.parametrize("argument", ["priority", "consumer_timeout"])
def test_an_argument_of_a_consumer_that_is_no_number_is_refused(peer, given, argument):
    peer.ask(declare())
    assert peer.ask(consume(**{argument: given})).reply_code == 406


def test_t19_queues_take_turns_at_a_channel_that_is_full(door, peer):
    for name in "abc":
        peer.ask(declare(name))
        peer.publish(*[b"%s%d" % (name.encode(), n) for n in range(4)], key=name)
    peer.ask(methods.BasicQos(0, 1, True))
    peer.send(*[consume(name, name) for name in "abc"])
    order = []
    for tag in range(1, 13):
        door.run()
        order += bodies(peer)
        peer.send(methods.BasicAck(tag, tag % 2 == 0))
    assert len(order) == 12
    for name in b"abc":  # none has had two more than another, and each its own in order
        assert [it for it in order if it[0] == name] == [b"%c%d" % (name, n) for n in range(4)]
    for n in range(3, 13, 3):
        assert sorted(it[0] for it in order[n - 3 : n]) == sorted(b"abc")


def test_t19_a_full_channel_gets_nothing_that_needs_no_acknowledgement(door, peer):
    peer.ask(declare("a")), peer.ask(declare("b"))
    peer.ask(methods.BasicQos(0, 1, True))
    peer.send(consume("a", "a"), consume("b", "b", no_ack=True))
    peer.publish(b"a1", b"a2", key="a")
    door.run()
    peer.publish(b"b1", b"b2", key="b")
    door.run()
    assert bodies(peer) == [b"a1"]
    peer.send(methods.BasicAck(0, True))
    door.run()
    assert bodies(peer) == [b"b1", b"b2", b"a2"]  # and they take no room of it


def test_t19_what_was_fetched_takes_no_room_of_the_channel(door, peer):
    peer.ask(declare())
    peer.publish(*[b"%d" % n for n in range(4)])
    peer.ask(methods.BasicQos(0, 1, True))
    peer.ask(get()), peer.ask(get())
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"2"]


def test_t13_a_passive_declare_renews_the_time_of_a_queue(door, peer):
    peer.ask(declare(expires=1000))
    for _ in range(3):
        door.node.later(750)
        door.run()
        assert isinstance(peer.ask(declare(passive=True)), methods.QueueDeclareOk)
    door.node.later(1001)
    door.run()
    assert peer.ask(declare(passive=True)).reply_code == 404
