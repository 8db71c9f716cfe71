"""What many offsets in one transaction may do in one turn: staged, looked at, ended, deleted.

Counted are calls of functions in the sessions' thread, not time.
"""

from dataclasses import replace

import pytest
from counted_turns import Thread
from group_offsets_kit import PendingTalk
from transaction_parts import ABORT, COMMIT

from logstore.kafka.messages import offset_fetch, txn_offset_commit
from logstore.kafka.schema import codec
from logstore.protocols.kafka.session import KafkaSession
from logstore.slices import Slices

TOPICS, PARTITIONS = 200, 100
CALLS_MAX = 39_900  # in a turn, some 10 ms

pytestmark = pytest.mark.long


class Many:
    """A transaction with offsets of many partitions."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
        monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
        self.thread = Thread()
        self.talk = PendingTalk(work=self.thread.work)
        self.talk.keeper.held = True
        self.node = self.talk.node
        self.names = [f"topic-{n}" for n in range(TOPICS)]
        for name in self.names:
            self.talk.topics.create(name, PARTITIONS, {})
        self.talk.door = replace(self.talk.door, slices=Slices(self.thread.soon))
        self.talk.session = KafkaSession(
            self.talk.door, self.talk._wake, ("127.0.0.1", 9092), ("192.0.2.1", 50_000)
        )
        self.producer = self.node.producer()
        self.thread.most = 0

    def settle(self):
        """Turn by turn, until nothing is left to do."""
        node, busy = self.node, True
        while busy:
            busy = self.thread.go_on()
            while node.calls:
                busy = True
                self.thread.turn(node.calls.popleft())
            if node._ended:
                busy, node._ended = True, False
                self.thread.turn(node.telling.end_turn)
            if node.journal.synced < node.journal.end:
                busy = True
                node.journal.sync()
            if self.talk.keeper.waiting:
                busy = True
                self.talk.keeper.settle()

    def ask(self, key, version, request, kind):
        out = bytearray()
        codec(type(request), version, True).write(out, request)
        frame = self.talk.frame(key, version, out)
        self.thread.turn(lambda: self.talk.feed(frame))
        while self.talk.session.busy:
            self.settle()
            answer = self.thread.turn(lambda: self.talk.session.outgoing(1 << 30))
            if answer:
                break
        data = b"".join(map(bytes, answer))
        return self.talk.read(key, version, kind, data[8:])

    def stage(self):
        m = txn_offset_commit
        topics = [
            m.Topic(name, [m.Partition(number, 5, 0, "") for number in range(PARTITIONS)])
            for name in self.names
        ]
        request = m.Request("copier", "g", *self.producer, topics=topics)
        answer = self.ask(28, 5, request, m.Response)
        assert {it.error_code for topic in answer.topics for it in topic.partitions} == {0}


@pytest.fixture
def many(monkeypatch):
    it = Many(monkeypatch)
    it.stage()
    return it


def test_they_are_staged(many):
    assert len(many.node.coordinator.staged.partitions("g")) == TOPICS * PARTITIONS
    assert many.thread.most <= CALLS_MAX


@pytest.mark.parametrize("outcome", [COMMIT, ABORT])
def test_their_transaction_ends(many, outcome):
    heard = []
    many.thread.turn(
        lambda: many.node.coordinator.end("copier", many.producer, outcome, 2, 0, heard.append)
    )
    many.settle()
    assert len(heard) == 1
    expected = TOPICS * PARTITIONS if outcome is COMMIT else 0
    assert len(many.talk.coordinator.fetch("g", 0)) == expected
    assert many.thread.most <= CALLS_MAX


def test_their_group_is_told(many):
    heard, thread = [], many.thread
    steps = many.node.coordinator.staged.groups_of(many.producer.pid)
    thread.most = 0
    thread.turn(lambda: Slices(thread.soon).begin(steps, heard.append))
    assert not heard
    while thread.go_on():
        pass
    assert heard == [["g"]]
    assert thread.most <= CALLS_MAX


@pytest.mark.parametrize("few", [False, True])
def test_they_are_fetched(many, few):
    m = offset_fetch
    topics = [m.Topics(name="topic-0", partition_indexes=[0])] if few else None
    request = m.Request([m.Group("g", topics=topics)], require_stable=True)
    many.thread.most = 0
    many.ask(9, 9, request, m.Response)
    assert many.thread.most <= CALLS_MAX


def test_their_group_is_deleted(many):
    heard = []
    many.thread.turn(lambda: many.talk.coordinator.delete("g", 0, heard.append))
    many.settle()
    assert [it.error for it in heard] == [None]
    assert not many.node.coordinator.staged.has("g")
    assert many.thread.most <= CALLS_MAX


def test_their_topics_are_deleted(many):
    for name in many.names:
        uuid = many.talk.topics.get(name).uuid
        many.talk.topics.delete(name)
        many.thread.turn(lambda uuid=uuid: many.node.kept.topic_deleted(uuid))
        many.settle()
    assert not many.node.coordinator.staged.has("g")
    assert many.thread.most <= CALLS_MAX
