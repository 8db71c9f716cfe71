"""Topics that another node has announced are found, although a broker learns of them later."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster_topics import ClusterTopics
from logstore.node.announced import AGAIN_S, TRIES, Announced


class Hearing(OneNode):
    def __init__(self):
        super().__init__()
        self.seen = ClusterTopics(self.client, self.wait_for, lambda: False, lambda: NOW_MS)
        self.wait_for(self.client.begin_start)
        self.announced = Announced(self.seen, lambda s, call: self.call_at(self.now() + s, call))


@pytest.fixture
def node():
    return Hearing()


def test_one_that_was_not_there_a_moment_ago_is_found(node):
    assert node.seen.get("a") is None
    node.run()
    node.topics.create("a", 1, {})
    node.announced.heard("a")
    assert "a" in node.announced
    node.pass_time(2)
    assert node.seen.names() == ["a"]
    assert "a" not in node.announced


@pytest.mark.parametrize("before", ["announced", "cut"])
def test_one_that_no_broker_shows_yet_is_found_later(node, before):
    node.announced.heard("a")
    if before == "cut":
        node.cut()
    node.pass_time(2)
    assert "a" in node.announced
    node.topics.create("a", 1, {})
    node.pass_time(2)
    assert node.seen.names() == ["a"]


def test_one_that_is_gone_already_is_given_up(node):
    node.announced.heard("a")
    node.announced.heard("no name")
    node.pass_time((TRIES - 1) * AGAIN_S + 1)
    assert "a" not in node.announced
    assert "no name" not in node.announced
