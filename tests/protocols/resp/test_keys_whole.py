"""Commands about much: done a part a turn, and whole for everybody else, and on disk."""

from types import SimpleNamespace

import pytest
from keys_kit import KeysDoor
from redis_parts import request
from resp_kit import user

COUNT = 1600
MEMBERS = [b"m%d" % number for number in range(COUNT)]
PAIRS = [word for member in MEMBERS for word in (member, b"1")]
SCORED = [word for member in MEMBERS for word in (b"1", member)]

# Made before, what is done, its reply, what another one sees of it, what that says.
WHOLE = {
    "hset": ([], [b"HSET", b"k", *PAIRS], b":1600\r\n", [b"HLEN", b"k"], b":1600\r\n"),
    "sadd": ([], [b"SADD", b"k", *MEMBERS], b":1600\r\n", [b"SCARD", b"k"], b":1600\r\n"),
    "rpush": ([], [b"RPUSH", b"k", *MEMBERS], b":1600\r\n", [b"LLEN", b"k"], b":1600\r\n"),
    "zadd": ([], [b"ZADD", b"k", *SCORED], b":1600\r\n", [b"ZCARD", b"k"], b":1600\r\n"),
    "ltrim": (
        [b"RPUSH", b"k", *MEMBERS], [b"LTRIM", b"k", b"0", b"0"], b"+OK\r\n",
        [b"LRANGE", b"k", b"0", b"-1"], b"*1\r\n$2\r\nm0\r\n",
    ),
    "srem": (
        [b"SADD", b"k", *MEMBERS], [b"SREM", b"k", *MEMBERS[1:]], b":1599\r\n",
        [b"SMEMBERS", b"k"], b"*1\r\n$2\r\nm0\r\n",
    ),
    "zremrangebyrank": (
        [b"ZADD", b"k", *SCORED], [b"ZREMRANGEBYRANK", b"k", b"1", b"-1"], b":1599\r\n",
        [b"ZRANGE", b"k", b"0", b"-1"], b"*1\r\n$2\r\nm0\r\n",
    ),
    "sunionstore": (
        [b"SADD", b"s", *MEMBERS], [b"SUNIONSTORE", b"k", b"s", b"none"], b":1600\r\n",
        [b"SCARD", b"k"], b":1600\r\n",
    ),
    "zunionstore": (
        [b"SADD", b"s", *MEMBERS], [b"ZUNIONSTORE", b"k", b"1", b"s"], b":1600\r\n",
        [b"ZCARD", b"k"], b":1600\r\n",
    ),
    "copy": (
        [b"HSET", b"s", *PAIRS], [b"COPY", b"s", b"k"], b":1\r\n", [b"HLEN", b"k"], b":1600\r\n",
    ),
}  # fmt: skip


