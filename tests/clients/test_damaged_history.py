"""A channel's history with batches that can't be read, and with batches that hold too much."""

import pytest
from crafted import DAMAGED, NOW_MS, bomb, put, three
from kept_channels import keeping_orders
from redis_parts import Raw, request
from serving import Serving, resident_bytes

import logstore
from logstore.records.compression import Compression
from logstore.records.encode import encode

pytestmark = pytest.mark.long


@pytest.fixture
def data(tmp_path):
    return keeping_orders(tmp_path / "data")


@pytest.fixture
def begin(data):
    """begin(*batches): a server whose history holds these already."""
    running = []

    def serve(*batches):
        with logstore.open(data) as store:
            put(store.create_topic("orders.x", 1).partition(0), *batches)
        running.append(Serving(data))
        return running[-1]

    yield serve
    for it in running:
        code, errors = it.stop()
        assert (code, "Traceback" in errors) == (0, False), errors


def ask(server, *words):
    connection = Raw(server)
    try:
        connection.send(request(*words) + request("ECHO", "over"))
        return connection.until(b"$4\r\nover\r\n")
    finally:
        connection.close()


def test_the_past_of_a_channel_leaves_a_damaged_batch_out_and_one_line_says_so(begin):
    batches = [make() for make in DAMAGED.values()]
    server = begin(three(b"first"), *batches, three(b"last"))
    for _ in range(3):
        assert b"first" in ask(server, "CHANNEL.READ", "orders.x", "FROM", "0")
        assert b"last" in ask(server, "CHANNEL.READ", "orders.x", "FROM", "1")
    lines = [line for line in server.errors().splitlines() if "orders.x" in line]
    assert len(lines) == len(batches), lines
    assert all(f"{server.data}/orders.x-0/" in line and "at offset" in line for line in lines)


def test_a_subscriber_gets_what_is_published_behind_a_damaged_batch(begin):
    server = begin(*[make() for make in DAMAGED.values()])
    listening = Raw(server)
    listening.send(request("SUBSCRIBE", "orders.x"))
    listening.until(b":1\r\n")
    assert b":1\r\n" in ask(server, "PUBLISH", "orders.x", "news")
    listening.until(b"news\r\n")
    listening.send(request("CHANNEL.READ", "orders.x", "FROM", "0"))
    listening.close()


def test_one_record_of_six_bombs_does_not_fill_the_server(begin):
    """Six batches of 6 KB that hold 200 MiB each took it from 38 MB to 1,483 MB."""
    server = begin(*[bomb()] * 6)
    ask(server, "PING")
    before = resident_bytes(server)
    assert ask(server, "CHANNEL.READ", "orders.x", "FROM", "0", "COUNT", "1").startswith(b"*1\r\n")
    assert resident_bytes(server) - before < 40 << 20


def test_a_record_that_is_too_large_is_named_and_what_follows_can_be_read(begin):
    large = encode([(bytes(200 << 20), None, (), NOW_MS)], compression=Compression.ZSTD)
    server = begin(three(b"first"), large, three(b"last"))
    before = resident_bytes(server)
    reply = ask(server, "CHANNEL.READ", "orders.x", "FROM", "1")
    assert reply.startswith(b"-ERR ")
    assert b"the record at offset 1 has 2097152" in reply
    assert b"last" in ask(server, "CHANNEL.READ", "orders.x", "FROM", "2")
    assert resident_bytes(server) - before < 40 << 20


def test_the_past_from_a_time_leaves_a_damaged_batch_out(begin):
    server = begin(three(b"first"), DAMAGED["garbage"](), three(b"last", at_ms=NOW_MS + 1000))
    assert b"last" in ask(server, "CHANNEL.READ", "orders.x", "FROM", "2023-11-14T22:13:20.500Z")
