"""A real redis-server and ours, and who wants to know of changes: transactions that watch keys,
clients that wait for something, subscribers of notifications, clients that keep copies."""

import os
import random

import pytest
from collection_commands import KEYS, WITHOUT_ORDER, any_command
from redis_parts import RealRedis, needs_redis
from resp_same import Asker, in_order
from serving import Serving

pytestmark = needs_redis

STRING_COMMANDS = [
    [b"SET"], [b"SET", b"EX", b"100"], [b"SET", b"KEEPTTL"], [b"SET", b"NX"], [b"GETDEL"],
    [b"GETSET"], [b"INCR"], [b"DECRBY", b"3"], [b"INCRBYFLOAT", b"1.5"], [b"APPEND", b"x"],
    [b"SETRANGE", b"2", b"x"], [b"EXPIRE", b"100"], [b"PERSIST"], [b"EXPIRE", b"-1"], [b"DEL"],
    [b"UNLINK"], [b"GETEX", b"EX", b"50"], [b"GETEX", b"PERSIST"], [b"SETNX", b"v"],
    [b"SETEX", b"100", b"v"], [b"PSETEX", b"100000", b"v"], [b"MSET", b"v"], [b"MSETNX", b"v"],
    [b"GET"], [b"TTL"], [b"EXISTS"],
]  # fmt: skip


def string_command(chance):
    name, *more = chance.choice(STRING_COMMANDS)
    value = [b"%d" % chance.randint(0, 9)] if name in (b"SET", b"GETSET") else []
    if chance.random() < 0.1:
        return [chance.choice([b"RENAME", b"COPY"]), chance.choice(KEYS), chance.choice(KEYS)]
    return [name, chance.choice(KEYS), *value, *more]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    real, ours = RealRedis(folder), Serving(folder / "data")
    yield real, ours
    real.stop()
    code, errors = ours.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def clients(both):
    """Makes clients of both servers, which are told the same."""
    made = []

    def make(version=2):
        made.append(Twins(both, version))
        return made[-1]

    make().ask(b"FLUSHALL")
    yield make
    for twins in made:
        twins.close()


class Twins:
    """One client of each server."""

    def __init__(self, both, version=2):
        self.both = [Asker(server, version) for server in both]
        self.numbers = [asker.ask(b"CLIENT", b"ID")[1:-2] for asker in self.both]

    def send(self, *words):
        for asker in self.both:
            asker.send(*words)

    def reply(self, words=(b"",)):
        real, ours = (in_order(words, asker.reply(), WITHOUT_ORDER) for asker in self.both)
        assert ours == real, words
        return ours

    def ask(self, *words):
        self.send(*words)
        return self.reply(words)

    def unblock(self, other, *more):
        for asker, number in zip(self.both, other.numbers, strict=True):
            asker.send(b"CLIENT", b"UNBLOCK", number, *more)
        return self.reply()

    def waits_in(self, other):
        """Ask until the other one is seen to be blocked: that comes soon."""
        for asker, number in zip(self.both, other.numbers, strict=True):
            while b"flags=b" not in asker.ask(b"CLIENT", b"LIST", b"ID", number):
                pass

    def close(self):
        for asker in self.both:
            asker.close()


@pytest.mark.parametrize("round_", range(3))
def test_transactions_are_given_up_for_the_same_reasons(clients, round_):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    all_of_them = [clients() for _ in range(3)]
    for _ in range(300):
        twins = chance.choice(all_of_them)
        twins.ask(*chance.choice([
            [b"WATCH", *[chance.choice(KEYS) for _ in range(2)]], [b"WATCH", chance.choice(KEYS)],
            [b"MULTI"], [b"MULTI"], [b"EXEC"], [b"EXEC"], [b"EXEC"], [b"UNWATCH"], [b"DISCARD"],
            string_command(chance), string_command(chance), any_command(chance), [b"nope"],
            [b"SELECT", chance.choice([b"0", b"0", b"1"])], [b"RESET"],
            [b"SWAPDB", b"0", b"1"], [b"MOVE", chance.choice(KEYS), chance.choice([b"0", b"1"])],
            [b"COPY", chance.choice(KEYS), chance.choice(KEYS), b"DB", b"1", b"REPLACE"],
            [chance.choice([b"FLUSHDB", b"PING"])], [b"PEXPIRE", chance.choice(KEYS), b"-1"],
        ]))  # fmt: skip


