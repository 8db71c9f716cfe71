"""Ways to break the order that transactions rest on, each as a change to what carries it out."""

from collections import deque

from logstore.broker.transacting.coordinator import TransactionCoordinator, _Deciding
from logstore.broker.transacting.telling import Telling
from logstore.broker.transactions.operations import decision_of

MANY = 1 << 20


def decided_before_its_data_is_synced(monkeypatch):
    def tell(self, it, logs, parts, waiting, then):
        self._tell(it, logs, parts, then)

    monkeypatch.setattr(TransactionCoordinator, "_when_safe", tell)


def marked_before_the_decision_is_synced(monkeypatch):
    tell = TransactionCoordinator._tell

    def tell_and_mark(self, it, logs, parts, then):
        tell(self, it, logs, deque(parts), then)
        decision = decision_of(it, [part for part, _ in parts])
        self._mark_some(_Deciding(decision, parts, lambda: None))

    monkeypatch.setattr(TransactionCoordinator, "_tell", tell_and_mark)


def finished_before_its_markers_are_synced(monkeypatch):
    mark = TransactionCoordinator._mark

    def mark_and_finish(self, deciding):
        mark(self, deciding)
        if not deciding.logs:
            self._around.finished(deciding.place)

    monkeypatch.setattr(TransactionCoordinator, "_mark", mark_and_finish)


def committed_before_the_decision_is_synced(monkeypatch):
    """The offsets of groups."""
    tell = TransactionCoordinator._tell

    def commit_and_tell(self, it, logs, parts, then):
        decision = decision_of(it)
        found, _ = self.staged.copy().end_some(decision, MANY, MANY)
        if found:
            self._around.commit(found, self._telling.journal.end, lambda _: None)
        tell(self, it, logs, parts, then)

    monkeypatch.setattr(TransactionCoordinator, "_tell", commit_and_tell)


def answered_before_it_is_synced(monkeypatch):
    end_turn = Telling.end_turn

    def end_turn_and_tell(self):
        end_turn(self)
        while self._told:
            it = self._told.popleft()
            it.then(self.journal.offset_of(it.mark))

    monkeypatch.setattr(Telling, "end_turn", end_turn_and_tell)


BREAKS = [
    decided_before_its_data_is_synced,
    marked_before_the_decision_is_synced,
    finished_before_its_markers_are_synced,
    committed_before_the_decision_is_synced,
    answered_before_it_is_synced,
]
