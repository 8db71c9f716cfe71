"""What a journal is told at the end of a turn, in batches that any log takes."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import storage_kit
from clock import NOW_MS

from logstore.broker.queues import journaling
from logstore.broker.queues.journal import SettlementNotes, queue_of
from logstore.broker.queues.journaling import IN_USE, Journaling
from logstore.broker.queues.settled import Settled
from logstore.errors import LogstoreError
from logstore.records.decode import decode
from logstore.storage.kinds import JOURNAL, KINDS

WITH_NOTES = {**KINDS, "journal": replace(JOURNAL, notes=SettlementNotes)}


class Around:
    """Turns end when a test says so."""

    def __init__(self):
        self.heard, self.again = [], 0

    def clock(self):
        return NOW_MS

    def soon(self, call):
        pass

    def settled(self, queues):
        self.heard.append([it.id for it in queues])

    def try_again(self):
        self.again += 1


@dataclass(eq=False)
class Queue:
    """One that settles what it is told to."""

    id: int
    gone: bool = False
    facts: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(lasts=True))

    def __post_init__(self):
        self.stock = SimpleNamespace(settled=Settled(), flush=lambda: None)

    def settle(self, number):
        self.stock.settled.settle(0, number)


class Journal:
    """A journal that takes so many more batches."""

    def __init__(self, log):
        self._log = log
        self.told, self.takes = [], 99

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, batch):
        if not self.takes:
            raise LogstoreError("there is no room now")
        self.takes -= 1
        self.told.append([queue_of(it.key) for it in decode(batch)])
        return self._log.append(batch)


@pytest.fixture
def journal(tmp_path):
    opened = storage_kit.Opened(tmp_path / "store")
    directory = opened.writer(kinds=WITH_NOTES)
    yield Journal(directory.log("settled", directory.create("journal", "settled", 1, {}), 0))
    opened.close_all()


def five(it):
    """Queues that have settled one message each."""
    queues = [Queue(n) for n in range(1, 6)]
    for queue in queues:
        queue.settle(7)
        it.touched(queue)
    return queues


def held(journal, numbers):
    return {n for n in numbers if (state := journal.notes.state(n)) and state.lanes[0].held}


def test_much_that_is_settled_is_told_in_several_batches(journal, monkeypatch):
    monkeypatch.setattr(journaling, "BATCH_BYTES", 8, raising=False)
    it = Journaling(journal, Around())
    it.used()
    queues = five(it)
    it.forget([8, 9])
    it.end_turn()
    assert journal.told == [[IN_USE, 1], [2, 3], [4, 5], [8, 9]]
    it.end_turn()
    assert len(journal.told) == 4
    it.close(queues, known=True)
    assert journal.told[4:] == [[IN_USE]]
    assert held(journal, range(1, 10)) == {1, 2, 3, 4, 5}


def test_what_one_batch_has_told_is_not_told_again_where_the_next_is_refused(journal, monkeypatch):
    monkeypatch.setattr(journaling, "BATCH_BYTES", 8, raising=False)
    around = Around()
    it = Journaling(journal, around)
    it.used()
    queues = five(it)
    it.forget([8])
    journal.takes = 1
    it.end_turn()
    assert (journal.told, it.failing, around.again) == ([[IN_USE, 1]], True, 1)
    queues[0].settle(9)
    it.touched(queues[0])
    journal.takes = 99
    it.retry()
    it.end_turn()
    assert journal.told[1:] == [[2, 3], [4, 5], [1, 8]]
    assert (it.failing, around.heard) == (False, [[1, 2, 3, 4, 5], [2, 3, 4, 5, 1]])
    assert held(journal, range(1, 10)) == {1, 2, 3, 4, 5}
