"""MQTT topics beside topics: what Kafka's clients see of what is retained, and rules both ways."""

import os

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from librdkafka import consume, produce
from mqtt_client import MqttClient
from serving import Serving

from logstore.mqtt import packets
from logstore.mqtt.properties import Properties
from logstore.names import RETAINED_TOPIC

pytestmark = pytest.mark.long

RULES = """
[[mqtt.topics]]
pattern = "sensors/#"
topic = "sensors"
"""


def serve(data):
    return Serving(data, resp_port=-1, mqtt_port=0)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    os.makedirs(path)
    (path / "logstore.toml").write_text(RULES)
    return path


@pytest.fixture
def server(data):
    server = serve(data)
    yield server
    if server.process.returncode is None:
        server.stop(9)


@pytest.fixture
def come():
    """A client of a server, closed at the end."""
    clients = []

    def one(server, *given, **options):
        clients.append(MqttClient(server.mqtt, *given, **options))
        return clients[-1]

    yield one
    for client in clients:
        client.close()


def test_what_is_retained_is_read_by_kafka_s_clients_and_written_by_nobody(come, server):
    it = come(server)
    it.publish(b"home/door", b"open", 1, retain=True, content_type="text/plain")
    it.publish(b"home/door", b"closed", 1, retain=True)
    found = consume(server, 2, (RETAINED_TOPIC, 0, 0))
    assert [(m.key(), m.value()) for m in found] == [
        (b"home/door", b"open"), (b"home/door", b"closed")
    ]  # fmt: skip
    assert dict(found[0].headers())["mqtt.content-type"] == b"text/plain"
    refused = produce(server, RETAINED_TOPIC, [b"forged"], keys=[b"home/door"])
    assert refused == ["TOPIC_AUTHORIZATION_FAILED"]
    admin = AdminClient({"bootstrap.servers": server.address})
    for asked in (
        admin.create_topics([NewTopic(RETAINED_TOPIC, 1)]),
        admin.create_partitions([NewPartitions(RETAINED_TOPIC, 3)]),
    ):
        with pytest.raises(KafkaException):
            asked[RETAINED_TOPIC].result(30)
    it.subscribe(b"home/#")
    assert it.message().payload == b"closed"


def test_rules_join_mqtt_and_a_topic_both_ways_and_over_a_restart(come, data, server):
    it = come(server)
    it.subscribe(b"sensors/#", 1)
    assert it.publish(b"elsewhere", b"", 1) == 0x10
    publisher = come(server, "p")
    publisher.publish(b"sensors/1/temp", b"21", 1, user_properties=(("unit", "C"),))
    assert it.message().payload == b"21"
    [record] = consume(server, 1, ("sensors", 0, 0))
    assert (record.key(), record.value()) == (b"sensors/1/temp", b"21")
    assert dict(record.headers()) == {"mqtt.qos": b"1", "mqtt.publisher": b"p", "unit": b"C"}
    produce(server, "sensors", [b"22", b"no"], keys=[b"sensors/2/temp", b"other"])
    message = it.message()
    assert (message.topic, message.payload, message.qos) == (b"sensors/2/temp", b"22", 1)
    it.nothing_more()
    lasting = come(server, "lasting", expiry_s=1000)
    lasting.subscribe(b"sensors/#", 1)
    lasting.close()
    assert server.stop()[0] == 0
    again = serve(data)
    try:
        # Nobody has come yet: it is published all the same.
        produce(again, "sensors", [b"23"], keys=[b"sensors/3/temp"])
        lasting = come(again, "lasting", clean=False, expiry_s=1000)
        assert lasting.message().payload == b"23"
        lasting.nothing_more()
    finally:
        code, errors = again.stop()
    assert (code, errors) == (0, "")


def test_who_is_connected_when_the_server_stops_has_his_will_sent_or_may_come_back(
    come, data, server
):
    def will(name, **said):
        return packets.Will(name, b"gone", 1, True, Properties(**said))

    come(server, "now", will=will(b"wills/now"))
    come(server, "later", will=will(b"wills/later", will_delay_s=600), expiry_s=1000)
    left = come(server, "left", will=will(b"wills/left"))
    left.disconnect()
    assert server.stop()[0] == 0
    again = serve(data)
    try:
        it = come(again, "later", clean=False, expiry_s=1000)
        assert it.connack.session_present
        it.subscribe(b"wills/#")
        assert it.message().topic == b"wills/now"
        it.nothing_more()
    finally:
        again.stop(9)


def test_a_topic_of_a_rule_that_is_deleted_is_made_again(come, server):
    it = come(server)
    it.publish(b"sensors/1", b"1", 1)
    admin = AdminClient({"bootstrap.servers": server.address})
    for topic in ("sensors", RETAINED_TOPIC):
        admin.delete_topics([topic])[topic].result(30)
    listener = come(server, "l")
    listener.subscribe(b"sensors/#", 1)
    while it.publish(b"sensors/1", b"2", 1, retain=True):  # it is made by a worker
        pass
    assert listener.message().payload == b"2"
    assert [m.value() for m in consume(server, 1, ("sensors", 0, 0))] == [b"2"]
