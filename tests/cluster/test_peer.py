"""A link to another node as long as it is wanted: made, noticed to be gone, made anew."""

import logging
from random import Random
from types import SimpleNamespace

import pytest
from link_net import HERE, THERE, Net
from relay_kit import NONCES, SECRET, Heard

from logstore.cluster.peer import Identity, Peer
from logstore.errors import ClusterUnreachable
from logstore.relay.talk import ANSWER_S, PING_S


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def made(net):
    heard = Heard()
    peer = Peer(
        b"b", HERE, Identity(b"a", SECRET), heard, net, Random(1), nonce=lambda: next(NONCES)
    )
    net.run()
    return SimpleNamespace(peer=peer, heard=heard)


def test_whoever_speaks_is_told_that_the_link_is_open(net, made):
    assert made.heard.talk.node == b"b"
    assert made.peer.failure is None


def test_a_link_that_is_lost_is_made_anew(net, made):
    first = made.heard.talk
    first.lose(ClusterUnreachable("cut"))
    assert str(made.heard.why) == "cut"
    assert str(made.peer.failure) == "cut"
    net.pass_by(0.2)
    assert made.heard.talk is not first
    assert made.peer.failure is None


def test_a_node_that_is_not_there_is_tried_later_and_later_and_told_of_once(net, made, caplog):
    del net.owners[HERE]
    made.heard.talk.lose(ClusterUnreachable("cut"))
    with caplog.at_level(logging.INFO, "logstore.cluster"):
        net.pass_by(30)
        assert 25 < len(net.tried) < 45
        waits = [two[0] - one[0] for one, two in zip(net.tried[1:], net.tried[2:], strict=False)]
        assert waits[0] < 0.3
        assert 0.8 <= waits[-1] <= 1.2
        assert caplog.messages == [
            "no link to another node: cut",
            "no link to another node: node b: connection refused",
        ]
        net.owners[HERE] = b"b"
        net.pass_by(2)
    assert caplog.messages[2:] == ["node b is reached again"]
    assert made.peer.failure is None


def test_a_node_that_is_frozen_is_noticed(net, made):
    net.links.clear()  # bytes go nowhere
    net.pass_by(PING_S + ANSWER_S - 0.01)
    assert made.heard.why is None
    del net.owners[HERE]
    net.pass_by(0.02)
    assert "has sent nothing" in str(made.heard.why)


def test_a_node_that_is_there_stays(net, made):
    net.pass_by(100)
    assert made.heard.why is None
    assert len(net.links) == 1


def test_another_secret_is_told_of(net, made, caplog):
    net.secret = b"another"
    made.heard.talk.lose(ClusterUnreachable("cut"))
    net.pass_by(2)
    assert "different secrets" in str(made.peer.failure)
    assert sum("different secrets" in it for it in caplog.messages) == 1


def test_another_node_at_its_address_is_not_asked(net, made):
    net.owners[HERE] = b"c"
    made.heard.talk.lose(ClusterUnreachable("cut"))
    first = made.heard.talk
    net.pass_by(2)
    assert "looks for node 'b', and this is 'c'" in str(made.peer.failure)
    assert made.heard.talk is first


def test_a_node_that_has_moved_is_asked_there(net, made):
    net.owners = {THERE: b"b"}
    made.peer.move(HERE)
    net.pass_by(1)
    assert len(net.links) == 1
    made.peer.move(THERE)
    net.pass_by(1)
    assert made.peer.address == THERE
    assert made.peer.failure is None
    assert net.tried[-1][1] == THERE


def test_a_node_that_was_not_found_is_asked_where_it_is_at_once(net, made):
    net.owners = {THERE: b"b"}
    made.heard.talk.lose(ClusterUnreachable("cut"))
    net.pass_by(10)
    tried = len(net.tried)
    made.peer.move(THERE)
    net.pass_by(0)
    assert net.tried[tried:] == [(net.time, THERE)]
    assert made.peer.failure is None


def test_nothing_is_left_of_one_that_is_not_asked_any_more(net, made):
    made.peer.close()
    net.pass_by(100)
    assert net.due == []
    assert len(net.tried) == 1
    assert "not asked any more" in str(made.heard.why)


def test_one_that_could_not_be_reached_is_not_tried_any_more(net, made):
    del net.owners[HERE]
    made.heard.talk.lose(ClusterUnreachable("cut"))
    made.peer.close()
    net.pass_by(100)
    assert len(net.tried) == 1
