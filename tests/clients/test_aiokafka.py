"""aiokafka: asyncio, and a codec of its own in Cython."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

DEADLINE_S = 20


def run(work):
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


async def consume(server, topic, count):
    consumer = AIOKafkaConsumer(bootstrap_servers=server.address, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def produce(server, topic, values, **conf):
    producer = AIOKafkaProducer(bootstrap_servers=server.address, **conf)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, partition=0) for value in values]
        await producer.flush()
        return [await it for it in sent]
    finally:
        await producer.stop()


@pytest.mark.parametrize("acks", [0, 1, "all"])
@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(server, topic, codec, acks):
    values = [b"value %d " % n * 20 for n in range(200)]

    async def both():
        await produce(server, topic, values, compression_type=codec, acks=acks)
        return await consume(server, topic, 200)

    assert [it.value for it in run(both())] == values


def test_an_idempotent_producer_is_served(server, topic):
    values = [b"%d" % n for n in range(500)]
    sent = run(produce(server, topic, values, enable_idempotence=True, max_batch_size=500))
    assert [it.offset for it in sent] == list(range(500))


def test_offsets_are_found_by_time(server, topic):
    async def both():
        sent = await produce(server, topic, [b"a", b"b"])
        consumer = AIOKafkaConsumer(bootstrap_servers=server.address)
        await consumer.start()
        place = TopicPartition(topic, 0)
        found = await consumer.offsets_for_times({place: sent[0].timestamp})
        ends = await consumer.end_offsets([place])
        await consumer.stop()
        return found[place].offset, ends[place]

    assert run(both()) == (0, 2)


def test_topics_are_made_and_deleted(server, topic):
    async def both():
        admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 2, 1)])
        made = await admin.list_topics()
        await admin.delete_topics([topic])
        left = await admin.list_topics()
        await admin.close()
        return topic in made, topic in left

    assert run(both()) == (True, False)
