"""All transactional ids: requests, times, and what the journal does not take."""

import pytest
from transaction_parts import ABORT, ANYONE, COMMIT, TIMEOUT_MS, Pids, an_id, at, no_pid

from logstore.broker.transactions import table as module
from logstore.broker.transactions.state import State
from logstore.broker.transactions.table import AGAIN_MS, NAME_BYTES_MAX, TIMEOUT_MS_MAX, Table
from logstore.broker.transactions.transactional_id import (
    EXHAUSTED,
    NO_PID,
    TV1,
    TV2,
    Missing,
    Producer,
)
from logstore.errors import (
    ConcurrentTransactions,
    FencedProducer,
    InvalidTransactionState,
    InvalidTransactionTimeout,
    Refused,
    Superseded,
    UnknownProducer,
)
from logstore.protocols.kafka.errors import code_of, coordinator_code

WEEK_MS = 7 * 24 * 3600 * 1000


@pytest.fixture
def pids():
    return Pids()


@pytest.fixture
def table():
    return Table()


def ready(table, pids, name="copier", timeout_ms=TIMEOUT_MS, now=None, **more):
    """A new producer of the id, which the journal has."""
    table.initialize(name, timeout_ms, ANYONE, pids, now or at(), **more)
    return table.kept(name).producer


def end(table, name, producer, outcome=COMMIT, version=TV2, new_pid=no_pid, **more):
    table.end(name, producer, outcome, version, new_pid, at(), **more)
    table.kept(name)
    return table.completed(name)


def all_due(table, now):
    found = []
    while (name := table.due(now)) is not None:
        found.append(name)
    return found


def test_a_transaction_from_its_producer_to_its_end(table, pids):
    producer = ready(table, pids)
    assert producer == (1000, 0)
    assert table.add("copier", producer, at()).state is State.ONGOING
    assert [it.name for it in table.open_ids()] == ["copier"]
    assert end(table, "copier", producer).producer == (1000, 1)
    assert table.open_ids() == []
    assert table.of_pid(1000) is table.get("copier")
    assert len(table) == 1


@pytest.mark.parametrize("name", ["", "x" * (NAME_BYTES_MAX + 1), "ä" * NAME_BYTES_MAX])
def test_names_that_are_none(table, pids, name):
    for call in (
        lambda: table.initialize(name, TIMEOUT_MS, ANYONE, pids, at()),
        lambda: table.add(name, Producer(7, 0), at()),
        lambda: table.admit(name, Producer(7, 0), Missing.ADDED, at()),
        lambda: table.end(name, Producer(7, 0), COMMIT, TV2, no_pid, at()),
    ):
        with pytest.raises(Refused, match="a transactional id has 1 to 1024 bytes") as caught:
            call()
        assert code_of(caught.value) == 42
    assert pids.given == []


@pytest.mark.parametrize("asked", [Producer(7, -1), Producer(-1, 0)])
def test_half_a_producer_is_none(table, pids, asked):
    with pytest.raises(Refused, match="gives its id and its epoch") as caught:
        table.initialize("copier", TIMEOUT_MS, asked, pids, at())
    assert code_of(caught.value) == 42


@pytest.mark.parametrize("timeout_ms", [-1, 0, TIMEOUT_MS_MAX + 1])
def test_a_timeout_has_bounds(table, pids, timeout_ms):
    with pytest.raises(InvalidTransactionTimeout, match="1 to 900000") as caught:
        table.initialize("copier", timeout_ms, ANYONE, pids, at())
    assert code_of(caught.value) == 50
    assert len(table) == 0
    ready(table, pids, timeout_ms=TIMEOUT_MS_MAX)


def test_an_id_that_was_never_initialized_is_unknown(table):
    for call in (
        lambda: table.add("copier", Producer(7, 0), at()),
        lambda: table.admit("copier", Producer(7, 0), Missing.ADDED, at()),
        lambda: table.end("copier", Producer(7, 0), COMMIT, TV1, no_pid, at()),
    ):
        with pytest.raises(UnknownProducer) as caught:
            call()
        assert code_of(caught.value) == 49


def test_no_producer_is_given_is_no_epoch_before_the_first(table, pids):
    ready(table, pids)
    for producer in (ANYONE, Producer(1000, -1), Producer(-1, EXHAUSTED)):
        with pytest.raises(UnknownProducer):
            table.end("copier", producer, ABORT, TV2, no_pid, at())