class Sliced(KeysDoor):
    """Its long work is done by ``go_on``, a part a call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.waits = []
        self.door.slices._soon = self.waits.append

    def go_on(self):
        """Whether there was anything to be done."""
        if self.waits:
            self.waits.pop(0)()
        return bool(self.waits)

    def finish(self):
        while self.go_on():
            pass
        self.end_turn()
        self.sync()


def begin(door, peer, words):
    """Send it, and do no more of it than the turn takes."""
    data = memoryview(bytearray(request(*words)))
    at = 0
    while at < len(data) and not peer.session.busy:
        at += peer.session.receive(data[at:], door.now)
    door.end_turn()
    assert at == len(data)


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.setattr("logstore.protocols.resp.keys.rows.AT_ONCE", 500)
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_done_in_parts_is_seen_and_written_as_one(name):
    before, words, reply, look, seen = WHOLE[name]
    door = Sliced()
    one, two = door.connect(), door.connect()
    if before:
        begin(door, one, before)
        door.finish()
        one.wait(0)
    batches = len(door.log.batches)
    begin(door, one, words)
    assert door.waits
    assert two.ask(*look) == b""
    parts = 0
    while door.go_on():
        door.end_turn()
        parts += 1
        assert two.send(b"") == b""
        assert len(door.log.batches) == batches
    assert parts
    door.end_turn()
    assert one.send(b"") == b""  # it is not synced
    assert len(door.log.batches) == batches + 1
    door.sync()
    assert one.send(b"") == reply
    assert two.wait(0) == seen


def test_what_is_under_way_is_done_whole_for_who_is_gone():
    door = Sliced()
    one, two = door.connect(), door.connect()
    begin(door, one, [b"HSET", b"k", *PAIRS])
    assert door.waits
    one.session.close()
    door.finish()
    assert two.ask("HLEN", "k") == b":1600\r\n"
    assert [it.record_count for it in door.log.batches] == [1601]


def test_a_transaction_is_done_whole_for_who_is_gone():
    door = Sliced()
    one, two = door.connect(), door.connect()
    one.send(request("MULTI") + request("SADD", "k", *MEMBERS) + request("SUBSCRIBE", "c"))
    one.send(request("SET", "a", "1"))
    begin(door, one, [b"EXEC"])
    assert door.waits
    one.session.close()
    door.finish()
    assert two.ask("MGET", "a", "b") == b"*2\r\n$1\r\n1\r\n$-1\r\n"
    assert two.ask("SCARD", "k") == b":1600\r\n"
    assert two.ask("PUBLISH", "c", "x") == b":0\r\n"
    assert len(door.log.batches) == 1


def test_what_rules_were_asked_about_meanwhile_waits_for_others():
    """It was an error: two had it for themselves."""
    door = Sliced(users=[user("default", redis="on nopass ~k* +@all")])
    one, two = door.connect(), door.connect()
    begin(door, one, [b"MSET", *[word for member in MEMBERS for word in (b"k" + member, b"1")]])
    begin(door, two, [b"HSET", b"kh", *PAIRS])
    door.finish()
    assert one.wait(0) == b"+OK\r\n"
    assert two.wait(0) == b":1600\r\n"


def test_what_is_due_goes_once_nobody_is_at_it():
    door = Sliced()
    one, two = door.connect(), door.connect()
    begin(door, one, [b"SADD", b"k", *MEMBERS])
    door.finish()
    one.send(request("PEXPIRE", "k", "10"))
    door.sync()
    one.new()
    begin(door, one, [b"SADD", b"k", *[b"n" + it for it in MEMBERS]])
    door.wall_ms += 11
    door.keys.tick()
    assert len(door.keys.databases[0].values[b"k"]) > COUNT
    door.finish()
    assert one.wait(0) == b":1600\r\n"
    assert two.ask("EXISTS", "k") == b":0\r\n"
    assert len(door.keys.databases[0].gone) <= 1


def test_a_script_about_many_keys_is_done_in_parts_and_whole():
    door = Sliced()
    one, two = door.connect(), door.connect()
    begin(door, one, [b"MSET", *[word for it in MEMBERS for word in (b"it:" + it, b"x")]])
    door.finish()
    assert one.wait(0) == b"+OK\r\n"
    text = b"for i, name in ipairs(redis.call('KEYS', 'it:*')) do redis.call('DEL', name); end"
    begin(door, one, [b"EVAL", text, b"0"])
    assert door.waits
    assert two.ask("DBSIZE") == b""
    while door.go_on():
        door.end_turn()
        assert two.send(b"") == b""
        assert len(door.log.batches) == 1
    door.finish()
    assert two.wait(0) == b":0\r\n"
    assert one.wait(0) == b"$-1\r\n"
    assert len(door.log.batches) == 2


def test_more_than_there_is_memory_for_is_not_drawn():
    door = Sliced()
    one = door.connect()
    one.ask("SADD", "s", "x")
    door.sync()
    one.new()
    assert one.ask("SRANDMEMBER", "s", "-2000000").startswith(b"-ERR value is out of range")
    assert one.ask("SRANDMEMBER", "s", "-3") == b"*3\r\n" + b"$1\r\nx\r\n" * 3
    door.door.budget = SimpleNamespace(request_bytes_max=1000)
    begin(door, one, [b"SRANDMEMBER", b"s", b"-100000"])
    door.finish()
    assert "a reply of over" in one.link.cut_for


def test_a_client_waits_for_so_many_keys_and_no_more():
    door = Sliced()
    one, two = door.connect(), door.connect()
    begin(door, one, [b"BLPOP", *[b"k%d" % it for it in range(6000)], b"0"])
    door.finish()
    assert one.wait(0).startswith(b"-ERR all keys are empty, and at most 5000 keys")
    two.ask("RPUSH", "k5999", "x")
    door.sync()
    begin(door, one, [b"BLPOP", *[b"k%d" % it for it in range(6000)], b"0"])
    door.finish()
    assert one.wait(0) == b"*2\r\n$5\r\nk5999\r\n$1\r\nx\r\n"
