"""Sessions of the Redis door: requests in every shape, bounds, garbage. (Redis itself is asked in
tests/clients/test_redis_same.py.)"""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_parts import request
from resp_kit import FakeDoor

from logstore.protocols.resp import client as client_module
from logstore.protocols.resp import session as session_module
from logstore.protocols.resp.commands import COMMANDS
from logstore.protocols.resp.requests import ARGUMENTS_MAX, LINE_BYTES_MAX

MESSAGE = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n"


@pytest.fixture
def door():
    return FakeDoor()


def test_a_message_reaches_who_listens(door):
    one, two = door.connect(), door.connect()
    assert one.ask("SUBSCRIBE", "news") == b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
    assert two.ask("PUBLISH", "news", "hi") == b":1\r\n"
    assert one.new() == MESSAGE
    one.session.close()
    assert two.ask("PUBLISH", "news", "hi") == b":0\r\n"
    assert two.ask("PUBSUB", "CHANNELS") == b"*0\r\n"


def test_both_versions_get_their_form(door):
    one, two = door.connect(), door.connect()
    one.ask("SUBSCRIBE", "news")
    two.ask("HELLO", "3")
    two.ask("SUBSCRIBE", "news")
    door.connect().send(request("PUBLISH", "news", "hi") * 5)
    assert one.new() == MESSAGE * 5
    assert two.new() == MESSAGE.replace(b"*3", b">3") * 5


def test_a_connection_that_listens_to_itself_hears_it_before_the_reply(door):
    one = door.connect()
    one.ask("HELLO", "3")
    one.ask("SUBSCRIBE", "news")
    got = one.send(request("PING") + request("PUBLISH", "news", "hi") + request("PING"))
    assert got == b"+PONG\r\n" + MESSAGE.replace(b"*3", b">3") + b":1\r\n+PONG\r\n"


def test_what_was_published_before_one_came_is_not_for_it(door):
    one, two, three = door.connect(), door.connect(), door.connect()
    one.ask("SUBSCRIBE", "news")
    data = memoryview(bytearray(request("PUBLISH", "news", "hi")))
    three.session.receive(data, door.now)  # the turn goes on
    assert two.ask("SUBSCRIBE", "news").startswith(b"*3\r\n$9\r\nsubscribe")
    assert two.new() == b""
    assert one.new() == MESSAGE
    three.session.receive(data, door.now)
    assert one.ask("UNSUBSCRIBE") == MESSAGE + b"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"


SCRIPT = (
    request("PING") + b"PING\r\n" + request("ECHO", "a" * 3000) + b'ECHO "x y"\n' + b"\r\n"
    + request("PUBLISH", "news", "\r\n*3\r\n") * 5 + request("SUBSCRIBE", "news", "b")
    + request("PING", "x") + b"*0\r\n" + b"*-1\r\n" + request("GET", "a") + request("UNSUBSCRIBE")
    + request("PUBLISH", "a*1234567", "~9999999") + request("MULTI") + request("PUBLISH", "a", "b")
    + request("EXEC") + request("PUBLISH", "x", b"\x00\xff" * 500) * 3 + request("QUIT")
)  # fmt: skip


def test_how_it_is_cut_makes_no_difference():
    seed = int(os.environ.get("RESP_SEED", random.randrange(2**32)))
    print("RESP_SEED", seed)
    chance = random.Random(seed)
    whole = FakeDoor().connect().send(SCRIPT)
    assert whole.endswith(b"+OK\r\n")
    assert whole.count(b"\r\n") == 50
    byte_by_byte = FakeDoor().connect()
    assert b"".join(byte_by_byte.send(SCRIPT[at : at + 1]) for at in range(len(SCRIPT))) == whole
    for _ in range(200):
        peer, at, got = FakeDoor().connect(), 0, b""
        while at < len(SCRIPT):
            size = chance.choice([1, 5, 50, 700, 5000])
            got += peer.send(SCRIPT[at : at + size])
            at += size
        assert got == whole


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"*1\r\n:1\r\n", b"expected '$', got ':'"),
        (b"*x\r\n", b"invalid multibulk length"),
        (b"*01\r\n", b"invalid multibulk length"),
        (b"*%d\r\n" % (ARGUMENTS_MAX + 1), b"invalid multibulk length"),
        (b"*4294967297\r\n", b"invalid multibulk length"),
        (b"*1\r\n$x\r\n", b"invalid bulk length"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", b"expected '$', got '*'"),
        (b"*1\r\n" * 100_000, b"expected '$', got '*'"),
        (b"*1\r\n>99999999\r\n", b"expected '$', got '>'"),
        (b"*" + b"1" * (LINE_BYTES_MAX + 1), b"too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (LINE_BYTES_MAX + 1), b"too big bulk count string"),
        (b"P" * (LINE_BYTES_MAX + 1), b"too big inline request"),
        (b"PING 'a\r\n", b"unbalanced quotes in request"),
    ],
)
def test_what_is_no_request_ends_the_connection(door, sent, reason):
    one, other = door.connect(), door.connect()
    assert one.send(request("PING") + sent) == b"+PONG\r\n-ERR Protocol error: " + reason + b"\r\n"
    assert one.session.closed == "Protocol error: " + reason.decode()
    assert one.session.receive(memoryview(request("PING")), 0.0) == 14  # taken, and not answered
    assert one.session.outgoing(100) == ()
    assert other.send(request("PING") * 5) == b"+PONG\r\n" * 5


