"""Streams by unmodified clients: pika, aio-pika and Kafka's, each writing what the others read."""

import json
import signal
import urllib.request
from contextlib import suppress

import pika
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker
from serving import DEADLINE_S, Serving
from waiting import until

STREAM = {"x-queue-type": "stream"}
QUIET_S = 0.2


pytestmark = pytest.mark.long  # all but the one that shows that it works


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("store") / "data", resp_port=-1, amqp_port=0,
                     http_port=0)  # fmt: skip
    yield server
    code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def connected(server):
    return pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))


@pytest.fixture
def channel(server):
    connection = connected(server)
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    if connection.is_open:
        connection.close()


def declared(channel, name, **arguments):
    given = {f"x-{it.replace('_', '-')}": value for it, value in arguments.items()}
    channel.queue_declare(name, durable=True, arguments=STREAM | given)
    return name


def taken(channel, name, count, begin="first", prefetch=10):
    """So many messages from there on, each acknowledged."""
    channel.basic_qos(prefetch_count=prefetch)
    found = []
    arguments = {} if begin is None else {"x-stream-offset": begin}
    for method, properties, body in channel.consume(
        name, arguments=arguments, inactivity_timeout=DEADLINE_S
    ):
        assert method is not None, f"only {found} came"
        found.append((properties.headers["x-stream-offset"], body, properties, method))
        channel.basic_ack(method.delivery_tag)
        if len(found) == count:
            break
    channel.cancel()
    return found


def produced(server, topic, *messages):
    producer = Producer({"bootstrap.servers": server.address})
    for value, key, headers in messages:
        producer.produce(topic, value, key, headers=headers)
    assert producer.flush(DEADLINE_S) == 0


