"""Acks, prefetch, priorities, cancels and timeouts of consumers (T18 to T20, T25, T33, T34)."""

import pytest
from amqp_kit import (
    again,
    bodies,
    consume,
    declare,
    delete,
    deliveries,
    get,
    soft,
)

from logstore.amqp import methods
from logstore.amqp.properties import Properties


def numbered(peer, count, queue="q", **arguments):
    peer.ask(declare(queue, **arguments))
    peer.publish(*[b"%d" % n for n in range(count)], key=queue)


def unknown(tag, ids=(60, 80)):
    return soft(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", ids)


@pytest.mark.parametrize("twice", [False, True])
def test_t18_a_wrong_tag_ends_the_channel_requeues_and_keeps_the_connection(door, peer, twice):
    numbered(peer, 2)
    for _ in range(2):
        peer.ask(get())
    if twice:
        peer.send(methods.BasicAck(1, False))
    assert peer.ask(methods.BasicAck(1 if twice else 7, False)) == unknown(1 if twice else 7)
    door.run()
    assert door.node.ready(b"q") == (1 if twice else 2)
    again(peer)
    assert peer.ask(get())[0].delivery_tag == 1


def test_t18_tag_0_alone_is_none_and_tags_are_each_channels_own(peer):
    numbered(peer, 1)
    peer.ask(get())
    assert peer.ask(methods.BasicAck(0, False)) == unknown(0)
    again(peer)
    peer.ask(get())
    peer.ask(methods.ChannelOpen(), channel=2)
    assert peer.ask(methods.BasicAck(1, False), channel=2) == unknown(1)


def test_t18_what_follows_our_close_is_dropped_bodies_of_publishes_too(door, peer):
    numbered(peer, 1)
    peer.ask(get())
    peer.send(methods.BasicAck(9, False), methods.BasicAck(1, False))
    peer.publish(b"dropped", b"x" * 300_000)
    peer.send(declare("dropped"))
    door.run()
    assert peer.answer() == unknown(9)
    again(peer)
    assert door.node.ready(b"q") == 1
    assert peer.ask(declare("dropped", passive=True)).reply_code == 404


def test_t19_prefetch_is_for_consumers_that_begin_later(door, peer):
    numbered(peer, 10)
    peer.ask(methods.BasicQos(0, 2, False))
    peer.send(consume(tag="first"))
    door.run()
    assert len(bodies(peer)) == 2
    peer.ask(methods.BasicQos(0, 5, False))
    door.run()
    assert bodies(peer) == []
    peer.send(consume(tag="second"))
    door.run()
    assert len(bodies(peer)) == 5


def test_t19_nothing_is_limited_by_0_and_none_without_acks(door, peer):
    numbered(peer, 500)
    peer.ask(methods.BasicQos(0, 1, False))
    peer.ask(methods.BasicQos(0, 0, False))
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 500
    numbered(peer, 500, "other")
    peer.ask(methods.BasicQos(0, 1, False))
    peer.send(consume("other", "no acks", no_ack=True))
    door.run()
    assert len(bodies(peer)) == 500


def test_t19_lowering_the_channels_limit_waits_until_less_is_out(door, peer):
    numbered(peer, 20)
    peer.ask(methods.BasicQos(0, 5, True))
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 5
    peer.ask(methods.BasicQos(0, 2, True))
    for tag in (1, 2, 3):
        peer.send(methods.BasicAck(tag, False))
        door.run()
        assert bodies(peer) == []
    peer.send(methods.BasicAck(4, False))
    door.run()
    assert bodies(peer) == [b"5"]
    peer.send(methods.BasicQos(0, 4, True))  # and raising it goes on at once
    door.run()
    assert bodies(peer) == [b"6", b"7"]
    peer.send(methods.BasicQos(0, 0, True))
    door.run()
    assert len(bodies(peer)) == 12


def test_t19_a_limit_counts_no_message_that_was_fetched(door, peer):
    numbered(peer, 4)
    peer.ask(get())
    peer.ask(methods.BasicQos(0, 1, True))
    peer.ask(get())
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"2"]
    peer.send(methods.BasicAck(2, True))
    door.run()
    assert bodies(peer) == []
    peer.send(methods.BasicAck(3, False))
    door.run()
    assert bodies(peer) == [b"3"]


