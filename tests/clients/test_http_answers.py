"""What a server answers at /api/v1 is what its description says."""

import subprocess
from contextlib import closing

import msgspec
import pika
import pytest
from confluent_kafka import Producer
from mqtt_client import MqttClient
from redis_parts import Raw, request
from serving import COMMAND, Serving

from logstore.protocols.http.native.answers import ANSWERS
from logstore.server_socket import ServerSocket

NAMES = {
    "topics": "t", "groups": "g", "partitions": "0", "records": "0", "vhosts": "/", "users": "root",
    "exchanges": "events", "queues": "mail", "messages": "0", "policies": "mail", "history": "0",
    "sessions": "thermometer", "keys": "0", "transactions": "mover",
}  # fmt: skip
FIRST = {"{offset}": "0", "{id}": "1", "{key}": "visits"}
ROOT = {"name": "root", "password": "secret", "tags": ["administrator"], "iterations": 4096}
RULE = {"user": "root", "operations": ["read"], "kind": "topic", "name": "t"}
PERMISSION = {"configure": ".*", "write": ".*", "read": ".*"}
BINDING = {"source": "events", "destination": "mail", "key": "a.#"}
CHECK = {"user": "root", "operation": "read", "kind": "topic", "name": "t"}

# What is answered to those that make or do something, which come first: a path, and a body.
DONE = [
    ("POST /topics", ["topics"],
     {"name": "t", "partitions": 1, "settings": {"delivery.schedule": "true"}}),
    ("POST /topics/{name}/records", ["topics", "t.delayed", "records"],
     {"value": "v", "headers": [["x-delay", "1000000000"]]}),
    ("POST /topics/{name}/records", ["topics", "t", "records"], {"key": "k", "value": "v"}),
    ("POST /users", ["users"], ROOT),
    ("POST /rules", ["rules"], RULE),
    ("PUT /vhosts/{name}", ["vhosts", "shop"], {}),
    ("PUT /exchanges/{name}", ["exchanges", "events"],
     {"type": "x-delayed-message", "arguments": {"x-delayed-type": "topic"}}),
    ("PUT /queues/{name}", ["queues", "mail"], {}),
    ("PUT /policies/{name}", ["policies", "mail"],
     {"pattern": "^mail", "definition": {"max-length": 1000}}),
    ("POST /topics/{name}/routes", ["topics", "t", "routes"],
     {"exchange": "amq.topic", "start": "latest"}),
    ("POST /bindings", ["bindings"], BINDING),
    ("POST /exchanges/{name}/publish", ["exchanges", "events", "publish"],
     {"key": "a.b", "body": "hello"}),
    ("POST /exchanges/{name}/publish", ["exchanges", "events", "publish"],
     {"key": "a.b", "body": "hello", "properties": {"headers": {"x-delay": 1_000_000_000}}}),
    ("POST /routing/test", ["routing", "test"], {"exchange": "events", "key": "a.b"}),
    ("POST /channels/{name}/publish", ["channels", "c", "publish"], {"body": "hello"}),
    ("PUT /permissions/{vhost}/{user}", ["permissions", "/", "root"], PERMISSION),
    ("PUT /topic-permissions/{vhost}/{user}", ["topic-permissions", "/", "root"],
     {"exchange": "events", "write": ".*", "read": ".*"}),
    ("PUT /users/{name}/password", ["users", "root", "password"],
     {"password": "other", "iterations": 4096}),
    ("POST /ticket", ["ticket"], {}),
]  # fmt: skip


