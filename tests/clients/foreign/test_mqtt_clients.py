"""MQTT clients of other languages: programs that do one exercise and check it themselves."""

import json
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack

import paho.mqtt.client as paho
import pytest
from exercising import Spoken, do, recover
from serving import Serving
from speaking import DEADLINE_S

EXERCISES = ["qos", "retained", "will", "session", "shared"]


@pytest.fixture(scope="module")
def mqtt(tmp_path_factory):
    running = Serving(
        tmp_path_factory.mktemp("mqtt") / "data", resp_port=-1, mqtt_port=0, http_port=0
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


class Exercises:
    client_name = ""

    @pytest.mark.parametrize("exercise", EXERCISES)
    def test_what_programs_do_all_day(self, mqtt, built, exercise):
        do(built(self.client_name), mqtt, "mqtt", exercise)

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built(self.client_name), start, "mqtt")


class TestPahoMqttGolang(Exercises):
    client_name = "paho.mqtt.golang"


class TestPahoGolang(Exercises):
    client_name = "paho.golang"

    def test_it_uses_what_version_5_has(self, mqtt, built):
        do(built(self.client_name), mqtt, "mqtt", "properties")


class TestPahoJava3(Exercises):
    client_name = "paho Java 3"


class TestPahoJava5(Exercises):
    client_name = "paho Java 5"


class TestHiveMQ5(Exercises):
    client_name = "HiveMQ 5"


class TestRumqttc3(Exercises):
    client_name = "rumqttc 3"


class TestRumqttc5(Exercises):
    client_name = "rumqttc 5"


@pytest.mark.parametrize("exercise", [it for it in EXERCISES if it != "will"])
def test_hivemq_over_websocket(mqtt, built, exercise):
    """It says good-bye always, so its will is for nobody."""
    do(built("HiveMQ 3 ws"), mqtt, "http", exercise)


def test_hivemq_over_websocket_goes_on_when_the_server_was_killed(start, built):
    recover(built("HiveMQ 3 ws"), start, "http", mqtt_port=0)


class TestMqttJs3(Exercises):
    client_name = "MQTT.js 3"


class TestMqttJs5(Exercises):
    client_name = "MQTT.js 5"


OVER_WEBSOCKET = ["paho.mqtt.golang ws", "paho.golang ws", "MQTT.js 3 ws", "MQTT.js 5 ws"]


@pytest.mark.parametrize("client", OVER_WEBSOCKET)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_over_websocket(mqtt, built, client, exercise):
    do(built(client), mqtt, "http", exercise)


class HomeAssistant:
    """Its way to a broker: a clean session, a will and a birth message, a filter an integration.

    It subscribes anew whenever it is connected, and says then that it is there.
    """

    def __init__(self, address):
        self.seen = []
        self._news = threading.Condition()
        it = self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "homeassistant")
        it.will_set("homeassistant/status", "offline", 0, False)
        it.reconnect_delay_set(1, 1)
        it.on_connect, it.on_message = self._connected, self._heard
        it.connect(*address, keepalive=60)
        it.loop_start()

    def _connected(self, client, *_):
        found = ["homeassistant/+/+/config", "homeassistant/+/+/+/config"]
        client.subscribe([(topic, 0) for topic in found])
        client.subscribe([("zigbee2mqtt/lamp", 0), ("zigbee2mqtt/bridge/state", 0)])
        client.publish("homeassistant/status", "online", 0, False)

    def _heard(self, _, __, message):
        with self._news:
            self.seen.append((message.topic, json.loads(message.payload), bool(message.retain)))
            self._news.notify_all()

    def sees(self, topic, value, retained):
        """Wait until that has come; what came before it is forgotten."""
        wanted = (topic, value, retained)
        with self._news:
            assert self._news.wait_for(lambda: wanted in self.seen, DEADLINE_S), self.seen
            del self.seen[: self.seen.index(wanted) + 1]

    def finds(self, topic):
        """What it discovers there, which is retained."""
        with self._news:
            assert self._news.wait_for(lambda: any(it[0] == topic for it in self.seen), DEADLINE_S)
            return next(it[1] for it in self.seen if it[0] == topic)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def test_home_assistant_and_zigbee2mqtt_over_a_kill(start, built):
    """A lamp is found, switched, and there again when the server was killed; then it is lost."""
    state = "zigbee2mqtt/bridge/state"
    with ExitStack() as stack:
        server = start(resp_port=-1, mqtt_port=0)
        host, port = server.mqtt
        bridge = Spoken([*built("Zigbee2MQTT"), host, str(port), "bridge"])
        stack.callback(bridge.kill)
        bridge.says("ready")
        home = HomeAssistant(server.mqtt)
        stack.callback(home.close)
        found = home.finds("homeassistant/light/0x1/light/config")
        assert found["availability"][0]["topic"] == state
        home.sees(state, {"state": "online"}, True)
        home.client.publish(found["command_topic"], '{"state": "ON"}', 0)
        home.sees(found["state_topic"], {"state": "ON"}, False)
        server.stop(signal.SIGKILL)
        again = start(resp_port=-1, mqtt_port=port)
        # Its will comes when the server starts; then it is back, before this listener or after.
        home.sees(found["state_topic"], {"state": "ON"}, True)
        home.client.publish(found["command_topic"], '{"state": "OFF"}', 0)
        home.sees(found["state_topic"], {"state": "OFF"}, False)
        bridge.kill()
        home.sees(state, {"state": "offline"}, False)
        late = HomeAssistant(again.mqtt)
        stack.callback(late.close)
        late.sees(state, {"state": "offline"}, True)
        code, errors = again.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.mark.skipif(shutil.which("mosquitto_rr") is None, reason="no mosquitto-clients here")
def test_mosquitto_asks_and_is_answered(mqtt):
    """mosquitto_rr is the one client of these that is made for questions."""
    host, port = mqtt.mqtt
    answered = threading.Event()
    answerer = paho.Client(paho.CallbackAPIVersion.VERSION2, "answerer", protocol=paho.MQTTv5)

    def answer(client, _, message):
        about = paho.Properties(paho.PacketTypes.PUBLISH)
        about.CorrelationData = message.properties.CorrelationData
        client.publish(message.properties.ResponseTopic, b"to " + message.payload, 2, False, about)

    answerer.on_message = answer
    answerer.on_subscribe = lambda *_: answered.set()
    answerer.on_connect = lambda client, *_: client.subscribe("ask", 2)
    answerer.connect(host, port)
    answerer.loop_start()
    try:
        assert answered.wait(DEADLINE_S)
        for qos in "012":
            done = subprocess.run(
                ["mosquitto_rr", "-h", host, "-p", str(port), "-V", "mqttv5", "-q", qos, "-t",
                 "ask", "-e", "answer/mine", "-m", "it", "-D", "publish", "correlation-data", qos,
                 "-F", "%p %q %D", "-W", str(DEADLINE_S)],
                capture_output=True, text=True, timeout=DEADLINE_S, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (0, f"to it {qos} {qos}\n"), done.stderr
    finally:
        answerer.disconnect()
        answerer.loop_stop()
