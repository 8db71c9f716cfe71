"""A real redis-server and ours are told the same; every reply is the same, byte for byte.

Where Redis itself leaves something open (the order of patterns, of names that are all given up at
once) both are put in order first; ids and versions are left out.
"""

import os
import random
import re

import pytest
from redis_parts import Raw, RealRedis, needs_redis, request
from serving import Serving

pytestmark = needs_redis

CLIENTS = 4
STEPS = 120
NAMES = [b"c1", b"c2", b"other", b"", b"\x00\xff", b"a\r\nb"]
PATTERNS = [b"c*", b"c?", b"*", b"[c-d]1", b"[^c]*", b"\\c1", b"oth[aeiou]r", b"x", b"["]
TEXTS = [b"", b"x", b"\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x00" * 10, b"y" * 20_000]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
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


class Pair:
    """One client of both servers, told the same."""

    def __init__(self, both):
        self.both = both
        self.pasts = []
        self.connect()

    def connect(self):
        self.connections = [Raw(server) for server in self.both]

    def tell(self, data, mark):
        """Both have carried it out when this returns."""
        for connection in self.connections:
            connection.send(data + request("PING", mark))
            connection.until(mark + b"\r\n")
        assert self.connections[0].ended == self.connections[1].ended, self.connections[1].got[
            -300:
        ]
        if self.connections[0].ended:
            self.pasts.append(self.close())
            self.connect()

    def close(self):
        for connection in self.connections:
            connection.close()
        return [connection.got for connection in self.connections]


