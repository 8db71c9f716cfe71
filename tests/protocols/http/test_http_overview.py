"""The server at one look."""

import json

import pytest
from amqp_users import Users
from figures_kit import FakeConnection, Watching
from http_kit import answers, request
from http_topics import check

from logstore.access.identity import Identity
from logstore.figures.figures import Seen
from logstore.figures.full import Room
from logstore.figures.stuck import Stuck


def overview(watching):
    [(status, _, body)] = answers(watching.peer.say(request("GET", "/api/v1/overview")))
    assert status == 200
    check("GET", "overview", body)
    return json.loads(body)


FACTS = {
    "version": "1.2",
    "since_ms": 900_000,
    "doors": {
        "kafka": {"host": "127.0.0.1", "port": 9092},
        "kafka-tls": {"host": "::1", "port": 9093},
    },
}


def test_it_says_what_runs_where_and_since_when():
    them = [FakeConnection(1), FakeConnection(2, secure=True), FakeConnection(3, secure=True)]
    watching = Watching(*them, facts=lambda: FACTS)
    found = overview(watching)
    assert (found["version"], found["uptime_s"]) == ("1.2", 100)
    assert found["doors"] == [
        {"name": "kafka", "address": "127.0.0.1:9092", "tls": False, "connections": 1},
        {"name": "kafka", "address": "[::1]:9093", "tls": True, "connections": 2},
    ]
    assert found["counts"] == {
        "topics": 3, "groups": 0, "queues": 0, "exchanges": 0, "channels": 0, "connections": 3,
    }  # fmt: skip
    assert found["health"] == {"state": "ok", "warnings": [], "warnings_total": 0}


def test_flows_are_those_of_the_last_step_and_then_those_since_somebody_asked():
    watching = Watching()
    counts = watching.figures.door("kafka")
    watching.look(door={"kafka": (0, 0, 0, 0, 0, 0)})
    watching.look(door={"kafka": (100, 50, 1000, 500, 0, 0)})
    first = overview(watching)["flows"]
    assert (first["in_per_s"], first["out_per_s"]) == (10.0, 5.0)
    assert first["doors"]["kafka"]["bytes_in_per_s"] == 100.0
    counts.messages_in += 30
    watching.timer.seconds += 1
    assert overview(watching)["flows"]["doors"]["kafka"]["in_per_s"] == 30.0


def test_what_is_not_known_yet_is_null():
    watching = Watching()
    watching.figures.door("kafka")
    found = overview(watching)
    assert found["flows"]["in_per_s"] is None
    assert set(found["history"]["in"]) == {None}
    assert found["history"]["step_s"] == 10


def test_the_history_is_that_of_all_doors_together():
    watching = Watching()
    for name in ("kafka", "resp"):
        watching.figures.door(name)
    watching.look(door={"kafka": (0, 0, 0, 0, 0, 0), "resp": (0, 0, 0, 0, 0, 0)})
    watching.look(door={"kafka": (10, 0, 0, 0, 0, 0), "resp": (20, 10, 0, 0, 0, 0)})
    found = overview(watching)["history"]
    assert found["in"][-1] == 3.0
    assert found["out"][-1] == 1.0


STUCK = [
    Stuck("queue", "mail", "3 ready, no consumer", 90, "#/queues/%2F/mail", "/"),
    Stuck("queue", "other", "3 ready, no consumer", 90, "#/queues/%2F/other", "/"),
    Stuck("group", "bills", "lag 5", 80, "#/groups/bills"),
    Stuck("connection", "resp x", "9 bytes unread", 80, "#/connections"),
]


def look_stuck(watching):
    watching.look(queue={
        n: Seen(n, (0, 0, 0, 3, 0), lambda series, step, one=one: one)
        for n, one in enumerate(STUCK)
    })  # fmt: skip


def test_what_is_stuck_is_a_warning_with_the_place_where_more_is_said():
    watching = Watching()
    look_stuck(watching)
    found = overview(watching)
    assert [it["object"] for it in found["stuck"]] == ["mail", "other", "bills", "resp x"]
    assert found["stuck"][0]["since_ms"] == 900_000
    assert found["health"]["state"] == "warning"
    first = found["health"]["warnings"][0]
    assert first["view"] == "#/queues/%2F/mail"
    assert "no consumer" in first["what"]


def test_what_is_nearly_full_is_a_warning_and_the_rest_is_shown_too():
    watching = Watching()
    watching.figures.rooms = [
        Room("files", 10, 100), Room("disk", 91, 100, "#/server", "bytes"),
    ]  # fmt: skip
    found = overview(watching)
    assert [it["what"] for it in found["full"]] == ["disk", "files"]
    assert found["full"][0] == {
        "what": "disk", "used": 91, "limit": 100, "unit": "bytes", "share": 0.91,
        "full_in_s": None, "nearly": True, "view": "#/server",
    }  # fmt: skip
    assert [it["what"] for it in found["health"]["warnings"]] == ["disk 91% full"]


def test_where_nothing_is_taken_any_more_that_is_an_error_and_comes_first():
    watching = Watching()
    look_stuck(watching)
    watching.figures.alarms["amqp"] = lambda: "low on disk"
    watching.figures.syncs.failed = 2
    found = overview(watching)["health"]
    assert found["state"] == "error"
    assert "low on disk" in found["warnings"][0]["what"]
    assert "2 syncs" in found["warnings"][1]["what"]


def test_large_numbers_are_texts():
    watching = Watching()
    watching.figures.rooms = [Room("disk", 2**60, 2**61)]
    assert overview(watching)["full"][0]["limit"] == str(2**61)


@pytest.mark.parametrize("tag", ["management", "monitoring"])
def test_who_does_not_see_everything_is_told_of_what_he_may_know_of(tag):
    users = Users()
    users.add("anna", tag)
    if tag == "management":
        users.permit("anna", read="mail")
    who = Identity("anna", "192.0.2.1", "PLAIN", "http")
    watching = Watching(who=who, access=users.access, facts=lambda: FACTS)
    watching.figures.rooms = [Room("disk", 91, 100)]
    look_stuck(watching)
    found = overview(watching)
    if tag == "monitoring":
        assert len(found["stuck"]) == 4
        assert found["doors"]
        assert found["full"]
    else:
        assert [it["object"] for it in found["stuck"]] == ["mail"]
        assert found["doors"] == found["full"] == found["jobs"] == []
        assert [it["object"] for it in found["health"]["warnings"]] == ["mail"]
