"""Partitions that nodes own: taken over as the group says, fenced, beaten for, given up."""

from itertools import pairwise

import pytest
from owning_nodes import (
    TOPIC,
    OwningNode,
    pass_time,
    restart_broker,
    some_nodes,
    standing,
    values,
    words,
)

from logstore.cluster.membership import Membership, Protocol
from logstore.cluster.ownership import AT_ONE_TIME, FINISH_S, Place
from logstore.cluster.takeover import BEAT_EVERY_S, Stage
from logstore.errors import CorruptStore, FencedProducer
from logstore.records.batch import with_producer
from logstore.records.encode import encode


def owner(node, number=0):
    claim = node.owns.owner_of(number)
    return claim and claim.word.node


def test_every_node_knows_who_owns_what_and_since_when():
    nodes = some_nodes(3)
    pass_time(nodes)
    assert [owner(it) for it in nodes] == [None] * 3
    nodes[1].group.say(0)
    nodes[2].group.say(1)
    pass_time(nodes)
    assert (nodes[0].owned(), nodes[1].owned(), nodes[2].owned()) == (set(), {0}, {1})
    for node in nodes:
        assert [owner(node, it) for it in (0, 1)] == ["1", "2"]
        word = node.owns.owner_of(1).word
        assert (word.address, word.since_ms) == ("2:9999", word.at_ms)
        assert set(node.told) >= {0, 1}
    assert 1000 <= nodes[0].client.now() - word.since_ms / 1000 + 1000 <= 1001.5


def test_who_owns_what_is_known_where_another_user_of_the_topic_is_done_with_it():
    """As whoever looks at its records in a browser."""
    nodes = some_nodes(2)
    pass_time(nodes)
    nodes[0].client.brokers.unwant(TOPIC)
    nodes[0].client.log("other")  # so that it looks anew at who leads what
    nodes[1].group.say(0)
    pass_time(nodes)
    assert owner(nodes[0]) == "1"


def test_what_is_given_up_is_done_first_and_then_the_groups():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    mark = first.append(0, b"a", b"b")
    log = first.owns.served(0).log
    first.group.say()
    assert first.owns.served(0) is None
    assert (first.owns.place_of(0), first.group.given_up) == (Place.ENDING, [])
    pass_time(nodes, 0.3)
    assert log.done == mark
    assert (first.owns.place_of(0), first.group.given_up) == (Place.FREE, [0])
    second.group.say(0)
    pass_time(nodes)
    assert second.found[0] == [b"a", b"b"]


def test_a_partition_is_given_up_though_the_cluster_does_not_answer():
    [node] = nodes = some_nodes(1)
    node.group.say(0)
    pass_time(nodes)
    node.client.up = False
    node.client.cut()
    node.append(0, b"a")
    node.group.say()
    pass_time(nodes, FINISH_S - 0.2)
    assert node.group.given_up == []
    pass_time(nodes, 0.3)
    assert node.group.given_up == [0]


def test_what_is_wanted_again_while_it_is_given_up_is_taken_over_anew():
    [node] = nodes = some_nodes(1)
    node.group.say(0)
    pass_time(nodes)
    before = node.owns.owner_of(0)
    node.append(0, b"a")
    node.group.say()
    node.group.say(0)
    assert node.owns.place_of(0) is Place.ENDING
    pass_time(nodes)
    assert node.owned() == {0}
    assert node.owns.owner_of(0).epoch == before.epoch + 1
    assert node.found[0] == [b"a"]


def test_no_more_than_some_are_taken_over_at_one_time():
    [node] = nodes = some_nodes(1, partitions=10)
    pass_time(nodes)
    seen = []
    named = node.client.identities.named

    def counted(*args):
        taking = [it for it in range(10) if node.owns.place_of(it) is Place.TAKING]
        seen.append(len(taking))
        named(*args)

    node.client.identities.named = counted
    node.group.say(*range(10))
    pass_time(nodes, 3)
    assert node.owned() == set(range(10))
    assert len(seen) == 10
    assert max(seen) == AT_ONE_TIME


def test_a_node_that_was_away_is_told_by_the_claim_it_reads():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    taking = first.owns.served(0)
    second.group.say(0)
    pass_time([second])
    assert second.owned() == {0}
    assert taking.stage is Stage.OWNED  # it has not run meanwhile
    first.client.run()
    pass_time(nodes, 0.6)  # nothing is appended
    assert taking.stage is Stage.LOST
    assert "node 1 has claimed it" in str(taking.failure)
    assert owner(first) == "1"


