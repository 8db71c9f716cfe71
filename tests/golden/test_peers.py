"""Batches built by aiokafka and kafka-python are read by logstore, and logstore's by them."""

import random
import struct
import warnings

import pytest
from aiokafka.record import default_records as aiokafka_records
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy
from mostly_long import mostly_long

from logstore.records.batch import HEADER_BYTES, Batch, split
from logstore.records.compression import Compression, compress, decompress
from logstore.records.decode import decode
from logstore.records.encode import encode

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importlib.resources.read_text
    from kafka import codec as kafka_codec
    from kafka.record import default_records as kafka_records

RNG = random.Random(20)
T0 = 1_700_000_000_000

BUILDERS = {
    "aiokafka": aiokafka_records.DefaultRecordBatchBuilder,  # compiled, where there is a wheel
    "aiokafka in Python": _DefaultRecordBatchBuilderPy,
    "kafka-python": kafka_records.DefaultRecordBatchBuilder,
}
READERS = {
    "aiokafka": aiokafka_records.DefaultRecordBatch,
    "aiokafka in Python": _DefaultRecordBatchPy,
    "kafka-python": kafka_records.DefaultRecordBatch,
}


def values(count, size):
    return [(RNG.randbytes(size), None, (), T0 + n) for n in range(count)]


