"""A run of messages on its way into queues: what is encoded, how often, in what order it lies."""

from random import Random

import pytest
from queue_parts import props

from logstore.amqp import properties
from logstore.broker.queues import message, publishing
from logstore.broker.queues.message import FRAMED_BYTES_MAX, Framing, Message
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding


@pytest.fixture
def encoded(monkeypatch):
    """How many messages each batch had that was encoded."""
    sizes = []
    encode = message.encode_columns

    def counting(columns, **given):
        sizes.append(columns.messages)
        return encode(columns, **given)

    monkeypatch.setattr(message, "encode_columns", counting)
    return sizes


@pytest.fixture
def read(monkeypatch):
    """The properties that were read, each time."""
    found = []
    reading = properties.read

    def noting(data):
        found.append(data)
        return reading(data)

    monkeypatch.setattr(properties, "read", noting)
    return found


def run_of(node, messages):
    return [(node.vhost.route(it), it) for it in messages]


def publish(node, *messages):
    published = node.vhost.publish(run_of(node, messages))
    node.run(until=lambda: not published.waiting.parked)
    return published


def with_keys(exchange, keys):
    return [Message(exchange, key, props(), b"%d" % n) for n, key in enumerate(keys)]


def test_messages_that_alternate_between_queues_make_one_batch_for_each(node, encoded):
    for name in (b"a", b"b", b"c"):
        node.declare(name)
    publish(node, *with_keys(b"", [b"a", b"b", b"c"] * 40))
    assert encoded == [40, 40, 40]
    assert node.bodies(b"b") == [b"%d" % n for n in range(1, 120, 3)]


def test_keys_that_lead_to_the_same_queues_make_one_batch_for_all(node, encoded):
    node.exchange(b"x", "topic")
    for name in (b"a", b"b"):
        node.declare(name)
        node.bind(b"x", name, b"#")
    publish(node, *with_keys(b"x", [b"k.%d" % n for n in range(50)]))
    assert encoded == [50]
    assert node.bodies(b"a") == node.bodies(b"b") == [b"%d" % n for n in range(50)]


def test_queues_that_get_the_same_of_a_mixed_run_share_a_batch(node, encoded):
    node.exchange(b"x", "direct")
    for name in (b"a", b"b", b"c"):
        node.declare(name)
    for name in (b"a", b"b"):
        node.bind(b"x", name, b"both")
    node.bind(b"x", b"c", b"other")
    publish(node, *with_keys(b"x", [b"both", b"other"] * 10))
    assert sorted(encoded) == [10, 10]
    assert node.bodies(b"a") == node.bodies(b"b") == [b"%d" % n for n in range(0, 20, 2)]


def test_no_batch_is_much_larger_than_what_is_read_at_once(node, encoded):
    node.declare(b"q")
    large = bytes(publishing.BATCH_BYTES // 2)
    publish(node, *[Message(b"", b"q", props(), large) for _ in range(5)])
    publish(node, *[Message(b"", b"q", props(), b"") for _ in range(publishing.BATCH_MAX + 1)])
    assert encoded == [2, 2, 1, publishing.BATCH_MAX, 1]
    assert node.ready(b"q") == 5 + publishing.BATCH_MAX + 1


def test_each_queue_has_its_own_messages_in_their_order(node):
    node.exchange(b"x", "direct")
    node.declare(b"a", max_priority=2)
    node.declare(b"b")
    for name, key in ((b"a", b"a"), (b"a", b"ab"), (b"b", b"b"), (b"b", b"ab")):
        node.bind(b"x", name, key)
    for seed in range(8):
        dice = Random(seed)
        keys = dice.choices([b"a", b"b", b"ab", b"nobody"], k=30)
        priorities = dice.choices(range(4), k=len(keys))
        published = publish(node, *[
            Message(b"x", key, props(priority=priority), b"%d" % n)
            for n, (key, priority) in enumerate(zip(keys, priorities, strict=True))
        ])  # fmt: skip
        of_a = [n for n, key in enumerate(keys) if key in (b"a", b"ab")]
        of_b = [n for n, key in enumerate(keys) if key in (b"b", b"ab")]
        of_a.sort(key=lambda n: -min(priorities[n], 2))
        assert node.bodies(b"a") == [b"%d" % n for n in of_a], seed
        assert node.bodies(b"b") == [b"%d" % n for n in of_b], seed
        assert published.unrouted == [n for n, key in enumerate(keys) if key == b"nobody"], seed


@pytest.mark.parametrize("size", [0, 5000], ids=["short", "long"])
def test_the_properties_of_a_message_are_read_once(node, read, size):
    node.exchange(b"x", "headers")
    node.declare(b"q")
    node.vhost.bind(Binding(b"x", b"q", b"", arguments_of({"x": 1})))
    messages = [
        Message(b"x", b"", props({"x": 1, "n": n, "long": "v" * size}), b"") for n in range(20)
    ]
    publish(node, *messages)
    assert sorted(read) == sorted(it.properties for it in messages)


def test_properties_that_were_framed_are_remembered_within_bounds():
    framing, large = Framing(), 1 << 17
    for n in range(3 * FRAMED_BYTES_MAX // large):
        framing.framed(b"", props({"n": n, "long": "v" * large}))
        held = sum(len(data) for _, data in framing.known)
        assert held <= FRAMED_BYTES_MAX + 2 * large
    assert held  # the newest are
