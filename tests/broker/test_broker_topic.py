import itertools
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
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.partitioner import partition_for_key
from logstore.broker.topic import Position
from logstore.errors import InvalidRecord, InvalidTimestamp, RecordTooLarge, UnknownPartition
from logstore.records.compression import Compression
from logstore.records.record import Message, Record

CODECS = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}


# One record


def test_append_returns_where_the_record_stands():
    topic = memory_topic()
    assert topic.append(b"a", b"k") == Position(0, 0, NOW_MS)
    assert topic.append(b"b", timestamp_ms=5) == Position(0, 1, 5)
    assert records_in(topic) == [
        Record("t", 0, 0, NOW_MS, b"k", b"a", ()),
        Record("t", 0, 1, 5, None, b"b", ()),
    ]


def test_append_returns_after_the_sync():
    topic = memory_topic(log=UnsyncedLog)
    topic.append(b"a")
    assert topic.partitions[0].synced == 1
    topic.append_many(numbered(3))
    assert topic.partitions[0].synced == 4


def test_headers_are_a_mapping_or_pairs_that_repeat():
    topic = memory_topic()
    pairs = [("a", b"1"), ("a", None), ("ü", b"")]
    topic.append(b"", headers={"x": b"y", "z": None})
    topic.append(b"", headers=pairs)
    topic.append(b"", headers=iter(pairs))
    topic.append(b"", headers={})
    assert [record.headers for record in records_in(topic)] == [
        (("x", b"y"), ("z", None)),
        tuple(pairs),
        tuple(pairs),
        (),
    ]


def test_a_tombstone_keeps_its_key_and_empty_is_not_null():
    topic = memory_topic()
    topic.append(None, b"k")
    topic.append(b"", b"")
    assert [(r.key, r.value) for r in records_in(topic)] == [(b"k", None), (b"", b"")]


@given(st.binary(max_size=8))
def test_append_and_append_many_send_a_key_to_the_same_partition(key):
    topic = memory_topic(5)
    expected = partition_for_key(key, 5)
    assert topic.append(b"", key).partition == expected
    assert [p.partition for p in topic.append_many([Message(b"", key)] * 2)] == [expected] * 2


def test_a_keyless_record_moves_on_after_each_append():
    topic = memory_topic(3)
    partitions = [topic.append(b"").partition for _ in range(50)]
    assert all(one != next_ for one, next_ in itertools.pairwise(partitions))
    assert set(partitions) == {0, 1, 2}


@pytest.mark.parametrize("partition", [-1, 2, 99])
def test_an_unknown_partition_is_refused_and_nothing_appended(partition):
    topic = memory_topic(2)
    with pytest.raises(UnknownPartition, match="only 0 to 1"):
        topic.append(b"", partition=partition)
    with pytest.raises(UnknownPartition):
        topic.append_many(numbered(2), partition=partition)
    assert ends(topic) == [0, 0]


# Many


def test_append_many_of_nothing_is_nothing():
    assert list(memory_topic().append_many([])) == []
    assert list(memory_topic(3).append_many(iter(()))) == []


def test_append_many_takes_any_iterable_and_makes_one_batch_for_each_partition():
    topic = memory_topic(3)
    topic.append_many(Message(b"", b"%d" % at) for at in range(100))
    assert [len(batches_of(topic, number)) for number in range(3)] == [1, 1, 1]


keys = st.none() | st.sampled_from([b"a", b"b", b"c", b"d", b""])


@given(
    st.lists(st.tuples(keys, st.none() | st.integers(0, NOW_MS)), max_size=40), st.integers(1, 4)
)
def test_positions_are_in_the_order_of_the_messages(facts, partitions):
    topic = memory_topic(partitions)
    messages = [Message(b"%d" % at, key, (), ts) for at, (key, ts) in enumerate(facts)]
    positions = list(topic.append_many(messages))
    assert len(positions) == len(messages)
    found = {(r.partition, r.offset): r for n in range(partitions) for r in records_in(topic, n)}
    assert len(found) == len(messages)
    for message, position in zip(messages, positions, strict=True):
        record = found[position.partition, position.offset]
        assert (record.value, record.key) == (message.value, message.key)
        assert record.timestamp_ms == position.timestamp_ms == (message.timestamp_ms or NOW_MS) or (
            message.timestamp_ms == record.timestamp_ms == 0
        )
    for number in range(partitions):  # the order of each partition is the order of the messages
        values = [int(value) for value in values_in(topic, number)]
        assert values == sorted(values)


