"""Names that this node does not know are looked for once more where other nodes make some, too."""

from dataclasses import replace

import pytest
from amqp_kit import again, bind, consume, declare, exchange, get, message

from logstore.amqp import methods
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.arguments import Arguments
from logstore.errors import ClusterUnreachable


@pytest.fixture
def looks(door):
    """Who waits until all is read that other nodes have made."""
    waiting = []
    queues = door.node.queues
    queues._surroundings = replace(queues._surroundings, read_on=waiting.append)
    return waiting


LACKING = [
    declare("no", passive=True),
    exchange("no", passive=True),
    bind("no", "amq.direct"),
    bind("q", "no"),
    consume("no"),
    get("no"),
    methods.QueuePurge(0, "no", False),
    methods.ExchangeBind(0, "no", "amq.direct", "", False, {}),
    methods.ExchangeBind(0, "amq.direct", "no", "", False, {}),
]
LACKING_WELL = [
    methods.QueueDelete(0, "no", False, False, False),
    methods.QueueUnbind(0, "q", "no", "k", {}),
    methods.ExchangeDelete(0, "no", False, False),
    methods.ExchangeUnbind(0, "amq.direct", "no", "", False, {}),
]


def test_nothing_is_said_before_all_is_read(peer, looks):
    peer.ask(declare("q"))
    for lacking, answered in ((LACKING, False), (LACKING_WELL, True)):
        for method in lacking:
            peer.send(method)
            assert (len(looks), peer.methods()) == (1, []), method
            looks.pop()(None)
            peer.door.run()
            closed = isinstance(peer.answer(), methods.ChannelClose)
            assert (closed, looks) == (not answered, []), method
            if closed:
                again(peer)


def test_what_another_node_has_made_is_there_then(peer, looks):
    peer.send(declare("q", passive=True), consume("q"))
    facts = QueueFacts(b"q", True, False, False, Arguments())
    vhost = peer.door.node.queues.vhosts[b"/"]
    vhost.declare_queue(facts)
    looks.pop()(None)
    peer.door.run()
    assert [type(it) for it in peer.methods()] == [methods.QueueDeclareOk, methods.BasicConsumeOk]
    assert looks == []


def test_who_can_not_look_says_so(peer, looks):
    peer.send(declare("q", passive=True))
    looks.pop()(ClusterUnreachable("no broker answers"))
    peer.door.run()
    close = peer.answer()
    assert "no broker answers" in close.reply_text


def test_what_is_known_is_not_looked_for(peer, looks):
    for method in (
        declare("q"), declare("q", passive=True), exchange("e"), exchange("e", passive=True),
        bind("q", "e"), consume("q"), get("q"), methods.QueuePurge(0, "", False),
    ):  # fmt: skip
        peer.ask(method)
    assert looks == []


@pytest.mark.parametrize("made", [True, False])
def test_a_host_that_is_not_known_is_looked_for(door, looks, made):
    peer = door.connect()
    peer.shake_hands(vhost="other")
    assert len(looks) == 1
    if made:
        pending = door.node.queues.add_vhost(b"other")
        door.node.run(lambda: pending.done)
    looks.pop()(None)
    door.run()
    answer = peer.answer()
    assert isinstance(answer, methods.ConnectionOpenOk) == made
    assert looks == []


def made(peer, name):
    """A queue that another node has declared."""
    facts = QueueFacts(name, True, False, False, Arguments())
    peer.door.node.queues.vhosts[b"/"].declare_queue(facts)


def kinds(peer):
    return [type(it) for it in peer.methods()]


def test_a_message_without_a_route_is_confirmed_after_all_is_read(peer, looks):
    peer.ask(declare("known"))
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"a", key="late")
    peer.publish(b"b", key="known")  # in its order
    peer.door.run()
    assert (len(looks), peer.methods()) == (1, [])
    made(peer, b"late")
    looks.pop()(None)
    peer.door.run()
    assert peer.answer() == methods.BasicAck(2, True)
    assert [peer.ask(get(it))[2] for it in ("late", "known")] == [b"a", b"b"]
    assert looks == []


