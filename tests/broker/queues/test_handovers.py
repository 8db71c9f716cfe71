"""What the journal says of messages that are being handed over exactly once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.queues.handovers import (
    CAME,
    GONE,
    OVER,
    RECEIVED,
    RELEASED,
    HandOvers,
    Sent,
    follow,
    sent,
    sent_in_a_row,
    told_of,
)
from logstore.errors import CorruptStore, SchemaTooNew

pids = st.integers(1, 65_535) | st.integers(1, 6)
some_pids = st.lists(pids, min_size=1, max_size=6, unique=True).map(sorted)
messages = st.tuples(pids, st.integers(1, 3), st.integers(0, 2), st.integers(0, 1 << 40))
operations = st.one_of(
    st.tuples(st.sampled_from([CAME, RELEASED, RECEIVED, OVER]), some_pids).map(
        lambda it: told_of(*it)
    ),
    st.lists(messages, min_size=1, max_size=4, unique_by=lambda it: it[0]).map(sent),
)


def applied(values, state=None):
    state = HandOvers() if state is None else state
    for value in values:
        assert state.apply(value, "it")
    return state


def shown(state):
    return state.came, list(state.sent.items())


def test_a_message_of_a_client():
    state = applied([told_of(CAME, [7, 8, 9, 12])])
    assert state.came == {7, 8, 9, 12}
    assert applied([told_of(RELEASED, [8, 9])], state).came == {7, 12}


def test_a_message_to_a_client():
    state = applied([sent([(5, 3, 0, 100), (6, 3, 0, 101), (9, 4, 1, 7)])])
    assert state.sent == {
        5: Sent(3, 0, 100, False), 6: Sent(3, 0, 101, False), 9: Sent(4, 1, 7, False)
    }  # fmt: skip
    applied([told_of(RECEIVED, [6, 70])], state)
    assert [pid for pid, it in state.sent.items() if it.received] == [6]
    applied([told_of(OVER, [5, 6, 9])], state)
    assert not state


def test_messages_in_a_row_are_one_operation():
    assert len(sent((n, 3, 0, 1000 + n) for n in range(1, 60_000))) < 16
    assert len(told_of(CAME, range(1, 60_000))) < 8


def test_messages_in_a_row_may_be_told_as_such():
    assert sent_in_a_row(5, 3, 9, 1, 100) == sent([(5 + n, 9, 1, 100 + n) for n in range(3)])


@given(st.lists(st.integers(1, 9), max_size=5))
def test_what_follows_each_other(numbers):
    assert follow(numbers) == (bool(numbers) and all(b == a + 1 for a, b in pairwise(numbers)))


@given(st.sampled_from([CAME, RELEASED, RECEIVED, OVER]), st.lists(st.integers(1, 20), max_size=9))
def test_operations_are_about_all_that_they_were_told_of(letter, those):
    state = applied([told_of(CAME, range(1, 21)), sent((n, 3, 0, n) for n in range(1, 21))])
    applied([told_of(letter, those)], state)
    assert 20 - len(state.came) == (len(set(those)) if letter == RELEASED else 0)
    assert 20 - len(state.sent) == (len(set(those)) if letter == OVER else 0)
    received = {pid for pid, it in state.sent.items() if it.received}
    assert received == (set(those) if letter == RECEIVED else set())


@given(st.lists(operations, max_size=12))
def test_a_state_as_bytes_is_the_same(values):
    state = applied(values)
    assert shown(applied([state.encode()])) == shown(state)
    assert shown(state.copy()) == shown(state)


@given(st.lists(operations, max_size=12), st.data())
def test_operations_may_be_told_again_from_any_one_on(values, data):
    state = applied(values)
    at = data.draw(st.integers(0, len(values)))
    seen = applied(values[: data.draw(st.integers(at, len(values)))])
    came, those = shown(applied(values[at:], seen))
    assert (came, dict(those)) == (state.came, state.sent)


def test_a_session_that_is_gone_knows_nothing():
    assert not HandOvers().apply(told_of(CAME, [1]) + GONE, "it")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"Z\1\1", SchemaTooNew),
        (b"I\1", CorruptStore),
        (b"I\0\1", CorruptStore),
        (b"I\1\0", CorruptStore),
        (b"P\xff\xff\3\2", CorruptStore),
        (b"O\1\1\3\0", CorruptStore),
        (GONE + b"I\1\1", CorruptStore),
    ],
)
def test_what_is_none_of_ours_is_refused(value, error):
    with pytest.raises(error):
        HandOvers().apply(value, "the record")