def test_what_was_lost_to_another_is_claimed_again_only_when_the_group_says_so():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    second.group.say(0)
    pass_time(nodes, 5)
    assert (first.owned(), second.owned()) == (set(), {0})
    assert isinstance(first.owns.failure_of(0), FencedProducer)
    assert first.owns.place_of(0) is Place.WAITING  # the group has said so before, not since
    second.group.say()
    first.group.confirm()
    pass_time(nodes, 6)
    assert (first.owned(), second.owned()) == ({0}, set())
    assert first.owns.failure_of(0) is None


def test_a_claim_that_can_not_be_made_is_tried_again_with_longer_waits():
    [node] = nodes = some_nodes(1)
    tries = []

    def refused(name, then):
        tries.append(node.client.now())
        then(CorruptStore("no"))

    named, node.client.identities.named = node.client.identities.named, refused
    node.group.say(0)
    pass_time(nodes, 20)
    waits = [after - before for before, after in pairwise(tries)]
    assert len(tries) < 12
    assert waits[0] < 0.2
    assert waits[-1] > 3
    node.client.identities.named = named
    pass_time(nodes, 7)
    assert node.owned() == {0}


def test_an_owner_that_appends_says_so_every_hour_too():
    [node] = nodes = some_nodes(1, partitions=1)
    node.group.say(0)
    pass_time(nodes)
    node.client.first._time.now += BEAT_EVERY_S - 120
    pass_time(nodes)
    node.append(0, b"a")
    pass_time(nodes)
    assert words(node, 0) == [("claim", "0")]
    node.client.first._time.now += 180
    pass_time(nodes)
    assert words(node, 0) == [("claim", "0"), ("beat", "0")]
    node.client.first._time.now += BEAT_EVERY_S + 60
    pass_time(nodes)
    assert words(node, 0) == [("claim", "0"), ("beat", "0"), ("beat", "0")]


def trim(nodes, node, before, number=0):
    heard = []
    node.owns.trim(number, before, heard.append)
    pass_time(nodes)
    [start] = heard
    return start


def test_what_stands_first_says_whose_the_rest_is():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    first.append(0, b"a", b"b")
    pass_time(nodes)
    assert trim(nodes, first, first.broker(0).end) == 3
    assert words(first, 0) == [("beat", "0")]
    assert values(first, 0) == []
    first.append(0, b"c")
    pass_time(nodes)
    late = OwningNode("late", first, 5)
    nodes.append(late)
    pass_time(nodes)
    assert owner(late) == "0"
    late.group.say(0)
    pass_time(nodes)
    assert late.found[0] == [b"c"]
    assert second.owns.owner_of(0) == late.owns.owner_of(0)


def test_records_are_deleted_only_up_to_a_word_of_the_owner():
    [node] = nodes = some_nodes(1)
    node.group.say(0)
    pass_time(nodes)
    node.append(0, b"a")
    node.owns.served(0).say_beat()
    node.append(0, b"b", b"c")
    pass_time(nodes)
    assert trim(nodes, node, 4) == 2
    assert words(node, 0) == [("beat", "0")]
    assert values(node, 0) == [b"b", b"c"]
    assert trim(nodes, node, 4) == 2  # there is no other


def test_a_broker_that_knows_what_stands_refuses_who_owned_it():
    """Rule 1: a record of the owner stands, however much was deleted."""
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    first.append(0, b"a")
    pass_time(nodes)
    zombie = first.owns.served(0)
    second.group.say(0)
    pass_time([second])
    assert trim([second], second, second.broker(0).end) == second.broker(0).end - 1
    restart_broker(second)
    mark = zombie.append(standing_batch(b"late"))
    pass_time(nodes)
    assert zombie.stage is Stage.LOST
    assert zombie.log.done <= mark
    assert values(second, 0) == []
    second.append(0, b"b")
    pass_time(nodes)
    assert values(second, 0) == [b"b"]


def standing_batch(value):
    return encode([(value, None, (), 1)])


