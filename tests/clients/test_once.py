"""Repeats by clients of every kind: what they are answered, and what consumers find.

A batch of repeats alone is stored empty: clients must pass it by, also where it is the last.
"""

import asyncio
import json
import signal
import urllib.request
import warnings

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from confluent_kafka import Consumer, Producer, TopicPartition
from librdkafka import DEADLINE_S, consume, create
from serving import Serving

pytestmark = pytest.mark.long

ONCE = {"deduplication.header": "id", "deduplication.window.ms": "600000"}
IDS = [b"a", b"b", b"a", b"c", b"c", b"a", b"d", b"d"]
STORED = [0, 1, 3, 6]


def made(server, topic):
    create(server, topic, **{name.replace(".", "_"): text for name, text in ONCE.items()})


def put(server, topic, ids, **conf):
    """Each in a batch of its own; the offsets that it was told."""
    producer, offsets = Producer({"bootstrap.servers": server.address, **conf}), []

    def told(error, message):
        assert error is None, error
        offsets.append(message.offset())

    for n, it in enumerate(ids):
        producer.produce(topic, b"%d" % n, headers=[("id", it)], on_delivery=told)
        assert producer.flush(DEADLINE_S) == 0
    return offsets


def by_librdkafka(server, topic):
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "none", "enable.partition.eof": True
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while True:
        message = consumer.poll(DEADLINE_S)
        assert message is not None, found
        if message.error() is not None:  # at the end
            break
        found.append(message.offset())
    consumer.close()
    return found, message.offset()


def by_aiokafka(server, topic):
    async def read():
        consumer = AIOKafkaConsumer(bootstrap_servers=server.address, enable_auto_commit=False)
        await consumer.start()
        place = AioPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        found, end = [], (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            some = await consumer.getmany(place, timeout_ms=1000)
            found += [it.offset for it in some.get(place, [])]
        await consumer.stop()
        return found, end

    return asyncio.run(asyncio.wait_for(read(), DEADLINE_S))


def by_kafka_python(server, topic):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
        from kafka import KafkaConsumer
        from kafka import TopicPartition as PythonPartition

    consumer = KafkaConsumer(bootstrap_servers=server.address, enable_auto_commit=False)
    place = PythonPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, 0)
    found, end = [], consumer.end_offsets([place])[place]
    while consumer.position(place) < end:
        some = consumer.poll(1000)
        found += [it.offset for it in some.get(place, [])]
    consumer.close()
    return found, end


READERS = {"librdkafka": by_librdkafka, "aiokafka": by_aiokafka, "kafka-python": by_kafka_python}


@pytest.fixture(scope="module")
def repeated(server):
    """A topic whose last batches are empty."""
    made(server, "repeated")
    assert put(server, "repeated", IDS) == [*range(8)]
    return "repeated"


def test_a_repeat_is_acknowledged_and_not_stored(server, repeated):
    assert by_librdkafka(server, repeated)[0] == STORED


@pytest.mark.filterwarnings("ignore:read_text is deprecated")
@pytest.mark.parametrize("reader", READERS)
def test_a_consumer_passes_empty_batches_by_and_comes_to_the_end(server, repeated, reader):
    assert READERS[reader](server, repeated) == (STORED, 8)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_large_batches_lose_their_repeats(server, topic, codec):
    """Such that a worker looks into them."""
    made(server, topic)
    producer = Producer({
        "bootstrap.servers": server.address, "compression.type": codec, "linger.ms": 50
    })  # fmt: skip
    for n in range(20_000):
        producer.produce(topic, b"%d" % n, headers=[("id", b"%d" % (n % 7000))])
    assert producer.flush(DEADLINE_S) == 0
    found = consume(server, 7000, (topic, 0, 0))
    assert [it.value() for it in found] == [b"%d" % n for n in range(7000)]


def test_an_idempotent_producer_has_its_sequences_and_its_ids(server, topic):
    made(server, topic)
    offsets = put(server, topic, IDS, **{"enable.idempotence": True})
    assert offsets == [*range(8)]
    assert by_librdkafka(server, topic)[0] == STORED


def test_two_producers_send_the_same_at_once(server, topic):
    made(server, topic)

    async def both():
        producers = [AIOKafkaProducer(bootstrap_servers=server.address) for _ in range(2)]
        for it in producers:
            await it.start()
        sent = [
            await it.send(topic, b"%d" % n, partition=0, headers=[("id", b"%d" % n)])
            for n in range(500)
            for it in producers
        ]
        for it in producers:
            await it.flush()
            await it.stop()
        return [(await it).offset for it in sent]

    assert len(set(asyncio.run(asyncio.wait_for(both(), DEADLINE_S)))) == 1000
    found = consume(server, 500, (topic, 0, 0))
    assert sorted(int(it.value()) for it in found) == [*range(500)]


