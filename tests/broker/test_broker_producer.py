import random

import pytest
from broker_parts import (
    UnsyncedLog,
    batches_of,
    ends,
    memory_topic,
    numbered,
    records_in,
    values_in,
)

from logstore.broker.producer import Producer
from logstore.config import Config
from logstore.errors import (
    Closed,
    InvalidRecord,
    InvalidSetting,
    LogFailed,
    RecordTooLarge,
    StorageFull,
    UnknownPartition,
)
from logstore.records.compression import Compression
from logstore.records.record import Message


def test_records_are_gathered_into_one_batch_until_flush():
    topic = memory_topic()
    producer = Producer(topic)
    for at in range(10):
        producer.send(b"%d" % at)
    assert ends(topic) == [0]
    producer.flush()
    assert [batch.record_count for batch in batches_of(topic)] == [10]
    assert values_in(topic) == [b"%d" % at for at in range(10)]


def test_a_batch_is_closed_when_it_has_its_bytes():
    topic = memory_topic()
    producer = Producer(topic, batch_bytes=1000)
    producer.send(b"x" * 500)
    assert ends(topic) == [0]
    producer.send(b"x" * 500)
    assert ends(topic) == [2]


def test_a_large_send_many_becomes_several_batches_of_about_the_size():
    topic = memory_topic()
    with Producer(topic, batch_bytes=10_000) as producer:
        producer.send_many([Message(b"%4d" % at * 25) for at in range(1000)])
    batches = batches_of(topic)
    assert len(batches) >= 10
    assert all(batch.size < 20_000 for batch in batches)
    assert [int(value[:4]) for value in values_in(topic)] == list(range(1000))


def test_send_keeps_the_order_of_each_partition_and_follows_the_key():
    topic = memory_topic(3)
    with Producer(topic, batch_bytes=300) as producer:
        for at in range(200):
            producer.send(b"%d" % at, b"%d" % (at % 7))
    assert sum(ends(topic)) == 200
    partition_of = {}
    for number in range(3):
        values = [int(value) for value in values_in(topic, number)]
        assert values == sorted(values)
        for record in records_in(topic, number):
            assert partition_of.setdefault(record.key, number) == number


def test_keyless_records_fill_one_partitions_batch_and_then_move():
    topic = memory_topic(3)
    with Producer(topic, batch_bytes=1000) as producer:
        for _ in range(300):
            producer.send(b"x" * 60)
        assert all(batch.record_count == 10 for n in range(3) for batch in batches_of(topic, n))
        assert all(end > 0 for end in ends(topic))


def test_a_given_partition_wins_and_an_unknown_one_is_refused():
    topic = memory_topic(2)
    with Producer(topic) as producer:
        producer.send(b"a", b"k", partition=1)
        producer.send_many(numbered(3), partition=1)
        with pytest.raises(UnknownPartition):
            producer.send(b"a", partition=2)
    assert ends(topic) == [0, 4]


def test_acknowledged_counts_what_is_synced():
    topic = memory_topic(log=UnsyncedLog)
    log = topic.partitions[0]
    producer = Producer(topic, batch_bytes=1)
    producer.send(b"a")
    producer.send(b"b")
    assert (producer.sent, producer.acknowledged, log.soon) == (2, 0, 2)
    log.sync()
    producer.send(b"c")
    assert (producer.sent, producer.acknowledged) == (3, 2)
    producer.flush()
    assert producer.acknowledged == 3
    assert log.synced == 3


def test_a_producer_that_never_flushes_does_not_gather_what_is_acknowledged():
    topic = memory_topic(log=UnsyncedLog)
    producer = Producer(topic, batch_bytes=1)
    for _ in range(1000):
        producer.send(b"a")
        topic.partitions[0].sync()
    assert len(producer._unacknowledged) <= 2


def test_flush_and_close_twice_change_nothing():
    topic = memory_topic()
    producer = Producer(topic)
    producer.flush()
    producer.send(b"a")
    producer.flush()
    producer.flush()
    producer.close()
    producer.close()
    assert ends(topic) == [1]


def test_send_after_close_is_refused():
    producer = Producer(memory_topic())
    producer.close()
    with pytest.raises(Closed, match="'t'"):
        producer.send(b"a")
    with pytest.raises(Closed):
        producer.send_many([])


