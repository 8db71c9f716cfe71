"""One transactional id: what each request makes of it. T and a number: of the list of cases in
which other brokers went wrong."""

import pytest
from clock import NOW_MS
from transaction_parts import ABORT, COMMIT, LAST, TIMEOUT_MS, Pids, after, an_id, no_pid

from logstore.broker.transactions.state import IDLE, State
from logstore.broker.transactions.transactional_id import (
    EPOCH_MAX,
    NEVER,
    NO_EPOCH,
    NO_PID,
    TV1,
    TV2,
    Missing,
    Producer,
    TransactionalId,
    missing_in_offset_commit,
    missing_in_produce,
)
from logstore.errors import (
    ConcurrentTransactions,
    FencedProducer,
    InvalidTransactionState,
    TransactionAbortable,
    UnknownProducer,
)

LATER_MS = NOW_MS + 1000
PREPARING = [
    an_id(State.PREPARE_COMMIT, version=TV2),
    an_id(State.PREPARE_ABORT, version=TV2),
    an_id(State.PREPARE_COMMIT, version=TV1),
    an_id(State.PREPARE_ABORT, version=TV1),
]
PENDING = [an_id(pending=True), an_id(State.PREPARE_ABORT, pending=True)]
idle = pytest.mark.parametrize("state", sorted(IDLE))


def initialized(it, asked=None, new_pid=no_pid, timeout_ms=TIMEOUT_MS):
    return it.initialized(asked, timeout_ms, new_pid, LATER_MS)


def ended(it, producer, outcome, version=TV2, new_pid=no_pid):
    return it.ended(producer, outcome, version, new_pid, LATER_MS)


# InitProducerId


def test_the_first_epoch_of_an_id_is_0():
    """Flink takes epoch 0 for: this id was never used."""
    it = TransactionalId.new("copier", 7, TIMEOUT_MS, NOW_MS)
    assert it.producer == (7, 0)
    assert it.pending
    assert it.kept() == TransactionalId("copier", 7, 0, TIMEOUT_MS, NOW_MS)


@idle
def test_a_new_producer_has_the_next_epoch(state):
    it = initialized(an_id(state, last_epoch=4), timeout_ms=1)
    assert it == an_id(epoch=6, since_ms=LATER_MS, timeout_ms=1, pending=True)


@idle
def test_a_producer_that_goes_on_has_the_next_epoch_too(state):
    it = initialized(an_id(state), Producer(7, 5))
    assert it == an_id(epoch=6, last_epoch=5, since_ms=LATER_MS, pending=True)


def test_a_producer_that_asks_again_gets_the_same_answer():
    it = initialized(an_id(), Producer(7, 5)).kept()
    assert initialized(it, Producer(7, 5)) is it
    assert it.producer == (7, 6)


def test_after_another_producer_the_one_before_is_fenced():
    it = initialized(initialized(an_id(), Producer(7, 5)).kept()).kept()
    for epoch in (4, 5, 6, 8):
        with pytest.raises(FencedProducer):
            initialized(it, Producer(7, epoch))
    with pytest.raises(FencedProducer):
        initialized(it, Producer(8, 7))


def test_no_new_producer_while_something_is_undecided():
    for it in PENDING + PREPARING:
        with pytest.raises(ConcurrentTransactions):
            initialized(it)
        with pytest.raises(ConcurrentTransactions):
            initialized(it, Producer(7, 5))


def test_t19_a_new_producer_fences_the_one_that_is_within_a_transaction_with_one_epoch():
    it = initialized(an_id(State.ONGOING))
    assert it.state is State.PREPARE_ABORT
    assert it.pending
    assert it.producer == (7, 6)  # that of the marker
    done = after(it, ABORT)
    assert initialized(done).producer == (7, 7)


def test_the_producer_itself_may_abort_by_asking_for_an_epoch():
    it = after(initialized(an_id(State.ONGOING), Producer(7, 5)), ABORT)
    assert initialized(it, Producer(7, 5)) is it
    assert it.producer == (7, 6)


