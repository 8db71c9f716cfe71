"""What tests of transactions are made of."""

from itertools import count

from clock import NOW_MS

from logstore.broker.transactions.state import COMPLETE, Outcome, State
from logstore.broker.transactions.table import Now
from logstore.broker.transactions.transactional_id import (
    EXHAUSTED,
    NO_EPOCH,
    NO_PID,
    Producer,
    TransactionalId,
)

COMMIT, ABORT = Outcome.COMMIT, Outcome.ABORT
ANYONE = Producer(NO_PID, NO_EPOCH)
TIMEOUT_MS = 60_000
TOPIC, OTHER_TOPIC = bytes(range(16)), bytes(range(16, 32))


class Pids:
    """Gives producer ids, and knows how many."""

    def __init__(self, first=1000):
        self._numbers = count(first)
        self.given = []

    def __call__(self):
        self.given.append(next(self._numbers))
        return self.given[-1]


def no_pid():
    raise AssertionError("no producer id was due")


def at(ms=0):
    """The time after the start by both clocks."""
    return Now(NOW_MS + ms, ms)


def an_id(state=State.EMPTY, epoch=5, **more):
    """A transactional id in this state."""
    facts = {"name": "copier", "pid": 7, "timeout_ms": TIMEOUT_MS, "since_ms": NOW_MS, **more}
    if state is State.ONGOING:
        facts.setdefault("began_ms", NOW_MS)
    return TransactionalId(epoch=epoch, state=state, **facts)


def after(it, outcome):
    """The id once its transaction has ended with this outcome."""
    done = it.kept().completed()
    assert done.state is COMPLETE[outcome]
    return done


LAST = EXHAUSTED
