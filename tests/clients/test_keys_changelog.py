"""Keys of a real server: read as a topic by a Kafka client, written by nobody else, and looked
through by Redis's own tool."""

import json
import subprocess
import urllib.request

import pytest
import redis
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis_parts import DEADLINE_S, needs_tools
from serving import Serving

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("keys") / "data", http_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def client(server):
    host, port = server.redis
    with redis.Redis(host=host, port=port, socket_timeout=DEADLINE_S) as client:
        client.flushall()
        yield client


def test_a_consumer_hears_of_every_change(server, client):
    given = {"bootstrap.servers": server.address, "auto.offset.reset": "earliest"}
    consumer = Consumer(given | {"group.id": "cache"})

    def came(many):
        found = []
        while len(found) < many:
            message = consumer.poll(DEADLINE_S)
            assert message is not None
            assert message.error() is None, message.error()
            found.append(message)
        return found

    client.select(5)  # nobody else is there
    client.set("a", "begin")
    consumer.assign([TopicPartition("__keys.5", 0, 0)])
    client.set("b", "1", px=100_000)
    client.delete("a")
    read = came(3)
    assert [(it.key(), it.value()) for it in read] == [
        (b"a", b"begin"), (b"b", b"1"), (b"a", None),
    ]  # fmt: skip
    [(name, until)] = read[1].headers()
    assert name == "redis.expires-at-ms"
    assert until.isdigit()
    client.flushdb()
    [flush] = came(1)
    assert (flush.key(), flush.headers()) == (b"\0F", [("redis.op", b"flush")])
    consumer.close()
    client.select(0)


def test_nobody_else_writes_it(server, client):
    client.set("a", "mine")
    codes = []
    producer = Producer({"bootstrap.servers": server.address})
    producer.produce("__keys.0", b"forged", b"a", on_delivery=lambda error, _: codes.append(error))
    assert producer.flush(DEADLINE_S) == 0
    assert [it.code() for it in codes] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    admin = AdminClient({"bootstrap.servers": server.address})
    for asked in (
        admin.delete_topics(["__keys.0"]),
        admin.create_topics([NewTopic("__keys.9", 1)]),
    ):
        [future] = asked.values()
        with pytest.raises(Exception, match="AUTHORIZATION"):
            future.result(DEADLINE_S)
    assert client.get("a") == b"mine"


def test_the_http_door_has_them_in_figures(server, client):
    client.mset({"a": "1", "b": "2"})
    client.expire("b", 100)
    client.get("a")
    client.get("none")

    def asked(path):
        host, port = server.http
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=DEADLINE_S) as answer:
            return answer.read().decode()

    found = json.loads(asked("/api/v1/keys"))
    assert (found["loading"], found["damage"], found["failing"]) == (False, None, None)
    [first] = [it for it in found["databases"] if it["database"] == 0]
    assert (first["topic"], first["keys"], first["expiring"]) == ("__keys.0", 2, 1)
    metrics = asked("/metrics")
    assert 'logstore_keys{database="0"} 2\n' in metrics
    assert 'logstore_keys_expiring{database="0"} 1\n' in metrics
    assert f"logstore_keys_hits_total {first['hits']}\n" in metrics


@needs_tools
def test_redis_cli_looks_through_all_of_it(server, client):
    client.mset({f"key:{number}": "x" * number for number in range(300)})
    host, port = server.redis
    cli = ["redis-cli", "-h", host, "-p", str(port)]

    def run(*words):
        done = subprocess.run([*cli, *words], capture_output=True, text=True, timeout=DEADLINE_S,
                              check=True)  # fmt: skip
        return done.stdout

    assert len(set(run("--scan").split())) == 300
    assert len(set(run("--scan", "--pattern", "key:1*").split())) == 111
    assert "Sampled 300 keys" in run("--bigkeys")
    assert "Biggest string found '\"key:299\"' has 299 bytes" in run("--bigkeys")
    assert "300 strings with" in run("--memkeys")