def test_a_message_that_still_has_no_route_is_returned_and_confirmed(peer, looks):
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"a", key="no", mandatory=True)
    peer.door.run()
    assert peer.methods() == []
    looks.pop()(None)
    peer.door.run()
    assert kinds(peer) == [methods.BasicReturn, methods.BasicAck]
    assert looks == []


@pytest.mark.parametrize("there", [True, False])
def test_an_exchange_that_is_not_known_is_looked_for(peer, looks, there):
    peer.ask(declare("q"))
    peer.ask(methods.ConfirmSelect(False))
    peer.give(message(b"before") + message(b"a", "e", "k"))
    peer.door.run()
    assert (len(looks), peer.methods()) == (1, [])
    if there:
        other = peer.door.open()
        other.ask(exchange("e"))
        other.ask(bind("q", "e", "k"))
    looks.pop()(None)
    peer.door.run()
    if there:
        assert peer.answer() == methods.BasicAck(2, True)
        assert [peer.ask(get("q"))[2] for _ in range(2)] == [b"before", b"a"]
    else:
        close = peer.answer()
        again(peer)
        assert peer.ask(get("q"))[2] == b"before"
        assert (close.reply_code, close.class_id, close.method_id) == (404, 60, 40)
        assert "no exchange 'e' in vhost '/'" in close.reply_text


def test_messages_that_nobody_can_look_for_are_not_confirmed(peer, looks):
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"a", key="no")
    peer.door.run()
    looks.pop()(ClusterUnreachable("no broker answers"))
    peer.door.run()
    close = peer.answer()
    assert "no broker answers" in close.reply_text


def test_a_channel_that_is_unblocked_meanwhile_goes_on_waiting(peer, looks):
    peer.ask(methods.ConfirmSelect(False))
    peer.publish(b"a", key="late")
    peer.door.run()
    [channel] = peer.session.channels.values()
    channel.unblock()
    peer.door.run()
    assert (len(looks), peer.methods()) == (1, [])
    made(peer, b"late")
    looks.pop()(None)
    peer.door.run()
    assert peer.answer() == methods.BasicAck(1, False)
    assert peer.ask(get("late"))[2] == b"a"


def test_a_channel_that_ends_meanwhile_leaves_nothing_behind(peer, looks):
    peer.publish(b"a", key="late")
    peer.door.run()
    peer.ask(methods.ChannelClose(200, "", 0, 0))
    looks.pop()(None)
    peer.door.run()
    assert peer.session.parked_bytes == 0


def test_a_transaction_is_committed_after_all_is_read(peer, looks):
    peer.ask(declare("known"))
    peer.ask(methods.TxSelect())
    peer.publish(b"a", key="late")
    peer.publish(b"b", key="known")
    peer.send(methods.TxCommit(), methods.TxCommit())  # the second one waits, too
    assert (len(looks), peer.methods()) == (1, [])
    made(peer, b"late")
    looks.pop()(None)
    peer.door.run()
    assert kinds(peer) == [methods.TxCommitOk, methods.TxCommitOk]
    assert [peer.ask(get(it))[2] for it in ("late", "known")] == [b"a", b"b"]
    assert looks == []


def test_nothing_of_a_transaction_happens_where_nobody_can_look(peer, looks):
    peer.ask(declare("known"))
    peer.ask(methods.TxSelect())
    peer.publish(b"a", key="late")
    peer.publish(b"b", key="known")
    peer.send(methods.TxCommit())
    looks.pop()(ClusterUnreachable("no broker answers"))
    peer.door.run()
    close = peer.answer()
    assert "no broker answers" in close.reply_text
    assert peer.door.open().ask(get("known")) == methods.BasicGetEmpty("")
