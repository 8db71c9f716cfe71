"""Queues, read by Kafka's clients as topics: nothing is taken."""

import pika
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from serving import DEADLINE_S, Serving
from waiting import until

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("store") / "data", resp_port=-1, amqp_port=0,
                     queue_topics_listed="true")  # fmt: skip
    yield server
    code, errors = server.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def channel(server):
    connection = pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def admin(server):
    return AdminClient({"bootstrap.servers": server.address})


def consumer(server, group="g", **more):
    return Consumer({
        "bootstrap.servers": server.address, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, **more,
    })  # fmt: skip


def read(server, topic, count, group="g"):
    reader = consumer(server, group)
    reader.subscribe([topic])
    found = []
    while len(found) < count:
        message = reader.poll(DEADLINE_S)
        assert message is not None, f"only {found} came"
        assert message.error() is None
        found.append(message)
    reader.commit(asynchronous=False)
    reader.close()
    return found


def test_a_queue_is_read_and_nothing_is_taken(server, channel, admin):
    channel.queue_declare("mail", durable=True)
    for n in range(5):
        channel.basic_publish("", "mail", b"%d" % n, pika.BasicProperties(content_type="a/b"))
    method, _, _ = channel.basic_get("mail")
    channel.basic_ack(method.delivery_tag)
    found = read(server, "__queue.mail", 5)
    assert [it.value() for it in found] == [b"%d" % n for n in range(5)]
    assert {name for name, _ in found[0].headers()} == {"amqp.exchange", "amqp.properties"}
    assert found[0].key() == b"mail"
    assert channel.queue_declare("mail", passive=True).method.message_count == 4
    metadata = admin.list_topics(timeout=DEADLINE_S).topics
    assert len(metadata["__queue.mail"].partitions) == 1
    reader = consumer(server)
    place = TopicPartition("__queue.mail", 0)
    assert reader.get_watermark_offsets(place, DEADLINE_S) == (0, 5)
    assert reader.committed([place], DEADLINE_S)[0].offset == 5
    reader.close()


def test_a_priority_is_a_partition_and_what_comes_wakes_who_waits(server, channel):
    channel.queue_declare("urgent", durable=True, arguments={"x-max-priority": 2})
    reader = consumer(server, "h")
    reader.assign([TopicPartition("__queue.urgent", n, 0) for n in range(3)])
    assert reader.poll(0.2) is None
    for n in (0, 2):
        channel.basic_publish("", "urgent", b"%d" % n, pika.BasicProperties(priority=n))
    found = {}
    until(lambda: ((m := reader.poll(1)) and found.update({m.partition(): m.value()}))
          or len(found) == 2)  # fmt: skip
    assert found == {0: b"0", 2: b"2"}
    reader.close()


def test_what_was_purged_is_not_read(server, channel):
    channel.queue_declare("purged", durable=True)
    for n in range(10):
        channel.basic_publish("", "purged", b"%d" % n)
    method, _, _ = channel.basic_get("purged")
    channel.queue_purge("purged")
    channel.basic_publish("", "purged", b"after")
    found = read(server, "__queue.purged", 2, "p")
    assert [(it.offset(), it.value()) for it in found] == [(0, b"0"), (10, b"after")]
    channel.basic_ack(method.delivery_tag)


def test_other_queues_go_by_their_number(server, channel, admin):
    channel.queue_declare("two words", durable=True)
    channel.basic_publish("", "two words", b"x")
    names = [it for it in admin.list_topics(timeout=DEADLINE_S).topics if ".id." in it]
    assert len(names) == 1
    assert [it.value() for it in read(server, names[0], 1, "n")] == [b"x"]


def test_volatile_queues_are_none(channel, admin):
    channel.queue_declare("fleeting", durable=False)
    channel.queue_declare("", exclusive=True)
    assert "__queue.fleeting" not in admin.list_topics(timeout=DEADLINE_S).topics
    assert admin.list_topics("__queue.fleeting", DEADLINE_S).topics["__queue.fleeting"].error


def test_nobody_writes_to_it_or_changes_it(server, channel, admin):
    channel.queue_declare("kept", durable=True)
    channel.basic_publish("", "kept", b"x")
    errors = []
    producer = Producer({"bootstrap.servers": server.address})
    producer.produce("__queue.kept", b"y", on_delivery=lambda error, _: errors.append(error))
    producer.flush(DEADLINE_S)
    assert [it.name() for it in errors] == ["TOPIC_EXCEPTION"]
    with pytest.raises(KafkaException, match="INVALID_REQUEST"):
        admin.delete_topics(["__queue.kept"])["__queue.kept"].result(DEADLINE_S)
    with pytest.raises(KafkaException, match="reserved for queues"):
        admin.create_topics([NewTopic("__queue.new", 1)])["__queue.new"].result(DEADLINE_S)
    place = TopicPartition("__queue.kept", 0, 1)
    [future] = admin.delete_records([place]).values()
    with pytest.raises(KafkaException):
        future.result(DEADLINE_S)
    found = admin.describe_configs([ConfigResource("topic", "__queue.kept")])
    [future] = found.values()
    assert future.result(DEADLINE_S)["retention.ms"]
    assert channel.queue_declare("kept", passive=True).method.message_count == 1


def test_a_queue_that_is_deleted_and_made_again_is_another(server, channel):
    channel.queue_declare("again", durable=True)
    channel.basic_publish("", "again", b"old")
    assert [it.value() for it in read(server, "__queue.again", 1, "a")] == [b"old"]
    channel.queue_delete("again")
    channel.queue_declare("again", durable=True)
    channel.basic_publish("", "again", b"new")
    assert [it.value() for it in read(server, "__queue.again", 1, "b")] == [b"new"]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_group_reads_a_queue_that_is_declared_after_it_has_subscribed(server, channel, protocol):
    """A member of the new protocol was not told of it, and waited for ever."""
    reader = consumer(server, f"early {protocol}", **{
        "group.protocol": protocol, "topic.metadata.refresh.interval.ms": 200
    })  # fmt: skip
    name, before = f"late-{protocol}", f"before-{protocol}"
    channel.queue_declare(before, durable=True)
    reader.subscribe([f"^__queue[.]({name}|{before})$"])
    until(lambda: reader.poll(0.1) is None and reader.assignment())
    channel.queue_declare(name, durable=True)
    channel.basic_publish("", name, b"x")
    found = []
    until(lambda: ((m := reader.poll(0.2)) and m.error() is None and found.append(m.value()))
          or found)  # fmt: skip
    assert found == [b"x"]
    reader.close()
