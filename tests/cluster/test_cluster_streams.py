"""Streams whose topics are a cluster's: opened late, failed, or not known to a broker yet."""

import pytest
from clock import NOW_MS, Clock
from cluster_kit import OneNode
from facts_kit import SharingNode, settle
from following_parts import MemoryQueueLogs
from memory_log import MemoryLog
from queue_parts import Consumer, props
from roaming_parts import PARTITIONS, Common, NoOther

from logstore.broker.queues.following import Following
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.roaming.partition import Around
from logstore.broker.queues.roaming.roamers import Roamers
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.streams.streams import DOUBT_MS
from logstore.broker.queues.tables import arguments_of
from logstore.cluster_topics import ClusterTopics
from logstore.counts.queues import QueueTotals
from logstore.errors import ClusterUnreachable, LogFailed
from logstore.kept.queues import KeptQueue

STREAM = arguments_of({"x-queue-type": "stream"})
FIRST = arguments_of({"x-stream-offset": "first"})


class StreamingNode(OneNode):
    """A node with the queues that several share; its workers' jobs are done at once."""

    def __init__(self, facts, number, beside=None):
        super().__init__(beside=beside, transactions=True)  # topics that have ids of their own
        self.may_wait = False
        self.seen = ClusterTopics(self.client, self.wait_for, lambda: self.may_wait, lambda: NOW_MS)
        self.wait_for(self.client.begin_start)
        self.share = SharingNode(facts, number)
        self.share.keeper.begin(lambda error: None)
        settle(self.share)
        kept, self.clock = self.share.queues.load(), Clock()
        around = Around(self.clock, self.soon, lambda it, at_ms: None, self.job, Common())
        self.queues = Queues(
            MemoryQueueLogs(self.share.queues), self.clock, self.soon, self.job,
            surroundings=Surroundings(
                self.seen, work=self.job, tell=self.seen.tell, next_id=self.share.numbers.next,
                roamers=Roamers(around, Common(), NoOther(), PARTITIONS, QueueTotals()),
            ),
        )  # fmt: skip
        following = Following(self.queues, kept)
        self.share.keeper.follow(following.show, None)
        self.vhost = self.queues.vhosts[b"/"]

    def job(self, first, second):
        self.may_wait = True
        try:
            found = first()
        finally:
            self.may_wait = False
        second(found)

    def turns(self, seconds=0.2):
        self.pass_time(seconds)
        self.clock.ms += round(1000 * seconds)
        self.queues.tick(self.clock.ms)
        settle(self.share)
        self.pass_time(0.1)

    def declare(self):
        queue, pending = self.vhost.declare_queue(QueueFacts(b"s", True, False, False, STREAM))
        self.turns()
        assert pending.error is None
        return queue

    def publish(self, body):
        """Publish; returns why it was refused."""
        message = Message(b"", b"s", props(), body)
        published = self.vhost.publish([(self.vhost.route(message), message)])
        published.waiting.watch(lambda: None)
        self.turns()
        assert published.waiting.settled() or published.waiting.failed
        return published.waiting.failed

    def consume(self):
        consumer = Consumer(prefetch=100, arguments=FIRST)
        self.vhost.queue(b"s").subscribe(consumer)
        self.turns()
        return consumer


@pytest.fixture
def facts():
    return MemoryLog("facts")


@pytest.fixture
def node(facts):
    return StreamingNode(facts, 1)


def failing(node):
    node.seen.get("s").at_hand(0)._fail(LogFailed("the cluster refuses it, error 10"))


def test_it_goes_on_where_its_log_has_failed(node):
    node.declare()
    assert node.publish(b"1") is None
    consumer = node.consume()
    failing(node)
    node.turns()
    node.topics.get("s").append(b"2")
    node.turns(1)
    assert node.publish(b"3") is None
    assert consumer.bodies == [b"1", b"2", b"3"]
    failing(node)
    assert node.publish(b"4") is None
    assert consumer.bodies == [b"1", b"2", b"3", b"4"]


def unreachable(node, monkeypatch, times):
    """Its topic can't be opened so often."""
    partitions = node.seen.get("s").partitions
    opened, left = partitions.open, [ClusterUnreachable("no broker leads it")] * times
    monkeypatch.setattr(
        partitions, "open",
        lambda number, then: then(left.pop()) if left else opened(number, then),
    )  # fmt: skip


def test_one_that_can_not_be_opened_just_now_is_tried_at_the_next_use(node, monkeypatch):
    node.declare()
    consumer = node.consume()
    failing(node)
    unreachable(node, monkeypatch, 3)
    node.turns()
    assert consumer.is_cancelled
    assert "no broker leads it" in str(node.publish(b"1"))
    assert node.consume().is_cancelled
    assert node.publish(b"2") is None
    assert node.consume().bodies == [b"2"]


@pytest.mark.parametrize("begun", [True, False])
def test_a_topic_that_a_broker_does_not_know_yet_ends_no_stream(node, facts, begun):
    """It would end at all nodes, although its declaration was answered."""
    other = StreamingNode(facts, 2, beside=node) if begun else None
    node.share.queues.change([KeptQueue(9, 1, "s", arguments={"x-queue-type": "stream"})])
    settle(node.share)
    other = other or StreamingNode(facts, 2, beside=node)
    other.turns()
    assert other.consume().is_cancelled
    assert "no topic 's'" in str(other.publish(b"1"))
    node.topics.create("s", 1, {})
    other.turns(2)
    assert other.publish(b"2") is None
    assert other.consume().bodies == [b"2"]
    assert [it.name for it in node.share.queues.load().queues] == ["s"]


def gone(node):
    """Its topic is deleted by another program, and this node hears of it."""
    node.topics.delete("s")
    node.seen._catalogue.deleted("s")
    node.turns()


def test_one_whose_topic_others_delete_ends_once_that_is_certain(node):
    node.declare()
    consumer = node.consume()
    gone(node)
    assert consumer.is_cancelled
    assert len(node.share.queues.load().queues) == 1
    for _ in range(2 * DOUBT_MS // 5000):
        node.turns(5)
    assert node.share.queues.load().queues == []
    node.declare()
    assert node.publish(b"1") is None


def test_one_that_is_made_anew_at_once_lasts(node, facts):
    """A node that hears late of the end of the first topic does not end the second stream."""
    other = StreamingNode(facts, 2, beside=node)
    node.declare()
    other.turns()
    assert other.publish(b"1") is None
    _, pending = node.vhost.delete_queue(node.vhost.queue(b"s"))
    node.turns()
    assert pending.error is None
    node.share.queues.change([KeptQueue(9, 1, "s", arguments={"x-queue-type": "stream"})])
    settle(node.share, other.share)
    consumer = other.consume()
    other.seen._catalogue.deleted("s")
    other.turns()
    node.topics.create("s", 1, {})
    for _ in range(2 * DOUBT_MS // 5000):
        other.turns(5)
    assert [it.id for it in node.share.queues.load().queues] == [9]
    assert consumer.is_cancelled
    assert other.publish(b"2") is None
    assert other.consume().bodies == [b"2"]
