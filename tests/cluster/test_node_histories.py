"""Subscribers of a channel's history over a cluster, where its log is opened late, or fails."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from written_chunks import Listener

from logstore.broker.channel import Channels
from logstore.broker.unsafe import Unsafe
from logstore.cluster_topics import ClusterTopics
from logstore.errors import ClusterUnreachable, LogFailed, OffsetAboveEnd
from logstore.node.histories import AGAIN_S, NodeHistories, catch_up
from logstore.settings import ChannelRule

RULE = ChannelRule("kept.*", 3_600_000)


class Subscriber(Listener):
    def deliver_kept(self, chunk, kept):
        self.deliver(chunk)


class Subscribed(OneNode):
    """A node with a subscriber to a pattern and one to a name."""

    def __init__(self, beside=None):
        super().__init__(beside=beside)
        self.may_wait = True
        self.seen = ClusterTopics(self.client, self.wait_for, lambda: self.may_wait, lambda: NOW_MS)
        self.wait_for(self.client.begin_start)
        self.channels = Channels()
        self.channels.keep([RULE], self.seen, catch_up)
        self.channels.attach(self.soon)
        self.histories = NodeHistories(
            self.channels, self.seen, lambda s, call: self.call_at(self.now() + s, call)
        )
        self.by_name, self.by_pattern = Subscriber(), Subscriber()
        self.channels.subscribe_pattern(self.by_pattern, b"kept.*")
        self.channels.open_histories([(b"kept.1", True)])
        self.channels.subscribe(self.by_name, b"kept.1")
        self.may_wait = False
        self.pass_time(1)

    def append(self, payload):
        """Publish by another program."""
        self.topics.get("kept.1").append(payload)
        self.pass_time(0.2)

    def got(self):
        found = [it for _, _, it in self.by_name.got]
        assert [it for _, _, it in self.by_pattern.got] == found
        return found


@pytest.fixture
def node():
    its = Subscribed()
    its.append(b"1")
    assert its.got() == [b"1"]
    return its


def failing(node):
    log = node.seen.get("kept.1").at_hand(0)
    log._fail(LogFailed("the cluster refuses what is appended, error 10"))


def test_subscribers_go_on_where_a_log_has_failed(node):
    failing(node)
    node.append(b"2")
    node.pass_time(1)
    assert node.got() == [b"1", b"2"]
    node.append(b"3")
    assert node.got() == [b"1", b"2", b"3"]


def test_what_was_there_before_somebody_came_does_not_come_to_them(node):
    later = Subscribed(beside=node)
    failing(later)
    node.append(b"2")
    later.pass_time(1)
    assert later.got() == [b"2"]


def test_who_goes_on_at_another_node_is_not_told_that_nothing_stands_there(node):
    """It may have fetched less than the node where he was."""
    for it in (b"2", b"3"):
        node.topics.get("kept.1").append(it)
    history = node.channels.history(b"kept.1")
    assert history.log.end == 1
    assert history.read(history.place(2), 1 << 20, wait=True).records[0].value == b"3"
    assert history.read(history.place(3), 1 << 20, wait=True) == ([], 3)
    with pytest.raises(OffsetAboveEnd):
        history.place(4)


def test_a_history_that_another_node_creates_comes_from_its_start(node):
    node.topics.create("kept.2", 1, {})
    for it in (b"1", b"2"):
        node.topics.get("kept.2").append(it)
    node.seen.begin_find("kept.2", lambda _: node.histories.came("kept.2"))
    node.pass_time(1)
    assert [it for _, _, it in node.by_pattern.got] == [b"1", b"1", b"2"]


def test_one_that_can_not_be_opened_is_tried_until_it_can(node):
    opened, opening = [], node.seen.begin_open

    def begin_open(name, partition, then):
        opened.append(name)
        if len(opened) < 3:
            then(ClusterUnreachable("no broker leads it"))
        else:
            opening(name, partition, then)

    node.seen.begin_open = begin_open
    failing(node)
    node.append(b"2")
    assert (opened, node.got()) == (["kept.1"], [b"1"])
    node.pass_time(2 * AGAIN_S + 1)
    assert (len(opened), node.got()) == (3, [b"1", b"2"])


def test_records_that_a_cluster_has_lost_hold_up_none_that_come_later(node):
    history = node.channels.history(b"kept.1")
    history.next = 100
    with pytest.raises(OffsetAboveEnd):
        history.pull()
    failing(node)
    node.pass_time(1)
    node.append(b"2")
    assert node.got() == [b"1", b"2"]


def test_a_publisher_goes_on_with_the_log_that_was_opened(node):
    failing(node)
    node.pass_time(1)
    unsafe = Unsafe()
    assert node.channels.publish(b"kept.1", b"2", unsafe) == 2
    node.pass_time(1)
    assert unsafe.settled()
    assert node.got() == [b"1", b"2"]


def test_a_topic_that_goes_is_not_opened_again(node):
    node.seen.begin_delete("kept.1", lambda _: None)
    node.pass_time(5)
    assert node.seen.names() == []
    assert node.histories._opening == {}


def test_nothing_is_opened_after_the_end(node):
    failing(node)
    node.histories.close()
    node.pass_time(5)
    assert node.seen.get("kept.1").at_hand(0) is None