def test_an_old_producer_does_not_abort_the_transaction_of_another():
    with pytest.raises(FencedProducer):
        initialized(an_id(State.ONGOING, last_epoch=4), Producer(7, 4))


def test_epochs_that_are_used_up_are_followed_by_another_producer_id():
    pids = Pids()
    it = initialized(an_id(epoch=LAST), new_pid=pids).kept()
    assert it.producer == (1000, 0)
    assert it.last_epoch == NO_EPOCH
    assert initialized(it).producer == (1000, 1)


def test_t18_a_producer_that_asks_again_after_its_id_has_changed_gets_the_same():
    pids = Pids()
    it = initialized(an_id(epoch=LAST), Producer(7, LAST), new_pid=pids).kept()
    assert it.producer == (1000, 0)
    for _ in range(2):
        assert initialized(it, Producer(7, LAST)) is it
    with pytest.raises(FencedProducer):
        initialized(it, Producer(7, LAST - 1))
    with pytest.raises(FencedProducer):  # nobody's id is that of nobody
        initialized(an_id(epoch=0), Producer(NO_PID, LAST))
    assert pids.given == [1000]


def test_a_retry_is_told_of_the_last_epoch_that_there_is():
    """Kafka answers UNKNOWN_SERVER_ERROR."""
    it = initialized(an_id(epoch=LAST - 1), Producer(7, LAST - 1)).kept()
    assert initialized(it, Producer(7, LAST - 1)) is it
    assert it.epoch == LAST


# Adding


@idle
def test_what_is_added_begins_a_transaction(state):
    it = an_id(state, last_epoch=4, previous_pid=3).added(Producer(7, 5), LATER_MS)
    assert it == an_id(State.ONGOING, last_epoch=4, since_ms=LATER_MS, began_ms=LATER_MS)
    assert it.added(Producer(7, 5), LATER_MS + 1) is it


def test_only_the_producer_adds():
    for state in (State.EMPTY, State.ONGOING, State.COMPLETE_ABORT):
        it = an_id(state)
        with pytest.raises(UnknownProducer):
            it.added(Producer(8, 5), LATER_MS)
        for epoch in (4, 6):
            with pytest.raises(FencedProducer):
                it.added(Producer(7, epoch), LATER_MS)


def test_nothing_is_added_while_something_is_undecided():
    for it in PENDING:  # before the producer is looked at
        with pytest.raises(ConcurrentTransactions):
            it.added(Producer(8, 5), LATER_MS)
    for it in PREPARING:
        with pytest.raises(ConcurrentTransactions):
            it.added(Producer(7, 5), LATER_MS)
        with pytest.raises(FencedProducer):
            it.added(Producer(7, 4), LATER_MS)


# Batches and offsets


def test_what_versions_of_requests_do_where_no_transaction_is_open():
    """AddPartitionsToTxnManager: Produce from 12 on and TxnOffsetCommit from 5 on add."""
    assert [missing_in_produce(it) for it in (3, 10, 11, 12, 13)] == [
        Missing.REFUSED, Missing.REFUSED, Missing.ABORTABLE, Missing.ADDED, Missing.ADDED
    ]  # fmt: skip
    assert [missing_in_offset_commit(it) for it in (0, 3, 4, 5)] == [
        Missing.REFUSED, Missing.REFUSED, Missing.ABORTABLE, Missing.ADDED
    ]  # fmt: skip


@pytest.mark.parametrize("missing", Missing)
def test_within_a_transaction_every_version_is_admitted(missing):
    it = an_id(State.ONGOING)
    assert it.admitted(Producer(7, 5), missing, LATER_MS) is it


@idle
def test_t2_a_late_batch_opens_no_transaction(state):
    """After the abort nobody would ever end it."""
    it = an_id(state)
    with pytest.raises(InvalidTransactionState) as caught:
        it.admitted(Producer(7, 5), Missing.REFUSED, LATER_MS)
    assert not isinstance(caught.value, TransactionAbortable)
    with pytest.raises(TransactionAbortable):
        it.admitted(Producer(7, 5), Missing.ABORTABLE, LATER_MS)