def test_t28_clients_before_kip_588_are_not_told_of_producer_fenced(table, pids):
    ready(table, pids)
    ready(table, pids)
    with pytest.raises(FencedProducer) as caught:
        table.end("copier", Producer(1000, 0), COMMIT, TV1, no_pid, at())
    assert coordinator_code(caught.value, knows_fenced=False) == 47
    assert coordinator_code(caught.value, knows_fenced=True) == 90
    with pytest.raises(FencedProducer) as refused:
        table.admit("copier", Producer(1000, 0), Missing.ADDED, at())
    assert code_of(refused.value) == 47  # in an answer to Produce, whatever its version


def test_codes_of_what_else_is_refused(table, pids):
    producer = ready(table, pids)
    for missing, code in ((Missing.REFUSED, 48), (Missing.ABORTABLE, 120)):
        with pytest.raises(InvalidTransactionState) as caught:
            table.admit("copier", producer, missing, at())
        assert coordinator_code(caught.value, knows_fenced=True) == code
    table.fence(table.admit("copier", producer, Missing.ADDED, at()).name, no_pid, at())
    with pytest.raises(ConcurrentTransactions) as pending:
        table.add("copier", producer, at())
    assert code_of(pending.value) == 51


# What the journal does not take


def test_t17_a_new_id_that_is_not_kept_was_never_there(table, pids):
    table.initialize("copier", TIMEOUT_MS, ANYONE, pids, at())
    table.undone("copier", at())
    assert len(table) == 0
    assert table.of_pid(1000) is None
    assert ready(table, pids) == (1001, 0)


def test_t17_an_epoch_that_is_not_kept_is_not_spent(table, pids):
    producer = ready(table, pids)
    table.initialize("copier", TIMEOUT_MS, producer, no_pid, at())
    table.undone("copier", at())
    assert table.get("copier").producer == producer
    assert table.add("copier", producer, at()).state is State.ONGOING
    table.end("copier", producer, COMMIT, TV2, no_pid, at())
    table.undone("copier", at())
    assert table.get("copier").state is State.ONGOING
    assert table.admit("copier", producer, Missing.REFUSED, at())  # it goes on
    assert end(table, "copier", producer).producer == (1000, 1)


def test_a_transaction_whose_end_is_not_kept_times_out_still(table, pids):
    producer = ready(table, pids)
    table.add("copier", producer, at())
    table.end("copier", producer, COMMIT, TV2, no_pid, at())
    assert table.next_due_ms is None
    table.undone("copier", at(10))
    assert table.next_due_ms == TIMEOUT_MS


def test_an_abort_that_is_not_kept_is_due_again_but_not_at_once(table, pids):
    producer = ready(table, pids)
    table.add("copier", producer, at())
    now = at(TIMEOUT_MS)
    assert all_due(table, now) == ["copier"]
    table.fence("copier", no_pid, now)
    table.undone("copier", now)
    assert all_due(table, now) == []
    assert all_due(table, at(TIMEOUT_MS + AGAIN_MS)) == ["copier"]


# Connections


def test_t1_a_late_end_does_not_hit_the_next_transaction(table, pids):
    """The server was stalled; the client came again, committed, and began anew. Then the old
    connection's EndTxn is read."""
    producer = ready(table, pids, connection=1)
    table.add("copier", producer, at(), connection=1)
    end(table, "copier", producer, version=TV1, connection=2)
    table.add("copier", producer, at(), connection=2)
    for call in (
        lambda: table.end("copier", producer, COMMIT, TV1, no_pid, at(), connection=1),
        lambda: table.add("copier", producer, at(), connection=1),
        lambda: table.initialize("copier", TIMEOUT_MS, ANYONE, pids, at(), connection=1),
    ):
        with pytest.raises(Superseded):
            call()
    assert table.get("copier").state is State.ONGOING
    end(table, "copier", producer, version=TV1, connection=2)


def test_batches_come_by_any_connection(table, pids):
    producer = ready(table, pids, connection=9)
    assert table.admit("copier", producer, Missing.ADDED, at()).connection == 9


