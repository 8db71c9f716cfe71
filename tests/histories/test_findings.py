"""Each finding by a history that shows it, and by the nearest one that does not."""

import pytest

from tests.histories.findings import CHECKS, HELD, findings
from tests.histories.history import Commit, History, Operation, Outcome, Poll, Send

A, B, IN = ("a", 0), ("b", 0), ("in", 0)
OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO


def txn(*steps, outcome=OK, client="p", asked=10.0, **more):
    return Operation(client, steps, outcome, begun=9.0, ended=11.0, asked=asked, **more)


def plain(*steps, client="p", outcome=OK, **more):
    return Operation(client, steps, outcome, **more)


def reader(*steps, client="c", ended=20.0, **more):
    return Operation(client, steps, begun=ended - 1, ended=ended, **more)


def assigned(*steps):
    return reader(*steps, assigned=True)


def history(*operations, last=(), groups=()):
    return History(operations, dict(last), dict(groups))


X = plain(Send(A, "x", 0))
Y = plain(Send(A, "y", 1))
TWO = Send(A, "x", 0), Send(B, "y", 0)
BOTH = {A: ((0, "x"),), B: ((0, "y"),)}
WORK = Poll(IN, ((0, "i"),)), Send(A, "x", 0), Commit("g", IN, 1)
INPUT = plain(Send(IN, "i", 0))
READ_INPUT = Poll(IN, ((0, "i"),))
DONE = {IN: ((0, "i"),), A: ((0, "x"),)}

# Kind: (shows it, does not).
CASES = {
    "lost-write": (
        history(X, Y, reader(Poll(A, ((1, "y"),)))),
        history(X, Y, reader(Poll(A, ((0, "x"),)))),  # nobody has read as far as y
    ),
    "unseen": (
        history(X, plain(Send(A, "y")), last={A: ((0, "x"),)}),  # where, it was not told
        history(X, plain(Send(A, "y"), outcome=INFO), last={A: ((0, "x"),)}),
    ),
    "duplicate": (
        history(X, reader(Poll(A, ((0, "x"), (1, "x"))))),
        history(X, reader(Poll(A, ((0, "x"),))), reader(Poll(A, ((0, "x"),)))),
    ),
    "inconsistent-offsets": (
        history(X, plain(Send(A, "y")), reader(Poll(A, ((0, "y"),)))),
        history(X, plain(Send(A, "y")), reader(Poll(A, ((0, "x"), (1, "y"))))),
    ),
    "unwritten": (
        history(X, reader(Poll(A, ((0, "x"), (1, "z"))))),
        history(X, reader(Poll(A, ((0, "x"),)))),
    ),
    "G1a": (
        history(txn(Send(A, "x", 0), outcome=FAIL), reader(Poll(A, ((0, "x"),)))),
        history(
            txn(Send(A, "x", 0), outcome=FAIL),
            reader(Poll(A, ((0, "x"),)), committed=False),  # who asks for all of it gets it
        ),
    ),
    "precommitted-read": (
        history(txn(Send(A, "x", 0)), reader(Poll(A, ((0, "x"),)), ended=9.5)),
        history(txn(Send(A, "x", 0)), reader(Poll(A, ((0, "x"),)), ended=10.5)),
    ),
    "nonmonotonic-send": (
        history(txn(Send(A, "x", 1), Send(A, "y", 0))),
        history(txn(Send(A, "x", 1), Send(B, "y", 0))),
    ),
    "nonmonotonic-poll": (
        history(X, Y, reader(Poll(A, ((1, "y"),)), Poll(A, ((0, "x"),)))),
        history(X, Y, reader(Poll(A, ((1, "y"),))), reader(Poll(A, ((0, "x"),)))),
    ),
    "poll-skip": (
        history(
            X, Y, plain(Send(A, "z", 2)),
            assigned(Poll(A, ((0, "x"),))), assigned(Poll(A, ((2, "z"),))),
            reader(Poll(A, ((1, "y"),)), client="d"),
        ),
        history(
            X, Y, plain(Send(A, "z", 2)),
            reader(Poll(A, ((0, "x"),))), reader(Poll(A, ((2, "z"),))),  # others may have had y
            reader(Poll(A, ((1, "y"),)), client="d"),
        ),
    ),
    "wr-cycle": (
        history(
            txn(Send(A, "x", 0), Poll(B, ((0, "y"),)), client="p"),
            txn(Send(B, "y", 0), Poll(A, ((0, "x"),)), client="q"),
        ),
        history(
            txn(Send(A, "x", 0), client="p"),
            txn(Send(B, "y", 0), Poll(A, ((0, "x"),)), client="q"),
        ),
    ),
    "torn": (
        history(txn(*TWO, outcome=INFO), last={**BOTH, B: ()}),
        history(txn(*TWO, outcome=INFO), last={A: BOTH[A]}),  # nobody has looked at the other one
    ),
    "repeated": (
        history(
            INPUT, txn(*WORK), txn(READ_INPUT, Send(A, "y", 1), Commit("g", IN, 1)),
        ),
        history(
            INPUT, txn(*WORK), txn(READ_INPUT, Send(A, "y", 1), Commit("g", IN, 1), outcome=FAIL),
        ),
    ),
    "unprocessed": (
        history(
            INPUT, plain(Send(IN, "j", 1)), txn(*WORK[:2], Commit("g", IN, 2)),
            last={**DONE, IN: ((0, "i"), (1, "j"))}, groups={("g", IN): 2},
        ),
        history(
            INPUT, plain(Send(IN, "j", 1)), txn(*WORK),
            last={**DONE, IN: ((0, "i"), (1, "j"))}, groups={("g", IN): 1},
        ),
    ),
    "G0": (
        history(
            txn(Send(A, "x", 0), Send(B, "y", 1), client="p"),
            txn(Send(A, "v", 1), Send(B, "w", 0), client="q"),
        ),
        history(
            txn(Send(A, "x", 0), Send(B, "y", 0), client="p"),
            txn(Send(A, "v", 1), Send(B, "w", 1), client="q"),
        ),
    ),
    "G1c": (
        history(
            txn(Send(A, "x", 0), Send(B, "y", 1), client="p"),
            txn(Poll(A, ((0, "x"),)), Send(B, "w", 0), client="q"),
        ),
        history(
            txn(Send(A, "x", 0), Send(B, "y", 0), client="p"),
            txn(Poll(A, ((0, "x"),)), Send(B, "w", 1), client="q"),
        ),
    ),
}  # fmt: skip


