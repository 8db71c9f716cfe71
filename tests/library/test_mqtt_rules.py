"""The rules by which MQTT topics are records of topics: in the configuration file."""

import pytest

import logstore
from logstore.config import Config
from logstore.errors import InvalidSetting, UnknownSetting
from logstore.settings import MqttRule

RULE = 'pattern = "sensors/+/temp"\ntopic = "sensors"\n'


def load(tmp_path, text):
    (tmp_path / "logstore.toml").write_text(text)
    return Config.load(tmp_path / "logstore.toml", {})


@pytest.mark.parametrize(
    "text",
    ["[[mqtt]]\n" + RULE, "[[mqtt.topics]]\n" + RULE, "[mqtt]\nport = 5\n[[mqtt.topics]]\n" + RULE,
     "mqtt.port = 5\n[[mqtt.topics]]\n" + RULE],
)  # fmt: skip
def test_rules_stand_beside_other_settings_or_alone(tmp_path, text):
    config = load(tmp_path, text)
    assert config.mqtt == (MqttRule("sensors/+/temp", "sensors"),)
    assert config.store.mqtt_port == (5 if "5" in text else 1883)
    assert config.by_option("mqtt.port", "7", "--mqtt-port").mqtt == config.mqtt


def test_the_rules_keep_their_order(tmp_path):
    rules = "".join(f'[[mqtt]]\npattern = "{n}/#"\ntopic = "t{n}"\n' for n in range(3))
    assert [it.topic for it in load(tmp_path, rules).mqtt] == ["t0", "t1", "t2"]
    assert Config().mqtt == ()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('[[mqtt]]\npattern = "a/#"\n', InvalidSetting, "needs pattern"),
        ('[[mqtt]]\npattern = "a/#/b"\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = "a+"\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = "a/b#"\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = "$SYS/#"\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = ""\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = 1\ntopic = "t"\n', InvalidSetting, "topic filter"),
        ('[[mqtt]]\npattern = "a"\ntopic = "t/x"\n', InvalidSetting, "name of a topic"),
        ('[[mqtt]]\npattern = "a"\ntopic = ".."\n', InvalidSetting, "name of a topic"),
        ('[[mqtt]]\npattern = "a"\ntopic = "__mqtt_retained"\n', InvalidSetting, "name of a topic"),
        ('[[mqtt]]\npatern = "a"\n', UnknownSetting, "did you mean pattern?"),
        ('[mqtt]\ntopics = 5\n', InvalidSetting, "list of tables"),
    ],
)  # fmt: skip
def test_rules_that_are_wrong_stop_the_start(tmp_path, text, error, says):
    (tmp_path / "logstore.toml").write_text(text)
    with pytest.raises(error, match=says.replace("?", r"\?")) as raised:
        logstore.open(tmp_path)
    assert "\n" not in str(raised.value)
    assert "logstore.toml" in str(raised.value)
