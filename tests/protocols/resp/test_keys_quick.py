"""GET and SET, answered at once: as all others would answer them, and count them."""

import random

import pytest
from keys_kit import KeysDoor
from redis_parts import request
from resp_kit import FakeDoor, boss

from logstore.settings import KeysRule

OK = b"+OK\r\n"
NIL = b"$-1\r\n"
SEEDS = range(6)


def crowd(*commands):
    return b"".join(request(*it) for it in commands)


READS = [
    crowd(["GET", "a"]),
    crowd(["get", "none"]),
    crowd(["GET", ""]),
    crowd(["GET", "x" * 2000]),
    crowd(["GET", "e\r\nnds"]),
    crowd(["GET", "e\r\n*2\r\n$3\r\nGET\r\n$1\r\na"]),
    crowd(["GET", "list"]),
    crowd(["GET", "soon"]),
    crowd(["SET", "a", "2"]),
    crowd(["set", "", ""]),
    crowd(["SET", "list", "x"]),
    crowd(["SET", "soon", "x"]),
    crowd(["SET", "b", "e\r\nnds\r\n"]),
    crowd(["SET", "b", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"]),
    crowd(["SET", "b", "x" * 5000]),
    crowd(["SET", "a", "1", "NX"]),
    crowd(["SET", "a"]),
    crowd(["GET", "a", "b"]),
    crowd(*[["GET", it] for it in ("a", "none", "a", "e\r\nnds", "x")]),
    crowd(*[["get", it] for it in "aaaaaa"]),
    crowd(*[["GET", it] for it in ("a", "list", "a", "soon", "x")]),
    crowd(*[["SET", it, "v" + it] for it in "abcdef"]),
    crowd(*[["SET", it, "v"] for it in "abcabc"]),
    crowd(*[["SET", it, "v"] for it in ("a", "soon", "list", "b")]),
    crowd(["SET", "a", "1"], ["GET", "a"], ["SET", "a", "2"], ["GET", "a"]),
    crowd(["GET", "a"], ["PING"], ["GET", "a"]),
    crowd(["GET", "a"]) + b"*2\r\n$3\r\nGET\r\n:1\r\n",
    crowd(["GET", "a"]) + b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n",
    crowd(["GET", "a"]) + b"*2\r\n$3\r\nGET\r\n$1\r",
    crowd(["SET", "a", "1"])[:-3],
    crowd(["SET", "key", "x"])[:25],
    b"*2\r\n$3\r\nGET\r\n$",
    b"*2\r\n$3\r\nGET\r\n$2\r\na\r\n",
    b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nx\r\n",
    b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n",
    b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n",
]


def sides(**given):
    """Two of the same: to one requests are given as sockets do, the other takes the long way."""
    for prompted in (True, False):
        door = FakeDoor(**given)
        one = door.connect()
        one.ask("RPUSH", "list", "x")
        one.ask("SET", "a", "1")
        one.ask("SET", "soon", "1", "EX", "1000")
        one.prompted = prompted
        yield door, one


def state(door):
    """All that is known of what was done."""
    space, counts = door.keys.databases[0], door.door.counts
    calls = {name: count for name, count in counts.calls.items() if count}
    values = {key: value for key, value in space.values.items() if type(value) is bytes}
    keys = [key for part in space.order.parts() for key in part]
    return (
        values, keys, dict(space.deadlines), space.contents.bytes, space.hits, space.misses, calls,
        counts.commands, counts.bytes_in, counts.errors,
    )  # fmt: skip


@pytest.mark.parametrize("data", READS)
def test_what_is_answered_at_once_is_what_all_others_are_told(data):
    (quick, one), (slow, other) = sides()
    said = one.send(data), other.send(data)
    assert said[0] == said[1]
    assert state(quick) == state(slow)
    rest = crowd(["GET", "a"], ["DBSIZE"])
    assert one.send(rest) == other.send(rest)


SITUATIONS = {
    "a transaction": [["MULTI"]],
    "no replies": [["CLIENT", "REPLY", "OFF"]],
    "no next reply": [["CLIENT", "REPLY", "SKIP"]],
    "a subscriber": [["SUBSCRIBE", "c"]],
    "tracking": [["HELLO", "3"], ["CLIENT", "TRACKING", "ON"]],
    "another version": [["HELLO", "3"]],
    "another database": [["SELECT", "3"]],
    "a pause": [["CLIENT", "PAUSE", "100000"]],
    "a pause of writing": [["CLIENT", "PAUSE", "100000", "WRITE"]],
    "no room": [["CONFIG", "SET", "maxmemory", "1"]],
    "notes of when": [["CONFIG", "SET", "maxmemory", "1gb"],
                      ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]],
    "events": [["CONFIG", "SET", "notify-keyspace-events", "KEA"]],
    "what is watched": [["WATCH", "a", "none"]],
}  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(
    "data", [crowd(["GET", "a"]), crowd(["SET", "a", "2"]), crowd(*[["GET", "none"]] * 5)]
)
def test_it_is_so_in_every_situation(situation, data):
    (quick, one), (slow, other) = sides()
    for words in SITUATIONS[situation]:
        assert one.ask(*words) == other.ask(*words)
    assert one.send(data) == other.send(data)
    assert state(quick) == state(slow)


def test_it_is_so_with_rules_of_keys():
    (quick, one), (slow, other) = sides(keys_rules=(KeysRule("a*", "none"),))
    for words in (["SET", "a1", "x"], ["SET", "b1", "x"], ["GET", "a1"]):
        assert one.ask(*words) == other.ask(*words)
    assert state(quick) == state(slow)


def test_who_must_log_in_or_may_not_do_everything_is_not_answered_at_once():
    door = FakeDoor(users=[boss()])
    stranger = door.connect()
    assert stranger.session.prompt(crowd(["GET", "a"]), 1.0) is None
    assert stranger.ask("GET", "a").startswith(b"-NOAUTH")
    one = door.log_in()
    assert one.session.prompt(crowd(["GET", "a"]), 1.0) == NIL
    assert one.ask("ACL", "SETUSER", "al", "on", ">pw", "~*", "-@all", "+get") == OK
    reader = door.log_in("al", "pw")
    assert reader.session.prompt(crowd(["GET", "a"]), 1.0) is None
    assert reader.ask("GET", "a") == NIL
    assert reader.ask("SET", "a", "1").startswith(b"-NOPERM")


@pytest.mark.parametrize("keys", ["a", "bcdea"])
def test_what_is_read_or_set_is_told_when_it_is_safe_and_not_taken_before(keys):
    door = KeysDoor()
    one, two = door.connect(), door.connect()
    for it in (one, two):
        it.ask("PING")
    assert one.session.prompt(crowd(*[["SET", it, "1"] for it in keys]), 1.0) == b""
    assert two.session.prompt(crowd(["GET", "none"]), 1.0) == NIL
    assert two.session.prompt(crowd(["GET", "a"]), 1.0) == b""
    for it in (one, two):
        assert it.session.busy
        assert it.session.prompt(crowd(["GET", "none"]), 1.0) is None
        assert it.session.prompt(b"", 1.0) == b""
        assert it.send(b"") == b""
    door.end_turn()
    door.log.sync()
    door.end_turn()
    assert one.session.prompt(b"", 1.0) == OK * len(keys)
    assert two.session.prompt(b"", 1.0) == b"$1\r\n1\r\n"
    assert not one.session.busy
    assert not one.session.held_bytes


def test_no_reply_is_longer_than_what_is_sent_at_once():
    door = FakeDoor()
    one = door.connect()
    one.ask("SET", "big", "x" * 100_000)
    assert one.session.prompt(crowd(*[["GET", "big"]] * 20), 1.0) is None
    assert len(one.send(crowd(*[["GET", "big"]] * 20))) > 2_000_000


@pytest.mark.parametrize("seed", SEEDS)
def test_any_pipeline_of_both_says_and_does_the_same(seed):
    print("seed", seed)
    chance = random.Random(seed)
    (quick, one), (slow, other) = sides()
    keys = ["a", "b", "list", "soon", "", "\r\n", "*", "none", "k" * 1500, *map(str, range(20))]
    values = ["", "x", "\r\n*", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "y" * 1100, "$3\r\n"]
    for _ in range(120):
        verbs = chance.choice([["GET"], ["SET"], ["set"], ["get"], ["GET", "SET"], ["GET", "DEL"]])
        commands = []
        for _ in range(chance.choice([1, 1, 2, 5, 12])):
            verb, key = chance.choice(verbs), chance.choice(keys)
            value = [chance.choice(values)] if verb.upper() == "SET" else []
            commands.append([verb, key, *value])
        data = crowd(*commands)
        assert one.send(data) == other.send(data), data
    assert state(quick) == state(slow)
