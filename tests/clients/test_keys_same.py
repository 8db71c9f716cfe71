"""Keys of a real redis-server and of ours, told the same random sequences: every reply is the same,
byte for byte, in RESP2 and RESP3."""

import os
import random
import re

import pytest
from redis_parts import Raw, RealRedis, needs_redis, request
from serving import Serving

pytestmark = needs_redis

STEPS = 250
KEYS = [b"a", b"b", b"c", b"", b"\x00F", b"\x00\x00x", b"k\r\n"]
NUMBERS = [
    b"0", b"1", b"-1", b"10", b"9223372036854775807", b"-9223372036854775808", b"007", b" 1", b"+1",
    b"1e3", b"x", b"", b"9223372036854775808", b"3.0", b"-0",
]  # fmt: skip
FLOATS = [
    b"0.1", b"0.2", b"-1.5", b"5.0e3", b"200", b"1e400", b"1e5000", b"1e-400", b"inf", b"-inf",
    b"nan",
    b"0x1p3", b"1.", b".5", b"", b"x", b" 1", b"1 ", b"10.500000000000000001", b"3.0e-20", b"-0",
    b"123456789012345678901234567890", b"1" * 6000,
]  # fmt: skip
TEXTS = [b"", b"x", b"hello", b"\x00\xff", b"y" * 45, b"z" * 3000, *NUMBERS, *FLOATS[:4]]
AT = [b"99999999999", b"99999999998", b"1"]
LATER = [b"100", b"1000", b"5000", b"0", b"-1", b"x", b"9223372036854775807", b"9223372036854775",
         b"99999999999"]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    real, ours = RealRedis(folder), Serving(folder / "data")
    yield real, ours
    real.stop()
    code, errors = ours.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(autouse=True)
def _none_stays_open():
    yield
    while Raw.opened:
        Raw.opened.pop().close()


def expiry(chance, past):
    """An option of SET or GETEX, its time far off or wrong: what passes meanwhile shows nowhere.

    (What SET puts with a time that has passed is counted until it is removed.)
    """
    word = chance.choice([b"EX", b"PX", b"EXAT", b"PXAT", b"ex", b"Px"])
    if word.upper() in (b"EXAT", b"PXAT"):
        return [word, chance.choice([b"99999999999999", *past, b"0", b"-5", b"x"])]
    return [word, chance.choice([b"100000", b"10000000", b"0", b"-1", b"x", LATER[6], LATER[7]])]


def options(chance, words, past=()):
    found = []
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        found += expiry(chance, past) if chance.random() < 0.4 else [chance.choice(words)]
    return found


def one(chance):
    key, other = chance.choice(KEYS), chance.choice(KEYS)
    text, number = chance.choice(TEXTS), chance.choice(NUMBERS)
    index = chance.choice([b"0", b"1", b"2", b"-1", b"-3", b"100", b"-100", b"x", NUMBERS[4]])
    conditions = [chance.choice([b"NX", b"XX", b"gt", b"LT", b"no"]) for _ in range(
        chance.choice([0, 0, 1, 1, 2]))]  # fmt: skip
    soon = b"%d" % chance.randrange(10**4, 10**8)  # no two are as near as the two servers' clocks
    many = [chance.choice(KEYS) for _ in range(chance.randint(1, 4))]
    pairs = [chance.choice([*KEYS, text]) for _ in range(chance.choice([2, 4, 4, 3]))]
    kinds = [
        [b"GET", key], [b"SET", key, text], [b"SET", key, text],
        [b"SET", key, text, *options(chance, [b"NX", b"XX", b"GET", b"KEEPTTL", b"get", b"no"])],
        [b"SET", key, text, *options(chance, [b"NX", b"XX", b"GET", b"KEEPTTL"])],
        [b"SETNX", key, text], [b"SETEX", key, chance.choice(LATER), text],
        [b"PSETEX", key, chance.choice([b"10000000", *LATER[3:7]]), text], [b"GETSET", key, text],
        [b"GETDEL", key],
        [b"GETEX", key, *options(chance, [b"PERSIST", b"persist", b"NX"], [b"1"])],
        [b"MGET", *many], [b"MSET", *pairs], [b"MSETNX", *pairs], [b"APPEND", key, text],
        [b"STRLEN", key],
        [b"GETRANGE", key, index, chance.choice([b"0", b"3", b"-1", b"-2", b"x"])],
        [b"SUBSTR", key, index, b"-1"],
        [b"SETRANGE", key, chance.choice([b"0", b"5", b"-1", b"x", b"536870912"]), text],
        [b"INCR", key], [b"DECR", key], [b"INCRBY", key, number], [b"DECRBY", key, number],
        [b"INCRBYFLOAT", key, chance.choice(FLOATS)], [b"DEL", *many], [b"UNLINK", *many],
        [b"EXISTS", *many], [b"TOUCH", *many], [b"TYPE", key], [b"RENAME", key, other],
        [b"RENAMENX", key, other], [b"COPY", key, other],
        [b"COPY", key, other, *chance.choice([[b"REPLACE"], [b"DB", b"1"], [b"DB", b"99"],
                                              [b"db", b"1", b"replace"], [b"x"]])],
        [b"EXPIRE", key, chance.choice([soon, soon, *LATER[3:]]), *conditions],
        [b"PEXPIRE", key, chance.choice([soon + b"000", *LATER[3:]]), *conditions],
        [b"EXPIREAT", key, chance.choice(AT), *conditions],
        [b"PEXPIREAT", key, chance.choice([it + b"000" for it in AT]), *conditions],
        [b"TTL", key], [b"EXPIRETIME", key], [b"PERSIST", key], [b"DBSIZE"],
        [b"OBJECT", b"REFCOUNT", b"none"], [b"OBJECT", b"FREQ", key],
        [b"OBJECT", b"IDLETIME", b"none"],
        [b"SELECT", chance.choice([b"0", b"1", b"0", b"16", b"x"])], [b"MOVE", b"none", b"1"],
        [b"SCAN", b"0", b"MATCH", b"none*", b"COUNT", b"100"], [b"KEYS", b"none*"],
        [b"SCAN", b"0", b"TYPE", b"list", b"COUNT", b"1000"],
    ]  # fmt: skip
    if chance.random() < 0.02:
        return [chance.choice([b"FLUSHDB", b"FLUSHALL"])]
    return chance.choice(kinds)


