"""librdkafka, the C client, by confluent-kafka: what many tests do with it."""

import time
from functools import cache

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DEADLINE_S = 20


def produce(server, topic, values, partition=0, keys=None, timestamps=None, **conf):
    """Produce; returns the broker's error for each refused record."""
    failed = []

    def told(error, _):
        if error is not None:
            failed.append(error.name())

    producer = Producer({"bootstrap.servers": server.address, **conf})
    for n, value in enumerate(values):
        more = {} if timestamps is None else {"timestamp": timestamps[n]}
        key = None if keys is None else keys[n]
        producer.produce(topic, value, key, partition, on_delivery=told, **more)
    assert producer.flush(DEADLINE_S) == 0
    return failed


def consume(server, count, *places, **conf):
    """Consume this many messages of these partitions."""
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "none", **conf})
    consumer.assign([TopicPartition(*place) for place in places])
    found = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(found), 0.5):
            assert message.error() is None
            found.append(message)
    consumer.close()
    return found


@cache
def _admin(address):
    return AdminClient(
        {"bootstrap.servers": address, "log_level": 0}
    )  # one that is forgotten ends its requests


def admin(server):
    return _admin(server.address)


def create(server, name, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    [done] = admin(server).create_topics([NewTopic(name, partitions, 1, config=config)]).values()
    done.result()


def outcome(futures):
    """The names of the errors of an admin request's items, None for each success."""
    found = []
    for it in futures.values():
        error = it.exception()
        found.append(error.args[0].name() if isinstance(error, KafkaException) else error)
    return found
