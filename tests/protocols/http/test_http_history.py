"""The native API of a queue's past: looked at, and replayed a page at a time."""

import json
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from amqp_users import Users
from http_kit import HttpPeer, answers, request
from queue_parts import Channel, Lives

from logstore.access.identity import OWNER, Identity
from logstore.broker.queues import replaying
from logstore.http.asks import OPEN
from logstore.http.routes import Router
from logstore.protocols.http.native import history
from logstore.protocols.http.routes import ROUTES

HANDLERS = Router([it._replace(asks=OPEN) for it in ROUTES])


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


class Api:
    """One client, asking."""

    def __init__(self, node, who=OWNER, access=None, **given):
        self.node = node
        self.peer = HttpPeer(
            queues=node.queues, who=who, access=access, router=HANDLERS, topics=node.topics,
            **given,
        )  # fmt: skip

    def raw(self, method, path, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        said = [self.peer.say(request(method, f"/api/v1/queues/{path}", body))]

        def answered():
            said.append(self.peer.out())
            return any(said)

        self.node.run(until=answered)
        [answer] = answers(b"".join(said))
        return answer

    def __call__(self, method, path, value=None, status=200):
        found, _, body = self.raw(method, path, value)
        assert found == status, body
        return json.loads(body)

    def replay(self, queue, into, status=200, **given):
        return self("POST", f"{queue}/replay", {"into": into, **given}, status)


@pytest.fixture
def api(node):
    yield Api(node)
    node.empty()


def settle(node, name, count):
    channel = Channel()
    for tag in [node.get(name, channel, no_ack=False).tag for _ in range(count)]:
        channel.ack(tag)
    node.run()


def bodies(found):
    return [it["body"]["text"] for it in found["items"]]


def test_all_that_is_on_disk_is_shown_with_its_state_and_nothing_is_taken(api, node):
    node.declare(b"q")
    for n in range(6):
        node.publish(b"q", b"%d" % n, headers={"n": n}, content_type="text/plain")
        node.later(10)
    settle(node, b"q", 2)
    node.get(b"q", Channel(), no_ack=False)
    found = api("GET", "q/history")
    assert bodies(found) == ["0", "1", "2", "3", "4", "5"]
    assert [it["state"] for it in found["items"]] == ["settled"] * 2 + ["out"] + ["ready"] * 3
    assert (found["next"], found["on"], found["damaged"]) == (None, None, [])
    first = found["items"][0]
    assert first["properties"] == {"content_type": "text/plain", "headers": {"n": 0}}
    assert (first["position"], first["key"], first["exchange"]) == ("0", "q", "")
    assert first["time_ms"] == node.clock.now_ms - 60
    assert bodies(api("GET", "q/history?only=settled")) == ["0", "1"]
    assert bodies(api("GET", "q/history?header=n=3&header=n=3")) == ["3"]
    assert bodies(api("GET", f"q/history?from_ms={first['time_ms'] + 15}&to=4")) == ["2", "3"]
    assert api("GET", "q")["ready"] == 3


@pytest.mark.parametrize("order", ["position", "time"])
def test_it_is_shown_page_by_page(api, node, order):
    node.declare(b"q", max_priority=3)
    for n in range(7):
        node.publish(b"q", b"%d" % n, priority=n % 3)
        node.later(10)
    settle(node, b"q", 4)
    wanted = "2514036" if order == "position" else "0123456"
    seen, on = [], None
    while on is not None or not seen:
        path = f"q/history?order={order}&limit=2" + (f"&on={quote(on)}" if on else "")
        page = api("GET", path)
        seen += bodies(page)
        on = page["on"]
        assert (page["next"] is not None) == (on is not None and order == "position")
    assert "".join(seen) == wanted
    assert bodies(api("GET", "q/history?from=1:1"))[:3] == ["4", "0", "3"]


def test_one_is_shown_whole_also_after_it_was_settled(api, node):
    node.declare(b"q", max_priority=3)
    node.publish(b"q", b"x" * 100_000, priority=2)
    settle(node, b"q", 1)
    [row] = api("GET", "q/history")["items"]
    assert row["truncated"]
    whole = api("GET", f"q/history/{row['position']}")
    assert (whole["state"], len(whole["body"]["text"])) == ("settled", 100_000)
    assert api.raw("GET", f"q/history/{row['position']}/body")[2] == b"x" * 100_000
    for missing in ("2:1", "0", "2:0" + "0" * 20):
        status = 400 if len(missing) > 20 else 404
        api("GET", f"q/history/{missing}", status=status)
    node.vhost.queue(b"q").purge(lambda total: None)
    api("GET", f"q/history/{row['position']}")  # it was settled before


@pytest.mark.parametrize(
    "asked",
    [
        "only=some", "order=other", "limit=0", "limit=501", "from=x", "to=-1", "from_ms=1h",
        "from_ms=" + "9" * 30, "on=x", "on=0:1..", "header=n", "order=time&from=1:0&to=2:0",
    ],
)  # fmt: skip
def test_what_can_not_be_shown_is_said(api, node, asked):
    node.declare(b"q", max_priority=3)
    said = api("GET", f"q/history?{asked}", status=409 if asked.startswith("order=time") else 400)
    assert "\n" not in said["error"]
    api("GET", f"nobody/history?{asked}", status=404)


def test_it_is_replayed_into_an_exchange_a_queue_or_a_topic(api, node):
    for name in (b"q", b"copy", b"other"):
        node.declare(name)
    node.exchange(b"x", "topic")
    node.bind(b"x", b"q", b"a.#")
    node.bind(b"x", b"copy", b"#")
    node.topics.create("t", 1, {})
    for n in range(5):
        node.publish(b"a.%d" % n, b"%d" % n, exchange=b"x", headers={"n": n})
    settle(node, b"q", 3)
    node.vhost.queue(b"copy").purge(lambda total: None)
    told = {
        "replayed": 3, "unrouted": 0, "last": "2", "on": None, "next_ms": None, "error": None,
        "dry_run": True,
    }  # fmt: skip
    assert api.replay("q", "exchange:x", dry_run=True) == told
    assert node.ready(b"copy") == 0
    assert api.replay("q", "exchange:x") == told | {"dry_run": False}
    assert (node.ready(b"q"), node.bodies(b"copy")) == (5, [b"0", b"1", b"2"])
    assert api.replay("q", "queue:other", only="unsettled")["replayed"] == 5
    got = node.get(b"other").delivery
    assert (got.key, got.exchange, got.body) == (b"other", b"", b"3")
    assert api.replay("q", "topic:t", headers={"n": "1"}, only="all")["replayed"] == 2
    [records] = node.records("t")
    assert [it.value for it in records] == [b"1", b"1"]
    assert records[0].key == b"a.1"
    assert dict(records[0].headers)["n"] == b"1"
    assert api.replay("q", "exchange:x", key="none", limit=1)["replayed"] == 1
    assert api.replay("q", "exchange:", key="copy", limit=1)["replayed"] == 1
    assert node.get(b"copy").delivery.key == b"none"
    assert node.get(b"copy").delivery.key == b"copy"


def test_a_replay_goes_on_where_it_was_and_waits_for_times(api, node):
    node.declare(b"q", max_priority=2)
    node.declare(b"copy")
    began = node.clock.now_ms
    for n in range(5):
        node.publish(b"q", b"%d" % n, priority=n % 2)
        node.later(10)
    first = api.replay("q", "queue:copy", only="all", limit=2)
    assert (first["replayed"], first["last"], first["next_ms"]) == (2, "1:0", began + 20)
    waits = api.replay("q", "queue:copy", only="all", on=first["on"], before_ms=began + 20)
    assert (waits["replayed"], waits["on"], waits["next_ms"]) == (0, first["on"], began + 20)
    rest = api.replay("q", "queue:copy", only="all", on=first["on"])
    assert (rest["replayed"], rest["on"]) == (3, None)
    assert node.bodies(b"copy") == [b"0", b"1", b"2", b"3", b"4"]


def test_a_queue_is_replayed_into_itself_once(api, node):
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    found = api.replay("q", "queue:q", only="all")
    assert (found["replayed"], found["on"]) == (2, None)
    assert node.bodies(b"q") == [b"1", b"2", b"1", b"2"]


def test_a_full_queue_ends_it_at_the_first_message_that_it_refuses(api, node):
    node.declare(b"q")
    node.declare(b"small", max_length=3, overflow="reject-publish")
    node.publish(b"q", *(b"%d" % n for n in range(6)))
    found = api.replay("q", "queue:small", only="all")
    assert (found["replayed"], found["last"]) == (3, "2")
    assert "full" in found["error"]
    assert "full" in api.replay("q", "queue:small", 409, only="all", on=found["on"])["error"]
    assert node.bodies(b"small") == [b"0", b"1", b"2"]
    rest = api.replay("q", "queue:small", only="all", on=found["on"])
    assert (rest["replayed"], rest["on"], rest["error"]) == (3, None, None)
    assert node.bodies(b"small") == [b"3", b"4", b"5"]


def test_what_goes_nowhere_is_counted(api, node):
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    found = api.replay("q", "exchange:amq.direct", only="all")
    assert (found["replayed"], found["unrouted"]) == (2, 2)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"into": "x"}, 400), ({"into": "queue:"}, 400), ({"into": "channel:x"}, 400),
        ({"into": "stdout"}, 400), ({"into": "queue:q", "key": "k"}, 400),
        ({"into": "exchange:nobody"}, 404), ({"into": "queue:nobody"}, 404),
        ({"into": "topic:nobody"}, 404), ({"into": "exchange:amq.rabbitmq.trace"}, 409),
        ({"into": "queue:q", "limit": 0}, 400), ({"into": "queue:q", "limit": 10_001}, 400),
        ({"into": "queue:q", "only": "x"}, 400), ({"into": "queue:q", "on": "?"}, 400),
        ({"into": "queue:q", "from_ms": 10**30}, 400), ({"into": "queue:q", "from": "x"}, 400),
        ({"into": "queue:q", "headers": {str(n): "" for n in range(17)}}, 400),
        ({"into": "exchange:" + "x" * 256}, 400), ({}, 400),
    ],
)  # fmt: skip
def test_what_can_not_be_replayed_is_said(api, node, given, status):
    node.declare(b"q")
    said = api("POST", "q/replay", given, status)
    assert "\n" not in said["error"]
    assert node.ready(b"q") == 0


