"""Offsets that unmodified clients commit within transactions, with what they have written."""

import asyncio
import signal
import time
import warnings

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPlace
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from librdkafka import admin, create, produce
from waiting import until

import logstore

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    import kafka

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]

DEADLINE_S = 30


def a_producer(server, name, **conf):
    producer = Producer(
        {"bootstrap.servers": server.address, "transactional.id": name, "linger.ms": 0, **conf}
    )
    producer.init_transactions(DEADLINE_S)
    return producer


def a_consumer(server, group, *topics, **conf):
    consumer = Consumer(
        {
            "bootstrap.servers": server.address, "group.id": group, "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "isolation.level": "read_committed", **conf,
        }
    )  # fmt: skip
    if topics:
        consumer.subscribe(list(topics))
    return consumer


def polled(consumer, count):
    found, deadline = [], time.monotonic() + DEADLINE_S
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(message)
    assert len(found) == count
    return found


def committed(server, group, topic, *, stable=False):
    """The offset of partition 0; None: there is none."""
    place = TopicPartition(topic, 0)
    asked = [ConsumerGroupTopicPartitions(group, [place])]
    asker, answers = admin(server), []

    def answered():
        """As consumers do, it asks again while a server that was just started reads."""
        [future] = asker.list_consumer_group_offsets(asked, require_stable=stable).values()
        try:
            answers.append(future.result())
        except KafkaException as error:
            if error.args[0].name() != "COORDINATOR_LOAD_IN_PROGRESS":
                raise
        return answers

    until(answered)
    [found] = answers[0].topic_partitions
    if found.error is not None:
        raise KafkaException(found.error)
    return None if found.offset < 0 else found.offset


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_commits_what_it_has_read_with_what_it_writes(server, topic, protocol):
    create(server, topic)
    create(server, f"{topic}-out")
    assert produce(server, topic, [b"%d" % n for n in range(10)]) == []
    group, producer = f"g-{topic}", a_producer(server, topic)
    consumer = a_consumer(server, group, topic, **{"group.protocol": protocol})

    def copy(count):
        producer.begin_transaction()
        for message in polled(consumer, count):
            producer.produce(f"{topic}-out", message.value())
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), DEADLINE_S
        )

    copy(4)
    assert committed(server, group, topic) is None
    producer.commit_transaction(DEADLINE_S)
    assert committed(server, group, topic, stable=True) == 4
    copy(3)
    assert committed(server, group, topic) == 4
    producer.abort_transaction(DEADLINE_S)
    assert committed(server, group, topic, stable=True) == 4
    consumer.close()
    producer.begin_transaction()
    with pytest.raises(KafkaException) as told:  # nobody of the group any more
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, 9)], a_gone_member(server, group, topic, protocol), DEADLINE_S
        )
    assert told.value.args[0].txn_requires_abort()
    producer.abort_transaction(DEADLINE_S)
    reader = a_consumer(server, "out", f"{topic}-out")
    assert [it.value() for it in polled(reader, 4)] == [b"%d" % n for n in range(4)]
    reader.close()


def a_gone_member(server, group, topic, protocol):
    consumer = a_consumer(server, group, topic, **{"group.protocol": protocol})
    polled(consumer, 1)
    metadata = consumer.consumer_group_metadata()
    consumer.close()
    return metadata


def test_a_consumer_waits_for_what_is_pending(server, topic):
    """librdkafka asks for stable offsets where it reads what is committed."""
    create(server, topic)
    assert produce(server, topic, [b"%d" % n for n in range(10)]) == []
    group, producer = f"g-{topic}", a_producer(server, topic)
    reader = a_consumer(server, group)
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(topic, 0, 7)], reader.consumer_group_metadata(), DEADLINE_S
    )
    other = a_consumer(server, group, topic)
    assert other.poll(2) is None, "it does not begin at 0"
    producer.commit_transaction(DEADLINE_S)
    assert polled(other, 1)[0].offset() == 7
    other.close()
    reader.close()


def test_what_is_pending_outlives_a_kill(start):
    server = start()
    create(server, "t")
    producer = a_producer(server, "copier")
    reader = a_consumer(server, "g")
    producer.begin_transaction()
    places = [TopicPartition("t", 0, 7)]
    producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), DEADLINE_S)
    reader.close()
    port = server.endpoint[1]
    server.stop(signal.SIGKILL)
    server = start(port=port)
    with pytest.raises(KafkaException) as told:
        committed(server, "g", "t", stable=True)
    assert told.value.args[0].name() == "UNSTABLE_OFFSET_COMMIT"
    producer.commit_transaction(DEADLINE_S)
    assert committed(server, "g", "t", stable=True) == 7


