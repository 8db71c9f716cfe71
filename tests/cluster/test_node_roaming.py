"""The queues that the nodes of a cluster share, as one node takes them over and gives them up."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from cluster_kit import OneNode
from link_net import Net
from owning_nodes import SaidGroup
from queue_parts import KINDS_WITH_NOTES, Time
from relay_kit import SECRET, Joined
from roaming_parts import Common, RoamingNode
from storage_kit import Opened
from transacting_talk import TransactingTalk

from logstore.errors import ClusterUnreachable
from logstore.node.roaming import JOURNAL, NodeRoaming

ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}


class WiredNode(RoamingNode):
    """One node as it is wired in, with a client of a broker; its group is said by a test."""

    def __init__(self, directory, clock, common):
        self.cluster = OneNode(talk=TransactingTalk())
        self.cluster.topics.create(JOURNAL.name, JOURNAL.partitions, ANY_TIME)
        self.readings = []  # that wait until all queues are known
        self.net = Net()  # to other nodes
        super().__init__(directory, clock, common)
        self.roaming._membership = SaidGroup
        self.roaming.join(self.queues, "here:9999")
        self.group = self.roaming.ownership.group

    def surroundings(self):
        cluster = self.cluster
        turn = SimpleNamespace(soon=self.soon, now=cluster.now, call_at=cluster.call_at)
        found = super().surroundings()
        self.roaming = NodeRoaming(
            turn, self.work, cluster.client, cluster.wait_for, self.common, "here",
            SECRET, self.net, self.readings.append,
        )  # fmt: skip
        self.roamers = self.roaming.roamers
        return replace(found, roamers=self.roamers, neighbourhood=self.roaming.volatile)

    def pass_time(self, seconds=1.0):
        self.cluster.pass_time(seconds)
        self.run()
        self.cluster.run()

    def own(self, number):
        self.group.say(number)
        self.pass_time()
        for then in self.readings:
            then(None)
        self.run()
        assert number in self.roamers.owned


@pytest.fixture
def node(tmp_path):
    opened = Opened(tmp_path / "a")
    node = WiredNode(opened.writer(kinds=KINDS_WITH_NOTES), Time(), Common())
    yield node
    node.close()
    opened.close_all()


def test_what_another_node_has_of_a_queue_of_this_nodes_own_is_not_lost_with_a_partition(node):
    """The number of such a queue says nothing about partitions."""
    queue = node.declare(b"q", durable=False)
    joined = Joined(node)
    node.roaming._door = joined.door
    joined.connect()
    client = joined.consume(prefetch=1)
    node.publish(b"q", b"1", b"2")
    joined.run()
    number = queue.id % JOURNAL.partitions
    node.own(number)
    node.group.say()
    node.pass_time()
    joined.run()
    assert (list(node.roamers.owned), joined.lost) == ([], [])
    client.channel.ack(1)
    joined.run()
    assert client.bodies == [b"1", b"2"]
    joined.cut()
    joined.run()
    assert (queue.ready, queue.out) == (1, 0)


def test_a_node_that_is_linked_is_there_although_the_cluster_does_not_say_so(node):
    """Nodes announce themselves by way of the cluster, which may not answer for a while."""
    neighbours = node.roaming.neighbours
    node.roaming.who({b"b": "10.0.0.1:9094"})
    node.net.run()
    node.run()
    node.roaming.who({})
    assert neighbours.owner(b"b") is not None
    node.net.links[0][0].lose(ClusterUnreachable("cut"))
    node.run()
    assert list(neighbours.nodes) == []
