"""MQTT clients of other languages: programs that do one exercise and check it themselves."""

import pytest
from exercising import do, recover
from serving import Serving

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


@pytest.mark.parametrize("client", ["paho.mqtt.golang ws", "paho.golang ws"])
@pytest.mark.parametrize("exercise", EXERCISES)
def test_over_websocket(mqtt, built, client, exercise):
    do(built(client), mqtt, "http", exercise)
