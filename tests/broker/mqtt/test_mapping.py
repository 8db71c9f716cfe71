"""What MQTT's messages say as AMQP's properties, and back."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.amqp import properties
from logstore.amqp.fields import Long
from logstore.amqp.properties import Properties
from logstore.broker.mqtt.mapping import (
    PROPERTIES_BYTES_MAX,
    Seen,
    key_of,
    properties_of,
    seen,
    smaller,
    topic_of,
)
from logstore.broker.mqtt.message import About, Carried, seconds_left
from logstore.broker.mqtt.swap import swap
from logstore.broker.queues.message import Framing, looked_at

NOW_MS: Final = 1_700_000_000_000
TEXT: Final = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300
).map(str.encode)
NAMES: Final = st.one_of(
    TEXT, st.sampled_from([b"a", b"CC", b"BCC", b"x-death", b"x-reply-to-topic", b"x-y", b""])
)
TOPICS: Final = st.one_of(
    st.sampled_from([b"a/b", b"x" * 255, b"x" * 256, b"a.b/c*" * 100]),
    TEXT.filter(lambda it: it and b"+" not in it and b"#" not in it),
)
ABOUTS: Final = st.builds(
    About,
    st.sampled_from([None, 0, 1]),
    st.none() | TEXT,
    st.none() | TOPICS,
    st.none() | st.binary(max_size=300),
    st.lists(st.tuples(NAMES, TEXT), max_size=4).map(tuple),
    st.none() | st.integers(0, 1 << 44),
)


@given(topic=TOPICS, qos=st.integers(0, 2), about=st.none() | ABOUTS, retain=st.booleans())
def test_nothing_is_lost_on_the_way_through_a_queue(
    topic: bytes, qos: int, about: About | None, *, retain: bool
) -> None:
    data = properties_of(topic, qos, about, NOW_MS, retain=retain)
    said = seen(data, NOW_MS)
    expected = None if about == About() else about
    assert (said.qos, said.retain, said.about) == (qos, retain, expected)
    assert topic_of(key_of(topic), said) == topic
    assert len(key_of(topic)) <= 255
    found = properties.read(data)
    assert found.delivery_mode == (2 if qos else 1)
    assert looked_at(found).copies == ()  # no user property is a routing key
    Framing().framed(b"amq.topic", data)


@given(st.binary(max_size=200))
def test_whatever_is_in_a_queue_says_something(data: bytes) -> None:
    assert isinstance(seen(data, NOW_MS), Seen)


def test_properties_are_as_rabbitmq_maps_them() -> None:
    about = About(
        content_type=b"text/plain", response_topic=b"r/1.x", correlation=b"c1",
        user=((b"a", b"1"), (b"b", b"2")), expires_at_ms=NOW_MS + 3000,
    )  # fmt: skip
    found = properties.read(properties_of(b"t", 1, about, NOW_MS))
    assert found.content_type == "text/plain"
    assert found.correlation_id == "c1"
    assert found.expiration == "3000"
    assert found.headers == {
        "x-mqtt-publish-qos": 1, "x-reply-to-topic": "r.1/x", "a": "1", "b": "2",
        "x-mqtt-expires-at": NOW_MS + 3000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ((("a", "1"), ("a", "2")), {"a": "1"}),  # a name that comes twice
        ((("CC", "x"),), {}),  # it would be a routing key
        ((("x-mqtt-retain", "x"),), {}),
        ((("n" * 256, "x"),), {}),
    ],
)
def test_user_properties_that_a_table_cannot_say(
    user: tuple[tuple[str, str], ...], headers: dict[str, str]
) -> None:
    pairs = tuple((name.encode(), value.encode()) for name, value in user)
    data = properties_of(b"t", 0, About(user=pairs), NOW_MS)
    found = properties.read(data).headers
    assert found == {
        "x-mqtt-publish-qos": 0, **headers,
        "x-mqtt-user-properties": [it for pair in user for it in pair],
    }  # fmt: skip
    assert seen(data, NOW_MS).about == About(user=pairs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Seen(0, False, None, None)),
        ({"delivery_mode": 1}, Seen(0, False, None, None)),
        ({"delivery_mode": 2}, Seen(1, False, None, None)),
        ({"expiration": "1500"}, Seen(0, False, About(expires_at_ms=NOW_MS + 1500), None)),
        ({"content_type": "\udcff"}, Seen(0, False, None, None)),
        ({"correlation_id": "\udcff"}, Seen(0, False, About(correlation=b"\xff"), None)),
        ({"headers": {"x-mqtt-publish-qos": 7}}, Seen(0, False, None, None)),
        ({"headers": {"x-mqtt-publish-qos": True}}, Seen(0, False, None, None)),
        ({"headers": {"x-mqtt-retain": "yes"}}, Seen(0, False, None, None)),
        ({"headers": {"x-mqtt-topic": "a/#"}}, Seen(0, False, None, None)),
        ({"headers": {"x-mqtt-topic": "a/b"}}, Seen(0, False, None, b"a/b")),
        ({"headers": {"x-reply-to-topic": "a.#"}}, Seen(0, False, None, None)),
        ({"headers": {"x-reply-to-topic": "a.*"}}, Seen(0, False, None, None)),
        ({"headers": {"n": 5, "t": True, "f": 1.5, "l": Long(7), "no": None, "nul": "\0"}},
         Seen(0, False, About(user=((b"n", b"5"), (b"t", b"true"), (b"f", b"1.5"), (b"l", b"7"))),
              None)),
        ({"headers": {"x-death": [{"count": 1}], "x-first-death-queue": "q"}},
         Seen(0, False, None, None)),
        ({"headers": {"x-mqtt-user-properties": ["odd"], "a": "b"}},
         Seen(0, False, About(user=((b"a", b"b"),)), None)),
        ({"headers": {"x-mqtt-expires-at": -1}}, Seen(0, False, None, None)),
    ],
)  # fmt: skip
def test_what_amqps_publishers_say(given: dict[str, Any], expected: Seen) -> None:
    assert seen(properties.write(Properties(**given)), NOW_MS) == expected


def test_what_is_too_much_for_a_frame_goes_without_headers() -> None:
    about = About(user=tuple((b"name%d" % it, b"v" * 1000) for it in range(200)), payload_format=1)
    data = properties_of(b"t", 1, about, NOW_MS)
    assert len(data) > PROPERTIES_BYTES_MAX
    less = smaller(data)
    assert len(less) < 200
    assert seen(less, NOW_MS) == Seen(1, False, About(payload_format=1), None)
    assert smaller(less) is less


def test_an_expiry_that_no_queue_takes_is_remembered_nevertheless() -> None:
    about = About(expires_at_ms=NOW_MS + ((1 << 32) - 1) * 1000)
    data = properties_of(b"t", 1, about, NOW_MS)
    assert properties.read(data).expiration is None
    assert seen(data, NOW_MS).about == about


@pytest.mark.parametrize(
    ("left_ms", "seconds"), [(10_000, 10), (9_997, 10), (1, 1), (0, 0), (-5, 0)]
)
def test_the_seconds_that_are_left(left_ms: int, seconds: int) -> None:
    assert seconds_left(NOW_MS + left_ms, NOW_MS) == seconds


def test_a_payload_that_carries_more_is_bytes_to_everybody_else() -> None:
    publisher, about = object(), About(content_type=b"x")
    carried = Carried(b"abc", about, publisher, retain=True)
    assert carried == b"abc"
    assert b"".join([b"<", carried, b">"]) == b"<abc>"
    assert (carried.about, carried.publisher, carried.retain) == (about, publisher, True)
    assert swap(carried) == b"abc"
