"""Scripts that are known by what they say, and all others."""

from hashlib import sha1

import pytest
from counted_turns import Thread
from resp_kit import FakeDoor, boss, user

from bench.largest import POP_DUE, PUT_BACK
from logstore.protocols.resp.scripts.known import KNOWN
from logstore.protocols.resp.scripts.loaded import LOADED_MAX, Loaded
from logstore.protocols.resp.scripts.program import TEXT_BYTES_MAX, canonical
from logstore.protocols.resp.scripts.values import Failed, Status, parsed, replied
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Slices

RELEASE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) "
    "else return 0 end"
)
SAME_PROGRAM = [
    RELEASE,
    'if redis.call("GET",KEYS[1])==ARGV[1] then\n  return redis.call("Del",KEYS[1])\nelse'
    "\n  return 0\nend",
    "-- take it\n" + RELEASE.replace(" else", "; --[[ or\nnot ]] else") + ";",
]
OTHERS = [
    RELEASE.replace("return 0", "return 1"), RELEASE.replace("KEYS[1]", "KEYS[2]"),
    RELEASE + " return 1", RELEASE.replace("'get'", "'gett'"), "return 1", "", "return 'x",
    RELEASE.replace("redis.call('del'", "redis.Call('del'"), "\xff\x00", "x" * TEXT_BYTES_MAX,
]  # fmt: skip
UNKNOWN = b"-ERR this server runs no Lua; it knows the scripts of aiocache, aioredlock, "


def sha_of(text):
    return sha1(text.encode()).hexdigest()


@pytest.mark.parametrize("text", SAME_PROGRAM)
def test_a_program_is_the_same_however_it_is_laid_out(text):
    peer = FakeDoor().connect()
    peer.ask("SET", "lock", "me")
    assert peer.ask("EVAL", text, "1", "lock", "you") == b":0\r\n"
    assert peer.ask("EVALSHA", sha_of(text).upper(), "1", "lock", "me") == b":1\r\n"
    assert peer.ask("EXISTS", "lock") == b":0\r\n"


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_not_known_is_told_so_and_not_done(text):
    peer = FakeDoor().connect()
    peer.ask("SET", "lock", "me")
    assert peer.ask("EVAL", text, "1", "lock", "me").startswith(UNKNOWN)
    assert b", fastapi-cache, " in peer.ask("SCRIPT", "LOAD", text)
    no_script = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    assert peer.ask("EVALSHA", sha_of(text), "1", "lock", "me") == no_script
    assert peer.ask("EXISTS", "lock") == b":1\r\n"


def test_strings_that_are_no_commands_differ_by_their_letters():
    assert canonical(b"return 'A'") != canonical(b"return 'a'")
    assert canonical(b"redis.call('GET', 'A')") == b'redis . call ( "get" , "A" )'
    assert canonical(b'redis.call("SET", k, v, "PX", 1)') == canonical(
        b"redis.call('set',k,v,'px',1)"
    )
    assert canonical(b"a .. b") != canonical(b"a . b")
    assert canonical(b"it's") is None


def test_scripts_are_known_by_their_sha_until_they_are_forgotten():
    peer = FakeDoor().connect()
    sha = sha_of(RELEASE)
    assert peer.ask("SCRIPT", "EXISTS", sha, "x") == b"*2\r\n:0\r\n:0\r\n"
    assert peer.ask("SCRIPT", "LOAD", RELEASE) == b"$40\r\n%b\r\n" % sha.encode()
    assert peer.ask("SCRIPT", "EXISTS", sha.upper(), "x") == b"*2\r\n:1\r\n:0\r\n"
    assert peer.ask("SCRIPT", "FLUSH", "x").startswith(b"-ERR SCRIPT FLUSH only support")
    assert peer.ask("SCRIPT", "FLUSH", "async") == b"+OK\r\n"
    assert peer.ask("EVALSHA", sha, "0").startswith(b"-NOSCRIPT")
    assert peer.ask("SCRIPT", "KILL").startswith(b"-NOTBUSY")