def test_positions_compare_index_and_slice_as_a_list():
    topic = memory_topic()
    positions = topic.append_many(numbered(3))
    assert positions == [Position(0, at, NOW_MS) for at in range(3)]
    assert positions[-1].offset == 2
    assert [p.offset for p in positions[1:]] == [1, 2]
    assert positions != []
    assert len(positions) == 3


# What a topic does not take

WRONG = [
    {"value": "text"},
    {"value": 1},
    {"value": bytearray(b"x")},
    {"value": b"", "key": "text"},
    {"value": b"", "key": 3},
    {"value": b"", "headers": {1: b""}},
    {"value": b"", "headers": {b"name": b""}},
    {"value": b"", "headers": {"a": "text"}},
    {"value": b"", "headers": {"a": 1}},
    {"value": b"", "headers": ["ab"]},
    {"value": b"", "headers": [("a", b"", b"")]},
    {"value": b"", "timestamp_ms": "now"},
    {"value": b"", "timestamp_ms": 1.5},
]


@pytest.mark.parametrize("fields", WRONG, ids=repr)
@pytest.mark.parametrize("partitions", [1, 3])
def test_wrong_types_raise_type_error_and_append_nothing(fields, partitions):
    topic = memory_topic(partitions)
    with pytest.raises(TypeError):
        topic.append(**fields)
    assert ends(topic) == [0] * partitions


@pytest.mark.parametrize("fields", [*WRONG, {"value": b"", "headers": {"abc": b"a mapping"}}])
@pytest.mark.parametrize("partitions", [1, 3])
def test_one_wrong_message_of_many_leaves_every_partition_as_it_was(fields, partitions):
    topic = memory_topic(partitions)
    good = [Message(b"", b"%d" % at) for at in range(20)]
    with pytest.raises(TypeError):
        topic.append_many([*good, Message(**fields), *good])
    assert ends(topic) == [0] * partitions


@pytest.mark.parametrize(
    ("settings", "bad", "error"),
    [
        ({"cleanup_policy": "compact"}, Message(b""), InvalidRecord),
        ({"cleanup_policy": "compact,delete"}, Message(b""), InvalidRecord),
        ({"message_timestamp_before_max_ms": "10"}, Message(b"", b"k", (), 5), InvalidTimestamp),
        ({}, Message(b"", b"k", (), NOW_MS + 3_600_001), InvalidTimestamp),
        ({"max_message_bytes": "200"}, Message(b"x" * 200, b"k"), RecordTooLarge),
        ({"max_message_bytes": "200"}, Message(b"", b"x" * 200), RecordTooLarge),
        ({"max_message_bytes": "200"}, Message(b"", b"", (("h", b"x" * 200),)), RecordTooLarge),
    ],
)
@pytest.mark.parametrize("partitions", [1, 3])
def test_a_refusal_says_which_message_and_nothing_is_appended(settings, bad, error, partitions):
    topic = memory_topic(partitions, **settings)
    messages = [Message(b"", b"%d" % at) for at in range(20)]
    messages.insert(13, bad)
    with pytest.raises(error) as caught:
        topic.append_many(messages)
    assert caught.value.index == 13
    assert ends(topic) == [0] * partitions
    with pytest.raises(error):
        topic.append(*bad)
    assert ends(topic) == [0] * partitions


# Timestamps


