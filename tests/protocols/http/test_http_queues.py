"""The native API of exchanges, bindings, queues and their messages, over a real directory."""

import base64
import json

import pytest
from amqp_users import Users
from http_kit import HttpPeer, answers, request
from queue_parts import Channel, Consumer, Lives
from turns_by_hand import Turns

from logstore.access.identity import OWNER, Identity
from logstore.broker.queues import acts
from logstore.broker.queues.moving import STEP_MAX
from logstore.broker.queues.queue import Queue
from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.errors import ClusterUnreachable
from logstore.figures.figures import Seen
from logstore.figures.ring import STEP_S
from logstore.http.asks import OPEN
from logstore.http.routes import Router
from logstore.protocols.http.routes import ROUTES
from logstore.slices import Slices

# What handlers refuse by themselves: rows of the table may ask for less than they do.
HANDLERS = Router([it._replace(asks=OPEN) for it in ROUTES])


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


class Api:
    """One client, asking."""

    def __init__(self, node, who=OWNER, access=None, **door):
        self.node = node
        self.peer = HttpPeer(queues=node.queues, who=who, access=access, router=HANDLERS, **door)

    def raw(self, method, path, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        said = [self.peer.say(request(method, f"/api/v1/{path}", body))]

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


@pytest.fixture
def api(node):
    yield Api(node)
    node.empty()


def test_a_queue_is_declared_shown_and_deleted(api, node):
    wanted = {"arguments": {"x-max-priority": 3, "x-message-ttl": 60_000}}
    made = api("PUT", "queues/mail%2F1", wanted, 201)
    assert (made["name"], made["durable"], made["state"]) == ("mail/1", True, "running")
    assert made["arguments"] == wanted["arguments"]
    assert api("PUT", "queues/mail%2F1", wanted) == made
    node.publish(b"mail/1", b"1", b"2")
    node.publish(b"mail/1", b"3", priority=2)
    shown = api("GET", "queues/mail%2F1")
    assert (shown["ready"], shown["unacked"], shown["oldest_ms"]) == (3, 0, node.clock.now_ms)
    assert [it["priority"] for it in shown["lanes"]] == [2, 0]
    [row] = api("GET", "queues")["items"]
    assert row == {name: it for name, it in shown.items() if name in row}
    would = api("DELETE", "queues/mail%2F1", {"dry_run": True})
    assert would == {
        "vhost": "/", "name": "mail/1", "ready": 3, "unacked": 0, "consumers": 0, "bindings": 0,
        "dry_run": True,
    }  # fmt: skip
    assert api("DELETE", "queues/mail%2F1") == would | {"dry_run": False}
    assert api("GET", "queues/mail%2F1", status=404)["kind"] == "NoQueue"


def test_a_queue_in_order_by_key_shows_what_waits(api, node):
    arguments = {"x-ordering-key": "routing-key", "x-ordering-prefetch": 1}
    api("PUT", "queues/q", {"arguments": arguments}, 201)
    node.publish(b"q", b"1", b"2", b"3")
    assert api("GET", "queues/q")["ordering"] == {
        "key": "routing-key", "prefetch": 1, "keys": 0, "waiting": 0
    }  # fmt: skip
    consumer = Consumer(prefetch=9)
    node.vhost.queue(b"q").subscribe(consumer)
    node.run()
    assert consumer.bodies == [b"1"]
    shown = api("GET", "queues/q")
    assert (shown["ready"], shown["unacked"]) == (2, 1)
    assert (shown["ordering"]["keys"], shown["ordering"]["waiting"]) == (1, 2)
    api("PUT", "queues/r", {}, 201)
    assert api("GET", "queues/r")["ordering"] is None
    assert "key" in api("PUT", "queues/s", {"arguments": {"x-ordering-key": "k"}}, 400)["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("queues/q", {"arguments": {"x-max-priority": "a"}}, 400, "x-max-priority"),
        ("queues/q", {"arguments": {"x-max-priority": 1 << 70}}, 400, "arguments: "),
        ("queues/q", {"arguments": []}, 400, "the request's body"),
        ("queues/q", {"durabel": False}, 400, "durabel"),
        ("queues/" + "q" * 256, {}, 400, "256 bytes"),
        ("queues/amq.q", {}, 400, "reserved"),
        ("queues/a%0Ab", {}, 400, "line ends"),
        ("queues/q", {"arguments": {"x": [1] * 1000}}, 400, "over 1000 values"),
        ("queues/q", {"arguments": {"x": "a" * (64 << 10)}}, 413, "at most 65536 bytes"),
        ("exchanges/a%0Db", {}, 400, "line ends"),
        ("queues/there", {"durable": False}, 409, "already exists with durable true"),
        ("queues/q?vhost=v", {}, 404, "no virtual host 'v'"),
        ("exchanges/x", {"type": "no"}, 400, "unknown exchange type"),
        ("exchanges/x", {"arguments": {"alternate-exchange": 1}}, 400, "alternate-exchange"),
        ("exchanges/amq.x", {}, 400, "reserved"),
        ("exchanges/amq.direct", {"type": "topic"}, 409, "already exists with type direct"),
        ("exchanges/", {}, 409, "the default exchange"),
    ],
)
def test_what_can_not_be_declared_is_said(api, node, path, body, status, why):
    node.declare(b"there")
    assert why in api("PUT", path, body, status)["error"]


