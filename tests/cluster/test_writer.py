"""Appends to a cluster's partition: in order, once, whatever becomes of connections and answers."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.cluster import writer as module
from logstore.cluster.identity import ANYBODY_S
from logstore.cluster.writer import ALONE_AFTER_S, UNDER_WAY_MAX, PartitionWriter
from logstore.errors import ClusterBehind, LogFailed, StorageFull
from logstore.records.decode import decode
from logstore.records.encode import encode


def batch(*values):
    return encode([(value, None, (), NOW_MS) for value in values])


def opened(node, topic="t", partition=0, partitions=1):
    if node.topics.get(topic) is None:
        node.topics.create(topic, partitions, {})
    news = []
    its = PartitionWriter(
        node.writer, topic, partition, node.identities.anybody, lambda: news.append(its.done)
    )
    its.heard = news
    return its


def values(node, topic="t", partition=0):
    log = node.topics.get(topic).partition(partition)
    return [it.value for found in log.read(0, 1 << 30) for it in decode(found)]


def refuse(node, times, topic="t", partition=0):
    """The next appends there, and those behind them are out of their order then."""
    log = node.topics.get(topic).partition(partition)
    append = type(log).append
    left = [times]

    def refusing(batch):
        if left[0]:
            left[0] -= 1
            raise StorageFull("no room for now")
        return append(log, batch)

    log.append = refusing


@pytest.fixture
def node():
    return OneNode()


def test_a_batch_is_done_once_the_leader_has_it(node):
    its = opened(node)
    assert [its.append(batch(b"a", b"b")), its.append(batch(b"c"))] == [0, 2]
    assert (its.done, its.offset_of(0)) == (0, -1)
    node.run()
    node.pass_time(1)
    assert (its.done, its.heard[-1]) == (3, 3)
    assert [its.offset_of(it) for it in range(4)] == [0, 1, 2, -1]
    assert values(node) == [b"a", b"b", b"c"]


def test_offsets_are_those_that_the_leader_gives(node):
    its, other = opened(node), opened(node)
    for number in range(6):
        (its if number % 2 else other).append(batch(b"%d" % number))
        node.pass_time(1)
    assert values(node) == [b"%d" % it for it in range(6)]
    assert [other.offset_of(it) for it in range(3)] == [0, 2, 4]
    assert [its.offset_of(it) for it in range(3)] == [1, 3, 5]


def test_partitions_of_one_node_are_sent_together(node):
    writers = [opened(node, partition=it, partitions=20) for it in range(20)]
    for its in writers:
        its.append(batch(b"0"))
    node.pass_time(1)
    assert all(its.done == 1 for its in writers)
    before = sum(link._number for link, _, _ in node._ends)
    for its in writers:
        its.append(batch(b"1"))
    node.run()
    assert sum(link._number for link, _, _ in node._ends) == before + 1
    assert all(its.done == 2 for its in writers)


def test_two_who_append_to_one_partition_are_answered_each(node):
    one, other = opened(node), opened(node)
    one.append(batch(b"a"))
    other.append(batch(b"b"))
    node.pass_time(1)
    assert (one.done, other.done) == (1, 1)
    assert sorted([one.offset_of(0), other.offset_of(0)]) == [0, 1]
    assert values(node)[one.offset_of(0)] == b"a"


def test_no_more_than_five_are_under_way(node):
    its = opened(node)
    its.append(batch(b"first"))
    node.pass_time(1)
    node.deaf = True
    for number in range(9):
        its.append(batch(b"%d" % number))
    node.run()
    assert its._under_way == UNDER_WAY_MAX
    assert len(values(node)) == 1 + UNDER_WAY_MAX
    node.deaf = False
    node.cut()
    node.pass_time(3)
    assert its.done == 10
    assert values(node) == [b"first", *(b"%d" % it for it in range(9))]


def test_a_broker_that_gives_no_producer_is_not_waited_for_long(node):
    heard = []
    node.identities.anybody(heard.append)
    node.pass_time(1)
    assert len(heard) == 1
    node.deaf = True
    node.identities.anybody(heard.append)
    node.pass_time(ANYBODY_S - 0.2)
    assert len(heard) == 1
    node.pass_time(0.4)
    assert "does not answer init_producer_id" in str(heard[1])


def test_a_timer_that_rings_a_moment_early_is_set_again(node):
    its = opened(node)
    its.append(batch(b"first"))
    node.pass_time(1)
    refuse(node, 1)
    its.append(batch(b"a"))
    node.run()
    held = its._held_until
    assert its.done == 1 < held
    node._calls.clear()  # it has rung
    now, times = node.writer.now, [held - 1e-4, held + 1e-4]
    node.writer.now = lambda: times.pop(0) if len(times) > 1 else times[0]
    node.writer._due(its)
    node.writer.flush()
    node.writer.now = now
    node.pass_time(3)
    assert values(node) == [b"first", b"a"]


def test_what_was_done_and_not_answered_stands_there_once(node):
    its = opened(node)
    its.append(batch(b"a"))
    node.pass_time(1)
    node.deaf = True
    its.append(batch(b"b"))
    its.append(batch(b"c"))
    node.run()
    node.cut()
    node.deaf = False
    node.pass_time(3)
    assert (its.done, values(node)) == (3, [b"a", b"b", b"c"])
    assert [its.offset_of(it) for it in range(3)] == [0, 1, 2]


def test_what_is_refused_for_now_comes_before_what_was_sent_behind_it(node):
    its = opened(node)
    its.append(batch(b"first"))
    node.pass_time(1)
    identity = its._identity
    refuse(node, 1)
    for number in range(7):
        its.append(batch(b"%d" % number))
    node.run()
    assert its.done == 1
    node.pass_time(2)
    assert its.done == 8
    assert values(node) == [b"first", *(b"%d" % it for it in range(7))]
    assert its._identity is identity  # nobody has forgotten it


def test_the_first_batch_goes_alone(node):
    """To a leader that does not know a producer, any number would be the first."""
    its = opened(node)
    for _ in range(2):
        refuse(node, 1)
        for number in range(3):
            its.append(batch(b"%d" % number))
        node.run()
        assert its._under_way <= 1
        node.pass_time(2)
        node.first._time.now += ALONE_AFTER_S + 1
        node.cut()
    assert values(node) == [b"0", b"1", b"2"] * 2


def test_a_leader_that_has_forgotten_the_producer_is_sent_another_one(node):
    its = opened(node)
    its.append(batch(b"a"))
    node.pass_time(1)
    its._identity.sequence += 5  # as if what is between had been lost there
    before = its._identity.pid
    its.append(batch(b"b"))
    node.pass_time(2)
    assert (its.done, values(node)) == (2, [b"a", b"b"])
    assert its._identity.pid != before


def test_a_node_that_does_not_lead_any_more_is_not_waited_for(node):
    its = opened(node)
    its.append(batch(b"a"))
    node.pass_time(1)
    node.held = True
    for value in (b"b", b"c", b"d"):
        its.append(batch(value))
    node.run()
    identity = its._identity
    its.led_by(2)
    assert not its.sends
    node.writer.ready(its)
    node.run()
    its.append(batch(b"e"))
    node.held = False  # and its answers come after all, of both rounds
    node.pass_time(1)
    assert (its.done, values(node)) == (5, [b"a", b"b", b"c", b"d", b"e"])
    assert [its.offset_of(it) for it in range(5)] == list(range(5))
    assert (its._identity, its._under_way, node.writer._sending) == (identity, 0, {})


def test_a_node_that_cannot_be_reached_is_waited_for(node):
    its = opened(node)
    node.up = False
    its.append(batch(b"a"))
    node.pass_time(20)
    assert (its.done, its.failure) == (0, None)
    node.up = True
    node.pass_time(3)
    assert (its.done, values(node)) == (1, [b"a"])


def test_a_topic_that_is_not_there_yet_is_waited_for(node):
    its = opened(node)
    log = node.topics.get("t")
    node.topics.delete("t")
    its.append(batch(b"a"))
    node.pass_time(3)
    assert its.done == 0
    node.topics.put("t", list(log.partitions), {})
    node.topics.get("t").partition(0)
    node.pass_time(3)
    assert its.done == 1


def test_what_the_cluster_refuses_fails_the_log(node, monkeypatch):
    its = opened(node)
    node.topics.alter("t", {"max.message.bytes": "100"}, ())
    its.append(batch(b"x" * 200))
    node.pass_time(1)
    assert isinstance(its.failure, LogFailed)
    assert "t-0: the cluster refuses what is appended, error 10" in str(its.failure)
    assert its.heard == [0]
    with pytest.raises(LogFailed):
        its.append(batch(b"y"))
    assert node.writer.bytes == 0


def test_a_cluster_that_does_not_answer_is_no_reason_to_hold_everything(node, monkeypatch):
    its = opened(node)
    node.up = False
    one = batch(b"x" * 1000)
    monkeypatch.setattr(module, "PARTITION_BYTES_MAX", 10 * one.size)
    for number in range(10):
        assert node.writer.behind == (number > 5)
        its.append(one)
    with pytest.raises(ClusterBehind, match="t-0: "):
        its.append(one)
    other = opened(node, "u")
    monkeypatch.setattr(module, "ALL_BYTES_MAX", 12 * one.size)
    other.append(one)
    other.append(one)
    with pytest.raises(ClusterBehind):
        other.append(one)
    node.up = True
    node.pass_time(5)
    assert (its.done, other.done, node.writer.bytes) == (10, 2, 0)
    assert not node.writer.behind
    its.append(one)


class WriterModel(RuleBasedStateMachine):
    """Against a list: connections are lost, answers are lost, nodes are away, in any order."""

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed):
        self.node = OneNode(seed)
        self.writers = [opened(self.node, partition=it, partitions=2) for it in range(2)]
        self.appended = [[], []]

    @rule(which=st.integers(0, 1), count=st.integers(1, 3))
    def append(self, which, count):
        given = [b"%d" % (len(self.appended[which]) + it) for it in range(count)]
        assert self.writers[which].append(batch(*given)) == len(self.appended[which])
        self.appended[which] += given

    @rule()
    def run(self):
        self.node.run()

    @rule()
    def cut(self):
        self.node.cut()

    @rule()
    def lose_answers(self):
        self.node.deaf = True
        self.node.run()
        self.node.cut()
        self.node.deaf = False

    @rule(which=st.integers(0, 1), times=st.integers(1, 3))
    def refuse(self, which, times):
        refuse(self.node, times, partition=which)

    @rule()
    def toggle(self):
        self.node.up = not self.node.up
        if not self.node.up:
            self.node.cut()

    @rule(seconds=st.sampled_from([0.1, 0.5, 3]))
    def time(self, seconds):
        self.node.pass_time(seconds)

    @invariant()
    def what_is_done_is_there_in_order_and_once(self):
        for which, its in enumerate(getattr(self, "writers", ())):
            there = values(self.node, partition=which)
            assert there == self.appended[which][: len(there)]
            assert its.done <= len(there)
            assert [its.offset_of(it) for it in range(its.done)] == list(range(its.done))

    def teardown(self):
        if hasattr(self, "node"):
            self.node.up = True
            self.node.pass_time(10)
            for which, its in enumerate(self.writers):
                assert its.done == len(self.appended[which])
                assert values(self.node, partition=which) == self.appended[which]


TestWriterModel = WriterModel.TestCase
TestWriterModel.settings = settings(max_examples=30, stateful_step_count=25)


def test_what_waits_for_long_is_seen_and_counted_as_a_stall_once_it_is_over(node):
    its, other = opened(node), opened(node, "u")
    other.append(batch(b"x"))
    node.pass_time(1)
    assert node.writer.unacknowledged() == []
    node.up = False
    node.cut()
    size = batch(b"a").size
    its.append(batch(b"a"))
    node.pass_time(1)
    its.append(batch(b"b"))
    node.pass_time(2)
    [behind] = node.writer.unacknowledged()
    assert (behind.log, behind.bytes, behind.appends) == ("t-0", 2 * size, 2)
    assert behind.waits_s == pytest.approx(3)
    assert node.writer.stalls == 0
    node.up = True
    node.pass_time(10)
    assert node.writer.unacknowledged() == []
    assert node.writer.stalls == 1
    assert 3 < node.writer.stalled_s < 13


def test_what_has_failed_is_behind_no_more(node):
    its = opened(node)
    node.up = False
    its.append(batch(b"a"))
    its.fail(LogFailed("it is gone"))
    assert node.writer.unacknowledged() == []