def test_databases_that_are_swapped_and_keys_that_are_moved(clients):
    one, two, giver, told = clients(), clients(), clients(), clients()
    one.ask(b"CONFIG", b"SET", b"notify-keyspace-events", b"KEAn")
    told.ask(b"PSUBSCRIBE", b"__key*")
    giver.ask(b"SELECT", b"1")
    giver.ask(b"SET", b"s", b"1", b"PX", b"100000")
    giver.ask(b"RPUSH", b"moved", b"x", b"y")
    for words in ([b"moved", b"0"], [b"moved", b"0"], [b"s", b"0"], [b"none", b"0"], [b"s", b"1"]):
        giver.ask(b"MOVE", *words)
    giver.ask(b"PUBLISH", b"__keys", b"end")
    heard = [told.reply()]
    while heard[-1][1][-1] != b"$3\r\nend\r\n":
        heard.append(told.reply())
    assert sum(it[1][-1] == b"$9\r\nmove_from\r\n" for it in heard) == 2
    assert one.ask(b"LRANGE", b"moved", b"0", b"-1") == (b"*", [b"$1\r\nx\r\n", b"$1\r\ny\r\n"])
    assert one.ask(b"TTL", b"s") == b":100\r\n"
    one.send(b"BLPOP", b"later", b"0")
    giver.waits_in(one)
    giver.ask(b"RPUSH", b"later", b"x")
    two.ask(b"WATCH", b"s")
    giver.ask(b"SWAPDB", b"1", b"0")
    one.reply()
    two.ask(b"MULTI")
    two.ask(b"PING")
    assert two.ask(b"EXEC") == b"*-1\r\n"
    two.ask(b"DBSIZE")
    giver.ask(b"LLEN", b"moved")
    two.ask(b"MULTI")
    for words in ([b"SET", b"in 0", b"x"], [b"SWAPDB", b"0", b"1"], [b"SET", b"in 1", b"x"],
                  [b"SELECT", b"1"], [b"MOVE", b"in 0", b"0"], [b"SELECT", b"0"]):  # fmt: skip
        two.ask(*words)
    two.ask(b"EXEC")
    assert two.ask(b"EXISTS", b"in 0", b"in 1", b"moved") == b":3\r\n"
    one.ask(b"CONFIG", b"SET", b"notify-keyspace-events", b"")


def test_a_watched_key_that_expires_gives_up_the_transaction(clients):
    twins = clients()
    twins.ask(b"SET", b"k", b"v", b"PX", b"500")
    twins.ask(b"WATCH", b"k")
    twins.ask(b"MULTI")
    twins.ask(b"PING")
    for asker in twins.both:
        other = Asker(type("There", (), {"redis": asker.socket.getpeername()}))
        while other.ask(b"EXISTS", b"k") != b":0\r\n":
            pass
        other.close()
    assert twins.ask(b"EXEC") == b"*-1\r\n"
    twins.ask(b"WATCH", b"k")  # its time was over before
    twins.ask(b"MULTI")
    twins.ask(b"PING")
    assert twins.ask(b"EXEC") == (b"*", [b"+PONG\r\n"])


# What is out of range, 7.0 calls negative.
BAD_TIMEOUTS = [b"-1", b"x", b"", b"-inf", b"nan", b" 1"]


@pytest.mark.parametrize("version", [2, 3])
def test_who_waits_is_answered_alike(clients, version):
    one, two, giver = clients(version), clients(version), clients(version)

    def wait(twins, *words):
        twins.send(*words)
        giver.waits_in(twins)

    for timeout in BAD_TIMEOUTS:
        one.ask(b"BLPOP", b"a", timeout)
        one.ask(b"BZMPOP", timeout, b"1", b"z", b"MIN")
    one.ask(b"BLMOVE", b"a", b"b", b"x", b"LEFT", b"1")
    one.ask(b"BLMPOP", b"1", b"0", b"a", b"LEFT")
    one.ask(b"BLMPOP", b"1", b"1", b"a", b"LEFT", b"COUNT", b"0")
    # Several keys, the first that is there; an element each, in the order of those who wait.
    wait(one, b"BLPOP", b"a", b"b", b"0")
    wait(two, b"BRPOP", b"b", b"0")
    giver.ask(b"RPUSH", b"b", b"1", b"2", b"3")
    one.reply()
    two.reply()
    assert giver.ask(b"LRANGE", b"b", b"0", b"-1") == (b"*", [b"$1\r\n2\r\n"])
    assert one.ask(b"BLPOP", b"none", b"b", b"0")[1][1] == b"$1\r\n2\r\n"
    # From list to list to whoever waits for that.
    wait(one, b"BLMOVE", b"a", b"b", b"LEFT", b"RIGHT", b"0")
    wait(two, b"BLPOP", b"b", b"0")
    giver.ask(b"LPUSH", b"a", b"x")
    one.reply()
    two.reply()
    giver.ask(b"EXISTS", b"a", b"b")
    # What a transaction leaves is what counts, and another kind of value is nothing.
    wait(one, b"BLPOP", b"a", b"0")
    giver.ask(b"MULTI")
    giver.ask(b"RPUSH", b"a", b"x")
    giver.ask(b"DEL", b"a")
    giver.ask(b"SET", b"a", b"x")
    giver.ask(b"EXEC")
    giver.ask(b"DEL", b"a")
    giver.ask(b"ZADD", b"a", b"1", b"x")
    giver.ask(b"RPUSH", b"c", b"y")
    giver.ask(b"RENAME", b"c", b"a")
    one.reply()
    wait(one, b"BRPOPLPUSH", b"a", b"wrong", b"0")
    giver.ask(b"SET", b"wrong", b"x")
    giver.ask(b"RPUSH", b"a", b"y")
    one.reply()
    giver.ask(b"LLEN", b"a")
    giver.ask(b"DEL", b"a", b"wrong")
    one.ask(b"BLPOP", b"a", b"0.01")
    one.ask(b"BLMOVE", b"a", b"b", b"LEFT", b"LEFT", b"0.01")
    one.ask(b"BZPOPMIN", b"a", b"0.01")
    # Sorted sets.
    wait(one, b"BZPOPMIN", b"z", b"y", b"0")
    wait(two, b"BZMPOP", b"0", b"2", b"y", b"z", b"MAX", b"COUNT", b"2")
    giver.ask(b"ZADD", b"z", b"1.5", b"a", b"2", b"b", b"3", b"c")
    one.reply()
    two.reply()
    wait(one, b"BLMPOP", b"0", b"2", b"y", b"a", b"RIGHT", b"COUNT", b"2")
    giver.ask(b"RPUSH", b"a", b"1", b"2", b"3")
    one.reply()
    # In a transaction nobody waits.
    one.ask(b"MULTI")
    for words in ([b"BLPOP", b"none", b"0"], [b"BLMOVE", b"none", b"b", b"LEFT", b"LEFT", b"0"],
                  [b"BZPOPMAX", b"none", b"0"], [b"BRPOP", b"a", b"0"]):  # fmt: skip
        one.ask(*words)
    one.ask(b"EXEC")
    one.ask(b"SET", b"s", b"x")
    one.ask(b"BLPOP", b"none", b"s", b"0")
    # Waiting may be ended by others.
    for more in ((), (b"TIMEOUT",), (b"ERROR",)):
        wait(one, b"BLPOP", b"none", b"0")
        giver.unblock(one, *more)
        one.reply()
    giver.unblock(one)
    giver.ask(b"CLIENT", b"UNBLOCK", b"x")
    giver.ask(b"CLIENT", b"UNBLOCK", b"1", b"x")


