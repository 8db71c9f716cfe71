"""Messages and errors as they go over the link, and what an owner sends that is neither."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_parts import props
from relay_kit import FarChannel, FarClient, Joined, frames

from logstore.amqp import properties
from logstore.broker.queues.away.carried import CARRIED_MAX, Carrying, again, deliveries
from logstore.broker.queues.away.refusals import error_of, told
from logstore.broker.queues.message import Delivery, Showing
from logstore.broker.queues.refusals import (
    ExclusiveUse,
    InvalidConsumerArgument,
    Locked,
    NotOfStreams,
    NotOfType,
    NoVhost,
    SingleActive,
)
from logstore.broker.queues.tables import field_of
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import (
    BrokenProtocol,
    CorruptBatch,
    Damaged,
    Failed,
    LogFailed,
    NotOwned,
    OutOfSequence,
    Refused,
    StorageFull,
)
from logstore.records.compression import Compression
from logstore.records.encode import encode
from logstore.relay import messages
from logstore.relay.messages import framed, read

PROPERTIES = [props(), props({"n": 1}, priority=3), props({"CC": ["a" * 2000]})]
DELIVERIES = st.builds(
    Delivery,
    st.sampled_from([b"", b"x", b"amq.topic"]),
    st.binary(max_size=20),
    st.sampled_from(PROPERTIES),
    st.binary(max_size=200) | st.just(bytes(70_000)),
    st.booleans(),
    st.integers(0, 1 << 45),
)


@given(st.lists(DELIVERIES, min_size=1, max_size=30))
def test_messages_come_as_they_went(some):
    carrying, showing = Carrying(), Showing()
    for _ in range(2):  # also with what is remembered of headers
        found = deliveries(memoryview(carrying.batch(some)), again(some), showing)
        assert found == some


def test_what_is_said_of_none_takes_no_bytes():
    delivery = Delivery(b"", b"", props(), b"", False, 0)
    assert again([delivery] * 100) == b""
    assert again([*[delivery] * 9, delivery._replace(redelivered=True)]) == b"\0\2"


def test_headers_of_few_messages_are_remembered(monkeypatch):
    monkeypatch.setattr("logstore.broker.queues.away.carried.REMEMBERED_MAX", 3)
    carrying = Carrying()
    for n in range(10):
        carrying.batch([Delivery(b"x", b"", props({"n": n}), b"", False, 0)])
        assert len(carrying._known) <= 3
    carrying.batch([Delivery(b"x", b"", props({"n": "x" * 2000}), b"", False, 0)])
    assert len(carrying._known) <= 3


def a_batch(count=1, **given):
    return bytes(encode([(b"", b"", (), 0)] * count, **given).data)


def changed(batch):
    return batch[:-1] + bytes((batch[-1] ^ 1,))


@pytest.mark.parametrize(
    ("batch", "again"),
    [
        (b"", b""),
        (a_batch()[:-1], b""),
        (changed(a_batch()), b""),
        (a_batch(compression=Compression.GZIP), b""),
        (a_batch(CARRIED_MAX + 1), b""),
        (a_batch(8), b"\0\0"),
    ],
)
def test_what_is_no_batch_is_refused(batch, again):
    with pytest.raises(BrokenProtocol):
        deliveries(memoryview(batch), again, Showing())


def test_a_record_of_anything_is_shown_as_a_message():
    batch = encode([(None, None, (("amq.properties", b"\xff"),), 7)])
    [found] = deliveries(memoryview(batch.data), b"", Showing())
    assert found == Delivery(b"", b"", properties.NONE, b"", False, 7)


# Errors


ERRORS = [
    ExclusiveUse(b"q"),
    SingleActive(b"q\xff"),
    Locked(b"q"),
    NoQueue(b"q"),
    NoVhost(b"v"),
    NotOfType(b"q", b"x-stream-offset", "classic"),
    NotOfStreams(b"q", "basic.get"),
    InvalidConsumerArgument(b"q", b"x-priority", field_of("high"), "unacceptable_type"),
    InvalidConsumerArgument(b"q", b"x", field_of({"a": [1, None, True]}), "value_negative"),
    NotOwned("queue 'q' is another node's"),
    StorageFull("no space"),
    LogFailed("a sync failed"),
    Failed("the machine"),
    Damaged("a lane"),
    Refused("no"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda it: type(it).__name__)
def test_an_error_is_the_same_there(error):
    found = error_of(read(memoryview(b"".join(framed(told(7, error)))[4:])))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


@pytest.mark.parametrize(
    ("error", "kind"), [(OutOfSequence("x"), Refused), (CorruptBatch("x"), Damaged)]
)
def test_another_error_is_the_nearest_that_is_known(error, kind):
    found = error_of(told(7, error))
    assert (type(found), str(found)) == (kind, str(error))


def test_an_error_of_a_later_version_has_its_text():
    found = error_of(messages.Refused(7, b"Unheard", (b"why", b"more")))
    assert (type(found), str(found)) == (Failed, "why")
    assert str(error_of(messages.Refused(7, b"Unheard", ()))) == "Unheard"


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (b"ExclusiveUse", ()),
        (b"NoQueue", (b"q", b"r")),
        (b"InvalidConsumerArgument", (b"q", b"x", b"", b"")),
        (b"InvalidConsumerArgument", (b"q", b"x", bytes(4), b"")),
        (b"InvalidConsumerArgument", (b"q", b"x", b"\0\0\0\3\1aZ", b"")),
    ],
)
def test_an_error_without_its_facts_is_refused(kind, facts):
    with pytest.raises(BrokenProtocol):
        error_of(messages.Refused(7, kind, facts))


# An owner that keeps to nothing


def test_any_bytes_of_an_owner_end_the_link_at_the_worst(shared):
    print("seed 2")
    drawn = random.Random(2)
    queue = shared.declare(b"q")
    for _ in range(150):
        joined = Joined(shared)
        joined.connect()
        told = []
        client = joined.subscribe(FarClient(prefetch=5))
        joined.owner.get(joined.wanted(), joined.away, FarChannel(), False, told.append)
        joined.owner.look(joined.wanted(), told.append)
        joined.owner.purge(joined.wanted(), told.append)
        joined.owner.ask(1, b"", told.append)
        first = client.far.id
        batch = Carrying().batch([Delivery(b"", b"q", props(), b"body", False, 1)] * 2)
        good = [
            messages.Subscribed(first),
            messages.Deliver(first, 1, b"\1", batch),
            messages.Got(first + 1, 1, 0, False, b""),
            messages.Counts(first + 2, 1, 2, 3, 4),
            messages.Purged(first + 3, 1),
            told_of(first + 4),
            messages.Cancelled(first, 0),
        ]
        drawn.shuffle(good)
        data = bytearray(b"".join(b"".join(framed(it)) for it in good[: drawn.randint(1, 7)]))
        for _ in range(drawn.randint(0, 3)):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        for it in whole(bytes(data)):
            joined.talk.received(it)
            joined.turns.over()
        joined.cut()
        assert len(told) == 4  # each of them was told once
        assert len(client.told) == 1
        assert len(client.channel.unacked) <= 5
    shared.run()
    assert queue.subscriptions == []


def told_of(id):
    return told(id, Refused("no"))


def whole(data):
    """Messages as far as their sizes make sense."""
    while len(data) >= 4 and 0 < int.from_bytes(data[:4]) <= len(data) - 4:
        size = int.from_bytes(data[:4])
        yield from frames([data[: 4 + size]])
        data = data[4 + size :]


@pytest.mark.parametrize(
    "message",
    [
        messages.Deliver(99, 1, b"", a_batch()),
        messages.Cancelled(99, 0),
        messages.Unsubscribed(99),
        messages.Purged(99, 1),
        messages.Settle(1, ((1, 1),)),
    ],
)
def test_what_nobody_has_asked_for_ends_the_link(shared, message):
    shared.declare(b"q")
    joined = Joined(shared)
    joined.connect()
    client = joined.consume()
    joined.session.talk.put(message)
    joined.take()
    assert isinstance(joined.talk.failure, BrokenProtocol)
    [([consumer], _)] = joined.lost
    assert consumer is client.far
    joined.cut()


@pytest.mark.parametrize("first", [0, 2])
def test_messages_have_numbers_without_gaps(shared, first):
    shared.declare(b"q")
    joined = Joined(shared)
    joined.connect()
    client = joined.consume()
    joined.session.talk.put(messages.Deliver(client.far.id, first, b"", a_batch()))
    joined.take()
    assert "comes before 1" in str(joined.talk.failure)
    joined.cut()


def test_more_than_there_is_room_for_ends_the_link(shared):
    shared.declare(b"q")
    joined = Joined(shared)
    joined.connect()
    client = joined.consume(prefetch=2)
    joined.session.talk.put(messages.Deliver(client.far.id, 1, b"", a_batch(3)))
    joined.take()
    assert "beyond 3" in str(joined.talk.failure)
    assert client.had == []
    joined.cut()


def test_an_owner_that_does_not_read_is_told_once_it_does(shared):
    queue = shared.declare(b"q")
    joined = Joined(shared)
    joined.connect()
    client = joined.consume(prefetch=2)
    shared.publish(b"q", b"1", b"2", b"3")
    joined.run()
    joined.owner.ask(1, bytes(1 << 20), lambda _: None)
    client.channel.ack(1)
    out = joined.talk.out_bytes
    joined.turns.over()
    assert joined.talk.out_bytes == out
    joined.run()
    assert queue.counts.acked == 1
    assert len(client.had) == 3
    joined.cut()
