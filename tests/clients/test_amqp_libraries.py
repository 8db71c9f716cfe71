"""Other libraries and tools that speak to RabbitMQ, each with what is its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import amqp
import kombu
import pika
import pytest
from own_venv import python_with
from serving import DEADLINE_S
from waiting import until

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
needs_tools = pytest.mark.skipif(
    shutil.which("amqp-publish") is None, reason="no amqp-tools: apt-get install amqp-tools"
)
needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="no Node and npm here")


def url(server):
    host, port = server.amqp
    return f"amqp://guest:guest@{host}:{port}"


def run(words, **more):
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=3 * DEADLINE_S,
        check=False, **more,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# pika, asynchronous


class Publisher:
    """Confirms and consumes on one asynchronous connection; ends when all has come back."""

    def __init__(self, server, count):
        self.count, self.confirmed, self.found, self.closed = count, 0, [], []
        self.connection = pika.SelectConnection(
            pika.ConnectionParameters(*server.amqp, heartbeat=5),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._open),
            on_close_callback=lambda connection, reason: connection.ioloop.stop(),
        )
        self.connection.ioloop.call_later(DEADLINE_S, self._stop)

    def _open(self, channel):
        self.channel = channel
        channel.queue_declare("select", durable=True, callback=self._declared)

    def _declared(self, _):
        self.channel.confirm_delivery(self._confirmed)
        self.channel.basic_qos(prefetch_count=10, callback=self._consume)
        for n in range(self.count):
            self.channel.basic_publish("", "select", b"%d" % n, mandatory=True)

    def _consume(self, _):
        self.channel.basic_consume("select", self._had)

    def _confirmed(self, frame):
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        self.confirmed = frame.method.delivery_tag
        self._end()

    def _had(self, channel, method, _, body):
        self.found.append(int(body))
        channel.basic_ack(method.delivery_tag)
        self._end()

    def _end(self):
        if self.confirmed == len(self.found) == self.count:
            self.connection.close()

    def _stop(self):
        self.connection.ioloop.stop()


def test_pika_asynchronous(broker):
    it = Publisher(broker, 1000)
    it.connection.ioloop.start()
    it.connection.ioloop.close()
    assert (it.confirmed, it.found) == (1000, list(range(1000)))


# py-amqp and kombu


def test_py_amqp_confirms_returns_and_transactions(broker):
    host, port = broker.amqp
    with amqp.Connection(f"{host}:{port}", confirm_publish=True, heartbeat=10) as connection:
        channel = connection.channel()
        channel.queue_declare("py", durable=True, auto_delete=False)
        channel.basic_publish_confirm(amqp.Message("x", delivery_mode=2), routing_key="py")
        returned = []
        channel.events["basic_return"].add(lambda *it: returned.append(it))
        channel.basic_publish_confirm(amqp.Message("y"), routing_key="nowhere", mandatory=True)
        ((why, *_),) = returned
        assert (why.reply_code, why.reply_text) == (312, "NO_ROUTE")
        got = channel.basic_get("py")
        assert (got.body, got.delivery_info["redelivered"]) == ("x", False)
        channel.basic_recover(requeue=True)
        assert channel.basic_get("py", no_ack=True).delivery_info["redelivered"]
        with pytest.raises(amqp.NotFound, match="no queue 'no' in vhost '/'"):
            channel.queue_declare("no", passive=True)
        plain = connection.channel()
        plain.queue_declare("py.tx", auto_delete=False)
        other = amqp.Connection(f"{host}:{port}")
        other.connect()
        held = other.channel()
        held.tx_select()
        held.basic_publish(amqp.Message("z"), routing_key="py.tx")
        assert plain.basic_get("py.tx") is None
        held.tx_commit()
        assert plain.basic_get("py.tx", no_ack=True).body == "z"
        other.close()


def test_kombu_a_producer_and_consumers(broker):
    exchange = kombu.Exchange("kombu.logs", "topic", durable=True)
    queue = kombu.Queue(
        "kombu.mail", exchange, routing_key="mail.#", max_priority=5, expires=3600, message_ttl=600
    )
    with kombu.Connection(url(broker) + "//", heartbeat=10) as connection:
        producer = connection.Producer(serializer="json")
        found = []

        def had(body, message):
            found.append(body)
            message.ack()

        for n in (1, 4, 2):
            producer.publish(
                {"n": n}, exchange=exchange, routing_key="mail.new", declare=[queue], priority=n,
                retry=True,
            )  # fmt: skip
        with connection.Consumer(queue, callbacks=[had], prefetch_count=10):
            while len(found) < 3:
                connection.drain_events(timeout=DEADLINE_S)
        assert sorted(it["n"] for it in found) == [1, 2, 4]
        with connection.SimpleQueue("kombu.simple") as simple:
            simple.put({"hello": 1})
            message = simple.get(timeout=DEADLINE_S)
            assert message.payload == {"hello": 1}
            message.ack()
            assert simple.qsize() == 0
        with pytest.raises(connection.channel_errors):
            kombu.Queue("kombu.no", channel=connection).queue_declare(passive=True)


def test_kombu_connects_again_when_the_server_was_killed(start):
    server = start(resp_port=-1, amqp_port=0)
    with kombu.Connection(url(server) + "//") as connection:
        queue = kombu.Queue("kept", durable=True)
        producer = connection.Producer()
        producer.publish("1", routing_key="kept", declare=[queue], retry=True)
        server.stop(signal.SIGKILL)
        again = start(resp_port=-1, amqp_port=server.amqp[1])
        producer.publish(
            "2", routing_key="kept", declare=[queue], retry=True, retry_policy={"max_retries": 10}
        )
        bound = queue(connection.default_channel)
        bodies = []
        while (got := bound.get()) is not None:
            bodies.append(got.payload)
            got.ack()
        assert bodies[-1] == "2"
    assert again.stop()[0] == 0


# Applications


def test_dramatiq_delays_rejects_and_counts(broker, tmp_path):
    notes = tmp_path / "notes"
    environment = {
        **os.environ, "APP_BROKER": url(broker), "APP_NOTES": str(notes), "PYTHONPATH": str(HERE),
    }  # fmt: skip
    ask = (
        "import time, json, dramatiq_app as app;"
        "app.note.send('now', 1);"
        "app.note.send_with_options(args=('later', time.time()), delay=1000);"
        "app.breaks.send();"
        "print(json.dumps(app.broker.get_queue_message_counts('default')))"
    )
    assert json.loads(run([sys.executable, "-c", ask], env=environment)) == [2, 1, 0]
    words = [sys.executable, "-m", "dramatiq", "dramatiq_app", "-p", "1", "-t", "2"]
    worker = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []

        def noted():
            lines[:] = notes.read_text().splitlines() if notes.exists() else []
            return len(lines) == 2

        until(noted, lambda: time.sleep(0.05), complain=lambda: str(lines))
        found = dict(map(json.loads, lines))
        assert found["now"] == 1
        until(lambda: dead(broker) == 1, lambda: time.sleep(0.05))
    finally:
        worker.terminate()
        said, _ = worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 0, said


def dead(server):
    """How many messages dramatiq has given up."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(*server.amqp))
    try:
        return connection.channel().queue_declare("default.XQ", passive=True).method.message_count
    finally:
        connection.close()


def test_taskiq_with_a_delay(broker):
    environment = {**os.environ, "APP_BROKER": url(broker)}
    python = python_with("taskiq")
    assert run([python, HERE / "taskiq_app.py"], env=environment).split() == ["5", "9"]


# Tools


@needs_tools
def test_amqp_tools(broker):
    at = ["--url", url(broker)]
    assert run(["amqp-declare-queue", *at, "-q", "tools", "-d"]).strip() == "tools"
    for body in ("one", "two"):
        run(["amqp-publish", *at, "-r", "tools", "-p", "-b", body])
    assert run(["amqp-get", *at, "-q", "tools"]) == "one"
    assert run(["amqp-consume", *at, "-q", "tools", "-c", "1", "cat"]) == "two"
    assert run(["amqp-delete-queue", *at, "-q", "tools"]).strip() == "0"


@needs_node
def test_amqplib(broker, tmp_path):
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(HERE / "amqplib" / name, tmp_path)
    fetched = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True,
        timeout=3 * DEADLINE_S, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"npm does not give amqplib: {fetched.stderr[-200:]}")
    assert run(["node", tmp_path / "client.js", url(broker)]).split() == ["done"]