def test_aiokafka_commits_what_it_has_read_with_what_it_writes(server, topic):
    create(server, topic)
    create(server, f"{topic}-out")
    group, place = f"g-{topic}", AioPlace(topic, 0)

    async def run():
        producer = AIOKafkaProducer(bootstrap_servers=server.address, transactional_id=topic)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=server.address, group_id=group, enable_auto_commit=False
        )
        await producer.start()
        await consumer.start()
        try:
            consumer.assign([place])
            async with producer.transaction():
                await producer.send(f"{topic}-out", b"x", partition=0)
                await producer.send_offsets_to_transaction({place: 4}, group)
                assert await consumer.committed(place) is None
            assert await consumer.committed(place) == 4
            await producer.begin_transaction()
            await producer.send_offsets_to_transaction({place: 9}, group)
            await producer.abort_transaction()
            assert await consumer.committed(place) == 4
        finally:
            await producer.stop()
            await consumer.stop()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_kafka_python_commits_what_it_has_read_with_what_it_writes(server, topic):
    create(server, topic)
    create(server, f"{topic}-out")
    group, place = f"g-{topic}", kafka.TopicPartition(topic, 0)
    producer = kafka.KafkaProducer(bootstrap_servers=server.address, transactional_id=topic)
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=server.address, group_id=group, enable_auto_commit=False
    )
    consumer.assign([place])
    producer.init_transactions()
    for end, offset in ((producer.commit_transaction, 4), (producer.abort_transaction, 9)):
        producer.begin_transaction()
        producer.send(f"{topic}-out", b"x")
        offsets = {place: kafka.OffsetAndMetadata(offset, "", -1)}
        producer.send_offsets_to_transaction(offsets, group)
        end()
    assert committed(server, group, topic, stable=True) == 4
    consumer.close()
    producer.close()


def test_a_group_with_pending_offsets_is_not_forgotten(start):
    server = start(offsets_retention_minutes=0, upkeep_interval_ms=50)
    create(server, "t")
    producer = a_producer(server, "copier")

    def stage(group):
        reader = a_consumer(server, group)
        places = [TopicPartition("t", 0, 7)]
        producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), DEADLINE_S)
        reader.close()

    def groups():
        return {it.group_id for it in admin(server).list_consumer_groups().result().valid}

    def commit(group):
        asked = [ConsumerGroupTopicPartitions(group, [TopicPartition("t", 0, 1)])]
        [future] = admin(server).alter_consumer_group_offsets(asked).values()
        future.result()

    producer.begin_transaction()
    stage("pending")
    commit("pending")
    commit("z")  # which is looked at later
    until(lambda: "z" not in groups())
    assert "pending" in groups()
    producer.commit_transaction(DEADLINE_S)
    until(lambda: "pending" not in groups())


def test_who_deletes_a_group_deletes_what_is_pending(server, topic):
    create(server, topic)
    producer, group = a_producer(server, topic), f"g-{topic}"
    reader = a_consumer(server, group)
    producer.begin_transaction()
    places = [TopicPartition(topic, 0, 7)]
    producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), DEADLINE_S)
    reader.close()
    [future] = admin(server).delete_consumer_groups([group]).values()
    future.result()
    producer.commit_transaction(DEADLINE_S)
    assert committed(server, group, topic, stable=True) is None


def test_t16_a_topic_that_is_deleted_holds_no_commit_up(server, topic):
    other = f"{topic}-other"
    create(server, topic)
    create(server, other)
    producer, group = a_producer(server, topic), f"g-{topic}"
    reader = a_consumer(server, group)
    producer.begin_transaction()
    places = [TopicPartition(topic, 0, 7), TopicPartition(other, 0, 8)]
    producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), DEADLINE_S)
    reader.close()
    [future] = admin(server).delete_topics([topic]).values()
    future.result()
    create(server, topic)
    producer.commit_transaction(DEADLINE_S)
    assert committed(server, group, other, stable=True) == 8
    assert committed(server, group, topic, stable=True) is None


def test_a_group_that_is_deleted_after_a_kill_stays_so(start):
    server = start()
    create(server, "t")
    producer = a_producer(server, "copier")
    for group in ("g", "h"):
        reader = a_consumer(server, group)
        producer.begin_transaction()
        producer.produce("t", b"x")
        places = [TopicPartition("t", 0, 7)]
        producer.send_offsets_to_transaction(places, reader.consumer_group_metadata(), DEADLINE_S)
        producer.commit_transaction(DEADLINE_S)
        reader.close()
    server.stop(signal.SIGKILL)
    with logstore.open(server.data) as store:
        store.group("g").delete()
    server = start()
    until(lambda: committed(server, "h", "t") == 7)
    assert committed(server, "g", "t") is None