def test_a_deletion_is_refused_where_it_is_to_be(api, node):
    queue = node.declare(b"q")
    node.publish(b"q", b"1")
    api("DELETE", "queues/q", {"if_empty": True}, 409)
    api("DELETE", "queues/q", {"if_empty": True, "dry_run": True}, 409)
    queue.subscribe(Consumer())
    node.run()
    api("DELETE", "queues/q", {"if_unused": True}, 409)
    api("DELETE", "queues/nobody", status=404)
    node.exchange(b"x")
    node.bind(b"x", b"q")
    api("DELETE", "exchanges/x", {"if_unused": True, "dry_run": True}, 409)
    api("DELETE", "exchanges/amq.direct", {"dry_run": True}, 409)
    api("DELETE", "exchanges/nobody", status=404)


def test_a_queue_is_emptied_of_what_was_said_before(api, node):
    node.declare(b"q")
    node.publish(b"q", b"1", b"2")
    assert api("POST", "queues/q/purge", {"dry_run": True}) == {"purged": 2, "dry_run": True}
    assert api("POST", "queues/q/purge") == {"purged": 2, "dry_run": False}
    assert api("POST", "queues/q/purge")["purged"] == 0


def test_queues_are_sorted_by_what_is_in_them(api, node):
    for name, count in ((b"a", 1), (b"b", 3), (b"c", 0)):
        node.declare(name)
        if count:
            node.publish(name, *[b"1"] * count)
    node.add_vhost(b"v")
    node.within(b"v").declare(b"z")
    names = [it["name"] for it in api("GET", "queues?sort=-ready")["items"]]
    assert names == ["b", "a", "c", "z"]
    assert [it["name"] for it in api("GET", "queues?vhost=v")["items"]] == ["z"]
    assert api("GET", "queues?filter=%5E%5Bab%5D&regex=true")["total"] == 2
    assert api("GET", "vhosts?sort=-queues")["items"][0]["name"] == "/"
    assert api("DELETE", "vhosts/v", {"dry_run": True}) == {
        "name": "v", "exchanges": 7, "queues": 1, "dry_run": True,
    }  # fmt: skip
    assert api("DELETE", "vhosts/v")["queues"] == 1
    api("DELETE", "vhosts/v", status=404)
    api("DELETE", "vhosts/%2F", {"dry_run": True}, 409)


