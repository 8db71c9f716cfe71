import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_samples import INT64

from logstore.errors import CorruptBatch
from logstore.records.varint import SIGNED14, VARINTS, decoded, encoded, signed, wrapped64


@given(INT64)
def test_round_trip(number):
    data = encoded(number)
    zigzag, end = decoded(b"\xff" + data + b"\xff", 1, 10)
    assert (signed(zigzag), end) == (number, 1 + len(data))


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (0, b"\x00"),
        (-1, b"\x01"),
        (1, b"\x02"),
        (63, b"\x7e"),
        (-64, b"\x7f"),
        (64, b"\x80\x01"),
        (8191, b"\xfe\x7f"),
        (8192, b"\x80\x80\x01"),
        (2**31 - 1, b"\xfe\xff\xff\xff\x0f"),
        (-(2**31), b"\xff\xff\xff\xff\x0f"),
        (-(2**63), b"\xff" * 9 + b"\x01"),
    ],
)
def test_bytes_as_protocol_buffers_has_them(number, data):
    assert encoded(number) == data


def test_tables_agree_with_the_functions():
    assert [encoded(number) for number in range(8192)] == VARINTS
    assert [signed(zigzag) for zigzag in range(1 << 14)] == SIGNED14


@pytest.mark.parametrize("data", [b"\xff" * 5, b"\x80" * 9, b"\xff\xff\xff\xff\x10"])
def test_more_than_32_bits_are_refused(data):
    with pytest.raises(CorruptBatch):
        decoded(data, 0)


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80" * 11])
def test_more_than_64_bits_are_refused(data):
    with pytest.raises(CorruptBatch):
        decoded(data, 0, 10)


def test_the_end_of_the_data_is_an_index_error():
    for data in (b"", b"\x80", b"\x80" * 4):
        with pytest.raises(IndexError):
            decoded(data, 0)


@given(st.integers(-(2**70), 2**70))
def test_wrapping(number):
    wrapped = wrapped64(number)
    assert -(2**63) <= wrapped < 2**63
    assert (wrapped - number) % 2**64 == 0
