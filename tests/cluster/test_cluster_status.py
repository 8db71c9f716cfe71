"""What a node knows of its cluster: who owns what, and what is behind."""

from types import SimpleNamespace

import pytest
from cluster_kit import OneNode

from logstore.cluster.claims import CLAIM, Claim, Word
from logstore.cluster.membership import Protocol
from logstore.cluster.ownership import Place
from logstore.cluster_status import ClusterStatus
from logstore.errors import ClusterUnreachable, Failed

ME, OTHER = "node-1", "node-2"


def claim(node, epoch=3):
    return Claim(9, 5, epoch, Word(CLAIM, node, f"{node}:7070", 2000, 1000))


class Owning:
    """As Owning; ``claims``, ``places``, ``served``: by partition."""

    def __init__(self, **more):
        self.claims, self.places, self.served_ones, self.failures = {}, {}, set(), {}
        self.reached = {}
        self.ownership = SimpleNamespace(
            owner_of=self.claims.get,
            served=lambda number: "served" if number in self.served_ones else None,
            place_of=lambda number: self.places.get(number, Place.FREE),
            failure_of=self.failures.get,
        )
        self.membership = SimpleNamespace(protocol=Protocol.CLASSIC, failure=None)
        self.neighbours = SimpleNamespace(
            owner=lambda node: "owner" if self.reached.get(node) is None else None,
            failure=self.reached.get,
        )
        vars(self).update(more)


@pytest.fixture
def node():
    made = OneNode()
    made.wait_for(made.client.begin_start)
    return made


KEEPER = SimpleNamespace(unread=4, failure=None)


def seen(node, owning, no_queues=None, keeper=KEEPER, keys=None):
    keys = keys or Owning()
    return ClusterStatus(
        node.client, "kafka-1:9092", ME, keeper, (2, 1), owning, keys, no_queues
    ).seen()


def test_of_each_partition_it_says_who_has_it(node):
    owning = Owning()
    owning.claims.update({0: claim(ME), 1: claim(OTHER, 7)})
    owning.served_ones.add(0)
    first, second = seen(node, owning).partitions
    assert (first.state, first.node, first.since_ms, first.epoch) == ("here", ME, 1000, 3)
    assert (second.state, second.address, second.epoch) == ("elsewhere", "node-2:7070", 7)


def test_an_owner_that_is_not_reached_is_told_with_why(node):
    owning = Owning()
    owning.claims[1] = claim(OTHER)
    owning.reached[OTHER.encode()] = ClusterUnreachable("node-2: connection refused")
    first, second = seen(node, owning).partitions
    assert (first.state, first.node, first.why) == ("nobody", None, None)
    assert (second.state, second.node) == ("unreached", OTHER)
    assert second.why == "node-2: connection refused"


def test_what_is_being_taken_over_is_told_and_what_was_given_up_is_nobodys(node):
    owning = Owning()
    owning.claims.update({0: claim(OTHER), 1: claim(ME)})
    owning.places[0] = Place.TAKING
    owning.failures[0] = Failed("it was lost")
    first, second = seen(node, owning).partitions
    assert (first.state, first.why) == ("taking", "it was lost")
    assert second.state == "nobody"


def test_where_no_queues_are_served_each_partition_says_why(node):
    owning = Owning(ownership=None, membership=None)
    found = seen(node, owning, Failed("there is no fence"))
    assert {(it.state, it.why) for it in found.partitions} == {("nobody", "there is no fence")}
    assert (found.no_queues, found.assigned_by) == ("there is no fence", None)


def test_brokers_lag_and_failures_are_told(node):
    keeper = SimpleNamespace(unread=4, failure=Failed("records were deleted"))
    node.brokers.failure = ClusterUnreachable("broker 1 does not answer")
    found = seen(node, Owning(), keeper=keeper)
    [broker] = found.brokers
    assert broker.controller
    assert (found.facts_unread, found.facts_failure) == (4, "records were deleted")
    assert found.failure == "broker 1 does not answer"
    assert (found.bytes, found.appends, found.behind, found.stalled) == (0, 0, [], 0)
    assert found.assigned_by == "classic"


def test_of_each_database_it_says_which_node_serves_it(node):
    keys, owning = Owning(), Owning()
    keys.claims[0] = claim(OTHER, 7)
    owning.reached[OTHER.encode()] = ClusterUnreachable("there is no link")  # nor a need of one
    [database] = seen(node, owning, keys=keys).databases
    assert (database.state, database.node, database.epoch) == ("elsewhere", OTHER, 7)
    [database] = seen(node, owning).databases
    assert database.state == "nobody"