MESSAGES = {
    "one": [(b"v", b"k", (), T0)],
    "empty": [(b"", b"", (), 0), (b"", b"", (), 0)],
    "nulls": [(None, b"k%d" % n, (), T0 + n) if n % 2 else (b"v", None, (), T0) for n in range(40)],
    "all null": [(None, None, (), T0)] * 20,
    "equal": [(b"%0100d" % n, b"key-%06d" % n, (), T0 + n // 7) for n in range(1000)],
    "unequal": [
        (RNG.randbytes(RNG.randrange(300)), b"%d" % RNG.randrange(10**9), (), T0 + 40 * n)
        for n in range(500)
    ],
    "headers": [
        (
            b"v%d" % n,
            b"k",
            (("type", b"order"), ("id", b"%d" % n), ("id", None), ("é", b"")),
            T0 + n,
        )
        for n in range(100)
    ],
    "some headers": [(b"v", None, (("h", b"x"),) * (n % 3), T0) for n in range(50)],
    "backwards": [(b"v", b"k", (), T0 - 5000 * n) for n in range(100)],
    "wide times": [(b"v", b"k", (), T0 + n**7) for n in range(60)],
    "no keys": values(300, 100),
    "64 bytes": values(70, 64),
    "large": values(3, 200_000),
    "one large": [(b"v", b"k", (), T0), (bytes(3_000_000), None, (), T0), (b"w", b"l", (), T0)],
    "text": [(b"a line that repeats, number %d" % n, b"%d" % n, (), T0 + n) for n in range(9000)],
}


@pytest.fixture(params=list(Compression), ids=lambda it: it.name.lower())
def codec(request):
    return request.param


@pytest.fixture(params=mostly_long(MESSAGES, ["nulls", "unequal", "headers", "one large"]))
def messages(request):
    return MESSAGES[request.param]


def built(builder, messages, codec):
    batch = BUILDERS[builder](
        magic=2,
        compression_type=int(codec),
        is_transactional=True,
        producer_id=5,
        producer_epoch=1,
        base_sequence=2,
        batch_size=1 << 30,
    )
    for offset, (value, key, headers, timestamp_ms) in enumerate(messages):
        batch.append(offset, timestamp_ms, key, value, list(headers))
    return bytes(batch.build())


def as_messages(records):
    return [(it.value, it.key, tuple(it.headers), it.timestamp) for it in records]


@pytest.mark.parametrize("builder", BUILDERS)
def test_logstore_reads_a_peers_batch(builder, messages, codec):
    batch = Batch(built(builder, messages, codec))
    batch.check()
    records = decode(batch, "t", 0)
    assert [(it.value, it.key, it.headers, it.timestamp_ms) for it in records] == messages
    assert [it.offset for it in records] == list(range(len(messages)))
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (5, 1, 2)
    assert batch.is_transactional
    assert batch.record_count == len(messages)
    assert batch.base_timestamp_ms == messages[0][3]
    assert batch.max_timestamp_ms == max(it[3] for it in messages)


@pytest.mark.parametrize("reader", READERS)
def test_a_peer_reads_logstores_batch(reader, messages, codec):
    batch = encode(
        messages,
        compression=codec,
        base_offset=700,
        producer_id=5,
        producer_epoch=1,
        base_sequence=2,
        transactional=True,
    )
    theirs = READERS[reader](bytes(batch.data))
    assert theirs.validate_crc()
    assert theirs.base_offset == 700
    assert theirs.next_offset == 700 + len(messages)
    assert (theirs.producer_id, theirs.producer_epoch, theirs.base_sequence) == (5, 1, 2)
    assert theirs.is_transactional
    assert theirs.max_timestamp == batch.max_timestamp_ms
    records = list(theirs)
    assert as_messages(records) == messages
    assert [it.offset for it in records] == [700 + n for n in range(len(messages))]


@pytest.mark.parametrize("builder", BUILDERS)
def test_uncompressed_batches_are_equal_to_the_byte(builder, messages):
    theirs = Batch(built(builder, messages, Compression.NONE))
    ours = encode(
        messages,
        transactional=True,
        producer_id=5,
        producer_epoch=1,
        base_sequence=2,
        leader_epoch=theirs.leader_epoch,  # the log's to set; some builders write -1, some 0
    )
    assert bytes(ours.data) == bytes(theirs.data)


@pytest.mark.parametrize("reader", READERS)
def test_a_peer_reads_log_append_time(reader, codec):
    batch = encode(MESSAGES["headers"], compression=codec, log_append_time=True)
    records = list(READERS[reader](bytes(batch.data)))
    assert [it.timestamp for it in records] == [it.timestamp_ms for it in decode(batch)]
    assert {it.timestamp for it in records} == {batch.max_timestamp_ms}


@pytest.mark.parametrize("reader", READERS)
def test_a_peer_reads_a_control_batch(reader):
    # KIP-98: a control record's key is version and type (1: commit), its value version and epoch.
    sent = [(struct.pack(">hi", 0, 3), struct.pack(">hh", 0, 1), (), T0)]
    batch = encode(sent, control=True, transactional=True, producer_id=5, producer_epoch=1)
    theirs = READERS[reader](bytes(batch.data))
    assert theirs.is_control_batch
    assert next(iter(theirs)).key == sent[0][1]


def test_raw_snappy_as_kafka_python_can_write_it(messages):
    plain = encode(messages)
    raw = kafka_codec.snappy_encode(bytes(plain.data[HEADER_BYTES:]), xerial_compatible=False)
    header = bytearray(plain.data[:HEADER_BYTES])
    header[8:12] = (49 + len(raw)).to_bytes(4, "big")
    header[22] |= Compression.SNAPPY
    batch = Batch(bytes(header) + raw)
    assert decode(batch, check=False) == decode(plain)


@pytest.mark.parametrize("codec", list(Compression)[1:], ids=lambda it: it.name.lower())
def test_each_codecs_bytes_in_both_directions(codec):
    name = codec.name.lower()
    for data in (b"x", b"abc" * 50_000, RNG.randbytes(100_000)):
        ours = compress(codec, data)
        assert getattr(kafka_codec, f"{name}_decode")(ours) == data
        assert getattr(aiokafka_records, f"{name}_decode")(ours) == data
        for peer in (kafka_codec, aiokafka_records):
            theirs = bytes(getattr(peer, f"{name}_encode")(data))
            assert decompress(codec, theirs, len(data)) == data


def test_a_fetch_response_of_several_builders_is_split(codec):
    parts = [built(builder, MESSAGES["unequal"], codec) for builder in BUILDERS]
    batches = list(split(b"".join(parts)))
    assert [bytes(it.data) for it in batches] == parts
    assert [len(decode(it)) for it in batches] == [500] * 3
