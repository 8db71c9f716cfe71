"""examples/web: a store in FastAPI and in aiohttp."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from own_venv import python_with

import logstore

pytestmark = pytest.mark.long

WEB = Path(__file__).parents[2] / "examples" / "web"
DEADLINE_S = 60
COMMANDS = {
    "fast": lambda port: ["-m", "uvicorn", "fast:app", "--port", str(port)],
    "aio": lambda port: ["aio.py"],
}


@pytest.fixture(scope="module")
def packages():
    """Where those that the examples need are, beside our own."""
    interpreter = Path(python_with("web"))
    (found,) = (interpreter.parents[1] / "lib").glob("python*/site-packages")
    return str(found)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Site:
    def __init__(self, name, data, packages):
        self.port = free_port()
        self._running = subprocess.Popen(
            [sys.executable, *COMMANDS[name](self.port)], cwd=WEB, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, "DATA": str(data), "PORT": str(self.port), "PYTHONPATH": packages,
                 "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip

    def __enter__(self):
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < until
                assert self._running.poll() is None, self._running.stderr.read()
                continue
            return self

    def __exit__(self, *_):
        self._running.send_signal(signal.SIGTERM)
        _, self.errors = self._running.communicate(timeout=DEADLINE_S)

    def ask(self, method, path, body=None):
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        line.request(method, path, body)
        return line, line.getresponse()

    def json(self, method, path, body=None):
        line, response = self.ask(method, path, body)
        assert response.status == 200
        found = json.loads(response.read())
        line.close()
        return found


@pytest.mark.parametrize("name", COMMANDS)
def test_orders_are_kept_watched_and_worked_off(name, tmp_path, packages):
    data = tmp_path / "data"
    with Site(name, data, packages) as site:
        assert site.json("POST", "/orders", b"two teas") == {"offset": 0}
        watching, response = site.ask("GET", "/orders")
        assert response.readline() == b"two teas\n"
        assert site.json("POST", "/orders", b"a cake") == {"offset": 1}
        assert response.readline() == b"a cake\n"
        later, others = site.ask("GET", "/orders?start=1")
        assert others.readline() == b"a cake\n"
        watching.close()
        later.close()
        assert site.json("GET", "/job") == {"job": "pack 0"}
    assert "Traceback" not in site.errors
    with logstore.open(data) as store:
        assert [it.value for it in store.consumer("orders")] == [b"two teas", b"a cake"]
        assert store.queue("jobs").get().body == b"pack 1"
        assert store.queue("jobs").get() is None
