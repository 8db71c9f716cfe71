"""Each topic setting: that it does what it says, or that it is refused with a reason.

Those of retention and compaction are kept and shown; upkeep acts on them.
"""

from pathlib import Path

import pytest
from clock import NOW_MS
from library_parts import CountingDisk

import logstore
from logstore import Message
from logstore.config import text_of
from logstore.errors import InvalidRecord, InvalidSetting, InvalidTimestamp, RecordTooLarge
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.settings import TOPIC_SETTINGS

OF_UPKEEP = {
    "compression.sealed": "zstd",
    "compression.zstd.level": "19",
    "delete.retention.ms": "1000",
    "delivery.schedule": "true",  # by test_scheduled_topics
    "errors.deadletterqueue.group.enable": "true",  # by test_library_shares
    "file.delete.delay.ms": "1000",
    "follower.replication.throttled.replicas": "0:1,1:1",
    "leader.replication.throttled.replicas": "*",
    "local.retention.bytes": "1000",
    "local.retention.ms": "1000",
    "max.compaction.lag.ms": "1000",
    "min.cleanable.dirty.ratio": "0.25",
    "min.compaction.lag.ms": "1000",
    "remote.log.copy.disable": "true",
    "remote.log.delete.on.disable": "true",
    "retention.bytes": "1000",
    "retention.groups": "audit,billing",
    "retention.groups.max.ms": "1000",
    "retention.ms": "1000",
    "segment.jitter.ms": "1000",
    "unclean.leader.election.enable": "true",
}
TESTED = {}


@pytest.fixture
def disk():
    return CountingDisk()


@pytest.fixture
def store(tmp_path, disk):
    with logstore.open(tmp_path / "data", disk=disk, clock=lambda: NOW_MS) as store:
        yield store


def shows(name):
    TESTED[name] = True
    return lambda test: test


def batches(topic):
    log = topic.partitions[0]
    return log.read(log.start, 1 << 30)


def files(store, ending, topic="t"):
    return sorted(Path(store.path, f"{topic}-0").glob(f"*{ending}"))


def both_ways(store, name, text):
    """The setting given at the start, and given to a topic that is open already."""
    made = store.create_topic("made", settings={name: text})
    altered = store.create_topic("altered")
    store.alter_topic("altered", {name: text})
    return made, altered


@pytest.mark.parametrize("name", OF_UPKEEP)
def test_settings_of_upkeep_are_kept_and_shown(store, name):
    for topic in both_ways(store, name, OF_UPKEEP[name]):
        shown = {it.name: it for it in store.describe_topic(topic.name)}[name]
        assert (text_of(shown.value), shown.source) == (OF_UPKEEP[name], "topic")


@shows("cleanup.policy")
@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_refuses_records_without_a_key(store, policy):
    for topic in both_ways(store, "cleanup.policy", policy):
        with pytest.raises(InvalidRecord, match="compacted"):
            topic.append(b"")
        with store.producer(topic.name) as producer, pytest.raises(InvalidRecord):
            producer.send(b"")
        topic.append(b"", b"k")
        store.alter_topic(topic.name, reset=["cleanup.policy"])
        topic.append(b"")


@shows("compression.type")
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_are_written_in_the_topics_codec(store, codec):
    for topic in both_ways(store, "compression.type", codec):
        topic.append(b"x" * 100)
        with store.producer(topic.name) as producer:
            producer.send(b"x" * 100)
        assert {it.compression for it in batches(topic)} == {Compression[codec.upper()]}


LEVELS = {"gzip": ("1", "9"), "lz4": ("9", "12"), "zstd": ("-50", "19")}


@shows("compression.gzip.level")
@shows("compression.lz4.level")
@pytest.mark.parametrize("codec", LEVELS)
def test_batches_are_compressed_at_the_topics_level(store, codec):
    text = b"".join(b"%d is what %d times %d is; " % (n * n, n, n) for n in range(4000))
    sizes = []
    for level in LEVELS[codec]:
        topic = store.create_topic(
            f"level{level}",
            settings={"compression.type": codec, f"compression.{codec}.level": level},
        )
        topic.append(text)
        with store.producer(topic.name) as producer:
            producer.send(text)
        first, second = batches(topic)
        assert first.size == second.size
        assert [record.value for record in store.consumer(topic.name)] == [text, text]
        sizes.append(first.size)
    assert sizes[0] > sizes[1] * 1.05


@shows("remote.storage.enable")
def test_remote_storage_is_refused_as_by_a_kafka_without_it(store):
    for topic in both_ways(store, "remote.storage.enable", "false"):
        assert topic.settings.remote_storage_enable is False
    with pytest.raises(InvalidSetting, match="there is no remote storage"):
        store.create_topic("t", settings={"remote.storage.enable": "true"})


