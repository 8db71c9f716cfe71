import logging
import queue
import threading

import pytest

import logstore
from logstore.errors import Closed, CorruptStore, Failed, StorageFull, UnknownGroup
from logstore.kept.groups import GroupChange, OffsetToCommit
from logstore.kept.users import KeptRule
from logstore.storage.committer import Committer, GroupCommitter, UserCommitter

DEADLINE_S = 20


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as found:
        found.create_topic("t")
        yield found


@pytest.fixture
def kept(store):
    """A committer, and the calls that it has delivered."""
    table, told, ends = store.internals().directory.groups, queue.Queue(), []
    committer = Committer(table.environment, told.put, ends.append)
    groups = GroupCommitter(committer, table)
    groups.table, groups.told, groups.ends, groups.close = table, told, ends, committer.close
    yield groups
    committer.close()


def end_turn(kept):
    """As the loop does when its turn ends."""
    while kept.ends:
        kept.ends.pop(0)()


def heard(kept, count, into):
    """What was told, once the turn has ended and so much was."""
    end_turn(kept)
    while len(into) < count:
        kept.told.get(timeout=DEADLINE_S)()
    return into


def test_what_is_given_is_written_and_told_in_order(kept):
    told = []
    change = GroupChange("classic", 3, False, b"state", {"m": b"row"})
    kept.save("g", change).then(lambda it: told.append(("save", it.error)))
    for n in range(50):
        offsets = {("t", 0): OffsetToCommit(n, f"of {n}"), ("none", 0): OffsetToCommit(n)}
        kept.commit("g", offsets).then(lambda it, n=n: told.append((n, it.error, set(it.refused))))
    heard(kept, 51, told)
    assert told == [("save", None), *((n, None, {("none", 0)}) for n in range(50))]
    entry = kept.load("g")
    assert (entry.kind, entry.epoch, entry.members) == ("classic", 3, {"m": b"row"})
    assert kept.fetch("g")["t", 0][:3:2] == (49, "of 49")


def test_nobody_is_told_in_the_call_itself(kept):
    told = []
    kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(told.append)
    assert told == []
    heard(kept, 1, told)


def test_the_changes_of_one_turn_are_one_transaction_outside_of_it(kept, monkeypatch):
    told, threads = [], []
    transact = kept.table.environment.transact

    def counted(tables, work):
        threads.append(threading.get_ident())
        return transact(tables, work)

    monkeypatch.setattr(kept.table.environment, "transact", counted)
    for n in range(100):
        keeping = kept.commit(f"g{n % 7}", {("t", 0): OffsetToCommit(n)})
        keeping.then(lambda it: told.append(it.error))
    assert (len(kept.ends), threads) == (1, [])
    heard(kept, 100, told)
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
    heard(kept, 101, told)
    assert len(threads) == 2
    assert told == [None] * 101


def test_who_asks_after_it_is_durable_is_told_at_once(kept):
    told = []
    keeping = kept.commit("g", {("t", 0): OffsetToCommit(1), ("none", 0): OffsetToCommit(1)})
    kept.commit("g", {("t", 0): OffsetToCommit(2)}).then(told.append)
    assert not keeping.done
    heard(kept, 1, told)
    assert (keeping.done, keeping.error, set(keeping.refused)) == (True, None, {("none", 0)})
    keeping.then(told.append)
    assert told[1] is keeping


def test_a_refusal_is_its_own_and_the_others_are_done(kept):
    told = []
    kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
    kept.delete_group("none").then(lambda it: told.append(it.error))
    kept.commit("h", {("t", 0): OffsetToCommit(2)}).then(lambda it: told.append(it.error))
    first, second, third = heard(kept, 3, told)
    assert (first, type(second), third) == (None, UnknownGroup, None)
    assert kept.kinds() == {"g": "simple", "h": "simple"}


def test_what_cant_be_written_is_told_to_all_and_said_once(kept, monkeypatch, caplog):
    told = []

    def full(*_):
        raise StorageFull("no space left")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(kept.table.environment, "transact", full)
        for _ in range(5):
            kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
            heard(kept, len(told) + 1, told)
    assert {type(it) for it in told} == {StorageFull}
    assert [it.message for it in caplog.records] == [
        "changes of groups, queues and users can't be kept: no space left"
    ]
    kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
    assert heard(kept, 6, told)[-1] is None