def test_timestamps_are_taken_up_to_the_bounds():
    bounds = {"message_timestamp_before_max_ms": "10", "message_timestamp_after_max_ms": "20"}
    topic = memory_topic(**bounds)
    for at in (NOW_MS - 10, NOW_MS + 20, None):
        topic.append(b"", timestamp_ms=at)
    for at in (NOW_MS - 11, NOW_MS + 21):
        with pytest.raises(InvalidTimestamp, match=r"message\.timestamp\.before\.max\.ms"):
            topic.append(b"", timestamp_ms=at)
    assert [r.timestamp_ms for r in records_in(topic)] == [NOW_MS - 10, NOW_MS + 20, NOW_MS]


def test_without_bounds_a_timestamp_of_over_64_bits_is_refused():
    topic = memory_topic(message_timestamp_after_max_ms=str(2**63 - 1))
    for at in (2**63, -(2**63) - 1):
        with pytest.raises(InvalidTimestamp):
            topic.append(b"", timestamp_ms=at)
    topic.append(b"", timestamp_ms=2**63 - 1)
    assert records_in(topic)[0].timestamp_ms == 2**63 - 1


def test_log_append_time_stamps_all_and_checks_no_timestamp():
    topic = memory_topic(message_timestamp_type="LogAppendTime")
    assert topic.append(b"", timestamp_ms=1).timestamp_ms == NOW_MS
    topic.append_many([Message(b"", None, (), 2**62), Message(b"")])
    assert [r.timestamp_ms for r in records_in(topic)] == [NOW_MS] * 3
    assert all(batch.attributes & 8 for batch in batches_of(topic))


# Sizes


def test_a_batch_of_exactly_max_message_bytes_is_taken_and_one_byte_more_is_not():
    size = memory_topic().rules.encode(memory_topic().rules.columns([Message(b"x" * 100)]))[0].size
    topic = memory_topic(max_message_bytes=str(size))
    topic.append(b"x" * 100)
    with pytest.raises(RecordTooLarge, match=f"of {size + 1} bytes"):
        topic.append(b"x" * 101)
    assert ends(topic) == [1]


def test_a_large_append_many_becomes_several_batches_in_order():
    topic = memory_topic(max_message_bytes="1000")
    positions = topic.append_many([Message(b"%3d" % at * 30) for at in range(100)])
    batches = batches_of(topic)
    assert len(batches) >= 10
    assert all(batch.size <= 1000 for batch in batches)
    assert [p.offset for p in positions] == list(range(100))
    assert [int(value[:3]) for value in values_in(topic)] == list(range(100))


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_written_and_read(codec):
    topic = memory_topic(compression_type=codec)
    values = [b"value %d" % (at % 3) for at in range(200)]
    topic.append_many([Message(value) for value in values])
    topic.append(b"one")
    assert {batch.compression for batch in batches_of(topic)} == {CODECS[codec]}
    assert values_in(topic) == [*values, b"one"]


@pytest.mark.parametrize("codec", CODECS)
def test_what_compression_brings_under_max_message_bytes_is_taken(codec):
    topic = memory_topic(compression_type=codec, max_message_bytes="3000")
    if codec == "uncompressed":
        with pytest.raises(RecordTooLarge):
            topic.append(b"x" * 10_000)
    else:
        topic.append(b"x" * 10_000)
        assert values_in(topic) == [b"x" * 10_000]


@pytest.mark.parametrize("codec", CODECS)
def test_what_fits_only_uncompressed_goes_uncompressed(codec):
    noise = random.Random(1).randbytes(300)
    size = memory_topic().rules.encode(memory_topic().rules.columns([Message(noise)]))[0].size
    topic = memory_topic(compression_type=codec, max_message_bytes=str(size))
    topic.append_many([Message(noise), Message(noise)])
    assert values_in(topic) == [noise, noise]
    assert all(batch.size <= size for batch in batches_of(topic))


def test_nothing_at_all_fits_into_a_topic_that_takes_no_bytes():
    topic = memory_topic(max_message_bytes="0")
    with pytest.raises(RecordTooLarge):
        topic.append()
    assert ends(topic) == [0]
