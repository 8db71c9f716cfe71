"""Names that this node does not know are looked for once more where other nodes make some, too."""

from dataclasses import replace

import pytest
from amqp_kit import again, bind, consume, declare, exchange, get

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
