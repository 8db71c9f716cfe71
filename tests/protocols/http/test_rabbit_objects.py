"""RabbitMQ's API of virtual hosts, exchanges, queues and bindings: as the real one answers."""

import pytest
from http_kit import answers, request
from rabbit_api import NOT_FOUND, REFUSED, new_api
from turns_by_hand import Turns

from logstore.access.identity import OWNER
from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.protocols.http.common.node import NODE
from logstore.slices import UNITS, Slices


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def api(life):
    yield life
    life.node.empty()


def names(rows):
    return [it["name"] for it in rows]


# Virtual hosts


def test_a_virtual_host_is_made_once_and_deleted_once(api):
    api.put("vhosts/shop")
    api.put("vhosts/shop", {"description": "ignored"}, status=204)
    found = api.get("vhosts/shop")
    assert (found["name"], found["tags"], found["messages"]) == ("shop", [], 0)
    assert found["cluster_state"] == {NODE: "running"}
    assert names(api.get("vhosts")) == ["/", "shop"]
    api.delete("vhosts/shop")
    assert api.ask("DELETE", "vhosts/shop") == (404, NOT_FOUND)
    assert api.ask("GET", "vhosts/shop") == (404, NOT_FOUND)
    assert api.ask("GET", "queues/shop") == (404, NOT_FOUND)


def test_a_virtual_host_counts_what_its_queues_have(api):
    api.node.declare(b"q")
    api.node.publish(b"q", b"a", b"b")
    found = api.get("vhosts/%2F")
    assert (found["messages"], found["messages_ready"]) == (2, 2)


# Exchanges


def test_an_exchange_is_declared_with_what_is_left_out_as_in_rabbitmq(api):
    api.put("exchanges/%2F/x", {"type": "topic", "durable": "true", "arguments": {"k": [1, "a"]}})
    api.put("exchanges/%2F/x", {"type": "topic", "durable": True}, status=204)
    assert api.get("exchanges/%2F/x") == {
        "arguments": {"k": [1, "a"]}, "auto_delete": False, "durable": True, "incoming": [],
        "internal": False, "name": "x", "outgoing": [], "type": "topic",
        "user_who_performed_action": "", "vhost": "/",
    }  # fmt: skip
    api.put("exchanges/%2F/y", b"")
    found = api.get("exchanges/%2F/y")
    assert (found["type"], found["durable"]) == ("direct", False)
    api.delete("exchanges/%2F/y")
    assert api.ask("DELETE", "exchanges/%2F/y") == (404, NOT_FOUND)


def test_the_default_exchange_has_a_name_in_paths(api):
    assert api.get("exchanges/%2F/amq.default")["name"] == ""
    assert api.ask("PUT", "exchanges/%2F/amq.default", {}) == (401, REFUSED)
    assert api.ask("DELETE", "exchanges/%2F/amq.default") == (401, REFUSED)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("x", {"type": "direct"}, "inequivalent arg 'type' for exchange 'x' in vhost '/': received "
         "'direct' but current is 'topic'"),
        ("y", {"type": "nope"}, "invalid exchange type 'nope'"),
        ("y", {"durable": "yes"}, ["not_boolean", "yes"]),
        ("y", {"type": 5}, ["not_string", "type"]),
        ("y", b"{", "not_json"),
        ("y", b"[]", "not_json"),
        ("y", b"[" * 100_000, "not_json"),
        ("y", {"arguments": {"a": None}}, "null_not_allowed"),
        ("y", {"arguments": 5}, ["not_a_table", "5"]),
        ("y", {"arguments": {"a": 1 << 64}}, ["not_int64", str(1 << 64)]),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_is_refused_in_rabbitmqs_words(api, path, body, reason):
    api.put("exchanges/%2F/x", {"type": "topic"})
    assert api.refuses("PUT", f"exchanges/%2F/{path}", body) == reason


def test_reserved_names_are_refused_as_if_one_had_no_right_to_them(api):
    assert api.ask("PUT", "exchanges/%2F/amq.mine", {}) == (401, REFUSED)
    assert api.ask("PUT", "queues/%2F/amq.mine", {}) == (401, REFUSED)
    assert api.ask("DELETE", "exchanges/%2F/amq.direct") == (401, REFUSED)


def test_a_name_longer_than_amqp_has_them_is_refused(api):
    for kind in ("exchanges", "queues"):
        api.refuses("PUT", f"{kind}/%2F/{'n' * 256}", {})
        api.put(f"{kind}/%2F/{'n' * 255}")


