"""Sessions of MQTT clients, by HTTP."""

import json
from types import SimpleNamespace

import pytest
from amqp_users import Users
from heard_audit import Heard
from http_kit import HttpPeer, answers, request
from http_topics import check
from mqtt_sessions import MqttLives

from logstore.access.identity import Identity

NOBODY = SimpleNamespace(opened=None)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    lives = MqttLives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


@pytest.fixture
def node(lived):
    yield lived
    for it in list(lived.sessions.there()):
        lived.sessions.end(it)
    lived.run()


def peer_of(node, **given):
    return HttpPeer(
        mqtt_of=SimpleNamespace(opened=SimpleNamespace(sessions=node.sessions)), **given
    )


def asked(peer, method, path, node=None):
    target = f"/api/v1/mqtt/sessions{path}"
    got = peer.say(request(method, target, b"", "x-logstore: 1"))
    if node is not None:
        later = []
        node.run(until=lambda: got or later.append(peer.out()) or later[-1])
        got += b"".join(later)
    [(status, _, body)] = answers(got)
    if status == 200:
        check(method, target.partition("?")[0].removeprefix("/api/v1/"), body)
    return status, json.loads(body)


def test_without_a_client_there_are_none():
    peer = HttpPeer(mqtt_of=NOBODY)
    assert asked(peer, "GET", "")[1]["items"] == []
    assert asked(peer, "GET", "/c")[0] == 404
    assert asked(peer, "DELETE", "/c")[0] == 404


def test_each_is_shown_with_what_waits_for_it(node):
    session, _, _ = node.come("here", version=4, user="u", window=7)
    node.subscribe(session, b"a/#", b"b", qos=1)
    node.send(b"a", b"1", b"2")
    away, _, _ = node.come("away", expiry_s=60)
    node.subscribe(away, b"b")
    node.go(away)
    node.send(b"b", b"3")
    items = asked(peer_of(node), "GET", "?sort=-client")[1]["items"]
    memory = [it.pop("memory_bytes") for it in items]
    assert all(5000 < it < 20_000 for it in memory)
    assert items == [
        {
            "client": "here", "user": "u", "connected": True, "peer": None, "version": "3.1.1",
            "expiry_s": None, "left_ms": None, "expires_ms": None, "subscriptions": 2,
            "queue": "mqtt-subscription-hereqos1", "ready": 0, "unacked": 3, "window": 7,
        },
        {
            "client": "away", "user": "", "connected": False, "peer": None, "version": "5.0",
            "expiry_s": 60, "left_ms": node.clock(), "expires_ms": node.clock() + 60_000,
            "subscriptions": 1, "queue": "mqtt-subscription-awayqos1", "ready": 1, "unacked": 0,
            "window": None,
        },
    ]  # fmt: skip


def test_one_is_shown_with_what_it_has_subscribed_to(node):
    session, _, _ = node.come("a/b ü")
    node.subscribe(session, b"x/+", qos=2, no_local=True, id=9)
    node.subscribe(session, b"y", qos=0, retain_as_published=True)
    status, found = asked(peer_of(node), "GET", "/a%2Fb%20%C3%BC")
    assert (status, found["client"]) == (200, "a/b ü")
    items = asked(peer_of(node), "GET", "/a%2Fb%20%C3%BC/subscriptions")[1]["items"]
    assert items == [
        {"filter": "x/+", "qos": 2, "no_local": True, "retain_as_published": False, "id": 9},
        {"filter": "y", "qos": 0, "no_local": False, "retain_as_published": True, "id": None},
    ]


@pytest.mark.parametrize(
    ("query", "clients"),
    [
        ("?filter=c1", ["c1", "c10", "c11"]),
        ("?sort=-subscriptions&page_size=1", ["c3"]),
        ("?page=2&page_size=10", ["c8", "c9"]),
        ("?sort=left_ms&filter=^c2$&regex=true", ["c2"]),
    ],
)
def test_they_are_filtered_sorted_and_paged(node, query, clients):
    for n in range(12):
        session, _, _ = node.come(f"c{n}")
        if n == 3:
            node.subscribe(session, b"a")
    assert [it["client"] for it in asked(peer_of(node), "GET", query)[1]["items"]] == clients


@pytest.mark.parametrize("connected", [True, False])
def test_one_is_ended_with_all_that_waits_for_it(node, connected):
    audit = Heard()
    session, _, line = node.come("c\n")
    node.subscribe(session, b"a")
    if not connected:
        node.go(session)
    node.send(b"a", b"1")
    status, found = asked(peer_of(node, audit=audit), "DELETE", "/c%0A", node)
    assert (status, found["client"]) == (200, "c\n")
    assert session.ended
    assert list(node.vhost.queues()) == []
    assert line.ends == (["its session was ended through the HTTP API"] if connected else [])
    [(event, _, what, _)] = audit
    assert (event, what) == ("session", "ended: client c\n")
    assert asked(peer_of(node), "GET", "/c%0A")[0] == 404


def test_a_user_sees_his_own_and_ends_none(node):
    users = Users()
    users.add("anna", "management")
    who = Identity("anna", "192.0.2.1", "PLAIN", "http")
    node.come("hers", user="anna")
    node.come("others", user="bob")
    peer = peer_of(node, who=who, access=users.access)
    assert [it["client"] for it in asked(peer, "GET", "")[1]["items"]] == ["hers"]
    assert asked(peer, "GET", "/others")[0] == 404
    assert asked(peer, "GET", "/others/subscriptions")[0] == 404
    assert asked(peer, "DELETE", "/hers")[0] == 403
