"""kafka-python 3: idempotent by default, and it guesses a broker's release from single requests."""

import warnings
from itertools import islice

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]

DEADLINE_MS = 20_000


def consume(server, topic, count, offset=0):
    consumer = KafkaConsumer(
        bootstrap_servers=server.address, consumer_timeout_ms=DEADLINE_MS, enable_auto_commit=False
    )
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), offset)
    found = list(islice(consumer, count))
    consumer.close()
    return found


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(server, topic, codec, acks):
    producer = KafkaProducer(
        bootstrap_servers=server.address, compression_type=codec, acks=acks,
        enable_idempotence=acks == "all",
    )  # fmt: skip
    values = [b"value %d " % n * 20 for n in range(200)]
    sent = [producer.send(topic, value, partition=0) for value in values]
    producer.flush()
    if acks != 0:
        assert [it.get(DEADLINE_MS / 1000).offset for it in sent] == list(range(200))
    producer.close()
    assert [it.value for it in consume(server, topic, 200)] == values


def test_consuming_begins_at_a_time(server, topic):
    producer = KafkaProducer(bootstrap_servers=server.address)
    start = 1_700_000_000_000
    for n in range(100):
        producer.send(topic, b"%d" % n, partition=0, timestamp_ms=start + 1000 * n)
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=server.address)
    place = TopicPartition(topic, 0)
    found = consumer.offsets_for_times({place: start + 49_500})[place]
    assert (found.offset, found.timestamp) == (50, start + 50_000)
    assert consumer.beginning_offsets([place]) == {place: 0}
    assert consumer.end_offsets([place]) == {place: 100}
    consumer.close()


def test_topics_are_made_described_and_deleted(server, topic):
    admin = KafkaAdminClient(bootstrap_servers=server.address)
    admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    assert topic in admin.list_topics()
    [described] = admin.describe_topics([topic])
    assert len(described["partitions"]) == 3
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


def test_a_healthy_node_answers_what_tools_ask_of_any_cluster(server, topic):
    admin = KafkaAdminClient(bootstrap_servers=server.address)
    admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    assert admin.list_partition_reassignments() == {}
    assert not any(admin.alter_partition_reassignments({TopicPartition(topic, 0): [1]}).values())
    [quorum] = admin.describe_metadata_quorum()["topics"][0]["partitions"]
    assert (quorum["leader_id"], [it["replica_id"] for it in quorum["current_voters"]]) == (1, [1])
    assert admin.describe_user_scram_credentials() == {}
    found = admin.list_config_resources()
    assert found["broker"] == found["broker_logger"] == ["1"]
    assert topic in found["topic"]
    admin.close()
