"""Who asks for a producer waits while what is known of transactions is being read."""

from types import SimpleNamespace

import pytest
from lossy_transactions import Turn

from logstore.errors import CoordinatorLoading, Failed
from logstore.node.transactions import OPEN_WAIT_MS, NodeTransactions


@pytest.fixture
def turn():
    return Turn()


@pytest.fixture
def opening():
    """Who waits for the journal."""
    return []


@pytest.fixture
def transactions(turn, opening):
    journal = SimpleNamespace(is_there=False, when_open=opening.append)
    return NodeTransactions(turn, None, journal, None, None, None)


def test_all_who_wait_are_told_why_there_are_none(transactions, opening):
    heard = []
    for _ in range(2):
        transactions.when_open(heard.append)
    assert heard == []
    [opened] = opening  # for all of them
    broken = Failed("broken")
    opened(broken)
    assert heard == [broken, broken]


def test_who_has_waited_for_long_is_to_ask_again(transactions, turn):
    first, second = [], []
    transactions.when_open(first.append)
    turn.later(OPEN_WAIT_MS - 1)
    transactions.when_open(second.append)
    assert not first
    turn.later(1)
    assert [type(it) for it in first] == [CoordinatorLoading]
    assert not second
    turn.later(OPEN_WAIT_MS)
    assert [type(it) for it in second] == [CoordinatorLoading]


def test_nobody_is_told_once_the_server_stops(transactions, turn):
    heard = []
    transactions.when_open(heard.append)
    transactions.close()
    turn.later(2 * OPEN_WAIT_MS)
    assert not heard
