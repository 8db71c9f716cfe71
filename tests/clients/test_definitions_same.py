"""Definitions between a real RabbitMQ and ours, both ways, by its own tools."""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import Serving

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

ADMIN = shutil.which("rabbitmqadmin")
ALL = {"configure": ".*", "write": ".*", "read": ".*"}
KINDS = (
    "users", "vhosts", "permissions", "topic_permissions", "policies", "queues", "exchanges",
    "bindings",
)  # fmt: skip

# What makes something of each kind, as tools ask for it.
MADE = [
    ("PUT", "vhosts/shop", {}),
    ("PUT", "users/ana", {"password": "secret", "tags": "management,policymaker"}),
    ("PUT", "users/none", {"password_hash": "", "tags": ""}),
    ("PUT", "permissions/shop/ana", ALL),
    ("PUT", "permissions/shop/guest", ALL),
    ("PUT", "topic-permissions/shop/ana", {"exchange": "t", "write": "^a", "read": ".*"}),
    ("PUT", "exchanges/shop/t", {"type": "topic", "durable": True,
                                 "arguments": {"alternate-exchange": "amq.fanout"}}),
    ("PUT", "exchanges/shop/h", {"type": "headers", "durable": True, "auto_delete": True}),
    ("PUT", "exchanges/shop/i", {"type": "fanout", "durable": True, "internal": True}),
    ("PUT", "queues/shop/q", {"durable": True, "arguments": {
        "x-max-length": 5, "x-message-ttl": 60_000_000_000, "x-dead-letter-exchange": "",
        "x-overflow": "reject-publish", "unheard": {"a": [1, "b", True]}}}),
    ("PUT", "queues/shop/quorum", {"durable": True, "arguments": {"x-queue-type": "quorum"}}),
    ("PUT", "queues/shop/volatile", {"durable": False, "auto_delete": True}),
    ("POST", "bindings/shop/e/t/q/q", {"routing_key": "a.#"}),
    ("POST", "bindings/shop/e/h/q/q", {"arguments": {"x-match": "any", "n": 5, "s": "t"}}),
    ("POST", "bindings/shop/e/t/e/i", {"routing_key": "b"}),
    ("POST", "bindings/shop/e/amq.topic/q/q", {"routing_key": "c"}),
    ("PUT", "policies/shop/short", {"pattern": "^q", "definition": {"max-length": 3},
                                    "priority": 2, "apply-to": "queues"}),
    ("PUT", "policies/shop/rest", {"pattern": "^(?!amq\\.)", "apply-to": "exchanges",
                                   "definition": {"alternate-exchange": "amq.direct"}}),
]  # fmt: skip


@pytest.fixture(scope="module")
def brokers(tmp_path_factory):
    """Ours and the real one."""
    folder = tmp_path_factory.mktemp("rabbits")
    real = RealRabbit(folder, managed=True)
    ours = Serving(folder / "data", resp_port=-1, amqp_port=0, http_port=0)
    # The first user, who may do everything.
    ask(ours, "PUT", "users/guest", {"password": "guest", "tags": "administrator"})
    ask(ours, "PUT", "permissions/%2F/guest", ALL)
    yield ours, real
    real.stop()
    code, errors = ours.stop()
    assert (code, "Traceback" in errors) == (0, False), errors


