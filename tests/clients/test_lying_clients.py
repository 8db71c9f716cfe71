"""Batches whose headers lie, sent to a real server, and what its readers make of the topic then."""

import json
import struct
import subprocess
import time

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from record_samples import with_crc, with_records
from serving import COMMAND, DEADLINE_S
from waiting import until
from wire_client import WireClient, produce_body

from logstore.records.compression import Compression
from logstore.records.encode import encode, recode

pytestmark = pytest.mark.long

MINUTE_MS = 60_000
GARBAGE = with_records(encode([(b"", None, (), 0)]), b"\xff" * 50, 3, 2)


def now_ms():
    return int(time.time() * 1000)


def three(at_ms=None, codec=Compression.NONE):
    at_ms = at_ms or now_ms()
    return bytes(
        encode([(it, None, (), at_ms) for it in (b"a", b"b", b"c")], compression=codec).data
    )


def claiming(records, at, layout, value):
    return with_crc(
        records[:at] + struct.pack(layout, value) + records[at + struct.calcsize(layout) :]
    )


def send(server, topic, records):
    """(error code, base offset)"""
    with WireClient(server.endpoint) as client:
        client.create(topic)
        client.send(0, 7, produce_body(topic, 0, bytes(records)))
        _, body = client.receive()
        return struct.unpack_from(">hq", body, 4 + 2 + len(topic) + 4 + 4)


def create(server, topic, **config):
    admin = AdminClient({"bootstrap.servers": server.address})
    settings = {name.replace("_", "."): str(value) for name, value in config.items()}
    for done in admin.create_topics([NewTopic(topic, 1, config=settings)]).values():
        done.result(DEADLINE_S)


def consumed(server, topic, count):
    """What librdkafka has read when it has come to the end of the partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": server.address, "group.id": topic,
            "auto.offset.reset": "earliest", "check.crcs": True,
        }
    )  # fmt: skip
    consumer.subscribe([topic])
    found = []
    try:
        while len(found) < count:
            message = consumer.poll(DEADLINE_S)
            assert message is not None
            assert message.error() is None
            found.append((message.offset(), message.value()))
    finally:
        consumer.close()
    return found


def logstore(*arguments):
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_unset_maximum_timestamp_does_not_hide_records_from_times(server, topic):
    """sarama up to 1.45 leaves it at -1."""
    sent_ms = now_ms()
    assert send(server, topic, claiming(three(sent_ms), 35, ">q", -1)) == (0, 0)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sent_ms / 1000 - 10))
    out = logstore(
        "consume", topic, "--from", at, "--format", "json", "--bootstrap", server.address
    )
    assert [json.loads(it)["value"] for it in out.splitlines()] == ["a", "b", "c"]


@pytest.mark.parametrize("codec", list(Compression))
@pytest.mark.parametrize("count", [2, 4])
def test_a_count_that_lies_is_refused_and_what_comes_next_is_read(server, topic, codec, count):
    lie = claiming(three(codec=codec), 57, ">i", count)
    lie = claiming(lie, 23, ">i", count - 1)
    assert send(server, topic, lie) == (87, -1)
    assert send(server, topic, three()) == (0, 0)
    assert consumed(server, topic, 3) == [(0, b"a"), (1, b"b"), (2, b"c")]


@pytest.mark.parametrize("codec", list(Compression))
def test_garbage_under_a_good_checksum_is_refused(server, topic, codec):
    assert send(server, topic, recode(GARBAGE, codec).data) == (87, -1)
    inside = bytearray(GARBAGE.data)
    inside[22] = codec  # the garbage itself is called compressed
    assert send(server, topic, with_crc(inside)) == (87, -1)
    assert send(server, topic, three()) == (0, 0)


def test_timestamps_inside_a_batch_are_compared_with_the_limits(server, topic):
    create(server, topic, message_timestamp_before_max_ms=MINUTE_MS)
    now = now_ms()
    times = (now, now - 10 * MINUTE_MS, now)
    assert send(server, topic, encode([(b"v", None, (), it) for it in times]).data) == (32, -1)


def test_what_opens_to_more_than_the_topic_takes_is_refused(server, topic):
    create(server, topic, compression_type="uncompressed", max_message_bytes=2000)
    messages = [(b"%0999d" % n, None, (), now_ms()) for n in range(50)]
    sent = encode(messages, compression=Compression.GZIP)
    assert sent.size < 2000
    assert send(server, topic, sent.data) == (10, -1)


def test_librdkafka_is_told_which_ten_of_a_hundred_records_are_bad(server, topic):
    """As its own test 0011 expects it (KIP-467).

    A flush would end the wait for the hundred, and might send a part of them as a batch of its own.
    """
    create(server, topic, cleanup_policy="compact")
    outcomes = {}
    producer = Producer(
        {
            "bootstrap.servers": server.address, "linger.ms": 60_000,
            "batch.num.messages": 100, "api.version.request": True,
        }
    )  # fmt: skip
    for n in range(100):
        producer.produce(
            topic, b"v", None if n % 10 == 0 else b"k",
            callback=lambda error, _, n=n: outcomes.__setitem__(n, error and error.name()),
        )  # fmt: skip
    until(lambda: len(outcomes) == 100, lambda: producer.poll(0.01))
    assert {n for n, name in outcomes.items() if name == "INVALID_RECORD"} == set(range(0, 100, 10))
    assert set(outcomes.values()) == {"INVALID_RECORD", "_INVALID_DIFFERENT_RECORD"}


def test_batches_of_many_megabytes_are_taken_in_their_order(server, topic):
    """They are looked into in workers; small ones of the same producer wait behind them."""
    create(server, topic, max_message_bytes=1 << 24)
    producer = Producer(
        {
            "bootstrap.servers": server.address, "enable.idempotence": True, "linger.ms": 1,
            "batch.size": 1 << 23, "message.max.bytes": 1 << 24, "compression.type": "zstd",
        }
    )  # fmt: skip
    values = [b"%07d" % n * (300_000 if n % 3 else 1) for n in range(30)]
    for value in values:
        producer.produce(topic, value)
        producer.poll(0)
    assert producer.flush(DEADLINE_S) == 0
    assert consumed(server, topic, 30) == list(enumerate(values))