def test_so_many_are_known_by_their_sha():
    loaded = Loaded()
    first, _ = loaded.load(RELEASE.encode())
    for number in range(LOADED_MAX):
        loaded.load(RELEASE.encode() + b" -- %d" % number)
        if number == 10:
            loaded.find(first)
    assert len(loaded) == LOADED_MAX
    assert first in loaded
    assert Loaded().find(first) is None


@pytest.mark.parametrize(
    ("count", "error"),
    [("2", b"-ERR Number of keys can't be greater than number of args"),
     ("-1", b"-ERR Number of keys can't be negative"),
     ("x", b"-ERR value is not an integer or out of range")],
)  # fmt: skip
def test_how_many_keys_there_can_not_be(count, error):
    peer = FakeDoor().connect()
    assert peer.ask("EVAL", RELEASE, count, "k").startswith(error)
    assert peer.ask("EVALSHA", sha_of(RELEASE), count, "k").startswith(error)


def test_an_error_within_is_the_scripts():
    peer = FakeDoor().connect()
    peer.ask("RPUSH", "lock", "x")
    wrong = peer.ask("EVAL", RELEASE, "1", "lock", "me")
    assert wrong.startswith(b"-WRONGTYPE Operation against a key holding the wrong kind of value")
    assert sha_of(RELEASE).encode() in wrong
    assert peer.ask("EVAL", RELEASE, "0").startswith(b"-ERR ")


def test_a_script_that_only_reads_writes_nothing():
    peer = FakeDoor().connect()
    peer.ask("SET", "lock", "me")
    assert peer.ask("EVAL_RO", RELEASE, "1", "lock", "you") == b":0\r\n"
    assert peer.ask("EVAL_RO", RELEASE, "1", "lock", "me").startswith(b"-ERR Write commands")
    assert peer.ask("EVALSHA_RO", sha_of(RELEASE), "1", "lock", "me").startswith(b"-ERR Write")


def test_in_a_transaction_and_in_resp_3_it_is_as_elsewhere():
    peer = FakeDoor().connect()
    peer.ask("HELLO", "3")
    peer.ask("SET", "lock", "me")
    peer.ask("MULTI")
    peer.ask("EVAL", RELEASE, "1", "lock", "me")
    peer.ask("GET", "lock")
    assert peer.ask("EXEC") == b"*2\r\n:1\r\n_\r\n"


def test_its_keys_and_commands_are_asked_about():
    rules = "on ~mine:* -@all +eval +get +set +del"
    door = FakeDoor(users=[boss(), user("al", "pw", redis=rules),
                           user("bo", "pw", redis="on ~* +@all -del")])  # fmt: skip
    al, bo = door.log_in("al", "pw"), door.log_in("bo", "pw")
    assert al.ask("EVAL", RELEASE, "1", "other", "x").startswith(b"-NOPERM")
    al.ask("SET", "mine:1", "x")
    assert al.ask("EVAL", RELEASE, "1", "mine:1", "x") == b":1\r\n"
    bo.ask("SET", "k", "x")
    assert bo.ask("EVAL", RELEASE, "1", "k", "x").startswith(b"-NOPERM")
    assert bo.ask("GET", "k") == b"$1\r\nx\r\n"


def test_fastapi_cache_clears_a_namespace_that_stands_in_its_text():
    door = FakeDoor()
    peer = door.connect()
    for number in range(300):
        peer.ask("SET", f"it:{number}", "x")
    peer.ask("SET", "other", "x")
    text = "for i, name in ipairs(redis.call('KEYS', 'it:*')) do redis.call('DEL', name); end"
    peer.ask("EVAL", text, "0")
    assert peer.wait(0) in (b"", b"$-1\r\n")
    assert set(door.keys.databases[0].values) == {b"other"}
    assert peer.ask("EVAL", text.replace("it:*", "*"), "0").startswith(UNKNOWN)


