"""What a client may do, where it asks for it (KIP-430); how much room there is (KIP-827)."""

import shutil

import pytest
from librdkafka import create
from wire_client import WireClient

from logstore.kafka.messages import (
    consumer_group_describe,
    consumer_group_heartbeat,
    describe_cluster,
    describe_groups,
    describe_log_dirs,
    describe_topic_partitions,
    metadata,
)

# As a Kafka without an authorizer says it: bits by AclOperation.
OF_TOPIC, OF_GROUP, OF_CLUSTER = 0b1101_1111_1000, 0b1101_0100_1000, 0b1_1111_1010_0000
NOT_ASKED = -(2**31)


@pytest.fixture
def client(server):
    with WireClient(server.endpoint) as found:
        yield found


@pytest.mark.parametrize("asked", [False, True])
def test_operations_are_told_where_they_are_asked_for(client, server, topic, asked):
    create(server, topic)

    def told(value):
        return value if asked else NOT_ASKED

    for version in (8, 10):
        for topics in ([metadata.Topic(name=topic)], None):
            answer = client.ask(
                3, version, metadata.Request(topics, True, asked, asked), metadata.Response
            )
            assert answer.cluster_authorized_operations == told(OF_CLUSTER)
            [it] = [it for it in answer.topics if it.name == topic]
            assert it.topic_authorized_operations == told(OF_TOPIC)
    answer = client.ask(60, 1, describe_cluster.Request(asked), describe_cluster.Response)
    assert answer.cluster_authorized_operations == told(OF_CLUSTER)
    answer = client.ask(15, 5, describe_groups.Request(["none"], asked), describe_groups.Response)
    assert answer.groups[0].authorized_operations == told(OF_GROUP)
    group = f"{topic}-{asked}"
    joining = consumer_group_heartbeat.Request(
        group_id=group, member_id="m", member_epoch=0, rebalance_timeout_ms=1000,
        subscribed_topic_names=[topic], topic_partitions=[],
    )  # fmt: skip
    joined = client.ask(68, 1, joining, consumer_group_heartbeat.Response)
    assert joined.error_code == 0, joined.error_message
    request = consumer_group_describe.Request([group], asked)
    answer = client.ask(69, 1, request, consumer_group_describe.Response)
    assert answer.groups[0].authorized_operations == told(OF_GROUP)


def test_operations_on_described_partitions_are_always_told(client, server, topic):
    create(server, topic)
    request = describe_topic_partitions.Request([describe_topic_partitions.TopicRequest(topic)])
    [found] = client.ask(75, 0, request, describe_topic_partitions.Response).topics
    assert found.topic_authorized_operations == OF_TOPIC


def test_a_topic_that_is_not_there_has_no_operations(client):
    request = metadata.Request([metadata.Topic(name="none")], False, False, True)
    [found] = client.ask(3, 9, request, metadata.Response).topics
    assert found.topic_authorized_operations == NOT_ASKED


@pytest.mark.long
def test_how_much_room_there_is_on_the_disk(client, server):
    request = describe_log_dirs.Request(None)
    [found] = client.ask(35, 4, request, describe_log_dirs.Response).results
    assert found.total_bytes == shutil.disk_usage(server.data).total
    assert 0 < found.usable_bytes <= found.total_bytes