# And to those that empty or remove something, which come last.
ENDED = [
    ("DELETE /mqtt/sessions/{client}", ["mqtt", "sessions", "thermometer"], None),
    ("DELETE /keys/{database}/{key}", ["keys", "0", "visits"], None),
    ("DELETE /exchanges/{name}/schedule/{offset}", ["exchanges", "events", "schedule", "0"], None),
    ("POST /queues/{name}/get", ["queues", "mail", "get"], {"count": 1, "then": "requeue"}),
    ("POST /queues/{name}/move", ["queues", "mail", "move"],
     {"to_exchange": "events", "key": "none", "dry_run": True}),
    ("POST /queues/{name}/replay", ["queues", "mail", "replay"],
     {"into": "topic:t", "only": "all"}),
    ("POST /queues/{name}/purge", ["queues", "mail", "purge"], {"dry_run": True}),
    ("POST /queues/{name}/purge", ["queues", "mail", "purge"], {}),
    ("DELETE /topics/{name}/routes", ["topics", "t", "routes"], {"exchange": "amq.topic"}),
    ("DELETE /policies/{name}", ["policies", "mail"], {}),
    ("DELETE /bindings", ["bindings"], BINDING),
    ("DELETE /queues/{name}", ["queues", "mail"], {"dry_run": True}),
    ("DELETE /queues/{name}", ["queues", "mail"], {}),
    ("DELETE /exchanges/{name}", ["exchanges", "events"], {}),
    ("DELETE /vhosts/{name}", ["vhosts", "shop"], {}),
    ("DELETE /permissions/{vhost}/{user}", ["permissions", "/", "root"], None),
    ("PUT /users/{name}/tags", ["users", "root", "tags"], {"tags": ["administrator"]}),
    ("DELETE /topics/{name}", ["topics", "t"], {}),
]  # fmt: skip


def path_of(path):
    """With names of what there is in the place of those in the pattern."""
    segments = path.strip("/").split("/")
    place = ""
    for at, segment in enumerate(segments):
        if segment.startswith("{"):
            segments[at] = NAMES[place] if place in NAMES else FIRST[segment]
        place = segments[at]
    return segments


@pytest.mark.long
def test_real_answers_are_what_is_described(tmp_path):
    server = Serving(tmp_path / "data", amqp_port=0, mqtt_port=0, http_port=0)
    api = ServerSocket(str(server.data))
    try:
        for key, path, body in DONE:
            found = api.ask(key.partition(" ")[0], tuple(path), {}, body)
            if key in ANSWERS:
                msgspec.convert(found, ANSWERS[key])
            if key == "POST /topics/{name}/records":
                read_by_a_group(server)
        begin_transaction(server)
        redis = Raw(server)
        redis.send(request("AUTH", "root", "other") + request("SET", "visits", "7"))
        redis.until(b"+OK\r\n+OK\r\n")
        parameters = pika.ConnectionParameters(
            *server.amqp, credentials=pika.PlainCredentials("root", "other")
        )
        with (
            pika.BlockingConnection(parameters) as connection,
            closing(
                MqttClient(
                    server.mqtt, "thermometer", user=b"root", password=b"other", expiry_s=1000
                )
            ) as mqtt,
        ):
            assert mqtt.subscribe(b"warm/#", 1) == 1
            connection.channel().basic_consume("mail", lambda *_: None)
            for key, kind in ANSWERS.items():
                method, _, path = key.partition(" ")
                if method == "GET" and path not in OF_NODES:
                    query = CHECK if path == "/rules/check" else {}
                    found = api.get(*path_of(path), **query)
                    if path == "/connections":
                        ours = next(it for it in found["items"] if it["door"] == "amqp")
                        FIRST["{id}"] = str(ours["id"])
                    msgspec.convert(found, kind)
                    if isinstance(found, dict) and path not in EMPTY:
                        assert found.get("items", [True]), path
        for key, path, body in ENDED:
            found = api.ask(key.partition(" ")[0], tuple(path), {}, body)
            msgspec.convert(found, ANSWERS[key])
    finally:
        server.stop()


OF_NODES = {"/cluster"}  # by tests/nodes
EMPTY = {"/channels", "/damaged-rules", "/topics/{name}/groups", "/topics/{name}/schedule"}


def begin_transaction(server):
    producer = Producer(
        {
            "bootstrap.servers": server.address,
            "transactional.id": NAMES["transactions"],
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "root",
            "sasl.password": "other",
        }
    )
    producer.init_transactions()


def read_by_a_group(server):
    words = ["consume", "t", "--group", "g", "--bootstrap", server.address]
    done = subprocess.run([COMMAND, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