def test_t19_a_limit_counts_what_was_out_before_it(door, peer):
    numbered(peer, 20)
    peer.send(consume(tag="a"))
    door.run()
    assert len(bodies(peer)) == 20
    peer.ask(methods.BasicQos(0, 3, True))
    peer.publish(b"more")
    door.run()
    assert bodies(peer) == []
    peer.send(methods.BasicAck(17, True))
    door.run()
    assert bodies(peer) == []
    peer.send(methods.BasicAck(18, False))
    door.run()
    assert bodies(peer) == [b"more"]


def test_t19_recovering_makes_room(door, peer):
    numbered(peer, 3)
    peer.ask(methods.BasicQos(0, 2, True))
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"0", b"1"]
    peer.send(methods.BasicRecover(True))
    door.run()
    assert [it[2:] for it in deliveries(peer)] == [(True, b"0"), (True, b"1")]


def test_t19_consumers_of_one_channel_have_their_turns(door, peer):
    peer.ask(declare())
    peer.ask(methods.BasicQos(0, 6, True))
    peer.send(consume(tag="a"), consume(tag="b"), consume(tag="c"))
    peer.publish(*[b"%d" % n for n in range(12)])
    door.run()
    had = deliveries(peer)
    assert [it[0] for it in had] == list("abcabc")
    assert [it[1:] for it in had] == [(n + 1, False, b"%d" % n) for n in range(6)]


def test_t19_a_prefetch_in_octets_is_not_served(peer):
    assert peer.ask(methods.BasicQos(5, 0, False)) == methods.ConnectionClose(
        540, "NOT_IMPLEMENTED - prefetch_size!=0 (5)", 60, 10
    )


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_t19_the_channels_limit_is_there_for_all_types_of_queues(door, peer, kind):
    numbered(peer, 9, durable=True, queue_type=kind)
    door.run()
    peer.ask(methods.BasicQos(0, 4, True))
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 4


def test_t20_what_a_consumer_holds_is_not_overtaken(door, peer):
    peer.ask(declare(max_priority=10))
    peer.send(consume(tag="all"))
    for priority in (1, 2, 9):
        peer.publish(b"%d" % priority, props=Properties(priority=priority))
        door.run()
    assert bodies(peer) == [b"1", b"2", b"9"]


def test_t20_one_at_a_time_the_highest_comes_first_and_keeps_its_priority(door, peer):
    peer.ask(declare(max_priority=10))
    given = [(b"none", None), (b"3", 3), (b"255 is 10", 255), (b"10", 10), (b"3 again", 3)]
    for body, priority in given:
        peer.publish(body, props=Properties(priority=priority))
    peer.ask(methods.BasicQos(0, 1, False))
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"255 is 10"]
    peer.send(methods.BasicReject(1, True))
    door.run()
    seen = []
    for tag in range(2, 7):
        seen += deliveries(peer)
        peer.send(methods.BasicAck(tag, False))
        door.run()
    assert [it[2:] for it in seen] == [
        (True, b"255 is 10"), (False, b"10"), (False, b"3"), (False, b"3 again"), (False, b"none"),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["again", "kill"])
def test_t20_the_order_outlives_the_process(door, peer, end):
    peer.ask(declare(durable=True, max_priority=255))
    for priority in (0, 7, 200, 7):
        peer.publish(b"%d" % priority, props=Properties(priority=priority))
    door.run()
    getattr(door, end)()
    peer = door.open()
    assert [peer.ask(get(no_ack=True))[-1] for _ in range(4)] == [b"200", b"7", b"7", b"0"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}"),
        ("9", '"expected integer, got longstr"'),
    ],
)  # fmt: skip
def test_t20_priorities_are_0_to_255(peer, value, fault):
    assert peer.ask(declare(max_priority=value)).reply_text == (
        f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': {fault}"
    )


def test_t25_what_a_deleted_queue_has_given_out_is_acked_without_error(door, peer):
    numbered(peer, 2)
    peer.send(consume(tag="mine"))
    door.run()
    assert len(bodies(peer)) == 2
    peer.send(delete())
    door.run()
    assert peer.methods() == [methods.QueueDeleteOk(0), methods.BasicCancel("mine", True)]
    peer.send(methods.BasicAck(1, False), methods.BasicNack(2, False, True))
    assert peer.ask(declare()) == methods.QueueDeclareOk("q", 0, 0)


def test_t25_cancelling_what_is_not_there_is_answered(peer):
    assert peer.ask(methods.BasicCancel("nobody", False)) == methods.BasicCancelOk("nobody")


def test_t33_nobody_is_timed_out_who_has_not_asked_for_it(door, peer):
    numbered(peer, 1)
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 1
    door.node.later(10**9)
    door.run()
    assert peer.all() == []