def test_an_exchange_is_declared_bound_published_to_and_deleted(api, node):
    made = api("PUT", "exchanges/x", {"type": "topic", "alternate": "other"}, 201)
    assert (made["type"], made["arguments"]) == ("topic", {"alternate-exchange": "other"})
    assert api("PUT", "exchanges/x", {"type": "topic", "alternate": "other"}) == made
    node.declare(b"q")
    binding = {"source": "x", "destination": "q", "key": "a.#", "arguments": {"n": 1}}
    bound = api("POST", "bindings", binding, 201)
    assert bound["kind"] == "queue"
    assert api("GET", "bindings")["items"] == [bound]
    assert api("GET", "queues/q/bindings")["total"] == 2
    message = {"key": "a.b", "body": "hello", "properties": {"priority": 1, "headers": {"h": [1]}}}
    assert api("POST", "exchanges/x/publish", message) == {"routed": True, "refused": False}
    assert not api("POST", "exchanges/x/publish", {"key": "b"})["routed"]
    [seen] = api("GET", "queues/q/messages")["items"]
    assert seen["properties"] == {"delivery_mode": 2, "priority": 1, "headers": {"h": [1]}}
    assert (seen["exchange"], seen["key"], seen["body"]) == ("x", "a.b", {"text": "hello"})
    assert api("DELETE", "bindings", {**binding, "dry_run": True}) == bound | {"dry_run": True}
    assert api("DELETE", "bindings", binding) == bound | {"dry_run": False}
    api("DELETE", "bindings", binding, 404)
    gone = api("DELETE", "exchanges/x", {"dry_run": True})
    assert gone == {"vhost": "/", "name": "x", "bindings": 0, "bindings_to": 0, "dry_run": True}
    assert api("DELETE", "exchanges/x") == gone | {"dry_run": False}


def test_bindings_that_look_alike_are_told_apart_by_their_ids(api, node):
    node.exchange(b"x", "headers")
    node.declare(b"q")
    for kind in "sl":
        args = Arguments.of({b"n": Field(kind, 1)})
        node.vhost.bind(Binding(b"x", b"q", b"", args))
    node.run()
    binding = {"source": "x", "destination": "q", "arguments": {"n": 1}}
    assert "2 bindings look like this one" in api("DELETE", "bindings", binding, 409)["error"]
    first, second = api("GET", "bindings")["items"]
    assert first["id"] != second["id"]
    assert api("DELETE", "bindings", {**binding, "id": first["id"]})["id"] == first["id"]
    assert api("GET", "bindings")["items"] == [second]
    api("DELETE", "bindings", {**binding, "arguments": {"n": True}}, 404)
    made = api("POST", "bindings", binding, 201)  # as JSON has it
    assert api("DELETE", "bindings", binding)["id"] == made["id"]
    assert api("DELETE", "bindings", binding)["id"] == second["id"]


def test_names_of_any_bytes_go_both_ways(api, node):
    node.exchange(b"x\xff")
    node.declare(b"q\xfe")
    binding = {"source": "x\udcff", "destination": "q\udcfe", "key": "\udcfd"}
    made = api("POST", "bindings", binding, 201)
    assert {name: made[name] for name in binding} == binding
    assert api("GET", "exchanges/x%FF/bindings")["items"] == [
        {name: it for name, it in made.items() if name != "vhost"}
    ]
    assert api("POST", "exchanges/x%FF/publish", {"key": "\udcfd"})["routed"]
    assert api("GET", "queues/q%FE/messages")["items"][0]["key"] == "\udcfd"
    assert api("DELETE", "bindings", binding)["id"] == made["id"]


