"""What a start does about what it finds, where that is much, or not all can be reached."""

from transacting_kit import HeldLog, Node, Places, next_batch
from transaction_parts import ABORT, COMMIT, TOPIC

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.transacting.coordinator import MARKED_AT_ONCE
from logstore.broker.transacting.loading import load
from logstore.broker.transactions.operations import Offset
from logstore.broker.transactions.state import State

MANY = [(TOPIC, it) for it in range(2 * MARKED_AT_ONCE + 3)]


def decided(node, places=MANY, offset=None):
    """A commit that has come to the journal, and to no partition."""
    producer = node.producer()
    for place in places:
        node.write(producer, place)
    if offset is not None:
        node.stage(producer, offset)
    node.sync()
    node.end(producer, COMMIT)
    node.sync(node.journal)
    return producer


def test_a_decision_over_many_partitions_is_no_open_transaction():
    node = Node()
    decided(node)
    again = Node(node)
    assert not again.started  # a new batch would join what is decided, and not marked yet
    again.settle()
    assert again.started
    assert {tuple(again.markers(it)) for it in MANY} == {((COMMIT, 1),)}
    assert again.table.get("copier").state is State.COMPLETE_COMMIT


def test_what_is_open_beside_a_decision_is_aborted():
    """Of a producer that nobody knows, in a partition that its decision does not name."""
    node = Node()
    producer = decided(node, MANY[:1])
    other = (TOPIC, 200)
    node.log(other).append(next_batch(node.log(other), producer))  # as if it came from elsewhere
    node.log(other).sync()
    again = Node(node)
    again.settle()
    assert again.markers(MANY[0]) == [(COMMIT, 1)]
    assert again.markers(other) == [(ABORT, 0)]


def test_a_decision_is_kept_for_a_partition_that_cant_be_opened():
    node = Node()
    decided(node, MANY[:3], Offset(TOPIC, 1, 55))

    again = Node(node, broken=[MANY[1]])
    again.settle()
    assert again.started
    assert [again.markers(it) for it in MANY[:3]] == [[(COMMIT, 1)], [], [(COMMIT, 1)]]
    assert again.done == []  # so the journal keeps it
    third = Node(again)
    third.settle()
    assert third.markers(MANY[1]) == [(COMMIT, 1)]
    assert third.journal.notes.transactions().unfinished() == []


def test_offsets_are_committed_that_no_partition_needs():
    node = Node()
    producer = node.producer()
    node.stage(producer, Offset(TOPIC, 1, 55))
    node.sync()
    node.end(producer, COMMIT)
    node.sync(node.journal)
    node.offsets.clear()
    again = Node(node)
    assert [it[1] for it in again.offsets.values()] == [55]
    assert again.journal.notes.transactions().committed() == []


def test_a_decision_that_was_trimmed_away_was_finished():
    """A note is saved with a recovery point, and the journal may be trimmed without another one."""
    node = Node()
    decided(node, MANY[:1])
    journal = HeldLog("journal", SettlementNotes())
    journal.notes.load(node.journal.notes.freeze()())
    node.settle()
    [place] = node.done
    journal.start = journal.end = journal.synced = place + 1
    journal.notes.freeze()
    assert journal.notes.transactions().unfinished() == [place]
    assert load(journal, journal.notes.transactions(), Places(node.logs)).resumed == []
    assert journal.notes.transactions().unfinished() == []
    assert journal.notes.needed_from(journal.start) == journal.start
