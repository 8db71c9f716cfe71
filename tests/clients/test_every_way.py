"""What is published at one door reaches the clients of the others: each way, with their clients.

MQTT by paho, Redis by redis-py, AMQP by pika, all on one server; the way to and from Kafka is tried
in ``test_mqtt_kept.py``.
"""

import gc
import queue
from contextlib import ExitStack
from typing import NamedTuple

import paho.mqtt.client as paho
import pika
import pytest
import redis
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from serving import DEADLINE_S, Serving

# paho leaves its sockets to the interpreter.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DURABLE = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(tmp_path_factory.mktemp("ways") / "data", amqp_port=0, mqtt_port=0)
    yield serving
    gc.collect()
    assert serving.stop() == (0, "")


class Mqtt:
    """A client of MQTT 5 that has subscribed to a filter."""

    def __init__(self, server, filter="#", qos=0):
        self.came = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        told = queue.Queue()
        self.client.on_connect = lambda *_: told.put("connected")
        self.client.on_subscribe = lambda *_: told.put("subscribed")
        self.client.on_message = lambda *it: self.came.put(it[2])
        self.client.connect(*server.mqtt)
        self.client.loop_start()
        assert told.get(timeout=DEADLINE_S) == "connected"
        self.client.subscribe(filter, qos)
        assert told.get(timeout=DEADLINE_S) == "subscribed"

    def get(self):
        return self.came.get(timeout=DEADLINE_S)

    def publish(self, topic, payload, qos=0, retain=False, **given):
        said = Properties(PacketTypes.PUBLISH)
        for name, value in given.items():
            setattr(said, name, value)
        self.client.publish(topic, payload, qos, retain, said).wait_for_publish(DEADLINE_S)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Redis:
    """A client that listens to a pattern."""

    def __init__(self, server, pattern="*"):
        host, port = server.redis
        self.client = redis.Redis(host=host, port=port, socket_timeout=DEADLINE_S)
        self.listener = self.client.pubsub()
        self.listener.psubscribe(pattern)
        assert self.listener.get_message(timeout=DEADLINE_S)["type"] == "psubscribe"

    def get(self):
        found = self.listener.get_message(timeout=DEADLINE_S)
        return found["channel"], found["data"]

    def close(self):
        self.listener.close()
        self.client.close()


class Amqp:
    """A client with a queue of its own, bound to amq.topic."""

    def __init__(self, server, key="#"):
        host, port = server.amqp
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, "amq.topic", key)
        self.messages = self.channel.consume(
            self.queue, auto_ack=True, inactivity_timeout=DEADLINE_S
        )

    def get(self):
        method, properties, body = next(self.messages)
        assert method is not None, "nothing comes"
        return method, properties, body

    def publish(self, key, body, **given):
        self.channel.basic_publish(
            "amq.topic", key, body, pika.BasicProperties(**given), mandatory=True
        )

    def close(self):
        self.connection.close()


class Doors(NamedTuple):
    mqtt: Mqtt
    redis: Redis
    amqp: Amqp


@pytest.fixture
def doors(server):
    with ExitStack() as stack:
        found = []
        for kind in (Mqtt, Redis, Amqp):
            found.append(kind(server))
            stack.callback(found[-1].close)
        yield Doors(*found)


def test_from_mqtt(server, doors):
    doors.mqtt.publish("way/1.x", b"\x00m", 0)
    got = doors.mqtt.get()
    assert (got.topic, got.payload, got.qos, got.retain) == ("way/1.x", b"\x00m", 0, False)
    assert doors.redis.get() == (b"way/1.x", b"\x00m")
    method, properties, body = doors.amqp.get()
    assert (method.exchange, method.routing_key, body) == ("amq.topic", "way.1/x", b"\x00m")
    assert properties.delivery_mode == 1
    assert properties.headers == {"x-mqtt-publish-qos": 0}


def test_from_mqtt_with_all_that_a_message_may_say(server, doors):
    doors.mqtt.publish(
        "way/2", b"m", 1, ContentType="text/plain", CorrelationData=b"\xff\x00",
        ResponseTopic="answers/to.me", UserProperty=[("a", "1"), ("b", "2")],
        MessageExpiryInterval=60, PayloadFormatIndicator=1,
    )  # fmt: skip
    got = doors.mqtt.get().properties
    assert got.ContentType == "text/plain"
    assert got.CorrelationData == b"\xff\x00"
    assert got.ResponseTopic == "answers/to.me"
    assert got.UserProperty == [("a", "1"), ("b", "2")]
    assert got.MessageExpiryInterval in (59, 60)
    assert got.PayloadFormatIndicator == 1
    assert doors.redis.get() == (b"way/2", b"m")
    _, properties, body = doors.amqp.get()
    assert body == b"m"
    assert properties.delivery_mode == DURABLE
    assert properties.content_type == "text/plain"
    assert properties.correlation_id is None
    assert 58_000 <= int(properties.expiration) <= 60_000
    headers = properties.headers
    assert headers["x-correlation-id"] == b"\xff\x00"
    assert headers["x-reply-to-topic"] == "answers.to/me"
    assert headers["x-mqtt-publish-qos"] == 1
    assert (headers["a"], headers["b"]) == ("1", "2")