def test_bytes_go_both_ways(api, node):
    node.declare(b"q")
    data = base64.b64encode(b"\xff\0").decode()
    message = {"key": "q", "body": data, "encoding": "base64",
               "properties": {"headers": {"b": {"base64": data}}}}  # fmt: skip
    assert api("POST", "exchanges//publish", message)["routed"]
    [seen] = api("GET", "queues/q/messages")["items"]
    assert (seen["body"], seen["body_bytes"]) == ({"base64": data}, 2)
    assert seen["properties"]["headers"] == {"b": {"base64": data}}
    status, headers, body = api.raw("GET", f"queues/q/messages/{seen['position']}/body")
    assert (status, body) == (200, b"\xff\0")
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"key": "k" * 256}, 400, "routing key"),
        ({"body": "?", "encoding": "base64"}, 400, "the body is no base64"),
        ({"encoding": "hex"}, 400, "must be text or base64"),
        ({"properties": {"no": 1}}, 400, "no property 'no'"),
        ({"properties": {"priority": 256}}, 400, "priority 256"),
        ({"properties": {"priority": "high"}}, 400, "priority is an int"),
        ({"properties": {"headers": 1}}, 400, "headers are a mapping"),
        ({"properties": []}, 400, "Expected `object`"),
        ({"properties": {"headers": {"h": [1] * 1000}}}, 400, "over 1000 values"),
        ({"properties": {"headers": {"h": "a" * (128 << 10)}}}, 400, "AMQP clients accept"),
        ({"key": "\ud800"}, 400, "the request's body"),
        ({"key": "\udcff\ud800"}, 400, "the request's body"),
        ({"properties": {"headers": {"CC": "q"}}}, 400, "CC"),
        ({"properties": {"expiration": "soon"}}, 400, "invalid expiration"),
        ({"properties": {"reply_to": "amq.rabbitmq.reply-to"}}, 409, "for AMQP"),
    ],
)
def test_what_can_not_be_published_is_said(api, body, status, why):
    assert why in api("POST", "exchanges/amq.fanout/publish", body, status)["error"]


def test_to_look_takes_nothing_and_goes_on_where_it_ended(api, node):
    node.declare(b"q", max_priority=9)
    for number in range(5):
        node.publish(b"q", b"%d" % number, priority=number % 2)
    channel = Channel()
    node.get(b"q", channel, no_ack=False)
    seen, begin = [], ""
    while begin is not None:
        page = api("GET", f"queues/q/messages?limit=2{begin and '&from=' + begin}")
        seen += page["items"]
        begin = page["next"]
    assert [(it["position"], it["state"], it["body"]["text"]) for it in seen] == [
        ("1:0", "unacked", "1"), ("1:1", "ready", "3"), ("0", "ready", "0"), ("1", "ready", "2"),
        ("2", "ready", "4"),
    ]  # fmt: skip
    assert api("GET", "queues/q/messages/1:1")["body"] == {"text": "3"}
    api("GET", "queues/q/messages/1:9", status=404)
    assert "not the position of a message" in api("GET", "queues/q/messages/x", status=400)["error"]
    api("GET", "queues/q/messages?limit=501", status=400)
    assert node.ready(b"q") == 4


def test_a_large_message_is_shown_in_part_and_downloaded_whole(api, node):
    node.declare(b"q")
    node.publish(b"q", "ä".encode() * 1000, headers={"h": "a" * 2000}, content_type="text/plain")
    [seen] = api("GET", "queues/q/messages")["items"]
    assert seen["body"] == {"text": "ä" * 512}
    assert (seen["truncated"], seen["body_bytes"]) == (True, 2000)
    assert seen["properties"] == {"content_type": "text/plain"}
    whole = api("GET", "queues/q/messages/0")
    assert (whole["truncated"], len(whole["properties"]["headers"]["h"])) == (False, 2000)
    assert whole["body"] == {"text": "ä" * 1000}


@pytest.mark.parametrize(
    ("then", "left", "dead"),
    [("ack", 1, 0), ("requeue", 3, 0), ("reject", 1, 2), ("reject-requeue", 3, 0)],
)
def test_what_is_fetched_goes_where_it_is_told_to(api, node, then, left, dead):
    node.declare(b"dead")
    node.declare(b"q", dead_letter_exchange="", dead_letter_routing_key="dead")
    node.publish(b"q", b"1", b"2", b"3")
    got = api("POST", "queues/q/get", {"count": 2, "then": then})["items"]
    assert [it["body"]["text"] for it in got] == ["1", "2"]
    assert [it["ready"] for it in got] == [2, 1]
    assert (node.ready(b"q"), node.ready(b"dead")) == (left, dead)