def test_on_a_full_disk_rights_are_still_taken_away(kept, monkeypatch):
    """In the room that is kept for what frees some; what comes with it is refused."""
    environment = kept.table.environment
    users = UserCommitter(kept._committer, environment)
    rules = [KeptRule("al", it, "topic", "orders") for it in ("read", "write")]
    told = []
    users.change(rules).then(lambda it: told.append(it.error))
    heard(kept, 1, told)

    def full():
        raise StorageFull("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(environment, "check_room", full)
        kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
        users.change(forget=rules[:1]).then(lambda it: told.append(it.error))
        users.change([rules[0]]).then(lambda it: told.append(it.error))
        _, commit, taken, given = heard(kept, 4, told)
        assert (type(commit), taken, type(given)) == (StorageFull, None, StorageFull)
        assert users.load().rules == rules[1:]
        users.change(forget=rules).then(lambda it: told.append(it.error))
        assert heard(kept, 5, told)[-1] is None
        assert users.load().rules == ()


def test_closing_writes_what_was_given_and_takes_nothing_more(kept):
    told = []
    for n in range(20):
        kept.commit("g", {("t", 0): OffsetToCommit(n)}).then(lambda it: told.append(it.error))
    kept.close()
    assert kept.fetch("g")["t", 0].offset == 19
    assert heard(kept, 20, told) == [None] * 20
    with pytest.raises(Closed):
        kept.delete_group("g")


def test_a_damaged_group_is_refused_by_itself(kept, store):
    told = []
    kept.commit("bad", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
    heard(kept, 1, told)
    store.internals().directory.groups.environment.commit([(b"groups", b"bad", b"?")])
    kept.commit("bad", {("t", 0): OffsetToCommit(2)}).then(lambda it: told.append(it.error))
    kept.commit("good", {("t", 0): OffsetToCommit(3)}).then(lambda it: told.append(it.error))
    _, bad, good = heard(kept, 3, told)
    assert (type(bad), good) == (CorruptStore, None)
    assert kept.fetch("good")["t", 0].offset == 3


def test_a_bug_in_a_change_is_told_and_ends_no_thread(kept, monkeypatch, caplog):
    told = []

    def broken(*_):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(kept.table, "commit", broken)
        kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
        heard(kept, 1, told)
    kept.commit("g", {("t", 0): OffsetToCommit(1)}).then(lambda it: told.append(it.error))
    first, second = heard(kept, 2, told)
    assert (type(first), second) == (Failed, None)
    assert "a bug" in caplog.text


def test_offsets_of_some_places_are_looked_up_whatever_their_names(kept, store):
    told = []
    store.create_topic("u", 3)
    wanted = {("t", 0): OffsetToCommit(1), ("u", 2): OffsetToCommit(2), ("u", 1): OffsetToCommit(3)}
    kept.commit("g", wanted).then(lambda it: told.append(it.error))
    assert heard(kept, 1, told) == [None]
    no_places = [
        ("t", -1),
        ("t", 1),
        ("t", 2**31),
        ("none", 0),
        ("x" * 600, 0),
        ("", 0),
        ("t\0", 0),
    ]
    found = kept.fetch("g", [("u", 2), ("t", 0), ("u", 0), *no_places])
    assert {place: it.offset for place, it in found.items()} == {("u", 2): 2, ("t", 0): 1}
    store.delete_topic("u")
    store.create_topic("u", 3)
    assert kept.fetch("g", [("u", 2)]) == {}


def test_what_the_journal_has_waits_for_others_and_goes_with_them(kept, monkeypatch):
    monkeypatch.setattr("logstore.storage.committer.LINGER_S", 3 * DEADLINE_S)
    transactions, told = [], []
    transact = kept.table.environment.transact
    monkeypatch.setattr(
        kept.table.environment, "transact",
        lambda *given: transactions.append(given) or transact(*given),
    )  # fmt: skip
    for n in range(5):
        kept.decided("g", {("t", 0): OffsetToCommit(n, record=n)}).then(told.append)
        end_turn(kept)
    assert (told, transactions) == ([], [])
    kept.commit("g", {("t", 0): OffsetToCommit(9)}).then(told.append)
    heard(kept, 6, told)
    assert len(transactions) == 1
    assert kept.fetch("g")["t", 0].offset == 9


def test_of_what_the_journal_has_the_last_offset_alone_is_written(kept, monkeypatch):
    monkeypatch.setattr("logstore.storage.committer.LINGER_S", 3 * DEADLINE_S)
    written, told = [], []
    decided = kept.table.decided

    def counted(transaction, group, offsets):
        written.append((group, {place: it.offset for place, it in offsets.items()}))
        return decided(transaction, group, offsets)

    monkeypatch.setattr(kept.table, "decided", counted)

    def give(number, *places, group="g", **facts):
        offsets = {place: OffsetToCommit(number, record=number, **facts) for place in places}
        kept.decided(group, offsets).then(lambda it: told.append((number, set(it.refused))))
        end_turn(kept)

    a, b, gone = ("t", 0), ("t", 1), ("none", 0)
    give(1, a, gone)
    give(2, b, group="other")
    give(3, a)
    give(4, b)
    give(5, a, replayed=True)  # which is another question
    kept.save("h", GroupChange("classic", 0, False, b"", {}))
    heard(kept, 5, told)
    assert written == [
        ("g", {a: 3, b: 4, gone: 1}), ("other", {b: 2}), ("g", {a: 5}),
    ]  # fmt: skip
    assert sorted(told) == [(1, {gone}), (2, set()), (3, set()), (4, set()), (5, set())]
    assert {place: it.offset for place, it in kept.fetch("g").items()} == {a: 5, b: 4}


def test_what_is_committed_behind_a_plain_commit_stays_behind_it(kept, monkeypatch):
    held = threading.Event()
    transact = kept.table.environment.transact
    monkeypatch.setattr(
        kept.table.environment, "transact",
        lambda *given: held.wait(DEADLINE_S) and transact(*given),
    )  # fmt: skip
    told = []
    place = ("t", 0)
    kept.commit("g", {place: OffsetToCommit(1)}).then(told.append)
    end_turn(kept)  # which the thread is at, or takes along with these:
    kept.decided("g", {place: OffsetToCommit(2, record=1)}).then(told.append)
    kept.commit("g", {place: OffsetToCommit(3)}).then(told.append)
    kept.decided("g", {place: OffsetToCommit(4, record=2)}).then(told.append)
    end_turn(kept)
    held.set()
    heard(kept, 4, told)
    assert kept.fetch("g")[place].offset == 4


def test_closing_waits_for_no_others(kept, monkeypatch):
    monkeypatch.setattr("logstore.storage.committer.LINGER_S", 3 * DEADLINE_S)
    kept.decided("g", {("t", 0): OffsetToCommit(5, record=1)})
    kept.close()
    assert kept.fetch("g")["t", 0].offset == 5