def test_rights_to_both_ends_are_needed(node):
    users = Users("al")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    node.declare(b"q")
    node.declare(b"copy")
    node.publish(b"q", b"1")
    users.permit("al", "", "^amq.default$", "^q$")
    assert al("GET", "q/history")["items"]
    assert al.replay("q", "queue:copy", only="all")["replayed"] == 1
    al.replay("q", "exchange:amq.direct", 403, only="all")
    al.replay("q", "topic:t", 403, only="all")
    al.replay("copy", "queue:q", 403, only="all")
    users.permit("al", "", "^amq.default$", "")
    al("GET", "q/history", status=403)
    al.replay("q", "queue:copy", 403, only="all")
    node.empty()


def test_a_replay_ends_when_one_may_not_publish_any_more(node, monkeypatch):
    users = Users("al")
    users.permit("al", "", "^amq.default$", "^q$")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    node.declare(b"q")
    node.declare(b"copy")
    node.publish(b"q", *[b"1"] * 6)
    monkeypatch.setattr(replaying, "SLICE_MAX", 2)
    publish = type(node.vhost).publish

    def published(vhost, run, held=None):
        users.forget_rules()
        return publish(vhost, run, held)

    monkeypatch.setattr(type(node.vhost), "publish", published)
    found = al.replay("q", "queue:copy", only="all")
    assert found["replayed"] == 2
    assert found["error"].startswith("al may not write exchange")
    monkeypatch.undo()
    assert node.ready(b"copy") == 2
    node.empty()


