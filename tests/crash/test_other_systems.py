"""Real processes on systems that lack something (``tests/kit/lacking``): what is promised holds."""

import json
import random
import signal
import subprocess
from pathlib import Path

import pytest
from librdkafka import consume, produce
from serving import COMMAND, Serving

from tests.crash import kill

pytestmark = pytest.mark.long

LACKING = Path(__file__).parents[1] / "kit" / "lacking"


@pytest.fixture(params=["3.10", "4.19", "macOS"], autouse=True)
def system(request, monkeypatch):
    """Every process that is begun from here on is on it."""
    monkeypatch.setenv("PYTHONPATH", str(LACKING))
    monkeypatch.setenv("LACKING", request.param)
    return request.param


def logstore(*words, code=0):
    """What the command says, on both streams together."""
    done = subprocess.run(
        [COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_a_server_that_is_killed_there_comes_back_with_what_it_acknowledged(tmp_path, system):
    data = tmp_path / ("d" * 100) / "data"  # too long for a socket's address
    data.parent.mkdir()
    values = [b"%d" % n for n in range(1000)]
    server = Serving(data, http_port=0)
    try:
        logstore("topic", "create", "t", "--partitions", 4, "--data", data)
        for partition in range(4):
            assert produce(server, "t", values, partition=partition) == []
        assert "already served by pid" in logstore(
            "serve", "--data", data, "--kafka-port", 0, code=1
        )
        told = logstore("doctor", "--json", "--data", data)
        lacks = [it["found"] for it in json.loads(told)["checks"] if it["name"] == "platform"]
        assert lacks[0] == "no syncfs: each file and directory is synced by itself"
        assert any("flock" in it for it in lacks) == (system != "4.19")
        assert any("asyncio's own" in it for it in lacks) == (system == "macOS")
        _, errors = server.stop(signal.SIGKILL)
        assert errors == ""
        server = Serving(data)
        for partition in range(4):
            found = consume(server, 1000, ("t", partition, 0))
            assert [it.value() for it in found] == values
    finally:
        code, errors = server.stop()
    assert (code, errors) == (0, "")
    assert "nothing is damaged" in logstore("verify", "--data", data)
    assert "no process has it open" in logstore("doctor", "--measure", "--data", data)


def test_nothing_acknowledged_is_lost_when_producers_are_killed_there(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill.run(8, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 8
    assert totals.acknowledged
