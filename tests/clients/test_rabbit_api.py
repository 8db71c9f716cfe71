"""RabbitMQ's management API of a real server, beside real clients of its AMQP door."""

import asyncio
import json
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from urllib.parse import quote

import pika
import pytest
from serving import Serving

AUTHORIZED = {"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = Serving(
        tmp_path_factory.mktemp("rabbit") / "data", resp_port=-1, amqp_port=0, http_port=0
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def ask(broker, path, method="GET", value=None):
    host, port = broker.http
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(
        f"http://{host}:{port}/api/{path}", body, AUTHORIZED, method=method
    )
    with urllib.request.urlopen(request) as answer:
        found = answer.read()
        return json.loads(found) if found else None


@contextmanager
def connected(broker, **properties):
    host, port = broker.amqp
    parameters = pika.ConnectionParameters(host, port, client_properties=properties)
    with pika.BlockingConnection(parameters) as client:
        yield client


def test_connections_channels_and_consumers_are_those_of_its_clients(broker):
    with connected(broker, connection_name="it") as client:
        channel = client.channel(3)
        channel.queue_declare("seen")
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume(
            "seen", lambda *_: None, consumer_tag="tag", arguments={"x-priority": 4}
        )
        for _ in range(3):
            channel.basic_publish("", "seen", b"x")
        check_seen(broker)
    assert ask(broker, "connections") == ask(broker, "channels") == []


def check_seen(broker):
    [connection] = ask(broker, "connections")
    assert connection["client_properties"]["connection_name"] == "it"
    assert (connection["user"], connection["vhost"], connection["channels"]) == ("guest", "/", 1)
    assert min(connection[it] for it in ("recv_oct", "send_oct", "connected_at")) > 100
    [found] = ask(broker, "channels")
    assert (found["number"], found["confirm"], found["prefetch_count"]) == (3, True, 2)
    assert found["messages_unacknowledged"] == 2
    [consumer] = ask(broker, "consumers/%2F")
    assert (consumer["consumer_tag"], consumer["ack_required"]) == ("tag", True)
    assert consumer["arguments"] == {"x-priority": 4}
    assert consumer["queue"] == {"name": "seen", "vhost": "/"}
    assert consumer["channel_details"]["connection_name"] == connection["name"]
    assert consumer["channel_details"]["name"] == found["name"]
    assert consumer["channel_details"]["peer_port"] == connection["peer_port"]
    queue = ask(broker, "queues/%2F/seen")
    assert (queue["messages_ready"], queue["messages_unacknowledged"]) == (1, 2)
    assert queue["consumer_details"] == [consumer]
    stats = queue["message_stats"]
    assert (stats["publish"], stats["deliver"], stats["deliver_get"], stats["ack"]) == (3, 2, 2, 0)
    whole = ask(broker, f"channels/{quote(found['name'], safe='')}")
    assert whole["consumer_details"] == [consumer]
    overview = ask(broker, "overview")
    assert overview["object_totals"] == {
        "channels": 1, "connections": 1, "consumers": 1, "exchanges": 7, "queues": 1,
    }  # fmt: skip
    stats = overview["message_stats"]
    assert (stats["publish"], stats["confirm"], stats["deliver"]) == (3, 3, 2)
    assert overview["churn_rates"]["connection_created"] == 1


def test_flower_counts_the_messages_of_its_queues(broker):
    """By the class that Flower itself asks brokers by: also in the default virtual host."""
    from flower.utils.broker import RabbitMQ

    with connected(broker) as client:
        channel = client.channel()
        channel.queue_declare("celery")
        channel.basic_publish("", "celery", b"x")
        channel.queue_declare("other")
    (host, port), (_, amqp) = broker.http, broker.amqp

    async def look(url, path):
        api = f"http://guest:guest@{host}:{port}{path}"
        return await RabbitMQ(url, api, io_loop=object()).queues({"celery"})

    for url in (f"amqp://guest:guest@{host}:{amqp}//", f"amqp://guest:guest@{host}:{amqp}/"):
        [found] = asyncio.run(look(url, "/api/"))
        assert (found["name"], found["messages"], found["consumers"]) == ("celery", 1, 0)
        assert (found["messages_ready"], found["messages_unacknowledged"]) == (1, 0)
