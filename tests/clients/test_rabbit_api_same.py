"""RabbitMQ's management API beside a real one: the same requests, and the same answers to them.

Answers are compared whole, beside what says how the machine is: of that the fields that tools read.
"""

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode

import pytest
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import Serving

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

COUNTED_WITHIN_S = 30
ALL = {"configure": ".*", "write": ".*", "read": ".*"}
TEXT = {"properties": {}, "routing_key": "a.b", "payload": "h", "payload_encoding": "string"}
GET = {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}
HEADERS = {"h": 1, "s": "t", "f": 1.5, "b": True, "l": [1, "x"], "t": {"a": 1}}

# In this order: each may need what those before it have made.
ASKED = [
    ("PUT", "vhosts/v", {}),
    ("PUT", "vhosts/v", {}),
    ("GET", "vhosts/nope", None),
    ("DELETE", "vhosts/nope", None),
    ("PUT", "users/u", {"password": "secret", "tags": "management"}),
    ("PUT", "users/u", {"password": "secret", "tags": "management"}),
    ("PUT", "users/none", {"password": "secret"}),
    ("GET", "users/nope", None),
    ("GET", "whoami", None),
    ("PUT", "permissions/v/u", ALL),
    ("PUT", "permissions/v/guest", ALL),
    ("PUT", "permissions/v/u", {"configure": ".*"}),
    ("PUT", "permissions/v/nope", ALL),
    ("PUT", "permissions/nope/u", ALL),
    ("GET", "permissions/v/u", None),
    ("GET", "permissions/v/nope", None),
    ("GET", "users/u/permissions", None),
    ("PUT", "topic-permissions/v/u", {"exchange": "amq.topic", "write": "^a", "read": ".*"}),
    ("GET", "topic-permissions/v/u", None),
    ("PUT", "exchanges/v/x", {"type": "topic"}),
    ("PUT", "exchanges/v/x", {"type": "topic"}),
    ("PUT", "exchanges/v/x", {"type": "direct"}),
    ("PUT", "exchanges/v/y", {"type": "fanout", "auto_delete": True, "durable": False,
                              "arguments": {"alternate-exchange": "x"}}),
    ("PUT", "exchanges/v/amq.new", {"type": "direct"}),
    ("PUT", "exchanges/v/z", b"{"),
    ("GET", "exchanges/v/y", None),
    ("GET", "exchanges/v/nope", None),
    ("PUT", "queues/v/q", {}),
    ("PUT", "queues/v/q", {}),
    ("PUT", "queues/v/q", {"durable": False}),
    ("PUT", "queues/v/r", {"arguments": {"x-max-length": 5, "x-message-ttl": 600_000}}),
    ("PUT", "queues/v/s", {"arguments": {"x-max-length": "a"}}),
    ("PUT", "queues/nope/q", {}),
    ("GET", "queues/v/nope", None),
    ("GET", "queues/nope", None),
    ("POST", "bindings/v/e/x/q/q", {"routing_key": "a.*"}),
    ("POST", "bindings/v/e/x/q/q", {"routing_key": "b", "arguments": {"k": 1}}),
    ("POST", "bindings/v/e/x/e/y", {"routing_key": "z"}),
    ("POST", "bindings/v/e/x/q/nope", {}),
    ("POST", "bindings/v/e/nope/q/q", {}),
    ("GET", "bindings/v/e/x/q/q/a.*", None),
    ("GET", "bindings/v/e/x/q/q/nope", None),
    ("GET", "exchanges/v/y/bindings/destination", None),
    ("POST", "exchanges/v/x/publish", TEXT),
    ("POST", "exchanges/v/x/publish", TEXT | {"routing_key": "nowhere"}),
    ("POST", "exchanges/v/x/publish", TEXT | {"payload_encoding": "nope"}),
    ("POST", "exchanges/v/x/publish", TEXT | {"payload": 5}),
    ("POST", "exchanges/v/x/publish", {"routing_key": "a"}),
    ("POST", "exchanges/v/nope/publish", TEXT),
    ("POST", "exchanges/v/x/publish", TEXT | {"properties": {"headers": HEADERS, "priority": 3}}),
    ("POST", "queues/v/q/get", GET),
    ("POST", "queues/v/q/get", GET | {"count": 1, "encoding": "base64", "truncate": 0}),
    ("POST", "queues/v/q/get", GET | {"encoding": "nope"}),
    ("POST", "queues/v/q/get", {"count": 1}),
    ("POST", "queues/v/q/get", GET | {"ackmode": "reject_requeue_false", "count": 1}),
    ("DELETE", "queues/v/q?if-empty=true", None),
    ("DELETE", "queues/v/q/contents", None),
    ("DELETE", "queues/v/nope/contents", None),
    ("POST", "queues/v/q/actions", {"action": "nope"}),
    ("GET", "queues/v?page=1&page_size=1&columns=name,vhost,durable,arguments", None),
    ("GET", "queues/v?page=9", None),
    ("GET", "queues/v?sort=name&sort_reverse=true&columns=name", None),
    ("DELETE", "exchanges/v/x?if-unused=true", None),
    ("DELETE", "exchanges/v/amq.direct", None),
    ("DELETE", "exchanges/v/nope", None),
    ("DELETE", "bindings/v/e/x/q/q/a.*", None),
    ("DELETE", "bindings/v/e/x/q/q/a.*", None),
    ("GET", "aliveness-test/nope", None),
    ("GET", "health/checks/alarms", None),
    ("GET", "health/checks/port-listener/x", None),
    ("GET", "health/checks/protocol-listener/amqp", None),
    ("GET", "nodes/nope", None),
    ("GET", "connections/nope", None),
    ("DELETE", "connections/nope", None),
    ("GET", "channels/nope", None),
    ("GET", "nope", None),
    ("PUT", "policies/v/p", {"pattern": "^q", "definition": {"max-length": 3}, "priority": 2}),
    ("PUT", "policies/v/p", {"pattern": "^q", "definition": {"max-length": 4}, "priority": 1.5,
                             "apply-to": "queues"}),
    ("PUT", "policies/v/x", {"pattern": "^(?!amq\\.)", "apply-to": "exchanges",
                             "definition": {"alternate-exchange": "y"}}),
    ("PUT", "policies/v/ha", {"pattern": "a", "definition": {"ha-mode": "all"}}),
    ("PUT", "policies/v/e", {"definition": {"max-length": 5}}),
    ("PUT", "policies/v/e", {"pattern": "^q"}),
    ("PUT", "policies/v/e", b"{"),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"foo": 1}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-length": "5"}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-length": -5}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-length": 1.5}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"expires": 0}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"overflow": "no"}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"alternate-exchange": None}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-age": "1Z"}}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-length": 5}, "apply-to": "no"}),
    ("PUT", "policies/v/e", {"pattern": "a", "definition": {"max-length": 5}, "priority": "7"}),
    ("PUT", "policies/v/e", {"pattern": 5, "definition": {"max-length": 5}}),
    ("PUT", "policies/nope/e", {"pattern": "a", "definition": {"max-length": 5}}),
    ("GET", "policies", None),
    ("GET", "policies/v", None),
    ("GET", "policies/nope", None),
    ("GET", "policies/v/p", None),
    ("GET", "policies/v/nope", None),
    ("GET", "exchanges/v/y", None),
    ("GET", "exchanges/v/amq.topic", None),
    ("GET", "operator-policies/v", None),
    ("GET", "operator-policies/v/nope", None),
    ("GET", "parameters", None),
    ("GET", "parameters/policy/v", None),
    ("GET", "parameters/policy/v/p", None),
    ("GET", "parameters/nope", None),
    ("GET", "parameters/nope/v/x", None),
    ("PUT", "parameters/nope/v/x", {"value": 5}),
    ("DELETE", "policies/v/nope", None),
    ("DELETE", "policies/v/ha", None),
    ("DELETE", "queues/v/r", None),
    ("DELETE", "permissions/v/u", None),
    ("DELETE", "permissions/v/u", None),
    ("DELETE", "users/u", None),
    ("DELETE", "users/u", None),
    ("DELETE", "vhosts/v", None),
]  # fmt: skip

