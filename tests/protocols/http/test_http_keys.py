"""Redis's keys, by HTTP."""

import json
from types import SimpleNamespace

import pytest
from heard_audit import Heard
from http_kit import HttpPeer, answers, request
from http_topics import check
from keys_kit import ApartDoor, KeysDoor
from redis_parts import request as command

from logstore.access.access import Access, Unkept
from logstore.access.identity import Identity
from logstore.kept.users import KeptAccess, KeptRule, KeptUser

OK = b"+OK\r\n"


@pytest.fixture
def door():
    """With a key of each kind in database 0."""
    found = KeysDoor()
    one = found.connect()
    for words in (
        ["SET", "a", "x" * 200], ["SET", b"\xff", b"\xfe", "PX", "9000"], ["RPUSH", "l", "1", "2"],
        ["HSET", "h", "f", "1", "g", "2", "i", "3", "j", "4"], ["SADD", "s", "m"],
        ["ZADD", "z", "1.5", "n"],
    ):  # fmt: skip
        one.ask(*words)
        found.sync()
    return found


def peer_of(door, **given):
    keys_of = SimpleNamespace(opened=door.keys)
    return HttpPeer(keys_of=keys_of, channels=door.channels, audit=Heard(), **given)


def say(peer, method, path, *headers):
    return peer.say(request(method, f"/api/v1/keys{path}", b"", "x-logstore: 1", *headers))


def of(got, method="GET", path="/0"):
    [(status, _, body)] = answers(got)
    if status == 200:
        check(method, f"keys{path}".partition("?")[0], body)
    return status, json.loads(body)


def asked(peer, method, path, *headers):
    return of(say(peer, method, path, *headers), method, path)


def test_each_kind_is_shown_in_part(door):
    peer = peer_of(door)
    status, found = asked(peer, "GET", "/0")
    assert status == 200
    items = {it.pop("key"): it for it in found["items"]}
    assert (found["cursor"], found["looked_at"], found["keys"]) == (None, 6, 6)
    assert items["a"] == {
        "type": "string", "expires_ms": None, "bytes": 200, "elements": None,
        "value": {"text": "x" * 100},
    }  # fmt: skip
    assert items["\udcff"]["expires_ms"] == door.wall_ms + 9000
    assert items["\udcff"]["value"] == {"base64": "/g=="}
    values = {key: (it["type"], it["elements"], it["value"]) for key, it in items.items()}
    text = lambda *words: [{"text": it} for it in words]  # noqa: E731
    assert values["l"] == ("list", 2, [text("1"), text("2")])
    assert values["h"] == ("hash", 4, [text("f", "1"), text("g", "2"), text("i", "3")])
    assert values["s"] == ("set", 1, [text("m")])
    assert values["z"] == ("zset", 1, [text("n", "1.5")])
    assert len(asked(peer, "GET", "/0/h")[1]["value"]) == 4
    assert asked(peer, "GET", "/0/a")[1]["value"] == {"text": "x" * 200}
    assert asked(peer, "GET", "/0/%FF")[1]["key"] == "\udcff"


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(("method", "path"), [("GET", "/0"), ("GET", "/0/a"), ("DELETE", "/0/a")])
def test_who_may_have_been_taken_over_answers_nothing_before_that_is_known(method, path, lost):
    """A node that was frozen would show what another has changed since."""
    door = ApartDoor()
    log = door.own(0)
    door.connect().ask("SET", "a", "1")
    door.sync(log)
    door.standing.sure = False
    peer = peer_of(door)
    assert say(peer, method, path) == b""
    if lost:
        door.lose(0)
        assert of(peer.out())[0] == 503
        return
    door.standing.become_sure()
    door.sync(log)
    assert of(peer.out(), method, path)[0] == 200


def test_a_request_that_ends_before_that_is_known_is_forgotten():
    door = ApartDoor()
    door.own(0)
    door.standing.sure = False
    for _ in range(2):
        peer = peer_of(door)
        assert say(peer, "GET", "/0/a") == b""
        peer.session.close()
    assert not any(door.keys._doubting.values())


def test_a_part_at_a_time_by_pattern_and_kind(door):
    peer = peer_of(door)
    found, cursor = [], ""
    while cursor is not None:
        given = asked(peer, "GET", f"/0?count=1&cursor={cursor}")[1]
        found += [it["key"] for it in given["items"]]
        cursor = given["cursor"]
    assert sorted(found) == ["a", "h", "l", "s", "z", "\udcff"]
    assert [it["key"] for it in asked(peer, "GET", "/0?pattern=[a-h]")[1]["items"]] == ["h", "a"]
    assert [it["key"] for it in asked(peer, "GET", "/0?type=set")[1]["items"]] == ["s"]
    assert asked(peer, "GET", "/1")[1] == {"items": [], "cursor": None, "looked_at": 0, "keys": 0}
    for query in ("type=stream", "cursor=x", "cursor=-1", "count=0", "count=501", "pattern=["):
        status, body = asked(peer, "GET", f"/0?{query}")
        assert (status == 400) == (query != "pattern=["), body  # to Redis that is a pattern
    for path in ("/16", "/x", "/-1", "/16/a", "/0/none"):
        assert asked(peer, "GET", path)[0] == 404


