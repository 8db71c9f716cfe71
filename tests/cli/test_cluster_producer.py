"""What a producer for a cluster says of its end."""

import logging
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from logstore_cli.cluster.producer import ClusterProducer

from logstore.errors import Failed

WHY = "Failed to acquire idempotence PID from broker b/1: Broker: Cluster authorization failed"


class Ended:
    """librdkafka's producer after it has ended for good: it has logged why, and says no more."""

    def produce(self, *given, **named):
        raise KafkaException(KafkaError(KafkaError._FATAL, "Unable to produce message: Local"))

    def poll(self, seconds):
        logging.getLogger("logstore.cluster").critical("FATAL|rdkafka#1| Fatal error: %s", WHY)


def test_a_client_that_ended_before_the_first_record_is_sent_says_why():
    producer = object.__new__(ClusterProducer)
    producer._producer, producer._failure = Ended(), None
    producer._topic, producer._address = SimpleNamespace(name="orders"), "127.0.0.1:1"
    with pytest.raises(Failed) as refused:
        producer._send(-1, b"v", None, [], 1)
    assert str(refused.value) == f"127.0.0.1:1: can't produce to topic 'orders': {WHY}"