# Statuses, ours first, of what is otherwise on purpose.
OTHERWISE = {
    "queues/nope/q": (404, 404),  # it is said what is missing
    "nodes/nope": (404, 500),
    "nope": (404, 404),  # we say what there is not
}
# What tools read of each.
NEEDED = {
    "overview": "cluster_name erlang_version exchange_types listeners management_version node "
    "object_totals queue_totals rabbitmq_version statistics_db_event_queue",
    "nodes": "disk_free disk_free_alarm disk_free_limit exchange_types fd_total fd_used mem_alarm "
    "mem_limit mem_used name os_pid partitions proc_total proc_used processors run_queue running "
    "sockets_total sockets_used type uptime",
    "vhosts": "cluster_state name tracing",
    "users": "name tags",
    "permissions": "configure read user vhost write",
    "queues": "arguments auto_delete consumers durable exclusive memory message_bytes messages "
    "messages_ready messages_unacknowledged name node state type vhost",
    "bindings": "arguments destination destination_type properties_key routing_key source vhost",
    "exchanges": "arguments auto_delete durable internal name type vhost",
    "whoami": "name tags",
    "cluster-name": "name",
}


@pytest.fixture(scope="module")
def brokers(tmp_path_factory):
    """Ours and the real one."""
    folder = tmp_path_factory.mktemp("rabbits")
    real = RealRabbit(folder, managed=True)
    ours = Serving(folder / "data", resp_port=-1, amqp_port=0, http_port=0)
    yield ours, real
    real.stop()
    code, errors = ours.stop()
    assert (code, "Traceback" in errors) == (0, False), errors


