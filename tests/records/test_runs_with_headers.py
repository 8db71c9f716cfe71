"""Records of equal layout that have the same headers are read many at a time, as without any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import CorruptBatch
from logstore.records import decode as decode_file
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.records.reader import Reader

HEADERS = st.lists(
    st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=40)), max_size=5
).map(tuple)


def of(count, headers, odd=()):
    other = ((*headers, ("odd", b"1")),)
    return [
        (b"v" * 20, b"key", other[0] if n in odd else headers, 1_000 + n % 3) for n in range(count)
    ]


def as_sent(messages):
    return [
        (record.value, record.key, record.headers, record.timestamp_ms)
        for record in decode(encode(messages))
    ]


@given(HEADERS, st.integers(1, 300), st.sets(st.integers(0, 299), max_size=3))
def test_they_are_read_as_they_were_written(headers, count, odd):
    messages = of(count, headers, odd)
    assert as_sent(messages) == messages


@given(st.integers(1, 60), st.integers(1, 300), st.sets(st.integers(0, 299), max_size=3))
def test_headers_that_differ_in_a_byte_are_told_apart(width, count, odd):
    """Of few records a section is compared as a whole, of many byte by byte."""
    messages = [
        (b"v" * 20, b"key", (("h", b"x" * (width - 1) + (b"y" if n in odd else b"x")),), 1_000)
        for n in range(count)
    ]
    assert as_sent(messages) == messages


def test_they_are_read_at_once(monkeypatch):
    singles = []
    read = Reader.read

    def counted(self, count):
        singles.append(count)
        read(self, count)

    monkeypatch.setattr(Reader, "read", counted)
    messages = of(1000, (("amqp.exchange", b"x"), ("amqp.properties", b"\x90\0\x04text\x02")))
    assert as_sent(messages) == messages
    assert singles == []


def outcome(data):
    try:
        return decode(Batch(data), check=False)
    except CorruptBatch as error:
        return str(error)


@pytest.mark.parametrize("at", range(50))
def test_no_byte_is_believed(at, monkeypatch):
    batch = encode(of(100, (("name", b"value"), ("other", None))))
    damaged = []
    for record in (0, 30, 70, 99):
        place = HEADER_BYTES + (len(batch.data) - HEADER_BYTES) // 100 * record + at
        for bits in (1, 2, 0x80):
            data = bytearray(batch.data)
            data[place] ^= bits
            damaged.append(bytes(data))
    found = list(map(outcome, damaged))
    monkeypatch.setattr(decode_file, "take_run", lambda reader, left: False)
    assert found == list(map(outcome, damaged))