def kinds(history, held=True):
    return {it.kind for it in findings(history, held=held)}


def test_there_is_a_case_of_every_kind():
    assert set(CASES) == set(CHECKS) | set(HELD)


@pytest.mark.parametrize("kind", CASES)
def test_a_history_that_shows_it(kind):
    shows, _ = CASES[kind]
    # Cycles of writes alone are cycles of both as well.
    assert kinds(shows) - {"G1c"} == {kind} - {"G1c"}
    assert kind in kinds(shows)


@pytest.mark.parametrize("kind", CASES)
def test_the_nearest_history_that_does_not(kind):
    _, does_not = CASES[kind]
    assert kinds(does_not) == set()


def test_streaming_transactions_may_interleave():
    for kind in HELD:
        assert kinds(CASES[kind][0], held=False) == set()


def test_a_part_of_the_logs_is_a_history_of_its_own():
    whole = history(
        txn(Send(A, "x", 0), Send(B, "y", 1), client="p"),
        txn(Send(A, "v", 1), Send(B, "w", 0), client="q"),
        reader(Poll(B, ((0, "w"),))),
        last={A: (), B: ()}, groups={("g", A): 1, ("g", B): 1},
    )  # fmt: skip
    part = whole.only([A])
    assert [it.steps for it in part.operations] == [(Send(A, "x", 0),), (Send(A, "v", 1),)]
    assert (part.last, part.groups) == ({A: ()}, {("g", A): 1})
    assert "G0" in kinds(whole)
    assert "G0" not in kinds(part)


def test_what_was_read_has_to_stay():
    info = txn(Send(A, "x", 0), outcome=INFO)
    assert kinds(history(info, reader(Poll(A, ((0, "x"),))), last={A: ()})) == {"unseen", "torn"}
    assert (
        kinds(history(info, reader(Poll(A, ((0, "x"),)), committed=False), last={A: ()})) == set()
    )


@pytest.mark.parametrize(
    ("outcome", "there", "stands", "found"),
    [
        (OK, True, 1, set()),
        (OK, True, 0, {"torn"}),
        (FAIL, False, 0, set()),
        (FAIL, False, 1, {"torn", "unprocessed"}),
        (INFO, True, 1, set()),
        (INFO, True, 0, {"torn"}),
        (INFO, False, 0, set()),
        (INFO, False, 1, {"torn", "unprocessed"}),
    ],
)
def test_where_a_group_stands_and_what_came_of_it_go_together(outcome, there, stands, found):
    last = {**DONE, A: DONE[A] if there else ()}
    it = history(INPUT, txn(*WORK, outcome=outcome), last=last, groups={("g", IN): stands})
    assert kinds(it) == found


@pytest.mark.parametrize("stands", [0, 1])
def test_of_a_transaction_that_nobody_can_look_at_a_group_may_have_all_or_nothing(stands):
    unknown = txn(*WORK, outcome=INFO)
    assert (
        kinds(history(INPUT, unknown, last={IN: ((0, "i"),)}, groups={("g", IN): stands})) == set()
    )
    only_offsets = txn(READ_INPUT, Commit("g", IN, 1), outcome=INFO)
    assert (
        kinds(history(INPUT, only_offsets, last=DONE | {A: ()}, groups={("g", IN): stands}))
        == set()
    )


def test_own_writes_are_not_read():
    own = txn(Send(A, "x", 0), Poll(A, ((0, "x"),)))
    assert kinds(history(own)) == {"precommitted-read"}


def test_a_finding_is_one_line():
    shows, _ = CASES["lost-write"]
    (found,) = findings(shows)
    assert str(found) == "lost-write: 'x' at a-0@0 was acknowledged, never read"


def test_what_is_sent_twice_tells_nothing():
    with pytest.raises(AssertionError, match="'x' is sent twice"):
        findings(history(X, X))