def ask(broker, method, path, value):
    """Status, and what the body says."""
    host, port = broker.http
    body = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    told = b64encode(b"guest:guest").decode()
    request = urllib.request.Request(
        f"http://{host}:{port}/api/{path}", body, {"Authorization": f"Basic {told}"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, found = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, found = error.code, error.read()
    return status, json.loads(found) if found else None


def plain(answer):
    """Without what differs on purpose."""
    status, found = answer
    for it in found if isinstance(found, list) else [found]:
        if isinstance(it, dict):
            it.pop("user_who_performed_action", None)  # nobody notes who has declared an exchange
            uncounted(it)
            if isinstance(it.get("reason"), str):
                it["reason"] = it["reason"].replace("\n ", "")  # Erlang breaks lines
    return status, found


def uncounted(message):
    """Our queues count how often a message was given out; of theirs quorum queues alone do."""
    headers = (message.get("properties") or {}).get("headers", {})
    if headers.pop("x-delivery-count", None) is not None and not headers:
        message["properties"] = []


def test_all_answers_are_those_of_a_real_one(brokers):
    ours, real = brokers
    ask(ours, "PUT", "users/guest", {"password": "guest", "tags": "administrator"})
    ask(ours, "PUT", "permissions/%2F/guest", ALL)
    different = []
    for asked in ASKED:
        found, wanted = plain(ask(ours, *asked)), plain(ask(real, *asked))
        if asked[1] in OTHERWISE:
            assert (found[0], wanted[0]) == OTHERWISE[asked[1]], asked
        elif found != wanted:
            different.append((asked, found, wanted))
    assert different == []


def kind(value):
    return float if type(value) is int else type(value)


def first(broker, path):
    """What the server says at this path; of a list its first row."""
    _, found = ask(broker, "GET", path, None)
    return found[0] if isinstance(found, list) else found


@pytest.mark.parametrize(("path", "needed"), NEEDED.items())
def test_what_tools_read_is_there_as_in_a_real_one(brokers, path, needed):
    names = needed.split()
    for broker in brokers:
        ask(broker, "PUT", "queues/%2F/seen", {"durable": True})
    until, (ours, real) = time.monotonic() + COUNTED_WITHIN_S, brokers
    while not first(real, path).keys() >= {*names}:  # it counts every five seconds
        assert time.monotonic() < until, first(real, path)
        time.sleep(0.2)
    found, wanted = first(ours, path), first(real, path)
    assert {it: kind(found[it]) for it in names} == {it: kind(wanted[it]) for it in names}
    for totals in {"object_totals", "queue_totals"}.intersection(names):
        assert found[totals].keys() >= wanted[totals].keys()


KEYS = "name", "policy", "operator_policy", "effective_policy_definition"


def governed(broker, name):
    _, found = ask(broker, "GET", f"queues/%2F/{name}", None)
    return {it: found.get(it, "not yet") for it in KEYS}


def test_the_policies_that_count_are_those_of_a_real_one(brokers):
    types = ("classic", "quorum")
    for broker in brokers:
        for kind_ in types:
            for n in range(2):
                given = {"durable": True, "arguments": {"x-queue-type": kind_, "x-max-length": 5}}
                ask(broker, "PUT", f"queues/%2F/{kind_}{n}", given)
        for name, pattern, priority, apply_to, definition in (
            ("all", "0$", 0, "all", {"max-length": 3}),
            ("limit", "", 1, "queues", {"delivery-limit": 2, "max-length-bytes": 10}),
            ("mode", "^classic1", 2, "queues", {"queue-mode": "lazy"}),
            ("not", "", 3, "exchanges", {"alternate-exchange": "x"}),
            ("age", "", 4, "all", {"max-age": "1D"}),
        ):
            value = {"pattern": pattern, "priority": priority, "apply-to": apply_to,
                     "definition": definition}  # fmt: skip
            assert ask(broker, "PUT", f"policies/%2F/{name}", value)[0] == 201
    names = [f"{kind_}{n}" for kind_ in types for n in range(2)]
    until, (ours, real) = time.monotonic() + COUNTED_WITHIN_S, brokers
    while any("not yet" in governed(real, it).values() for it in names):
        assert time.monotonic() < until
        time.sleep(0.2)
    for name in names:
        assert governed(ours, name) == governed(real, name)
    for broker in brokers:
        for name in ("all", "limit", "mode", "not", "age"):
            ask(broker, "DELETE", f"policies/%2F/{name}", None)
        for name in names:
            ask(broker, "DELETE", f"queues/%2F/{name}", None)
