"""Transactions from a request to its answer: what is written when, and what a kill leaves."""

import pytest
from transacting_kit import Node
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC

from logstore.broker.transacting import coordinator as module
from logstore.broker.transacting.coordinator import SYNCED_WITHIN_MS
from logstore.broker.transactions.operations import Offset
from logstore.broker.transactions.staged import BYTES_MAX
from logstore.broker.transactions.state import PREPARING, State
from logstore.broker.transactions.transactional_id import Missing, Producer
from logstore.errors import (
    ConcurrentTransactions,
    FencedProducer,
    InvalidTransactionState,
    LogFailed,
    StorageFull,
    TransactionAbortable,
    UnknownProducer,
)

HERE, THERE = (TOPIC, 0), (OTHER_TOPIC, 3)


@pytest.fixture
def node():
    return Node()


def test_a_producer_is_given_once_the_journal_has_it(node):
    heard = node.initialize()
    assert heard == []
    node.sync()
    [it] = heard
    assert it.producer == (1000, 0)
    assert node.table.get("copier").state is State.EMPTY


def test_a_journal_that_is_full_gives_none_and_spends_no_epoch(node):
    node.journal.full = True
    [error] = node.initialize()
    assert isinstance(error, StorageFull)
    assert node.table.get("copier") is None
    node.journal.full = False
    assert node.producer().epoch == 0


