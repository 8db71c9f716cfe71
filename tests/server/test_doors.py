"""The table of doors, and what hangs on it."""

import re
import subprocess
import sys

import pytest
from serving import COMMAND

from logstore.access.access import open_access
from logstore.access.audit import Unheard
from logstore.access.logins import Nobody
from logstore.config import Config
from logstore.doors import DOORS, ENTRANCES
from logstore.figures.figures import Figures
from logstore.protocols.amqp_clients import AmqpClients
from logstore.protocols.session import Doorway
from logstore.settings import STORE_SETTINGS


def test_every_door_has_a_name_of_its_own_and_a_setting_for_its_port():
    assert len({it.name for it in ENTRANCES}) == len(ENTRANCES) == 2 * len(DOORS)
    for it in ENTRANCES:
        facts = STORE_SETTINGS[it.port_setting].metadata
        assert (facts["low"], facts["high"]) == (-1, 65_535)


def test_every_door_has_an_option_for_its_port():
    result = subprocess.run([COMMAND, "serve", "--help"], capture_output=True, text=True)
    shown = " ".join(result.stdout.split())
    for it in ENTRANCES:
        assert f"--{it.name}-port" in shown
        assert f"for {it.clients}" in shown


@pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
@pytest.mark.long
def test_a_port_that_there_cannot_be_is_a_usage_error(door, tmp_path):
    lowest = STORE_SETTINGS[door.port_setting].metadata["low"]
    for port in (str(lowest - 1), "65536", "x", ""):
        result = subprocess.run(
            [COMMAND, "serve", "--data", tmp_path / "d", f"--{door.name}-port", port],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 2
        assert f"'--{door.name}-port'" in result.stderr
        assert re.search(rf"from {lowest} to 65535", result.stderr)
        assert not (tmp_path / "d").exists()


def test_a_door_that_nobody_has_come_through_has_no_codec():
    script = """
import sys
from types import SimpleNamespace
import logstore.node.node
from logstore.access.access import open_access
from logstore.access.audit import Unheard
from logstore.access.logins import Nobody
from logstore.config import Config
from logstore.doors import DOORS
from logstore.figures.figures import Figures
from logstore.protocols.amqp_clients import AmqpClients
house = SimpleNamespace(
    topics=None, queue_topics=SimpleNamespace(object_of=None), coordinator=None,
    channels=SimpleNamespace(keeps_history=None),
    settings=Config().store, store_id="", path="", clock=lambda: 0, work=None, process_id=1,
    turns=None, stopwatch=lambda: 0, slices=None, queues_of=None,
    budget=SimpleNamespace(request_bytes_max=1 << 30), access=open_access(), logins=Nobody(),
    tokens=None, audit=Unheard(), figures=Figures(), amqp_clients=AmqpClients(),
    keys_of=SimpleNamespace(open=None, loading=None), keep_settings=None, mqtt_of=None,
        transactions_of=None, shares_of=None,
        space=None, doorways={},
)
opened = [door.open(house) for door in DOORS]
print(*sys.modules)
slow = [
    f"{name}.{it.__name__}" for name, module in sys.modules.items()
    if name.startswith(("logstore.access.", "logstore.kept.users"))
    for it in vars(module).values() if hasattr(it, "__dataclass_fields__")
]
assert not slow, slow
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "logstore.protocols.house" in loaded
    for door in DOORS:
        assert f"logstore.protocols.{door.name}.doorway" in loaded
        assert f"logstore.protocols.{door.name}.session" not in loaded
    assert not {"hiredis", "logstore.kafka.produce_codec", "logstore.kafka.schema"} & set(loaded)
    # Nor what only a server with users needs.
    of_users = {
        "administration", "bearer", "jwt", "plain", "redis_grants", "redis_rules", "sasl", "scram",
        "scram_keys", "worded",
    }  # fmt: skip
    assert not {f"logstore.access.{it}" for it in of_users} & set(loaded)
    of_tls = {"certificates", "handshakes", "issuer", "secured", "subject"}
    assert not {f"logstore.{it}" for it in of_tls} & set(loaded)
    assert not {"joserfc", "logstore.issuer", "stringprep"} & set(loaded)
    # Nor what only a server with a certificate needs.
    of_tls = {"certificates", "handshakes", "secured"}
    assert not {f"logstore.{it}" for it in of_tls} & set(loaded)


def test_a_door_opened_has_the_limits_of_its_settings():
    from types import SimpleNamespace

    given = {"max.connections": ("7", "test"), "resp.maxclients": ("8", "test")}
    house = SimpleNamespace(
        topics=None, queue_topics=SimpleNamespace(object_of=None), coordinator=None,
        channels=SimpleNamespace(keeps_history=None),
        settings=Config(given).store, store_id="", path="", clock=lambda: 0, work=None,
        process_id=1, turns=None, stopwatch=lambda: 0, slices=None, queues_of=None,
        budget=SimpleNamespace(request_bytes_max=1 << 30), access=open_access(), logins=Nobody(),
        tokens=None, audit=Unheard(), figures=Figures(), amqp_clients=AmqpClients(),
        keys_of=SimpleNamespace(open=None, loading=None), keep_settings=None, mqtt_of=None,
        transactions_of=None, shares_of=None,
        space=None, doorways={},
    )  # fmt: skip
    opened = {door.name: door.open(house) for door in DOORS}
    assert all(isinstance(it, Doorway) for it in opened.values())
    assert opened["kafka"].limits.connections_max == 7
    assert opened["resp"].limits.connections_max == 8
    assert b"max number of clients" in opened["resp"].limits.refusal


SERVED = """
import os, signal, sys, threading
import logstore
from logstore.node.node import Node
from logstore.node.entrances import Listen

def ready(addresses):
    model = "logstore.broker.queues.queues" in sys.modules
    journal = any(kind.kind == "journal" for _, kind in store.internals().directory.entries())
    print(model, journal)
    if "library" in sys.argv:  # in a thread, as whoever serves a store may use it
        threading.Thread(target=use).start()
    else:
        os.kill(os.getpid(), signal.SIGTERM)

def use():
    store.queue("work").publish(b"a")
    print(store.queue("work").counts().ready)
    os.kill(os.getpid(), signal.SIGTERM)

with logstore.open(sys.argv[1]) as store:
    ports = {"kafka": 0, "resp": 0, "amqp": 0}
    Node(store, Listen("127.0.0.1", ports)).run(ready)
"""


def test_the_model_of_queues_is_loaded_where_there_are_some_or_somebody_asks(tmp_path):
    def serve(*arguments):
        command = [sys.executable, "-c", SERVED, tmp_path / "data", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert serve() == ["False", "False"]
    assert serve("library") == ["False", "False", "1"]
    assert serve() == ["True", "True"]


SERVED_TWICE = """
import os, signal, sys, threading
import logstore
from logstore.errors import NoneOfThatName
from logstore.node.node import Node
from logstore.node.entrances import Listen
from logstore.server_socket import ServerSocket

ours = ServerSocket(sys.argv[1])

def ready(addresses):
    threading.Thread(target=ask).start()

def ask():
    print(ours.get("queues")["total"], *ours.get("server")["doors"])
    os.kill(os.getpid(), signal.SIGTERM)

with logstore.open(sys.argv[1]) as store:
    for _ in range(2):
        Node(store, Listen("127.0.0.1", {"kafka": 0, "resp": -1, "amqp": -1})).run(ready)
        print(ours.get("server")["process_id"] == os.getpid(), *ours.get("server")["doors"])
        try:
            ours.get("queues")
        except NoneOfThatName as error:
            print(error)
"""


@pytest.mark.long
def test_after_its_server_has_ended_a_process_answers_for_itself(tmp_path):
    command = [sys.executable, "-c", SERVED_TWICE, tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    missing = "no such path: /api/v1/queues; this process is no server, which may have it"
    assert done.stdout.splitlines() == ["0 kafka", "True", missing] * 2
    assert done.stderr == ""


def test_a_server_without_any_door_is_refused(tmp_path):
    ports = [f"--{it.name}-port=-1" for it in ENTRANCES]
    done = subprocess.run(
        [COMMAND, "serve", "--data", tmp_path / "d", *ports], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no port is open for clients: each port setting is -1" in done.stderr