def test_t2_a_late_batch_of_version_2_has_the_epoch_of_before():
    it = after(ended(an_id(State.ONGOING), Producer(7, 5), ABORT), ABORT)
    with pytest.raises(FencedProducer):
        it.admitted(Producer(7, 5), Missing.ADDED, LATER_MS)
    assert it.admitted(Producer(7, 6), Missing.ADDED, LATER_MS).state is State.ONGOING


@pytest.mark.parametrize("missing", Missing)
def test_t24_offsets_of_a_producer_that_was_fenced_are_refused(missing):
    for state in (State.EMPTY, State.ONGOING, State.COMPLETE_COMMIT):
        with pytest.raises(FencedProducer):
            an_id(state).admitted(Producer(7, 4), missing, LATER_MS)
        with pytest.raises(UnknownProducer):
            an_id(state).admitted(Producer(8, 5), missing, LATER_MS)


@pytest.mark.parametrize("missing", Missing)
def test_nothing_is_admitted_while_something_is_undecided(missing):
    for it in PENDING + PREPARING:
        with pytest.raises(ConcurrentTransactions):
            it.admitted(Producer(7, 5), missing, LATER_MS)


# EndTxn 5

PF, ITS, AGAIN, CHANGES = FencedProducer, InvalidTransactionState, "again", "changes"
# By state, what comes of: abort again, abort, commit again, commit.
TABLE = {
    State.EMPTY: (PF, CHANGES, PF, ITS),
    State.COMPLETE_ABORT: (AGAIN, CHANGES, ITS, ITS),
    State.COMPLETE_COMMIT: (ITS, CHANGES, AGAIN, ITS),
    State.ONGOING: (PF, CHANGES, PF, CHANGES),
    State.PREPARE_COMMIT: (ITS, PF, ConcurrentTransactions, PF),
    State.PREPARE_ABORT: (ConcurrentTransactions, PF, ITS, PF),
}


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("column", range(4))
def test_the_table_of_how_transactions_of_version_2_end(state, column):
    outcome, epoch = ((ABORT, 4), (ABORT, 5), (COMMIT, 4), (COMMIT, 5))[column]
    it, expected = an_id(state, last_epoch=4, version=TV2), TABLE[state][column]
    if isinstance(expected, type):
        with pytest.raises(expected) as caught:
            ended(it, Producer(7, epoch), outcome)
        assert type(caught.value) is expected
    elif expected == AGAIN:
        assert ended(it, Producer(7, epoch), outcome) is it
    else:
        decided = ended(it, Producer(7, epoch), outcome)
        assert decided.pending
        assert decided.outcome is outcome
        done = after(decided, outcome)
        assert (done.producer, done.last_epoch, done.since_ms) == ((7, 6), 5, LATER_MS)
        assert done.began_ms == NEVER
        assert ended(done, Producer(7, 5), outcome) is done  # its answer was lost


def test_other_epochs_end_nothing():
    for state in TABLE:
        for epoch in (NO_EPOCH, 0, 3, 6):
            with pytest.raises(FencedProducer):
                ended(an_id(state, version=TV2), Producer(7, epoch), ABORT)
        with pytest.raises(UnknownProducer):
            ended(an_id(state, version=TV2), Producer(8, 5), ABORT)
    with pytest.raises(UnknownProducer):  # and no producer before it
        ended(an_id(State.COMPLETE_ABORT, epoch=0), Producer(NO_PID, LAST), ABORT)
    with pytest.raises(FencedProducer):  # no epoch comes before the first one
        ended(an_id(State.COMPLETE_ABORT, epoch=0), Producer(7, NO_EPOCH), ABORT)


def test_what_is_pending_is_said_before_the_producer_is_looked_at():
    """KAFKA-18575: a producer that retries while its id changes must not be fenced by itself."""
    for it in PENDING:
        for version in (TV1, TV2):
            with pytest.raises(ConcurrentTransactions):
                ended(it, Producer(8, 3), COMMIT, version)


