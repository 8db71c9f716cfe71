"""Clusters of brokers that are older: topics by names, and what they can't do at all."""

import pytest
from clock import NOW_MS
from cluster_kit import OneNode

from logstore.cluster import kinds
from logstore.cluster.catalogue import BELIEVED_S
from logstore.cluster_topics import ClusterTopics
from logstore.errors import ClusterUnreachable
from logstore.records.decode import decode

# The highest versions, as Apache Kafka's brokers tell them.
KAFKA = {
    "2.1": {
        kinds.PRODUCE: 7, kinds.FETCH: 10, kinds.LIST_OFFSETS: 4, kinds.METADATA: 7,
        kinds.FIND_COORDINATOR: 2, kinds.CREATE_TOPICS: 3, kinds.DELETE_TOPICS: 3,
        kinds.DELETE_RECORDS: 1, kinds.INIT_PRODUCER_ID: 1, kinds.DESCRIBE_CONFIGS: 2,
        kinds.CREATE_PARTITIONS: 1,
    },
    "2.4": {
        kinds.PRODUCE: 8, kinds.FETCH: 11, kinds.LIST_OFFSETS: 5, kinds.METADATA: 9,
        kinds.FIND_COORDINATOR: 3, kinds.CREATE_TOPICS: 5, kinds.DELETE_TOPICS: 4,
        kinds.DELETE_RECORDS: 1, kinds.INIT_PRODUCER_ID: 2, kinds.DESCRIBE_CONFIGS: 2,
        kinds.CREATE_PARTITIONS: 1,
    },
    "2.8": {  # which gives topics ids, and takes records by names
        kinds.PRODUCE: 9, kinds.FETCH: 12, kinds.LIST_OFFSETS: 6, kinds.METADATA: 11,
        kinds.FIND_COORDINATOR: 3, kinds.CREATE_TOPICS: 7, kinds.DELETE_TOPICS: 6,
        kinds.DELETE_RECORDS: 2, kinds.INIT_PRODUCER_ID: 4, kinds.DESCRIBE_CONFIGS: 4,
        kinds.CREATE_PARTITIONS: 3,
    },
}  # fmt: skip


@pytest.fixture(params=KAFKA)
def node(request):
    node = OneNode()
    node.release = request.param
    node.speaks = {kind.key: high for kind, high in KAFKA[request.param].items()}
    return node


def topics_of(node):
    topics = ClusterTopics(node.client, node.wait_for, lambda: True, lambda: NOW_MS)
    node.wait_for(node.client.begin_start)
    return topics


def test_records_are_appended_and_read(node):
    node.topics.create("a", 1, {})
    topic = topics_of(node).get("a")
    assert topic.id == ("" if node.release < "2.8" else node.topics.get("a").id)
    assert [topic.append(value).offset for value in (b"x", b"y")] == [0, 1]
    node.pass_time(1)
    log = topic.partition(0)
    assert [it.value for batch in log.read(0, 1 << 20) for it in decode(batch)] == [b"x", b"y"]
    log.trim(1)
    assert log.start == 1


def test_topics_come_and_go(node):
    topics = topics_of(node)
    if node.release == "2.1":
        with pytest.raises(ClusterUnreachable, match="create_topics in versions 2 to 3, and 4"):
            topics.create("a", 2, {})
        return
    assert len(topics.create("a", 2, {}).partitions) == 2
    assert len(topics.grow("a", 3).partitions) == 3
    topics.delete("a")
    assert (topics.get("a"), node.topics.names()) == (None, [])
    node.pass_time(BELIEVED_S + 1)  # the kit gives the next of a name the same id
    assert len(topics.create("a", 1, {}).partitions) == 1