class TestCommit:
    def test_everything_happens_in_its_order(self, node):
        producer = node.producer()
        node.write(producer, HERE)
        node.write(producer, THERE)
        told = node.journal.end
        heard = node.end(producer, COMMIT)
        assert node.journal.end == told  # what is written has to be synced first
        node.sync(node.log(HERE))
        assert node.journal.end == told
        node.sync(node.log(THERE))
        assert node.journal.end == told + 1
        assert (node.markers(HERE), node.markers(THERE)) == ([], [])
        assert heard == []
        node.sync(node.journal)
        assert node.markers(HERE) == node.markers(THERE) == [(COMMIT, 1)]
        [it] = heard
        assert (it.producer, it.state) == ((1000, 1), State.COMPLETE_COMMIT)
        assert node.done == []
        node.sync(node.log(HERE))
        assert node.done == []
        node.sync(node.log(THERE))
        assert node.done == [told]
        assert node.log(HERE).stable == node.log(HERE).safe == 2

    def test_markers_are_synced_with_what_comes_next_or_a_moment_later(self, node):
        producer = node.producer()
        for place in (HERE, THERE):
            node.write(producer, place)
            node.log(place).sync()
        node.end(producer, COMMIT)
        node.journal.sync()
        node.turn()
        assert node.markers(HERE) == node.markers(THERE) == [(COMMIT, 1)]
        node.log(HERE).sync()  # for another's batch
        asked = node.log(HERE).soon, node.log(THERE).soon
        node.pass_time(SYNCED_WITHIN_MS - 1)
        assert (node.log(HERE).soon, node.log(THERE).soon) == asked
        assert node.alarms[-1] == node.ms + 1
        node.pass_time(1)
        assert (node.log(HERE).soon, node.log(THERE).soon) == (asked[0], asked[1] + 1)
        assert node.done == []
        node.sync(node.log(THERE))
        assert len(node.done) == 1

    def test_what_is_not_written_needs_no_marker(self, node):
        producer = node.producer()
        node.coordinator.add("copier", producer, 0)
        heard = node.end(producer, COMMIT, version=1)
        node.settle()
        assert heard[0].state is State.COMPLETE_COMMIT
        assert node.logs == {}

    def test_offsets_are_committed_with_it(self, node):
        producer = node.producer()
        node.write(producer)
        heard = node.stage(producer, Offset(TOPIC, 1, 55))
        assert heard == []
        node.sync()
        assert heard == [None]
        assert (TOPIC, 1) in node.coordinator.staged.partitions("g")
        node.end(producer, COMMIT)
        node.settle()
        assert [it[1] for it in node.offsets.values()] == [55]
        assert (TOPIC, 1) not in node.coordinator.staged.partitions("g")

    def test_offsets_that_are_on_their_way_to_the_journal_take_their_room(self, node):
        producer = node.producer()
        large = Offset(TOPIC, 1, 55, metadata="x" * (BYTES_MAX // 2))
        heard = node.stage(producer, large)
        assert [type(it) for it in node.stage(producer, large)] == [ConcurrentTransactions]
        node.journal.full = True
        node.settle()
        assert heard == [None]
        part = Offset(TOPIC, 0, 1, metadata="x" * (BYTES_MAX // 4))
        for _ in range(3):  # what is refused takes none
            [error] = node.stage(producer, part)
            assert isinstance(error, StorageFull)
        node.journal.full = False
        assert node.stage(producer, part) == []

    def test_a_log_that_has_failed_lets_nothing_be_committed(self, node):
        producer = node.producer()
        node.write(producer)
        heard = node.end(producer, COMMIT)
        node.log(HERE).fail()
        node.turn()
        [error] = heard
        assert isinstance(error, TransactionAbortable)
        assert node.markers() == []
        heard = node.end(producer, ABORT)
        node.settle()
        assert heard[0].state is State.COMPLETE_ABORT
        assert node.done == []  # the next start writes it

    def test_a_journal_that_is_full_decides_nothing(self, node):
        producer = node.producer()
        node.write(producer)
        node.sync()
        node.journal.full = True
        [error] = node.end(producer, COMMIT)
        assert isinstance(error, StorageFull)
        node.journal.full = False
        node.write(producer)
        heard = node.end(producer, COMMIT)
        node.settle()
        assert heard[0].producer == (1000, 1)
        assert node.markers() == [(COMMIT, 1)]

    def test_a_journal_that_fails_tells_all_who_wait(self, node):
        producer = node.producer()
        node.write(producer)
        node.sync()
        heard = node.end(producer, COMMIT)
        node.journal.fail()
        node.turn()
        assert isinstance(heard[0], LogFailed)
        assert node.markers() == []

    def test_a_partition_that_is_full_gets_its_marker_later(self, node):
        producer = node.producer()
        node.write(producer, HERE)
        node.write(producer, THERE)
        node.sync()
        node.log(HERE).full = True
        heard = node.end(producer, COMMIT)
        node.settle()
        assert heard[0].state is State.COMPLETE_COMMIT  # it is so
        assert node.table.get("copier").state is State.PREPARE_COMMIT
        assert node.alarms[-1] == node.ms + module.AGAIN_MS
        with pytest.raises(ConcurrentTransactions):
            node.write(Producer(1000, 1))
        node.log(HERE).full = False
        node.pass_time(module.AGAIN_MS)
        assert node.table.get("copier") == heard[0]
        assert node.markers(HERE) == node.markers(THERE) == [(COMMIT, 1)]

    @pytest.mark.parametrize("outcome", [COMMIT, ABORT])
    def test_the_answer_goes_first_and_the_markers_right_behind_it(self, node, outcome):
        producer, seen = node.producer(), []
        node.write(producer)
        node.log(HERE).sync()
        node.end(producer, outcome, then=lambda it: node.soon(lambda: seen.append(it)))
        node.journal.sync()
        while not seen:
            node.calls.popleft()()
        assert node.markers() == []
        assert node.table.get("copier").state in PREPARING
        node.calls.popleft()()  # what comes next in that turn
        assert node.markers() == [(outcome, 1)]
        assert node.table.get("copier") == seen[0]

    def test_who_commits_offsets_is_answered_behind_the_markers(self, node):
        producer = node.producer()
        node.write(producer)
        node.stage(producer, Offset(TOPIC, 1, 55))
        node.settle()
        marked = []
        node.end(producer, COMMIT, then=lambda it: marked.append(node.markers()))
        node.settle()
        assert marked == [[(COMMIT, 1)]]
        assert [it[1] for it in node.offsets.values()] == [55]

    def test_a_topic_that_was_deleted_holds_nothing_up(self, node):
        producer = node.producer()
        node.write(producer, HERE)
        node.write(producer, THERE)
        node.sync()
        node.log(THERE).gone = True
        heard = node.end(producer, COMMIT)
        node.settle()
        assert heard[0].state is State.COMPLETE_COMMIT
        assert node.markers(HERE) == [(COMMIT, 1)]
        assert node.journal.notes.transactions().unfinished() == []

    def test_many_partitions_are_marked_some_at_a_time(self, node, monkeypatch):
        monkeypatch.setattr(module, "MARKED_AT_ONCE", 4)
        producer = node.producer()
        for number in range(10):
            node.write(producer, (TOPIC, number))
        node.sync()
        heard = node.end(producer, COMMIT)
        node.journal.sync()
        calls = 0
        while node.calls:
            node.calls.popleft()()
            calls += 1
            marked = sum(len(node.markers((TOPIC, number))) for number in range(10))
            assert marked <= 4 * calls
        assert marked == 10
        assert heard[0].state is State.COMPLETE_COMMIT


def test_an_abort_waits_for_nothing_that_is_written(node):
    producer = node.producer()
    node.write(producer)
    heard = node.end(producer, ABORT)
    node.sync(node.journal)
    assert heard[0].state is State.COMPLETE_ABORT
    assert [it[:3] for it in node.log(HERE).aborted(0, 9)] == [(1000, 0, 1)]


def test_a_zombie_is_fenced_by_the_next_producer(node):
    old = node.producer()
    node.write(old)
    heard = node.initialize()
    node.settle()
    [new] = heard
    assert new.producer == (1000, 2)  # one for the marker, one for the producer
    assert node.markers() == [(ABORT, 1)]
    with pytest.raises(FencedProducer):
        node.write(old)
    assert isinstance(node.end(old, COMMIT)[0], FencedProducer)


def test_what_takes_too_long_is_aborted(node):
    producer = node.producer()
    node.write(producer)
    node.pass_time(59_999)
    assert node.table.get("copier").state is State.ONGOING
    node.pass_time(1)
    node.settle()
    assert node.markers() == [(ABORT, 1)]
    assert node.log(HERE).stable == node.log(HERE).safe
    [error] = node.end(producer, COMMIT)
    assert isinstance(error, InvalidTransactionState)


def test_a_late_batch_opens_no_transaction(node):
    producer = node.producer()
    node.write(producer, missing=Missing.ADDED)
    node.end(producer, ABORT, version=1)
    node.settle()
    with pytest.raises(InvalidTransactionState):
        node.write(producer, missing=Missing.REFUSED)


class TestAfterAKill:
    def test_before_the_decision_is_synced_the_transaction_goes_on(self, node):
        producer = node.producer()
        node.write(producer)
        node.sync()
        node.end(producer, COMMIT)
        again = Node(node)
        assert again.table.get("copier").state is State.ONGOING
        assert again.log(HERE).stable == 0
        again.write(producer)
        again.end(producer, COMMIT)
        again.settle()
        assert again.markers() == [(COMMIT, 1)]

    def test_a_decision_comes_to_where_it_is_missing(self, node):
        producer = node.producer()
        node.write(producer, HERE)
        node.write(producer, THERE)
        node.stage(producer, Offset(TOPIC, 1, 55))
        node.sync()
        node.end(producer, COMMIT)
        node.sync(node.journal)
        node.log(HERE).sync()
        node.offsets.clear()  # they were not durable
        again = Node(node)
        assert again.markers(HERE) == again.markers(THERE) == [(COMMIT, 1)]
        assert [it[1] for it in again.offsets.values()] == [55]
        again.settle()
        assert again.journal.notes.transactions().unfinished() == []
        assert again.table.get("copier").producer == (1000, 1)
        once_more = Node(again)
        assert once_more.markers(HERE) == once_more.markers(THERE) == [(COMMIT, 1)]

    def test_an_unknown_producer_s_data_is_aborted(self, node):
        producer = node.producer()
        node.write(producer)
        node.sync()
        node.journal = type(node.journal)("journal", node.journal.notes)  # as if it were new
        again = Node(node)
        again.settle()
        assert again.markers() == [(ABORT, 0)]
        assert again.log(HERE).stable == again.log(HERE).safe


class TestAbortedByOthers:
    def test_all_of_it_is_aborted_and_its_producer_is_fenced(self, node):
        producer = node.producer()
        node.write(producer, HERE)
        node.write(producer, THERE)
        node.sync()
        assert [it[:2] for it, _ in node.coordinator.parts(producer.pid)] == [HERE, THERE]
        heard = []
        node.coordinator.abort("copier", heard.append)
        node.turn()
        node.settle()
        [it] = heard
        assert it.state is State.COMPLETE_ABORT
        assert node.markers(HERE) == node.markers(THERE) == [(ABORT, 1)]
        assert node.coordinator.partitions(producer.pid) == 0
        with pytest.raises(FencedProducer):
            node.write(producer)
        counts = node.coordinator.counts
        assert (counts.committed, counts.aborted, counts.abandoned) == (0, 1, 1)

    def test_what_is_not_open_is_refused(self, node):
        heard = []
        node.coordinator.abort("copier", heard.append)
        producer = node.producer()
        node.coordinator.abort("copier", heard.append)
        node.write(producer)
        node.sync()
        node.end(producer, COMMIT)
        node.coordinator.abort("copier", heard.append)
        assert [type(it) for it in heard] == [
            UnknownProducer, InvalidTransactionState, ConcurrentTransactions
        ]  # fmt: skip
        node.settle()
        assert node.markers() == [(COMMIT, 1)]
        assert node.coordinator.counts.committed == 1


@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 5])
def test_a_transaction_in_many_partitions_is_gathered_in_parts(monkeypatch, partitions):
    monkeypatch.setattr(module, "GATHERED_AT_ONCE", 2)
    node = Node()
    producer = node.producer()
    places = [(TOPIC, number) for number in range(partitions)]
    for place in places:
        node.write(producer, place)
    heard = []
    node.coordinator.end("copier", producer, COMMIT, 2, 0, heard.append)
    steps = 0
    while node.calls:
        with pytest.raises(ConcurrentTransactions):
            node.coordinator.admit("copier", producer, Missing.ADDED)
        node.calls.popleft()()
        steps += 1
    assert steps == partitions // 2
    node.settle()
    assert heard[0].state is State.COMPLETE_COMMIT
    assert all(node.markers(place) == [(COMMIT, 1)] for place in places)
