"""What users of queues give: refused before anything of it is in a queue, in one line."""

import enum
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.amqp import fields, properties
from logstore.broker.queues.given import message_of, name_of, number, property_of, value
from logstore.errors import InvalidName, LogstoreError


class Level(enum.IntEnum):
    HIGH = 5


class Kind(enum.StrEnum):
    MAIL = "mail"


def nested(deep):
    return reduce(lambda inner, _: {"a": inner}, range(deep), {})


CYCLE: dict[str, object] = {}
CYCLE["a"] = CYCLE


@pytest.mark.parametrize(
    ("given", "error", "what"),
    [
        ({"prio": 5}, TypeError, r"no property 'prio' \(did you mean priority\?\)"),
        ({"priority": 256}, ValueError, "priority 256: must be 0 to 255"),
        ({"priority": -1}, ValueError, "priority -1"),
        ({"priority": "5"}, TypeError, "priority is an int, not str"),
        ({"priority": True}, TypeError, "priority is an int, not bool"),
        ({"delivery_mode": 1.5}, TypeError, "delivery_mode is an int, not float"),
        ({"timestamp": 1 << 64}, ValueError, "timestamp"),
        ({"timestamp": 1.5}, TypeError, "timestamp is an int, not float"),
        ({"content_type": 5}, TypeError, "content_type is a str, not int"),
        ({"content_type": "x" * 256}, ValueError, "content_type of 256 bytes"),
        ({"message_id": "\ud800"}, ValueError, "message_id must be text"),
        ({"expiration": 1.5}, TypeError, "expiration is a str, not float"),
        ({"expiration": True}, TypeError, "expiration is a str, not bool"),
        ({"headers": [1]}, TypeError, "headers are a mapping, not list"),
        ({"headers": {"a": object()}}, TypeError, "can't hold a object"),
        ({"headers": {"a": 1 << 64}}, ValueError, "does not fit"),
        ({"headers": {"a": Decimal("NaN")}}, ValueError, "not a decimal of AMQP"),
        ({"headers": {"a": Decimal(-1)}}, ValueError, "not a decimal of AMQP"),
        ({"headers": {"a": "\ud800"}}, ValueError, "not valid text"),
        ({"headers": {"x" * 256: 1}}, ValueError, "at most 255 bytes"),
        ({"headers": nested(200)}, ValueError, "nested more than 128 deep"),
        ({"headers": CYCLE}, ValueError, "nested more than 128 deep"),
        ({"key": "\ud800"}, InvalidName, "a routing key must be text"),
        ({"key": "k" * 256}, InvalidName, "a routing key of 256 bytes"),
        ({"key": b"k"}, TypeError, "a routing key is a str, not bytes"),
        ({"body": "text"}, TypeError, "a body is bytes, not str"),
    ],
)
def test_what_no_message_can_have_is_refused(given, error, what):
    body, key = given.pop("body", b""), given.pop("key", "k")
    with pytest.raises(error, match=what) as refused:
        message_of(b"e", body, key, given.pop("headers", None), given)
    assert "\n" not in str(refused.value)