def nearly_same(words, got, expected):
    """Of times: neither was told at the very moment at which the other was."""
    if words[0] not in (b"TTL", b"EXPIRETIME"):
        return False
    found = [re.search(rb"(^|\n):(\d+)\r\n", it) for it in (got, expected)]
    return None not in found and abs(int(found[0][2]) - int(found[1][2])) <= 60


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "round_", [0, *[pytest.param(it, marks=pytest.mark.long) for it in range(1, 12)]]
)
def test_random_commands_get_the_same_replies(both, round_, version):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    sides = [Raw(server) for server in both]
    for side in sides:
        side.send(request("FLUSHALL") + request("HELLO", str(version)) + request("PING", b"began"))
        side.until(b"began\r\n")
    asked = [one(chance) for _ in range(STEPS)]
    for begin in range(0, STEPS, 25):
        some = asked[begin : begin + 25]
        mark = b"mark-%d" % begin
        for side in sides:
            side.got = b""
            side.send(b"".join(request(*words) + request("ECHO", mark + b"!") for words in some))
            side.send(request("PING", mark))
            side.until(b"\r\n" + mark + b"\r\n")
        real, ours = (side.got.split(b"%b!\r\n" % mark) for side in sides)
        for words, expected, got in zip([*some, "end"], real, ours, strict=True):
            assert got == expected or nearly_same(words, got, expected), words


def both_say(both, *requests):
    """What the two reply to each of these."""
    found = []
    for server in both:
        side = Raw(server)
        side.send(request("FLUSHALL") + b"".join(requests) + request("PING", "end-of-it"))
        found.append(side.until(b"end-of-it\r\n"))
    return found


def test_a_million_bytes_are_a_string(both):
    text = b"q" * 1_000_000
    real, ours = both_say(both, request("SET", "k", text), request("APPEND", "k", text),
                          request("GETRANGE", "k", "-3", "-1"), request("STRLEN", "k"),
                          request("GET", "k"))  # fmt: skip
    assert ours == real


def test_encodings_are_those_of_redis(both):
    texts = [b"1", b"-5", b"9223372036854775807", b"01", b"x" * 44, b"x" * 45, b"9" * 30, b""]
    asked = [request("SET", "k", it) + request("OBJECT", "ENCODING", "k") for it in texts]
    refcounts = [request("SET", "k", it) + request("OBJECT", "REFCOUNT", "k") for it in
                 (b"0", b"9999", b"10000", b"-1", b"x")]  # fmt: skip
    real, ours = both_say(both, *asked, *refcounts)
    assert ours == real


def test_all_keys_are_found_by_keys_and_scan(both):
    names = [b"key:%d" % number for number in range(500)] + [b"other", b"k[1]", b"k\n"]
    puts = b"".join(request("SET", name, "x") for name in names)
    for pattern in (b"*", b"key:1*", b"k[[]1]", b"k?", b"*[13]", b"nothing*", b"key:\\1"):
        found = []
        for server in both:
            side = Raw(server)
            side.send(request("FLUSHALL") + puts + request("PING", "ready"))
            side.until(b"ready\r\n")
            side.got = b""
            side.send(request("KEYS", pattern) + request("PING", "the-end"))
            side.until(b"the-end\r\n")
            found.append(sorted(side.got.split(b"\r\n")))
        assert found[0] == found[1], pattern