def test_an_exception_in_the_block_keeps_what_was_sent():
    topic = memory_topic(log=UnsyncedLog)
    with pytest.raises(RuntimeError, match="mine"), Producer(topic) as producer:  # noqa: PT012
        producer.send(b"a")
        raise RuntimeError("mine")
    assert values_in(topic) == [b"a"]
    assert topic.partitions[0].synced == 1


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_message_that_is_not_taken_takes_none_of_its_fellows(partitions):
    topic = memory_topic(partitions, cleanup_policy="compact")
    with Producer(topic) as producer:
        producer.send(b"first", b"k")
        messages = [Message(b"", b"%d" % at) for at in range(10)]
        messages.insert(6, Message(b"keyless"))
        with pytest.raises(InvalidRecord) as caught:
            producer.send_many(messages)
        assert caught.value.index == 6
        assert producer.sent == 1
    assert sum(ends(topic)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Message("text"),
        Message(b"", 1),
        Message(b"", b"", (("a", "text"),)),
        Message(b"", b"", {"ab": b""}),
        Message(b"", b"", (), 1.5),
        Message(b"", b"", (), "now"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("partitions", [1, 3])
def test_a_message_of_wrong_types_does_not_spoil_its_batch(wrong, partitions):
    topic = memory_topic(partitions)
    with Producer(topic) as producer:
        producer.send(b"before", b"a")
        with pytest.raises(TypeError):
            producer.send_many([Message(b"fellow", b"b"), wrong])
        producer.send(b"after", b"a")
        assert producer.sent == 2
    values = [value for number in range(partitions) for value in values_in(topic, number)]
    assert values == [b"before", b"after"]


def test_a_record_that_its_codec_makes_too_large_goes_uncompressed():
    noise = random.Random(1).randbytes(300)
    size = memory_topic().rules.encode(memory_topic().rules.columns([Message(noise)]))[0].size
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        topic = memory_topic(max_message_bytes=str(size))
        with Producer(topic, compression=codec) as producer:
            producer.send(b"before")
            producer.send(noise)
            producer.send(b"after")
            with pytest.raises(RecordTooLarge):
                producer.send(noise + b"x")
        assert values_in(topic) == [b"before", noise, b"after"]
        assert all(batch.size <= size for batch in batches_of(topic))


# Compression


def test_the_producers_codec_counts_where_the_topic_leaves_it_to_the_producer():
    topic = memory_topic()
    with Producer(topic, compression="zstd") as producer:
        producer.send_many(numbered(100))
    assert batches_of(topic)[0].compression == Compression.ZSTD
    topic = memory_topic(compression_type="gzip")
    with Producer(topic, compression="zstd") as producer:
        producer.send_many(numbered(100))
    assert batches_of(topic)[0].compression == Compression.GZIP


def test_a_codec_set_while_a_producer_is_open_counts_from_the_next_batch():
    topic = memory_topic()
    with Producer(topic) as producer:
        producer.send_many(numbered(50))
        producer.flush()
        topic.change(Config().topic({"compression.type": "lz4"}))
        producer.send_many(numbered(50))
    assert [b.compression for b in batches_of(topic)] == [Compression.NONE, Compression.LZ4]


def test_an_unknown_codec_is_refused_with_the_known_ones():
    with pytest.raises(InvalidSetting, match="'brotli': must be one of uncompressed, gzip, snappy"):
        Producer(memory_topic(), compression="brotli")


# A log that can't


def test_what_a_full_disk_refused_is_written_by_a_later_flush_in_order():
    topic = memory_topic(log=UnsyncedLog)
    log = topic.partitions[0]
    producer = Producer(topic, batch_bytes=100)
    producer.send(b"first")
    log.full = True
    with pytest.raises(StorageFull):
        producer.send(b"x" * 100)
    with pytest.raises(StorageFull):
        producer.send(b"y" * 100)
    with pytest.raises(StorageFull):
        producer.flush()
    assert (producer.sent, producer.acknowledged) == (3, 0)
    log.full = False
    producer.send(b"last")
    producer.close()
    assert values_in(topic) == [b"first", b"x" * 100, b"y" * 100, b"last"]
    assert producer.acknowledged == 4


def test_one_full_log_does_not_lose_what_the_same_call_sent_elsewhere():
    topic = memory_topic(3, log=UnsyncedLog)
    producer = Producer(topic, batch_bytes=1)
    topic.partitions[0].full = True
    with pytest.raises(StorageFull):
        producer.send_many([Message(b"%d" % at, b"%d" % at) for at in range(30)])
    topic.partitions[0].full = False
    producer.close()
    values = [int(value) for number in range(3) for value in values_in(topic, number)]
    assert sorted(values) == list(range(30))


def test_a_failed_log_is_told_at_send_at_flush_and_at_the_end_and_is_never_acknowledged():
    topic = memory_topic(log=UnsyncedLog)
    log = topic.partitions[0]
    with pytest.raises(LogFailed), Producer(topic, batch_bytes=1) as producer:  # noqa: PT012
        producer.send(b"written")
        log.failed = True
        with pytest.raises(LogFailed):
            producer.send(b"refused")
        with pytest.raises(LogFailed):
            producer.flush()
    assert (producer.sent, producer.acknowledged) == (2, 0)
    with pytest.raises(Closed):
        producer.send(b"late")