def test_ids_are_known_after_a_kill(start, topic):
    server = start(resp_port=-1)
    made(server, topic)
    put(server, topic, [b"a", b"b"])
    server.stop(signal.SIGKILL)
    server = start(resp_port=-1)
    assert put(server, topic, [b"b", b"a", b"c"]) == [2, 3, 4]
    assert by_librdkafka(server, topic) == ([0, 1, 4], 5)


# By RabbitMQ clients


@pytest.fixture(scope="module")
def rabbit(broker):
    import pika

    host, port = broker.amqp
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    yield connection
    connection.close()


@pytest.fixture
def channel(rabbit):
    it = rabbit.channel()
    it.confirm_delivery()
    yield it
    if it.is_open:
        it.close()


def publish(channel, exchange, key, body, headers, **given):
    import pika

    given = pika.BasicProperties(headers=headers, delivery_mode=2, **given)
    channel.basic_publish(exchange, key, body, given, mandatory=True)


def bodies(channel, queue):
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(got[2])
    return found


def test_a_repeat_is_confirmed_and_is_in_no_queue(channel, topic):
    """It counts as routed: ``mandatory`` says nothing."""
    queue, exchange = f"q-{topic}", f"x-{topic}"
    channel.queue_declare(queue, durable=True, arguments={"x-message-deduplication": True})
    channel.exchange_declare(
        exchange, "x-message-deduplication", durable=True, arguments={"x-cache-size": 100}
    )
    channel.queue_declare(f"all-{topic}", durable=True)
    channel.queue_bind(f"all-{topic}", exchange)
    for body in (b"1", b"2"):
        publish(channel, "", queue, body, {"x-deduplication-header": "a"})
        publish(channel, exchange, "any", body, {"x-deduplication-header": "a"})
    assert bodies(channel, queue) == [b"1"]
    assert bodies(channel, f"all-{topic}") == [b"1"]


def test_an_exchange_without_a_size_is_refused_as_by_the_plugin(rabbit, topic):
    import pika

    channel = rabbit.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        channel.exchange_declare(f"x-{topic}", "x-message-deduplication")
    assert refused.value.reply_code == 406
    assert refused.value.reply_text == (
        "PRECONDITION_FAILED - Missing or invalid argument, 'x-cache-size' must be an integer "
        "greater than 0"
    )


def test_a_queue_with_a_wrong_argument_is_refused(rabbit, topic):
    import pika

    for name, value in (("x-cache-ttl", 0), ("x-message-deduplication", "yes")):
        channel = rabbit.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            channel.queue_declare(topic, durable=True, arguments={name: value})
        assert refused.value.reply_code == 406
        assert name in refused.value.reply_text


def test_a_commit_brings_each_id_once(rabbit, topic):
    channel = rabbit.channel()
    channel.queue_declare(topic, durable=True, arguments={"x-message-deduplication": True})
    channel.tx_select()
    for body in (b"1", b"2"):
        publish(channel, "", topic, body, {"x-deduplication-header": 1})
    channel.tx_commit()
    publish(channel, "", topic, b"3", {"x-deduplication-header": 1})
    channel.tx_commit()
    assert bodies(channel, topic) == [b"1"]
    channel.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """With the HTTP door, too."""
    running = Serving(
        tmp_path_factory.mktemp("watched") / "data", resp_port=-1, amqp_port=0, http_port=0
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors


def test_what_was_kept_out_is_shown(watched, topic):
    import pika

    made(watched, topic)
    put(watched, topic, IDS)
    connection = pika.BlockingConnection(pika.ConnectionParameters(*watched.amqp))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(topic, durable=True, arguments={"x-message-deduplication": True})
    channel.exchange_declare(
        topic, "x-message-deduplication", durable=True, arguments={"x-cache-size": 2}
    )
    channel.queue_bind(topic, topic)
    for n in range(3):
        for exchange, key in (("", topic), (topic, "")):
            publish(channel, exchange, key, b"1", {"x-deduplication-header": f"{exchange}{n}"})
            publish(channel, exchange, key, b"2", {"x-deduplication-header": f"{exchange}{n}"})
    connection.close()

    def get(path):
        request = urllib.request.Request(f"http://{watched.http[0]}:{watched.http[1]}{path}")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.read()

    [partition] = json.loads(get(f"/api/v1/topics/{topic}/partitions"))["items"]
    assert partition["repeats"] == {"ids": 4, "kept_out": 4, "forgotten": 0}
    queue = json.loads(get(f"/api/v1/queues/{topic}"))
    assert queue["repeats"] == {"ids": 6, "kept_out": 3, "forgotten": 0}
    exchange = json.loads(get(f"/api/v1/exchanges/{topic}"))
    assert exchange["repeats"] == {"ids": 2, "kept_out": 3, "forgotten": 1}
    assert json.loads(get("/api/v1/exchanges/amq.direct"))["repeats"] is None
    metrics = get("/metrics").decode()
    for where, count in (("topics", 4), ("queues", 3), ("exchanges", 3)):
        assert f'logstore_repeats_kept_out_total{{where="{where}"}} {count}\n' in metrics
