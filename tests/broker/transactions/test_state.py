"""The states of a transactional id, as Kafka has them."""

import pytest

from logstore.broker.transactions.state import (
    BY_WIRE_NAME,
    COMPLETE,
    IDLE,
    PREPARE,
    Outcome,
    State,
    may_follow,
)


def test_states_have_kafkas_numbers_and_names():
    assert [(it.value, it.wire_name) for it in State] == [
        (0, "Empty"),
        (1, "Ongoing"),
        (2, "PrepareCommit"),
        (3, "PrepareAbort"),
        (4, "CompleteCommit"),
        (5, "CompleteAbort"),
        (6, "Dead"),
        (7, "PrepareEpochFence"),
    ]
    assert BY_WIRE_NAME["CompleteAbort"] is State.COMPLETE_ABORT


def test_an_outcome_has_the_number_of_its_marker():
    assert (Outcome.ABORT, Outcome.COMMIT) == (0, 1)


# By state: those that it may come from, as TransactionState.VALID_PREVIOUS_STATES.
FROM = {
    "Empty": {"Empty", "CompleteCommit", "CompleteAbort"},
    "Ongoing": {"Ongoing", "Empty", "CompleteCommit", "CompleteAbort"},
    "PrepareCommit": {"Ongoing"},
    "PrepareAbort": {"Ongoing", "PrepareEpochFence"},
    "CompleteCommit": {"PrepareCommit"},
    "CompleteAbort": {"PrepareAbort"},
    "Dead": {"Empty", "CompleteCommit", "CompleteAbort"},
    "PrepareEpochFence": {"Ongoing"},
}


@pytest.mark.parametrize("state", State)
def test_which_state_may_follow_which(state):
    for previous in State:
        expected = previous.wire_name in FROM[state.wire_name]
        assert may_follow(state, previous, bumps=False) is expected
        abort_of_nothing = state is State.PREPARE_ABORT and previous in IDLE
        assert may_follow(state, previous, bumps=True) is (expected or abort_of_nothing)


def test_each_outcome_has_its_states():
    assert {it: (PREPARE[it], COMPLETE[it]) for it in Outcome} == {
        Outcome.ABORT: (State.PREPARE_ABORT, State.COMPLETE_ABORT),
        Outcome.COMMIT: (State.PREPARE_COMMIT, State.COMPLETE_COMMIT),
    }