def test_t20_each_end_raises_the_epoch():
    it = an_id()
    for n in range(5):
        producer = Producer(7, 5 + n)
        it = ended(it.added(producer, LATER_MS), producer, COMMIT if n % 2 else ABORT)
        it = it.kept().completed()
    assert it.producer == (7, 10)
    for _ in range(3):
        it = after(ended(it, it.producer, ABORT), ABORT)  # of nothing
    assert it.producer == (7, 13)


def test_t18_the_last_epoch_is_followed_by_another_producer_id():
    pids = Pids()
    ongoing = an_id(State.ONGOING, epoch=LAST, version=TV2)
    it = ended(ongoing, Producer(7, LAST), COMMIT, new_pid=pids)
    assert it.producer == (7, EPOCH_MAX)  # that of the marker
    with pytest.raises(ConcurrentTransactions):
        ended(it.kept(), Producer(7, LAST), COMMIT)
    it = after(it, COMMIT)
    assert (it.producer, it.last_epoch) == ((1000, 0), LAST)
    for _ in range(2):
        assert ended(it, Producer(7, LAST), COMMIT) is it
    with pytest.raises(InvalidTransactionState):
        ended(it, Producer(7, LAST), ABORT)
    with pytest.raises(UnknownProducer):
        ended(it, Producer(7, LAST - 1), COMMIT)
    with pytest.raises(UnknownProducer):
        ended(it, Producer(NO_PID, LAST), COMMIT)
    aborted = after(ended(it, it.producer, ABORT), ABORT)  # so the answer has arrived
    assert (aborted.producer, aborted.previous_pid) == ((1000, 1), NO_PID)
    begun = it.added(it.producer, LATER_MS)  # and here
    with pytest.raises(UnknownProducer):
        ended(begun, Producer(7, LAST), COMMIT)
    assert pids.given == [1000]


def test_t18_a_time_out_in_the_last_epoch():
    pids = Pids()
    it = an_id(State.ONGOING, epoch=LAST).fenced(pids, LATER_MS)
    assert it.producer == (7, EPOCH_MAX)
    it = after(it, ABORT)
    assert it.producer == (1000, 0)
    assert ended(it, Producer(7, LAST), ABORT) is it
    assert initialized(it).producer == (1000, 1)


# EndTxn up to 4

PLAINLY = {
    State.EMPTY: (ITS, ITS),
    State.COMPLETE_ABORT: (AGAIN, ITS),
    State.COMPLETE_COMMIT: (ITS, AGAIN),
    State.ONGOING: (CHANGES, CHANGES),
    State.PREPARE_COMMIT: (ITS, ConcurrentTransactions),
    State.PREPARE_ABORT: (ConcurrentTransactions, ITS),
}


@pytest.mark.parametrize("state", PLAINLY)
@pytest.mark.parametrize("outcome", [ABORT, COMMIT])
def test_the_table_of_how_transactions_of_version_1_end(state, outcome):
    it, expected = an_id(state, last_epoch=4), PLAINLY[state][outcome]
    for epoch in (4, 6):
        with pytest.raises(FencedProducer):
            ended(it, Producer(7, epoch), outcome, TV1)
    with pytest.raises(UnknownProducer):
        ended(it, Producer(8, 5), outcome, TV1)
    if isinstance(expected, type):
        with pytest.raises(expected) as caught:
            ended(it, Producer(7, 5), outcome, TV1)
        assert type(caught.value) is expected
    elif expected == AGAIN:
        assert ended(it, Producer(7, 5), outcome, TV1) is it
    else:
        done = after(ended(it, Producer(7, 5), outcome, TV1), outcome)
        assert (done.producer, done.last_epoch, done.version) == ((7, 5), 4, TV1)


def test_version_1_needs_no_other_producer_id_in_the_last_epoch():
    it = after(ended(an_id(State.ONGOING, epoch=LAST), Producer(7, LAST), COMMIT, TV1), COMMIT)
    assert it.producer == (7, LAST)


