"""librdkafka, the C client, by confluent-kafka."""

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from librdkafka import DEADLINE_S, admin, consume, create, outcome, produce


@pytest.mark.parametrize("acks", ["0", "1", "all"])
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(server, topic, codec, acks):
    values = [b"value %d " % n * 20 for n in range(500)]
    create(server, topic)
    assert produce(server, topic, values, **{"compression.type": codec, "acks": acks}) == []
    found = consume(server, 500, (topic, 0, 0))
    assert [it.value() for it in found] == values
    assert [it.offset() for it in found] == list(range(500))


@pytest.mark.parametrize("codec", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_a_topic_with_a_codec_of_its_own_holds_batches_in_it(server, topic, codec):
    create(server, topic, compression_type=codec)
    values = [b"value %d " % n * 20 for n in range(300)]
    assert produce(server, topic, values, **{"compression.type": "zstd"}) == []
    assert [it.value() for it in consume(server, 300, (topic, 0, 0))] == values


def test_a_topic_is_made_when_it_is_produced_to(server, topic):
    assert produce(server, topic, [b"1"]) == []
    assert topic in admin(server).list_topics(timeout=DEADLINE_S).topics


def test_keys_headers_and_timestamps_come_back(server, topic):
    producer = Producer({"bootstrap.servers": server.address})
    producer.produce(
        topic, b"v", b"k", headers=[("a", b"1"), ("b", None)], timestamp=1_600_000_000_000
    )
    assert producer.flush(DEADLINE_S) == 0
    [found] = consume(server, 1, (topic, 0, 0))
    assert (found.key(), found.headers()) == (b"k", [("a", b"1"), ("b", None)])
    assert found.timestamp()[1] == 1_600_000_000_000


def test_an_idempotent_producer_is_served(server, topic):
    values = [b"%d" % n for n in range(2000)]
    conf = {"enable.idempotence": True, "batch.num.messages": 100}
    assert produce(server, topic, values, **conf) == []
    assert [it.value() for it in consume(server, 2000, (topic, 0, 0))] == values


def test_a_compacted_topic_refuses_what_has_no_key(server, topic):
    create(server, topic, cleanup_policy="compact")
    assert produce(server, topic, [b"1"]) == ["INVALID_RECORD"]
    assert produce(server, topic, [b"1"], keys=[b"k"]) == []
    assert produce(server, topic, [b"1"], keys=[b"k"], **{"compression.type": "gzip"}) == []
    assert produce(server, topic, [b"1"], **{"compression.type": "gzip"}) == ["INVALID_RECORD"]


def test_too_much_for_a_topic_is_refused(server, topic):
    create(server, topic, max_message_bytes="1000")
    assert produce(server, topic, [b"x" * 2000]) == ["MSG_SIZE_TOO_LARGE"]
    assert produce(server, topic, [b"x" * 500]) == []


def test_a_timestamp_out_of_bounds_is_refused(server, topic):
    create(server, topic, message_timestamp_before_max_ms="1000")
    assert produce(server, topic, [b"x"], timestamps=[1_600_000_000_000]) == ["INVALID_TIMESTAMP"]
    assert produce(server, topic, [b"x"]) == []


def test_log_append_time_is_the_servers(server, topic):
    create(server, topic, message_timestamp_type="LogAppendTime")
    before = time.time() * 1000
    assert produce(server, topic, [b"x"], timestamps=[1_600_000_000_000]) == []
    [found] = consume(server, 1, (topic, 0, 0))
    assert before - 1000 <= found.timestamp()[1] <= time.time() * 1000 + 1000


def test_consuming_begins_at_a_time(server, topic):
    start = 1_700_000_000_000
    times = [start + 1000 * n for n in range(100)]
    assert produce(server, topic, [b"%d" % n for n in range(100)], timestamps=times) == []
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "none"})
    asked = [TopicPartition(topic, 0, start + 49_500), TopicPartition(topic, 0, start + 10**9)]
    [at], [after] = (consumer.offsets_for_times([it], timeout=DEADLINE_S) for it in asked)
    assert (at.offset, after.offset) == (50, -1)
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0)) == (0, 100)
    consumer.close()
    [found] = consume(server, 1, (topic, 0, at.offset))
    assert found.value() == b"50"


