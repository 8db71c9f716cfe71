"""What clients trip over when messages come back: order, counts, limits (T1 to T5, T37)."""

import pytest
from amqp_kit import (
    bodies,
    consume,
    declare,
    deliveries,
    get,
    headers,
    message,
)

from logstore.amqp import fields, methods, properties
from logstore.amqp.properties import Properties

DEAD = {"dead_letter_exchange": "", "dead_letter_routing_key": "dead"}
WAYS = ["nack", "reject", "recover", "close", "lost"]


def five(peer, **arguments):
    """A queue with the messages 1 to 5."""
    peer.ask(declare(**arguments))
    peer.publish(b"1", b"2", b"3", b"4", b"5")


def give_back(peer, how, tag):
    """The one message that is out."""
    match how:
        case "nack":
            peer.send(methods.BasicNack(tag, False, True))
        case "reject":
            peer.send(methods.BasicReject(tag, True))
        case "recover":
            peer.ask(methods.BasicRecover(True))
        case "close":
            peer.ask(methods.ChannelClose(200, "", 0, 0))
            peer.ask(methods.ChannelOpen())
        case "lost":
            peer.end()


@pytest.mark.parametrize("kind", [{}, {"queue_type": "quorum"}])
def test_t1_a_requeued_message_is_the_next_that_anybody_gets(door, peer, kind):
    five(peer, **kind)
    peer.ask(methods.BasicQos(0, 3, False))
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"1", b"2", b"3"]
    peer.send(methods.BasicNack(2, False, True))
    door.run()
    assert deliveries(peer) == [("c", 4, True, b"2")]
    peer.send(methods.BasicAck(1, False))
    door.run()
    assert deliveries(peer) == [("c", 5, False, b"4")]


def test_t1_several_that_come_back_at_once_come_in_their_order(door, peer):
    five(peer)
    peer.ask(methods.BasicQos(0, 4, False))
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"1", b"2", b"3", b"4"]
    peer.send(methods.BasicNack(3, True, True))
    door.run()
    assert [it[2:] for it in deliveries(peer)] == [(True, b"1"), (True, b"2"), (True, b"3")]
    peer.send(methods.BasicNack(0, True, True))
    door.run()
    assert bodies(peer) == [b"1", b"2", b"3", b"4"]


def test_t1_what_was_fetched_goes_back_to_its_place_behind_what_is_older(door, peer):
    five(peer)
    for _ in range(3):
        peer.ask(get())
    peer.send(methods.BasicNack(3, False, True), methods.BasicNack(1, False, True))
    found = [peer.ask(get(no_ack=True)) for _ in range(4)]
    assert [(it[0].redelivered, it[-1]) for it in found] == [
        (True, b"1"), (True, b"3"), (False, b"4"), (False, b"5"),
    ]  # fmt: skip


def test_t2_a_cancelled_consumer_keeps_its_messages_and_may_ack_them(door, peer):
    five(peer)
    peer.ask(methods.BasicQos(0, 2, False))
    peer.send(consume())
    door.run()
    assert bodies(peer) == [b"1", b"2"]
    assert peer.ask(methods.BasicCancel("c", False)) == methods.BasicCancelOk("c")
    peer.publish(b"6")
    assert peer.ask(declare(passive=True)) == methods.QueueDeclareOk("q", 4, 0)
    peer.send(methods.BasicAck(1, False))
    assert peer.ask(methods.BasicRecover(True)) == methods.BasicRecoverOk()
    assert peer.ask(get())[-1] == b"2"


def test_t2_nothing_is_delivered_behind_cancel_ok(door, peer):
    five(peer)
    peer.send(consume(), methods.BasicCancel("c", False))
    door.run()
    peer.publish(b"6")
    door.run()
    found = peer.methods()
    ok = found.index(methods.BasicCancelOk("c"))
    assert not [it for it in found[ok:] if isinstance(it, methods.BasicDeliver)]


@pytest.mark.parametrize("how", WAYS)
def test_t3_every_way_to_give_a_message_back_counts(door, peer, how):
    peer.ask(declare(delivery_limit=5))
    peer.publish(b"x")
    for tag in range(1, 4):
        if peer.over:
            peer = door.open()
        method, data, _ = peer.ask(get())
        assert (headers(data) or {}).get("x-delivery-count") == (tag - 1 or None)
        give_back(peer, how, method.delivery_tag)
        door.run()


def test_t3_a_server_that_stops_counts_nothing(door, peer):
    peer.ask(declare(durable=True, delivery_limit=5))
    peer.publish(b"x")
    peer.ask(get())
    assert peer.session.leave(door.now)
    door.again()
    peer = door.open()
    method, data, body = peer.ask(get())
    assert (method.redelivered, headers(data), body) == (True, None, b"x")


