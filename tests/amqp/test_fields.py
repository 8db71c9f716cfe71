"""Fields and tables of AMQP: as pamqp has them, and whatever a peer sends."""

import math
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode as oracle

from logstore.amqp import fields
from logstore.amqp.fields import KINDS, Float, Long, Octet, Short, SignedOctet, Timestamp
from logstore.amqp.replies import Refusal

NAMES = st.text(max_size=40)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.text(), st.binary(),
    st.none(), st.integers(0, (1 << 64) - 1).map(Timestamp),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Long), st.integers(0, 255).map(Octet),
    st.integers(-128, 127).map(SignedOctet), st.integers(0, 65535).map(Short),
    st.floats(width=32).map(Float),
    st.builds(
        lambda digits, scale: Decimal(digits).scaleb(-scale),
        st.integers(0, (1 << 32) - 1), st.integers(0, 255),
    ),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=8)


def same(one, other):
    """Also NaN, and 1 is not True. A plain integer that is large comes back as a long."""
    if type(one) is int and one not in range(-(1 << 31), 1 << 31):
        return one == other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return isinstance(other, float) and (
            one == other or (math.isnan(one) and math.isnan(other))
        )
    return type(one) is type(other) and one == other


@given(TABLES)
def test_a_table_is_read_as_it_was_written(table):
    data = fields.table(table)
    found, end = fields.read_table(data + b"more", 0)
    assert same(table, found)
    assert end == len(data)


@given(st.dictionaries(NAMES, st.text() | st.integers(-(1 << 31), (1 << 31) - 1) | st.booleans()))
def test_a_table_is_what_others_read(table):
    assert oracle.field_table(fields.table(table)) == (len(fields.table(table)), table)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read(data):
    with suppress(Refusal):
        table, end = fields.read_table(data, 0)
        assert end <= len(data)
        fields.table(table)


@given(TABLES, st.data())
def test_a_table_that_ends_too_early_is_refused(table, data):
    whole = fields.table(table)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Refusal, match="SYNTAX_ERROR"):
        fields.read_table(whole[:cut], 0)


@pytest.mark.parametrize("begin", [b"F", b"A"])
def test_a_hundred_tables_in_each_other_are_read_and_ten_thousand_refused(begin):
    def tables(deep):
        inner = b""
        for _ in range(deep):
            inner = begin + fields.longstr((b"\1a" if begin == b"F" and inner else b"") + inner)
        return fields.longstr(b"\1a" + inner)

    assert fields.read_table(tables(100), 0)[1] == len(tables(100))
    with pytest.raises(Refusal, match="nested"):
        fields.read_table(tables(10_000), 0)


def test_a_string_that_is_not_utf8_is_kept():
    data = fields.longstr(b"\1\xff" + b"S" + fields.longstr(b"\xfe\xff"))
    table, _ = fields.read_table(data, 0)
    assert fields.table(table) == data


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("b", b"\xff", -1), ("B", b"\xff", 255), ("s", b"\xff\xfe", -2), ("u", b"\xff\xfe", 65534),
        ("I", b"\xff\xff\xff\xff", -1), ("i", b"\xff\xff\xff\xff", 2**32 - 1),
        ("l", b"\xff" * 8, -1), ("L", b"\xff" * 8, 2**64 - 1), ("f", b"\x3f\x80\0\0", 1.0),
        ("t", b"\2", True), ("V", b"", None), ("D", b"\2\0\0\1\0", Decimal("2.56")),
        ("T", b"\0" * 7 + b"\5", Timestamp(5)), ("x", b"\0\0\0\1\xff", b"\xff"),
    ],
)  # fmt: skip
def test_each_type_that_brokers_send_is_read(kind, data, value):
    found, _ = fields.read_table(fields.longstr(b"\1n" + kind.encode() + data), 0)
    assert found["n"] == value
    assert KINDS[type(found["n"])] == kind
    assert fields.table(found)[6:] == kind.encode() + (b"\1" if kind == "t" else data)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, Decimal(-1), Decimal("NaN"),
                                   Decimal(1 << 32), object(), {"a" * 256: 1}])  # fmt: skip
def test_what_no_table_can_hold_is_refused(value):
    with pytest.raises((ValueError, TypeError)):
        fields.table(value if isinstance(value, dict) else {"n": value})
