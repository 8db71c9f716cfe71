"""Every example that the help of a command shows is run as it is shown.

Each command has a directory of its own with what its examples speak of; those that ask a server
have one for all of them, and only names of hosts are replaced.
"""

import io
import json
import shlex
import signal
from contextlib import closing

import paho.mqtt.client as mqtt
import pytest
import redis
from cluster_nodes import ServingNode
from command_tree import LEAVES, parameters
from confluent_kafka import Producer
from serving import Serving
from waiting import until

pytestmark = pytest.mark.long

FLIGHT = {"tailnum": "N1", "carrier": "UA", "country": "ch"}
FILES = {
    "flights.jsonl": json.dumps(FLIGHT) + "\n",
    "events.jsonl": '{"kind":"mail.new","text":"hello"}\n',
    "access.log": "GET /\n",
    "billing.password": "a long password\n",
}
PASSWORD = b"a long password\n"

FLIGHTS = [
    "topic create flights --partitions 3",
    "produce flights --key-field tailnum < flights.jsonl",
]
BILLING = [*FLIGHTS, "consume flights --group billing"]
EVENTS = ["exchange declare events --type topic"]
MAIL = [*EVENTS, "queue declare mail", "exchange bind events mail --key mail.#"]
A_MAIL = [*MAIL, "exchange publish events --key mail.new --header country=ch --message hello"]
LATER = [
    "exchange declare later --type x-delayed-message --argument x-delayed-type=topic",
    *["exchange publish later --key k --header x-delay=86400000 --message hello"] * 18,
]
DELAYED = [
    "topic create orders --config delivery.schedule=true",
    *["produce orders.delayed --header x-delay=86400000 < access.log"] * 19,
]
ROUTED = [*FLIGHTS, *EVENTS, "topic route flights --to exchange:events --key {key}"]
TO_A_TOPIC = ["topic create audit", "exchange declare orders --type topic"]
ANA, RULE = "user add ana", "acl allow ana read,write topic:orders"

# What is to be there before the examples of a command: other commands.
BEFORE = {
    "produce": ["topic create flights", "topic create access"],
    "consume": FLIGHTS,
    "replay": FLIGHTS,
    "dump": ["topic create flights", "produce flights < flights.jsonl"],
    "verify": FLIGHTS,
    "salvage": ["topic create flights", "produce flights < flights.jsonl"],
    "backup": FLIGHTS,
    "restore": ["topic create flights --data other", "backup /mnt/backup/monday --data other"],
    "doctor": FLIGHTS,
    "serve": [ANA],
    "topic describe": FLIGHTS,
    "topic offsets": FLIGHTS,
    "topic alter": FLIGHTS,
    "topic trim": FLIGHTS,
    "topic delete": FLIGHTS,
    "topic list": FLIGHTS,
    "topic route": [*FLIGHTS, *EVENTS],
    "topic unroute": ROUTED,
    "topic routes": ROUTED,
    "exchange list": EVENTS,
    "exchange describe": EVENTS,
    "exchange bind": [*EVENTS, "queue declare mail", *TO_A_TOPIC],
    "exchange unbind": [*MAIL, *TO_A_TOPIC, "exchange bind orders --to topic:audit --key order.#"],
    "exchange delete": EVENTS,
    "exchange publish": MAIL,
    **{
        f"queue {it}": A_MAIL
        for it in "list describe peek browse replay get consume purge delete".split()  # noqa: SIM905
    },
    "queue replay": [*A_MAIL, "queue consume mail"],
    "vhost list": ["vhost add shop"],
    "vhost delete": ["vhost add shop"],
    "schedule list": [*LATER, *DELAYED],
    "schedule cancel": [*LATER, *DELAYED],
    "policy list": ["policy set short ^mail --set max-length=1000"],
    "policy delete": ["policy set short ^mail --set max-length=1000"],
    "definitions export": [*MAIL, "vhost add shop"],
    "definitions import": [*MAIL, "definitions export --output rabbit.json"],
    "user list": [ANA],
    "user passwd": [ANA],
    "user tags": [ANA],
    "user delete": ["user add billing"],
    **{f"acl {it}": [ANA, RULE] for it in ("allow", "deny", "list", "remove", "check", "repair")},
    "permission set": [ANA, *EVENTS],
    "permission list": [ANA, *EVENTS],
    "permission clear": [ANA, "permission set ana --configure ^a --write .* --read .*"],
    **{f"group {it}": BILLING for it in ("list", "describe", "reset-offsets", "delete")},
    "retention run": FLIGHTS,
    "compact run": ["topic create states --config cleanup.policy=compact"],
    "recompress run": FLIGHTS,
    "config show": FLIGHTS,
}
# The same of a single example, behind the one before it.
JUST_BEFORE = {
    "logstore queue consume mail --follow --format '{key} {body}'": A_MAIL[-1],
}
# What ends when it is told to: a part of the line that it prints before.
ENDLESS = {
    "logstore consume flights --group billing --follow": '{"tailnum"',
    "logstore queue consume mail --follow --format '{key} {body}'": "mail.new hello",
    "logstore serve --host 0.0.0.0 --resp-port -1": "serving logstore-data: Kafka",
    "logstore serve --log-format json --log-level amqp=info": "serving logstore-data: Kafka",
}
# In this order, in the directory of one server.
SERVED = (
    "top", "channel list", "channel publish", "keys stats", "keys list", "keys get", "keys delete",
    "session list", "session describe", "session end", "transaction list",
    "transaction describe", "transaction abort",
)  # fmt: skip
LISTENING = ("channel subscribe", "channel psubscribe")
ABROAD = ("mirror", "shovel", "status", "cluster check")  # of several servers
ALONE = [it for it in LEAVES if it not in (*SERVED, *LISTENING, *ABROAD)]


