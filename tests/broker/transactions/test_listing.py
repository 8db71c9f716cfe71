"""Which ids a ListTransactions request asks for."""

import pytest
from clock import NOW_MS
from transaction_parts import an_id

from logstore.broker.coordinator.pattern import compiled
from logstore.broker.transactions.listing import asked
from logstore.broker.transactions.state import State

IDS = [
    an_id(name="copier-1", pid=1),
    an_id(State.ONGOING, name="copier-2", pid=2, began_ms=NOW_MS - 5000),
    an_id(State.PREPARE_ABORT, name="ümlaut", pid=3, began_ms=NOW_MS - 9000),
    an_id(State.COMPLETE_COMMIT, name="mover", pid=4),
]


def listed(*args, **more):
    it, unknown = asked(*args, **more)
    return [found.pid for found in it.of(IDS, NOW_MS)], unknown


@pytest.mark.parametrize(
    ("states", "pids", "more", "expected"),
    [
        ([], [], {}, [1, 2, 3, 4]),
        (["Ongoing", "PrepareAbort"], [], {}, [2, 3]),
        (["Dead"], [], {}, []),
        ([], [4, 9], {}, [4]),
        (["Ongoing"], [2, 4], {}, [2]),
        ([], [], {"duration_ms": 0}, [2, 3]),
        ([], [], {"duration_ms": 4999}, [2, 3]),
        ([], [], {"duration_ms": 5000}, [3]),
        ([], [], {"pattern": compiled("copier")}, []),  # all of the name
        ([], [], {"pattern": compiled("copier-.*")}, [1, 2]),
        ([], [], {"pattern": compiled(".mlaut")}, [3]),
    ],
)
def test_filters(states, pids, more, expected):
    assert listed(states, pids, **more) == (expected, [])


def test_states_that_nobody_knows_are_told():
    assert listed(["ongoing", "Ongoing", "Gone"], []) == ([2], ["ongoing", "Gone"])
    assert listed(["Gone"], []) == ([], ["Gone"])
