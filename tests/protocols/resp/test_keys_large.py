"""Values and transactions as large as they may be, and larger: what is written can be read again,
and no turn writes much more than it may.
"""

import pytest
from keys_kit import KeysDoor, rows
from redis_parts import request
from resp_commands import EVERY, words_of

from logstore.broker.keys import journal, keys
from logstore.protocols.resp.session import BYTES_AT_ONCE
from logstore.records.compression import DECOMPRESSED_BYTES_MAX
from logstore.records.decode import decode
from logstore.settings import StoreSettings

OK = b"+OK\r\n"
TOO_LONG = b"-ERR string exceeds maximum allowed size (resp.max.value.size)\r\n"
MOST = 300_000  # more than comes in one read, which is not looked at
KEEPING = [it for it in EVERY if "write" in it.flags or it.numkeys]


@pytest.fixture
def door():
    return KeysDoor(value_bytes_max=MOST)


def put(door, *names, size=MOST):
    peer = door.connect()
    for name in names:
        peer.ask("SET", name, b"v" * size)
        door.sync()
        assert peer.new() == OK
    return peer


def test_what_is_written_as_one_is_read_as_one():
    """A batch of the largest value, with the largest key, is no longer than what is read."""
    facts = StoreSettings.__dataclass_fields__["resp_max_value_size"].metadata
    assert facts["low"] >= MOST >= BYTES_AT_ONCE
    assert journal.BATCH_BYTES + 2 * facts["high"] <= DECOMPRESSED_BYTES_MAX


def test_every_command_that_keeps_what_it_is_given_refuses_what_is_too_long(door):
    assert {"set", "hset", "lpush", "sadd", "zadd", "rename", "eval"} <= {it.name for it in KEEPING}
    for command in KEEPING:
        before, count = len(command.name.split("|")), len(words_of(command))
        for at in range(before, count):
            words = words_of(command)
            words[at] = "x" * (MOST + 1)
            assert door.connect().ask(*words) == TOO_LONG, (command.name, at)
    assert len(door.keys.databases[0]) == 0
    assert door.log.batches == []


def test_what_is_as_long_as_it_may_be_is_kept(door):
    assert len(put(door, "a").ask("GET", "a")) == MOST + len(b"$%d\r\n\r\n" % MOST)
    assert [len(value) for _, value, _ in rows(door.log)] == [MOST]


@pytest.mark.parametrize("words", [
    ("APPEND", "a", "x"), ("SETRANGE", "a", str(MOST), "x"), ("SETRANGE", "new", str(MOST), "x"),
])  # fmt: skip
def test_no_value_grows_over_the_limit(door, words):
    peer = put(door, "a")
    assert peer.ask(*words) == TOO_LONG
    assert peer.ask("STRLEN", "a") == b":%d\r\n" % MOST
    assert peer.ask("EXISTS", "new") == b":0\r\n"
    assert len(door.log.batches) == 1


def test_redis_s_own_limit_is_told_in_its_words(door):
    told = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    assert door.connect().ask("SETRANGE", "a", str(512 << 20), "x") == told


def test_a_message_may_be_longer_than_a_value(door):
    assert door.connect().ask("PUBLISH", "c", "x" * (MOST + 1)) == b":0\r\n"


@pytest.mark.parametrize(("words", "grows"), [
    (("COPY", "a", "b{n}"), True), (("EXPIRE", "k{n}", "100"), False),
    (("RENAME", "k{n}", "n{n}"), False), (("APPEND", "k{n}", ""), False),
])  # fmt: skip
def test_a_turn_takes_no_more_changes_once_it_has_had_enough(door, monkeypatch, words, grows):
    """However short the requests are, and however many ask."""
    put(door, "a", *(f"k{n}" for n in range(20)))
    monkeypatch.setattr(keys, "TURN_BYTES", 3 * MOST)
    before = len(door.log.batches)
    peers = [door.connect() for _ in range(4)]
    for n, peer in enumerate(peers):
        peer.left = b"".join(
            request(*(it.format(n=5 * n + m) for it in words)) for m in range(5)
        )  # fmt: skip
    turns = 0
    while any(peer.left for peer in peers):
        for peer in peers:
            taken = peer.session.receive(memoryview(bytearray(peer.left)), door.now)
            peer.left = peer.left[taken:]
        woken = [peer.link.woken for peer in peers]
        door.sync()
        turns += 1
        for peer, count in zip(peers, woken, strict=True):
            assert not peer.left or peer.link.woken > count  # whoever waits is told
    assert turns > 1
    sizes = [
        sum(len(it.value or b"") for it in decode(batch)) for batch in door.log.batches[before:]
    ]
    assert max(sizes) <= 5 * MOST
    assert sum(size > 0 for size in sizes) > 1
    assert all(b"-" not in peer.new() for peer in peers)
    assert len(door.keys.databases[0]) == 21 + 20 * grows


def test_a_transaction_that_is_too_large_to_be_one_is_not_done(door):
    door.keys.journals[0].bounds = journal.Bounds(5 * MOST, alone=True)
    peer = put(door, "a")
    before = len(door.log.batches)
    peer.ask("MULTI")
    for n in range(6):
        peer.ask("COPY", "a", f"b{n}")
    got = peer.ask("EXEC")
    assert b"can be written as one" in got
    assert got.count(b"\r\n") == 1
    assert peer.ask("DBSIZE") == b":1\r\n"
    assert len(door.log.batches) == before
    assert door.keys.failing is None
    peer.ask("SET", "c", "1")
    door.sync()
    assert peer.new() == OK


def test_a_transaction_of_as_much_as_may_be_is_one_batch(door):
    door.keys.journals[0].bounds = journal.Bounds(6 * MOST, alone=True)
    peer = put(door, "a")
    before = len(door.log.batches)
    peer.ask("MULTI")
    for n in range(5):
        peer.ask("COPY", "a", f"b{n}")
    peer.ask("EXEC")
    door.sync()
    assert peer.new().startswith(b"*5\r\n:1\r\n")
    assert [it.record_count for it in door.log.batches[before:]] == [5]


def test_after_a_transaction_in_two_databases_a_turn_may_be_written_in_parts(door):
    """Only what is changed alone is written as one."""
    door.keys.journals[3].bounds = journal.Bounds(1000, alone=True)
    peer, other = put(door, "a", size=1), door.connect()
    other.ask("SELECT", "3")
    peer.send(
        request("MULTI") + request("SET", "b", "1") + request("SELECT", "3")
        + request("SET", "b", "1") + request("SELECT", "0") + request("EXEC")
    )  # fmt: skip
    other.send(b"".join(request("SET", f"c{n}", b"v" * 900) for n in range(3)))
    for _ in range(3):
        door.sync()
    assert peer.new().count(OK) == 5
    assert other.new() == 3 * OK
    sizes = [it.record_count for it in door.keys._logs.logs[3]._batches]
    assert sizes == [1, 1, 1, 1]
