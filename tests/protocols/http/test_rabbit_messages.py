"""RabbitMQ's API of messages: published, fetched, put back."""

import base64
import json

import pytest
from http_kit import request
from rabbit_api import new_api

from logstore.access.identity import OWNER
from logstore.broker.queues import acts
from logstore.protocols.http.rabbit.messages import AUTO, BASE64

PUBLISH = "exchanges/%2F/amq.default/publish"
GET = "queues/%2F/q/get"


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def api(life):
    life.node.declare(b"q")
    yield life
    life.node.empty()


def message(payload="x", key="q", encoding="string", **properties):
    return {"properties": properties, "routing_key": key, "payload": payload,
            "payload_encoding": encoding}  # fmt: skip


def get(count=1, mode="ack_requeue_true", encoding=AUTO, **more):
    return {"count": count, "ackmode": mode, "encoding": encoding, **more}


def test_a_message_is_published_and_fetched_as_it_was(api):
    given = {
        "delivery_mode": 2, "headers": {"h": 1, "s": "t", "f": 1.5, "b": True, "l": [1, "x"],
        "t": {"a": 1}}, "content_type": "text/plain", "priority": 3, "correlation_id": "c",
        "reply_to": "r", "expiration": "600000", "message_id": "m", "timestamp": 12345,
        "type": "ty", "app_id": "ap", "cluster_id": "cl",
    }  # fmt: skip
    assert api.post(PUBLISH, message("h\xe9llo", nope=1, **given)) == {"routed": True}
    assert api.post(PUBLISH, message(key="nowhere")) == {"routed": False}
    assert api.post(GET, get(mode="ack_requeue_false")) == [{
        "payload_bytes": 6, "redelivered": False, "exchange": "", "routing_key": "q",
        "message_count": 0, "properties": given, "payload": "h\xe9llo",
        "payload_encoding": "string",
    }]  # fmt: skip
    assert api.post(GET, get()) == []


def test_a_message_is_persistent_only_if_that_is_said(api):
    api.post(PUBLISH, message())
    [found] = api.post(GET, get())
    assert found["properties"] == []  # as RabbitMQ shows that there are none


def test_bytes_come_and_go_as_base64(api):
    data = bytes(range(256))
    api.post(PUBLISH, message(base64.b64encode(data).decode(), encoding=BASE64))
    [found] = api.post(GET, get())
    assert (base64.b64decode(found["payload"]), found["payload_encoding"]) == (data, BASE64)
    [found] = api.post(GET, get(encoding=BASE64, truncate="3"))
    assert (found["payload"], found["payload_bytes"]) == (base64.b64encode(data[:3]).decode(), 256)


def test_a_text_that_is_cut_within_a_character_comes_as_base64(api):
    api.post(PUBLISH, message("\xe9\xe9"))
    [found] = api.post(GET, get(truncate=3))
    assert found["payload_encoding"] == BASE64


@pytest.mark.parametrize(
    ("mode", "left", "dead"),
    [
        ("ack_requeue_true", ["a", "b", "c"], 0),
        ("reject_requeue_true", ["a", "b", "c"], 0),
        ("ack_requeue_false", ["c"], 0),
        ("reject_requeue_false", ["c"], 2),
    ],
)
def test_what_becomes_of_messages_that_were_fetched(api, mode, left, dead):
    api.node.declare(b"dead")
    api.node.declare(b"d", dead_letter_exchange="", dead_letter_routing_key="dead")
    for payload in "abc":
        api.post(PUBLISH, message(payload, key="d"))
    found = api.post("queues/%2F/d/get", get(2, mode))
    assert [it["payload"] for it in found] == ["a", "b"]
    assert [it["message_count"] for it in found] == [2, 1]
    assert [it["payload"] for it in api.post("queues/%2F/d/get", get(10))] == left
    assert api.node.ready(b"dead") == dead


def test_large_messages_are_given_a_few_at_a_time(api):
    bodies = [bytes([ord("a") + number]) * 100_000 for number in range(5)]
    api.node.publish(b"q", *bodies)
    found = api.post(GET, get(9))
    assert "content-length" not in api.headers
    assert [it["payload"].encode() for it in found] == bodies
    assert len(api.post(GET, get(9, "ack_requeue_false", truncate=1))[0]["payload"]) == 1
    assert api.node.ready(b"q") == 0


def test_what_nobody_waits_for_any_more_is_not_lost(api):
    count = acts.FETCHED_AT_ONCE + 1
    api.node.publish(b"q", *[b"a"] * count)
    peer, body = api.peer(OWNER), json.dumps(get(1000, "ack_requeue_false")).encode()
    asked = request("POST", f"/api/{GET}", body).replace(b"host: x", b"host: localhost")
    assert peer.say(asked) == b""
    peer.session.close()
    api.node.run()
    assert api.node.ready(b"q") == count


