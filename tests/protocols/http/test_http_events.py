"""News of what a view shows, once a second."""

import json
from types import SimpleNamespace

import pytest
from amqp_users import Users
from figures_kit import Watching
from http_kit import request

from logstore.access.identity import Identity
from logstore.figures.stuck import Stuck
from logstore.protocols.http.common.news import TELL_UNITS
from logstore.slices import AT_ONCE, UNITS, Slices


def listening(watching, query=""):
    return events(watching.peer.say(request("GET", f"/api/v1/events{query}")))


def events(data):
    """The data of each event."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    return [json.loads(it[6:]) for it in lines if it.startswith(b"data: ")]


def news(watching, seconds=1):
    watching.timer.pass_time(seconds)
    return events(watching.peer.out())


def test_the_first_comes_at_once_and_then_one_a_second():
    watching = Watching()
    [first] = listening(watching, "?view=overview")
    assert first["flows"]["waiting"] == 0
    assert "history" not in first
    assert news(watching, 0.5) == []
    [second] = news(watching, 0.5)
    assert second["uptime_s"] == 0
    assert len(news(watching)) == 1


def test_without_a_view_health_alone_is_told():
    [first] = listening(Watching())
    assert first == {
        "health": {"state": "ok", "warnings": [], "warnings_total": 0}, "uptime_s": 0,
    }  # fmt: skip


def test_objects_that_are_asked_for_are_told_with_their_rates():
    topics = SimpleNamespace(
        count=lambda: 1, get=lambda name: SimpleNamespace(id="x") if name == "t" else None
    )
    watching = Watching(topics=topics)
    watching.look(topic={"x": (0,)}, group={"g": (5, 9, 4)})
    watching.look(topic={"x": (50,)}, group={"g": (5, 9, 4)})
    [first] = listening(watching, "?topics=t,nothing&groups=g&queues=q&channels=c")
    assert first["topics"] == {"t": {"in_per_s": 5.0}, "nothing": None}
    assert first["groups"] == {"g": {"lag": "4"}}
    assert first["queues"] == {"q": None}
    assert first["channels"]["c"]["subscribers"] == 0


def test_what_one_may_not_know_of_is_left_out():
    users = Users()
    users.add("anna", "management")
    users.permit("anna", read="mail")
    who = Identity("anna", "192.0.2.1", "PLAIN", "http")
    watching = Watching(who=who, access=users.access)
    [first] = listening(watching, "?queues=mail,other&groups=g")
    assert first["queues"] == {"mail": None}
    assert first["groups"] == {}


def test_a_peer_that_has_gone_is_told_nothing_more():
    watching = Watching()
    listening(watching)
    watching.peer.session.close()
    watching.timer.pass_time(1)
    watching.timer.pass_time(1)
    assert watching.timer.calls == []  # nobody listens
    other = type(watching.peer)(door=watching.peer.door)
    other.say(request("GET", "/api/v1/events"))
    assert len(watching.timer.calls) == 1  # and now somebody does again


def test_a_crowd_is_told_in_slices():
    turns = []
    slices = Slices(turns.append)
    watching = Watching(slices=slices)
    door = watching.peer.door
    peers = [type(watching.peer)(door=door) for _ in range(300)]
    for it in peers:
        it.say(request("GET", "/api/v1/events?view=overview"))
    watching.timer.pass_time(1)
    told = [len(events(it.out())) for it in peers]
    assert 0 < sum(told) <= AT_ONCE // TELL_UNITS
    while turns:
        turns.pop(0)()
        more = [len(events(it.out())) for it in peers]
        assert sum(more) <= UNITS // TELL_UNITS
        told = [a + b for a, b in zip(told, more, strict=True)]
    assert told == [1] * 300


def test_many_who_listen_have_it_put_together_once():
    made = []
    watching = Watching(facts=lambda: made.append(1) or {"version": "1"})
    listening(watching, "?view=overview")
    other = type(watching.peer)(door=watching.peer.door)
    events(other.say(request("GET", "/api/v1/events?view=overview")))
    watching.timer.pass_time(1)
    assert len(events(watching.peer.out())) == len(events(other.out())) == 1
    assert len(made) == 2  # one for each second


def test_what_is_put_together_once_is_for_who_may_know_of_the_same():
    users = Users()
    users.add("anna", "management")
    users.allow("anna", "describe", "group", "g")
    users.allow("anna", "describe", "group", "g", allow=False, host="192.0.2.9")
    watching = Watching(who=Identity("anna", "192.0.2.1", "BASIC", "http"), access=users.access)
    watching.peer.door.figures.stuck = [Stuck("group", "g", "lag 5", 0, "#/groups/g")]
    elsewhere = type(watching.peer)(
        door=watching.peer.door, who=Identity("anna", "192.0.2.9", "BASIC", "http")
    )
    [here] = listening(watching, "?view=overview")
    [there] = events(elsewhere.say(request("GET", "/api/v1/events?view=overview")))
    assert ([it["object"] for it in here["stuck"]], there["stuck"]) == (["g"], [])
    users.forget_rules()
    again = type(watching.peer)(
        door=watching.peer.door, who=Identity("anna", "192.0.2.1", "BASIC", "http")
    )
    [now] = events(again.say(request("GET", "/api/v1/events?view=overview")))
    assert now["stuck"] == []


@pytest.mark.parametrize(
    "query", ["?view=nothing", f"?topics={','.join(map(str, range(101)))}", "?colour=red"]
)
def test_what_can_not_be_told_is_refused(query):
    watching = Watching()
    answer = watching.peer.say(request("GET", f"/api/v1/events{query}"))
    assert answer.startswith(b"HTTP/1.1 400")
