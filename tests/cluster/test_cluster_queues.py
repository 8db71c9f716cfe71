"""The topics of queues that nodes share: made and grown once, whichever node is quicker."""

from types import SimpleNamespace

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster_queues import ClusterQueues, topic_of
from logstore.cluster_topics import ClusterTopics
from logstore.errors import Refused
from logstore.kept.queues import Lane


@pytest.fixture
def node():
    made = OneNode()
    made.wait_for(made.client.begin_start)
    return made


@pytest.fixture
def queues(node):
    topics = ClusterTopics(node.client, node.wait_for, lambda: True, lambda: NOW_MS)
    return ClusterQueues(node.client, topics, node.wait_for, SimpleNamespace())


def partitions(node):
    return len(node.topics.get(topic_of(7)).partitions)


def test_a_topic_is_made_and_grown_for_the_lanes_that_are_opened(node, queues):
    assert queues.open(Lane(7, 0), {}).name == f"{topic_of(7)}-0"
    assert partitions(node) == 1
    assert queues.open(Lane(7, 3), {}).name == f"{topic_of(7)}-3"
    assert partitions(node) == 4
    assert list(queues.lanes_of(7)) == [0, 1, 2, 3]


@pytest.mark.parametrize("more", [6, 8])
def test_one_that_another_node_has_grown_at_the_same_moment_is_no_error(node, queues, more):
    queues.open(Lane(7, 0), {})
    node.topics.grow(topic_of(7), more)  # which is not seen here yet
    assert list(queues.lanes_of(7)) == [0]
    assert queues.open(Lane(7, 5), {}).name == f"{topic_of(7)}-5"
    assert partitions(node) == more
    assert list(queues.lanes_of(7)) == list(range(more))


def test_what_the_cluster_refuses_is_told(node, queues):
    queues.open(Lane(7, 0), {})
    node.client.admin.grow = lambda name, count, then: then(Refused("a policy forbids it"))
    with pytest.raises(Refused, match="a policy forbids it"):
        queues.open(Lane(7, 5), {})
    assert partitions(node) == 1
