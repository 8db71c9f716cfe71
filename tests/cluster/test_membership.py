"""Nodes of one group, over our own door: who should own what, and what that survives."""

import pytest
from cluster_kit import OneNode
from door_kit import Talk

from logstore.cluster import kinds
from logstore.cluster.membership import HEARTBEAT, SESSION, Membership, Protocol
from logstore.errors import ClusterUnreachable, Failed

GROUP, TOPIC = "__logstore-nodes", "__logstore-queues"
SHORT = {"group.consumer.session.timeout.ms": 6000, "group.consumer.heartbeat.interval.ms": 1000}
WAYS = [Protocol.GROUP, Protocol.CLASSIC]


class Node:
    """One that gives up at once what it should not have, unless a test says otherwise."""

    def __init__(self, beside=None, seed=0, way=Protocol.GROUP):
        settings = SHORT if way is Protocol.GROUP else {}
        self.client = OneNode(seed, beside=beside, talk=None if beside else Talk(settings=settings))
        self.told, self.kept, self.slow = [], set(), False
        self.member = None

    def join(self):
        client = self.client
        self.member = Membership(client.brokers, client, client.random, GROUP, TOPIC, self.changed)

    def changed(self):
        if self.told[-1:] != [self.member.assigned]:
            self.told.append(self.member.assigned)
        self.kept |= self.member.assigned
        if not self.slow:
            self.give_up()

    def give_up(self):
        for number in self.kept - self.member.assigned:
            self.kept.discard(number)
            self.member.gave_up(number)

    @property
    def assigned(self):
        return self.member.assigned


def some(count, way, partitions=6):
    first = Node(way=way)
    first.client.topics.create(TOPIC, partitions, {})
    nodes = [first, *(Node(first.client, seed, way) for seed in range(1, count))]
    for it in nodes:
        it.join()
    return nodes


def pass_time(nodes, seconds):
    first, *others = (it.client for it in nodes)
    first.pass_time(seconds, others)


def assert_even(nodes, partitions=6):
    assert sorted(it for node in nodes for it in node.assigned) == list(range(partitions))
    sizes = [len(it.assigned) for it in nodes]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("way", WAYS)
def test_each_partition_is_one_nodes(way):
    nodes = some(3, way)
    pass_time(nodes, 12)
    assert_even(nodes)
    assert {it.member.protocol for it in nodes} == {way}
    assert all(it.member.failure is None for it in nodes)
    assert (nodes[0].member.why_classic is None) == (way is Protocol.GROUP)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_moves_that_need_not(way):
    nodes = some(3, way)
    pass_time(nodes[:2], 12)
    before = [it.assigned for it in nodes]
    pass_time(nodes, 12)
    assert_even(nodes)
    assert all(now.assigned < had for now, had in zip(nodes[:2], before, strict=False))
    assert sum(len(had - now.assigned) for now, had in zip(nodes[:2], before, strict=False)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_told_of_what_another_has_not_given_up(way):
    nodes = some(2, way)
    nodes[0].slow = True
    pass_time(nodes[:1], 6)
    assert len(nodes[0].assigned) == 6
    pass_time(nodes, 6)
    assert len(nodes[0].assigned) == 3
    assert not nodes[1].assigned
    assert nodes[0].kept == set(range(6))
    nodes[0].give_up()
    pass_time(nodes, 3)
    assert_even(nodes)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_node_has_that_leaves_is_others_at_once(way):
    nodes = some(2, way)
    pass_time(nodes, 12)
    gone = []
    nodes[0].member.leave(lambda: gone.append(True))
    pass_time(nodes, 1.5)
    assert gone
    assert len(nodes[1].assigned) == 6


@pytest.mark.parametrize("way", WAYS)
def test_what_a_node_has_that_is_gone_is_others_after_its_session(way):
    nodes = some(2, way)
    pass_time(nodes, 12)
    nodes[0].client.up = False
    nodes[0].client.cut()
    pass_time(nodes, 4.5)
    assert len(nodes[1].assigned) == 3
    pass_time(nodes, 4)
    assert len(nodes[1].assigned) == 6
    assert len(nodes[0].assigned) == 3  # nobody has told it otherwise
    assert isinstance(nodes[0].member.failure, ClusterUnreachable)
    nodes[0].client.up = True
    pass_time(nodes, 12)
    assert_even(nodes)
    assert nodes[0].member.failure is None


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_given_up_for_heartbeats_that_fail(way):
    nodes = some(2, way)
    pass_time(nodes, 12)
    before = [len(it.told) for it in nodes]
    for _ in range(3):
        for it in nodes:
            it.client.deaf = True
            it.client.cut()
        pass_time(nodes, 2)
        for it in nodes:
            it.client.deaf = False
            it.client.cut()
        pass_time(nodes, 2)
    assert [len(it.told) for it in nodes] == before
    assert_even(nodes)


def test_a_leader_of_the_members_assigns_partitions_that_are_new():
    nodes = some(2, Protocol.CLASSIC, 2)
    pass_time(nodes, 12)
    assert_even(nodes, 2)
    nodes[0].client.topics.grow(TOPIC, 6)
    pass_time(nodes, 40)
    assert_even(nodes)


def test_nodes_that_begin_in_different_ways_come_together():
    nodes = some(3, Protocol.GROUP)
    pass_time(nodes, 6)
    late = Node(nodes[0].client, 7)
    asked = late.client.brokers.ask_any

    def ask_any(kind, request, then, *more, **named):
        if kind in (kinds.DESCRIBE_CONFIGS, kinds.ALTER_CONFIGS):
            kind.messages()  # it has a view of the group's settings that is another one
            late.client.soon(lambda: then(answer_of(kind)))
        else:
            asked(kind, request, then, *more, **named)

    late.client.brokers.ask_any = ask_any
    late.join()
    nodes.append(late)
    pass_time(nodes, 12)
    assert_even(nodes)
    assert {it.member.protocol for it in nodes} == {Protocol.GROUP}


def answer_of(kind):
    """A refusal."""
    messages = kind.messages()
    if kind is kinds.DESCRIBE_CONFIGS:
        return messages.Response(0, [messages.Result(29, "not allowed", 32, GROUP)])
    return messages.Response(0, [messages.AlterConfigsResourceResponse(29, "no", 32, GROUP)])


def test_a_cluster_that_keeps_sessions_long_is_told_of():
    [node] = some(1, Protocol.CLASSIC)
    pass_time([node], 3)
    assert isinstance(node.member.why_classic, Failed)
    assert SESSION in str(node.member.why_classic)
    assert "min.session.timeout.ms" in str(node.member.why_classic)
    assert HEARTBEAT not in str(node.member.why_classic)