@pytest.mark.parametrize(
    "found", ["'zrangebyscore', key, '-inf', now, 'limit', 0, 1",
              "'zrange', key, '-inf', now, 'byscore', 'limit', 0, 1"],
)  # fmt: skip
def test_sidekiq_takes_one_job_after_another_that_is_due(found):
    peer = FakeDoor().connect()
    text = (
        f"local key, now = KEYS[1], ARGV[1] local jobs = redis.call({found}) "
        "if jobs[1] then redis.call('zrem', key, jobs[1]) return jobs[1] end"
    )
    peer.ask("ZADD", "schedule", "1.5", "one", "2.5", "two", "3.5", "later")
    taken = [peer.ask("EVAL", text, "1", "schedule", "3.25") for _ in range(3)]
    assert taken == [b"$3\r\none\r\n", b"$3\r\ntwo\r\n", b"$-1\r\n"]
    assert peer.ask("ZCARD", "schedule") == b":1\r\n"


def test_a_window_takes_no_more_entries_at_once_than_a_limit_may_be():
    """It asked for as much memory as the client liked."""
    program = "b0d6acd4e2ec85febfb80df7d9ec93b3b31c1fce"
    [known] = [it for it in KNOWN if program in it.programs]
    called = []

    def call(name, *words):
        called.append((name, len(words)))
        return False

    with pytest.raises(Failed, match="more than 10000 entries at once"):
        known.run(call, [b"k"], [b"1", b"1000000000", b"1", b"1000000000"])
    assert known.run(call, [b"k"], [b"1", b"1000", b"1", b"1000"]) is True
    assert called == [("lindex", 2), ("lindex", 2), ("lpush", 1001), ("ltrim", 3), ("expire", 2)]


def test_values_of_scripts_are_replied_by_redis_s_rules():
    shown = {
        b":1\r\n": True, b"$-1\r\n": False, b":3\r\n": 3.99, b"$1\r\nx\r\n": b"x",
        b"+OK\r\n": Status(b"OK"), b"*2\r\n:1\r\n$-1\r\n": [1, False],
        b"*1\r\n:1\r\n": [1, None, 2],
    }  # fmt: skip
    for reply, value in shown.items():
        assert replied(value, 2) == reply
    assert replied(None, 3) == b"_\r\n"
    assert parsed(b"*3\r\n:1\r\n$-1\r\n*1\r\n+x\r\n") == ([1, False, [b"x"]], 21)
    with pytest.raises(Failed):
        parsed(b"-ERR x\r\n")


def test_each_known_program_is_one():
    programs = [program for it in KNOWN for program in it.programs]
    assert len(set(programs)) == len(programs)
    with pytest.raises(Wrong):
        Loaded().load(b"return redis.call('flushall')")


SCORED = 5000  # more than are gone through in one go


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("text", [POP_DUE, PUT_BACK])
def test_scripts_about_many_elements_are_done_some_in_a_turn(monkeypatch, text, version):
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    thread, door = Thread(), FakeDoor()
    door.door.slices = Slices(thread.soon)
    peer = door.connect()
    peer.ask("HELLO", version)
    members = [b"%04x" % it for it in range(SCORED)]
    peer.ask("ZADD", "z", *(word for it in members for word in (b"1", it)))
    while thread.go_on():
        peer.send(b"")
    peer.new()
    thread.most = thread.calls = 0
    words = ["1", "z", "1"] if text is POP_DUE else ["0", "d", "z"]
    found = thread.turn(lambda: peer.ask("EVAL", text, *words))
    while thread.go_on():
        found += peer.send(b"")
    if text is POP_DUE:
        assert found == replied(members, 2)
    else:
        assert found == replied(None, version)
        assert peer.ask("ZCARD", "d") == b":%d\r\n" % SCORED
    assert peer.ask("EXISTS", "z") == b":0\r\n"
    assert thread.most < thread.calls / 2
