"""What a member says of records: read, or refused as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.shares.acknowledgement import Acknowledged, Said, Type, cut, said
from logstore.errors import Refused
from logstore.protocols.kafka.errors import code_of


def test_types_have_kafkas_numbers():
    assert [(it.name, it.value) for it in Type] == [
        ("GAP", 0), ("ACCEPT", 1), ("RELEASE", 2), ("REJECT", 3), ("RENEW", 4)
    ]  # fmt: skip


def test_one_type_is_for_all_and_many_are_for_each():
    told = said([Acknowledged(3, 5, [1]), Acknowledged(7, 10, [1, 2, 2, 0])])
    assert told == [
        Said(3, 6, Type.ACCEPT),
        Said(7, 8, Type.ACCEPT),
        Said(8, 10, Type.RELEASE),
        Said(10, 11, Type.GAP),
    ]
    assert said([]) == cut([], 0, 0) == []


def test_neighbours_of_one_type_are_one():
    told = [Acknowledged(o, o, [1 + (o > 6)]) for o in range(3, 10)]
    assert said(told) == [Said(3, 7, Type.ACCEPT), Said(7, 10, Type.RELEASE)]
    assert cut(said(told), 8, 10) == [Said(8, 10, Type.RELEASE)]
    assert cut(said(told), 12, 12) == []


def test_who_asks_for_more_time_has_to_say_so():
    with pytest.raises(Refused, match="says nothing of that"):
        said([Acknowledged(0, 2, [1, 4, 1])], renews=False)
    assert len(said([Acknowledged(0, 2, [1, 4, 1])])) == 3


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([(5, 4, [1])], "do not come after"),
        ([(-1, 4, [1])], "do not come after"),
        ([(0, 4, [1]), (4, 5, [1])], "do not come after offset 4"),
        ([(6, 7, [1]), (0, 4, [1])], "do not come after"),
        ([(0, 4, [1]), (10, 10, [1])], "offset 10 .* below 10 were given out"),
        ([(0, 4, [])], "has|have 0 types"),
        ([(0, 4, [1, 1])], "have 2 types"),
        ([(0, 0, [5])], "none of 0 to 4"),
        ([(0, 1, [1, -1])], "none of 0 to 4"),
    ],
)
def test_what_is_none_is_refused(batches, message):
    with pytest.raises(Refused, match=message) as caught:
        cut(said([Acknowledged(*it) for it in batches]), 0, 10)
    assert code_of(caught.value) == 42


@given(
    st.lists(st.tuples(st.integers(1, 4), st.lists(st.sampled_from(Type), min_size=1))),
    st.integers(0, 30),
)
def test_each_offset_has_the_type_that_was_said(drawn, start):
    at, batches, expected = 0, [], {}
    for gap, types in drawn:
        first = at + gap
        batches.append(Acknowledged(first, first + len(types) - 1, types))
        expected |= dict(enumerate(types, first))
        at = first + len(types) - 1
    told = cut(said(batches), start, at + 1)
    found = {o: it.type for it in told for o in range(it.first, it.upto)}
    assert found == {o: kind for o, kind in expected.items() if o >= start}
