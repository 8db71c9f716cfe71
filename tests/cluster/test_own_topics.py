"""The nodes' own topics: how they are made, and what is said of them."""

import pytest
from cluster_kit import OneNode

from logstore.cluster import own_rules
from logstore.cluster.own_rules import OwnTopic
from logstore.cluster.own_topics import OwnTopics
from logstore.cluster.topic_settings import Told
from logstore.errors import Refused

JOURNAL = OwnTopic("__logstore-queues", 12, {"cleanup.policy": "delete", "retention.ms": "-1"})
GOOD = {
    "cleanup.policy": "delete", "retention.ms": "-1", "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
}  # fmt: skip


def told(**others):
    texts = GOOD | {name.replace("_", "."): text for name, text in others.items()}
    return [Told(name, text, 1) for name, text in texts.items()]


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, 1, 1), (2, 2, 2), (9, 3, 2)])
def test_they_are_made_as_safe_as_the_cluster_allows(brokers, replicas, in_sync):
    assert own_rules.replicas_of(brokers) == replicas
    made = own_rules.settings_of(JOURNAL, brokers)
    assert made == GOOD | {"min.insync.replicas": str(in_sync)}


@pytest.mark.parametrize(
    ("partitions", "replicas", "others", "finding"),
    [
        (12, 3, {}, None),
        (12, 5, {"min_insync_replicas": "4"}, None),
        (12, 3, {"min_insync_replicas": "1"}, "min.insync.replicas is 1, should be 2"),
        (12, 2, {}, "replication factor is 2, should be 3"),
        (24, 3, {}, "it has 24 partitions, should be 12"),
        (12, 3, {"cleanup_policy": "compact"}, "cleanup.policy is compact, should be delete"),
        (12, 3, {"retention_ms": "1000"}, "retention.ms is 1000, should be -1"),
        (12, 3, {"unclean_leader_election_enable": "true"},
         "unclean.leader.election.enable is true, should be false"),
    ],
)  # fmt: skip
def test_what_is_other_than_it_should_be_is_found(partitions, replicas, others, finding):
    found = own_rules.findings(JOURNAL, 3, partitions, replicas, told(**others))
    assert found == ([] if finding is None else [f"topic __logstore-queues: {finding}"])


def test_words_of_a_policy_are_in_any_order():
    it = JOURNAL._replace(settings={"cleanup.policy": "compact,delete"})
    texts = told(cleanup_policy="delete,compact")
    assert own_rules.findings(it, 3, 12, 3, texts) == []


def test_they_are_made_once_and_looked_at():
    node = OneNode()
    wanted = [OwnTopic("__logstore-a", 3, {"retention.ms": "9"}), OwnTopic("__logstore-b", 1, {})]
    own = OwnTopics(node.client, wanted)
    assert node.wait_for(own.begin_check) == [
        "the cluster has 1 broker, should be 3 or more: where one dies, nodes stop or lose what "
        "they acknowledged",
        "topic __logstore-a: it is not there",
        "topic __logstore-b: it is not there",
    ]
    node.topics.create("__logstore-b", 1, {})
    node.wait_for(own.begin_make)
    assert node.topics.given("__logstore-a") == {
        "min.insync.replicas": "1", "unclean.leader.election.enable": "false", "retention.ms": "9"
    }  # fmt: skip
    assert len(node.topics.get("__logstore-a").partitions) == 3
    node.topics.alter("__logstore-a", {"retention.ms": "10"}, ())
    found = node.wait_for(own.begin_check)
    assert "topic __logstore-a: retention.ms is 10, should be 9" in found
    assert "topic __logstore-a: min.insync.replicas is 1, should be 2" in found
    assert "topic __logstore-b: replication factor is 1, should be 3" in found


def test_one_that_can_not_be_made_is_told_of():
    node = OneNode()
    own = OwnTopics(node.client, [OwnTopic("__logstore-a", 0, {})])
    with pytest.raises(Refused, match="topic '__logstore-a' can't be created: 0 partitions"):
        node.wait_for(own.begin_make)
