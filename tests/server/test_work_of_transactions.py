"""What transactions may do in one turn: those that are large, and very many that end at once.

Counted are calls of functions in the sessions' thread, not time.
"""

import pytest
from counted_turns import Thread
from transacting_kit import Node
from transaction_parts import ABORT, ANYONE, COMMIT, TOPIC

from logstore.broker.transacting.coordinator import AGAIN_MS
from logstore.broker.transactions.state import State
from logstore.broker.transactions.table import _Entry
from logstore.broker.transactions.transactional_id import TransactionalId
from logstore.errors import StorageFull

CALLS_MAX = 39_900  # in a turn, some 10 ms
PARTITIONS = 30_000  # of one transaction
MANY = [(3000, 1), (300, 100)]  # transactions, and partitions of each
IDS = 20_000

pytestmark = pytest.mark.long


class TurnedNode(Node):
    """Whose every call is counted as a turn: a crowd of them is a turn only as far as there is
    time (``turn.END_S``).
    """

    def __init__(self, before=None):
        super().__init__(before)
        self.thread = Thread()

    def go_on(self):
        """Turn by turn until nothing is left to do, and nothing is due within a second."""
        while self._one_turn():
            pass

    def _one_turn(self):
        if self.calls:
            self.thread.turn(self.calls.popleft())
        elif self._ended:
            self._ended = False
            self.thread.turn(self.telling.end_turn)
        elif self.journal.synced < self.journal.end:
            self.journal.sync()
        elif any(its.synced < its.end for its in self.logs.values()):
            for its in self.logs.values():
                its.sync()
        else:
            due_ms = min(self.alarms, default=None)
            if due_ms is None or due_ms > self.ms + AGAIN_MS:
                return False
            self.alarms.clear()  # as an alarm does that has one time, the earliest
            self.ms = max(self.ms, due_ms)
            self.look_at_times()
        return True

    def look_at_times(self):
        self.thread.turn(self.coordinator.look_at_times)

    def open(self, count, partitions):
        """So many transactions, each with data in so many partitions; their producers."""
        names = [f"id-{number}" for number in range(count)]
        for name in names:
            self.coordinator.initialize(name, 60_000, ANYONE, 0, lambda _: None)
        self.go_on()
        producers = {name: self.table.get(name).producer for name in names}
        for name, producer in producers.items():
            for number in range(partitions):
                self.write(producer, (TOPIC, number), name)
        return producers

    def end(self, name, producer, outcome):
        heard = []
        self.thread.turn(lambda: self.coordinator.end(name, producer, outcome, 2, 0, heard.append))
        return heard

    def finished(self, place):
        """Whatever the decision brings is synced."""
        assert all(its.synced == its.end for its in self.logs.values())
        super().finished(place)


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setattr("logstore.broker.transacting.telling.CALLED_S", 3600)
    monkeypatch.setattr("logstore.slices.SLICE_S", 3600)
    monkeypatch.setattr("logstore.slices.AT_ONCE_S", 3600)
    return TurnedNode()


@pytest.mark.parametrize("outcome", [COMMIT, ABORT])
@pytest.mark.parametrize("synced", [True, False])
def test_one_of_many_partitions(node, outcome, synced):
    [(name, producer)] = node.open(1, PARTITIONS).items()
    if synced:
        for its in node.logs.values():
            its.sync()
    heard = node.end(name, producer, outcome)
    node.go_on()
    [told] = heard
    assert told.epoch == producer.epoch + 1
    assert node.done
    assert {node.markers((TOPIC, it))[0][0] for it in range(PARTITIONS)} == {outcome}
    assert node.thread.most <= CALLS_MAX


@pytest.mark.parametrize(("count", "partitions"), MANY)
def test_many_that_are_overdue_in_one_moment(node, count, partitions):
    producers = node.open(count, partitions)
    node.ms += 60_001
    node.look_at_times()
    node.go_on()
    assert {node.table.get(it).state for it in producers} == {State.COMPLETE_ABORT}
    assert len(node.done) == count
    assert node.thread.most <= CALLS_MAX


@pytest.mark.parametrize(("count", "partitions"), MANY)
def test_many_that_end_with_one_sync(node, count, partitions):
    heard = [node.end(*it, COMMIT) for it in node.open(count, partitions).items()]
    node.go_on()
    assert all(len(it) == 1 for it in heard)
    assert len(node.done) == count
    assert node.thread.most <= CALLS_MAX


def test_many_that_the_journal_does_not_take(node):
    producers = node.open(*MANY[0])
    for its in node.logs.values():
        its.sync()
    node.journal.full = True
    heard = [node.end(*it, COMMIT) for it in producers.items()]
    node.go_on()
    assert [type(it) for [it] in heard] == [StorageFull] * len(producers)
    assert {node.table.get(it).state for it in producers} == {State.ONGOING}
    assert node.thread.most <= CALLS_MAX


def test_many_ids_that_expire_at_once(node):
    for number in range(IDS):
        node.table._put(_Entry(TransactionalId(f"{number:x}", number, 0, 1, 1), None))
    for _ in range(IDS):
        if not node.thread.turn(lambda: node.coordinator.expire(1)):
            break
        node.go_on()
    assert not len(node.table)
    assert node.thread.most <= CALLS_MAX


@pytest.mark.parametrize("decided", [True, False])
def test_a_start_after_a_crash_with_many_of_them(node, decided):
    producers = node.open(*MANY[0])
    for its in node.logs.values():
        its.sync()
    if decided:
        for name, producer in producers.items():
            node.end(name, producer, COMMIT)
        node.telling.end_turn()
        node.journal.sync()
    again = TurnedNode(node)
    assert not again.started  # they are too many for one turn
    again.go_on()
    assert again.started
    state = State.COMPLETE_COMMIT if decided else State.ONGOING
    assert {again.table.get(it).state for it in producers} == {state}
    assert again.thread.most <= CALLS_MAX