def test_what_a_message_has_is_read_by_any_client():
    at = datetime(2026, 1, 2, tzinfo=UTC)
    headers = {"n": Level.HIGH, "k": Kind.MAIL, "t": at, 1: (b"x", None), "d": Decimal("1.50")}
    sent = message_of(b"e", b"", "k", headers, {"priority": Level.HIGH, "timestamp": at,
                                                "expiration": 5, "type": Kind.MAIL,
                                                "app_id": None})  # fmt: skip
    found = properties.read(sent.properties)
    stamp = int(at.timestamp())
    assert found.headers == {
        "n": 5, "k": "mail", "t": stamp, "1": [b"x", None], "d": Decimal("1.50"),
    }  # fmt: skip
    assert type(found.headers["t"]) is fields.Timestamp
    assert (found.priority, found.timestamp, found.expiration) == (5, stamp, "5")
    assert (found.type, found.app_id, found.delivery_mode) == ("mail", None, 2)


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
        st.decimals(), st.datetimes(), st.characters(categories=["Cs"]), st.complex_numbers(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(ANYTHING)
def test_any_value_travels_as_it_is_or_is_refused(anything):
    try:
        found = value(anything)
    except (TypeError, ValueError):
        return
    sent = fields.table({"it": found})
    again, end = fields.read_table(sent, 0)
    assert end == len(sent)
    assert repr(again["it"]) == repr(found) or again == {"it": found}


@pytest.mark.parametrize("year", [1, 1900, 1969])
def test_a_time_before_1970_is_refused(year):
    for given_ in (datetime(year, 12, 31), datetime(year, 12, 31, tzinfo=UTC)):
        with pytest.raises(ValueError, match="before 1970"):
            value(given_)
        with pytest.raises(ValueError, match="before 1970"):
            property_of("timestamp", given_)


@given(st.sampled_from([*properties.Properties._fields, "other"]), ANYTHING)
def test_any_property_travels_or_is_refused(name, anything):
    try:
        found = property_of(name, anything)
    except (TypeError, ValueError):
        return
    if name != "headers":
        sent = properties.write(properties.Properties(**{name: found}))
        assert getattr(properties.read(sent), name) == found


@pytest.mark.parametrize("name", [None, 5, b"q", "q" * 256, "\ud800"])
def test_a_name_is_a_short_text(name):
    with pytest.raises((TypeError, InvalidName)):
        name_of(name)


@pytest.mark.parametrize("given", [1.5, "1", None, True, -1, 11])
def test_a_number_is_an_int_within_bounds(given):
    with pytest.raises((TypeError, ValueError), match="prefetch"):
        number(given, "prefetch", 0, 10)


@pytest.mark.parametrize(
    "given", [{"prefetch": 1.5}, {"prefetch": "1"}, {"priority": 0.5}, {"prefetch": -1}]
)
def test_a_consumer_that_is_refused_leaves_the_queue_as_it_was(tmp_path, given):
    """With a prefetch of 1.5 nothing of the queue was ever given out again."""
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("q")
        queue.publish(b"a")
        with pytest.raises((TypeError, ValueError)):
            queue.consume(**given)
        with queue.consume() as messages:
            assert messages.get(60).body == b"a"


REFUSED = [
    lambda store: store.exchange("e", 5),
    lambda store: store.exchange("e", "topic", arguments=[1]),
    lambda store: store.exchange("e", "topic", arguments={"a": object()}),
    lambda store: store.exchange("e", "topic", arguments={"a": 1 << 70}),
    lambda store: store.exchange("e", "topic", arguments={"a": Decimal("NaN")}),
    lambda store: store.exchange("e", "topic", alternate=object()),
    lambda store: store.queue("q", arguments={"a": nested(300)}),
    lambda store: store.queue("q", max_length=object()),
    lambda store: store.queue("q", nonsense=1),
    lambda store: store.queue("q").bind("amq.topic", "k", {"a": "\ud800"}),
    lambda store: store.queue("q").bind("amq.topic", 5),
    lambda store: store.queue("q").bind(5),
    lambda store: store.exchange("").publish_many([(b"a", "q", 3)]),
    lambda store: store.exchange("").publish_many([b"a", "b"], "q"),
]


def test_what_is_refused_changes_nothing(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("q")
        exchanges = store.exchanges()
        for call in REFUSED:
            with pytest.raises((TypeError, ValueError, LogstoreError)) as refused:
                call(store)
            assert "\n" not in str(refused.value)
        assert (store.exchanges(), store.queues()) == (exchanges, ["q"])
        assert store.queue("q").counts().ready == 0
    with logstore.open(tmp_path / "data") as store:
        assert (store.exchanges(), store.queues()) == (exchanges, ["q"])
