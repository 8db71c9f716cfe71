"""Messages as records, and records as messages: there and back, and whatever comes."""

import math
import sys
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logstore.amqp import fields, properties
from logstore.amqp.fields import (
    NESTED_MAX,
    Float,
    Long,
    Octet,
    Short,
    SignedOctet,
    SignedShort,
    Timestamp,
    UnsignedLong,
    UnsignedLongLong,
)
from logstore.amqp.properties import Properties
from logstore.broker.mapping import names, values
from logstore.broker.mapping.messages import (
    EXPIRATION_MAX_MS,
    HEADERS_BYTES_MAX,
    REMEMBERED_MAX,
    Messaging,
)
from logstore.broker.mapping.records import Recording
from logstore.broker.queues.limits import TTL_MAX_MS
from logstore.broker.queues.message import Framing

WITH_A_MEANING = (names.BLIND, names.KEY, names.TOMBSTONE, names.TIMESTAMP_MS)
NOW_MS = 1_700_000_000_123

SHORT = st.text(max_size=20) | st.binary(max_size=30).map(fields.text)
NAMES = st.one_of(
    SHORT.filter(lambda it: len(fields.data(it)) <= 255),
    st.sampled_from([
        *names.PROPERTIES, names.EXCHANGE, names.TYPES, "amqp.", "amqp.header.",
        "amqp.header.amqp.type", "amqp.header.amqp.header.amqp.types",
        "CC", names.TIMESTAMP_MS, "x-death",
    ]),
)  # fmt: skip
SCALARS = st.one_of(
    st.booleans(), st.none(), st.text(max_size=9), st.binary(max_size=9),
    st.binary(max_size=9).map(fields.text),
    st.floats(allow_nan=False), st.floats(width=32, allow_nan=False).map(Float),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Long),
    st.integers(0, (1 << 64) - 1).map(Timestamp),
    st.integers(0, (1 << 64) - 1).map(UnsignedLongLong),
    st.integers(0, (1 << 32) - 1).map(UnsignedLong),
    st.integers(0, 255).map(Octet), st.integers(-128, 127).map(SignedOctet),
    st.integers(0, 65535).map(Short), st.integers(-32768, 32767).map(SignedShort),
    st.builds(
        lambda number, scale: Decimal((0, tuple(map(int, str(number))), -scale)),
        st.integers(0, (1 << 32) - 1), st.integers(0, 255),
    ),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4),
    max_leaves=12,
)
PROPERTIES = st.builds(
    Properties,
    content_type=st.none() | SHORT, content_encoding=st.none() | SHORT,
    headers=st.none() | st.dictionaries(NAMES, VALUES, min_size=1, max_size=6).filter(
        lambda it: "CC" not in it or type(it["CC"]) is list),
    delivery_mode=st.none() | st.integers(0, 255), priority=st.none() | st.integers(0, 255),
    correlation_id=st.none() | SHORT, reply_to=st.none() | SHORT,
    expiration=st.none() | st.integers(0, TTL_MAX_MS).map(str),
    message_id=st.none() | SHORT, timestamp=st.none() | st.integers(0, (1 << 64) - 1),
    type=st.none() | SHORT, user_id=st.none() | SHORT, app_id=st.none() | SHORT,
    cluster_id=st.none() | SHORT,
)  # fmt: skip
RECORD_HEADERS = st.lists(
    st.tuples(NAMES, st.none() | st.binary(max_size=12) | st.text(max_size=8).map(str.encode)),
    max_size=8,
).map(tuple)


def as_message(record, **more):
    return Messaging().content(
        record.key, record.value, record.headers, record.timestamp_ms, **more
    )


def message(headers, value=b"v", key=b"k", timestamp_ms=NOW_MS, **more):
    """A record's, with its properties read."""
    content = Messaging().content(key, value, headers, timestamp_ms, **more)
    return content, properties.read(content.properties)


def record(key=b"k", body=b"b", exchange=b"x", **given):
    data = properties.write(Properties(**given))
    return Recording().record(exchange, key, data, body, NOW_MS)