# SCAN and RANDOMKEY have other tips in 7.0 than in 7.2; OBJECT's subcommands come in no order.
KEY_COMMANDS = [
    "flushdb", "flushall", "dbsize", "keys", "exists", "type", "ttl", "pttl", "expiretime",
    "pexpiretime", "del", "unlink", "touch", "expire", "pexpire", "expireat", "pexpireat",
    "persist", "rename", "renamenx", "move", "copy", "dump", "swapdb", "watch", "unwatch", "time",
    "role",
]  # fmt: skip
ABOUT_KEYS = [
    ["FLUSHDB"], ["FLUSHALL"], ["flushdb", "async"], ["FLUSHALL", "SYNC"], ["FLUSHDB", "x"],
    ["FLUSHALL", "SYNC", "x"], ["DBSIZE"], ["DBSIZE", "x"], ["KEYS", "*"], ["KEYS"], ["KEYS", "["],
    ["SCAN", "0"], ["SCAN", "x"], ["SCAN", ""], ["SCAN", "-1"], ["SCAN", " 1"], ["SCAN", "1 "],
    ["SCAN", "9" * 20], ["SCAN", "0", "MATCH", "a*", "COUNT", "10"], ["SCAN", "0", "COUNT", "0"],
    ["SCAN", "0", "COUNT", "x"], ["SCAN", "0", "TYPE", "string"], ["SCAN", "0", "MATCH"],
    ["SCAN", "0", "x", "y"], ["SCAN"], ["EXISTS", "a"], ["EXISTS", "a", "b", "a"], ["EXISTS"],
    ["TYPE", "a"], ["TYPE", "a", "b"], ["TTL", "a"], ["PTTL", b"\x00"], ["EXPIRETIME", "a"],
    ["PEXPIRETIME", "a"], ["DEL", "a"], ["DEL", "a", "b"], ["DEL"], ["UNLINK", "a", "b"],
    ["TOUCH", "a"], ["RANDOMKEY"], ["PERSIST", "a"], ["RENAME", "a", "b"], ["RENAMENX", "a", "a"],
    ["EXPIRE", "a", "1"], ["EXPIRE", "a", "x"], ["EXPIRE", "a", "1", "NX"], ["EXPIRE", "a"],
    ["EXPIRE", "a", "1", "NX", "gt"], ["EXPIRE", "a", "1", "GT", "LT"], ["EXPIRE", "a", "1", "no"],
    ["EXPIRE", "a", str(2**63 - 1)], ["EXPIRE", "a", str(-(2**63))], ["PEXPIRE", "a", "-1"],
    ["PEXPIRE", "a", str(2**63 - 1)], ["EXPIREAT", "a", "1"], ["PEXPIREAT", "a", str(2**63 - 1)],
    ["PEXPIREAT", "a", str(-(2**63))], ["MOVE", "a", "1"], ["MOVE", "a", "0"], ["MOVE", "a", "16"],
    ["MOVE", "a", "x"], ["COPY", "a", "b"], ["COPY", "a", "a"], ["COPY", "a", "a", "DB", "3"],
    ["COPY", "a", "b", "DB", "99"], ["COPY", "a", "b", "DB", "x"], ["COPY", "a", "b", "REPLACE"],
    ["COPY", "a", "b", "DB"], ["COPY", "a", "b", "x"], ["SWAPDB", "0", "1"], ["SWAPDB", "x", "1"],
    ["SWAPDB", "1", "x"], ["SWAPDB", "0", "99"], ["DUMP", "a"], ["OBJECT", "ENCODING", "a"],
    ["OBJECT", "FREQ", "a"], ["OBJECT", "idletime", "a"], ["OBJECT", "REFCOUNT", "a"],
    ["OBJECT", "nope", "a"], ["OBJECT", "FREQ"], ["OBJECT"], ["WATCH", "a", "b"], ["WATCH"],
    ["UNWATCH"], ["ROLE"], ["TIME", "x"],
]  # fmt: skip
TRACKING = [
    ["TRACKING", "ON"], ["TRACKING", "on"], ["TRACKING", "OFF"], ["TRACKING"], ["TRACKING", "x"],
    ["TRACKING", "ON", "BCAST"], ["TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b"],
    ["TRACKING", "ON", "BCAST", "PREFIX", "a"], ["TRACKING", "ON", "BCAST", "PREFIX", "ab"],
    ["TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "ab"], ["TRACKING", "ON", "PREFIX", "a"],
    ["TRACKING", "ON", "OPTIN"], ["TRACKING", "ON", "OPTOUT"], ["TRACKING", "ON", "NOLOOP"],
    ["TRACKING", "ON", "OPTIN", "OPTOUT"], ["TRACKING", "ON", "OPTIN", "BCAST"],
    ["TRACKING", "ON", "OPTIN", "NOLOOP"], ["TRACKING", "ON", "REDIRECT", "999999"],
    ["TRACKING", "ON", "REDIRECT", "x"], ["TRACKING", "ON", "REDIRECT"], ["TRACKING", "ON", "x"],
    ["CACHING", "YES"], ["CACHING", "NO"], ["CACHING", "x"], ["CACHING"], ["TRACKINGINFO"],
    ["TRACKINGINFO", "x"], ["GETREDIR"],
]  # fmt: skip

GIVEN_UP = re.compile(
    rb"(?:[*>]3\r\n\$1[12]\r\n[ps]?unsubscribe\r\n\$\d+\r\n[^$]*?\r\n:\d+\r\n){2,}", re.DOTALL
)
ONE_NAME = re.compile(rb"(unsubscribe\r\n)(\$\d+\r\n[^$]*?\r\n)(:\d+\r\n)", re.DOTALL)
BY_PATTERN = re.compile(
    rb"(?:[*>]4\r\n\$8\r\npmessage\r\n\$\d+\r\n[^$]*?\r\n\$\d+\r\n[^$]*?\r\n\$9\r\nm\d{8}\r\n)+",
    re.DOTALL,
)
ONE_MESSAGE = re.compile(rb"[*>]4\r\n\$8\r\npmessage\r\n.*?\$9\r\nm\d{8}\r\n", re.DOTALL)
HELLO = re.compile(rb"\$7\r\nversion\r\n\$\d\r\n[\d.]+\r\n|\$2\r\nid\r\n:\d+\r\n")


def _names_in_order(found):
    names = iter(sorted(it[2] for it in ONE_NAME.finditer(found[0])))
    return ONE_NAME.sub(lambda it: it[1] + next(names) + it[3], found[0])


def _messages_in_order(found):
    messages = ONE_MESSAGE.findall(found[0])
    payload = lambda it: it[-11:]  # noqa: E731
    return b"".join(sorted(messages, key=lambda it: (payload(it), it)))


def settled(stream):
    """Without what may differ."""
    stream = HELLO.sub(b"", stream)
    stream = GIVEN_UP.sub(_names_in_order, stream)
    return BY_PATTERN.sub(_messages_in_order, stream)


def check_same(ours, real):
    ours, real = settled(ours), settled(real)
    at = next((at for at, (a, b) in enumerate(zip(ours, real, strict=False)) if a != b), 0)
    around = slice(max(at - 300, 0), at + 200)
    assert ours == real, f"at byte {at}: ours {ours[around]!r}, Redis {real[around]!r}"


def one_of(chance):
    """A request, or several; never one that leaves the connection within a transaction."""
    name, text = chance.choice(NAMES), chance.choice(TEXTS)
    payload = b"m%08d" % chance.randrange(10**8)
    many = [chance.choice(NAMES) for _ in range(chance.randint(1, 3))]
    patterns = [chance.choice(PATTERNS) for _ in range(chance.randint(1, 2))]
    kinds = [
        lambda: request("SUBSCRIBE", *many),
        lambda: request("PSUBSCRIBE", *patterns),
        lambda: request("ssubscribe", *many),
        lambda: request("UNSUBSCRIBE", *many),
        lambda: request("PUNSUBSCRIBE", *patterns),
        lambda: request("SUNSUBSCRIBE", *many),
        lambda: request(chance.choice(["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])),
        *[lambda: request("PUBLISH", name, payload)] * 8,
        lambda: b"".join(
            request("publish", chance.choice(NAMES), b"m%08d" % number) for number in range(9)
        ),
        *[lambda: request("SPUBLISH", name, payload)] * 2,
        lambda: request("HELLO", chance.choice(["2", "3", "3", "4", "x", ""])),
        lambda: request("HELLO", "3", "SETNAME", chance.choice(["me", "a b"])),
        lambda: request("HELLO", "3", "AUTH", chance.choice(["default", "other"]), "x"),
        lambda: request(*chance.choice([["PING"], ["PiNg", text], ["PING", "a", "b"]])),
        lambda: request("ECHO", text),
        lambda: request("SELECT", chance.choice(["0", "15", "16", "-1", "x", "9" * 30])),
        lambda: request("PUBSUB", "NUMSUB", *many),
        lambda: request("PUBSUB", chance.choice(["NUMPAT", "numpat", "nope", "NUMSUB"])),
        lambda: request("PUBSUB", "SHARDNUMSUB", *many),
        lambda: request("PUBSUB", "CHANNELS", chance.choice(["c1", "\\c2", "nobody*"])),
        lambda: request("PUBSUB", "CHANNELS", "a", "b"),
        lambda: request("AUTH", *chance.choice([["x"], ["default", "x"], ["a", "b"], []])),
        lambda: request("CLIENT", *chance.choice([
            ["GETNAME"], ["SETNAME", "it"], ["SETNAME", "a b"], ["SETNAME", ""], ["nope"], [],
            ["ID", "x"], ["NO-EVICT", "ON"], ["NO-EVICT", "x"], ["REPLY", "ON"], ["REPLY", "x"],
            ["KILL", "1:1"], ["KILL", "ID", "999999"], ["KILL", "ID", "x"], ["KILL", "x", "y"],
            ["KILL", "TYPE", "x"], ["PAUSE", "x"], ["PAUSE", "0"], ["PAUSE", "-1"], ["UNPAUSE"],
            ["LIST", "TYPE", "x"], ["LIST", "ID", "x"], ["UNBLOCK", "x"], ["UNBLOCK", "1"],
        ])),
        lambda: request("CONFIG", *chance.choice([
            ["GET", "maxclients"], ["GET", "MAXCLIENTS"], ["GET", "nope"], ["GET"], ["nope"], [],
            ["SET", "nope", "1"], ["SET", "maxclients", "x"], ["SET", "maxclients", "0"],
            ["SET", "maxclients"], ["SET", "maxclients", "1", "maxclients", "2"], ["RESETSTAT"],
            ["SET", "client-output-buffer-limit", "pubsub 1 2"],
            ["SET", "client-output-buffer-limit", "nope 1 2 3"],
            ["SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60"],
            ["SET", "proto-max-bulk-len", "x"], ["SET", "databases", "3"],
        ])),
        lambda: request("COMMAND", "INFO", chance.choice([
            "publish", "spublish", "SUBSCRIBE", "ssubscribe", "punsubscribe", "hello", "ping",
            "reset", "quit", "multi", "exec", "discard", "select", "echo", "auth", "info", "nope",
            *KEY_COMMANDS, "client|tracking", "client|caching", "object|freq", "object|help",
        ])),
        *[lambda: request(*chance.choice(ABOUT_KEYS))] * 6,
        *[lambda: request("CLIENT", *chance.choice(TRACKING))] * 3,
        lambda: request("COMMAND", *chance.choice([["nope"], ["COUNT", "x"], ["LIST", "x"]])),
        lambda: request("INFO", "nope"),
        lambda: request(b"no\xffpe" + b"z" * 200, *many, b"w" * 300),
        lambda: request("nope", "it's", b"a\r\nb", ""),
        lambda: request(chance.choice(["EXEC", "DISCARD", "SUBSCRIBE", "PUBLISH", "RESET"])),
        lambda: request("RESET"),
        lambda: request("QUIT"),
        lambda: b'PUBLISH c1 "m0000\\x30001"\r\n',
        lambda: b"PING 'in line'\n\r\n   \r\n",
        lambda: b"*0\r\n*-1\r\n",
        lambda: chance.choice([
            b"*x\r\n", b"*1\r\n$x\r\n", b"*1\r\n!\r\n", b"PING 'a\r\n", b"*1\r\n$-5\r\n",
            b"*9999999999\r\n", b"PING \"a\"b\r\n", b"*2\r\n$4\r\nPING\r\n:3\r\n",
        ]),
    ]  # fmt: skip
    return chance.choice(kinds)()


def transaction(chance):
    inner = b"".join(one_of(chance) for _ in range(chance.randint(0, 4)))
    return request("MULTI") + inner + request(chance.choice(["EXEC", "EXEC", "DISCARD"]))


@pytest.mark.parametrize("round_", range(12))
def test_random_requests_get_the_same_replies(both, round_):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    pairs = [Pair(both) for _ in range(CLIENTS)]
    for step in range(STEPS):
        make = transaction if chance.random() < 0.1 else one_of
        pairs[chance.randrange(CLIENTS)].tell(make(chance), b"mark-%d-%d" % (round_, step))
    for number, pair in enumerate(pairs):
        pair.tell(b"", b"end-%d-%d" % (round_, number))
        for real, ours in [*pair.pasts, pair.close()]:
            check_same(ours, real)


SCRIPTS = {
    "replies off": [
        request("CLIENT", "REPLY", "OFF") + request("PING") + request("SUBSCRIBE", "a")
        + request("UNSUBSCRIBE", "a") + request("CLIENT", "REPLY", "ON"),
        request("CLIENT", "REPLY", "SKIP") + request("PING") + request("PING"),
        request("HELLO", "3") + request("CLIENT", "REPLY", "OFF") + request("SUBSCRIBE", "a")
        + request("PUBLISH", "a", "x") + request("CLIENT", "REPLY", "ON"),
        request("MULTI") + request("CLIENT", "REPLY", "SKIP") + request("PING") + request("EXEC")
        + request("PING") + request("PING"),
    ],
    "a transaction that subscribes": [
        request("MULTI") + request("SUBSCRIBE", "a", "b") + request("PING") + request("EXEC"),
        request("MULTI"), request("EXEC"), request("DISCARD"), request("RESET"),
        request("HELLO", "3") + request("MULTI") + request("SUBSCRIBE", "a")
        + request("PUBLISH", "a", "x") + request("UNSUBSCRIBE", "a") + request("EXEC"),
        request("MULTI") + request("HELLO", "2") + request("SUBSCRIBE", "a") + request("EXEC"),
    ],
    "a transaction that fails": [
        request("MULTI") + request("nope") + request("EXEC"),
        request("MULTI") + request("PUBLISH") + request("EXEC"),
        request("MULTI") + request("EXEC", "x") + request("EXEC"),
        request("MULTI") + request("MULTI") + request("EXEC"),
        request("MULTI") + request("CLIENT", "nope") + request("EXEC"),
        request("MULTI") + request("SELECT", "99") + request("EXEC"),
        request("MULTI") + request("RESET") + request("EXEC"),
    ],
    "it hears itself": [
        request("HELLO", "3") + request("SUBSCRIBE", "a") + request("PSUBSCRIBE", "a*"),
        request("PING") + request("PUBLISH", "a", "m00000001") + request("PING"),
        request("SSUBSCRIBE", "a") + request("SPUBLISH", "a", "x") + request("UNSUBSCRIBE", "a"),
        request("HELLO", "2") + request("PUBLISH", "a", "m00000002") + request("PING"),
    ],
    "it copies values, and the databases are flushed": [
        request("HELLO", "3") + request("CLIENT", "TRACKING", "ON") + request("FLUSHALL"),
        request("MULTI") + request("FLUSHDB") + request("PING") + request("EXEC")
        + request("PING"),
        request("CLIENT", "REPLY", "OFF") + request("FLUSHDB") + request("CLIENT", "REPLY", "ON"),
        request("CLIENT", "TRACKING", "OFF") + request("FLUSHALL") + request("PING"),
        request("CLIENT", "TRACKING", "ON", "BCAST") + request("FLUSHALL", "ASYNC")
        + request("HELLO", "2") + request("FLUSHALL") + request("PING"),
        request("RESET") + request("CLIENT", "TRACKINGINFO") + request("FLUSHALL"),
    ],
    "what is read next is copied": [
        request("CLIENT", "TRACKING", "ON", "OPTIN") + request("CLIENT", "CACHING", "YES")
        + request("CLIENT", "TRACKINGINFO") + request("CLIENT", "GETREDIR"),
        request("CLIENT", "TRACKINGINFO") + request("TTL", "a") + request("CLIENT", "TRACKINGINFO"),
        request("CLIENT", "CACHING", "YES") + request("PUBLISH", "a", "b")
        + request("CLIENT", "TRACKINGINFO"),
        request("CLIENT", "CACHING", "YES") + request("MULTI") + request("TTL", "a")
        + request("CLIENT", "TRACKINGINFO") + request("EXEC") + request("CLIENT", "TRACKINGINFO"),
    ],
    "a transaction about keys": [
        request("WATCH", "a") + request("MULTI") + request("DEL", "a") + request("TYPE", "a")
        + request("WATCH", "b") + request("EXEC"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_these_get_the_same_replies(both, name):
    pair = Pair(both)
    for number, data in enumerate(SCRIPTS[name]):
        pair.tell(data, f"mark {name} {number}".encode())
    for real, ours in [*pair.pasts, pair.close()]:
        check_same(ours, real)


def answered(connection, *words):
    """What came up to the mark that is asked for behind these words."""
    connection.got = b""
    connection.send(request(*words) + request("PING", "the mark"))
    return connection.until(b"the mark\r\n")


@pytest.mark.parametrize("version", ["2", "3"])
def test_another_connection_is_told_of_a_flush(both, version):
    """The way of a RESP2 client: a second connection listens, the first redirects to it."""
    seen = []
    for server in both:
        listener, reader, other = Raw(server), Raw(server), Raw(server)
        answered(listener, "HELLO", version)
        number = re.match(rb":(\d+)", answered(listener, "CLIENT", "ID"))[1]
        listener.send(request("SUBSCRIBE", "__redis__:invalidate"))
        answered(other, "HELLO", "3")
        told = [
            answered(listener, "SUBSCRIBE", "another"),
            answered(reader, "CLIENT", "TRACKING", "ON", "REDIRECT", number),
            answered(other, "CLIENT", "TRACKING", "ON", "REDIRECT", number),
            answered(reader, "FLUSHALL"),
            answered(listener, "PING"),
            answered(other, "FLUSHDB"),
            answered(listener, "PING"),
        ]
        listener.send(request("QUIT"))
        listener.until(b"never")
        with_its_number = [
            answered(other, "FLUSHALL"),
            answered(other, "CLIENT", "TRACKINGINFO"),
            answered(reader, "CLIENT", "TRACKINGINFO"),
        ]
        told += [it.replace(b":" + number, b":N") for it in with_its_number]
        seen.append(told)
    assert seen[1] == seen[0]


def facts_of(connection, *words):
    """INFO as sections of names and values, in order."""
    text = answered(connection, "INFO", *words).partition(b"\r\n")[2].decode()
    sections = {}
    for line in text.partition("\r\n$8\r\nthe mark")[0].split("\r\n"):
        if line.startswith("#"):
            fields = sections[line] = {}
        elif line:
            name, _, value = line.partition(":")
            fields[name] = value
    return sections


def kind_of(value):
    if re.fullmatch(r"-?\d+", value):
        return "a number"
    return "a share" if re.fullmatch(r"-?\d+\.\d+%?", value) else "a text"


@pytest.mark.parametrize(
    "words",
    [
        [], ["default"], ["all"], ["everything"], ["EVERYTHING", "server"], ["server", "clients"],
        ["keyspace", "CPU"], ["modules"], ["default", "commandstats"], ["nope", "server", "nope"],
        ["memory"], ["stats", "latencystats"], ["errorstats"], ["replication"], ["cluster"],
        ["persistence"],
    ],
)  # fmt: skip
def test_info_has_the_sections_and_fields_of_redis(both, words):
    real, ours = [facts_of(Raw(server), *words) for server in both]
    assert list(ours) == list(real)
    for section, fields in real.items():
        if section in ("# Commandstats", "# Errorstats", "# Latencystats"):
            continue  # their fields come with use
        missing = fields.keys() - ours[section].keys()
        assert not missing, section
        for name, value in fields.items():
            if not name.endswith("_id"):  # hexadecimal
                assert kind_of(ours[section][name]) == kind_of(value), name


def test_info_counts_commands_and_errors_as_redis_does(both):
    counted = []
    for server in both:
        connection = Raw(server)
        answered(connection, "CONFIG", "RESETSTAT")
        for words in [["PUBLISH", "a", "b"]] * 3 + [["TTL", "a"], ["HELLO", "9"], ["ECHO", "x"]]:
            answered(connection, *words)
        for _ in range(2):
            answered(connection, "CLIENT", "TRACKING", "x")
        facts = facts_of(connection, "commandstats", "errorstats")
        calls = {
            name: re.match(r"calls=\d+", value)[0]
            for name, value in facts["# Commandstats"].items()
            if not name.startswith("cmdstat_config")
        }
        counted.append((calls, facts["# Errorstats"]))
    assert counted[1] == counted[0]


@pytest.mark.long
def test_patterns_match_the_same_names(both):
    """What Hypothesis compares with a naive matcher, asked of Redis itself."""
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    signs = [b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"\xff", b"\x80", b"c"]
    patterns = {b"".join(chance.choices(signs, k=chance.randint(1, 7))) for _ in range(400)}
    names = {b"".join(chance.choices([*signs, b""], k=chance.randint(1, 5))) for _ in range(150)}
    listeners, publishers = [Raw(it) for it in both], [Raw(it) for it in both]
    for listener, publisher in zip(listeners, publishers, strict=True):
        listener.send(request("PSUBSCRIBE", *sorted(patterns)) + request("PING", "ready"))
        listener.until(b"ready\r\n")
        listener.got = b""
        for number, name in enumerate(sorted(names)):
            publisher.send(request("PUBLISH", name, b"m%08d" % number) + request("ECHO", "done"))
            publisher.until(b"done\r\n")
            publisher.got = publisher.got.replace(b"done", b"")
        listener.send(request("PING", "the end"))
        listener.until(b"the end\r\n")
    assert publishers[0].got == publishers[1].got
    found = [sorted(ONE_MESSAGE.findall(listener.got)) for listener in listeners]
    assert len(found[0]) > 300
    assert found[0] == found[1]
    for connection in listeners + publishers:
        connection.close()