@pytest.mark.parametrize("of", ["queue", "consumer"])
def test_t33_a_timeout_returns_the_messages_and_cancels_the_consumer(door, peer, of):
    of_queue = {"consumer_timeout": 5000} if of == "queue" else {}
    of_consumer = {"consumer_timeout": 5000} if of == "consumer" else {}
    numbered(peer, 2, **of_queue)
    peer.send(consume(**of_consumer))
    door.run()
    assert len(bodies(peer)) == 2
    door.node.later(5001)
    door.run()
    assert peer.all() == [(1, methods.BasicCancel("c", True))]
    assert door.node.ready(b"q") == 2
    assert peer.ask(declare(passive=True)).consumer_count == 0


def test_t33_a_timeout_makes_room_for_the_channels_other_consumers(door, peer):
    numbered(peer, 1, consumer_timeout=5000)
    numbered(peer, 1, queue="r")
    peer.send(methods.BasicQos(0, 1, True), consume())
    door.run()
    peer.send(consume("r", "d"))
    door.run()
    assert [it[0] for it in deliveries(peer)] == ["c"]
    door.node.later(5001)
    door.run()
    assert [it[0] for it in deliveries(peer)] == ["d"]


def test_t33_a_client_that_cannot_be_told_otherwise_loses_its_channel(door):
    deaf = door.open(capabilities={})
    numbered(deaf, 1, consumer_timeout=5000)
    deaf.send(consume())
    door.run()
    assert len(bodies(deaf)) == 1
    door.node.later(5001)
    door.run()
    assert deaf.answer() == soft(
        406,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value "
        "used: 5000 ms. This timeout value can be configured, see consumers doc guide to learn "
        "more",
        (0, 0),
    )
    assert deaf.session.closed is None
    assert door.node.ready(b"q") == 1


EXCLUSIVE = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"


def test_t34_an_exclusive_consumer_is_alone(door, peer):
    peer.ask(declare())
    peer.ask(consume(exclusive=True))
    other = door.open()
    for asked in (consume(), consume(exclusive=True)):
        assert other.ask(asked) == soft(403, EXCLUSIVE, (60, 20))
        again(other)
    peer.ask(methods.BasicCancel("c", False))
    assert other.ask(consume()) == methods.BasicConsumeOk("c")
    assert peer.ask(consume(exclusive=True)) == soft(403, EXCLUSIVE, (60, 20))


def test_t34_a_quorum_queue_has_exclusive_consumers_too(door, peer):
    peer.ask(declare(durable=True, queue_type="quorum"))
    peer.ask(consume(exclusive=True))
    assert door.open().ask(consume()) == soft(403, EXCLUSIVE, (60, 20))


def test_t34_of_single_active_consumers_the_next_begins_with_what_the_old_one_had(door, peer):
    peer.ask(declare(single_active_consumer=True))
    others = [door.open() for _ in range(2)]
    peer.ask(methods.BasicQos(0, 2, False))
    peer.send(consume(tag="first"))
    for it, tag in zip(others, ("second", "third"), strict=True):
        it.send(consume(tag=tag))
    peer.publish(b"1", b"2", b"3")
    door.run()
    assert bodies(peer) == [b"1", b"2"]
    assert [bodies(it) for it in others] == [[], []]
    peer.end()
    door.run()
    assert deliveries(others[0]) == [
        ("second", 1, True, b"1"), ("second", 2, True, b"2"), ("second", 3, False, b"3"),
    ]  # fmt: skip
    assert bodies(others[1]) == []


def test_t34_the_next_one_is_that_of_the_highest_priority(door, peer):
    peer.ask(declare(single_active_consumer=True))
    peer.ask(consume(tag="first"))
    low, high = door.open(), door.open()
    low.ask(consume(tag="low", priority=1))
    high.ask(consume(tag="high", priority=2))
    peer.publish(b"1")
    door.run()
    assert bodies(peer) == [b"1"]  # who is active stays so
    peer.send(methods.BasicAck(1, False), methods.BasicCancel("first", False))
    peer.publish(b"2")
    door.run()
    assert (bodies(high), bodies(low)) == ([b"2"], [])


def test_t34_single_active_consumers_are_not_exclusive_and_nobody_fetches(peer):
    peer.ask(declare(single_active_consumer=True))
    assert peer.ask(consume(exclusive=True)) == soft(403, EXCLUSIVE, (60, 20))
    again(peer)
    assert peer.ask(get()) == soft(
        405,
        "RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get "
        "operations are not supported by classic queues with single active consumer",
        (60, 70),
    )