def test_a_newer_connection_counts_once_it_is_the_producers(table, pids):
    """Else one that was fenced could keep out the one that has fenced it."""
    producer = ready(table, pids, connection=1)
    for connection in (7, 8):
        with pytest.raises(FencedProducer):
            table.end("copier", Producer(1000, 9), COMMIT, TV2, no_pid, at(), connection=connection)
    assert table.add("copier", producer, at(), connection=2).connection == 2


def test_a_newer_connection_within_a_transaction_does_not_lengthen_it(table, pids):
    producer = ready(table, pids)
    table.add("copier", producer, at(), connection=1)
    table.add("copier", producer, at(5000), connection=2)
    assert all_due(table, at(TIMEOUT_MS)) == ["copier"]


def test_an_answer_that_comes_again_counts_for_the_connection(table, pids):
    producer = ready(table, pids, connection=1)
    table.add("copier", producer, at(), connection=1)
    end(table, "copier", producer, connection=1)
    it = table.end("copier", producer, COMMIT, TV2, no_pid, at(), connection=3)
    assert (it.pending, it.producer, it.connection) == (False, (1000, 1), 3)


# Times


def test_t30_times_go_by_the_clock_that_never_goes_back(table, pids):
    producer = ready(table, pids)
    back = at()._replace(ms=at().ms - 3600_000)
    table.add("copier", producer, back)
    assert all_due(table, back._replace(ticks_ms=TIMEOUT_MS - 1)) == []
    assert all_due(table, back._replace(ticks_ms=TIMEOUT_MS)) == ["copier"]


def test_t23_a_transaction_of_offsets_alone_is_ended_or_times_out(table, pids):
    producer = ready(table, pids)
    table.add("copier", producer, at())  # AddOffsetsToTxn
    assert end(table, "copier", producer, ABORT, TV1).state is State.COMPLETE_ABORT
    assert all_due(table, at(TIMEOUT_MS)) == []
    table.admit("copier", producer, Missing.ADDED, at())  # TxnOffsetCommit 5
    assert all_due(table, at(TIMEOUT_MS)) == ["copier"]
    table.fence("copier", no_pid, at(TIMEOUT_MS))
    table.kept("copier")
    table.completed("copier")
    with pytest.raises(FencedProducer):
        table.admit("copier", producer, Missing.ADDED, at())


def test_transactions_are_due_in_the_order_of_their_ends(table, pids):
    for n, name in enumerate("abc"):
        producer = ready(table, pids, name, timeout_ms=(9 - n) * 1000)
        table.add(name, producer, at())
    assert table.next_due_ms == 7000
    assert all_due(table, at(8000)) == ["c", "b"]
    assert table.next_due_ms == 9000


def test_t21_an_id_that_is_expired_is_unknown_and_can_be_used_again(table, pids):
    producer = ready(table, pids)
    assert table.expire(at(WEEK_MS - 1), WEEK_MS, 9) == []
    assert table.expire(at(WEEK_MS), WEEK_MS, 9) == ["copier"]
    assert table.expire(at(WEEK_MS), WEEK_MS, 9) == []
    with pytest.raises(UnknownProducer):
        table.admit("copier", producer, Missing.ADDED, at())
    it = table.initialize("copier", TIMEOUT_MS, producer, pids, at())
    assert it.producer == (1001, 0)


def test_only_so_many_are_looked_at(table, pids):
    for name in "ab":
        table.add(name, ready(table, pids, name), at())
    for name in "cde":
        ready(table, pids, name)
    assert table.expire(at(WEEK_MS), WEEK_MS, 1) == []  # a is open
    assert table.expire(at(WEEK_MS), WEEK_MS, 3) == ["c", "d"]
    assert table.expire(at(WEEK_MS), WEEK_MS, 3) == ["e"]
    assert [it.name for it in table.open_ids()] == ["a", "b"]


def test_what_is_open_does_not_expire_and_hides_nothing_that_does(table, pids):
    open_one, _ = ready(table, pids, "open"), ready(table, pids, "idle")
    table.add("open", open_one, at())
    ready(table, pids, "idle")
    assert table.expire(at(WEEK_MS), WEEK_MS, 9) == ["idle"]
    assert table.expire(at(WEEK_MS), WEEK_MS, 9) == []
    table.initialize("pending", TIMEOUT_MS, ANYONE, pids, at())
    assert table.expire(at(WEEK_MS), WEEK_MS, 9) == []


