"""What the RabbitMQ door counts of publishes, confirms and channels."""

import pytest
from amqp_kit import Door, consume, declare

from logstore.amqp import methods
from logstore.amqp.properties import Properties


@pytest.fixture
def door(node):
    made = Door(None, node=node)
    yield made
    made.close()


def counted(door):
    counts = door.door.counts
    return {it: value for it in counts.__slots__ if (value := getattr(counts, it))}


def test_what_is_published_is_counted_by_what_becomes_of_it(door):
    peer = door.open()
    peer.ask(declare("counted", exclusive=True))
    peer.publish(b"1", b"2", b"3", key="counted")
    peer.publish(b"4", key="nowhere")
    peer.publish(b"5", key="nowhere", mandatory=True)
    door.run()
    found = counted(door)
    assert (found["received"], found["routed"]) == (5, 3)
    assert (found["dropped"], found["returned"]) == (1, 1)
    assert "received_confirm" not in found


def test_confirms_are_counted(door):
    peer = door.open()
    peer.ask(declare("counted", exclusive=True))
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"1", b"2", key="counted")
    door.run()
    found = counted(door)
    assert (found["received"], found["received_confirm"], found["confirmed"]) == (2, 2, 2)


def test_what_is_not_confirmed_is_not_counted_as_such(door):
    peer = door.open()
    peer.ask(declare("counted", exclusive=True, max_length=1, overflow="reject-publish"))
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"1", b"2", b"3", key="counted")
    door.run()
    assert counted(door)["confirmed"] == 1


def test_a_transaction_counts_when_it_is_committed(door):
    peer = door.open()
    peer.ask(declare("counted", exclusive=True))
    peer.ask(methods.TxSelect())
    peer.publish(b"1", key="counted")
    door.run()
    assert "received" not in counted(door)
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
    assert counted(door)["received"] == 1
    peer.ask(methods.BasicGet(0, "counted", False))
    peer.give(b"")
    peer.send(methods.BasicAck(1, False))
    queue = door.node.queues.vhosts[b"/"].queue(b"counted", peer.session)
    assert queue.counts.acked == 0
    peer.ask(methods.TxCommit())
    assert queue.counts.acked == 1


def test_replies_past_all_queues_are_counted_apart(door):
    asking, answering = door.open(), door.open()
    asking.ask(consume("amq.rabbitmq.reply-to", no_ack=True))
    asking.ask(declare("counted", exclusive=True))
    asking.publish(b"?", key="counted", props=Properties(reply_to="amq.rabbitmq.reply-to"))
    door.run()
    [address] = list(door.door.reply_channels)
    answering.publish(b"!", key=f"amq.rabbitmq.reply-to.{address.decode()}")
    door.run()
    found = counted(door)
    assert found["replied"] == 1
    assert "dropped" not in found


def test_channels_and_declarations_are_counted(door):
    peer = door.open()
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.ask(declare("counted", exclusive=True))
    peer.ask(declare("counted", exclusive=True))
    peer.ask(declare("counted", passive=True))
    peer.ask(methods.ChannelClose(200, "", 0, 0), channel=2)
    found = counted(door)
    assert (found["channels_opened"], found["channels_closed"]) == (2, 1)
    assert found["queues_declared"] == 2
    peer.end()
    assert counted(door)["channels_closed"] == 2


def test_channels_that_have_published_are_publishers_as_long_as_they_are_there(door):
    peer, other = door.open(), door.open()
    peer.ask(methods.ChannelOpen(), channel=2)
    peer.publish(b"1", key="nowhere")
    peer.publish(b"2", key="nowhere")
    peer.publish(b"3", key="nowhere", channel=2)
    other.publish(b"4", key="nowhere")
    door.run()
    assert counted(door)["publishers"] == 3
    peer.ask(methods.ChannelClose(200, "", 0, 0), channel=2)
    assert counted(door)["publishers"] == 2
    peer.end()
    assert counted(door)["publishers"] == 1
    other.session.close()
    assert "publishers" not in counted(door)


def test_a_connection_says_who_its_client_is(door):
    peer = door.connect()
    peer.shake_hands()
    peer.ask(methods.ChannelOpen())
    about = peer.session.about()
    assert (about.user, about.state) == ("guest", "running")
    assert about.facts["channels"] == 1
    assert about.facts["vhost"] == "/"
    early = door.connect()
    assert early.session.about().user == ""


@pytest.mark.parametrize("reason", ["tired", "x" * 1000, "é" * 300, "\N{GRINNING FACE}" * 200, ""])
def test_a_client_is_told_why_its_connection_is_ended_however_long_that_is(door, reason):
    peer = door.open()
    peer.session.end_by(reason)
    peer.look()
    [close] = peer.methods()
    assert close.reply_code == 320
    assert reason[:20] in close.reply_text