def ask(broker, method, path, value=None, user="guest:guest"):
    """Status, and what the body says."""
    host, port = broker.http
    body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    told = b64encode(user.encode()).decode()
    headers = {"Authorization": f"Basic {told}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"http://{host}:{port}/api/{path}", body, headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, found = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, found = error.code, error.read()
    return status, json.loads(found) if found else None


def admin(broker, *words):
    """What rabbitmqadmin says."""
    host, port = broker.http
    command = [sys.executable, ADMIN, "-H", host, "-P", str(port), "-u", "guest", "-p", "guest"]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def order(row):
    return json.dumps(row, sort_keys=True)


def plain(definitions, vhosts=("/", "shop")):
    """Without what differs on purpose, in one order."""
    found = {}
    for kind in KINDS:
        rows = []
        for row in definitions[kind]:
            row = {name: it for name, it in row.items() if name not in ("metadata", "limits")}
            if kind == "users":
                if row["name"] == "guest":  # who asks
                    continue
                row.pop("scram", None)
            rows.append(row)
        found[kind] = sorted(rows, key=order)
    return found


def test_what_a_real_one_gives_is_taken_and_given_back(brokers, tmp_path):
    ours, real = brokers
    for asked in MADE:
        assert ask(real, *asked)[0] in (201, 204), asked
    status, given = ask(real, "GET", "definitions")
    assert status == 200
    assert ask(ours, "POST", "definitions", given) == (204, None)
    assert plain(ask(ours, "GET", "definitions")[1]) == plain(given)
    assert ask(ours, "POST", "definitions", given)[0] == 204  # again
    # Whoever had a password there has it here.
    assert ask(ours, "GET", "whoami", user="ana:secret")[1]["name"] == "ana"
    assert ask(ours, "GET", "whoami", user="ana:wrong")[0] == 401
    of_one = ask(ours, "GET", "definitions/shop")[1]
    wanted = ask(real, "GET", "definitions/shop")[1]
    assert of_one.keys() == wanted.keys()
    for kind in ("policies", "queues", "exchanges", "bindings"):
        ours_, theirs = ([{**it, "vhost": ""} for it in each[kind]] for each in (of_one, wanted))
        assert sorted(ours_, key=order) == sorted(theirs, key=order)
    # And a real one that has nothing of it takes ours.
    back = ask(ours, "GET", "definitions")[1]
    assert ask(real, "DELETE", "vhosts/shop")[0] == 204
    assert ask(real, "POST", "definitions", back) == (204, None)
    assert plain(ask(real, "GET", "definitions")[1]) == plain(given)


@pytest.mark.skipif(ADMIN is None, reason="no rabbitmqadmin here")
def test_its_tool_exports_and_imports_both_ways(brokers, tmp_path):
    ours, real = brokers
    files = [tmp_path / "real.json", tmp_path / "ours.json"]
    for broker, file in zip((real, ours), files, strict=True):
        for asked in MADE:
            ask(broker, *asked)
        assert "Exported definitions" in admin(broker, "export", str(file))
    # Each takes the other's.
    assert "Uploaded definitions" in admin(ours, "import", str(files[0]))
    assert "Uploaded definitions" in admin(real, "import", str(files[1]))
    real_, ours_ = (plain(json.loads(Path(it).read_text())) for it in files)
    for found in (real_, ours_):
        found["users"] = [it for it in found["users"] if it["name"] != "ana"]  # of other salts
    assert real_ == ours_
    shop = tmp_path / "shop.json"
    admin(ours, "--vhost=shop", "export", str(shop))
    assert "Uploaded definitions" in admin(real, "--vhost=shop", "import", str(shop))


ODD = [
    ("GET", "definitions/nope", None),
    ("POST", "definitions/nope", {}),
    ("POST", "definitions", b"{"),
    ("POST", "definitions", [1]),
    ("POST", "definitions", {}),
    ("POST", "definitions", {"foo": [1]}),
    ("POST", "definitions", {"users": [{"name": "u1"}]}),
    ("POST", "definitions", {"users": [{"name": "u2", "password": "b", "tags": "administrator"}]}),
    ("POST", "definitions", {"vhosts": [{"name": "nv"}],
                             "permissions": [{"user": "u2", "vhost": "nv", **ALL}]}),
    ("GET", "permissions/nv/u2", None),
    ("DELETE", "users/u2", None),
    ("DELETE", "vhosts/nv", None),
]  # fmt: skip


def test_odd_definitions_are_answered_as_there(brokers):
    ours, real = brokers
    for asked in ODD:
        assert ask(ours, *asked) == ask(real, *asked), asked


# What a real one refuses, or takes in part: we refuse all of it, and say why.
REFUSED = [
    {"queues": [{"name": "q1"}]},
    {"queues": [{"name": "q9", "vhost": "nope", "durable": True, "arguments": {}}]},
    {"queues": [{"name": "q9", "vhost": "/", "durable": True, "arguments": {"x-max-length": "a"}}]},
    {"exchanges": [{"name": "x", "vhost": "/", "type": "nope", "durable": True}]},
    {"permissions": [{"user": "nouser", "vhost": "/", **ALL}]},
    {"policies": [{"vhost": "/", "name": "bad", "pattern": "(", "apply-to": "all", "priority": 0,
                   "definition": {"max-length": 1}}]},
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED)
def test_what_a_real_one_refuses_is_refused_whole(brokers, given):
    ours, real = brokers
    before = ask(ours, "GET", "definitions")[1]
    given = {"vhosts": [{"name": "refused"}], **given}
    assert ask(real, "POST", "definitions", given)[0] == 400
    status, said = ask(ours, "POST", "definitions", given)
    assert (status, said["error"]) == (400, "bad_request")
    assert ask(ours, "GET", "definitions")[1] == before
