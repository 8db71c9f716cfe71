"""One message, every door: written by one kind of client, read by the other two, byte for byte."""

import datetime
import json
import urllib.request
from decimal import Decimal

import pika
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from serving import DEADLINE_S, Serving

BODIES = [bytes(range(256)), b"", b"plain", "é\r\n\0".encode(), b"x" * 100_000]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("store") / "data"
    data.mkdir()
    (data / "logstore.toml").write_text('[[channel]]\npattern = "kept.*"\nhistory = "1h"\n')
    server = Serving(data, amqp_port=0, http_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def amqp(server):
    connection = pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def listening(server):
    client = redis.Redis(*server.redis)
    heard = client.pubsub(ignore_subscribe_messages=True)
    yield heard
    heard.close()
    client.close()


def listen(heard, name):
    """Wait until it is subscribed."""
    heard.ignore_subscribe_messages = False
    heard.subscribe(name)
    assert heard.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
    heard.ignore_subscribe_messages = True


def heard_of(heard, count):
    found = []
    while len(found) < count:
        message = heard.get_message(timeout=DEADLINE_S)
        assert message is not None, f"{len(found)} of {count} were heard"
        found.append(message["data"])
    return found


def topic(server, name):
    admin = AdminClient({"bootstrap.servers": server.address})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(DEADLINE_S)


def produced(server, name, records):
    producer = Producer({"bootstrap.servers": server.address, "message.timeout.ms": 30_000})
    for key, value, headers in records:
        producer.produce(name, value, key, headers=headers)
    assert producer.flush(DEADLINE_S) == 0


def consumed(server, name, count):
    """key, value and headers of so many records."""
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": f"reads-{name}",
        "auto.offset.reset": "earliest", "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe([name])
    found = []
    while len(found) < count:
        record = consumer.poll(DEADLINE_S)
        assert record is not None, f"{len(found)} of {count} came"
        assert record.error() is None, record.error()
        found.append((record.key(), record.value(), record.headers() or []))
    consumer.close()
    return found


def got(amqp, queue, count):
    found = []
    for method, properties, body in amqp.consume(queue, inactivity_timeout=DEADLINE_S):
        assert method is not None, f"{len(found)} of {count} came"
        amqp.basic_ack(method.delivery_tag)
        found.append((method, properties, body))
        if len(found) == count:
            break
    amqp.cancel()
    return found


def route(server, name, **wanted):
    host, port = server.http
    asked = urllib.request.Request(
        f"http://{host}:{port}/api/v1/topics/{name}/routes",
        json.dumps(wanted).encode(), {"X-Logstore": "1"}, method="POST",
    )  # fmt: skip
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        return json.loads(answer.read())


def leads(amqp, name, kind, target):
    amqp.exchange_declare(name, kind, durable=True, arguments={"x-target": target})


def test_what_a_kafka_client_writes_amqp_and_redis_clients_read(server, amqp, listening):
    topic(server, "flights")
    amqp.exchange_declare("events", "topic", durable=True)
    amqp.queue_declare("lh", durable=True)
    amqp.queue_bind("lh", "events", "LH.#")
    leads(amqp, "to-live", "x-channel", "live")
    amqp.exchange_bind("to-live", "events", "#")
    listen(listening, "live")
    route(server, "flights", exchange="events", key="{header:carrier}.{key}")
    headers = [("carrier", b"LH"), ("raw", b"\xff\0"), ("none", None), ("amqp.priority", b"7")]
    produced(server, "flights", [(b"k%d" % n, it, headers) for n, it in enumerate(BODIES)])
    assert heard_of(listening, len(BODIES)) == BODIES
    found = got(amqp, "lh", len(BODIES))
    assert [body for _, _, body in found] == BODIES
    for n, (method, properties, _) in enumerate(found):
        assert method.routing_key == f"LH.k{n}"
        assert properties.priority == 7
        assert properties.message_id == f"flights-0-{n}"
        assert properties.headers["kafka.key"] == f"k{n}"
        assert properties.headers["raw"] == b"\xff\0"
        assert properties.headers["none"] is None
        assert properties.timestamp == properties.headers["timestamp_in_ms"] // 1000


def test_what_an_amqp_client_writes_kafka_and_redis_clients_read(server, amqp, listening):
    topic(server, "audit")
    amqp.exchange_declare("orders", "fanout", durable=True)
    leads(amqp, "audit", "x-topic", "audit")
    leads(amqp, "to-news", "x-channel", "news")
    for name in ("audit", "to-news"):
        amqp.exchange_bind(name, "orders")
    listen(listening, "news")
    moment = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
    headers = {
        "n": 5, "long": 1 << 40, "yes": True, "text": "é", "raw": b"\xff", "none": None,
        "money": Decimal("1.50"), "at": moment, "list": [1, "a", None], "table": {"deep": [True]},
    }  # fmt: skip
    properties = pika.BasicProperties(
        content_type="text/plain", priority=3, correlation_id="c", reply_to="r", expiration="60000",
        message_id="m", timestamp=1_700_000_000, type="t", app_id="a", headers=headers,
        delivery_mode=2,
    )  # fmt: skip
    for n, body in enumerate(BODIES):
        amqp.basic_publish("orders", f"order.{n}", body, properties)
    assert heard_of(listening, len(BODIES)) == BODIES
    records = consumed(server, "audit", len(BODIES))
    assert [value for _, value, _ in records] == BODIES
    assert [key for key, _, _ in records] == [b"order.%d" % n for n in range(len(BODIES))]
    for _, _, of_record in records:
        said = dict(of_record)
        assert said["amqp.exchange"] == b"orders"
        assert said["amqp.content_type"] == b"text/plain"
        assert said["amqp.timestamp"] == b"1700000000"
        assert (said["n"], said["yes"], said["long"]) == (b"5", b"true", b"1099511627776")
        assert (said["text"], said["raw"], said["none"]) == ("é".encode(), b"\xff", None)
        assert (said["money"], said["at"]) == (b"1.5", b"1709208000")
        assert json.loads(said["list"]) == [1, "a", None]
        assert json.loads(said["table"]) == {"deep": [True]}
    # And back: another AMQP client has the same properties, with their types.
    amqp.exchange_declare("again", "fanout", durable=True)
    amqp.queue_declare("again", durable=True)
    amqp.queue_bind("again", "again")
    route(server, "audit", exchange="again")
    for _, back, body in got(amqp, "again", len(BODIES)):
        assert body in BODIES
        for name in ("content_type", "priority", "correlation_id", "reply_to", "expiration",
                     "message_id", "timestamp", "type", "app_id", "delivery_mode"):  # fmt: skip
            assert getattr(back, name) == getattr(properties, name), name
        assert back.headers == headers
        assert type(back.headers["long"]).__name__ == "long"  # pika's: of 64 bits
        assert back.headers["yes"] is True


def test_what_a_redis_client_writes_kafka_and_amqp_clients_read(server, amqp):
    client = redis.Redis(*server.redis)
    client.publish("kept.news", BODIES[0])  # makes the topic of its history
    amqp.exchange_declare("heard", "fanout", durable=True)
    amqp.queue_declare("heard", durable=True)
    amqp.queue_bind("heard", "heard")
    route(server, "kept.news", exchange="heard")
    for body in BODIES[1:]:
        client.publish("kept.news", body)
    client.close()
    assert [it[:2] for it in consumed(server, "kept.news", len(BODIES))] == [
        (None, body) for body in BODIES
    ]
    found = got(amqp, "heard", len(BODIES))
    assert [body for _, _, body in found] == BODIES
    assert {method.routing_key for method, _, _ in found} == {""}


def test_an_amqp_client_hears_what_its_topic_does_not_take(server, amqp):
    leads(amqp, "to-missing", "x-topic", "missing")
    with pytest.raises(pika.exceptions.NackError):
        amqp.basic_publish("to-missing", "k", b"lost?", mandatory=True)
    topic(server, "missing")
    amqp.basic_publish("to-missing", "k", b"there")
    assert consumed(server, "missing", 1)[0][:2] == (b"k", b"there")


def test_a_transaction_brings_to_a_topic_and_a_queue_once_it_is_committed(server, amqp):
    topic(server, "ledger")
    amqp.exchange_declare("booked", "fanout", durable=True)
    amqp.queue_declare("booked", durable=True)
    amqp.queue_bind("booked", "booked")
    leads(amqp, "to-ledger", "x-topic", "ledger")
    amqp.exchange_bind("to-ledger", "booked")
    connection = pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))
    channel = connection.channel()
    channel.tx_select()
    channel.basic_publish("booked", "", b"rolled back")
    channel.tx_rollback()
    for body in (b"1", b"2"):
        channel.basic_publish("booked", "", body)
    channel.tx_commit()
    connection.close()
    assert [value for _, value, _ in consumed(server, "ledger", 2)] == [b"1", b"2"]
    assert [body for _, _, body in got(amqp, "booked", 2)] == [b"1", b"2"]


def test_a_rejected_message_dies_into_a_topic(server, amqp):
    topic(server, "dead")
    leads(amqp, "to-dead", "x-topic", "dead")
    amqp.queue_declare("work", durable=True, arguments={"x-dead-letter-exchange": "to-dead"})
    amqp.basic_publish("", "work", b"bad")
    method, _, _ = next(iter(amqp.consume("work", inactivity_timeout=DEADLINE_S)))
    amqp.basic_reject(method.delivery_tag, requeue=False)
    [(key, value, headers)] = consumed(server, "dead", 1)
    assert (key, value) == (b"work", b"bad")
    assert json.loads(dict(headers)["x-death"])[0]["reason"] == "rejected"


def test_an_amqp_client_is_told_of_a_circle(server, amqp):
    topic(server, "round")
    amqp.exchange_declare("around", "fanout", durable=True)
    route(server, "round", exchange="around")
    leads(amqp, "to-round", "x-topic", "round")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
        amqp.exchange_bind("to-round", "around")
    assert closed.value.reply_code == 406
    assert "circle" in closed.value.reply_text