@shows("flush.messages")
def test_every_append_is_synced_unless_flush_messages_is_higher(store, disk):
    topic = store.create_topic("t")
    for _ in range(3):
        before = disk.syncs
        topic.append(b"")
        assert disk.syncs > before
    for relaxed in both_ways(store, "flush.messages", "5"):
        before = disk.syncs
        for _ in range(4):
            relaxed.append(b"")
        assert disk.syncs == before
        assert relaxed.partitions[0].safe == 4
        relaxed.append(b"")
        disk.wait_for_sync(before)


@shows("flush.ms")
def test_flush_ms_syncs_what_flush_messages_would_leave(store, disk):
    topic = store.create_topic("t", settings={"flush.messages": "1000", "flush.ms": "1"})
    before = disk.syncs
    topic.append(b"")
    disk.wait_for_sync(before)


@shows("index.interval.bytes")
def test_index_entries_come_every_so_many_bytes(store):
    entries = {}
    for interval in (0, 1000, 1_000_000):
        name = f"t{interval}"
        topic = store.create_topic(name, settings={"index.interval.bytes": str(interval)})
        for _ in range(50):
            topic.append(b"x" * 100)
        entries[interval] = len(topic.partitions[0]._active.segment.index.positions)
    assert entries[0] >= 49
    assert 5 <= entries[1000] <= 20
    assert entries[1_000_000] <= 1


def test_an_altered_index_interval_counts_from_the_next_segment(store):
    topic = store.create_topic("t")
    topic.append(b"x" * 100)  # its log is in use
    store.alter_topic("t", {"index.interval.bytes": "0"})
    log = topic.partitions[0]
    for _ in range(2):
        for _ in range(10):
            topic.append(b"x" * 100)
        log.roll()
    first, second, _ = [log.chain.segment(base) for base in log.chain.bases]
    assert len(first.index.positions) <= 1
    assert len(second.index.positions) >= 9


@shows("max.message.bytes")
def test_a_larger_batch_is_refused(store):
    for topic in both_ways(store, "max.message.bytes", "1000"):
        topic.append(b"x" * 900)
        with pytest.raises(RecordTooLarge, match=r"max\.message\.bytes, 1000"):
            topic.append(b"x" * 1000)


@shows("message.timestamp.before.max.ms")
def test_a_timestamp_too_far_back_is_refused(store):
    for topic in both_ways(store, "message.timestamp.before.max.ms", "1000"):
        topic.append(b"", timestamp_ms=NOW_MS - 1000)
        with pytest.raises(InvalidTimestamp):
            topic.append(b"", timestamp_ms=NOW_MS - 1001)


@shows("message.timestamp.after.max.ms")
def test_a_timestamp_too_far_ahead_is_refused(store):
    for topic in both_ways(store, "message.timestamp.after.max.ms", "1000"):
        topic.append(b"", timestamp_ms=NOW_MS + 1000)
        with pytest.raises(InvalidTimestamp):
            topic.append(b"", timestamp_ms=NOW_MS + 1001)


@shows("message.timestamp.type")
def test_log_append_time_is_the_time_of_the_append(store):
    for topic in both_ways(store, "message.timestamp.type", "LogAppendTime"):
        topic.append(b"", timestamp_ms=5)
        with store.consumer(topic.name) as consumer:
            assert [record.timestamp_ms for record in consumer] == [NOW_MS]


@shows("min.insync.replicas")
def test_more_than_one_copy_is_refused_with_the_reason(store):
    for topic in both_ways(store, "min.insync.replicas", "1"):
        assert topic.settings.min_insync_replicas == 1
    with pytest.raises(InvalidSetting, match=r"min\.insync\.replicas=2: must be .*one copy"):
        store.create_topic("t", settings={"min.insync.replicas": "2"})


@shows("preallocate")
def test_preallocate_writes_ahead_of_the_first_append(store):
    plain = store.create_topic("plain")
    plain.append(b"x")
    assert files(store, ".log", "plain")[0].stat().st_size < 1000
    for topic in both_ways(store, "preallocate", "true"):
        topic.append(b"x")
        assert files(store, ".log", topic.name)[0].stat().st_size > 100_000
        assert len(batches(topic)) == 1


def rolls(topic, count=20, size=100, step_ms=0):
    for at in range(count):
        topic.append(b"x" * size, timestamp_ms=NOW_MS - 100_000 + at * step_ms)
    return len(topic.partitions[0].chain.bases)