def fetched(server, topic, count):
    consumer = Consumer({
        "bootstrap.servers": server.address, "group.id": "g", "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })  # fmt: skip
    consumer.subscribe([topic])
    found = []
    while len(found) < count:
        message = consumer.poll(DEADLINE_S)
        assert message is not None, f"only {found} came"
        assert message.error() is None
        found.append(message)
    consumer.close()
    return found


def test_one_stream_is_written_and_read_through_both_doors(server, channel):
    declared(channel, "both")
    properties = pika.BasicProperties(
        content_type="text/plain", headers={"n": 5, "s": "text"}, message_id="m", priority=3
    )
    channel.basic_publish("", "both", b"by pika", properties)
    produced(server, "both", (b"by Kafka", b"key", [("h", b"v"), ("bytes", b"\xff")]))
    channel.basic_publish("", "both", b"", None)
    first, second, third = taken(channel, "both", 3)
    assert [it[0] for it in (first, second, third)] == [0, 1, 2]
    assert [it[1] for it in (first, second, third)] == [b"by pika", b"by Kafka", b""]
    headers = dict(first[2].headers)
    del headers["x-stream-offset"]
    assert (headers, first[2].content_type, first[2].message_id, first[2].priority) == (
        {"n": 5, "s": "text"}, "text/plain", "m", 3,
    )  # fmt: skip
    assert second[3].routing_key == "key"
    assert second[2].headers["h"] == "v"
    assert second[2].headers["bytes"] == b"\xff"
    records = fetched(server, "both", 3)
    assert [it.value() for it in records] == [b"by pika", b"by Kafka", b""]
    assert dict(records[0].headers())["s"] == b"text"
    assert records[1].key() == b"key"


def test_a_topic_becomes_a_stream_with_what_it_has(server, channel):
    produced(server, "before", *((b"%d" % n, None, None) for n in range(5)))
    declared(channel, "before")
    assert [it[1] for it in taken(channel, "before", 5)] == [b"%d" % n for n in range(5)]


def test_a_name_that_no_topic_has_is_no_streams(channel):
    with pytest.raises(ChannelClosedByBroker, match="can't be a stream") as refused:
        declared(channel, "two words")
    assert refused.value.reply_code == 406


def test_a_topic_with_more_partitions_is_no_stream(server, channel):
    admin = AdminClient({"bootstrap.servers": server.address})
    admin.create_topics([NewTopic("several", 3)])["several"].result(DEADLINE_S)
    with pytest.raises(ChannelClosedByBroker, match="3 partitions") as refused:
        declared(channel, "several")
    assert refused.value.reply_code == 406


def test_arguments_are_settings_of_the_topic(server, channel):
    declared(channel, "aged", max_age="7D", max_length_bytes=20_000_000)
    admin = AdminClient({"bootstrap.servers": server.address})
    [(_, future)] = admin.describe_configs([ConfigResource("topic", "aged")]).items()
    found = future.result(DEADLINE_S)
    assert found["retention.ms"].value == str(7 * 86_400_000)
    assert found["retention.bytes"].value == "20000000"


def test_consumers_of_a_stream_have_places_of_their_own(server, channel):
    declared(channel, "places")
    for n in range(10):
        channel.basic_publish("", "places", b"%d" % n)
    assert [it[1] for it in taken(channel, "places", 3, begin=4)] == [b"4", b"5", b"6"]
    assert [it[1] for it in taken(channel, "places", 1, begin="last")] == [b"9"]
    assert [it[1] for it in taken(channel, "places", 10, begin="1h", prefetch=1)] == [
        b"%d" % n for n in range(10)
    ]


def test_a_consumer_hears_of_what_comes(server, channel):
    declared(channel, "live")
    channel.basic_publish("", "live", b"before")
    other = connected(server)
    reader = other.channel()
    reader.basic_qos(prefetch_count=10)
    came = []
    reader.basic_consume("live", lambda _, m, p, body: came.append(body))
    channel.basic_publish("", "live", b"by AMQP")
    produced(server, "live", (b"by Kafka", None, None))
    until(lambda: other.process_data_events(0.01) or len(came) == 2)
    assert came == [b"by AMQP", b"by Kafka"]
    other.close()


def test_deleting_the_topic_cancels_the_consumers(server, channel):
    declared(channel, "gone")
    channel.basic_qos(prefetch_count=1)
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    channel.basic_consume("gone", lambda *_: None)
    admin = AdminClient({"bootstrap.servers": server.address})
    admin.delete_topics(["gone"])["gone"].result(DEADLINE_S)
    until(lambda: channel.connection.process_data_events(0.01) or cancelled)
    with pytest.raises(ChannelClosedByBroker) as missing:
        channel.queue_declare("gone", passive=True)
    assert missing.value.reply_code == 404


def test_deleting_the_queue_deletes_the_topic(server, channel):
    declared(channel, "deleted")
    admin = AdminClient({"bootstrap.servers": server.address})
    assert "deleted" in admin.list_topics(timeout=DEADLINE_S).topics
    channel.queue_delete("deleted")
    assert "deleted" not in admin.list_topics(timeout=DEADLINE_S).topics


def test_its_topic_gets_no_more_partitions(server, channel):
    declared(channel, "single")
    admin = AdminClient({"bootstrap.servers": server.address})
    with pytest.raises(KafkaException, match="one partition"):
        admin.create_partitions([NewPartitions("single", 3)])["single"].result(DEADLINE_S)


@pytest.mark.parametrize("act", ["basic_get", "queue_purge"])
def test_what_only_queues_do_ends_the_connection(server, channel, act):
    declared(channel, "only")
    with pytest.raises(ConnectionClosedByBroker) as refused:
        getattr(channel, act)("only")
    assert refused.value.reply_code == 540


def asked(server, target):
    host, port = server.http
    request = urllib.request.Request(f"http://{host}:{port}{target}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.load(answer)


def test_lists_say_that_it_is_a_stream(server, channel):
    declared(channel, "listed")
    channel.basic_publish("", "listed", b"x")
    found = asked(server, "/api/queues/%2F/listed")
    assert (found["type"], found["messages"], found["durable"]) == ("stream", 1, True)
    assert found["arguments"] == STREAM
    own = asked(server, "/api/v1/queues/listed")
    assert (own["type"], own["topic"], own["ready"], own["lanes"]) == ("stream", "listed", 1, [])


@pytest.mark.long
def test_what_was_confirmed_outlives_kill_9(tmp_path):
    count = 0
    for _ in range(4):
        server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
        connection = connected(server)
        channel = connection.channel()
        channel.confirm_delivery()
        declared(channel, "s")
        found = taken(channel, "s", count) if count else []
        assert [body for _, body, _, _ in found][:count] == [b"%d" % n for n in range(count)]
        for _ in range(50):
            channel.basic_publish("", "s", b"%d" % count)
            count += 1
        server.stop(signal.SIGKILL)
        with suppress(AMQPError):
            connection.close()