def test_what_can_not_be_fetched_is_said(api, node):
    node.declare(b"q", single_active_consumer=True)
    assert api("POST", "queues/q/get", status=409)["kind"] == "SingleActive"
    assert (
        "must be one of ack, requeue" in api("POST", "queues/q/get", {"then": "eat"}, 400)["error"]
    )
    api("POST", "queues/q/get", {"count": 0}, 400)
    api("POST", "queues/nobody/get", status=404)


def test_what_is_fetched_for_a_client_that_has_gone_comes_back(api, node):
    node.declare(b"q")
    node.publish(b"q", *[b"1"] * (acts.FETCHED_AT_ONCE + 1))
    body = json.dumps({"count": 1000, "then": "ack"}).encode()
    assert api.peer.say(request("POST", "/api/v1/queues/q/get", body)) == b""
    api.peer.session.close()
    node.run()
    assert node.ready(b"q") == acts.FETCHED_AT_ONCE + 1


def test_an_exchange_that_goes_while_a_list_is_made_is_left_out(api, node):
    for number in range(300):
        node.exchange(b"x%d" % number)
    turns = Turns()
    api.peer = HttpPeer(queues=node.queues, router=HANDLERS, slices=Slices(turns.soon))
    asked = request("GET", "/api/v1/exchanges?sort=-bindings&page_size=500&filter=x")
    assert api.peer.say(asked) == b""
    node.vhost.delete_exchange(b"x7")
    while turns.left:
        turns.over()
    [(status, _, body)] = answers(api.peer.out())
    assert (status, len(json.loads(body)["items"])) == (200, 299)


def test_messages_are_moved_after_it_was_said_what_would_be(api, node):
    node.declare(b"from")
    node.declare(b"to")
    node.publish(b"from", b"1", b"2", b"3")
    move = {"to_exchange": "", "key": "to", "limit": 2}
    would = api("POST", "queues/from/move", {**move, "dry_run": True})
    assert would == {"moved": 2, "unrouted": 0, "refused": 0, "error": None, "dry_run": True}
    assert api("POST", "queues/from/move", move) == would | {"dry_run": False}
    assert api("POST", "queues/from/move", {"to_exchange": "amq.direct"})["unrouted"] == 1
    api("POST", "queues/from/move", {"to_exchange": "nobody", "dry_run": True}, 404)
    api("POST", "queues/from/move", {"to_exchange": "", "limit": 0}, 400)
    assert (node.ready(b"from"), node.ready(b"to")) == (1, 2)


def test_a_picture_shows_the_way_that_a_message_would_go(api, node):
    node.exchange(b"x", "topic")
    node.declare(b"q")
    node.declare(b"r", dead_letter_exchange="", dead_letter_routing_key="q")
    node.bind(b"x", b"q", b"a.#")
    node.bind(b"x", b"q", b"a.b")
    node.bind(b"x", b"r", b"c")
    node.publish(b"c", b"1", exchange=b"x")
    drawn = api("GET", "routing")
    assert not drawn["cut"]
    nodes = {it["id"]: it for it in drawn["nodes"]}
    assert set(nodes) == {"exchange:x", "queue:q", "queue:r"}
    assert nodes["queue:r"] == {
        "id": "queue:r", "kind": "queue", "name": "r", "type": "classic", "durable": True,
        "ready": 1, "unacked": 0, "consumers": 0, "flags": ["no-consumer"],
    }  # fmt: skip
    assert (nodes["exchange:x"]["type"], nodes["exchange:x"]["bindings"]) == ("topic", 3)
    tried = api("POST", "routing/test", {"exchange": "x", "key": "a.b"})
    assert (tried["queues"], tried["hidden"], tried["cut"]) == (["q"], 0, False)
    assert [it["key"] for it in tried["path"]] == ["a.#", "a.b"]
    assert all(it in drawn["edges"] for it in tried["path"])
    assert api("POST", "routing/test", {"exchange": "", "key": "q"})["path"] == [
        {"from": "exchange:", "to": "queue:q", "kind": "default", "key": None, "arguments": {}}
    ]
    copied = {"exchange": "x", "key": "no", "headers": {"CC": ["c"]}}
    assert api("POST", "routing/test", copied)["queues"] == ["r"]
    around = api("GET", "routing?focus=queue:r&depth=1")
    assert [it["id"] for it in around["nodes"]] == ["queue:r", "exchange:x", "queue:q"]
    assert node.ready(b"q") == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "routing?focus=q", None, 400),
        ("GET", "routing?focus=topic:q", None, 400),
        ("GET", "routing?focus=queue:nobody", None, 404),
        ("GET", "routing?depth=51", None, 400),
        ("POST", "routing/test", None, 400),
        ("POST", "routing/test", {"exchange": "nobody"}, 404),
        ("POST", "routing/test", {"exchange": "amq.rabbitmq.trace"}, 409),
        ("POST", "routing/test", {"exchange": "amq.rabbitmq.trace", "dead": True}, 200),
        ("POST", "routing/test", {"exchange": "amq.topic", "headers": {"CC": 1}}, 400),
    ],
)
def test_what_can_not_be_drawn_or_tried_is_said(api, method, path, body, status):
    api(method, path, body, status)