def test_more_messages_than_a_turn_gives_out_are_fetched_in_order(api):
    bodies = [str(number).encode() for number in range(250)]
    api.node.publish(b"q", *bodies)
    found = api.post(GET, get(-1)), api.post(GET, get(249, "ack_requeue_false"))
    assert found[0] == []  # fewer than none
    assert [it["payload"].encode() for it in found[1]] == bodies[:249]
    [last] = api.post(GET, get(1e3))
    assert last["payload"] == "249"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "[{key_missing,properties},{key_missing,routing_key},{key_missing,payload},"
             "{key_missing,payload_encoding}]"),
        (message(5), "payload_not_string"),
        (message(encoding="rot13"), ["unsupported_encoding", "rot13"]),
        (message("!!", encoding=BASE64), ["not_base64", "!!"]),
        (message(delivery_mode="2"), ["not_int", "delivery_mode"]),
        (message(delivery_mode=256), ["not_int", "delivery_mode"]),
        (message(priority=True), ["not_int", "priority"]),
        (message(timestamp=-1), ["not_int", "timestamp"]),
        (message(expiration=5), ["not_string", "expiration"]),
        (message(headers=5), ["not_a_table", "5"]),
        (message(headers={"a": None}), "null_not_allowed"),
        (message(headers={"n" * 256: 1}),
         f"a name in a table has at most 255 bytes: '{'n' * 20}'..."),
        (message(type="t" * 256), "property type takes at most 255 bytes"),
        (message(expiration="abc"),
         "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer"),
        ({**message(), "properties": 5}, ["not_a_table", "properties"]),
        (message(key="k" * 256), f"a routing key of 256 bytes ({'k' * 20!r}...): at most 255"),
        (message(reply_to="amq.rabbitmq.reply-to"),
         "406 PRECONDITION_FAILED - reply_to=amq.rabbitmq.reply-to works only for AMQP clients:"
         " no reply would reach this client"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_refused(api, body, reason):
    assert api.refuses("POST", PUBLISH, body) == reason
    assert api.node.ready(b"q") == 0


@pytest.mark.parametrize("given", [message("\ud800"), message(expiration="\ud800"),
                                   message(headers={"\ud800": 1})])  # fmt: skip
def test_half_a_character_is_no_text(api, given):
    assert api.refuses("POST", PUBLISH, given) == "not_json"
    api.post(PUBLISH, message("\udcff"))
    [found] = api.post(GET, get())
    assert base64.b64decode(found["payload"]) == b"\xff"


def test_exchanges_that_take_nothing_refuse_as_a_channel_would_be_closed(api):
    reason = api.refuses("POST", "exchanges/%2F/nope/publish", message())
    assert reason == "404 NOT_FOUND - no exchange 'nope' in vhost '/'"
    reason = api.refuses("POST", "exchanges/%2F/amq.rabbitmq.trace/publish", message())
    assert reason == (
        "403 ACCESS_REFUSED - cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "[{key_missing,ackmode},{key_missing,count},{key_missing,encoding}]"),
        (get(mode="nope"), "ackmode is one of ack_requeue_true, reject_requeue_true, "
                           "ack_requeue_false, reject_requeue_false"),
        (get(encoding="nope"), "Unsupported encoding. Please use auto or base64."),
        (get("a"), ["not_integer", "a"]),
        (get([]), ["not_integer", "[]"]),
        (get(b'{"count": 1e999, "ackmode": "ack_requeue_true", "encoding": "auto"}'.decode()),
         None),
        (get(truncate=-1), ["not_integer", -1]),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_is_refused_and_nothing_is_given_out(api, body, reason):
    api.node.publish(b"q", b"a")
    found = api.refuses("POST", GET, body)
    assert reason is None or found == reason
    [first] = api.post(GET, get())
    assert first["redelivered"] is False


def test_a_number_that_is_none_is_refused(api):
    body = b'{"count": 1e999, "ackmode": "ack_requeue_true", "encoding": "auto"}'
    assert api.refuses("POST", GET, body) == ["not_integer", "inf"]


def test_a_queue_that_is_not_there_gives_nothing(api):
    reason = api.refuses("POST", "queues/%2F/nope/get", get(), status=404)
    assert reason == "no queue 'nope' in vhost '/'"


def test_a_full_queue_that_refuses_messages_says_so(api):
    api.node.declare(b"full", max_length=1, overflow="reject-publish")
    assert api.post(PUBLISH, message(key="full")) == {"routed": True}
    reason = api.refuses("POST", PUBLISH, message(key="full"))
    assert reason == "rejected Unable to publish message. Check queue limits."
