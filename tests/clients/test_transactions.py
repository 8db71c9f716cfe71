"""Transactional producers of other people's libraries, against a server in its own process."""

import asyncio
import signal
import threading
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from librdkafka import DEADLINE_S, admin, outcome
from wire_client import WireClient

from logstore.kafka.messages import (
    describe_transactions,
    end_txn,
    init_producer_id,
    list_transactions,
)
from logstore.kafka.messages import write_txn_markers as markers_messages

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaProducer
    from kafka.errors import KafkaError as KafkaPythonError

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]


@pytest.fixture
def name():
    return f"id-{uuid.uuid4().hex[:8]}"


def make(server, topic, partitions=2):
    assert outcome(admin(server).create_topics([NewTopic(topic, partitions, 1)])) == [None]


def producer(server, name, **more):
    made = Producer({
        "bootstrap.servers": server.address, "transactional.id": name, "linger.ms": 0, **more,
    })  # fmt: skip
    made.init_transactions(DEADLINE_S)
    return made


def send(made, topic, *values, partition=0):
    """Written, and acknowledged."""
    for value in values:
        made.produce(topic, value, partition=partition)
    assert made.flush(DEADLINE_S) == 0


def committed(server, topic, partitions=2, isolation="read_committed"):
    """All values there are, by partition."""
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "reads", "isolation.level": isolation,
        "enable.auto.commit": False, "enable.partition.eof": True,
    })  # fmt: skip
    consumer.assign([TopicPartition(topic, it, 0) for it in range(partitions)])
    found, left = {it: [] for it in range(partitions)}, partitions
    while left:
        message = consumer.poll(DEADLINE_S)
        assert message is not None
        if message.error() is None:
            found[message.partition()].append(message.value())
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF
            left -= 1
    consumer.close()
    return found


def test_the_first_producer_of_a_new_server_is_not_to_ask_again(start):
    with WireClient(start().endpoint) as client:
        request = init_producer_id.Request("first", 60_000, -1, -1)
        answer = client.ask(22, 4, request, init_producer_id.Response)
    assert (answer.error_code, answer.producer_epoch) == (0, 0)


def test_librdkafka_commits_and_aborts(server, topic, name):
    make(server, topic)
    made = producer(server, name)
    for number in range(4):
        made.begin_transaction()
        for partition in range(2):
            made.produce(topic, b"%d" % number, partition=partition)
        if number % 2:
            assert made.flush(DEADLINE_S) == 0
            made.abort_transaction(DEADLINE_S)
        else:
            made.commit_transaction(DEADLINE_S)
    assert committed(server, topic) == {0: [b"0", b"2"], 1: [b"0", b"2"]}
    read = committed(server, topic, isolation="read_uncommitted")
    assert read[0] == [b"0", b"1", b"2", b"3"]


def test_librdkafka_is_fenced_by_another_with_its_id(server, topic, name):
    make(server, topic)
    first = producer(server, name)
    first.begin_transaction()
    send(first, topic, b"of the first")
    second = producer(server, name)
    second.begin_transaction()
    send(second, topic, b"of the second")
    with pytest.raises(KafkaException) as fenced:
        first.commit_transaction(DEADLINE_S)
    assert fenced.value.args[0].fatal()
    second.commit_transaction(DEADLINE_S)
    assert committed(server, topic)[0] == [b"of the second"]


def test_offsets_and_what_was_made_of_them_go_together(server, topic, name):
    made_of = f"{topic}-in"
    make(server, topic)
    make(server, made_of, 1)
    source = Producer({"bootstrap.servers": server.address})
    send(source, made_of, b"1", b"2", b"3")
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": name, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe([made_of])
    made = producer(server, name)
    place = TopicPartition(made_of, 0)
    for number in range(3):
        message = consumer.poll(DEADLINE_S)
        made.begin_transaction()
        made.produce(topic, message.value() * 2, partition=0)
        made.send_offsets_to_transaction(
            consumer.position([place]), consumer.consumer_group_metadata(), DEADLINE_S
        )
        if number == 2:
            made.abort_transaction(DEADLINE_S)
        else:
            made.commit_transaction(DEADLINE_S)
    [found] = consumer.committed([place], DEADLINE_S)
    consumer.close()
    assert found.offset == 2
    assert committed(server, topic)[0] == [b"11", b"22"]


def test_librdkafka_goes_on_in_its_transaction_after_a_kill(start, topic, name):
    server = start(port=0)
    make(server, topic)
    made = producer(server, name)
    made.begin_transaction()
    send(made, topic, b"before")
    port = server.endpoint[1]
    server.stop(signal.SIGKILL)
    again = start(port=port)
    send(made, topic, b"after")
    made.commit_transaction(DEADLINE_S)
    assert committed(again, topic)[0] == [b"before", b"after"]