def test_what_is_replayed_is_told_to_the_audit_log(node):
    heard = []
    api = Api(node, audit=SimpleNamespace(tell=lambda *it: heard.append(it)))
    node.declare(b"q")
    node.publish(b"q", b"1")
    api.replay("q", "exchange:amq.direct", only="all")
    assert heard[0][2] == "replayed 1 messages into exchange amq.direct from q"
    node.empty()


def test_what_is_replayed_into_a_topic_is_told_too_if_the_client_leaves_meanwhile(node):
    heard, jobs = [], []
    api = Api(
        node, audit=SimpleNamespace(tell=lambda *it: heard.append(it)),
        work=lambda job, done: jobs.append((job, done)),
    )  # fmt: skip
    node.topics.create("left", 1, {})
    node.declare(b"q")
    node.publish(b"q", b"1")
    asked = json.dumps({"into": "topic:left", "only": "all"}).encode()
    api.peer.say(request("POST", "/api/v1/queues/q/replay", asked))
    for _ in ("begin", "read"):
        node.run(until=lambda: jobs)
        job, done = jobs.pop()
        done(job())
    [(append, done)] = jobs
    sent = append()
    api.peer.session.close()
    done(sent)
    assert [it[2] for it in heard] == ["replayed 1 messages into topic left from q"]
    assert not api.peer.door.replaying
    node.empty()


def test_a_queue_that_is_deleted_meanwhile_is_told(api, node, monkeypatch):
    node.declare(b"q")
    node.publish(b"q", b"1")
    begin = history._Begin.track

    def deleted(self, cuts):
        track = begin(self, cuts)
        node.vhost.delete_queue(node.vhost.queue(b"q"))
        return track

    monkeypatch.setattr(history._Begin, "track", deleted)
    assert "no queue 'q'" in api("GET", "q/history", status=404)["error"]


def test_replays_under_way_are_bounded(api, node, monkeypatch):
    node.declare(b"q")
    node.publish(b"q", b"1")
    monkeypatch.setattr(history, "REPLAYS_MAX", 0)
    assert "try again later" in api.replay("q", "queue:q", 503, only="all")["error"]
    monkeypatch.undo()
    for _ in range(3):
        assert api.replay("q", "queue:q", only="settled")["replayed"] == 0
    assert not api.peer.door.replaying
