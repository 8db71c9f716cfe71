from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.packed import NUMBER_MAX, Packed, packed
from logstore.broker.queues import bits as module
from logstore.broker.queues.bits import (
    BLOCKS_MAX,
    FULL,
    decode,
    decode_set,
    encode,
    exclude,
    include,
    parts,
    runs,
    size,
    span,
    spread,
)
from logstore.errors import CorruptStore

# Some alone, some in a row, some that fill blocks: all kinds of entries.
offsets = st.one_of(
    st.sets(st.integers(0, 3000), max_size=60),
    st.lists(
        st.tuples(st.integers(0, 5000), st.sampled_from([1, 2, 31, 40, 255, 256, 257, 700])),
        max_size=8,
    ).map(lambda given: {first + n for first, count in given for n in range(count)}),
    st.integers(1, 3).map(lambda step: set(range(100, 900, step))),
)


def a_set(offsets):
    bits = {}
    for offset in offsets:
        include(bits, offset, 1)
    return bits


def members(bits):
    return {
        (block << 8) + bit for block, mask in bits.items() for bit in range(256) if mask >> bit & 1
    }


@given(offsets)
def test_a_set_is_the_same_after_it_was_bytes(offsets):
    bits = a_set(offsets)
    assert members(bits) == offsets
    assert size(bits) == len(offsets)
    reader = Packed(encode(bits), "it")
    assert decode_set(reader, NUMBER_MAX) == bits
    assert not reader


@given(offsets)
def test_runs_are_what_is_in_a_row(offsets):
    found = list(runs(a_set(offsets)))
    assert {first + n for first, count in found for n in range(count)} == offsets
    assert all(first + count < after for (first, count), (after, _) in pairwise(found))


@given(offsets, st.integers(0, 4000), st.integers(0, 4000))
def test_a_range_is_taken_out(offsets, first, upto):
    bits = a_set(offsets)
    gone = exclude(bits, first, upto)
    left = offsets - set(range(first, upto))
    assert members(bits) == left
    assert gone == len(offsets) - len(left)
    assert all(bits.values())


@given(st.integers(0, 1000), st.integers(1, 900), st.integers(1, 2**900 - 1))
def test_offsets_in_a_row_and_by_bits_fall_into_blocks(first, count, mask):
    assert members(dict(span(first, count))) == set(range(first, first + count))
    named = {first + n for n in range(mask.bit_length()) if mask >> n & 1}
    assert members(dict(parts(first, mask))) == named


@given(st.integers(0, 2**40), st.integers(1, 9))
def test_bits_are_spread(mask, stride):
    named = {n * stride for n in range(mask.bit_length()) if mask >> n & 1}
    assert spread(mask, stride) == sum(1 << n for n in named)


def test_a_million_in_a_row_are_a_few_bytes():
    bits = {}
    include(bits, 77, 1_000_000)
    assert len(bits) == 3907
    assert len(encode(bits)) == 1 + 1 + 2 + 3
    assert list(runs(bits)) == [(77, 1_000_000)]


def test_one_in_a_block_is_three_bytes():
    bits = dict.fromkeys(range(1000), 1 << 9)
    assert len(encode(bits)) == 2 + 3 * 1000


def test_taking_out_a_range_costs_by_what_is_there_not_by_its_length():
    bits = a_set([5, 2**62])
    assert exclude(bits, 6, 2**62) == 0
    assert exclude(bits, 0, 2**62 + 1) == 2
    assert bits == {}


@given(st.integers(0, NUMBER_MAX) | st.integers(0, 300))
def test_a_number_is_the_same_after_it_was_bytes(number):
    reader = Packed(packed(number) + b"x", "it")
    assert reader.number() == number
    assert reader.byte() == ord("x")
    assert not reader


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cut off"),
        (b"\x80", "cut off"),
        (b"\x80\x00", "not in its shortest form"),
        (b"\xff" * 9, "longer than 9 bytes"),
        (b"\xff" * 12, "longer than 9 bytes"),
    ],
)
def test_what_is_no_number_is_told(data, told):
    with pytest.raises(CorruptStore, match=told):
        Packed(data, "it").number()


def a_broken_set(*entries):
    return Packed(packed(len(entries)) + b"".join(entries), "the set")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (b"\x00\x03\x05\x05\x09", "out of order"),
        (b"\x00\x03\x05\x09\x05", "out of order"),
        (b"\x00\x20" + bytes(32), "empty block"),
        (b"\x00\x21", "kind 33"),
        (b"\x00\x20" + bytes(31), "cut off"),
        (packed(NUMBER_MAX >> 8) + b"\x01\x00", "more than 63 bits"),
        (b"\x00\x00\x01" + packed(NUMBER_MAX), "more than 63 bits"),
        (packed(9) + b"\x01\x00", "not below 2000"),
        (b"\x00\x00\x01" + packed(2000), "not below 2000"),
    ],
)
def test_what_is_no_set_is_told(entry, told):
    with pytest.raises(CorruptStore, match=told):
        decode_set(a_broken_set(entry), 2000)


def test_a_set_larger_than_any_is_not_made():
    with pytest.raises(CorruptStore, match="more than"):
        decode_set(a_broken_set(b"\x00\x00\x00" + packed(2**61)), NUMBER_MAX)
    assert list(decode(a_broken_set(b"\x00\x00\x00" + packed(2**61)))) == [(0, 2**61 + 1, 0)]


@given(st.binary(max_size=200))
def test_garbage_is_a_set_or_told(data):
    reader = Packed(data, "it")
    try:
        bits = decode_set(reader, 100_000)
    except CorruptStore:
        return
    assert all(0 < mask <= FULL for mask in bits.values())
    assert decode_set(Packed(encode(bits), "it"), 100_000) == bits


def test_the_bounds_fit_each_other():
    assert module.KEPT_BLOCKS_MAX > 2 * BLOCKS_MAX
