"""A store and its queues into a cluster, and back, by the commands that the manual gives."""

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest
from cluster_nodes import Cluster
from serving import COMMAND, Serving

pytestmark = [pytest.mark.long, pytest.mark.nodes]

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
VHOSTS = ("/", "shop")
LASTS = pika.BasicProperties(delivery_mode=2, priority=2, headers={"n": 1}, message_id="m")
LINES = [str(number) for number in range(1, 101)]


@contextmanager
def channel_of(server, vhost="/"):
    parameters = pika.ConnectionParameters(*server.amqp, vhost)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


@pytest.fixture
def run(tmp_path):
    """Runs a script of a shell; what it has put out."""

    def run(script, **variables):
        path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True,
            text=True, check=False, env=os.environ | {"PATH": path} | variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def start(tmp_path):
    """Starts a server of a store of its own."""
    started = []

    def start(name):
        started.append(Serving(tmp_path / name, amqp_port=0))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def fill(server, run):
    run("logstore vhost add shop --data old; logstore topic create t --data old")
    run("seq 1 100 | logstore produce t --data old")
    for vhost in VHOSTS:
        with channel_of(server, vhost) as channel:
            channel.exchange_declare("events", "topic", durable=True)
            channel.queue_declare("orders", durable=True, arguments={"x-max-priority": 3})
            channel.queue_bind("orders", "events", "o.#")
            for number in range(50):
                body = f"{vhost} {number}".encode()
                channel.basic_publish("events", f"o.{number}", body, LASTS, mandatory=True)
    with channel_of(server) as channel:
        channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
        channel.basic_publish("", "log", b"line", LASTS, mandatory=True)


def check(server):
    """All is there, and nothing of it is taken."""
    for vhost in VHOSTS:
        with channel_of(server, vhost) as channel:
            found = [channel.basic_get("orders") for _ in range(50)]
            assert [it[2] for it in found] == [f"{vhost} {n}".encode() for n in range(50)]
            for _, properties, _ in found:
                assert (properties.priority, properties.message_id) == (2, "m")
                assert properties.headers["n"] == 1
            assert channel.basic_get("orders")[0] is None
            channel.basic_publish("events", "o.x", b"", mandatory=True)  # it is bound
            channel.basic_get("orders", auto_ack=True)
            channel.basic_nack(0, multiple=True)
    with channel_of(server) as channel:
        channel.basic_qos(prefetch_count=1)
        stream = channel.consume(
            "log", arguments={"x-stream-offset": "first"}, inactivity_timeout=30
        )
        assert next(stream)[2] == b"line"


def test_a_store_goes_into_a_cluster_and_back_with_its_queues(tmp_path, run, start):
    section = PAGE.read_text().partition("## Move a store into a cluster")[2].partition("\n## ")[0]
    there, topics_back, back = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    cluster = Cluster(tmp_path)
    try:
        node, its = cluster.node("node-1"), {"CLUSTER": cluster.address}
        fill(start("old"), run)
        run(there, **its)
        run(there, **its)
        assert run('logstore consume t --bootstrap "$CLUSTER"', **its).split() == LINES
        check(node)
        run(topics_back, **its)
        new = start("new")
        run(back, **its)
        assert run("logstore consume t --data new").split() == LINES
        check(new)
    finally:
        cluster.stop()
