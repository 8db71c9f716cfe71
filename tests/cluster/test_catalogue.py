"""Which topics a cluster has, whoever makes them, and whatever a broker knows of it."""

import pytest
from cluster_kit import OneNode

from logstore.cluster import catalogue as module
from logstore.cluster.catalogue import BELIEVED_S, LIST_S, MISSING_S, Entry
from logstore.errors import ClusterBehind, ClusterUnreachable


@pytest.fixture
def node():
    return OneNode()


def started(node):
    heard = []
    node.client.catalogue.tell(lambda event, name, entry: heard.append((event, name, entry)))
    node.wait_for(node.client.begin_start)
    return node.client.catalogue, heard


def found(node, name):
    return node.wait_for(lambda then: node.client.catalogue.find(name, then))


def asked_for_names(node):
    return sum(link._number for link, _, _ in node._ends)


def test_what_is_there_first_is_no_news(node):
    node.topics.create("a", 3, {})
    catalogue, heard = started(node)
    assert catalogue.entries == {"a": Entry(node.topics.get("a").uuid, 3)}
    assert (catalogue.names(), heard) == (["a"], [])
    assert node.worked == 1  # all of them are read elsewhere


def test_topics_come_grow_and_go_without_us(node):
    catalogue, heard = started(node)
    node.topics.create("a", 1, {})
    id_ = node.topics.get("a").uuid
    node.pass_time(LIST_S + 1)
    node.topics.grow("a", 4)
    node.pass_time(LIST_S + 1)
    assert catalogue.name_of(id_) == "a"
    node.topics.delete("a")
    node.pass_time(LIST_S + 2)
    assert heard == [
        ("created", "a", Entry(id_, 1)), ("grown", "a", Entry(id_, 4)),
        ("deleted", "a", Entry(id_, 4)),
    ]  # fmt: skip
    assert (catalogue.names(), catalogue.name_of(id_)) == ([], None)


def test_a_name_that_is_not_known_is_asked_for(node):
    _, heard = started(node)
    node.topics.create("a", 2, {})
    assert found(node, "a") == Entry(node.topics.get("a").uuid, 2)
    assert [it[:2] for it in heard] == [("created", "a")]


def test_a_name_that_is_not_there_is_not_asked_for_at_once_again(node):
    started(node)
    assert found(node, "a") is None
    before = asked_for_names(node)
    assert found(node, "a") is None
    assert asked_for_names(node) == before
    node.topics.create("a", 1, {})
    node.pass_time(MISSING_S + 0.1)
    assert found(node, "a").partitions == 1


def test_names_that_are_asked_for_in_one_turn_are_one_request(node, monkeypatch):
    started(node)
    monkeypatch.setattr(module, "WAITING_MAX", 30)
    heard = []
    before = asked_for_names(node)
    for number in range(40):
        node.client.catalogue.find(f"t{number}", heard.append)
    assert [type(it) for it in heard] == [ClusterBehind] * 10
    node.run()
    assert heard[10:] == [None] * 30
    assert asked_for_names(node) == before + 1


def test_one_answer_without_a_topic_is_not_believed(node):
    node.topics.create("a", 1, {})
    _, heard = started(node)
    topics, node.topics._topics = node.topics._topics, {}
    catalogue = node.client.catalogue
    asked = catalogue._look_for
    catalogue._look_for = lambda name, then: (
        node.topics._topics.update(topics), asked(name, then)
    )  # fmt: skip
    catalogue.look()
    node.pass_time(2)
    assert (heard, catalogue.names()) == ([], ["a"])


def test_what_was_made_is_there_although_a_broker_does_not_know(node):
    catalogue, heard = started(node)
    entry = Entry(b"1" * 16, 1)
    catalogue.made("a", entry)
    catalogue.look()
    node.pass_time(2)
    assert (heard, catalogue.entries) == ([("created", "a", entry)], {"a": entry})
    node.pass_time(2 * LIST_S)
    assert catalogue.entries == {}


def test_what_others_made_just_now_is_there_although_brokers_do_not_know(node):
    """As one that was frozen, which answers what it was asked before."""
    catalogue, heard = started(node)
    node.topics.create("a", 1, {})
    entry = found(node, "a")
    topics, node.topics._topics = node.topics._topics, {}
    node.pass_time(1)
    catalogue.look()
    node.pass_time(BELIEVED_S - 5)
    catalogue.look()
    node.pass_time(1)
    node.topics._topics = topics
    assert (heard, catalogue.entries) == ([("created", "a", entry)], {"a": entry})


def test_what_was_deleted_does_not_come_back(node):
    node.topics.create("a", 1, {})
    catalogue, heard = started(node)
    entry = catalogue.entries["a"]
    catalogue.deleted("a")
    catalogue.look()  # by a broker that has not heard of it
    node.pass_time(2)
    assert (heard, catalogue.names()) == ([("deleted", "a", entry)], [])


def test_one_that_is_made_anew_is_another(node):
    catalogue, heard = started(node)
    old, new = Entry(b"1" * 16, 3), Entry(b"2" * 16, 1)
    for it in (old, new, old):
        catalogue._take("a", it)
    assert heard == [("created", "a", old), ("deleted", "a", old), ("created", "a", new)]


def test_many_changes_are_told_in_parts(node, monkeypatch):
    monkeypatch.setattr(module, "CHANGES_MAX", 10)
    catalogue, heard = started(node)
    for number in range(35):
        node.topics.create(f"t{number}", 1, {})
    turns = []
    take = catalogue._take_some
    catalogue._take_some = lambda: (take(), turns.append(len(heard)))
    catalogue.look()
    node.run()
    assert turns == [10, 20, 30, 35]


def test_many_topics_are_taken_in_in_parts_at_the_beginning_too(node, monkeypatch):
    monkeypatch.setattr(module, "CHANGES_MAX", 10)
    for number in range(35):
        node.topics.create(f"t{number}", 1, {})
    catalogue, turns = node.client.catalogue, []
    take = catalogue._take_some
    catalogue._take_some = lambda: (take(), turns.append((len(catalogue.entries), catalogue.ready)))
    _, heard = started(node)
    assert turns == [(10, False), (20, False), (30, False), (35, True)]
    assert heard == []


def test_a_cluster_that_is_not_there_is_told_of(node):
    node.up = False
    with pytest.raises(ClusterUnreachable, match="the cluster can't be reached: connection ref"):
        node.wait_for(node.client.begin_start)
    node.up = True
    assert node.wait_for(node.client.begin_start) is None