def test_a_consumer_waits_for_what_comes(server, topic):
    create(server, topic)
    conf = {"bootstrap.servers": server.address, "group.id": "none", "fetch.wait.max.ms": 10_000}
    consumer = Consumer(conf)
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert consumer.poll(0.2) is None
    assert produce(server, topic, [b"news"]) == []
    message = consumer.poll(DEADLINE_S)
    assert message.value() == b"news"
    consumer.close()


def test_topics_are_made_grown_altered_and_deleted(server, topic):
    client = admin(server)
    create(server, topic, 3, retention_ms="5000")
    again, bad, copies, odd = (
        NewTopic(topic, 1, 1),
        NewTopic("not allowed!", 1, 1),
        NewTopic(topic + "-3", 1, 3),
        NewTopic(topic + "-x", 1, 1, config={"retention.sm": "1"}),
    )
    assert outcome(client.create_topics([again, bad, copies, odd])) == [
        "TOPIC_ALREADY_EXISTS", "TOPIC_EXCEPTION", "INVALID_REPLICATION_FACTOR", "INVALID_CONFIG",
    ]  # fmt: skip
    assert outcome(client.create_topics([NewTopic(topic + "-v", 1, 1)], validate_only=True)) == [
        None
    ]
    assert topic + "-v" not in client.list_topics(timeout=DEADLINE_S).topics
    assert outcome(client.create_partitions([NewPartitions(topic, 5)])) == [None]
    assert outcome(client.create_partitions([NewPartitions(topic, 2)])) == ["INVALID_PARTITIONS"]
    assert len(client.list_topics(timeout=DEADLINE_S).topics[topic].partitions) == 5
    assert outcome(client.delete_topics([topic, topic + "-none"])) == [
        None, "UNKNOWN_TOPIC_OR_PART",
    ]  # fmt: skip
    assert topic not in client.list_topics(timeout=DEADLINE_S).topics


def described(server, kind, name):
    [done] = admin(server).describe_configs([ConfigResource(kind, name)]).values()
    return {it.name: (it.value, it.source, it.is_default) for it in done.result().values()}


def test_settings_are_described_with_their_source_and_changed(server, topic):
    create(server, topic, retention_ms="5000")
    settings = described(server, "topic", topic)
    assert settings["retention.ms"] == ("5000", 1, False)
    assert settings["segment.bytes"] == ("1073741824", 5, True)
    changes = [
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
        ConfigEntry("segment.ms", "1000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
    ]
    asked = ConfigResource("topic", topic, incremental_configs=changes)
    assert outcome(admin(server).incremental_alter_configs([asked])) == [None]
    settings = described(server, "topic", topic)
    assert settings["retention.ms"] == ("604800000", 5, True)
    assert settings["segment.ms"] == ("1000", 1, False)
    assert settings["cleanup.policy"] == ("delete,compact", 1, False)
    node = described(server, "broker", "1")
    assert node["num.partitions"] == ("1", 5, True)


def test_records_are_deleted_before_an_offset(server, topic):
    assert produce(server, topic, [b"%d" % n for n in range(10)]) == []
    [done] = admin(server).delete_records([TopicPartition(topic, 0, 4)]).values()
    assert done.result().low_watermark == 4
    [found] = consume(server, 1, (topic, 0, 0), **{"auto.offset.reset": "earliest"})
    assert (found.offset(), found.value()) == (4, b"4")


def test_the_latest_timestamp_is_found(server, topic):
    times = [1_700_000_000_000 + n for n in (1, 9, 3)]
    assert produce(server, topic, [b"a", b"b", b"c"], timestamps=times) == []
    asked = {TopicPartition(topic, 0): OffsetSpec.max_timestamp()}
    [done] = admin(server).list_offsets(asked).values()
    assert (done.result().offset, done.result().timestamp) == (1, times[1])
