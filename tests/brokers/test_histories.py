"""Histories and topics of a cluster that Kafka clients write, make and delete, at all nodes."""

import http.client
import json
import secrets
import threading
import time
from contextlib import ExitStack, closing

import pika
import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions, NewTopic
from pings import Pings, longest, turns
from waiting import until

COUNT = 100


@pytest.fixture
def redises(trio):
    with ExitStack() as stack:
        yield [stack.enter_context(closing(redis.Redis(*it.redis))) for it in trio.nodes.values()]


@pytest.fixture
def listeners(redises):
    """listeners(name) -> one on each node, that hears what comes from now on."""
    with ExitStack() as stack:

        def listen(name):
            found = [stack.enter_context(closing(it.pubsub())) for it in redises]
            for it in found:
                it.subscribe(name)
                assert it.get_message(timeout=30)["type"] == "subscribe"
            return found

        yield listen


def transactions(address, topic):
    """Every other one is aborted."""
    it = Producer({"bootstrap.servers": address, "transactional.id": topic, "log_level": 0})
    it.init_transactions()
    for number in range(COUNT):
        it.begin_transaction()
        it.produce(topic, b"aborted" if number % 2 else b"committed %d" % number)
        if number % 2:
            it.flush()  # it stands in the log
            it.abort_transaction()
        else:
            it.commit_transaction()


def records(address, topic):
    it = Producer({"bootstrap.servers": address, "log_level": 0})
    for number in range(COUNT):
        it.produce(topic, b"record %d" % number)
        it.flush()


def publish(client, topic):
    for number in range(COUNT):
        client.publish(topic, f"published {number}")


def test_all_nodes_have_one_order_of_what_anybody_writes_and_nothing_aborted(
    cluster, redises, listeners
):
    name = f"kept-{secrets.token_hex(4)}"
    redises[0].publish(name, "first")  # makes it
    for it in redises:
        until(lambda it=it: it.execute_command("CHANNEL.READ", name, "FROM", "0"))
    there = listeners(name)
    acts = [
        threading.Thread(target=act, args=args)
        for act, *args in (
            (transactions, cluster.address, name), (records, cluster.address, name),
            (publish, redises[0], name), (publish, redises[1], name),
        )
    ]  # fmt: skip
    for it in acts:
        it.start()
    heard = [[] for _ in there]
    wanted = 3 * COUNT + COUNT // 2

    def hear():
        for it, found in zip(there, heard, strict=True):
            if (message := it.get_message(timeout=0.01)) is not None:
                found.append(message["data"])

    until(lambda: all(len(it) >= wanted for it in heard), hear, complain=lambda: map(len, heard))
    for it in acts:
        it.join()
    for _ in range(10):
        hear()  # nothing comes that is too much
    assert heard[0] == heard[1] == heard[2]
    assert len(heard[0]) == wanted
    assert b"aborted" not in heard[0]
    for client in redises:
        read = client.execute_command("CHANNEL.READ", name, "FROM", "0", "COUNT", "1000")
        assert [it[2] for it in read] == [b"first", *heard[0]]


def done(futures):
    for it in futures.values():
        it.result()


def partitions(place, topic):
    """How many it has, as a node knows; 0: it does not know the topic."""
    with closing(http.client.HTTPConnection(*place)) as connection:
        connection.request("GET", f"/api/v1/topics/{topic}")
        answer = connection.getresponse()
        told = json.loads(answer.read())
    assert answer.status in (200, 404), told
    return told["partitions"] if answer.status == 200 else 0


def test_what_a_kafka_client_does_to_topics_is_seen_by_all_nodes(trio, admin, redises, cluster):
    name = f"kept-{secrets.token_hex(4)}"
    patterns = [it.pubsub() for it in redises]
    for it in patterns:
        it.psubscribe(f"{name}*")
        assert it.get_message(timeout=30)["type"] == "psubscribe"
    places = [it.http for it in trio.nodes.values()]
    done(admin.create_topics([NewTopic(name, 1, 3)]))
    cluster.wait_in_sync()
    until(lambda: [partitions(it, name) for it in places] == [1, 1, 1], lambda: time.sleep(0.1))
    records(cluster.address, name)
    for it in patterns:
        found = [it.get_message(timeout=30)["data"] for _ in range(COUNT)]
        assert found == [b"record %d" % number for number in range(COUNT)]
        it.close()
    done(admin.create_partitions([NewPartitions(name, 3)]))
    until(lambda: [partitions(it, name) for it in places] == [3, 3, 3], lambda: time.sleep(0.1))
    done(admin.delete_topics([name]))
    until(lambda: [partitions(it, name) for it in places] == [0, 0, 0], lambda: time.sleep(0.1))


def test_a_message_to_a_channel_is_soon_at_the_next_node(redises, listeners, figure):
    name = f"news-{secrets.token_hex(4)}"
    _, there, _ = listeners(name)
    took_s = []
    for number in range(500):
        began = time.monotonic()
        redises[0].publish(name, number)
        while (message := there.get_message(timeout=1)) is None:
            pass
        assert message["data"] == b"%d" % number
        took_s.append(time.monotonic() - began)
    took_s.sort()
    p50, p99 = (took_s[len(took_s) * it // 100] * 1000 for it in (50, 99))
    figure("a message to the next node", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def test_making_topics_does_not_hold_the_loop(trio, figure):
    names = [f"made-{secrets.token_hex(4)}" for _ in range(20)]
    before = turns(trio["a"].http)
    with Pings(trio["a"].redis) as pings:
        host, port = trio["a"].amqp
        with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for it in names:  # each has its topic made by its first message
                channel.queue_declare(it, durable=True)
                channel.basic_publish("", it, b"1", pika.BasicProperties(delivery_mode=2))
    took_ms = sorted(1000 * it for it in pings.took_s)
    turn_s = longest(before, turns(trio["a"].http))
    p50, most = took_ms[len(took_ms) // 2], took_ms[-1]
    figure("20 topics made", f"PING p50 {p50:.1f} ms, most {most:.0f} ms, turns within {turn_s} s")