def test_rates_of_queues_are_shown_and_sorted_by_once_they_are_known(api, node):
    for name in (b"a", b"b"):
        node.declare(name)
    figures = api.peer.door.figures
    figures.sources["queue"] = lambda: [
        Seen(it.id, (it.counts.published, it.counts.given_out, it.counts.acked, it.ready, it.out))
        for it in node.vhost.queues()
    ]
    now = 100.0
    figures._stopwatch = lambda: now
    assert api("GET", "queues")["items"][0]["in_per_s"] is None
    Slices().begin(figures.look(), lambda _: None)
    node.publish(b"b", *[b"1"] * 20)
    now += STEP_S
    Slices().begin(figures.look(), lambda _: None)
    rows = api("GET", "queues?sort=-in_per_s")["items"]
    assert [(it["name"], it["in_per_s"]) for it in rows] == [("b", 2.0), ("a", 0.0)]
    shown = api("GET", "queues/b")
    assert (shown["counts"]["published"], shown["history"]["step_s"]) == (20, STEP_S)
    now += STEP_S
    Slices().begin(figures.look(), lambda _: None)
    assert api("GET", "queues/b")["history"]["ready"][-1] == 20
    node.declare(b"c")
    api("POST", "queues/b/move", {"to_exchange": "", "key": "c", "limit": 3})
    assert api("GET", "queues/b")["counts"]["got_no_ack"] == 3
    assert api("GET", "queues/c")["counts"]["published"] == 3


def test_one_who_may_not_is_told_no_more_than_that(node):
    users = Users("al")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    node.declare(b"q")
    node.publish(b"q", b"secret")
    for method, path, body in (
        ("GET", "queues/{}", None), ("PUT", "queues/{}", None), ("DELETE", "queues/{}", None),
        ("POST", "queues/{}/purge", None), ("GET", "queues/{}/messages", None),
        ("GET", "queues/{}/messages/0", None), ("GET", "queues/{}/messages/0/body", None),
        ("POST", "queues/{}/get", None), ("POST", "queues/{}/move", {"to_exchange": ""}),
        ("GET", "queues/{}/history", None), ("GET", "queues/{}/history/0", None),
        ("GET", "queues/{}/history/0/body", None),
        ("POST", "queues/{}/replay", {"into": "exchange:"}),
        ("GET", "queues/{}/bindings", None), ("GET", "queues/{}/consumers", None),
        ("GET", "exchanges/{}", None), ("PUT", "exchanges/{}", None),
        ("DELETE", "exchanges/{}", None), ("POST", "exchanges/{}/publish", None),
        ("GET", "exchanges/{}/bindings", None),
        ("POST", "bindings", {"source": "amq.direct", "destination": "q"}),
        ("DELETE", "bindings", {"source": "amq.direct", "destination": "q"}),
    ):  # fmt: skip
        told = {al.raw(method, path.format(it), body)[0] for it in ("q", "amq.topic", "nobody")}
        assert told == {403}, (method, path)
    users.permit("al", "", "", "^r")
    assert al("GET", "queues")["items"] == []
    assert al("GET", "bindings")["items"] == []
    assert al("GET", "routing")["nodes"] == []
    al("GET", "routing?focus=queue:q", status=404)
    al("POST", "routing/test", {"exchange": "amq.topic"}, 403)
    users.permit("al", "", "", "amq.topic")
    node.bind(b"amq.topic", b"q", b"#")
    tried = al("POST", "routing/test", {"exchange": "amq.topic"})
    assert tried == {"path": [], "queues": [], "hidden": 1, "cut": False}
    node.empty()


