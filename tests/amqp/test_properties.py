"""Content headers of AMQP: as pamqp has them, and whatever a peer sends."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, header

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.amqp.replies import Refusal

STRINGS = st.none() | st.text(max_size=40)
DRAWN = st.builds(
    Properties,
    content_type=STRINGS, content_encoding=STRINGS,
    headers=st.none() | st.dictionaries(st.text(max_size=9), st.text() | st.booleans()),
    delivery_mode=st.none() | st.sampled_from((1, 2)), priority=st.none() | st.integers(0, 255),
    correlation_id=STRINGS, reply_to=STRINGS, expiration=STRINGS, message_id=STRINGS,
    timestamp=st.none() | st.integers(0, 2**64 - 1), type=STRINGS, user_id=STRINGS,
    app_id=STRINGS, cluster_id=STRINGS,
)  # fmt: skip


@given(DRAWN, st.integers(0, 2**64 - 1))
def test_a_header_is_read_as_it_was_written(drawn, size):
    payload = properties.header(size, properties.write(drawn))
    assert properties.read_header(payload) == (size, properties.write(drawn))
    assert properties.read(properties.write(drawn)) == drawn


def test_a_header_is_what_others_read_and_write():
    ours = Properties(
        content_type="text/plain", headers={"a": "b"}, delivery_mode=2, priority=9,
        correlation_id="c", reply_to="r", expiration="100", message_id="m", type="t", app_id="p",
    )  # fmt: skip
    named = {name: value for name, value in ours._asdict().items() if value is not None}
    named["message_type"] = named.pop("type")
    theirs = commands.Basic.Properties(**named)
    assert properties.write(ours) == theirs.marshal()
    read = header.ContentHeader()
    read.unmarshal(properties.header(5, properties.write(ours)))
    assert (read.body_size, read.properties) == (5, theirs)


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_read(data):
    with suppress(Refusal):
        properties.write(properties.read(data))
    with suppress(Refusal):
        properties.read_around(data)


@given(DRAWN)
def test_what_stands_around_the_headers_is_read_without_them(drawn):
    data = properties.write(drawn)
    found, begin, end = properties.read_around(data)
    assert found == drawn._replace(headers=None)
    assert (begin == end) == (drawn.headers is None)
    if drawn.headers is not None:
        assert fields.read_table(data, begin) == (drawn.headers, end)


@given(DRAWN, st.text(max_size=9), st.booleans() | st.text(max_size=9))
def test_a_header_is_put_in_as_if_all_had_been_read_and_written(drawn, name, value):
    headers = {**(drawn.headers or {}), name: value}
    found = properties.with_header(properties.write(drawn), name, value)
    assert properties.read(found) == drawn._replace(headers=headers)


def test_flags_that_go_on_and_on_are_read_to_their_end():
    with pytest.raises(Refusal, match="ends too early"):
        properties.read(b"\0\1" * 50_000)
    assert properties.read(b"\0\1" * 50_000 + b"\0\0") == Properties()


@pytest.mark.parametrize("payload", [b"", b"\0\x3c\0\0\0\0\0", b"\0\x3d" + b"\0" * 12])
def test_what_is_no_header_is_refused(payload):
    with pytest.raises(Refusal, match="FRAME"):
        properties.read_header(payload)
