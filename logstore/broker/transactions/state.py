"""The states of a transactional id (KIP-98, KIP-890), and the transitions between them.

The numbers are those of Kafka's transaction log, the names those of ListTransactions. Two states
never occur here: an expired id is deleted immediately, and a fenced one is aborted in the same
step.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Outcome(IntEnum):
    """The outcome of a transaction, with the number of its marker's type."""

    ABORT = 0
    COMMIT = 1


class State(IntEnum):
    """The state of a transactional id."""

    EMPTY = 0  # it has a producer, which has not begun anything
    ONGOING = 1
    PREPARE_COMMIT = 2  # decided; not told to all partitions yet
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def wire_name(self) -> str:
        """The name in ListTransactions and DescribeTransactions."""
        return "".join([word.capitalize() for word in self.name.split("_")])


BY_WIRE_NAME: Final[Mapping[str, State]] = {it.wire_name: it for it in State}

PREPARE: Final = {Outcome.ABORT: State.PREPARE_ABORT, Outcome.COMMIT: State.PREPARE_COMMIT}
COMPLETE: Final = {Outcome.ABORT: State.COMPLETE_ABORT, Outcome.COMMIT: State.COMPLETE_COMMIT}
# How it ends, or has ended.
OUTCOME: Final = {state: it for table in (PREPARE, COMPLETE) for it, state in table.items()}

PREPARING: Final = frozenset(PREPARE.values())
IDLE: Final = frozenset({State.EMPTY, *COMPLETE.values()})  # no transaction is open

_PREVIOUS: Final[Mapping[State, frozenset[State]]] = {
    State.EMPTY: IDLE,
    State.ONGOING: IDLE | {State.ONGOING},
    State.PREPARE_COMMIT: frozenset({State.ONGOING}),
    State.PREPARE_ABORT: frozenset({State.ONGOING, State.PREPARE_EPOCH_FENCE}),
    State.COMPLETE_COMMIT: frozenset({State.PREPARE_COMMIT}),
    State.COMPLETE_ABORT: frozenset({State.PREPARE_ABORT}),
    State.DEAD: IDLE,
    State.PREPARE_EPOCH_FENCE: frozenset({State.ONGOING}),
}


def may_follow(state: State, previous: State, *, bumps: bool) -> bool:
    """Whether an id may change from ``previous`` to ``state``.

    ``bumps``: each end of a transaction raises the epoch (transaction.version 2). A client may then
    abort without knowing whether its first batch has arrived, and so begun a transaction.
    """
    if bumps and state is State.PREPARE_ABORT and previous in IDLE:
        return True
    return previous in _PREVIOUS[state]
