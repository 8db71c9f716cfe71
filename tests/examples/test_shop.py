"""examples/shop, as its README says: Django, Celery, Channels and aiokafka from one server."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from own_venv import python_with
from serving import Serving

pytestmark = pytest.mark.long

SHOP = Path(__file__).parents[2] / "examples" / "shop"
DEADLINE_S = 60


@pytest.fixture(scope="module")
def python():
    return python_with("shop")


@pytest.fixture(scope="module")
def server(tmp_path_factory, python):
    running = Serving(tmp_path_factory.mktemp("shop") / "data", amqp_port=0)
    yield running
    code, errors = running.stop()
    assert (code, errors) == (0, "")


@pytest.fixture(scope="module")
def environment(server, tmp_path_factory):
    return {
        **os.environ,
        "KAFKA": server.address,
        "REDIS_URL": "redis://{}:{}/0".format(*server.redis),
        "AMQP_URL": "amqp://{}:{}".format(*server.amqp),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


class Part:
    """A process of the example; what it says is looked through, line by line."""

    def __init__(self, python, environment, *words):
        self._process = subprocess.Popen(
            [python, "-m", *words], cwd=SHOP, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._said = []
        self._limit = threading.Timer(DEADLINE_S, self._process.kill)  # nobody waits for ever
        self._limit.start()

    def says(self, pattern):
        """The match of the next line that has it."""
        for line in self._process.stdout:
            self._said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("".join(self._said))

    def end(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()
        self._limit.cancel()
        self._limit.join()


WORKER = ("celery", "-A", "shop", "worker", "--pool", "solo", "--loglevel", "INFO")


@pytest.fixture
def start(python, environment):
    parts = []

    def start(*words):
        parts.append(Part(python, environment, *words))
        return parts[-1]

    yield start
    for part in reversed(parts):
        part.end()


def test_an_order_is_carried_out_told_and_counted_and_waits_for_a_worker(start):
    web = start("uvicorn", "shop.asgi:application", "--port", "0")
    host = web.says(r"running on http://(\S+)")[1]
    accounts = start("shop.accounts")
    customer = start("try_it", host, "two teas")
    assert customer.says("ordered: 202")
    start(*WORKER).says(r"ready\.")  # the task has waited in its queue
    assert customer.says("^ready: two teas$")
    assert accounts.says("ana has had 1")
    assert start("try_it", host).says("^ready: a cake$")
    assert accounts.says("ana has had 2")


def test_the_readme_names_every_part():
    text = (SHOP / "README.md").read_text()
    parts = {it.name for it in (SHOP / "shop").glob("*.py")} - {"__init__.py"}
    plumbing = {"settings.py", "urls.py", "asgi.py"}
    assert {it for it in parts - plumbing if f"shop/{it}" not in text} == set()
    pins = (Path(__file__).parents[1] / "clients" / "venvs" / "shop.txt").read_text().lower()
    [line] = [it for it in text.splitlines() if "pip install" in it]
    for package in line.split("pip install ")[1].split():
        assert package.replace("-", "_") in pins.replace("-", "_")
