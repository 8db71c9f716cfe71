"""The MQTT door with the clients that people use: mosquitto's, paho, aiomqtt, and MQTT.js where
Node is there and npm can fetch it.
"""

import asyncio
import gc
import json
import shutil
import subprocess
import threading
from pathlib import Path

import aiomqtt
import paho.mqtt.client as paho
import pytest
from node_clients import needs_node
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from serving import Serving

# Some of these clients leave their sockets to the interpreter.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DEADLINE_S = 30
FETCHED_S = 300
JS = Path(__file__).with_name("mqttjs")
V311, V5 = paho.MQTTv311, paho.MQTTv5
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="no mosquitto-clients here"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(
        tmp_path_factory.mktemp("mqtt") / "data", resp_port=-1, mqtt_port=0, http_port=-1
    )
    yield serving
    gc.collect()
    assert serving.stop() == (0, "")


class Paho:
    """A client whose thread keeps what comes."""

    def __init__(self, server, name, version, *, will=None, **given):
        self.messages, self.events = [], []
        self._news = threading.Condition()
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, name, protocol=version,
            **({} if version == V5 else {"clean_session": given.get("clean", True)}),
        )  # fmt: skip
        self.client.on_message = lambda _, __, it: self._add(self.messages, it)
        for event in ("connect", "subscribe", "unsubscribe", "publish", "disconnect"):
            setattr(
                self.client, f"on_{event}", lambda *it, e=event: self._add(self.events, (e, it))
            )
        if will is not None:
            self.client.will_set(*will)
        if "user" in given:
            self.client.username_pw_set(given["user"], given["password"])
        extra = {}
        if version == V5:
            said = Properties(PacketTypes.CONNECT)
            for key, value in given.get("said", {}).items():
                setattr(said, key, value)
            extra = {"clean_start": given.get("clean", True), "properties": said}
        self.client.connect(*server.mqtt, keepalive=60, **extra)
        self.client.loop_start()
        self.connected = self.event("connect")

    def _heard(self, event, *it):
        self._add(self.events, (event, it))

    def _add(self, there, it):
        with self._news:
            there.append(it)
            self._news.notify_all()

    def wait(self, until):
        with self._news:
            assert self._news.wait_for(until, DEADLINE_S)

    def event(self, name):
        """The next one of that name."""
        self.wait(lambda: any(it[0] == name for it in self.events))
        with self._news:
            found = next(it for it in self.events if it[0] == name)
            self.events.remove(found)
        return found[1]

    def get(self, count=1):
        self.wait(lambda: len(self.messages) >= count)
        with self._news:
            found, self.messages = self.messages[:count], self.messages[count:]
        return found

    def subscribe(self, *those, **given):
        assert self.client.subscribe(*those, **given)[0] == 0
        return [it.value for it in self.event("subscribe")[3]]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def client(server):
    made = []

    def connect(name, version, **given):
        made.append(Paho(server, name, version, **given))
        return made[-1]

    yield connect
    for it in made:
        it.close()


@pytest.mark.parametrize("version", [V311, V5])
def test_paho(client, topic, version):
    hearer = client(f"{topic}-h", version)
    assert hearer.connected[3].value == 0
    assert hearer.subscribe([(topic, 1), (f"{topic}/+", 0), (f"{topic}/#", 1)]) == [1, 0, 1]
    peer = client(f"{topic}-p", version)
    for qos in (0, 1):
        for number in range(100):
            peer.client.publish(topic, b"%d" % number, qos).wait_for_publish(DEADLINE_S)
    got = hearer.get(200)
    for qos in (0, 1):
        assert [int(it.payload) for it in got if it.qos == qos] == list(range(100))
    peer.client.publish(f"{topic}/x", b"\0\xff", 1)
    [found] = hearer.get()
    assert (found.topic, found.payload, found.qos) == (f"{topic}/x", b"\0\xff", 1)
    hearer.client.unsubscribe([topic, f"{topic}/#"])
    hearer.event("unsubscribe")
    peer.client.publish(topic, "not heard", 1).wait_for_publish(DEADLINE_S)
    peer.client.publish(f"{topic}/y", "heard", 0)
    assert hearer.get()[0].payload == b"heard"


@pytest.mark.parametrize("version", [V311, V5])
def test_paho_has_what_is_retained_and_the_will_of_who_is_lost(client, topic, version):
    lost = client(f"{topic}-lost", version, will=(f"{topic}/will", b"gone", 1, True))
    lost.client.publish(f"{topic}/kept", "now", 1, True).wait_for_publish(DEADLINE_S)
    hearer = client(f"{topic}-h", version)
    hearer.subscribe(f"{topic}/#", 1)
    [found] = hearer.get()
    assert (found.payload, found.retain) == (b"now", True)
    lost.client._sock_close()
    [found] = hearer.get()
    assert (found.topic, found.payload, found.retain) == (f"{topic}/will", b"gone", False)
    late = client(f"{topic}-late", version)
    late.subscribe(f"{topic}/will", 1)
    assert late.get()[0].retain
    for name in ("will", "kept"):
        late.client.publish(f"{topic}/{name}", b"", 1, True).wait_for_publish(DEADLINE_S)


