"""Ways to break the order that transactions rest on, each as a change to what carries it out."""

from collections import deque

from logstore.broker.transacting.coordinator import TransactionCoordinator, _Deciding
from logstore.broker.transacting.telling import Telling
from logstore.broker.transactions.operations import decision_of

MANY = 1 << 20


def decided_before_its_data_is_synced(monkeypatch):
    def tell(self, gathering):
        self._tell(gathering)

    monkeypatch.setattr(TransactionCoordinator, "_once_safe", tell)


def marked_before_the_decision_is_synced(monkeypatch):
    tell = TransactionCoordinator._tell

    def tell_and_mark(self, gathering):
        parts = deque(gathering.parts)
        tell(self, gathering)
        self._mark(_Deciding(decision_of(gathering.it), parts, lambda: None), MANY)

    monkeypatch.setattr(TransactionCoordinator, "_tell", tell_and_mark)


def finished_before_its_markers_are_synced(monkeypatch):
    marked = TransactionCoordinator._marked

    def marked_and_finished(self, deciding):
        marked(self, deciding)
        self._around.finished(deciding.place)

    monkeypatch.setattr(TransactionCoordinator, "_marked", marked_and_finished)


def committed_before_the_decision_is_synced(monkeypatch):
    """Commit offsets of groups before the decision is synced."""
    tell = TransactionCoordinator._tell

    def commit_and_tell(self, gathering):
        decision = decision_of(gathering.it)
        found, _ = self.staged.copy().end_some(decision, MANY, MANY)
        if found:
            self._around.commit(found, self._telling.journal.end, lambda _: None)
        tell(self, gathering)

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
