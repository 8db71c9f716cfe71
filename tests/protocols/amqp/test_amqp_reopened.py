"""Right after a restart: queues that may refuse messages, and are not opened yet."""

import pytest
from amqp_kit import Door, declare

from logstore.amqp import methods
from logstore.broker.queues import queues


@pytest.fixture
def reopened(tmp_path, monkeypatch):
    """The door of a store with a full queue, which nobody has opened: of three messages at most."""
    door = Door(tmp_path)
    peer = door.open()
    peer.ask(declare("q", durable=True, max_length=3, overflow="reject-publish"))
    peer.ask(declare("other", durable=True))
    peer.ask(methods.QueueBind(0, "q", "amq.fanout", "", False, {}))
    peer.ask(methods.QueueBind(0, "other", "amq.fanout", "", False, {}))
    peer.publish(b"1", b"2")
    door.run()
    door.close()
    monkeypatch.setattr(queues, "OPENING_MAX", 0)
    door = Door(tmp_path)
    yield door
    door.close()


def confirmed(peer):
    """The tags that were confirmed, and those that were not."""
    peer.door.run()
    acked, nacked = [], []
    last = 0
    for it in peer.methods():
        tags = acked if isinstance(it, methods.BasicAck) else nacked
        assert isinstance(it, methods.BasicAck | methods.BasicNack)
        tags += range(last + 1 if it.multiple else it.delivery_tag, it.delivery_tag + 1)
        last = it.delivery_tag
    return acked, nacked


def test_what_a_closed_lane_has_counts_for_reject_publish(reopened):
    peer = reopened.open()
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"3", b"4", b"5")
    assert confirmed(peer) == ([1], [2, 3])
    assert reopened.node.ready(b"q") == 3


def test_what_is_published_behind_it_keeps_its_order(reopened):
    peer = reopened.open()
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"3")
    peer.publish(b"a", b"b", key="other")
    peer.publish(b"4", exchange="amq.fanout")
    acked, nacked = confirmed(peer)
    assert (acked, nacked) == ([1, 2, 3], [4])
    assert reopened.node.ready(b"q") == 3
    assert reopened.node.ready(b"other") == 3


def test_who_publishes_and_goes_has_published(reopened):
    peer = reopened.open()
    peer.publish(b"3")
    peer.send(methods.ChannelClose(200, "bye", 0, 0))
    reopened.run()
    assert reopened.node.ready(b"q") == 3


def test_a_queue_that_is_deleted_meanwhile_keeps_nobody_waiting(reopened):
    peer, other = reopened.open(), reopened.open()
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"3")
    other.send(methods.QueueDelete(0, "q", False, False, False))
    assert confirmed(peer) == ([1], [])
    assert isinstance(other.answer(), methods.QueueDeleteOk)
    assert other.ask(declare("q", durable=True)).message_count == 0


def test_a_commit_waits_until_it_is_known_whether_there_is_room(reopened):
    peer = reopened.open()
    peer.ask(methods.TxSelect())
    peer.publish(b"3", b"4")
    assert isinstance(peer.ask(methods.TxCommit()), methods.ChannelClose)
    assert reopened.node.ready(b"q") == 2  # both of them, or none
    peer.send(methods.ChannelCloseOk(), methods.ChannelOpen(), methods.TxSelect())
    peer.methods()
    peer.publish(b"3")
    assert peer.ask(methods.TxCommit()) == methods.TxCommitOk()
    assert reopened.node.ready(b"q") == 3
