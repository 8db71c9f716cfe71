"""From a queue to a topic exactly once, by an unmodified client of a server that is killed."""

import asyncio
import random
import signal
import subprocess
import sys
import threading

import aiokafka
import confluent_kafka
import pika
import pytest
from pika.exceptions import AMQPError
from serving import DEADLINE_S
from waiting import until

import logstore

pytestmark = pytest.mark.long

MESSAGES = 150
KILLS = 6
QUEUE, TOPIC = "orders", "billed"


def connected(address):
    host, port = address
    parameters = pika.ConnectionParameters(
        host, port, connection_attempts=200, retry_delay=0.05, socket_timeout=DEADLINE_S
    )
    return pika.BlockingConnection(parameters)


def bill(body):
    return b"bill for " + body


class Biller:
    """Takes a message, sends what it makes of it, acknowledges, and commits: again and again."""

    def __init__(self, address):
        self.address = address
        self.commits = 0
        self.error = None
        self.moved = threading.Condition()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while True:
                try:
                    if self._bill():
                        return
                except (AMQPError, OSError):
                    continue  # the server was killed: whether that was committed nobody knows
        except Exception as error:
            self.error = error
            raise

    def _bill(self):
        """Until the queue is empty."""
        connection = connected(self.address)
        channel = connection.channel()
        channel.tx_select()
        while True:
            method, _, body = channel.basic_get(QUEUE)
            if method is None:
                connection.close()
                return True
            channel.basic_publish(TOPIC, body.decode(), bill(body))
            channel.basic_ack(method.delivery_tag)
            channel.tx_commit()
            with self.moved:
                self.commits += 1
                self.moved.notify_all()

    def wait_for(self, commits):
        with self.moved:
            assert self.moved.wait_for(lambda: self.commits >= commits, DEADLINE_S), self.error


def by_confluent(server):
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": server.address, "group.id": "readers", "auto.offset.reset": "earliest",
        "enable.partition.eof": True, "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe([TOPIC])
    found, ended = [], set()
    while len(ended) < 2:
        message = consumer.poll(DEADLINE_S)
        if message.error() is None:
            found.append(message.value())
        else:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended.add(message.partition())
    consumer.close()
    return found


async def by_aiokafka(server):
    consumer = aiokafka.AIOKafkaConsumer(
        TOPIC, bootstrap_servers=server.address, auto_offset_reset="earliest", check_crcs=True
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found = []
        while len(found) < sum(ends.values()):
            message = await asyncio.wait_for(consumer.getone(), DEADLINE_S)
            found.append(message.value)
        return found
    finally:
        await consumer.stop()


def test_a_killed_server_has_each_message_in_the_topic_once(start, tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose, path = random.Random(seed), tmp_path / "data"
    with logstore.open(path) as store:
        store.create_topic(TOPIC, partitions=2)
        orders = store.queue(QUEUE)
        store.exchange(TOPIC, "x-topic")
        for n in range(MESSAGES):
            orders.publish(b"%d" % n)
    server = start(resp_port=-1, amqp_port=0)
    biller = Biller(server.amqp)
    for n in range(KILLS):
        biller.wait_for((n + 1) * MESSAGES // (KILLS + 2) + choose.randrange(10))
        server.stop(signal.SIGKILL)
        server = start(resp_port=-1, amqp_port=server.amqp[1])
    biller.thread.join(3 * DEADLINE_S)
    assert not biller.thread.is_alive()
    assert biller.error is None
    bills = sorted(bill(b"%d" % n) for n in range(MESSAGES))
    assert sorted(by_confluent(server)) == bills
    assert sorted(asyncio.run(by_aiokafka(server))) == bills
    code, errors = server.stop()
    assert (code, errors) == (0, "")
    with logstore.open(path) as store, store.consumer(TOPIC) as consumer:
        assert sorted(it.value for it in consumer) == bills
        assert store.queue(QUEUE).counts() == (0, 0, 0)


# A process of the library that is killed while what it has committed is only in the journal.
KILLED = """
import os, signal, sys
import logstore

store = logstore.open(sys.argv[1])
store.create_topic("in").append(b"1")
store.create_topic("billed", partitions=2)
store.topic("billed").append(b"0")
consumer = store.consumer("in", group="g")
record = next(iter(consumer))
model = store.internals().queues().with_model(lambda it: it)
model._holding.partitions._put = lambda it: False
model._surroundings.positions.decided = lambda *_: logstore.kept.keeping.Keeping()
with store.transaction() as tx:
    tx.append("billed", b"made of 1")
    tx.commit_offset(consumer, record)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_without_queues_has_what_the_library_has_committed(start, tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path / "data")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for _ in range(2):
        server = start(resp_port=-1)
        until(lambda: sorted(by_confluent(server)) == [b"0", b"made of 1"])  # noqa: B023
        group = confluent_kafka.Consumer({"bootstrap.servers": server.address, "group.id": "g"})
        place = confluent_kafka.TopicPartition("in", 0)
        until(lambda: group.committed([place])[0].offset == 1)  # noqa: B023
        group.close()
        assert server.stop() == (0, "")
