"""Real clients that read committed records only, of a topic with transactions of every kind."""

import asyncio
import warnings

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place
from serving import Serving

import logstore
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.encode import encode

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaConsumer, TopicPartition

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]

DEADLINE_S = 20
ENDS = b"end"


def written(producer, sequence, value):
    row = value, b"k", (), 1_700_000_000_000
    if producer < 0:
        return encode([row])
    return encode(
        [row], producer_id=producer, producer_epoch=0, base_sequence=sequence, transactional=True
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("committed") / "data"
    with logstore.open(data) as store:
        log = store.create_topic("t").partition(0)
        for n in range(300):
            for batch in (
                written(7, 2 * n, b"aborted"), written(8, n, b"committed"),
                written(7, 2 * n + 1, b"aborted"), marker(ABORT, 7, 0, 0),
                written(-1, 0, b"plain"), marker(COMMIT, 8, 0, 0),
            ):  # fmt: skip
                log.append(batch)
        log.append(written(-1, 0, ENDS))
        log.append(written(9, 0, b"open"))
        log.append(written(-1, 0, b"behind it"))
        log.wait(log.end)
    server = Serving(data)
    yield server
    code, errors = server.stop()
    assert (code, "Traceback" in errors) == (0, False), errors


EXPECTED = [*[b"committed", b"plain"] * 300, ENDS]


def test_librdkafka(server):
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "g", "isolation.level": "read_committed",
        "enable.auto.commit": False, "enable.partition.eof": True,
    })  # fmt: skip
    consumer.assign([Place("t", 0, 0)])
    found = []
    while (message := consumer.poll(DEADLINE_S)) is not None and message.error() is None:
        found.append(message.value())
    assert found == EXPECTED
    low, high = consumer.get_watermark_offsets(Place("t", 0), timeout=DEADLINE_S)
    assert (low, high) == (0, 300 * 6 + 1)  # it asks with its isolation level
    consumer.close()


def test_librdkafka_that_reads_all(server):
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "g", "isolation.level": "read_uncommitted",
        "enable.auto.commit": False, "enable.partition.eof": True,
    })  # fmt: skip
    consumer.assign([Place("t", 0, 0)])
    found = []
    while (message := consumer.poll(DEADLINE_S)) is not None and message.error() is None:
        found.append(message.value())
    assert len(found) == 300 * 4 + 3
    assert found[-2:] == [b"open", b"behind it"]
    consumer.close()


def test_kafka_python(server):
    consumer = KafkaConsumer(
        bootstrap_servers=server.address, isolation_level="read_committed",
        enable_auto_commit=False, consumer_timeout_ms=1000 * DEADLINE_S,
    )  # fmt: skip
    place = TopicPartition("t", 0)
    consumer.assign([place])
    consumer.seek(place, 0)
    found = []
    for message in consumer:
        found.append(message.value)
        if message.value == ENDS:
            break
    assert found == EXPECTED
    assert consumer.end_offsets([place]) == {place: 300 * 6 + 1}
    consumer.close()


def test_aiokafka(server):
    async def consume():
        consumer = AIOKafkaConsumer(
            "t", bootstrap_servers=server.address, isolation_level="read_committed",
            enable_auto_commit=False, auto_offset_reset="earliest",
        )  # fmt: skip
        await consumer.start()
        found = []
        try:
            while not found or found[-1] != ENDS:
                found.append((await consumer.getone()).value)
            return found
        finally:
            await consumer.stop()

    found = asyncio.run(asyncio.wait_for(consume(), DEADLINE_S))
    assert found == EXPECTED
