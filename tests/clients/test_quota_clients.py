"""Clients that are given little: librdkafka is told to wait, and waits; connections are counted."""

import socket
from time import monotonic

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from serving import Serving
from waiting import until
from wire_client import WireClient

from logstore.kafka.messages import alter_client_quotas

pytestmark = pytest.mark.long
DEADLINE_S = 30
RATE = 20_000


@pytest.fixture
def server(tmp_path):
    running = Serving(tmp_path / "data", amqp_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


def give(server, kind, name, **values):
    """None: it is taken away."""
    entity = [alter_client_quotas.EntityData(kind, name)]
    ops = [
        alter_client_quotas.OpData(key, float(it or 0), it is None) for key, it in values.items()
    ]
    request = alter_client_quotas.Request([alter_client_quotas.EntryData(entity, ops)])
    with WireClient(server.endpoint) as client:
        [entry] = client.ask(49, 1, request, alter_client_quotas.Response).entries
    assert (entry.error_code, entry.error_message) == (0, None)


def test_librdkafka_is_told_to_wait_and_everything_arrives(server):
    give(server, "client-id", "slow", producer_byte_rate=RATE)
    told = []
    producer = Producer({
        "bootstrap.servers": server.address, "client.id": "slow", "log_level": 0,
        "throttle_cb": told.append, "compression.type": "none", "batch.size": 30_000,
    })  # fmt: skip
    values = [b"%08d" % n + bytes(10_000) for n in range(25)]
    for value in values:
        producer.produce("t", value)
    assert producer.flush(DEADLINE_S) == 0
    producer.poll(0)
    assert any(it.throttle_time > 0 for it in told)
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "g", "client.id": "fast", "log_level": 0,
    })  # fmt: skip
    consumer.assign([TopicPartition("t", 0, 0)])
    assert [consumer.poll(DEADLINE_S).value() for _ in values] == values
    consumer.close()


def test_a_consumer_of_librdkafka_waits_and_gets_the_rest_when_it_is_given_more(server):
    producer = Producer({"bootstrap.servers": server.address, "log_level": 0,
                         "batch.num.messages": 1})  # fmt: skip
    values = [b"%08d" % n + bytes(10_000) for n in range(25)]
    for value in values:
        producer.produce("t", value)
    assert producer.flush(DEADLINE_S) == 0
    give(server, "client-id", "slow", consumer_byte_rate=RATE)
    told = []
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "g", "client.id": "slow", "log_level": 0,
        "throttle_cb": told.append,
    })  # fmt: skip
    consumer.assign([TopicPartition("t", 0, 0)])
    found = []
    deadline = monotonic() + DEADLINE_S
    while not any(it.throttle_time > 0 for it in told):
        message = consumer.poll(0.1)
        assert monotonic() < deadline
        if message is not None:
            found.append(message.value())
    assert len(found) < len(values)
    give(server, "client-id", "slow", consumer_byte_rate=None)
    while len(found) < len(values):
        message = consumer.poll(DEADLINE_S)
        assert message is not None
        found.append(message.value())
    assert found == values
    consumer.close()


def test_an_address_has_so_many_connections_at_all_doors_together(server):
    with WireClient(server.endpoint):
        give(server, "ip", "127.0.0.1", connections_max=2)
        with socket.create_connection(server.redis) as second:
            second.sendall(b"PING\r\n")
            assert second.recv(100) == b"+PONG\r\n"
            third = WireClient(server.amqp)
            third.socket.sendall(b"AMQP\0\0\x09\x01")
            assert third.ended()
            third.socket.close()
    until(lambda: is_let_in(server))  # once the server has heard that they are gone


def is_let_in(server):
    with WireClient(server.amqp) as client:
        try:
            client.socket.sendall(b"AMQP\0\0\x09\x01")
            return client.socket.recv(1) == b"\x01"
        except ConnectionError:
            return False
