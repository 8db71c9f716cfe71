"""A cluster is tried before anybody relies on it: a line for each thing, and what is wrong."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster import kinds
from logstore.cluster.examination import CHECKS, FINDING, OK, Examination
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.scratch import TOPIC, Scratch
from logstore.errors import ClusterUnreachable, Failed

WANTED = [OwnTopic("__logstore-a", 3, {"retention.ms": "9"})]


@pytest.fixture
def node():
    return OneNode(transactions=True)


def examined(node):
    """By name: (state, found) of each line."""

    async def told(begin):
        return node.wait_for(begin)

    scratch = Scratch(node.client, "check-1", lambda: NOW_MS)
    made = Examination(node.client, told, "kafka-1:9092", WANTED, "nodes", scratch)
    run = made.all()
    with pytest.raises(StopIteration) as end:
        run.send(None)
    found = {}
    for it in end.value.value:
        found.setdefault(it.name, []).append((it.state, it.found))
    return found


def findings(found):
    return {name: text for name, rows in found.items() for state, text in rows if state != OK}


def test_all_is_looked_at_and_nothing_made_but_the_scratch_topic(node):
    found = examined(node)
    assert list(found) == list(CHECKS)
    [(state, few), (made, first)] = found["topics"]
    assert (state, made) == (FINDING, OK)
    assert few.startswith("the cluster has 1 broker, should be 3 or more")
    assert first == "topic __logstore-a: the first node will create it"
    assert list(findings(found)) == ["topics"]
    assert node.topics.names() == [TOPIC.name]
    assert "(50 tries)" in found["append"][0][1]
    assert "topics: 1, partitions: 1;" in found["room"][0][1]


def test_topics_that_are_there_are_looked_at(node):
    node.topics.create("__logstore-a", 2, {"retention.ms": "10"})
    texts = [text for _, text in examined(node)["topics"]]
    assert "topic __logstore-a: it has 2 partitions, should be 3" in texts
    assert "topic __logstore-a: retention.ms is 10, should be 9" in texts


def test_sessions_that_are_refused_are_the_members_own(node):
    [(state, text)] = examined(node)["sessions"]
    assert state == OK
    assert "consumer.session.timeout.ms=6000 is refused (" in text
    assert "nodes assign themselves, by the classic protocol, 6 s as well" in text


def test_a_broker_that_is_too_old_is_named_and_nothing_else_is_tried(node, monkeypatch):
    key = kinds.DELETE_RECORDS.key
    ask = node.brokers.ask

    def older(number, kind, request, then, *more):
        def answered(answer):
            if kind is kinds.API_VERSIONS:
                answer.api_keys = [it for it in answer.api_keys if it.api_key != key]
            then(answer)

        ask(number, kind, request, answered, *more)

    monkeypatch.setattr(node.brokers, "ask", older)
    found = examined(node)
    assert "speaks delete_records not at all" in findings(found)["versions"]
    assert list(found) == ["reached", "versions"]
    assert node.topics.names() == []


def test_one_without_a_fence_is_told_of_and_the_rest_is_tried(node):
    def refused(place, offset, then):
        then(Failed("error 44"))

    node.offsets.delete_below = refused
    found = examined(node)
    assert findings(found)["fence"] == "cluster kafka-1:9092 can't be checked: error 44"
    assert list(found) == list(CHECKS)


def test_one_that_is_away_is_all_that_is_told(node):
    node.up = False
    found = examined(node)
    assert list(found) == ["reached"]
    assert "the cluster can't be reached: connection refused" in findings(found)["reached"]


def test_a_broker_that_has_just_begun_is_asked_again(node):
    anybody, asked = node.identities.anybody, []

    def loading(then):
        asked.append(node.now())
        if len(asked) < 3:
            then(ClusterUnreachable("the cluster gives no id for a producer: error 14"))
        else:
            anybody(then)

    node.identities.anybody = loading
    assert list(findings(examined(node))) == ["topics"]
    assert len(asked) == 3