@shows("deduplication.header")
def test_a_record_whose_id_came_before_is_not_stored(store):
    for topic in both_ways(store, "deduplication.header", "id"):
        for value, it in ((b"a", b"1"), (b"b", b"1"), (b"c", b"2")):
            topic.append(value, headers={"id": it})
        stored = [it.value for batch in batches(topic) for it in decode(batch)]
        assert stored == [b"a", b"c"]


@shows("deduplication.window.ms")
def test_an_id_is_known_for_so_long(store):
    for topic in both_ways(store, "deduplication.window.ms", "1000"):
        store.alter_topic(topic.name, {"deduplication.header": "id"})
        for at in (0, 999, 1000):
            topic.append(b"%d" % at, headers={"id": b"1"}, timestamp_ms=NOW_MS - 9000 + at)
        stored = [it.value for batch in batches(topic) for it in decode(batch)]
        assert stored == [b"0", b"1000"]


@shows("segment.bytes")
def test_a_segment_of_so_many_bytes_is_rolled(store):
    for topic in both_ways(store, "segment.bytes", "1000"):
        assert rolls(topic) >= 4
        assert all(path.stat().st_size <= 1000 for path in files(store, ".log", topic.name))


@shows("segment.ms")
def test_a_segment_of_so_long_a_time_is_rolled(store):
    for topic in both_ways(store, "segment.ms", "1000"):
        assert rolls(topic, step_ms=300) == 5


@shows("segment.index.bytes")
def test_a_segment_whose_index_is_full_is_rolled(store):
    settings = {"segment.index.bytes": "24", "index.interval.bytes": "0"}
    topic = store.create_topic("t", settings=settings)
    assert rolls(topic) >= 5
    assert all(path.stat().st_size <= 48 for path in files(store, ".index"))


def test_every_topic_setting_is_shown_by_a_test_here():
    assert set(TESTED) | set(OF_UPKEEP) == set(TOPIC_SETTINGS)


# Altering


def test_settings_and_partitions_altered_count_for_topics_and_producers_that_are_open(store):
    topic = store.create_topic("t", 2)
    producer = store.producer("t")
    store.alter_topic("t", {"max.message.bytes": "500"}, partitions=4)
    assert store.topic("t") is topic
    assert len(topic.partitions) == 4
    store.alter_topic("t", {"max.message.bytes": "300"})
    for use in (topic.append, producer.send):
        with pytest.raises(RecordTooLarge, match="300"):
            use(b"x" * 400)
    assert all(log.settings.max_message_bytes == 300 for log in topic.partitions)
    partitions = {
        p.partition for p in topic.append_many([Message(b"", b"%d" % n) for n in range(99)])
    }
    assert partitions == {0, 1, 2, 3}
    producer.send_many([Message(b"", b"%d" % at) for at in range(99)])
    producer.close()
    with store.consumer("t") as consumer:
        places = {(record.key, record.partition) for record in consumer}
    assert len(places) == 99  # both send a key to the same partition


def test_a_setting_that_is_reset_comes_from_the_default_again(store):
    topic = store.create_topic("t", settings={"segment.bytes": "1000", "segment.ms": "1000"})
    store.alter_topic("t", {"segment.ms": "2000"}, reset=["segment.bytes", "flush.ms"])
    assert topic.settings.segment_bytes == 1 << 30
    assert topic.settings.segment_ms == 2000
    assert {it.name for it in store.describe_topic("t") if it.source == "topic"} == {"segment.ms"}


def test_an_alteration_that_is_refused_changes_nothing(store):
    topic = store.create_topic("t", 2, {"segment.bytes": "1000"})
    before = topic.settings
    for wrong in (
        {"settings": {"segment.ms": "5", "segment.bytes": "no"}},
        {"settings": {"segment.ms": "5"}, "partitions": 2},
        {"settings": {"segment.ms": "5"}, "partitions": 1},
        {"settings": {"segment.ms": "5"}, "partitions": 100_001},
        {"settings": {"segment.ms": "5"}, "reset": ["nosuch"]},
    ):
        with pytest.raises(logstore.errors.Refused):
            store.alter_topic("t", **wrong)
    assert topic.settings == before
    assert store.topic("t").settings == before
    assert len(store.topic("t").partitions) == 2


def test_alterations_are_there_after_the_store_was_closed(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t")
        store.alter_topic("t", {"segment.bytes": "1000"}, partitions=3)
    with logstore.open(tmp_path / "data") as store:
        assert store.topic("t").settings.segment_bytes == 1000
        assert len(store.topic("t").partitions) == 3