@pytest.mark.parametrize("version", [V311, V5])
def test_paho_comes_back_to_what_it_has_missed(client, topic, version):
    lasting = {"clean": False, "said": {"SessionExpiryInterval": 100}}
    away = client(topic, version, **lasting)
    assert not away.connected[2].session_present
    away.subscribe(f"{topic}/#", 1)
    away.close()
    peer = client(f"{topic}-p", version)
    for number in range(50):
        peer.client.publish(f"{topic}/a", str(number), 1).wait_for_publish(DEADLINE_S)
    again = client(topic, version, **lasting)
    assert again.connected[2].session_present
    assert [int(it.payload) for it in again.get(50)] == list(range(50))
    again.close()
    assert not client(topic, version, clean=True).connected[2].session_present


def test_paho_of_version_5_uses_what_that_has(client, topic):
    hearer = client(f"{topic}-h", V5)
    said = Properties(PacketTypes.SUBSCRIBE)
    said.SubscriptionIdentifier = 77
    options = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True)
    assert hearer.subscribe(topic, options=options, properties=said) == [1]
    peer = client(f"{topic}-p", V5)
    about = Properties(PacketTypes.PUBLISH)
    about.ContentType, about.ResponseTopic, about.CorrelationData = "text/plain", "reply", b"\0c"
    about.UserProperty = [("a", "1"), ("a", "2")]
    about.MessageExpiryInterval, about.PayloadFormatIndicator = 100, 1
    about.TopicAlias = 5
    for qos in (0, 1):
        peer.client.publish(topic, "x", qos, True, about).wait_for_publish(DEADLINE_S)
        [found] = hearer.get()
        its = found.properties
        assert (its.ContentType, its.ResponseTopic) == ("text/plain", "reply")
        assert (its.CorrelationData, its.PayloadFormatIndicator) == (b"\0c", 1)
        assert its.UserProperty == [("a", "1"), ("a", "2")]
        assert its.SubscriptionIdentifier == [77]
        assert 90 <= its.MessageExpiryInterval <= 100
        assert not hasattr(its, "TopicAlias")
        assert (found.retain, found.qos) == (True, qos)
    hearer.client.publish(topic, "own", 1).wait_for_publish(DEADLINE_S)
    peer.client.publish(topic, "", 1, True).wait_for_publish(DEADLINE_S)
    assert hearer.get()[0].payload == b""
    told = peer.connected[4]
    assert (told.ReceiveMaximum, told.TopicAliasMaximum) == (1024, 65_535)


def test_paho_hears_why_it_ends(client, topic):
    first = client(topic, V5)
    second = client(topic, V5)
    assert first.event("disconnect")[3].getName() == "Session taken over"
    second.client.publish("$SYS/x", "", 1)
    assert second.event("publish")[3].getName() == "Topic name invalid"


def test_aiomqtt(server, topic):
    host, port = server.mqtt

    async def run():
        async with (
            aiomqtt.Client(host, port, protocol=aiomqtt.ProtocolVersion.V5) as hearer,
            aiomqtt.Client(host, port) as peer,
        ):
            await hearer.subscribe(f"{topic}/#", qos=1)
            for number in range(20):
                await peer.publish(f"{topic}/a", number, qos=number % 2)
            got = []
            async for message in hearer.messages:
                got.append((int(message.payload), message.qos))
                if len(got) == 20:
                    break
        assert sorted(got) == [(number, number % 2) for number in range(20)]

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def _mosquitto(server, tool, *words, **given):
    host, port = server.mqtt
    return subprocess.Popen(
        [tool, "-h", host, "-p", str(port), *words], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, **given,
    )  # fmt: skip


@needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_clients(server, client, topic, version):
    ready = client(f"{topic}-ready", V5)
    ready.subscribe(f"{topic}/ready", 1)
    hearer = _mosquitto(
        server, "mosquitto_sub", "-V", version, "-t", f"{topic}/#", "-q", "1", "-C", "4", "-v",
        "--will-topic", f"{topic}/w", "--will-payload", "gone", "-W", str(DEADLINE_S),
    )  # fmt: skip
    # What is retained comes once it has subscribed.
    for _ in range(2):
        done = _mosquitto(
            server, "mosquitto_pub", "-V", version, "-t", f"{topic}/a", "-l", "-q", "1", "-r",
            stdin=subprocess.PIPE,
        )  # fmt: skip
        done.communicate("1\n2\n", DEADLINE_S)
        assert done.returncode == 0
    ready.client.publish(f"{topic}/a", "", 1, True).wait_for_publish(DEADLINE_S)
    said, _ = hearer.communicate(timeout=DEADLINE_S)
    assert hearer.returncode == 0
    lines = said.splitlines()
    assert len(lines) == 4
    assert set(lines) <= {f"{topic}/a 1", f"{topic}/a 2", f"{topic}/a"}


@needs_node
@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_js(server, topic, version, tmp_path):
    folder = tmp_path / "it"
    shutil.copytree(JS, folder)
    fetched = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, capture_output=True,
        text=True, timeout=FETCHED_S, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"npm can't fetch MQTT.js here: {fetched.stderr[-200:]}")
    host, port = server.mqtt
    done = subprocess.run(
        ["node", "both.js", f"mqtt://{host}:{port}", topic, str(version)], cwd=folder,
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["granted"] == [0, 1, 128 if version == 4 else 0x8F]
    assert found["got"] == [[f"{topic}/a", "zero", 0, False], [f"{topic}/b", "one", 1, False]]
    assert found["retained"] == [f"{topic}/b", "kept", 1, True]
    assert found["missed"] == ["first", "second"]
