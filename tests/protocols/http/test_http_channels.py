"""Channels by the native API: listed, published to, listened to as events."""

import base64
import json

import pytest
from amqp_users import Users
from http_kit import HttpPeer, answers, request
from http_topics import HandTimer
from kept_channels import keeping_orders

import logstore
from logstore.access.identity import OWNER, Identity
from logstore.broker.channel import Channels
from logstore.broker.listening import Listener
from logstore.http.asks import OPEN
from logstore.http.routes import Router
from logstore.kept.users import PREFIX
from logstore.protocols.http.replies.tail import BATCH_MAX, BATCH_S
from logstore.protocols.http.routes import ROUTES

HANDLERS = Router([it._replace(asks=OPEN) for it in ROUTES])


class Api:
    """Clients, and the channels that they ask about."""

    def __init__(self, channels, topics=None, access=None, who=OWNER):
        self.channels = channels
        self.timer = HandTimer()
        self._given = {
            "router": HANDLERS, "channels": channels, "topics": topics, "access": access,
            "who": who, "timer": self.timer, "clock": lambda: 1000,
            "keeps_history": channels.keeps_history,
        }  # fmt: skip
        self.peer = HttpPeer(**self._given)

    def new_peer(self):
        return HttpPeer(door=self.peer.door, **self._given)

    def __call__(self, method, path, value=None, status=200):
        body = b"" if value is None else json.dumps(value).encode()
        [(found, _, answer)] = answers(self.peer.say(request(method, f"/api/v1/{path}", body)))
        assert found == status, answer
        return json.loads(answer)

    def listen(self, *names, patterns=()):
        names, patterns = ([it.encode() for it in those] for those in (names, patterns))
        return Listener(self.channels, names, patterns, lambda it: None)


class Listening:
    """One who has asked for events."""

    def __init__(self, api, query):
        self.api, self.peer = api, api.new_peer()
        self.head = self.peer.say(request("GET", f"/api/v1/channels/tail?{query}"))

    def events(self):
        """Those that come after half a second."""
        self.api.timer.go_on(BATCH_S)
        found = []
        for part in self.peer.out().replace(b"\r\n", b"\n").split(b"\n\n"):
            lines = [it for it in part.split(b"\n") if it.startswith((b"event:", b"data:"))]
            if len(lines) == 2:
                name, data = (it.partition(b":")[2].strip() for it in lines)
                found.append((name.decode(), json.loads(data)))
        return found


@pytest.fixture
def api():
    return Api(Channels())


@pytest.fixture
def kept(tmp_path):
    with logstore.open(keeping_orders(tmp_path / "data")) as store:
        inside = store.internals()
        yield Api(inside.channels, inside.topics)


def test_channels_are_listed_with_who_listens(api):
    api.listen("a", "b", patterns=["a*", "*"])
    api.listen("a")
    rows = api("GET", "channels")["items"]
    assert [(it["name"], it["kind"], it["subscribers"], it["patterns"]) for it in rows] == [
        ("a", "channel", 2, 2), ("b", "channel", 1, 1), ("*", "pattern", 1, 0),
        ("a*", "pattern", 1, 0),
    ]  # fmt: skip
    assert rows[0]["history"] is None
    assert api("GET", "channels?kind=pattern&sort=-name")["total"] == 2
    assert [it["name"] for it in api("GET", "channels?sort=-subscribers&page_size=1")["items"]] == [
        "a"
    ]
    api("GET", "channels?kind=x", status=400)


def test_who_listens_gets_what_is_published(api):
    listener = api.listen("a", patterns=["a*"])
    data = base64.b64encode(b"\xff").decode()
    assert api("POST", "channels/a/publish", {"body": "hello"}) == {"subscribers": 2}
    sent = {"body": data, "encoding": "base64"}
    assert api("POST", "channels/a/publish", sent) == {"subscribers": 2}
    assert api("POST", "channels/nobody/publish") == {"subscribers": 0}
    assert api("POST", "channels/a/publish", {"sharded": True}) == {"subscribers": 0}
    assert [listener.get(0).payload for _ in range(4)] == [b"hello", b"hello", b"\xff", b"\xff"]
    api("POST", "channels//publish", status=400)
    api("POST", "channels/a/publish", {"body": "?", "encoding": "base64"}, 400)
    api("POST", "channels/a/publish", {"bodi": "?"}, 400)