@given(PROPERTIES, st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
def test_a_message_that_was_a_record_meanwhile_is_the_same_to_the_byte(
    given_properties, exchange, key, body
):
    data = properties.write(given_properties)
    kept = Recording().record(exchange, key, data, body, NOW_MS)
    assert kept.timestamp_ms == NOW_MS
    assert as_message(kept) == (exchange, key, data, body)


@given(
    RECORD_HEADERS,
    st.none() | st.binary(max_size=300),
    st.none() | st.binary(max_size=9),
    st.sampled_from([-1, 0, 1, 999, NOW_MS, (1 << 63) - 1]),
)
def test_whatever_headers_a_record_has_it_is_a_message_that_exchanges_take(
    headers, key, value, timestamp_ms
):
    content, _ = message(headers, value, key, timestamp_ms, message_id=b"t-0-1")
    framed = Framing().framed(b"x", content.properties)
    shape, data = Messaging().shaped(key, value, headers, timestamp_ms, content.key, b"t-0-1")
    assert data == content.properties
    assert framed == Framing().looked_up(b"x", data, shape.read)  # known without reading them
    assert content.body == (value or b"")
    assert len(content.key) <= 255


@given(
    st.lists(
        st.tuples(
            SHORT.filter(lambda it: not names.reserved(it) and it not in WITH_A_MEANING),
            st.none() | st.binary(max_size=12),
        ),
        max_size=8,
    ).map(tuple),
    st.none() | st.binary(max_size=300),
    st.none() | st.binary(max_size=9),
)
def test_a_record_that_was_a_message_meanwhile_has_its_key_value_and_headers(headers, key, value):
    content, _ = message(headers, value, key)
    again = Recording().record(b"x", content.key, content.properties, content.body, NOW_MS)
    assert (again.key, again.value) == (key, value)
    # Those of one name come together; the record's time is told, and that it was a message.
    together = {name: [it for own, it in headers if own == name] for name, _ in headers}
    assert [it for it in again.headers if it[0] in together] == [
        (name, it) for name, those in together.items() for it in those
    ]
    assert {name for name, _ in again.headers} - set(together) == {
        names.EXCHANGE, names.TYPES, "amqp.delivery_mode", "amqp.timestamp", names.TIMESTAMP_MS
    }  # fmt: skip


# Messages to records


def test_properties_are_headers_with_readable_texts():
    kept = record(
        exchange=b"orders", content_type="text/plain", priority=7, expiration="100", timestamp=12,
        headers={"n": 5, "ok": True, "f": 1.5, "text": "é", "none": None, "at": Timestamp(9)},
    )  # fmt: skip
    assert kept == (
        b"b",
        b"k",
        (
            ("amqp.exchange", b"orders"),
            ("amqp.content_type", b"text/plain"),
            ("amqp.priority", b"7"),
            ("amqp.expiration", b"100"),
            ("amqp.timestamp", b"12"),
            ("amqp.types", b'{"n":"I","ok":"t","f":"d","at":"T"}'),
            ("n", b"5"),
            ("ok", b"true"),
            ("f", b"1.5"),
            ("text", "é".encode()),
            ("none", None),
            ("at", b"9"),
        ),
        NOW_MS,
    )


def test_arrays_of_texts_are_headers_of_one_name_and_others_json():
    kept = record(
        headers={"tags": ["a", "b"], "one": ["a"], "CC": ["k"], "t": {"n": [1, None, b"\xff"]}}
    )
    assert kept.headers[1:] == (
        ("amqp.types", b'{"one":"[S]","t":"{[IVx]}"}'),
        ("tags", b"a"),
        ("tags", b"b"),
        ("one", b'["a"]'),
        ("CC", b"k"),
        ("t", b'{"n":[1,null,"/w=="]}'),
    )


def test_an_empty_routing_key_is_no_key():
    assert record(key=b"").key is None


def test_blind_copies_are_not_shown_to_readers_of_a_topic():
    assert record(headers={"BCC": ["secret"], "CC": ["open"]}).headers[1:] == (("CC", b"open"),)


def test_headers_that_only_the_server_may_send_are_left_out_and_counted():
    recording = Recording()
    data = properties.write(Properties(headers={"__logstore.deaths": "x", "__logstoreish": "y"}))
    for _ in range(2):
        kept = recording.record(b"x", b"", data, b"", NOW_MS)
        assert kept.headers[1:] == (("__logstoreish", b"y"),)
    assert recording.hidden == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Float(math.inf), [math.nan]])
def test_numbers_that_are_none_come_back(value):
    kept = record(headers={"f": value})
    back = properties.read(as_message(kept).properties).headers["f"]
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_tables_as_deep_as_may_be_come_back():
    value = "x"
    for _ in range(NESTED_MAX):
        value = {"deeper": value}
    kept = record(headers={"deep": value})
    assert properties.read(as_message(kept).properties).headers == {"deep": value}