@pytest.mark.parametrize("flags", [b"KEA", b"Kg$x", b"El", b"Ezt", b"KEm", b"K", b"", b"KEnh"])
def test_notifications_are_the_same(clients, flags):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    hears, does = clients(), clients()
    does.ask(b"CONFIG", b"SET", b"notify-keyspace-events", flags)
    does.ask(b"CONFIG", b"GET", b"notify-keyspace-events")
    hears.ask(b"PSUBSCRIBE", b"__key*__:*")
    for _ in range(80):
        words = chance.choice([string_command, any_command])(chance)
        if words[0] in (b"EXISTS", b"TTL", b"TYPE", b"COPY") and b"m" in flags:
            continue  # Redis counts these as reads; who reads a key has it, or misses it
        does.ask(*words)
    does.ask(b"PUBLISH", b"__keyend__:", b"")
    while hears.reply()[1][2] != b"$11\r\n__keyend__:\r\n":
        pass
    does.ask(b"CONFIG", b"SET", b"notify-keyspace-events", b"")


def test_what_is_no_flag_of_notifications(clients):
    twins = clients()
    assert b"argument 'notify-keyspace-events'" in b"".join(
        asker.ask(b"CONFIG", b"SET", b"notify-keyspace-events", b"q") for asker in twins.both
    )


def told(asker):
    """The keys that the client was told of, push after push."""
    asker.ask(b"PING")
    found = [push[1][1] for push in asker.pushed if b"invalidate" in push[1][0]]
    asker.pushed.clear()
    flat = [key for keys in found for key in (keys[1] if isinstance(keys, tuple) else [keys])]
    return sorted(flat)


@pytest.mark.parametrize(
    "how", [[], [b"NOLOOP"], [b"OPTIN"], [b"OPTOUT"], [b"BCAST"], [b"BCAST", b"PREFIX", b"k1"],
            [b"BCAST", b"NOLOOP"], [b"BCAST", b"PREFIX", b"k1", b"PREFIX", b"k2"]],
)  # fmt: skip
def test_clients_that_keep_copies_are_told_of_the_same_keys(clients, how):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    keeps, does = clients(3), clients(3)
    keeps.ask(b"CLIENT", b"TRACKING", b"ON", *how)
    for _ in range(120):
        twins = chance.choice([keeps, does])
        if chance.random() < 0.1 and twins is keeps and how and how[0].startswith(b"OPT"):
            twins.ask(b"CLIENT", b"CACHING", b"YES" if how == [b"OPTIN"] else b"NO")
        if chance.random() < 0.05:
            twins.ask(b"MULTI")
            for _ in range(3):
                twins.ask(*string_command(chance))
            twins.ask(b"EXEC")
        words = chance.choice([string_command, string_command, any_command])(chance)
        if chance.random() < 0.3:
            words = [b"MGET", *[chance.choice(KEYS) for _ in range(2)]]
        twins.ask(*words)
        real, ours = map(told, keeps.both)
        assert ours == real, words
    does.ask(b"FLUSHALL")
    real, ours = map(told, keeps.both)
    assert ours == real
    keeps.ask(b"CLIENT", b"TRACKING", b"OFF")
