"""What other brokers lost or brought back on disk (T36), and dead letters over a kill (T10).

Of the disk that is taken: ``tests/broker/queues/test_queue_trimming.py``, ``tests/upkeep``.
"""

import pytest
from amqp_kit import bodies, consume, declare, delete, get

from logstore.amqp import methods

ENDS = ["again", "kill"]


def filled(door, count=5, **arguments):
    peer = door.open()
    peer.ask(declare(durable=True, **arguments))
    peer.publish(*[b"%d" % n for n in range(count)])
    door.run()
    return peer


@pytest.mark.parametrize("end", ENDS)
def test_t36_a_purge_of_what_came_back_outlives_the_process(door, end):
    """LavinMQ PR#2247: it was there again."""
    peer = filled(door)
    for _ in range(3):
        peer.ask(get())
    peer.ask(methods.BasicRecover(True))
    assert peer.ask(methods.QueuePurge(0, "q", False)) == methods.QueuePurgeOk(5)
    peer.publish(b"new")
    door.run()
    getattr(door, end)()
    peer = door.open()
    assert peer.ask(declare(passive=True)).message_count == 1
    assert peer.ask(get())[-1] == b"new"


@pytest.mark.parametrize("end", ENDS)
def test_t36_a_purge_leaves_what_is_out_and_that_comes_again(door, end):
    peer = filled(door)
    peer.ask(get())
    assert peer.ask(methods.QueuePurge(0, "q", False)) == methods.QueuePurgeOk(4)
    door.run()
    getattr(door, end)()
    peer = door.open()
    assert peer.ask(get())[-1] == b"0"
    assert peer.ask(get()) == methods.BasicGetEmpty("")


@pytest.mark.parametrize("end", ENDS)
def test_t36_settlements_of_a_deleted_queue_are_not_those_of_the_next_of_its_name(door, end):
    """LavinMQ#1866: orphaned acks hid new messages."""
    peer = filled(door)
    for tag in range(1, 4):
        peer.ask(get())
        peer.send(methods.BasicAck(tag, False))
    door.run()
    peer.ask(delete())
    assert peer.ask(declare(durable=True)) == methods.QueueDeclareOk("q", 0, 0)
    peer.publish(*[b"new %d" % n for n in range(5)])
    door.run()
    getattr(door, end)()
    peer = door.open()
    found = [peer.ask(get(no_ack=True))[-1] for _ in range(5)]
    assert found == [b"new %d" % n for n in range(5)]


def test_t36_acks_that_are_on_the_wire_when_the_server_stops_count(door):
    """LavinMQ#2199: they were dropped, and the messages came again."""
    peer = filled(door)
    peer.send(consume())
    door.run()
    assert len(bodies(peer)) == 5
    assert peer.session.leave(door.now)  # it stops: nothing more is delivered
    peer.send(*[methods.BasicAck(tag, False) for tag in range(1, 4)])
    door.now = peer.session.deadline
    peer.look()
    assert peer.methods()[-1].reply_code == 320
    door.run()
    door.again()
    peer = door.open()
    assert [peer.ask(get(no_ack=True))[-1] for _ in range(2)] == [b"3", b"4"]
    assert peer.ask(get()) == methods.BasicGetEmpty("")


@pytest.mark.parametrize("end", ENDS)
def test_t36_redelivered_and_the_order_outlive_the_process(door, end):
    peer = filled(door)
    for _ in range(3):
        peer.ask(get())
    peer.send(methods.BasicNack(2, False, True), methods.BasicAck(1, False))
    door.run()
    getattr(door, end)()
    peer = door.open()
    found = [peer.ask(get(no_ack=True)) for _ in range(4)]
    assert [it[-1] for it in found] == [b"1", b"2", b"3", b"4"]
    assert [it[0].redelivered for it in found[:2]] == [True, True]
    if end == "again":
        assert [it[0].redelivered for it in found[2:]] == [False, False]


@pytest.mark.parametrize("end", ENDS)
def test_t10_a_dead_letter_is_there_once_it_has_left_its_queue(door, end):
    peer = door.open()
    peer.ask(declare("dead", durable=True))
    filled(door, dead_letter_exchange="", dead_letter_routing_key="dead")
    for tag in range(1, 4):
        peer.ask(get())
        peer.send(methods.BasicReject(tag, False))
    door.run()
    getattr(door, end)()
    peer = door.open()
    assert peer.ask(declare("dead", passive=True)).message_count == 3
    assert peer.ask(declare(passive=True)).message_count == 2