def test_values_nested_as_deep_as_json_is_read_are_texts_where_their_type_is_another():
    types = "[" * NESTED_MAX + "S" + "]" * NESTED_MAX
    deepest = sys.getrecursionlimit()
    for deep in (*range(NESTED_MAX + 1, NESTED_MAX + 20), *range(deepest - 250, deepest)):
        text = b"[" * deep + b"]" * deep
        _, found = message(((names.TYPES, b'{"h":"%s"}' % types.encode()), ("h", text)))
        assert found.headers["h"] == text.decode()


# Records to messages


def test_a_records_time_is_a_property_in_seconds_and_a_header_in_ms():
    content, found = message(())
    assert content == (b"", b"k", content.properties, b"v")
    assert found == Properties(
        headers={"timestamp_in_ms": NOW_MS}, delivery_mode=2, timestamp=NOW_MS // 1000
    )


def test_a_record_without_a_time_is_a_message_without_one():
    assert message((), timestamp_ms=-1)[1] == Properties(delivery_mode=2)


def test_what_a_record_says_of_time_itself_counts():
    _, found = message((("amqp.timestamp", b"5"), ("timestamp_in_ms", b"5000")))
    assert found.timestamp == 5
    assert found.headers == {"timestamp_in_ms": "5000"}


def test_headers_are_text_bytes_void_or_an_array():
    _, found = message(
        (("a", b"1"), ("b", b"\xff"), ("c", None), ("d", b"x"), ("a2", b"-"), ("d", None))
    )
    assert found.headers.pop("timestamp_in_ms")
    assert found.headers == {"a": "1", "b": b"\xff", "c": None, "d": ["x", None], "a2": "-"}


def test_a_kafka_client_may_say_properties_and_types():
    _, found = message((
        ("amqp.priority", b"9"), ("amqp.expiration", b"500"), ("amqp.message_id", b"m"),
        ("amqp.types", b'{"n":"l"}'), ("n", b"77"),
    ))  # fmt: skip
    assert (found.priority, found.expiration, found.message_id) == (9, "500", "m")
    assert type(found.headers["n"]) is Long
    assert found.headers["n"] == 77


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("amqp.priority", b"256"), ("amqp.priority", b"-1"), ("amqp.priority", b"x"),
        ("amqp.priority", b""), ("amqp.priority", "٣".encode()), ("amqp.priority", None),
        ("amqp.priority", b"9" * 5000), ("amqp.expiration", b"1s"), ("amqp.expiration", b"+5"),
        ("amqp.expiration", str(EXPIRATION_MAX_MS + 1).encode()), ("amqp.timestamp", b"1.5"),
        ("amqp.message_id", b"m" * 256), ("amqp.types", b"[]"), ("amqp.types", b'{"a":1}'),
        ("amqp.types", b"{"), ("amqp.types", b"\xff"), ("amqp.types", b"[" * 100_000),
        ("amqp.exchange", b"e" * 256), ("amqp.exchange", None),
    ],
)  # fmt: skip
def test_what_is_no_value_of_a_property_is_a_header_as_any_other(name, text):
    _, found = message(((name, text),))
    assert found.headers[name] == values.plain(text)


@pytest.mark.parametrize(
    ("types", "data"),
    [
        ("I", b"x"), ("I", b"2147483648"), ("b", b"128"), ("t", b"yes"), ("d", b"1" * 50),
        ("f", b"1e300"), ("D", b"-1"), ("D", b"NaN"), ("D", b"1e5"), ("D", b"0." + b"1" * 400),
        ("V", b""), ("S", None), ("?", b""), ("", b""), ("II", b"1"), ("[", b"[]"), ("[I]", b"[]"),
        ("[]", b"[1]"), ("[I", b"[1]"), ("[I]]", b"[1]"), ("{I}", b"[1]"), ("[x]", b'["?"]'),
        ("[S]", b'["\\ud800"]'), ("{S}", b'{"\\ud800":""}'), ("[T]", b"[-1]"), ("[t]", b"[1]"),
        ("[I]", b"[true]"), ("[I]", b"[1.0]"), ("[D]", b"[1]"), ("[d]", b'["x"]'), ("[V]", b"[0]"),
        ("{" * 200 + "}" * 200, b"{}"), ("[" * 300 + "]" * 300, b"[" * 300 + b"]" * 300),
        ("[I]", b"[" * 100_000), ("[I]", b"[" + b"9" * 5000 + b"]"),
        ("{S}", b'{"%s":""}' % (b"n" * 256)),
    ],
)  # fmt: skip
def test_a_value_that_is_not_of_the_type_that_is_said_is_what_it_is(types, data):
    with pytest.raises(values.NoValue):
        values.read(data, types)
    said = f'{{"h":"{types}"}}'.encode()
    _, found = message((("amqp.types", said), ("h", data)))
    assert found.headers["h"] == values.plain(data)