@pytest.fixture
def here(data, tmp_path, monkeypatch):
    """The folder where commands are typed; the data directory is the default one, in it."""
    monkeypatch.delenv("LOGSTORE_DATA")
    for door in ("KAFKA", "RESP", "AMQP", "MQTT", "STOMP", "HTTP"):
        monkeypatch.setenv(f"LOGSTORE_{door}_PORT", "0")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


STOPPED = (0, 130)  # by Ctrl-C: with what was done, or as a shell says it


class Answers(io.StringIO):
    """Somebody at a terminal who says yes."""

    def isatty(self):
        return True


@pytest.fixture
def type_in(here, logstore, monkeypatch):
    """type_in(line): do what a line of a shell asks for."""

    def run(line, hosts=(), code=0):
        words, stdin = parsed(here, line, hosts)
        with monkeypatch.context() as patch:
            if is_confirmed(words):
                patch.setattr("sys.stdin", Answers("y\n"))
            return logstore(*words, stdin=stdin, code=code)

    return run


def is_confirmed(words):
    """Whether the command asks before it does it."""
    command = LEAVES.get(" ".join(words[:2])) or LEAVES[words[0]]
    return any(it.name == "yes" for it in parameters(command))


def parsed(here, line, hosts=()):
    """(words behind ``logstore``, what is on its standard input)."""
    line = line.replace("/mnt/", f"{here}/")
    for name, place in dict(hosts).items():
        line = line.replace(name, place)
    stdin, file = b"", line.partition(" < ")[2]
    if "| logstore " in line:  # tail -f FILE |
        file, line = line.split(" | logstore ")
        file = file.split()[-1]
    elif file:
        line = line.partition(" < ")[0]
    if file:
        stdin = (here / file).read_bytes()
    elif "user add" in line or "user passwd" in line:
        stdin = PASSWORD
    return shlex.split(line.removeprefix("logstore ")), stdin


@pytest.mark.parametrize("name", ALONE)
def test_the_examples_of_a_command_do_what_they_say(here, type_in, spawn, name):
    for line in BEFORE.get(name, ()):
        type_in(line)
    for example in LEAVES[name].examples:
        if example in JUST_BEFORE:
            type_in(JUST_BEFORE[example])
        if example in ENDLESS:
            process = spawn(*parsed(here, example)[0])
            assert ENDLESS[example] in process.line().decode()
            process.send(signal.SIGINT)
            assert process.end()[0] in STOPPED
        else:
            type_in(example)