def test_what_has_expired_is_not_shown_and_nothing_is_counted(door):
    door.wall_ms += 10_000
    peer = peer_of(door)
    assert "\udcff" not in [it["key"] for it in asked(peer, "GET", "/0")[1]["items"]]
    assert asked(peer, "GET", "/0/%FF")[0] == 404
    space = door.keys.databases[0]
    assert (space.hits, space.misses, space.expired) == (0, 0, 0)


def test_what_is_not_safe_is_shown_to_nobody(door):
    one, peer = door.connect(), peer_of(door)
    one.send(command("SET", "a", "new"))
    got = say(peer, "GET", "/0/a")
    assert got == b""
    other = peer_of(door)
    assert asked(other, "GET", "/0/l")[0] == 200
    listed = say(other, "GET", "/0")
    assert listed == b""
    door.sync()
    assert of(peer.out(), path="/0/a")[1]["value"] == {"text": "new"}
    assert of(other.out())[0] == 200


def test_a_key_is_deleted_once_that_is_on_disk_and_that_is_audited(door):
    peer, one = peer_of(door), door.connect()
    one.send(command("WATCH", "h") + command("MULTI"))
    got = say(peer, "DELETE", "/0/h")
    assert got == b""
    assert "h" not in [it[2] for it in peer.door.audit]
    door.sync()
    status, found = of(peer.out(), "DELETE", "/0/h")
    assert (status, found["type"], found["value"]) == (200, "hash", None)
    assert [(it[0], it[2]) for it in peer.door.audit] == [("keys", "deleted: h of 0")]
    assert asked(peer, "DELETE", "/0/h")[0] == 404
    assert one.ask("EXEC").endswith(b"*-1\r\n")
    door.log.full = True
    status, found = asked(peer, "DELETE", "/0/a")
    assert (status, found["error"]) == (503, "it can't be written: no space left on device")
    assert asked(peer, "GET", "/0/a")[0] == 200
    assert len(peer.door.audit) == 1


def test_a_transaction_under_way_is_waited_for(door):
    peer = peer_of(door)
    assert door.keys.take(door)
    door.keys.databases[0].put(b"a", b"half")
    assert say(peer, "GET", "/0/a") == b""
    door.keys.databases[0].put(b"a", b"whole")
    door.keys.let_go(door)
    door.sync()
    assert of(peer.out(), path="/0/a")[1]["value"] == {"text": "whole"}


def test_it_is_said_why_there_are_none(door):
    door.keys.damage = "the keys of database 0 can't be read: x"
    assert asked(peer_of(door), "GET", "/0/a") == (503, {"error": door.keys.damage})
    nobody = HttpPeer(keys_of=SimpleNamespace(opened=None))
    assert asked(nobody, "GET", "/0")[1]["items"] == []
    assert asked(nobody, "GET", "/0/a")[0] == 404
    assert asked(nobody, "DELETE", "/0/a")[0] == 404


def test_one_sees_and_does_what_the_rules_say(door):
    rules = [("read", "a"), ("describe", "h"), ("write", "l"), ("describe", "l")]
    kept = KeptAccess(
        [KeptUser("ana", tags=("management",))],
        [KeptRule("ana", operation, "key", name) for operation, name in rules],
    )
    peer = peer_of(
        door, who=Identity("ana", "192.0.2.1", "PLAIN", "http"), access=Access(Unkept(kept))
    )
    items = asked(peer, "GET", "/0")[1]["items"]
    shown = {it["key"]: it["value"] is not None for it in items}
    assert {key: shown.get(key) for key in "ahlsz"} == {
        "a": True, "h": False, "l": False, "s": None, "z": None,
    }  # fmt: skip
    status = {
        (method, key): asked(peer, method, f"/0/{key}")[0]
        for method, key in (("GET", "a"), ("GET", "h"), ("DELETE", "a"), ("GET", "s"))
    }
    assert list(status.values()) == [200, 403, 403, 403]
    assert say(peer, "DELETE", "/0/l") == b""
    door.sync()
    assert of(peer.out(), "DELETE", "/0/l")[0] == 200