def test_an_exchange_with_bindings_stays_if_it_is_to_be_unused(api):
    api.node.exchange(b"x")
    api.node.declare(b"q")
    api.node.bind(b"x", b"q")
    reason = api.refuses("DELETE", "exchanges/%2F/x?if-unused=true")
    assert reason == "exchange 'x' in vhost '/' in use"
    api.delete("exchanges/%2F/x?if-unused=false")


# Queues


def test_a_queue_is_shown_with_all_that_tools_read(api):
    api.put("queues/%2F/q", {"durable": True, "arguments": {"x-max-length": 5, "x-queue-type":
            "quorum"}})  # fmt: skip
    api.node.publish(b"q", b"first", b"second")
    found = api.get("queues/%2F/q")
    wanted = {
        "name": "q", "vhost": "/", "durable": True, "auto_delete": False, "exclusive": False,
        "arguments": {"x-max-length": 5, "x-queue-type": "quorum"}, "node": NODE, "type": "quorum",
        "state": "running", "messages": 2, "messages_ready": 2, "messages_unacknowledged": 0,
        "messages_persistent": 2, "messages_ram": 0, "consumers": 0, "consumer_utilisation": 0.0,
        "policy": None, "exclusive_consumer_tag": None, "members": [NODE], "consumer_details": [],
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_bytes_of_messages_are_none_once_all_are_settled(api):
    api.more["log_bytes"] = lambda log: 1000
    api.node.declare(b"q")
    api.node.publish(b"q", b"a", b"b")
    found = api.get("queues/%2F/q")
    assert (found["message_bytes"], found["message_bytes_ready"]) == (1000, 1000)
    api.delete("queues/%2F/q/contents")
    assert api.get("queues/%2F/q")["message_bytes"] == 0


def test_a_queue_is_declared_again_only_as_it_is(api):
    api.put("queues/%2F/q", {"durable": True})
    api.put("queues/%2F/q", {"durable": "true", "auto_delete": "false"}, status=204)
    reason = api.refuses("PUT", "queues/%2F/q", {})
    assert reason == (
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is "
        "'true'"
    )
    api.refuses("PUT", "queues/%2F/new", {"exclusive": True})
    reason = api.refuses("PUT", "queues/%2F/new", {"node": "rabbit@elsewhere"})
    assert reason == "Node rabbit@elsewhere could not be contacted"
    api.put("queues/%2F/new", {"node": NODE})


def test_a_queue_is_deleted_unless_it_is_used_or_has_messages(api):
    api.node.declare(b"q")
    api.node.publish(b"q", b"a")
    assert api.refuses("DELETE", "queues/%2F/q?if-empty=true") == "queue 'q' in vhost '/' not empty"
    api.delete("queues/%2F/q/contents")
    api.delete("queues/%2F/q?if-empty=true&if-unused=true")
    for path in ("queues/%2F/q", "queues/%2F/q/contents"):
        assert api.ask("DELETE", path) == (404, NOT_FOUND)
    assert api.ask("GET", "queues/%2F/q") == (404, NOT_FOUND)


def test_an_exclusive_queue_is_its_connections(api):
    api.node.declare(b"q", owner=object(), exclusive=True)
    for path in ("queues/%2F/q", "queues/%2F/q/contents"):
        assert "exclusive access to locked queue 'q'" in api.refuses("DELETE", path)
    assert api.get("queues/%2F/q")["exclusive"] is True


def test_a_path_may_end_in_a_slash_and_no_virtual_host_is_the_default_one(api):
    """Flower asks for ``/api/queues//`` where its broker's virtual host is ``/``."""
    api.node.add_vhost(b"other")
    api.node.within(b"other").declare(b"there")
    api.node.within(b"/").declare(b"here")
    assert names(api.get("queues//")) == names(api.get("queues/%2F")) == ["here"]
    assert names(api.get("queues/")) == names(api.get("queues")) == ["here", "there"]
    api.node.delete_vhost(b"other")


# Bindings


def test_bindings_are_made_found_and_removed_by_their_properties_key(api):
    api.node.exchange(b"x", "topic")
    api.node.declare(b"q")
    api.post("bindings/%2F/e/x/q/q", {"routing_key": "a.* /~%\xe9"}, 201)
    assert api.headers["location"] == "q/a.%252A%2B%252F%257E%2525%25C3%25A9"
    api.post("bindings/%2F/e/x/q/q", {"routing_key": "k", "arguments": {"n": 1}}, 201)
    api.post("bindings/%2F/e/x/q/q", b"", 201)
    assert api.headers["location"] == "q/~"
    rows = api.get("bindings/%2F/e/x/q/q")
    plain, keyed, empty = rows
    assert plain["properties_key"] == "a.%2A+%2F%7E%25%C3%A9"
    assert keyed["properties_key"].startswith("k~")
    assert empty == {
        "source": "x", "vhost": "/", "destination": "q", "destination_type": "queue",
        "routing_key": "", "arguments": {}, "properties_key": "~",
    }  # fmt: skip
    for row in rows:
        path = "bindings/%2F/e/x/q/q/" + row["properties_key"].replace("%", "%25")
        assert api.get(path) == row
        api.delete(path)
        assert api.ask("DELETE", path) == (404, NOT_FOUND)
    assert api.get("bindings/%2F/e/x/q/q") == []


def test_bindings_that_differ_in_the_type_of_an_argument_have_keys_of_their_own(api):
    api.node.exchange(b"x", "headers")
    api.node.declare(b"q")
    for number in (1, 1.0, "1", True, [1]):
        api.post("bindings/%2F/e/x/q/q", {"arguments": {"n": number}}, 201)
    keys = {it["properties_key"] for it in api.get("bindings/%2F/e/x/q/q")}
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "bindings/%2F/e/x/q/q", 200),
        ("GET", "bindings/%2F/e/x/q/q/~none", 404),
        ("DELETE", "bindings/%2F/e/x/q/q/~none", 404),
        ("GET", "queues/%2F/q/bindings", 200),
    ],
)
def test_thousands_of_bindings_between_two_ends_keep_nobody_waiting(api, method, path, status):
    node, count, turns = api.node, 3000, Turns()
    node.exchange(b"x", "headers")
    node.declare(b"q")
    there = [Binding(b"x", b"q", b"", Arguments(((b"n", Field("I", it)),))) for it in range(count)]

    api.more |= {"slices": Slices(turns.soon)}
    peer = api.peer(OWNER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(node.vhost.topology), "bindings_to", lambda *_: iter(there))
        assert peer.say(request(method, f"/api/{path}").replace(b": x", b": localhost")) == b""
        taken = 0
        while turns.left:
            turns.over()
            taken += 1
        [(found, _, _)] = answers(peer.out())
    del api.more["slices"]
    assert (found, taken >= count // UNITS) == (status, True)


def test_bindings_are_listed_from_both_ends(api):
    api.node.exchange(b"x", "topic")
    api.node.exchange(b"y", "fanout")
    api.node.declare(b"q")
    api.post("bindings/%2F/e/x/e/y", {"routing_key": "z"}, 201)
    api.post("bindings/%2F/e/x/q/q", {"routing_key": "a"}, 201)
    found = api.get("exchanges/%2F/x/bindings/source")
    assert [it["destination"] for it in found] == ["y", "q"]
    [row] = api.get("exchanges/%2F/y/bindings/destination")
    assert (row["source"], row["destination_type"]) == ("x", "exchange")
    assert [it["source"] for it in api.get("queues/%2F/q/bindings")] == ["", "x"]
    assert len(api.get("bindings")) == len(api.get("bindings/%2F")) == 3
    assert [it["source"] for it in api.get("bindings/%2F/e/amq.default/q/q")] == [""]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("POST", "bindings/%2F/e/x/q/nope", 404, "no queue 'nope' in vhost '/'"),
        ("POST", "bindings/%2F/e/nope/q/q", 404, "no exchange 'nope' in vhost '/'"),
        ("POST", "bindings/%2F/e/amq.default/q/q", 401, "Access refused."),
        ("POST", "bindings/%2F/e/x/z/q", 404, "Not Found"),
        ("DELETE", "bindings/%2F/e/x/q/q/nope", 404, "Not Found"),
        ("DELETE", "bindings/%2F/e/amq.default/q/q/q", 401, "Access refused."),
        ("GET", "bindings/%2F/e/x/q/q/nope", 404, "Not Found"),
        ("GET", "queues/%2F/nope/bindings", 404, "Not Found"),
        ("GET", "exchanges/%2F/nope/bindings/source", 404, "Not Found"),
        ("GET", "exchanges/%2F/x/bindings/elsewhere", 404, "no such path"),
    ],
)
def test_what_cannot_be_bound_or_found_is_said(api, method, path, status, reason):
    api.node.exchange(b"x", "topic")
    api.node.declare(b"q")
    body = {} if method == "POST" else None
    assert reason in api.refuses(method, path, body, status=status)
