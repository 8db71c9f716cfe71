"""What exchanges match (T29, T30), and what they keep until its time (T32)."""

import pytest
from amqp_kit import bind, declare, exchange, get, headers, soft, unbind

from logstore.amqp import fields, methods
from logstore.amqp.properties import Properties


def matches(door, peer, arguments, headers):
    """Whether a binding with these arguments takes a message with these headers."""
    peer.ask(exchange("h", "headers"))
    name = peer.ask(declare("")).queue
    peer.ask(bind(name, "h", **arguments))
    peer.publish(b"x", exchange="h", props=Properties(headers=headers))
    door.run()
    found = door.node.ready(name.encode())
    peer.ask(methods.QueueDelete(0, name, False, False, False))
    return bool(found)


def test_t29_values_are_equal_within_their_class(door, peer):
    wide = fields.Long(1)
    for asked, given, expected in (
        (1, 1, True), (1, wide, True), (wide, fields.SignedOctet(1), True), (1, 2, False),
        (1, 1.0, False), (1, "1", False), (1, True, False), (True, True, True),
        ("a", "a", True), ("a", "A", False), (1.0, 1.0, True), (1.0, fields.Float(1.0), True),
        (None, 1, True), (None, "x", True), (None, None, True), ({"a": 1}, {"a": 1}, True),
    ):  # fmt: skip
        assert matches(door, peer, {"n": asked}, {"n": given}) is expected, (asked, given)
    assert not matches(door, peer, {"n": None}, {})
    assert not matches(door, peer, {"n": None}, None)


@pytest.mark.parametrize(
    ("match", "headers", "expected"),
    [
        (None, {"a": 1, "b": 2}, True), (None, {"a": 1}, False),
        ("all", {"a": 1, "b": 2, "c": 3}, True), ("all", {"a": 1, "b": 3}, False),
        ("any", {"a": 1}, True), ("any", {"a": 2, "b": 3}, False), ("any", {}, False),
        ("all-with-x", {"a": 1, "b": 2}, False), ("all-with-x", {"a": 1, "b": 2, "x-c": 3}, True),
        ("any-with-x", {"x-c": 3}, True), ("any", {"x-c": 3}, False),
    ],
)  # fmt: skip
def test_t29_all_and_any_with_and_without_x(door, peer, match, headers, expected):
    arguments = {"a": 1, "b": 2, "x-c": 3} | ({} if match is None else {"x-match": match})
    assert matches(door, peer, arguments, headers) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, True), ({"x-match": "all"}, True), ({"x-match": "any"}, False),
        ({"x-match": "any", "x-c": 1}, False), ({"x-c": 1}, True),
    ],
)  # fmt: skip
def test_t29_with_nothing_to_ask_for_all_takes_everything_and_any_nothing(
    door, peer, arguments, expected
):
    for given in (None, {}, {"a": 1}):
        assert matches(door, peer, arguments, given) is expected


def test_t29_a_bad_x_match_is_refused(peer):
    peer.ask(declare())
    assert peer.ask(bind(source="amq.headers", **{"x-match": "foo"})) == soft(
        406,
        'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; expected all, any, '
        "all-with-x, or any-with-x",
        (50, 20),
    )


def test_t29_bindings_that_differ_in_a_width_are_two_and_are_unbound_by_their_own(door, peer):
    peer.ask(declare())
    for width in (1, fields.Long(1)):
        peer.ask(bind(source="amq.headers", n=width))
    peer.ask(unbind(source="amq.headers", n=1))
    for left in (1, 1):
        peer.publish(b"x", exchange="amq.headers", props=Properties(headers={"n": 1}))
        door.run()
        assert door.node.ready(b"q") == left
        peer.ask(get(no_ack=True))
    peer.ask(unbind(source="amq.headers", n=fields.Long(1)))
    peer.publish(b"x", exchange="amq.headers", props=Properties(headers={"n": 1}))
    door.run()
    assert door.node.ready(b"q") == 0


TOPICS = {
    "#": {"": True, "a": True, "a.b": True, ".": True},
    "*": {"": False, "a": True, "a.b": False},
    "#.#": {"": True, "a": True, "a.b": True},
    "": {"": True, "a": False},
    "a.*.b": {"a..b": True, "a.x.b": True, "a.b": False},
    "a.#.b": {"a.b": True, "a.x.b": True, "a.x.y.b": True, "a..b": True, "a": False},
    "a.*.c.#": {"a.b.c": True, "a.b.c.d": True, "a.c": False},
    "#.a.#": {"a": True, "x.a.y": True, "x": False},
    "*.#": {"": False, "a": True, "a.b": True},
    "A.b": {"A.b": True, "a.b": False},
    "a.": {"a.": True, "a": False},
    "\u00e4.*": {"\u00e4.x": True, "a.x": False},
    "x" * 255: {"x" * 255: True, "x" * 254: False},
    "*." * 127 + "*": {"a." * 127 + "a": True, "a." * 126 + "a": False},
}


@pytest.mark.parametrize("pattern", TOPICS)
def test_t30_words_and_wildcards(door, peer, pattern):
    peer.ask(declare())
    peer.ask(bind(source="amq.topic", key=pattern))
    for key, expected in TOPICS[pattern].items():
        before = door.node.ready(b"q")
        peer.publish(b"x", exchange="amq.topic", key=key)
        door.run()
        assert (door.node.ready(b"q") - before, key) == (int(expected), key)


def test_t30_one_copy_however_many_bindings_match_and_no_other_queue(door, peer):
    peer.ask(declare())
    peer.ask(declare("other"))
    for pattern in ("#", "a.#", "*.b", "a.b", "#.b"):
        peer.ask(bind(source="amq.topic", key=pattern))
    peer.ask(bind("other", "amq.topic", "never"))
    for key in ("a.b", ""):  # 4.3.0: an empty key reached every queue of the host
        peer.publish(b"x", exchange="amq.topic", key=key)
    door.run()
    assert (door.node.ready(b"q"), door.node.ready(b"other")) == (2, 0)


def delays(peer, durable=False):
    peer.ask(exchange("d", "x-delayed-message", durable=durable, **{"x-delayed-type": "direct"}))
    peer.ask(declare(durable=durable))
    peer.ask(bind(source="d", key="q"))


def test_t32_a_delayed_message_comes_when_it_is_due_and_says_how_long_it_waited(door, peer):
    delays(peer)
    peer.publish(b"late", exchange="d", props=Properties(headers={"x-delay": 60_000}))
    peer.publish(b"now", exchange="d")
    peer.publish(b"soon", exchange="d", props=Properties(headers={"x-delay": 1000}))
    door.run()
    assert peer.ask(get(no_ack=True))[-1] == b"now"
    door.node.later(999)
    door.run()
    assert isinstance(peer.ask(get(no_ack=True)), methods.BasicGetEmpty)
    door.node.later(1)
    door.run()
    assert peer.ask(get(no_ack=True))[-1] == b"soon"
    door.node.later(59_000)
    door.run()
    _, data, body = peer.ask(get(no_ack=True))
    assert (headers(data), body) == ({"x-delay": -60_000}, b"late")


def test_t32_a_delayed_exchange_needs_the_type_that_it_routes_as(door):
    reply = door.open().ask(exchange("d", "x-delayed-message"))
    assert (reply.reply_code, reply.class_id, reply.method_id) == (406, 40, 10)


def test_t32_a_header_delays_nothing_at_other_exchanges(peer):
    peer.ask(declare())
    peer.publish(b"x", props=Properties(headers={"x-delay": 60_000}))
    assert peer.ask(get())[-1] == b"x"
