"""The audit log as an administrator reads it, and as nobody writes it: Kafka's own client."""

import json

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from serving import DEADLINE_S, Serving

import logstore
from logstore.access.access import ADMINISTRATOR
from logstore.access.identity import OWNER
from logstore.access.scram_keys import keys_of
from logstore.kept.users import KeptRule, KeptUser
from logstore.names import AUDIT_TOPIC

USERS = (
    KeptUser("root", keys_of(b"root's", 4096), (ADMINISTRATOR,)),
    KeptUser("al", keys_of(b"al's", 4096)),
)
NOT_ALLOWED = 29


@pytest.fixture
def server(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        access = store.internals().access()
        rules = [KeptRule("al", "all", kind, "*") for kind in ("topic", "group")]
        access.change([*USERS, *rules], by=OWNER)
    serving = Serving(tmp_path / "data")
    yield serving
    if serving.process.poll() is None:
        serving.stop()


def login(server, user, password, **more):
    return {
        "bootstrap.servers": server.address, "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": user, "sasl.password": password,
        **more,
    }  # fmt: skip


def produced(server, user, password):
    """The codes that a record for the audit log, and one for a new topic, are answered with."""
    codes = []
    producer = Producer(login(server, user, password))
    for topic in (AUDIT_TOPIC, "orders"):
        producer.produce(topic, b"forged", callback=lambda error, _: codes.append(error))
        assert producer.flush(DEADLINE_S) == 0
    return [error and error.code() for error in codes]


def test_who_did_what_is_read_by_those_who_may_and_written_by_nobody(server):
    admin = AdminClient(login(server, "root", "root's"))
    admin.create_topics([NewTopic("orders", 1)])["orders"].result(DEADLINE_S)
    for user in ("root", "al"):
        assert produced(server, user, f"{user}'s") == [NOT_ALLOWED, None]
    admin.delete_topics(["orders"])["orders"].result(DEADLINE_S)
    refused = AdminClient(login(server, "al", "al's")).delete_topics([AUDIT_TOPIC])[AUDIT_TOPIC]
    with pytest.raises(KafkaException):
        refused.result(DEADLINE_S)
    consumer = Consumer(login(server, "al", "al's", **{"group.id": "g"}))
    consumer.assign([TopicPartition(AUDIT_TOPIC, 0, 0)])
    read = []
    while "deleted orders" not in [what for it in read for what in it["what"]]:
        message = consumer.poll(DEADLINE_S)
        assert message is not None
        assert message.error() is None, message.error()
        read.append(json.loads(message.value()))
    consumer.close()
    server.stop()
    with logstore.open(server.data, "read") as store:
        [log] = store.topic(AUDIT_TOPIC).partitions
        assert log.end > len(read)  # what was gathered is written when the server stops
    assert [(it["event"], it["mechanism"], it["what"]) for it in read[:2]] == [
        ("user", "data directory", ["made root, tags administrator"]),
        ("user", "data directory", ["made al, tags none"]),
    ]
    [deleted] = [it for it in read if it["what"] == ["deleted orders"]]
    assert (deleted["user"], deleted["door"], deleted["host"]) == ("root", "kafka", "127.0.0.1")
