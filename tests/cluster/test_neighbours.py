"""The other nodes that one asks: whether they are reached, and who is told when that changes."""

from random import Random
from types import SimpleNamespace

import pytest
from link_net import HERE, THERE, Net
from relay_kit import SECRET, FarClient
from turns_by_hand import Turns

from logstore.broker.queues.message import Showing
from logstore.cluster.peer import Identity
from logstore.errors import ClusterUnreachable, NotOwned
from logstore.neighbours import AGAIN_S, Neighbours
from logstore.relay.messages import Subscribe


class Nodes:
    def __init__(self):
        self.net, self.turns, self.changed = Net(), Turns(), []
        self.it = Neighbours(
            Identity(b"a", SECRET), self.net, self.turns.soon, Random(1), Showing(),
            self.changed.append,
        )  # fmt: skip

    def told(self):
        """Who was told of, in one turn."""
        self.net.run()
        self.turns.over()
        found, self.changed[:] = list(self.changed), []
        return found


@pytest.fixture
def nodes():
    return Nodes()


QUEUE = SimpleNamespace(id=7, facts=SimpleNamespace(name=b"q"), gone=False, seat=None)


def test_a_node_that_is_reached_is_told_of_and_asked(nodes):
    nodes.it.know(b"b", HERE)
    assert nodes.it.owner(b"b") is None
    assert nodes.it.seat(QUEUE, b"/", b"b", lambda: 0) is None
    assert nodes.told() == [b"b"]
    assert nodes.it.owner(b"b").ready
    assert nodes.it.failure(b"b") is None
    assert nodes.told() == []
    seat = nodes.it.seat(QUEUE, b"/", b"b", lambda: 0)
    seat.subscribe(FarClient())
    nodes.net.run()
    [(_, owner)] = nodes.net.links
    [asked] = owner._told.messages
    assert isinstance(asked, Subscribe)
    assert asked[:4] == (asked.id, b"/", b"q", 7)


def test_a_node_that_is_lost_and_comes_again_is_told_of_twice(nodes):
    nodes.it.know(b"b", HERE)
    nodes.told()
    nodes.net.links[0][0].lose(ClusterUnreachable("cut"))
    assert nodes.told() == [b"b"]
    assert nodes.it.owner(b"b") is None
    assert str(nodes.it.failure(b"b")) == "cut"
    nodes.net.pass_by(1)
    assert nodes.told() == [b"b"]
    assert nodes.it.owner(b"b").ready


def test_a_node_that_was_not_reached_is_no_news(nodes):
    nodes.it.know(b"b", THERE)
    nodes.net.pass_by(5)
    assert len(nodes.net.tried) > 3
    assert nodes.told() == []
    assert "connection refused" in str(nodes.it.failure(b"b"))


def test_a_node_that_moves_is_asked_there(nodes):
    nodes.it.know(b"b", HERE)
    nodes.told()
    nodes.net.owners = {THERE: b"b"}
    nodes.it.know(b"b", HERE)
    assert nodes.told() == []
    nodes.it.know(b"b", THERE)
    nodes.net.pass_by(1)
    assert nodes.told() == [b"b"]
    assert nodes.net.tried[-1][1] == THERE
    assert list(nodes.it.nodes) == [b"b"]


def test_a_node_that_is_none_any_more_is_not_asked(nodes):
    nodes.it.know(b"b", HERE)
    nodes.told()
    nodes.it.forget(b"b")
    nodes.it.forget(b"c")
    assert nodes.told() == [b"b"]
    assert nodes.it.owner(b"b") is None
    assert nodes.it.failure(b"b") is None
    nodes.net.pass_by(10)
    assert nodes.net.due == []


def test_consumers_of_all_nodes_have_numbers_of_their_own(nodes):
    nodes.net.owners[THERE] = b"c"
    nodes.it.know(b"b", HERE)
    nodes.it.know(b"c", THERE)
    assert nodes.told() == [b"b", b"c"]
    ids = []
    for node in b"b", b"c":
        seat = nodes.it.seat(QUEUE, b"/", node, lambda: 0)
        for _ in range(2):
            client = FarClient()
            seat.subscribe(client)
            ids.append(seat._consumers[client].id)
    assert len(set(ids)) == 4
    nodes.it.close()
    assert list(nodes.it.nodes) == []


def test_one_that_says_it_owns_nothing_is_not_asked_again_at_once(nodes):
    nodes.it.know(b"b", HERE)
    nodes.told()
    seat = nodes.it.seat(QUEUE, b"/", b"b", lambda: 0)
    client = FarClient()
    seat.subscribe(client)
    seat._refused(seat._consumers[client], NotOwned("not mine"))
    assert nodes.told() == []
    nodes.net.pass_by(AGAIN_S)
    assert nodes.told() == [b"b"]
    assert seat.subscriptions == [client]