def test_claims_cost_nothing(door):
    """A request says how long it is going to be; room is asked for only where that may be."""
    one = door.connect()
    one.send(b"*2\r\n$4\r\nECHO\r\n$300000000\r\nabc")
    assert 300_000_000 < one.session.wants < 300_000_100
    two = door.connect()
    two.send(b"*1000000\r\n$1\r\n")
    assert two.session.wants < 100


@pytest.mark.long
def test_a_request_of_many_parts_is_not_read_anew_for_each(door):
    one = door.connect()
    data = request("SUBSCRIBE", *range(50_000))
    for at in range(0, len(data), 4000):
        one.send(data[at : at + 4000])
    assert one.link.sent.endswith(b":50000\r\n")


def test_pages_of_a_browser_get_nowhere(door):
    one = door.connect()
    assert one.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPUBLISH a b\r\n") == b""
    assert "HTTP" in one.session.closed


def test_who_reads_nothing_is_cut_off_at_the_hard_limit():
    door = FakeDoor(pubsub="1mb 0 0")
    slow, other, publisher = door.connect(), door.connect(), door.connect()
    for it in (slow, other):
        it.ask("SUBSCRIBE", "a")
    slow.link.blocked = True
    for _ in range(12):
        publisher.ask("PUBLISH", "a", b"x" * 100_000)
    assert "client-output-buffer-limit" in slow.link.cut_for
    assert other.link.sent.count(b"message") == 12
    assert publisher.ask("PUBLISH", "a", "b") == b":1\r\n"
    assert b"client_output_buffer_limit_disconnections:1" in publisher.ask("INFO", "stats")


def test_who_reads_too_little_for_too_long_is_cut_off():
    door = FakeDoor(pubsub="0 1mb 60")
    slow, publisher = door.connect(), door.connect()
    slow.ask("SUBSCRIBE", "a")
    slow.link.blocked = True
    publisher.ask("PUBLISH", "a", b"x" * 2_000_000)
    assert slow.link.woken == 1
    slow.wait(0)
    assert slow.session.deadline == door.now + 60
    slow.wait(59)
    assert slow.link.cut_for is None
    slow.link.unsent = 1000  # it has caught up
    slow.wait(1)
    assert slow.session.deadline is None
    publisher.ask("PUBLISH", "a", b"x" * 2_000_000)
    slow.wait(0)
    slow.wait(60)
    assert "has not read in 60 s" in slow.link.cut_for


def test_a_pause_holds_requests_and_keeps_their_order(door):
    one, two = door.connect(), door.connect()
    two.ask("SUBSCRIBE", "a")
    assert one.send(request("CLIENT", "PAUSE", "500") + request("ECHO", "x")) == b"+OK\r\n"
    assert one.session.busy
    assert one.session.deadline == door.now + 0.5
    one.wait(0.4)
    assert one.new() == b""
    one.wait(0.1)
    assert one.link.sent.endswith(b"$1\r\nx\r\n")
    one.ask("CLIENT", "PAUSE", "500", "WRITE")
    assert one.ask("PING") == b"+PONG\r\n"
    assert one.ask("PUBLISH", "a", "b") == b""
    two.ask("UNSUBSCRIBE")
    assert two.ask("CLIENT", "UNPAUSE") == b"+OK\r\n"
    assert one.link.woken == 1
    one.wait(0)
    assert one.link.sent.endswith(b":0\r\n")