def test_an_owner_of_a_name_that_was_forgotten_is_refused_as_well():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    first.append(0, b"a")
    pass_time(nodes)
    zombie = first.owns.served(0)
    named = second.client.identities.named
    second.client.identities.named = lambda name, then: named(f"another {name}", then)
    before = second.owns.owner_of(0)
    second.group.say(0)
    pass_time([second])
    assert second.owned() == {0}
    assert second.owns.owner_of(0).pid != before.pid
    assert words(second, 0) == [("claim", "0"), ("fence", "1"), ("claim", "1")]
    mark = zombie.append(standing_batch(b"late"))
    pass_time(nodes)
    assert zombie.stage is Stage.LOST
    assert zombie.log.done <= mark
    assert values(second, 0) == [b"a"]
    assert second.found[0] == [b"a"]


def test_a_producer_that_owned_it_before_another_does_not_again():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0)
    pass_time(nodes)
    old = standing(first, 0)[0]
    named = second.client.identities.named
    second.client.identities.named = lambda name, then: named(f"another {name}", then)
    second.group.say(0)
    pass_time(nodes)
    owned = second.owns.owner_of(0)
    late = with_producer(old, (old.producer_id, old.producer_epoch + 2, 0))
    second.broker(0).append(late)
    pass_time(nodes)
    assert owner(first) == "1"
    assert second.owns.owner_of(0) == owned
    assert second.owned() == {0}


def test_what_is_no_claim_is_said_and_read_again():
    [node] = nodes = some_nodes(1)
    pass_time(nodes)
    log = node.broker(0)
    log.append(encode([(b"garbage", b"__owner", (), 1)]))
    pass_time(nodes)
    assert isinstance(node.owns.failure_of(0), CorruptStore)
    node.group.say(0, 1)
    pass_time(nodes)
    assert node.owned() == {1}
    node.client.wait_for(lambda then: node.client.offsets.delete_below((TOPIC, 0), 1, then))
    pass_time(nodes, 40)
    assert node.owned() == {0, 1}
    assert node.owns.failure_of(0) is None


def test_a_node_that_stops_gives_all_up_and_leaves():
    nodes = some_nodes(2)
    first, second = nodes
    first.group.say(0, 1)
    pass_time(nodes)
    mark, log = first.append(0, b"a"), first.owns.served(0).log
    over = []
    first.owns.stop(lambda: over.append(log.done))
    pass_time(nodes, 0.5)
    assert over == [mark]
    assert (sorted(first.group.given_up), first.group.left) == ([0, 1], True)
    first.group.confirm()
    pass_time(nodes)
    assert first.owned() == set()
    second.group.say(0, 1)
    pass_time(nodes)
    assert second.owned() == {0, 1}


SHORT = {"group.consumer.session.timeout.ms": 6000, "group.consumer.heartbeat.interval.ms": 1000}


def in_group(node, told):
    client = node.client
    return Membership(client.brokers, client, client.random, "__logstore-nodes", TOPIC, told)


@pytest.mark.parametrize("way", Protocol)
def test_all_partitions_are_owned_though_nodes_come_and_go(way):
    settings = SHORT if way is Protocol.GROUP else {}
    nodes = some_nodes(3, partitions=6, join=in_group, settings=settings)
    pass_time(nodes, 12)
    assert {it.group.protocol for it in nodes} == {way}
    assert sorted(n for it in nodes for n in it.owned()) == list(range(6))
    for node in nodes:
        for number in node.owned():
            node.append(number, b"of %s" % node.name.encode())
    pass_time(nodes)
    gone, *left = nodes
    had = gone.owned()
    gone.client.up = False
    gone.client.cut()
    pass_time(nodes, 10)
    assert sorted(n for it in left for n in it.owned()) == list(range(6))
    assert all(it.found[n] == [b"of 0"] for it in left for n in had & it.owned())
    gone.client.up = True
    pass_time(nodes, 15)
    assert [len(it.owned()) for it in nodes] == [2, 2, 2]
    assert {owner(nodes[0], n): len(it.owned()) for it in nodes for n in it.owned()} == {
        "0": 2, "1": 2, "2": 2,
    }  # fmt: skip


def test_partitions_are_owned_once_the_cluster_can_be_reached():
    node = OwningNode("0")
    node.client.up = False
    node.client.cut()
    node.group.say(0)
    pass_time([node], 3)
    assert node.owned() == set()
    node.client.up = True
    pass_time([node], 8)
    assert node.owned() == {0}
