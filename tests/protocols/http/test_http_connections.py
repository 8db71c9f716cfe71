"""Connections of all doors, by HTTP."""

import json

import pytest
from amqp_users import Users
from figures_kit import FakeConnection, Watching
from heard_audit import Heard
from http_kit import answers, request
from http_topics import check

from logstore.access.identity import Identity
from logstore.protocols.session import About


def asked(watching, method, target, value=None):
    body = b"" if value is None else json.dumps(value).encode()
    words = ("content-type: application/json", "x-logstore: 1")
    [(status, _, got)] = answers(watching.peer.say(request(method, target, body, *words)))
    if status == 200:
        check(method, target.partition("?")[0].removeprefix("/api/v1/"), got)
    return status, json.loads(got)


def listed(watching, query=""):
    status, found = asked(watching, "GET", f"/api/v1/connections{query}")
    assert status == 200, found
    return found["items"]


def some(**given):
    them = [
        FakeConnection(1, "kafka", about=About("anna", "app-1", "librdkafka 2.0", "idle")),
        FakeConnection(2, "resp", ("192.0.2.9", 1), About("", "sub", "", "pubsub", 1000), unsent=7),
        FakeConnection(3, "amqp", about=About("bob", "app-2", facts={"vhost": "/"}), secure=True),
    ]
    watching = Watching(*them, **given)
    for it in them:
        watching.figures.door(it.door)
    return watching


def test_each_is_shown_with_what_is_known_of_its_client():
    watching = some()
    watching.timer.seconds += 2
    found = listed(watching)
    assert [it["id"] for it in found] == [1, 2, 3]
    assert found[0] == {
        "id": 1, "door": "kafka", "peer": "192.0.2.1:40000", "address": "127.0.0.1:9092",
        "user": "anna", "client": "app-1", "software": "librdkafka 2.0", "tls": False,
        "since_ms": 1_000_000, "bytes_in": "0", "bytes_out": "0", "in_per_s": None,
        "out_per_s": None, "unsent": 0, "unread_max": 0, "state": "idle", "about": {},
    }  # fmt: skip
    assert found[2]["about"] == {"vhost": "/"}
    assert found[2]["tls"]


def test_rates_are_those_of_the_last_step():
    watching = some()
    watching.look(connection={1: (0, 0)})
    watching.look(connection={1: (1000, 500)})
    first = listed(watching)[0]
    assert (first["in_per_s"], first["out_per_s"]) == (100.0, 50.0)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("?door=resp", [2]),
        ("?door=redis", [2]),
        ("?filter=app", [1, 3]),
        ("?filter=192.0.2.9", [2]),
        ("?sort=-unsent", [2, 1, 3]),
        ("?sort=user", [2, 1, 3]),
        ("?page=2&page_size=2", [3]),
        ("?filter=^192.*app&regex=true", [1, 3]),
    ],
)
def test_they_are_filtered_sorted_and_paged(query, ids):
    assert [it["id"] for it in listed(some(), query)] == ids


def test_a_door_that_is_not_there_is_refused():
    status, found = asked(some(), "GET", "/api/v1/connections?door=gopher")
    assert status == 400
    assert "no door of this name" in found["error"]


def test_one_that_has_gone_meanwhile_is_left_out():
    watching = some()
    watching.connections.them[0].gone = True
    assert [it["id"] for it in listed(watching)] == [2, 3]
    assert asked(watching, "GET", "/api/v1/connections/1")[0] == 404


def test_one_is_shown_by_its_number():
    assert asked(some(), "GET", "/api/v1/connections/2")[1]["client"] == "sub"


@pytest.mark.parametrize(
    ("number", "status"), [("99", 404), ("x", 400), ("-1", 400), ("9" * 30, 400), ("%C2%B2", 400)]
)
def test_numbers_that_are_none(number, status):
    for method in ("GET", "DELETE"):
        assert asked(some(), method, f"/api/v1/connections/{number}", {})[0] == status


def test_ending_one_is_told_to_its_client_the_log_and_the_audit():
    audit = Heard()
    watching = some(audit=audit)
    status, found = asked(watching, "DELETE", "/api/v1/connections/3", {"reason": "too\nmany"})
    assert status == 200
    assert found["id"] == 3
    [end] = watching.later
    assert watching.connections.closed == []  # not before it has its answer
    end()
    [(number, reason)] = watching.connections.closed
    assert number == 3
    assert reason.endswith(r": too\nmany")
    [(event, _, what, _)] = audit
    assert (event, what) == ("connection", r"amqp 192.0.2.1:40000: too\nmany")


def test_without_a_reason_it_ends_too():
    watching = some()
    assert asked(watching, "DELETE", "/api/v1/connections/1")[0] == 200
    [end] = watching.later
    end()
    assert watching.connections.closed[0][0] == 1


def test_a_user_sees_his_own_and_ends_none():
    users = Users()
    users.add("anna", "management")
    who = Identity("anna", "192.0.2.1", "PLAIN", "http")
    watching = some()
    mine = Watching(*watching.connections.them, who=who, access=users.access)
    assert [it["id"] for it in listed(mine)] == [1]
    assert asked(mine, "GET", "/api/v1/connections/3")[0] == 404
    assert asked(mine, "DELETE", "/api/v1/connections/1", {})[0] == 403


def test_only_those_of_the_page_are_asked_about_where_nothing_is_filtered_by_it():
    them = [FakeConnection(n) for n in range(50)]
    watching = Watching(*them)
    listed(watching, "?page_size=10&sort=-bytes_in")
    assert sum(it.asked for it in them) <= 50