def test_what_librdkafka_was_not_told_of_does_not_hide_what_it_sends_next(start, topic, name):
    """It gives the same number again, after an abort: Kafka takes that for a repeat."""
    server = start(port=0)
    make(server, topic)
    made = producer(server, name, **{"socket.timeout.ms": 1000})
    made.begin_transaction()
    send(made, topic, b"aborted")
    server.process.send_signal(signal.SIGSTOP)
    made.produce(topic, b"aborted, too", partition=0)
    assert made.flush(2) == 1  # its request takes too long
    goes_on = threading.Timer(0.2, server.process.send_signal, [signal.SIGCONT])
    goes_on.start()
    made.abort_transaction(DEADLINE_S)
    goes_on.join()
    sent = 0
    while sent < 2:
        made.begin_transaction()
        made.produce(topic, b"%d" % sent, partition=0)
        try:
            made.commit_transaction(DEADLINE_S)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            made.abort_transaction(DEADLINE_S)
        else:
            sent += 1
    assert committed(server, topic)[0] == [b"0", b"1"]


def test_aiokafka(server, topic, name):
    make(server, topic)

    async def produce():
        made = AIOKafkaProducer(bootstrap_servers=server.address, transactional_id=name)
        await made.start()
        try:
            for number in range(4):
                await made.begin_transaction()
                await made.send_and_wait(topic, b"%d" % number, partition=0)
                await (made.abort_transaction() if number % 2 else made.commit_transaction())
        finally:
            await made.stop()

    asyncio.run(produce())
    assert committed(server, topic)[0] == [b"0", b"2"]


def test_kafka_python(server, topic, name):
    make(server, topic)
    made = KafkaProducer(bootstrap_servers=server.address, transactional_id=name)
    made.init_transactions()
    for number in range(4):
        made.begin_transaction()
        made.send(topic, b"%d" % number, partition=0).get(DEADLINE_S)
        (made.abort_transaction if number % 2 else made.commit_transaction)()
    assert committed(server, topic)[0] == [b"0", b"2"]
    other = KafkaProducer(bootstrap_servers=server.address, transactional_id=name)
    other.init_transactions()
    made.begin_transaction()
    with pytest.raises(KafkaPythonError):
        made.send(topic, b"late", partition=0).get(DEADLINE_S)
    assert committed(server, topic)[0] == [b"0", b"2"]
    other.close()
    made.close()


def test_an_administrator_aborts_all_of_a_transaction(server, topic, name):
    make(server, topic)
    made = producer(server, name)
    made.begin_transaction()
    for partition in range(2):
        send(made, topic, b"x", partition=partition)
    with WireClient(server.endpoint) as client:
        m = describe_transactions
        [it] = client.ask(65, 0, m.Request([name]), m.Response).transaction_states
        assert it.transaction_state == "Ongoing"
        assert [(of.topic, of.partitions) for of in it.topics] == [(topic, [0, 1])]
        m = list_transactions
        answer = client.ask(66, 2, m.Request(["Ongoing"], (), 0, f"{name}.*"), m.Response)
        assert [it.transactional_id for it in answer.transaction_states] == [name]
        m = markers_messages
        producer_of = it.producer_id, it.producer_epoch
        asked = m.Request([m.Marker(*producer_of, False, [m.Topic(topic, [1])])])
        [of] = client.ask(27, 2, asked, m.Response).markers
        assert [one.error_code for at in of.topics for one in at.partitions] == [0]
    assert committed(server, topic) == {0: [], 1: []}
    with pytest.raises(KafkaException) as fenced:
        made.commit_transaction(DEADLINE_S)
    assert fenced.value.args[0].fatal()


def test_many_transactions_at_once_are_each_whole(server, topic):
    make(server, topic)

    def produce(number):
        made = producer(server, f"{topic}-{number}")
        for round_ in range(20):
            made.begin_transaction()
            for partition in range(2):
                made.produce(topic, b"%d %d" % (number, round_), partition=partition)
            made.commit_transaction(DEADLINE_S)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(produce, range(4)))
    found = committed(server, topic)
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 4 * 20


def test_a_late_end_ends_its_own_connection_alone(server, topic, name):
    """As after a stall: the client has made another connection, and goes on by that."""
    make(server, topic)
    made = producer(server, name)
    made.begin_transaction()
    send(made, topic, b"x")
    with WireClient(server.endpoint) as older:
        m = describe_transactions
        [it] = older.ask(65, 0, m.Request([name]), m.Response).transaction_states
        with WireClient(server.endpoint) as newer:
            late = end_txn.Request(name, it.producer_id, it.producer_epoch, False)
            assert newer.ask(26, 1, late, end_txn.Response).error_code == 0
            older.send(26, 0, _body(late))
            assert older.ended()


def _body(request):
    from logstore.kafka.schema import codec

    out = bytearray()
    codec(type(request), 0, False).write(out, request)
    return bytes(out)