@given(st.text(alphabet="bBsuIilLfdDSxTV[]{}?", max_size=6), st.binary(max_size=9))
@example("[d]", b"[1e999]")
def test_any_type_of_any_bytes_is_a_value_that_travels_or_none(types, data):
    try:
        value = values.read(data, types)
    except values.NoValue:
        return
    fields.table({"": value})


def test_a_key_that_can_be_no_routing_key_is_a_header():
    for key in (b"k" * 256, b"\xff" * 256, b""):
        content, found = message((), key=key)
        assert content.key == b""
        assert found.headers["kafka.key"] == values.plain(key)
    content, found = message((), key=None)
    assert "kafka.key" not in found.headers


def test_a_routing_key_of_its_own_leaves_the_key_a_header():
    content, found = message((("kafka.key", b"earlier"),), key=b"k", routing_key=b"carrier.k")
    assert content.key == b"carrier.k"
    assert found.headers["kafka.key"] == "k"
    _, found = message((), key=None, routing_key=b"fixed")
    assert found.headers["kafka.key"] is None


def test_a_null_value_is_told_from_an_empty_one():
    content, found = message((), value=None)
    assert content.body == b""
    assert found.headers["kafka.tombstone"] is True
    assert "kafka.tombstone" not in message((), value=b"")[1].headers
    again = Recording().record(b"x", content.key, content.properties, content.body, NOW_MS)
    assert again.value is None


def test_a_record_without_a_message_id_may_be_given_one():
    assert message((), message_id=b"t-0-1")[1].message_id == "t-0-1"
    assert message((("amqp.message_id", b"own"),), message_id=b"t-0-1")[1].message_id == "own"
    came = (("amqp.exchange", b"x"),)
    assert message(came, message_id=b"t-0-1")[1] == Properties(message_id="t-0-1")


def test_a_single_copy_is_an_array_as_exchanges_want_it():
    _, found = message((("CC", b"k2"), ("BCC", b"\xff")))
    assert found.headers["CC"] == ["k2"]
    assert found.headers["BCC"] == [b"\xff"]


def test_more_headers_than_a_frame_holds_lose_the_longest():
    headers = (("long", b"x" * HEADERS_BYTES_MAX), ("short", b"y"), ("n" * 256, b"z"))
    content, found = message(headers)
    assert sorted(found.headers) == ["short", "timestamp_in_ms"]
    assert len(content.properties) < 1 << 17


def test_headers_of_this_servers_own_are_not_taken_from_topics():
    assert message((("__logstore.deaths", b"x"),), timestamp_ms=-1)[1].headers is None


def test_what_is_remembered_is_bounded():
    messaging, recording = Messaging(), Recording()
    for n in range(REMEMBERED_MAX + 5):
        content = messaging.content(b"k", b"v", (("n", b"%d" % n),), -1)
        recording.record(b"x", b"k", content.properties, b"v", 0)
    long = (("n", b"x" * 5000),)
    messaging.content(b"k", b"v", long, 0)
    assert 0 < len(messaging._known) <= REMEMBERED_MAX
    assert 0 < len(recording._known) <= REMEMBERED_MAX
    assert all(headers != long for headers, _ in messaging._known)


@pytest.mark.parametrize("size", [HEADERS_BYTES_MAX - 1000, HEADERS_BYTES_MAX + 1, 1 << 20])
def test_a_key_that_a_frame_does_not_hold_is_left_out(size):
    for headers in ((), (("h", b"x" * 2000),), (("kafka.key", b"of an earlier one"),)):
        for value in (b"v", None):
            found = Messaging().content(b"k" * size, value, headers, 1000)
            assert len(found.properties) < HEADERS_BYTES_MAX + 1000
            shown = properties.read(found.properties).headers
            fits = size + sum(len(it) for _, it in headers if it[:1] == b"x") < HEADERS_BYTES_MAX
            assert shown.get("kafka.key") == ("k" * size if fits else None)
            assert ("h" in shown) == (headers[:1] == (("h", b"x" * 2000),))


def test_the_longest_expiration_is_that_of_queues():
    assert EXPIRATION_MAX_MS == TTL_MAX_MS
