import logging
import queue

import pytest

import logstore
from logstore.broker.coordinator.calls import OffsetToCommit
from logstore.broker.coordinator.ledger import GroupChange
from logstore.errors import Closed, CorruptStore, Failed, StorageFull, UnknownGroup
from logstore.storage.committer import GroupCommitter

DEADLINE_S = 20


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data") as found:
        found.create_topic("t")
        yield found


@pytest.fixture
def kept(store):
    """A committer, and the calls that it has delivered."""
    table, told = store.directory.groups, queue.Queue()
    committer = GroupCommitter(table.environment, table, told.put)
    committer.table, committer.told = table, told
    yield committer
    committer.close()


def heard(kept, count, into):
    """What was told, once so much was."""
    while len(into) < count:
        kept.told.get(timeout=DEADLINE_S)()
    return into


def test_what_is_given_is_written_and_told_in_order(kept):
    told = []
    change = GroupChange("classic", 3, False, b"state", {"m": b"row"})
    kept.save("g", change, lambda error: told.append(("save", error)))
    for n in range(50):
        offsets = {("t", 0): OffsetToCommit(n, f"of {n}"), ("none", 0): OffsetToCommit(n)}
        kept.commit("g", offsets, lambda error, gone, n=n: told.append((n, error, set(gone))))
    heard(kept, 51, told)
    assert told == [("save", None), *((n, None, {("none", 0)}) for n in range(50))]
    entry = kept.load("g")
    assert (entry.kind, entry.epoch, entry.members) == ("classic", 3, {"m": b"row"})
    assert kept.fetch("g")["t", 0][:3:2] == (49, "of 49")


def test_nobody_is_told_in_the_call_itself(kept):
    told = []
    kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda *it: told.append(it))
    assert told == []
    heard(kept, 1, told)


def test_a_refusal_is_its_own_and_the_others_are_done(kept):
    told = []
    kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
    kept.delete_group("none", told.append)
    kept.commit("h", {("t", 0): OffsetToCommit(2)}, lambda error, _: told.append(error))
    first, second, third = heard(kept, 3, told)
    assert (first, type(second), third) == (None, UnknownGroup, None)
    assert kept.groups() == {"g": "simple", "h": "simple"}


def test_what_cant_be_written_is_told_to_all_and_said_once(kept, monkeypatch, caplog):
    told = []

    def full(*_):
        raise StorageFull("no space left")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(kept.table.environment, "transact", full)
        for _ in range(5):
            kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
            heard(kept, len(told) + 1, told)
    assert {type(it) for it in told} == {StorageFull}
    assert [it.message for it in caplog.records] == [
        "consumer groups and offsets can't be kept: no space left"
    ]
    kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
    assert heard(kept, 6, told)[-1] is None


def test_closing_writes_what_was_given_and_takes_nothing_more(kept):
    told = []
    for n in range(20):
        kept.commit("g", {("t", 0): OffsetToCommit(n)}, lambda error, _: told.append(error))
    kept.close()
    assert kept.fetch("g")["t", 0].offset == 19
    assert heard(kept, 20, told) == [None] * 20
    with pytest.raises(Closed):
        kept.delete_group("g", told.append)


def test_a_damaged_group_is_refused_by_itself(kept, store):
    told = []
    kept.commit("bad", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
    heard(kept, 1, told)
    store.directory.groups.environment.commit([(b"groups", b"bad", b"?")])
    with kept._news:  # both in one batch
        kept.commit("bad", {("t", 0): OffsetToCommit(2)}, lambda error, _: told.append(error))
        kept.commit("good", {("t", 0): OffsetToCommit(3)}, lambda error, _: told.append(error))
    _, bad, good = heard(kept, 3, told)
    assert (type(bad), good) == (CorruptStore, None)
    assert kept.fetch("good")["t", 0].offset == 3


def test_a_bug_in_a_change_is_told_and_ends_no_thread(kept, monkeypatch, caplog):
    told = []

    def broken(*_):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(kept.table, "commit", broken)
        kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
        heard(kept, 1, told)
    kept.commit("g", {("t", 0): OffsetToCommit(1)}, lambda error, _: told.append(error))
    first, second = heard(kept, 2, told)
    assert (type(first), second) == (Failed, None)
    assert "a bug" in caplog.text


def test_offsets_of_some_places_are_looked_up_whatever_their_names(kept, store):
    told = []
    store.create_topic("u", 3)
    wanted = {("t", 0): OffsetToCommit(1), ("u", 2): OffsetToCommit(2), ("u", 1): OffsetToCommit(3)}
    kept.commit("g", wanted, lambda error, _: told.append(error))
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