def test_ids_have_a_bound(table, pids, monkeypatch):
    monkeypatch.setattr(module, "IDS_MAX", 3)
    monkeypatch.setattr(module, "_IDS_SPARE", 1)
    for name in "abcd":
        ready(table, pids, name)
    ready(table, pids, "a")
    with pytest.raises(ConcurrentTransactions, match="being forgotten"):
        table.initialize("e", TIMEOUT_MS, ANYONE, pids, at())
    assert table.expire(at(), WEEK_MS, 9) == ["b"]  # unused for longest
    assert table.expire(at(), WEEK_MS, 9) == []
    ready(table, pids, "e")


def test_open_transactions_have_a_bound(table, pids, monkeypatch):
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    producers = {name: ready(table, pids, name) for name in "abc"}
    table.add("a", producers["a"], at())
    table.admit("b", producers["b"], Missing.ADDED, at())
    for call in (
        lambda: table.add("c", producers["c"], at()),
        lambda: table.admit("c", producers["c"], Missing.ADDED, at()),
    ):
        with pytest.raises(ConcurrentTransactions, match="2 transactions are open"):
            call()
    table.add("a", producers["a"], at())  # its own goes on
    end(table, "a", producers["a"])
    table.add("c", producers["c"], at())


# A start


def test_what_the_journal_has_is_restored(pids):
    table = Table([an_id(State.COMPLETE_COMMIT), an_id(name="other", pid=8, previous_pid=6)])
    assert [it.restored for it in table.ids()] == [True, True]
    assert table.of_pid(6).name == table.of_pid(8).name == "other"
    assert table.open_ids() == []


def test_a_transaction_with_data_goes_on_after_a_start():
    """As after a kill -9 of Kafka; its time begins anew."""
    table = Table([an_id()])
    assert table.reopen(7, 5, at(10))
    assert table.reopen(7, 5, at(20))  # in another log
    assert all_due(table, at(TIMEOUT_MS + 9)) == []
    assert all_due(table, at(TIMEOUT_MS + 10)) == ["copier"]
    assert end(table, "copier", Producer(7, 5), version=TV1).producer == (7, 5)


def test_a_transaction_of_a_producer_that_is_gone_is_not_reopened():
    table = Table([an_id(previous_pid=6, epoch=0)])
    for pid, epoch in ((7, 1), (6, 0), (99, 0)):
        assert not table.reopen(pid, epoch, at())
    assert table.open_ids() == []


def test_all_that_were_open_are_reopened(monkeypatch):
    monkeypatch.setattr(module, "OPEN_MAX", 0)
    table = Table([an_id()])
    assert table.reopen(7, 5, at())


def test_ids_that_are_unused_for_longest_are_known_after_a_start():
    late, early = an_id(name="a", pid=1, since_ms=2), an_id(name="b", pid=2, since_ms=1)
    table = Table([late, early])
    assert [it.name for it in table.ids()] == ["b", "a"]


def test_each_is_gone_through_once_though_they_change_meanwhile(pids):
    made = [an_id(name=f"n{it}", pid=it, previous_pid=10 + it, epoch=0) for it in range(4)]
    table = Table([*made, an_id(name="n4", pid=4, epoch=EXHAUSTED), an_id(name="n5", pid=5)])
    each = table.each()
    found = [next(each)]
    table.add("n3", Producer(3, 0), at())  # it has no producer id before any more
    assert table.get("n3").previous_pid == NO_PID
    assert table.initialize("n4", 1000, ANYONE, pids, at()).pid != 4
    found += each
    assert sorted(it.name for it in found) == [f"n{it}" for it in range(6)]


def test_an_id_is_never_away_while_it_changes(monkeypatch, pids):
    """Others may list them all, in another thread."""
    table = Table([an_id(epoch=EXHAUSTED)])
    seen = []

    class Looked(dict):
        def __setitem__(self, pid, name):
            super().__setitem__(pid, name)
            seen.append([it.name for it in table.each()])

        def __delitem__(self, pid):
            super().__delitem__(pid)
            seen.append([it.name for it in table.each()])

    table._names = Looked(table._names)
    table.initialize("copier", 1000, ANYONE, pids, at())
    table.kept("copier")
    table.add("copier", table.get("copier").producer, at())
    assert len(seen) > 3
    assert all(it == ["copier"] for it in seen)
