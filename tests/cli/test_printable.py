"""No text from a peer reaches a terminal as it is: not from any command, nor from a log."""

import logging
import sys

import pytest
import redis
from confluent_kafka import Consumer
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli import app as tree
from logstore_cli.logs import DATED, Printable
from serving import Serving

import logstore as library
from logstore.printable import printable, printable_lines

# Clears the screen, sets the title, begins a line of its own, turns the writing round, and colours
# by a single character (C1).
EVIL = "e\x1b[2J\x1b]0;t\x07\nforged  0  9  9\r\u202evil\x9b31m\u2028\x7f"


def leaves(command, path=()):
    below = getattr(command, "commands", {})
    if not below:
        yield path
    for name, one in below.items():
        yield from leaves(one, (*path, name))


# What each command is told, so that it shows the names of others. Values go out as they are.
WORDS = {
    "doctor": [],
    "cluster check": ["--cluster", f"{EVIL}:9"],
    "top": ["--once"],
    "topic create": ["t"],
    "topic list": [],
    "topic describe": ["t"],
    "topic offsets": ["t", "--at", EVIL],
    "topic alter": ["t", "--config", "no.such=1"],
    "topic delete": ["no-such", "--yes"],
    "topic trim": ["t", "--before", "9"],
    "topic route": ["t", "--to", f"exchange:{EVIL}", "--key", EVIL],
    "topic routes": [],
    "topic unroute": ["t", "--to", f"exchange:{EVIL}"],
    "schedule list": [],
    "schedule cancel": [f"exchange:{EVIL}", "0"],
    "keys stats": [],
    "keys list": [EVIL],
    "keys get": [EVIL],
    "keys delete": [EVIL],
    "session list": [],
    "session describe": [EVIL],
    "session end": [EVIL],
    "transaction list": [],
    "transaction describe": [EVIL],
    "transaction abort": [EVIL],
    "policy set": [EVIL, ".*", '{"max-length": 5}'],
    "policy list": [],
    "policy delete": [EVIL],
    "definitions export": [],
    "definitions import": [EVIL],
    "shovel": ["--from", EVIL, "--to", EVIL, "--queue", EVIL],
    "produce": ["t", "--format", "json"],
    "consume": ["t" + EVIL, "--group", "another"],
    "replay": ["no-such"],
    "mirror": ["--from", ".", "--to", "copy", "--group", EVIL],
    # Another has the directory.
    "serve": [
        "--kafka-port",
        "0",
        "--resp-port",
        "0",
        "--amqp-port",
        "0",
        "--mqtt-port",
        "0",
        "--stomp-port",
        "0",
        "--http-port",
        "0",
    ],
    "channel publish": [EVIL, "x"],
    "channel subscribe": [EVIL, "--max", "1", "--server", "127.0.0.1:1"],
    "channel psubscribe": [EVIL, "--max", "1", "--server", "127.0.0.1:1"],
    "channel list": [],
    "exchange declare": [EVIL],
    "exchange list": [],
    "exchange describe": [EVIL],
    "exchange bind": [EVIL, EVIL],
    "exchange unbind": [EVIL, EVIL],
    "exchange delete": [EVIL, "--yes"],
    "exchange publish": [EVIL, "--message", EVIL],
    "queue declare": [EVIL],
    "queue list": [],
    "queue describe": [EVIL],
    "queue peek": [EVIL],
    "queue get": [EVIL],
    "queue browse": [EVIL],
    "queue replay": [EVIL, "--into", f"queue:{EVIL}"],
    "queue consume": [EVIL],
    "queue purge": [EVIL, "--yes"],
    "queue delete": [EVIL, "--yes"],
    "vhost add": [EVIL],
    "vhost list": [],
    "vhost delete": [EVIL, "--yes"],
    "user add": [EVIL, "--no-password"],
    "user list": [],
    "user passwd": [EVIL, "--password-file", EVIL],
    "user tags": [EVIL, EVIL],
    "user delete": [EVIL, "--yes"],
    "acl allow": [EVIL, EVIL, EVIL],
    "acl deny": [EVIL, "read", f"topic:{EVIL}"],
    "acl list": [EVIL],
    "acl remove": [EVIL, "read", f"topic:{EVIL}"],
    "acl check": [EVIL, "read", f"topic:{EVIL}"],
    "acl repair": [],
    "permission set": [EVIL, "--configure", EVIL],
    "permission list": [],
    "permission clear": [EVIL],
    "tls self-signed": ["--into", EVIL, "--name", EVIL],
    "group list": [],
    "group describe": [EVIL],
    "group reset-offsets": [EVIL, "--to", "earliest"],
    "group delete": [EVIL],
    "retention run": [],
    "compact run": [],
    "recompress run": [],
    "dump": ["log", "--records"],
    "verify": [],
    "salvage": ["log", "rescued"],
    "backup": ["copy"],
    "restore": ["no-such", "--data", "copy"],
    "config show": [],
    "status": [],
}


def test_every_command_is_tried():
    assert set(WORDS) == {" ".join(it) for it in leaves(tree.typer.main.get_command(tree.app))}


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A store in a directory with a bad name, with a group and a record's header of bad names."""
    path = tmp_path_factory.mktemp("evil") / EVIL
    with library.open(path) as store:
        topic = store.create_topic("t", settings={"retention.groups": "g"})
        topic.append(EVIL.encode(), EVIL.encode(), {EVIL: EVIL.encode()})
        with store.consumer("t", group=EVIL) as consumer:
            assert len(list(consumer)) == 1
    return path


@pytest.fixture(scope="module")
def evil_server(evil):
    """A server of that store, with a member of a bad name, and a subscriber to a bad channel."""
    server = Serving(evil)
    member = Consumer(
        {"bootstrap.servers": server.address, "group.id": EVIL, "client.id": EVIL}
    )  # fmt: skip
    assigned = []
    member.subscribe(["t"], on_assign=lambda _, partitions: assigned.append(partitions))
    while not assigned:
        member.poll(0.1)
    subscriber = redis.Redis(*server.redis).pubsub()
    subscriber.subscribe(EVIL)
    assert subscriber.get_message(timeout=30)["type"] == "subscribe"
    yield server
    subscriber.close()
    member.close()
    server.stop()


@pytest.mark.long
@pytest.mark.parametrize("command", WORDS)
def test_no_command_shows_what_a_terminal_would_obey(
    command, spawn, evil, evil_server, monkeypatch
):
    log = next((evil / "t-0").glob("*.log"))
    words = [str(log) if it == "log" else it for it in WORDS[command]]
    if command != "mirror":
        monkeypatch.setenv("LOGSTORE_DATA", str(evil))
    code, out, err = spawn(*command.split(), *words).end()
    told = out.decode() + err
    assert told or code == 0
    assert [it for it in told if not it.isprintable() and it != "\n"] == []
    assert not any(line.startswith("forged") for line in told.splitlines())


def test_a_log_line_is_one_line_whatever_a_peer_is_called():
    formatter = Printable(DATED)
    record = logging.LogRecord("n", logging.WARNING, "", 0, "client %s is gone", (EVIL,), None)
    text = formatter.format(record)
    assert text.isprintable()
    assert text.endswith(f"WARNING n: client {printable(EVIL)} is gone")
    try:
        raise ValueError(EVIL)
    except ValueError:
        record.exc_info = sys.exc_info()
    text = formatter.format(record)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("Traceback") == 1


@given(st.text())
def test_what_is_shown_can_be_printed(text):
    assert printable(text).isprintable()
    assert all(map(str.isprintable, printable_lines(text).split("\n")))
    assert printable_lines(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert printable(text) == printable_lines(text) == text
