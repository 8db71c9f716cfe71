"""Topics that feed exchanges, by the API: made, shown, removed, refused, and who may."""

import json

import pytest
from amqp_users import Users
from http_kit import HttpPeer, answers, request
from queue_parts import Lives

from logstore.access.identity import OWNER, Identity


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    node = lives.open()
    node.topic("t")
    node.topics.topic("t").append(b"1", key=b"k")
    yield node
    lives.end()


class Api:
    def __init__(self, node, who=OWNER, access=None, **more):
        self.node = node
        self.peer = HttpPeer(queues=node.queues, topics=node.topics, who=who, access=access, **more)

    def __call__(self, method, path, value=None, status=200):
        body = b"" if value is None else json.dumps(value).encode()
        said = [self.peer.say(request(method, path, body))]

        def answered():
            said.append(self.peer.out())
            return any(said)

        self.node.run(until=answered)
        [(found, _, body)] = answers(b"".join(said))
        assert found == status, body
        return json.loads(body) if body else None


@pytest.fixture
def api(node):
    node.exchange(b"x", "fanout")
    node.declare(b"q")
    node.bind(b"x", b"q")
    yield Api(node)
    for route in list(node.queues.topic_routes()):
        node.queues.topic_routes().remove(route.vhost, route.topic, route.exchange)
    node.empty()


ROUTES = "/api/v1/topics/t/routes"


def test_a_route_is_made_shown_and_removed(api, node):
    dry = api("POST", ROUTES, {"exchange": "x", "dry_run": True})
    assert (dry["dry_run"], dry["group"]) == (True, "")
    assert api("GET", ROUTES)["items"] == []
    made = api("POST", ROUTES, {"exchange": "x", "key": "a.{key}", "fallback": "none"}, 201)
    assert made["group"].startswith("__route.")
    about = {key: made[key] for key in ("vhost", "topic", "exchange", "key", "fallback", "waits")}
    assert about == {
        "vhost": "/", "topic": "t", "exchange": "x", "key": "a.{key}", "fallback": "none",
        "waits": None,
    }  # fmt: skip
    node.run(until=lambda: node.vhost.queue(b"q").ready)
    assert node.get(b"q").delivery.key == b"a.k"
    [shown] = api("GET", ROUTES)["items"]
    assert (shown["sent"], shown["unrouted"], shown["lag"]) == (1, 0, 0)
    assert api("GET", "/api/v1/topic-routes?filter=t")["items"] == [shown]
    assert api("GET", "/api/v1/topic-routes?filter=other")["items"] == []
    assert api("DELETE", ROUTES, {"exchange": "x", "dry_run": True})["dry_run"]
    assert api("DELETE", ROUTES, {"exchange": "x"})["topic"] == "t"
    assert api("GET", "/api/v1/topic-routes")["items"] == []
    api("DELETE", ROUTES, {"exchange": "x"}, 404)


def test_where_it_begins_may_be_said(api, node):
    api("POST", ROUTES, {"exchange": "x", "start": "latest"}, 201)
    node.run()
    assert node.ready(b"q") == 0
    api("DELETE", ROUTES, {"exchange": "x"})
    for start in ({"start": 1}, {"start": "1"}, {"start_ms": 1 << 60}):
        api("POST", ROUTES, {"exchange": "x", **start}, 201)
        node.run()
        assert node.ready(b"q") == 0
        api("DELETE", ROUTES, {"exchange": "x"})
    api("POST", ROUTES, {"exchange": "x", "start_ms": 0}, 201)
    node.run(until=lambda: node.vhost.queue(b"q").ready)


@pytest.mark.parametrize(
    ("path", "value", "status", "why"),
    [
        ("t", {"exchange": "none"}, 404, "no exchange 'none'"),
        ("none", {"exchange": "x"}, 404, "no topic 'none'"),
        ("t", {"exchange": "x", "key": "{nothing}"}, 409, "no field {nothing}"),
        ("t", {"exchange": "x", "key": "{"}, 409, "a lone '{'"),
        ("t", {"exchange": "x", "start": "soon"}, 409, "must be earliest, latest or an offset"),
        ("t", {"exchange": "x", "start": 99}, 409, "above the end"),
        ("t", {"exchange": "x", "start": -1}, 409, "must be earliest"),
        ("t", {"exchange": "amq.rabbitmq.trace"}, 409, "is internal"),
        ("t", {"exchange": "x" * 300}, 400, "at most 255"),
        ("t", {}, 400, "exchange"),
        ("t", {"exchange": "x", "more": 1}, 400, "more"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(api, path, value, status, why):
    said = api("POST", f"/api/v1/topics/{path}/routes", value, status)["error"]
    assert why in said
    assert "\n" not in said
    assert api("GET", "/api/v1/topic-routes")["items"] == []


def test_a_circle_is_refused_and_its_way_is_told(api, node):
    node.exchange(b"back", "x-topic", x_target="t")
    said = api("POST", ROUTES, {"exchange": "back"}, 409)["error"]
    assert "topic t -> exchange 'back' -> topic t" in said


def test_another_key_for_the_same_exchange_is_refused(api):
    api("POST", ROUTES, {"exchange": "x"}, 201)
    assert "already feeds" in api("POST", ROUTES, {"exchange": "x", "key": "k"}, 409)["error"]


def test_who_may_read_the_topic_and_write_to_the_exchange_may_have_it(api, node):
    users = Users()
    users.add("al", "management")
    as_al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    users.permit("al")
    as_al("POST", ROUTES, {"exchange": "x"}, 403)
    users.allow("al", "read", "topic", "t")
    assert "may not write exchange 'x'" in as_al("POST", ROUTES, {"exchange": "x"}, 403)["error"]
    users.allow("al", "write", "exchange", "x")
    as_al("POST", ROUTES, {"exchange": "x"}, 201)
    assert len(as_al("GET", "/api/v1/topic-routes")["items"]) == 1
    users.allow("al", "all", "exchange", "x", allow=False)
    assert as_al("GET", "/api/v1/topic-routes")["items"] == []  # he sees one end alone
    as_al("DELETE", ROUTES, {"exchange": "x"}, 403)
    assert len(api("GET", "/api/v1/topic-routes")["items"]) == 1
