"""The native API of what waits for its time."""

import json

import pytest
from http_kit import HttpPeer, answers, request
from http_topics import Topical
from queue_parts import Lives
from waiting import until

from logstore.access.identity import OWNER
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.http.asks import OPEN
from logstore.http.routes import Router
from logstore.protocols.http.routes import ROUTES

HANDLERS = Router([it._replace(asks=OPEN) for it in ROUTES])


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


class Api:
    def __init__(self, node):
        self.node = node
        self.peer = HttpPeer(queues=node.queues, who=OWNER, router=HANDLERS, topics=node.topics)

    def __call__(self, method, path, status=200):
        said = [self.peer.say(request(method, f"/api/v1/{path}", b""))]

        def answered():
            said.append(self.peer.out())
            return any(said)

        self.node.run(until=answered)
        [(found, _, body)] = answers(b"".join(said))
        assert found == status, body
        return json.loads(body)


@pytest.fixture
def api(node):
    arguments = arguments_of({"x-delayed-type": "fanout"})
    pending = node.vhost.declare_exchange(
        ExchangeFacts(b"later", "x-delayed-message", arguments=arguments)
    )
    node.run(until=lambda: pending.done)
    node.declare(b"q")
    node.bind(b"later", b"q")
    for number in range(5):
        headers = {"x-delay": 1000 * (5 - number)}
        node.publish(b"k%d" % number, b"body", exchange=b"later", headers=headers)
    yield Api(node)
    node.empty()


def test_what_waits_is_listed_page_by_page(api):
    first = api("GET", "exchanges/later/schedule?limit=2")
    assert [it["key"] for it in first["items"]] == ["k4", "k3"]
    message = first["items"][0]
    assert (message["exchange"], message["body"], message["body_bytes"]) == (
        "later", {"text": "body"}, 4,
    )  # fmt: skip
    assert message["due_ms"] - message["time_ms"] == 1000
    rest = api("GET", f"exchanges/later/schedule?after={first['next']}")
    assert [it["key"] for it in rest["items"]] == ["k2", "k1", "k0"]
    assert rest["next"] is None


def test_what_waits_is_counted(api):
    assert api("GET", "exchanges/later")["waiting"] == 5
    assert api("GET", "exchanges/amq.topic")["waiting"] is None
    (row,) = [it for it in api("GET", "schedules?vhost=/")["items"] if it["name"] == "later"]
    assert row == {"kind": "exchange", "vhost": "/", "name": "later", "waiting": 5}
    nodes = api("GET", "routing")["nodes"]
    assert [it["waiting"] for it in nodes if it["name"] == "later"] == [5]


def test_a_message_is_cancelled_once(api, node):
    assert api("DELETE", "exchanges/later/schedule/4") == {"offset": "4"}
    assert (
        "it was delivered, was cancelled"
        in api("DELETE", "exchanges/later/schedule/4", 404)["error"]
    )
    node.later(5000)
    assert node.bodies(b"q") == [b"body"] * 4


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "exchanges/none/schedule", 404, "no exchange 'none'"),
        ("GET", "exchanges/amq.topic/schedule", 404, "its type is topic, not x-delayed-message"),
        ("DELETE", "exchanges/amq.topic/schedule/1", 404, "its type is topic"),
        (
            "GET",
            "exchanges/later/schedule?after=x",
            400,
            "must be the value of `next` in an earlier reply",
        ),
        (
            "GET",
            "exchanges/later/schedule?after=1-2-3",
            400,
            "must be the value of `next` in an earlier reply",
        ),
        ("GET", "exchanges/later/schedule?limit=0", 400, "must be a number from 1 to 500"),
        ("DELETE", "exchanges/later/schedule/x", 400, "must be a string of digits"),
        ("DELETE", "exchanges/later/schedule/" + "9" * 19, 404, "no message waits"),
        ("GET", "topics/none/schedule", 404, "no topic 'none'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(api, method, path, status, error):
    found = api(method, path, status)["error"]
    assert error in found
    assert "\n" not in found


def test_a_record_that_is_cancelled_is_told_of_though_the_client_has_left(tmp_path):
    api = Topical(tmp_path / "data")
    orders = api.store.create_topic("orders", 1, {"delivery.schedule": "true"})
    orders.append(b"later", deliver_at=4_000_000_000_000)
    until(lambda: list(api.store.scheduled("orders")))  # a thread of its own looks
    [waiting] = api.store.scheduled("orders")
    api.held = []
    api.begin("DELETE", f"topics/orders/schedule/0/{waiting.offset}")
    api.peer.session.close()
    api.work()
    assert list(api.store.scheduled("orders")) == []
    assert [it[2] for it in api.audit] == [f"cancelled orders-0 at {waiting.offset}"]
    api.close()