def test_from_amqp(server, doors):
    doors.amqp.publish("way.3.+", b"a", content_type="c", correlation_id="i", headers={"h": 5})
    got = doors.mqtt.get()
    assert (got.topic, got.payload, got.qos, got.retain) == ("way/3/*", b"a", 0, False)
    assert got.properties.ContentType == "c"
    assert got.properties.CorrelationData == b"i"
    assert got.properties.UserProperty == [("h", "5")]
    assert doors.redis.get() == (b"way/3/*", b"a")
    assert doors.amqp.get()[2] == b"a"


@pytest.mark.parametrize(("mode", "qos"), [(None, 0), (1, 0), (DURABLE, 1)])
def test_a_message_of_amqp_has_the_qos_of_its_delivery_mode(server, doors, mode, qos):
    listener = Mqtt(server, "modes/#", 2)
    doors.amqp.publish("modes.1", b"a", delivery_mode=mode, expiration="90000")
    got = listener.get()
    assert (got.topic, got.payload, got.qos) == ("modes/1", b"a", qos)
    assert 88 <= got.properties.MessageExpiryInterval <= 90
    listener.close()


def test_from_redis(server, doors):
    assert doors.redis.client.publish(b"way/4.y", b"r") == 2
    got = doors.mqtt.get()
    assert (got.topic, got.payload, got.qos, got.retain) == ("way/4.y", b"r", 0, False)
    assert not got.properties.json()
    assert doors.redis.get() == (b"way/4.y", b"r")
    method, properties, body = doors.amqp.get()
    assert (method.routing_key, body) == ("way.4/y", b"r")
    assert properties.delivery_mode is None
    assert not properties.headers


def test_retained_by_mqtt_is_live_for_all_others(server, doors):
    doors.mqtt.publish("kept/1", b"v", 1, retain=True)
    assert doors.redis.get() == (b"kept/1", b"v")
    _, properties, body = doors.amqp.get()
    assert (body, properties.headers["x-mqtt-retain"]) == (b"v", True)
    late = Mqtt(server, "kept/#", 1)
    got = late.get()
    assert (got.payload, got.retain) == (b"v", True)
    doors.redis.client.publish(b"kept/1", b"live")  # nobody but MQTT's clients retains
    assert (late.get().payload) == b"live"
    again = Mqtt(server, "kept/#")
    assert again.get().payload == b"v"
    doors.mqtt.publish("kept/1", b"", 1, retain=True)
    for it in (late, again):
        it.close()


@pytest.mark.parametrize("name", [b"\xff", b"a\x00b", b"plus+", b"x/#", b"$SYS/mine"])
def test_names_that_are_no_topics_reach_all_but_mqtt(server, doors, name):
    listener = Mqtt(server, "$SYS/mine")
    doors.redis.client.publish(name, b"m")
    doors.redis.client.publish(b"then", b"next")
    assert doors.redis.get() == (name, b"m")
    assert doors.amqp.get()[2] == b"m"
    assert doors.mqtt.get().topic == "then"
    assert listener.came.empty()
    listener.close()


def test_filters_that_take_long_to_look_through_hold_nobody_up(server, doors):
    """Thousands of filters that begin as the topic does, and match nothing."""
    crowd = Mqtt(server, "slow/x")
    filters = []
    for number in range(1 << 13):
        levels = "/".join("+" if it == "1" else "a" for it in f"{number:013b}")
        filters.append((f"slow/{levels}/x", 0))
    for at in range(0, len(filters), 1000):
        crowd.client.subscribe(filters[at : at + 1000])
    topic = "slow/" + "/".join(["a"] * 13)
    for qos in range(3):
        doors.mqtt.publish(f"{topic}/{qos}", b"m", qos)
        assert doors.mqtt.get().topic == f"{topic}/{qos}"
    doors.mqtt.publish(f"{topic}/x", b"hit")
    assert crowd.get().payload == b"hit"
    assert doors.mqtt.get().payload == b"hit"
    crowd.close()
