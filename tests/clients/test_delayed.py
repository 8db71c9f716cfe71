"""Messages and records that wait for their time, by unmodified clients of a real server."""

import time

import pika
import pytest
from confluent_kafka import Consumer, Producer
from serving import Serving

pytestmark = pytest.mark.long

DELAYS_MS = [500, 100, 300, 200, 100, 400]
ORDER = [1, 4, 3, 2, 5, 0]
DEADLINE_S = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("delayed") / "data", resp_port=-1, amqp_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture
def channel(server):
    with pika.BlockingConnection(pika.ConnectionParameters(*server.amqp)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def declared(channel, name, kind="direct"):
    channel.exchange_declare(
        name, "x-delayed-message", durable=True, arguments={"x-delayed-type": kind}
    )
    channel.queue_declare(name, durable=True)
    channel.queue_bind(name, name, "k")


def consumed(channel, name, count):
    found = []
    for method, properties, body in channel.consume(
        name, auto_ack=True, inactivity_timeout=DEADLINE_S
    ):
        assert method is not None, f"{len(found)} of {count} have come"
        found.append((body, properties.headers, time.time()))
        if len(found) == count:
            break
    channel.cancel()
    return found


def moments():
    """Far enough ahead, so that all is sent before the first has come."""
    begun_ms = int(time.time() * 1000) + 1500
    return [begun_ms + delay for delay in DELAYS_MS]


@pytest.mark.parametrize("as_given", [int, str])
def test_messages_come_in_the_order_of_their_times_and_none_too_early(channel, as_given):
    declared(channel, "later")
    given = moments()
    for number, moment in enumerate(given):
        properties = pika.BasicProperties(headers={"x-deliver-at": as_given(moment)})
        channel.basic_publish("later", "k", b"%d" % number, properties, mandatory=True)
    found = consumed(channel, "later", len(given))
    assert [int(body) for body, _, _ in found] == ORDER
    for body, headers, at in found:
        assert headers["x-delay"] < 0
        assert at >= given[int(body)] / 1000 - 0.002


def test_a_delay_is_negative_once_it_is_over(channel):
    declared(channel, "later")
    begun = time.time()
    channel.basic_publish("later", "k", b"x", pika.BasicProperties(headers={"x-delay": 150}))
    [(_, headers, at)] = consumed(channel, "later", 1)
    assert headers == {"x-delay": -150}
    assert at >= begun + 0.148


def test_a_mandatory_message_is_returned_only_where_no_queue_is_bound(channel):
    declared(channel, "later")
    properties = pika.BasicProperties(headers={"x-delay": 50})
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("later", "nobody", b"x", properties, mandatory=True)
    channel.basic_publish("later", "k", b"y", properties, mandatory=True)
    assert consumed(channel, "later", 1)[0][0] == b"y"


REFUSED = pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker


def declare_and_publish(channel, arguments, headers):
    channel.exchange_declare("bad", "x-delayed-message", arguments=arguments)
    channel.basic_publish("bad", "k", b"x", pika.BasicProperties(headers=headers))


def test_what_cannot_be_is_refused(server):
    for arguments, given, code in (
        ({}, None, 406),
        ({"x-delayed-type": "x-delayed-message"}, None, 406),
        ({"x-delayed-type": "none"}, None, 503),
        ({"x-delayed-type": "topic"}, {"x-delay": 10**12}, 406),
    ):
        with pika.BlockingConnection(pika.ConnectionParameters(*server.amqp)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            with pytest.raises(REFUSED) as refused:
                declare_and_publish(channel, arguments, given)
            assert refused.value.reply_code == code


def test_records_of_a_kafka_client_come_when_they_are_due(server):
    from logstore.server_socket import ServerSocket

    ServerSocket(str(server.data)).post(
        "topics",
        value={"name": "orders", "partitions": 2, "settings": {"delivery.schedule": "true"}},
    )
    consumer = Consumer(
        {"bootstrap.servers": server.address, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["orders"])
    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True})
    given = moments()
    for number, moment in enumerate(given):
        headers = {"x-deliver-at": str(moment), "other": b"1"}
        producer.produce("orders.delayed", b"%d" % number, key="k", headers=headers)
    assert producer.flush(DEADLINE_S) == 0
    found = []
    until = time.monotonic() + DEADLINE_S
    while len(found) < len(DELAYS_MS):
        assert time.monotonic() < until
        record = consumer.poll(1)
        if record is not None:
            assert record.error() is None
            found.append(record)
    consumer.close()
    assert [int(it.value()) for it in found] == ORDER
    assert len({it.partition() for it in found}) == 1
    for record in found:
        moment = given[int(record.value())]
        assert record.timestamp()[1] >= moment
        assert record.headers() == [("x-deliver-at", str(moment).encode()), ("other", b"1")]


def test_what_waits_outlives_a_server(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
    with pika.BlockingConnection(pika.ConnectionParameters(*server.amqp)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        declared(channel, "later")
        for delay in (1, 60_000_000):
            channel.basic_publish(
                "later", "k", b"%d" % delay, pika.BasicProperties(headers={"x-delay": delay})
            )
    server.stop()
    server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
    try:
        with pika.BlockingConnection(pika.ConnectionParameters(*server.amqp)) as connection:
            assert consumed(connection.channel(), "later", 1)[0][0] == b"1"
    finally:
        server.stop()