# Being fenced


@pytest.mark.parametrize("version", [TV1, TV2])
def test_after_a_time_out_the_producer_may_abort_and_not_commit(version):
    """Of version 2. Of version 1 it has to go."""
    it = after(an_id(State.ONGOING).fenced(no_pid, LATER_MS), ABORT)
    assert it.producer == (7, 6)
    if version == TV2:
        assert ended(it, Producer(7, 5), ABORT) is it
        with pytest.raises(InvalidTransactionState):
            ended(it, Producer(7, 5), COMMIT)
    else:
        for outcome in (ABORT, COMMIT):
            with pytest.raises(FencedProducer):
                ended(it, Producer(7, 5), outcome, TV1)


def test_t31_flink_commits_by_another_client_what_was_committed_before():
    """With the producer of its checkpoint, after the one that made it was killed."""
    producer = Producer(7, 5)
    plain = after(ended(an_id(State.ONGOING), producer, COMMIT, TV1), COMMIT)
    assert ended(plain, producer, COMMIT, TV1) is plain
    it = after(ended(an_id(State.ONGOING), producer, COMMIT, TV2), COMMIT)
    assert ended(it, producer, COMMIT, TV2) is it
    with pytest.raises(FencedProducer):
        ended(it, producer, COMMIT, TV1)


def test_t31_data_of_version_2_may_be_ended_by_version_1():
    it = an_id().admitted(Producer(7, 5), missing_in_produce(12), LATER_MS)
    assert after(ended(it, Producer(7, 5), COMMIT, TV1), COMMIT).producer == (7, 5)


# After a start


@idle
def test_a_producer_goes_on_after_a_start_as_if_its_transaction_were_open(state):
    """It had added partitions, and nothing of it was written."""
    it = an_id(state, restored=True)
    begun = it.admitted(Producer(7, 5), Missing.REFUSED, LATER_MS)
    assert begun.state is State.ONGOING
    assert begun.admitted(Producer(7, 5), Missing.REFUSED, LATER_MS) is begun
    assert not ended(begun, Producer(7, 5), COMMIT, TV1).restored
    for outcome in (ABORT, COMMIT):
        plain = ended(it, Producer(7, 5), outcome, TV1)
        if plain is it:  # that is how its last one has ended
            continue
        done = after(plain, outcome)
        assert not done.restored
        assert ended(done, Producer(7, 5), outcome, TV1) is done  # its answer was lost
    with pytest.raises(FencedProducer):
        it.admitted(Producer(7, 4), Missing.REFUSED, LATER_MS)


def test_what_a_producer_adds_or_asks_for_ends_that():
    it = an_id(restored=True)
    assert not it.added(Producer(7, 5), LATER_MS).restored
    assert not an_id(State.ONGOING, restored=True).added(Producer(7, 5), LATER_MS).restored
    assert not initialized(it).restored
    assert not ended(it, Producer(7, 5), ABORT, TV2).restored
    with pytest.raises(InvalidTransactionState):  # version 2 adds with its data
        ended(it, Producer(7, 5), COMMIT, TV2)


# Being forgotten


def test_an_id_is_expired_once_nothing_was_heard_of_it():
    week_ms = 7 * 24 * 3600 * 1000
    it = an_id(State.COMPLETE_COMMIT)
    assert not it.is_expired(NOW_MS + week_ms - 1, week_ms)
    assert it.is_expired(NOW_MS + week_ms, week_ms)
    for other in [*PENDING, *PREPARING, an_id(State.ONGOING)]:
        assert not other.is_expired(NOW_MS + week_ms, week_ms)


def test_nobody_is_told_the_producer_of_another():
    it = an_id(pid=123_456_789)
    for producer in (Producer(8, 5), Producer(123_456_788, 4)):
        with pytest.raises(UnknownProducer) as caught:
            it.added(producer, LATER_MS)
        assert "123456789" not in str(caught.value)
        with pytest.raises(FencedProducer) as fenced:
            initialized(it, producer)
        assert "123456789" not in str(fenced.value)
