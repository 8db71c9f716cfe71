"""What the journal is told: who has told it is called in its order, some in a turn."""

from collections import deque

import pytest
from clock import NOW_MS
from transacting_kit import HeldLog

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.transacting.telling import CALLED_AT_ONCE, Telling
from logstore.errors import LogFailed, StorageFull

COUNT = CALLED_AT_ONCE + 2


@pytest.fixture
def calls():
    return deque()


@pytest.fixture
def telling(calls, monkeypatch):
    monkeypatch.setattr("logstore.broker.transacting.telling.CALLED_S", 3600)
    journal = HeldLog("journal", SettlementNotes())
    return Telling(journal, lambda: NOW_MS, calls.append, lambda: None)


def told(telling, heard):
    for number in range(COUNT):
        telling.tell(b"T%d" % number, b"", heard.append)


def test_all_are_called_in_order_some_in_a_turn(telling, calls):
    heard = []
    told(telling, heard)
    telling.end_turn()
    assert telling.journal.end == COUNT
    telling.journal.sync()
    calls.popleft()()
    assert heard == list(range(CALLED_AT_ONCE))
    calls.popleft()()
    assert heard == list(range(COUNT))
    assert not calls


def test_what_takes_long_is_for_another_turn(telling, calls, monkeypatch):
    monkeypatch.setattr("logstore.broker.transacting.telling.CALLED_S", -1)
    heard = []
    told(telling, heard)
    telling.end_turn()
    telling.journal.sync()
    calls.popleft()()
    assert heard == [0]
    while calls:
        calls.popleft()()
    assert heard == list(range(COUNT))


def test_a_full_journal_refuses_all_some_in_a_turn(telling, calls):
    heard = []
    telling.journal.full = True
    told(telling, heard)
    telling.end_turn()
    assert [type(it) for it in heard] == [StorageFull] * CALLED_AT_ONCE
    calls.popleft()()
    assert [type(it) for it in heard] == [StorageFull] * COUNT
    assert not calls


def test_those_of_a_failed_journal_hear_of_it_after_those_that_are_safe(telling, calls):
    heard = []
    telling.tell(b"T", b"", heard.append)
    telling.end_turn()
    telling.journal.synced = telling.journal.end
    told(telling, heard)
    telling.end_turn()
    telling.journal.fail()
    while calls:
        calls.popleft()()
    assert heard[0] == 0
    assert [type(it) for it in heard[1:]] == [LogFailed] * COUNT


def test_nobody_is_called_after_the_end(telling, calls):
    heard = []
    told(telling, heard)
    telling.end_turn()
    telling.close()
    telling.journal.sync()
    while calls:
        calls.popleft()()
    assert not heard
