"""Transactional ids by HTTP: what each is at, whom it holds back, and how one is aborted."""

import json
from types import SimpleNamespace

import pytest
from heard_audit import Heard
from http_kit import HttpPeer, answers, request
from http_topics import check
from transacting_kit import Node
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC

from logstore.broker.transactions.operations import Offset
from logstore.broker.transactions.staged import Staged
from logstore.errors import Failed

NAMES = {TOPIC: "orders", OTHER_TOPIC: "events"}


@pytest.fixture
def node():
    return Node()


def peer_of(node, **given):
    def by_uuid(uuid):
        name = NAMES.get(uuid)
        return None if name is None else SimpleNamespace(name=name)

    return HttpPeer(
        transactions_of=SimpleNamespace(opened=node.coordinator),
        topics=SimpleNamespace(by_uuid=by_uuid), **given,
    )  # fmt: skip


def asked(peer, method, path, node=None):
    target = f"/api/v1/transactions{path}"
    got = peer.say(request(method, target, b"", "x-logstore: 1"))
    if node is not None:
        node.turn()
        node.settle()
        got += peer.out()
    [(status, _, body)] = answers(got)
    if status == 200:
        bare = target.partition("?")[0].removeprefix("/api/v1/")
        check(method, bare.replace("copier", "{id}"), body)
    return status, json.loads(body)


def test_a_server_without_any_has_none():
    peer = HttpPeer(transactions_of=SimpleNamespace(opened=None))
    assert asked(peer, "GET", "")[1]["items"] == []
    assert asked(peer, "GET", "/copier")[0] == 404
    assert asked(peer, "POST", "/copier/abort")[0] == 404


def test_each_is_listed_with_what_it_is_at(node):
    producer = node.producer()
    node.producer("idle")
    node.write(producer, (TOPIC, 1))
    peer = peer_of(node)
    items = asked(peer, "GET", "")[1]["items"]
    assert [(it["id"], it["state"], it["partitions"]) for it in items] == [
        ("copier", "Ongoing", 1), ("idle", "Empty", 0)
    ]  # fmt: skip
    assert items[0]["producer_id"] == str(producer.pid)
    assert items[0]["began_ms"] is not None
    assert items[1]["began_ms"] is None
    assert [it["id"] for it in asked(peer, "GET", "?open=true")[1]["items"]] == ["copier"]
    assert [it["id"] for it in asked(peer, "GET", "?filter=id")[1]["items"]] == ["idle"]
    assert asked(peer, "GET", "?open=yes")[0] == 400


def test_one_says_where_it_holds_others_back(node):
    first, second = node.producer("first"), node.producer()
    node.write(first, (TOPIC, 0), "first")
    node.write(second, (TOPIC, 0))
    node.write(second, (OTHER_TOPIC, 3))
    node.write(second, (b"gone" * 4, 0))
    node.stage(second, Offset(TOPIC, 1, 5), group="g")
    node.sync()
    found = asked(peer_of(node), "GET", "/copier")[1]
    assert found["groups"] == ["g"]
    assert found["parts"] == [
        {"topic": "orders", "partition": 0, "first_offset": "1", "holds_back": False},
        {"topic": "events", "partition": 3, "first_offset": "0", "holds_back": True},
        {"topic": None, "partition": 0, "first_offset": "0", "holds_back": True},
    ]


def test_an_abort_is_answered_once_it_is_done_and_told_of(node):
    producer = node.producer()
    node.write(producer)
    node.sync()
    heard = Heard()
    peer = peer_of(node, audit=heard)
    status, found = asked(peer, "POST", "/copier/abort", node)
    assert (status, found["partitions"]) == (200, 1)
    assert node.markers() == [(ABORT, 1)]
    assert [it[2] for it in heard] == ["aborted: copier"]
    status, found = asked(peer, "POST", "/copier/abort", node)
    assert status == 409
    assert "has no open transaction" in found["error"]


def test_what_can_not_be_listed_is_not_aborted(node, monkeypatch):
    producer = node.producer()
    node.write(producer)
    node.sync()

    def groups_of(staged, pid):
        yield 1
        raise Failed("what is staged can't be read")

    monkeypatch.setattr(Staged, "groups_of", groups_of)
    heard = Heard()
    status, found = asked(peer_of(node, audit=heard), "POST", "/copier/abort", node)
    assert (status, "can't be read" in found["error"]) == (500, True)
    assert node.markers() == []
    assert list(heard) == []


def test_what_is_being_ended_is_not_aborted(node):
    producer = node.producer()
    node.write(producer)
    node.end(producer, COMMIT)
    assert asked(peer_of(node), "POST", "/copier/abort")[0] == 409
