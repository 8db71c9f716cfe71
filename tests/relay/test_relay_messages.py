"""Messages of the link: what was written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import BrokenProtocol
from logstore.relay import messages, wire
from logstore.relay.messages import SIZE, framed, read
from logstore.relay.wire import NUMBER_MAX, PARTS_MAX, RUN_MAX, RUNS_MAX

NUMBERS = st.integers(0, NUMBER_MAX) | st.integers(0, 300)


@st.composite
def runs(draw):
    found, end = [], 0
    gaps = st.tuples(st.integers(0, 500), st.integers(1, RUN_MAX))
    for gap, length in draw(st.lists(gaps, min_size=1, max_size=20)):
        found.append((end + gap, length))
        end += gap + length
    return tuple(found)


OF_KIND = {
    wire.NUMBER: NUMBERS,
    wire.SIGNED: st.integers(-(1 << 31), (1 << 31) - 1),
    wire.OPTIONAL: st.none() | st.integers(0, NUMBER_MAX - 1),
    wire.FLAG: st.booleans(),
    wire.DATA: st.binary(max_size=300),
    wire.PARTS: st.lists(st.binary(max_size=20), max_size=PARTS_MAX).map(tuple),
    wire.RUNS: runs(),
    wire.REST: st.binary(max_size=300),
}
MESSAGES = st.one_of(
    [st.builds(made, *(OF_KIND[it] for it in kinds)) for made, kinds in messages._ROWS.values()]
)


def body_of(message):
    frame = b"".join(framed(message))
    assert SIZE.unpack_from(frame) == (len(frame) - SIZE.size,)
    return frame[SIZE.size :]


@given(MESSAGES)
def test_what_was_written_is_read(message):
    found = read(memoryview(body_of(message)))
    assert type(found) is type(message)
    assert found == message


def test_every_message_has_a_row():
    assert {made for made, _ in messages._ROWS.values()} == set(messages.Message.__args__)


@given(MESSAGES, st.data())
def test_a_message_that_is_cut_off_is_refused_or_another_one(message, data):
    body = body_of(message)
    kept = data.draw(st.integers(0, len(body) - 1))
    try:
        found = read(memoryview(body[:kept]))
    except BrokenProtocol:
        return
    assert body_of(found) == body[:kept]  # its last field is all that is left


@given(st.binary(max_size=100) | st.tuples(st.integers(0, 40), st.binary(max_size=100)).map(
    lambda it: bytes((it[0],)) + it[1]
))  # fmt: skip
def test_any_bytes_are_a_message_or_are_refused(body):
    try:
        found = read(memoryview(body))
    except BrokenProtocol:
        return
    assert body_of(found) == body  # there is one way to write it


@given(MESSAGES, st.data())
def test_a_changed_byte_is_another_message_or_is_refused(message, data):
    body = bytearray(body_of(message))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(memoryview(body))
    except BrokenProtocol:
        return
    assert body_of(found) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",  # nothing
        b"\x63",  # no such code
        b"\x05\x00",  # a Ping with a byte too many
        b"\x11\x80\x00",  # 0 in two bytes
        b"\x11" + b"\xff" * 9,  # 64 bits
        b"\x11" + b"\xff" * 8,  # cut off
        b"\x16\x01\x02\x01\x00\x00",  # a flag that is 2
        b"\x15\x01\x00",  # no runs
        b"\x15\x01" + wire.numbered(RUNS_MAX + 1),  # too many
        b"\x15\x01\x01\x00" + wire.numbered(RUN_MAX),  # too long
        b"\x15\x01\x01" + wire.numbered(NUMBER_MAX) + b"\x00",  # beyond 63 bits
        b"\x12\x01\x00" + wire.numbered(PARTS_MAX + 1),  # too many
        b"\x02\x01\x05node",  # fewer bytes than it says
    ],
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(BrokenProtocol):
        read(memoryview(body))


def test_a_long_last_field_is_not_copied():
    batch = bytes(1000)
    assert framed(messages.Deliver(1, 1, b"", batch))[1] is batch