def test_a_transaction_has_a_size(door, monkeypatch):
    monkeypatch.setattr(session_module, "QUEUED_BYTES_MAX", 10_000)
    one = door.connect()
    one.send(request("MULTI") + request("PUBLISH", "a", "x" * 4000) * 3)
    assert "after MULTI" in one.link.cut_for
    assert client_module.QUEUED_BYTES_MAX > 10_000


def test_replies_that_are_long_are_given_out_first(door):
    one = door.connect()
    data = memoryview(request("COMMAND", "DOCS") * 1000)
    taken = one.session.receive(data, 0.0)
    assert 0 < taken < len(data) / 2
    size = sum(map(len, one.session.outgoing(1)))
    assert size < 2 * session_module.OUT_BYTES_MAX


def test_clients_are_listed_and_ended(door):
    one, two = door.connect(), door.connect()
    two.ask("CLIENT", "SETNAME", "second")
    two.ask("SUBSCRIBE", "a")
    lines = one.ask("CLIENT", "LIST").decode().split("\n")
    for shown in (" name=second ", " flags=P ", " sub=1 "):
        assert shown in lines[2]
    assert one.ask("CLIENT", "LIST", "TYPE", "pubsub").count(b"id=") == 1
    assert one.ask("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"
    assert two.link.cut_for == ""
    assert one.ask("CLIENT", "LIST").count(b"id=") == 1
    assert one.ask("CLIENT", "KILL", "ID", "1", "SKIPME", "no") == b":1\r\n"
    assert one.session.closed == ""


def test_every_command_is_documented(door):
    one = door.connect()
    for command in COMMANDS.values():
        assert command.summary.endswith(".")
        assert command.since
        for sub in command.subcommands.values():
            assert sub.name.startswith(command.name + "|")
            assert sub.run is not None
    assert one.ask("COMMAND", "COUNT") == b":%d\r\n" % len(COMMANDS)


PIECES = st.sampled_from([
    b"*", b"$", b":", b"+", b"-", b"_", b"%", b">", b"~", b"=", b"(", b",", b"#", b"|", b"!",
    b"\r\n", b"\n", b"1", b"3", b"-1", b"7", b"999999999", b"PUBLISH", b"SUBSCRIBE", b"a", b"b",
    b"'", b'"',
    b"\\x", b"\0", b"*3\r\n", b"$1\r\na\r\n", b"*1\r\n$4\r\nPING\r\n", b"MULTI\r\n",
    b"EXEC\r\n",
    b"CLIENT", b"CONFIG", b"HELLO", b" ", request("SUBSCRIBE", "a"), request("HELLO", "3"),
    request("PUBLISH", "a", "b"), request("RESET"), b"*2\r\n", b"PSUBSCRIBE [\r\n",
])  # fmt: skip


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=40), st.integers(1, 50))
def test_garbage_is_answered_or_ends_the_connection(pieces, step):
    data = b"".join(pieces)
    door = FakeDoor()
    good, peer = door.connect(), door.connect()
    good.ask("SUBSCRIBE", "z")
    for at in range(0, len(data), step):
        peer.send(data[at : at + step])  # raises nothing
    assert door.connect().ask("PUBLISH", "z", "x") == b":1\r\n"
    assert good.link.sent.endswith(b"$1\r\nz\r\n$1\r\nx\r\n")
    if peer.link.cut_for is None:
        peer.session.close()
    assert len(door.everyone) == 2


WORDS = st.sampled_from([
    *(name for name in COMMANDS), *(sub for it in COMMANDS.values() for sub in it.subcommands),
    b"3", b"2", b"0", b"-1", b"x", b"a*", b"[", b"ON", b"OFF", b"SKIP", b"TYPE", b"pubsub", b"ID",
    b"AUTH", b"default", b"SETNAME", b"maxclients", b"", b"\xff\r\n", b"32mb", b"MATCH", b"100",
])  # fmt: skip


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), max_size=12))
def test_any_words_are_answered(commands):
    door = FakeDoor()
    peer = door.connect()
    for words in commands:
        peer.send(request(*words))  # raises nothing
    if peer.link.cut_for is None:
        peer.session.close()
    assert door.everyone == {}
    assert len(door.channels.names) == len(door.channels.patterns) == 0