def test_t4_the_count_is_absent_at_first_and_then_a_long(peer):
    peer.ask(declare())
    peer.publish(b"x", props=Properties(headers={"mine": "yes"}, message_id="7"))
    method, data, _ = peer.ask(get())
    assert (method.redelivered, headers(data)) == (False, {"mine": "yes"})
    for count in (1, 2):
        peer.send(methods.BasicNack(count, False, True))
        method, data, _ = peer.ask(get())
        found = properties.read(data)
        assert (method.redelivered, found.message_id) == (True, "7")
        assert found.headers == {"mine": "yes", "x-delivery-count": count}
        assert fields.KINDS[type(found.headers["x-delivery-count"])] == "l"


def test_t4_a_count_that_a_client_sends_is_of_an_earlier_life(peer):
    peer.ask(declare(delivery_limit=2))
    peer.publish(b"x", props=Properties(headers={"x-delivery-count": fields.Long(7)}))
    seen = []
    for tag in (1, 2, 3):
        seen.append(headers(peer.ask(get())[1])["x-delivery-count"])
        peer.send(methods.BasicNack(tag, False, True))
    assert seen == [7, 1, 2]
    assert peer.ask(get()) == methods.BasicGetEmpty("")


@pytest.mark.parametrize(("limit", "times"), [(0, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("dead", [{}, DEAD])
def test_t5_the_limit_acts_at_the_return_and_not_at_the_next_delivery(
    door, peer, limit, times, dead
):
    peer.ask(declare("dead"))
    peer.ask(declare(delivery_limit=limit, **dead))
    peer.publish(b"x")
    for tag in range(1, times + 1):
        assert peer.ask(get())[-1] == b"x"
        peer.send(methods.BasicReject(tag, True))
    door.run()
    assert (door.node.ready(b"q"), door.node.ready(b"dead")) == (0, bool(dead))
    if dead:
        (death,) = headers(peer.ask(get("dead"))[1])["x-death"]
        assert (death["reason"], death["count"]) == ("delivery_limit", 1)


@pytest.mark.parametrize("limit", [{}, {"delivery_limit": -1}, {"queue_type": "quorum"}])
def test_t5_without_a_limit_a_message_comes_back_for_ever(peer, limit):
    peer.ask(declare(**limit))
    peer.publish(b"x")
    for tag in range(1, 31):
        assert peer.ask(get())[-1] == b"x"
        peer.send(methods.BasicReject(tag, True))
    assert headers(peer.ask(get())[1])["x-delivery-count"] == 30


@pytest.mark.parametrize("end", ["again", "kill"])
def test_t5_the_count_outlives_the_process(door, peer, end):
    peer.ask(declare(durable=True, delivery_limit=2, **DEAD))
    peer.publish(b"x")
    for tag in (1, 2):
        peer.ask(get())
        peer.send(methods.BasicReject(tag, True))
        door.run()
    getattr(door, end)()
    peer = door.open()
    method, data, _ = peer.ask(get())
    assert (method.redelivered, headers(data)["x-delivery-count"]) == (True, 2)
    peer.send(methods.BasicReject(1, True))
    door.run()
    assert door.node.ready(b"q") == 0


def test_t5_with_many_in_hand_a_lost_connection_counts_for_all_of_them(door, peer):
    peer.ask(declare(delivery_limit=0))
    peer.publish(b"1", b"2", b"3", b"4")
    peer.ask(methods.BasicQos(0, 3, False))
    peer.send(consume())
    door.run()
    peer.end()
    door.run()
    assert door.node.ready(b"q") == 1


def test_t37_who_nacks_for_ever_gets_one_round_in_a_turn_and_others_their_answers(door, peer):
    peer.ask(declare())
    peer.publish(b"x")
    peer.ask(methods.BasicQos(0, 1, False))
    other = door.open()
    peer.send(consume())
    rounds = 0
    for _ in range(200):
        door.node.step()
        had = deliveries(peer)
        assert len(had) <= 1  # not within the same read, nor the same turn
        for _, tag, _, _ in had:
            rounds += 1
            peer.send(methods.BasicNack(tag, False, True))
        other.send(methods.AccessRequest(""))
        assert other.all() == [(1, methods.AccessRequestOk(1))]  # at once, in each turn
    assert rounds > 50
    assert peer.ask(methods.BasicCancel("c", False))
    door.run()
    assert door.node.ready(b"q") + len(peer.session.channels[1].unacked) == 1  # never dropped


def test_t37_a_read_full_of_nacks_is_no_more_work_than_its_frames(door, peer):
    peer.ask(declare())
    peer.give(b"".join(message(b"%d" % n) for n in range(300)))
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 300
    peer.send(*[methods.BasicNack(n, False, True) for n in range(1, 301)])
    assert bodies(peer) == []  # they come in the next turn
    door.run()
    assert bodies(peer) == [b"%d" % n for n in range(300)]
