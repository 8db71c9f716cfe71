"""gmqtt against the MQTT door, in an environment of its own: its package installs a module
``tests``, which would stand before ours.
"""

import json
import subprocess
from pathlib import Path

import pytest
from own_venv import python_with
from serving import Serving

DEADLINE_S = 30
PROGRAM = Path(__file__).with_name("gmqtt") / "both.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(
        tmp_path_factory.mktemp("mqtt") / "data", resp_port=-1, mqtt_port=0, http_port=-1
    )
    yield serving
    assert serving.stop() == (0, "")


@pytest.mark.parametrize("version", [4, 5])
def test_it_gets_what_it_publishes(server, topic, version):
    host, port = server.mqtt
    done = subprocess.run(
        [python_with("gmqtt"), PROGRAM, host, str(port), topic, str(version)],
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[f"{topic}/a", f"x{qos}", qos] for qos in (0, 1)]