# Beside servers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with something of everything, in the default data directory of its folder."""
    folder = tmp_path_factory.mktemp("served")
    data = folder / "logstore-data"
    data.mkdir()
    (data / "logstore.toml").write_text('[[channel]]\npattern = "*"\nhistory = "1h"\n')
    running = Serving(data, amqp_port=0, mqtt_port=0)
    with closing(redis.Redis(*running.redis)) as client:
        client.mset({"user:1": "Ada", "user:2": "Bo"})
    device = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "sensor-7", clean_session=False)
    device.on_connect = lambda *_: device.disconnect()
    device.connect(*running.mqtt)
    device.loop_forever()
    settings = {"transactional.id": "copier-0", "transaction.timeout.ms": 600_000}
    producer = Producer({"bootstrap.servers": running.address, **settings})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce("copied", b"{}")
    producer.flush()
    del producer  # the transaction stays open
    yield running
    code, errors = running.stop()
    assert (code, errors) == (0, "")


@pytest.fixture
def beside(here, served, monkeypatch):
    """Commands are typed where the server's data directory is."""
    monkeypatch.chdir(served.data.parent)


@pytest.mark.usefixtures("beside")
def test_the_examples_that_ask_a_server_do_what_they_say(here, type_in, spawn):
    for name in SERVED:
        for example in LEAVES[name].examples:
            words, stdin = parsed(here, example)
            if not stdin:
                type_in(example)
                continue
            process = spawn(*words)  # reads a file descriptor as it becomes ready
            process.write(stdin)
            assert process.end()[0] == 0


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("name", LISTENING)
def test_the_examples_that_listen_print_what_is_published(here, served, spawn, name):
    for example in LEAVES[name].examples:
        words, _ = parsed(here, example)
        channel = words[2].replace("*", "today")
        with closing(redis.Redis(*served.redis)) as client:
            client.publish(channel, "it rains")  # a past, for who asks for it
        process = spawn(*words)
        assert process.line("stderr").startswith(b"listening to ")
        with closing(redis.Redis(*served.redis)) as client:
            client.publish(channel, "it rains")
        assert b"it rains" in process.line()
        process.send(signal.SIGINT)
        assert process.end()[0] in STOPPED


def test_the_examples_that_mirror_do_what_they_say(here, served, type_in, spawn):
    for line in BILLING:
        type_in(line)
    hosts = {"127.0.0.1:9092": served.address, "broker:9092": served.address}
    copy, follow = LEAVES["mirror"].examples
    type_in(copy, hosts)
    type_in(f"consume flights --group billing --bootstrap {served.address}")
    process = spawn(*parsed(here, follow, hosts)[0])
    until(lambda: (here / "copy" / "flights-0").exists())
    process.send(signal.SIGINT)
    assert process.end()[0] in STOPPED


@pytest.fixture
def node(served):
    """One over the server, beside it."""
    running = ServingNode(served.data.parent / "node-1", served.address)
    yield running
    assert running.stop()[0] == 0


@pytest.mark.usefixtures("beside", "node")
def test_the_examples_of_a_cluster_do_what_they_say(served, type_in, monkeypatch):
    for line in (
        "queue declare orders", "queue declare orders --data node-1", "vhost add shop",
        "queue declare orders --vhost shop",
        "exchange publish '' --key orders --vhost shop --message one",
    ):  # fmt: skip
        type_in(line)
    move, move_all = LEAVES["shovel"].examples
    type_in(move, {"rabbit": "{}:{}".format(*served.amqp)})
    type_in(move_all)
    monkeypatch.setenv("LOGSTORE_DATA", "node-1")
    for example in LEAVES["status"].examples:
        type_in(example)
    monkeypatch.setenv("LOGSTORE_CLUSTER_BOOTSTRAP_SERVERS", served.address)
    for example in LEAVES["cluster check"].examples:
        found = type_in(example, {"kafka-1:9092,kafka-2:9092": served.address}, code=1)
        assert "finding" in found.err  # that it has one broker


def test_every_command_has_its_examples_run():
    assert {*ALONE, *SERVED, *LISTENING, *ABROAD} == {*LEAVES}
    assert {*BEFORE} <= {*ALONE}
