"""A connection and its channels as others are told of them; a connection that others end."""

from amqp_kit import consume, declare, hard

from logstore.amqp import methods
from logstore.protocols.amqp_clients import AmqpClients


def seen(clients):
    return [(it, client) for it in clients.sessions() if (client := it.seen()) is not None]


def test_a_connection_is_seen_from_when_it_is_let_in_until_it_ends(door):
    clients = AmqpClients()
    assert seen(clients) == []
    clients.come_from(lambda: door.door.sessions)
    peer = door.connect()
    assert seen(clients) == []
    peer.shake_hands()
    [(session, client)] = seen(clients)
    assert session is peer.session
    assert (client.user, client.vhost, client.state, client.channels) == (
        "guest",
        "/",
        "running",
        0,
    )
    assert client.mechanism == "PLAIN"
    peer.send(methods.ConnectionClose(200, "bye", 0, 0), channel=0)
    assert seen(clients) == []


def test_channels_are_seen_with_what_they_have_not_settled(door):
    peer = door.open()
    peer.ask(declare())
    peer.ask(methods.ConfirmSelect(nowait=False))
    peer.ask(methods.BasicQos(0, 2, False))
    peer.ask(methods.BasicQos(0, 5, True))
    peer.send(consume())
    peer.publish(b"a", b"b", b"c")
    door.run()
    [it] = peer.session.seen_channels()
    assert it.name == f"{peer.session.name} (1)"
    assert (it.number, it.state, it.consumers, it.confirms) == (1, "running", 1, True)
    assert (it.prefetch, it.prefetch_all, it.unacked, it.unconfirmed) == (2, 5, 2, 0)
    assert not it.transactional


def test_a_transaction_is_seen_with_what_it_holds_back(door):
    peer = door.open()
    peer.ask(declare())
    peer.ask(methods.TxSelect())
    peer.publish(b"a", b"b")
    door.run()
    [it] = peer.session.seen_channels()
    assert (it.transactional, it.uncommitted, it.acks_uncommitted) == (True, 2, 0)


def test_a_client_is_told_why_others_end_its_connection(door):
    peer = door.open()
    peer.session.end_by("enough")
    door.run()
    assert peer.methods() == [hard(320, "CONNECTION_FORCED - enough")]
    assert peer.session.seen() is None
