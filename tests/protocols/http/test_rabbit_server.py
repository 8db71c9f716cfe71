"""RabbitMQ's API of the server itself: the node, its checks, what is not here."""

from types import SimpleNamespace

import pytest
from rabbit_api import NOT_FOUND, new_api

from logstore.protocols.http.common.node import NODE, Node

PORTS = {"amqp": 5672, "http": 15_672, "kafka": 9092}
CHECK = "health/checks/{}"
FULL = {"disk": "/data: the disk is full"}


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def state():
    return SimpleNamespace(wrong={}, free_bytes=100)


@pytest.fixture
def api(life, state):
    facts = {
        "doors": {name: {"host": "127.0.0.1", "port": port} for name, port in PORTS.items()},
        "process_id": 77, "since_ms": life.node.clock() - 5000,
    }  # fmt: skip
    node = Node(
        cluster_name="here", clock=life.node.clock, free_bytes=lambda: state.free_bytes,
        free_bytes_min=10,
    )  # fmt: skip
    life.more |= {
        "facts": lambda: facts, "unready": lambda then: then(state.wrong), "node": node,
    }  # fmt: skip
    return life


def test_the_node_is_the_only_one(api):
    [row] = api.get("nodes")
    assert row.keys() == api.get(f"nodes/{NODE}").keys()
    assert (row["name"], row["running"], row["os_pid"], row["partitions"]) == (NODE, True, "77", [])
    assert row["uptime"] >= 5000
    assert api.ask("GET", "nodes/other") == (404, NOT_FOUND)
    assert api.get(f"nodes/{NODE}/memory")["memory"]["total"]["rss"] > 0


def test_the_overview_has_the_doors_and_the_name_of_the_store(api):
    found = api.get("overview")
    assert {it["protocol"]: it["port"] for it in found["listeners"]} == PORTS
    assert found["cluster_name"] == api.get("cluster-name")["name"] == "here"
    assert api.get("global-parameters") == [api.get("global-parameters/cluster_name")]
    assert found["node"] == NODE


@pytest.mark.parametrize(
    "name",
    ["alarms", "local-alarms", "is-in-service", "ready-to-serve-clients", "virtual-hosts",
     "node-is-quorum-critical", "node-is-mirror-sync-critical", "port-listener/5672",
     "protocol-listener/amqp", "protocol-listener/AMQP091", "protocol-listener/http"],
)  # fmt: skip
def test_all_is_well(api, name):
    assert api.get(CHECK.format(name))["status"] == "ok"


def test_a_port_or_protocol_that_is_not_open_is_missed(api):
    status, found = api.ask("GET", CHECK.format("port-listener/1234"))
    assert (status, found["missing"], found["ports"]) == (503, 1234, [*PORTS.values()])
    status, found = api.ask("GET", CHECK.format("protocol-listener/mqtt"))
    assert (status, found["missing"], found["protocols"]) == (503, "mqtt", [*PORTS])
    for port in ("x", "65536", "%D9%A1"):
        assert api.refuses("GET", CHECK.format(f"port-listener/{port}")) == "Invalid port"


def test_a_disk_that_is_nearly_full_alarms(api, state):
    state.free_bytes = 9
    for path in (CHECK.format("alarms"), CHECK.format("ready-to-serve-clients"),
                 "aliveness-test/%2F"):  # fmt: skip
        status, found = api.ask("GET", path)
        assert (status, found["alarms"]) == (503, [{"node": NODE, "resource": "disk"}])
    assert api.get(CHECK.format("is-in-service"))["status"] == "ok"


def test_a_server_that_cannot_keep_messages_does_not_say_that_it_is_well(api, state):
    state.wrong = FULL
    for path in (CHECK.format("is-in-service"), CHECK.format("ready-to-serve-clients"),
                 "healthchecks/node", "aliveness-test/%2F"):  # fmt: skip
        assert api.ask("GET", path) == (503, {"status": "failed", "reason": FULL["disk"]})


def test_a_virtual_host_that_is_not_there_is_not_alive(api):
    assert api.get("aliveness-test/%2F") == {"status": "ok"}
    assert api.ask("GET", "aliveness-test/nope") == (404, NOT_FOUND)


@pytest.mark.parametrize("path", ["policies", "parameters/shovel", "vhost-limits", "feature-flags"])
def test_there_are_none_of_what_is_not_here(api, path):
    assert api.get(path) == []