def test_a_virtual_host_that_one_may_not_enter_is_told_of(node, caplog):
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), Users("al").access)
    assert {al.raw("GET", f"queues?vhost={it}")[0] for it in ("%2F", "nope")} == {403}
    assert "User:al from ::1: enter vhost nope: refused: no permission there" in caplog.text


def test_messages_of_an_exclusive_queue_are_for_its_connection_alone(node):
    users = Users("al")
    users.permit("al", ".*", ".*", ".*")
    node.declare(b"replies", object(), exclusive=True)
    node.publish(b"replies", b"secret")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    assert al("GET", "queues/replies")["ready"] == 1
    for path in ("messages", "messages/0", "messages/0/body"):
        status, _, answer = al.raw("GET", f"queues/replies/{path}")
        assert (status, b"secret" in answer) == (409, False)
    root = Api(node, Identity("root", "::1", "PLAIN", "http"), users.access)
    assert root("GET", "queues/replies/messages")["items"][0]["body"] == {"text": "secret"}
    assert Api(node)("GET", "queues/replies/messages")["items"]
    node.empty()


def test_moving_ends_when_one_may_not_move_any_more(node, monkeypatch):
    users = Users("al")
    users.permit("al", "", "amq.default", "^from$")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    for name in (b"from", b"to"):
        node.declare(name)
    for _ in range(2 * STEP_MAX):
        node.publish(b"from", b"1")
    monkeypatch.setattr(Queue, "moved", lambda queue, count: users.forget_rules())  # by a step
    found = al("POST", "queues/from/move", {"to_exchange": "", "key": "to"})
    assert found["moved"] == STEP_MAX
    assert found["error"].startswith("al may not read queue 'from'")
    assert node.vhost.topology.queue(b"to").ready == STEP_MAX
    node.empty()


def test_a_queue_that_is_seen_may_still_keep_its_messages_to_itself(node):
    users = Users("al")
    users.add("bo", "monitoring")
    node.declare(b"q")
    node.publish(b"q", b"secret")
    users.permit("al", "^q$", "", "")
    for name in ("al", "bo"):
        api = Api(node, Identity(name, "::1", "PLAIN", "http"), users.access)
        assert api("GET", "queues/q")["ready"] == 1
        api("GET", "queues/q/messages", status=403)
        api("POST", "queues/q/get", status=403)
    users.permit("al", "", "", "^q$")
    al = Api(node, Identity("al", "::1", "PLAIN", "http"), users.access)
    assert al("GET", "queues/q/messages")["items"][0]["body"] == {"text": "secret"}
    al("DELETE", "queues/q", {"dry_run": True}, 403)
    node.empty()


def test_before_not_found_all_is_read_that_other_nodes_have_made(node):
    looks = []
    api = Api(node, read_on=looks.append)
    for path, made in (("queues/late", True), ("queues/never", False)):
        said = [api.peer.say(request("GET", f"/api/v1/{path}"))]
        assert (said, len(looks)) == ([b""], 1)
        if made:
            node.declare(b"late")
        looks.pop()(None)
        node.run(until=lambda said=said: said.append(api.peer.out()) or said[-1])
        [(status, _, _)] = answers(b"".join(said))
        assert (status, looks) == (200 if made else 404, [])
    said = api.peer.say(request("GET", "/api/v1/queues/never"))
    looks.pop()(ClusterUnreachable("no broker answers"))
    [(status, _, body)] = answers(said + api.peer.out())
    assert (status, b"no broker answers" in body) == (503, True)
    node.empty()
