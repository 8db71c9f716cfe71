"""Sessions of MQTT clients of a real server: over connections, restarts and other doors."""

import json
import signal
import subprocess

import pytest
from amqp_wire import Line
from cli_process import COMMAND
from mqtt_client import MqttLine
from serving import Serving

from logstore.amqp import methods
from logstore.amqp.properties import Properties
from logstore.mqtt import packets, reasons

pytestmark = pytest.mark.long

PERSISTENT = Properties(delivery_mode=2)


class Server:
    """One store, served again and again."""

    def __init__(self, data):
        self.data = data
        self.lines = []
        self.start()

    def start(self):
        self.running = Serving(self.data, resp_port=-1, amqp_port=0, mqtt_port=0)
        self.mqtt, self.amqp = self.running.mqtt, self.running.amqp

    def come(self, client, **given):
        self.lines.append(MqttLine(self.mqtt, client, **given))
        return self.lines[-1]

    def stop(self, number=signal.SIGTERM):
        code, errors = self.running.stop(number)
        assert code == (0 if number == signal.SIGTERM else -number)
        assert "Traceback" not in errors

    def again(self, number=signal.SIGTERM):
        self.stop(number)
        self.start()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "data")
    yield server
    for it in server.lines:
        it.close()
    server.stop()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_messages_wait_for_a_session_while_the_server_starts_again(server, number, version):
    line = server.come("c", version=version)
    assert not line.present
    assert line.subscribe(b"a/+") == b"\1"
    line.close()
    publisher = server.come("p", clean=True, expiry_s=0)
    pids = publisher.publish(b"a/b", b"1", b"2")
    while len(publisher.acks) < 2:
        publisher.keep(publisher.read())
    assert [it.pid for it in publisher.acks] == pids
    publisher.close()
    server.again(number)
    line = server.come("c", version=version)
    assert line.present
    while len(line.published) < 2:
        line.keep(line.read())
    assert [it.payload for it in line.published] == [b"1", b"2"]
    line.close()


def test_what_other_doors_publish_first_after_a_start_waits_for_a_session(server):
    line = server.come("c")
    line.subscribe(b"a/+")
    line.close()
    server.again(signal.SIGKILL)
    amqp = Line(server.amqp, channels=(1,))
    amqp.tell(1, methods.ConfirmSelect(False))
    amqp.tell(1, methods.BasicPublish(0, "amq.topic", "a.b", False, False), PERSISTENT, b"first")
    while not amqp.channels[1].confirms:
        amqp._file(*amqp._frame())
    amqp.end()
    line = server.come("c")
    while not line.published:
        line.keep(line.read())
    (got,) = line.published
    assert (got.topic, got.payload, got.qos) == (b"a/b", b"first", 1)
    line.close()


def test_the_command_lists_describes_and_ends_sessions_of_a_server(server):
    line = server.come("here", window=5)
    line.subscribe(b"a")
    away = server.come("away", expiry_s=60)
    away.subscribe(b"a", qos=2)
    away.close()
    publisher = server.come("p", clean=True, expiry_s=0)
    publisher.publish(b"a", b"1")
    publisher.ping()

    def command(*words):
        run = [COMMAND, "session", *words, "--data", server.data]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    rows = {it["client"]: it for it in json.loads(command("list", "--json"))}
    assert set(rows) == {"here", "away", "p"}
    assert rows["here"]["connected"]
    assert rows["away"]["queue"] == "mqtt-subscription-awayqos1"
    found = json.loads(command("describe", "away", "--json"))
    assert [(it["filter"], it["qos"]) for it in found["subscriptions"]] == [("a", 2)]
    assert command("end", "here", "away") == "ended 2 sessions\n"
    assert line.until(packets.Disconnect).reason == reasons.ADMINISTRATIVE
    assert [it["client"] for it in json.loads(command("list", "--json"))] == ["p"]
    assert not server.come("away", expiry_s=60).present


def test_a_backup_has_the_sessions_and_what_waits_for_them(server, tmp_path):
    line = server.come("c")
    line.subscribe(b"a/+")
    line.close()
    publisher = server.come("p", clean=True, expiry_s=0)
    publisher.publish(b"a/b", b"1", b"2")
    while len(publisher.acks) < 2:
        publisher.keep(publisher.read())
    copy = tmp_path / "copy"
    run = [COMMAND, "backup", copy, "--data", server.data]
    subprocess.run(run, check=True, capture_output=True, text=True)
    server.stop()
    server.data = copy
    server.start()
    line = server.come("c")
    assert line.present
    while len(line.published) < 2:
        line.keep(line.read())
    assert [it.payload for it in line.published] == [b"1", b"2"]
    assert line.subscribe(b"z") == b"\1"
