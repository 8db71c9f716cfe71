"""Queues that do not last, between nodes over a cluster: replies, subscribers, and their end."""

import json
import signal
import urllib.request
from base64 import b64encode
from contextlib import closing, contextmanager, suppress
from functools import partial

import pika
import pytest
from celery_parts import Shop
from cluster_nodes import Cluster
from waiting import until

pytestmark = pytest.mark.long


@pytest.fixture
def nodes(tmp_path):
    cluster = Cluster(tmp_path)
    yield [cluster.node(name) for name in ("a", "b")]
    cluster.stop()


@contextmanager
def channel(node):
    host, port = node.amqp
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    found = connection.channel()
    found.confirm_delivery()
    yield found
    with suppress(pika.exceptions.AMQPError):  # its node may have gone
        connection.close()


def know_each_other(a, b):
    """Each knows what the other one has declared."""
    for mine, other in ((a, b), (b, a)):
        name = mine.queue_declare("", exclusive=True).method.queue
        until(partial(reaches, other, name))


def reaches(channel, queue):
    try:
        channel.basic_publish("", queue, b"", mandatory=True)
    except pika.exceptions.UnroutableError:
        return False
    return True


def test_a_worker_of_one_node_answers_a_client_of_the_other(nodes):
    with channel(nodes[0]) as client, channel(nodes[1]) as worker:
        know_each_other(client, worker)
        for asks, works in ((client, worker), (worker, client)):
            calls(asks, works)


def calls(client, worker):
    """As in RabbitMQ's tutorial, each call with a reply queue of its own."""
    worker.queue_declare("rpc", durable=True)

    def answer(channel, method, properties, body):
        channel.basic_publish("", properties.reply_to, body[::-1], pika.BasicProperties(
            correlation_id=properties.correlation_id), mandatory=True)  # fmt: skip
        channel.basic_ack(method.delivery_tag)

    tag = worker.basic_consume("rpc", answer)
    for number in range(30):
        reply = client.queue_declare("", exclusive=True).method.queue
        got = {}
        client.basic_consume(
            reply, lambda c, m, p, body, got=got: got.update({p.correlation_id: body}), True
        )
        client.basic_publish(
            "", "rpc", b"%d." % number,
            pika.BasicProperties(reply_to=reply, correlation_id=str(number)),
        )  # fmt: skip

        def came(got=got):
            for it in (client, worker):
                it.connection.process_data_events(0.005)
            return got

        until(came)
        assert got == {str(number): (b"%d." % number)[::-1]}
        client.queue_delete(reply)
    worker.basic_cancel(tag)


def test_subscribers_of_both_nodes_get_what_is_published_at_either(nodes):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        know_each_other(a, b)
        queues = []
        for it in (a, b):
            it.exchange_declare("logs", "fanout")  # as in the tutorial: it does not last
            queues.append(it.queue_declare("", exclusive=True).method.queue)
            it.queue_bind(queues[-1], "logs")
        for it, body in ((a, b"1"), (b, b"2")):
            it.basic_publish("logs", "", body, mandatory=True)
        for it, queue in zip((a, b), queues, strict=True):
            found = []
            until(lambda it=it, q=queue, f=found: take(it, q, f) and len(f) == 2)
            assert sorted(found) == [b"1", b"2"]


def take(channel, queue, found):
    _, _, body = channel.basic_get(queue, auto_ack=True)
    if body is not None:
        found.append(body)
    return True


def test_celerys_results_and_commands_go_between_nodes(nodes, tmp_path):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        know_each_other(a, b)
    with closing(Shop(tmp_path / "shop", nodes[1].amqp)) as there:
        there.worker()
        with closing(Shop(tmp_path / "shop", nodes[0].amqp)) as here:
            ask = here.ask()
            wanted = [2 * n for n in range(20)]
            assert ask("[it.get(T) for it in [add.delay(n, n) for n in range(20)]]") == wanted
            assert ask("app.control.ping(timeout=T, limit=1)") == [{"one@here": {"ok": "pong"}}]


def test_what_no_connection_has_for_itself_is_used_from_the_other_node(nodes):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        know_each_other(a, b)
        a.queue_declare("shared")
        assert b.queue_declare("shared", passive=True).method.message_count == 0
        a.basic_publish("", "shared", b"1")
        b.basic_publish("", "shared", b"2")
        found = []
        until(lambda: take(b, "shared", found) and len(found) == 2)
        assert [names(it) & {"shared"} for it in nodes] == [{"shared"}] * 2
        a.queue_declare("mine", exclusive=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="RESOURCE_LOCKED"):
            b.queue_declare("mine", passive=True)


def names(node):
    """Of the queues that its HTTP API lists."""
    host, port = node.http
    asked = urllib.request.Request(f"http://{host}:{port}/api/queues")
    asked.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
    with urllib.request.urlopen(asked) as answer:
        return {it["name"] for it in json.load(answer)}


def test_a_node_takes_its_queues_with_it(nodes):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        know_each_other(a, b)
        a.queue_declare("v")
        assert reaches(b, "v")
        nodes[0].process.send_signal(signal.SIGKILL)
        nodes[0].process.wait(30)
        until(lambda: gone(b, "v"))


def gone(channel, queue):
    try:
        return not reaches(channel, queue)
    except pika.exceptions.NackError:  # as long as it may come back
        return False
