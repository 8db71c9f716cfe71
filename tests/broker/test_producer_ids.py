"""Ids that tell of themselves whether they were given."""

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.producer_ids import CHECK_BITS, NUMBER_MAX, ProducerIds
from logstore.errors import Failed

numbers = st.integers(0, NUMBER_MAX)
IDS = ProducerIds(b"s" * 16, 0, 0)


@given(numbers)
def test_an_id_is_known_again_and_positive(number):
    made = IDS.make(number)
    assert 0 < made < 2**63
    assert made >> CHECK_BITS == number + 1
    assert IDS.knows(made, NOW_MS)


@given(numbers, st.integers(0, 62))
def test_an_id_of_which_a_bit_differs_is_not_known(number, bit):
    assert not IDS.knows(IDS.make(number) ^ (1 << bit), NOW_MS)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_guess_is_not_known(guess):
    assert not IDS.knows(guess, NOW_MS)


@given(numbers)
def test_another_store_does_not_know_it(number):
    assert not ProducerIds(b"t" * 16, 0, 0).knows(IDS.make(number), NOW_MS)


def test_plain_numbers_of_before_are_known_for_a_while():
    ids = ProducerIds(b"s" * 16, 2000, NOW_MS + 1000)
    assert [ids.knows(it, NOW_MS) for it in (0, 1, 1999, 2000)] == [True, True, True, False]
    assert not ids.knows(1, NOW_MS + 1000)
    assert ids.knows(ids.make(5), NOW_MS + 1000)


def test_numbers_end():
    with pytest.raises(Failed, match="used up"):
        IDS.make(NUMBER_MAX + 1)
