"""Names that this node does not know are looked for once more where other nodes make some, too."""

from dataclasses import replace

import pytest
from stomp_kit import Door

from logstore.broker.queues.limits import QueueFacts
from logstore.errors import ClusterUnreachable


@pytest.fixture
def door(node):
    made = Door(None, node=node)
    yield made
    made.close()


@pytest.fixture
def looks(node):
    """Who waits until all is read that other nodes have made."""
    waiting, queues = [], node.queues
    before = queues._surroundings
    queues._surroundings = replace(before, read_on=waiting.append)
    yield waiting
    queues._surroundings = before


@pytest.mark.parametrize(
    ("command", "headers"),
    [
        ("SEND", {"destination": "/exchange/no/k"}),
        ("SUBSCRIBE", {"destination": "/amq/queue/no", "id": "1"}),
        ("SUBSCRIBE", {"destination": "/exchange/no/k", "id": "1"}),
    ],
)
def test_nothing_is_refused_before_all_is_read(door, looks, command, headers):
    peer = door.open()
    assert peer.ask(command, headers) == []
    [then] = looks
    then(None)
    assert "no" in peer.refused()["message"]
    assert len(looks) == 1


def test_what_another_node_has_made_is_there_then_and_what_follows_has_waited(door, looks):
    peer = door.open()
    peer.send("SUBSCRIBE", {"destination": "/amq/queue/q", "id": "1", "receipt": "1"})
    peer.send("SEND", {"destination": "/amq/queue/q", "receipt": "2"}, b"x")
    door.run()
    assert peer.got() == []
    door.vhost.declare_queue(QueueFacts(b"q", True))
    looks.pop()(None)
    door.run()
    said = peer.got()
    assert [it["receipt-id"] for it in said if it.command == "RECEIPT"] == ["1", "2"]
    assert [it.body for it in said if it.command == "MESSAGE"] == [b"x"]
    door.vhost.delete_queue(door.vhost.queue(b"q"))


def test_why_that_is_not_known_is_said(door, looks):
    peer = door.open()
    peer.send("SUBSCRIBE", {"destination": "/amq/queue/no", "id": "1"})
    looks.pop()(ClusterUnreachable("no broker answers"))
    assert b"no broker answers" in peer.refused().body


def test_who_goes_meanwhile_is_told_nothing(door, looks):
    peer = door.open()
    peer.send("SUBSCRIBE", {"destination": "/amq/queue/no", "id": "1"})
    peer.session.close()
    looks.pop()(None)
    assert peer.got() == []


def test_a_virtual_host_is_looked_for_before_the_default_one_is_taken(door, looks):
    peer = door.connect()
    assert peer.ask("CONNECT", {"accept-version": "1.2", "host": "elsewhere"}) == []
    looks.pop()(None)
    door.run()
    assert [it.command for it in peer.got()] == ["CONNECTED"]
    assert peer.client.vhost_name == "/"


@pytest.mark.parametrize("made", [True, False])
def test_a_message_without_a_route_gets_its_receipt_after_all_is_read(door, looks, made):
    peer = door.open()
    peer.send("SEND", {"destination": "/amq/queue/late", "receipt": "1"}, b"x")
    peer.send("SEND", {"destination": "/queue/known", "receipt": "2"}, b"y")  # in its order
    assert (len(looks), peer.got()) == (1, [])
    if made:
        door.vhost.declare_queue(QueueFacts(b"late", True))
    looks.pop()(None)
    door.run()
    assert [it["receipt-id"] for it in peer.got()] == ["1", "2"]
    if made:
        peer.send("SUBSCRIBE", {"destination": "/amq/queue/late", "id": "1"})
        door.run()
        assert [it.body for it in peer.got()] == [b"x"]
    for name in (b"late", b"known")[not made :]:
        door.vhost.delete_queue(door.vhost.queue(name))
    assert looks == []


def test_a_message_that_nobody_can_look_for_gets_no_receipt(door, looks):
    peer = door.open()
    peer.send("SEND", {"destination": "/amq/queue/no", "receipt": "1"}, b"x")
    looks.pop()(ClusterUnreachable("no broker answers"))
    door.node.step()
    assert b"no broker answers" in peer.refused().body


def test_a_message_that_waits_when_its_client_goes_is_routed_as_is_known_then(door, looks):
    peer = door.open()
    peer.send("SEND", {"destination": "/amq/queue/late"}, b"x")
    peer.client.outbox.unblock()
    assert peer.client.outbox.keeps_back
    peer.session.close()
    assert not peer.client.outbox.keeps_back
    looks.pop()(None)
    door.run()
    assert peer.got() == []


def sent_in_a_transaction(peer):
    peer.send("BEGIN", {"transaction": "t"})
    peer.send("SEND", {"destination": "/amq/queue/late", "transaction": "t"}, b"x")
    peer.send("COMMIT", {"transaction": "t", "receipt": "1"})


def test_a_transaction_is_committed_after_all_is_read(door, looks):
    peer = door.open()
    sent_in_a_transaction(peer)
    assert (len(looks), peer.got()) == (1, [])
    door.vhost.declare_queue(QueueFacts(b"late", True))
    looks.pop()(None)
    door.run()
    assert [it["receipt-id"] for it in peer.got()] == ["1"]
    peer.send("SUBSCRIBE", {"destination": "/amq/queue/late", "id": "1"})
    door.run()
    assert [it.body for it in peer.got()] == [b"x"]
    door.vhost.delete_queue(door.vhost.queue(b"late"))
    assert looks == []


def test_a_transaction_that_nobody_can_look_for_is_refused(door, looks):
    peer = door.open()
    sent_in_a_transaction(peer)
    looks.pop()(ClusterUnreachable("no broker answers"))
    door.node.step()
    refused = peer.refused()
    assert b"no broker answers" in refused.body
    assert refused["receipt-id"] == "1"