def test_a_channel_with_a_history_is_listed_though_nobody_listens(kept):
    assert kept("GET", "channels")["items"] == []
    assert kept("POST", "channels/orders.new/publish", {"body": "1"}) == {"subscribers": 0}
    [row] = kept("GET", "channels")["items"]
    assert row["history"] == {"topic": "orders.new", "start": "0", "end": "1"}
    assert kept("POST", "channels/orders.%C3%A4/publish", status=400)["kind"] == "InvalidName"


def test_a_tail_gets_what_is_published_twice_a_second(api):
    tail = Listening(api, "pattern=a*")
    assert b"text/event-stream" in tail.head
    assert tail.events() == []
    for body in "12":
        api("POST", "channels/ab/publish", {"body": body})
    api("POST", "channels/b/publish", {"body": "3"})
    shown = [
        {"channel": "ab", "pattern": "a*", "time_ms": 1000, "body": {"text": body},
         "body_bytes": 1, "truncated": False}
        for body in "12"
    ]  # fmt: skip
    assert tail.events() == [("messages", {"messages": shown, "dropped": 0})]
    assert tail.events() == []
    tail.peer.session.close()
    assert api("GET", "channels")["items"] == []
    assert api("POST", "channels/ab/publish", {"body": "4"}) == {"subscribers": 0}


def test_of_very_many_messages_a_tail_gets_the_last(api):
    tail = Listening(api, "channel=a")
    listener = api.listen("a")
    with api.channels.lock:
        api.channels.publish_many(b"a", [b"%d" % n for n in range(3 * BATCH_MAX)], None)
        api.channels.flush()
        api.channels.publish_many(b"a", [b"x" * 2000], None)
        api.channels.flush()
    [(_, data)] = tail.events()
    assert (len(data["messages"]), data["dropped"]) == (BATCH_MAX, 2 * BATCH_MAX + 1)
    assert data["messages"][0]["body"] == {"text": str(2 * BATCH_MAX + 1)}
    assert data["messages"][-1]["body"] == {"text": "x" * 1024}
    assert data["messages"][-1]["truncated"]
    assert sum(1 for _ in range(3 * BATCH_MAX + 1) if listener.get(0)) == 3 * BATCH_MAX + 1


def test_so_many_may_listen_and_no_more(api, monkeypatch):
    monkeypatch.setattr("logstore.protocols.http.native.channels.TAILS_MAX", 1)
    first = Listening(api, "channel=a")
    assert b" 503 " in Listening(api, "channel=a").head[:20]
    first.peer.session.close()
    assert b" 200 " in Listening(api, "channel=a").head[:20]


def test_a_tail_of_a_history_gets_what_is_safe(kept):
    tail = Listening(kept, "channel=orders.new")
    kept("POST", "channels/orders.new/publish", {"body": "1"})
    [(_, data)] = tail.events()
    assert [it["body"] for it in data["messages"]] == [{"text": "1"}]


@pytest.mark.parametrize("query", ["", "channel=a&pattern=b", "pattern=" + "a" * 9000])
def test_what_can_not_be_listened_to_is_said(api, query):
    peer = api.new_peer()
    [(status, _, _)] = answers(peer.say(request("GET", f"/api/v1/channels/tail?{query}")))
    assert status == 400


def test_one_hears_and_sees_what_one_may(caplog):
    users = Users("al")
    al = Identity("al", "::1", "PLAIN", "http")
    api = Api(Channels(), access=users.access, who=al)
    api.listen("news.a", "secret", patterns=["news.*", "*"])
    assert api("GET", "channels")["items"] == []
    for query, name in (("pattern=*", "*"), ("channel=news.a", "news.a")):
        answer = api("GET", f"channels/tail?{query}", status=403)
        assert f"{name!r}; ask for a rule" in answer["error"]
        assert f"User:al from ::1: read channel {name}: refused: no rule" in caplog.text
    users.allow("al", "read", "channel", "news.", pattern=PREFIX)
    assert [it["name"] for it in api("GET", "channels")["items"]] == ["news.a", "news.*"]
    tail = Listening(api, "pattern=news.*")
    assert b" 200 " in tail.head[:20]
    users.forget_rules()
    with api.channels.lock:
        api.channels.publish_many(b"news.a", [b"1"], None)
        api.channels.flush()
    [(name, data)] = tail.events()
    assert (name, "messages" in data) == ("refused", False)
    assert api.channels.patterns.count(b"news.*") == 1  # the other listener's
