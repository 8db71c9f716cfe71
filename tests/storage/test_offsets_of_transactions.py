"""Offsets that transactions commit: what the journal says again at a start undoes nothing."""

from functools import partial

import pytest

from logstore.errors import GroupBusy
from logstore.kept.groups import GroupChange, GroupStep, OffsetToCommit
from logstore.storage.groups import TABLES

PLACE = "t", 0


@pytest.fixture
def groups(store):
    directory = store.writer()
    directory.create_topic("t", 2, {})
    return directory.groups


def commit(groups, offset, record=-1, **more):
    assert groups.change_idle("g", {PLACE: OffsetToCommit(offset, record=record, **more)}) == set()
    found = groups.fetch("g")[PLACE]
    return found.offset, found.record


def test_a_record_that_is_found_again_changes_nothing(groups):
    assert commit(groups, 5, record=7) == (5, 7)
    assert commit(groups, 9, record=8) == (9, 8)
    for record in (7, 8):
        assert commit(groups, 5, record=record) == (9, 8)


def test_what_is_committed_outside_stays_whatever_was_before_it(groups):
    commit(groups, 5, record=7)
    assert commit(groups, 2, metadata="mine", leader_epoch=3) == (2, 7)
    assert commit(groups, 5, record=7) == (2, 7)
    assert commit(groups, 6, record=9) == (6, 9)


def test_all_of_it_is_kept(store, groups):
    given = OffsetToCommit(5, "metadatä", 3, record=2**40)
    groups.change_idle("g", {PLACE: given, ("t", 1): OffsetToCommit(6)})
    store.close()
    found = store.writer().groups.fetch("g")
    it, other = found[PLACE], found["t", 1]
    assert (it.offset, it.metadata, it.leader_epoch, it.record) == (5, "metadatä", 3, 2**40)
    assert (other.offset, other.record) == (6, -1)


def test_a_topic_that_was_made_anew_begins_without(store, groups):
    commit(groups, 5, record=7)
    directory = store._open[-1]
    directory.delete_topic("t")
    directory.create_topic("t", 2, {})
    assert groups.fetch("g") == {}
    assert commit(groups, 1, record=3) == (1, 3)


@pytest.mark.parametrize("how", ["group", "offsets", "time"])
def test_what_was_deleted_is_not_brought_back(store, groups, how):
    """By whatever process: the journal may know nothing of it."""

    def within(work):
        return groups.environment.transact(TABLES, work)

    commit(groups, 5, record=7)
    if how == "group":
        groups.change_idle("g", None)
    elif how == "offsets":
        within(lambda it: groups.delete_offsets(it, "g", [PLACE, ("t", 1)]))
    else:
        groups.expire(0)
    store.close()
    groups = store.writer().groups
    for record in (6, 7):
        offset = OffsetToCommit(5, record=record, replayed=True)
        within(lambda it, offset=offset: groups.decided(it, "g", {PLACE: offset}))
        assert (groups.fetch("g"), "g" in groups.names()) == ({}, how == "offsets")
    assert commit(groups, 1) == (1, 7)
    within(lambda it: groups.decided(it, "g", {PLACE: OffsetToCommit(5, record=7, replayed=True)}))
    assert groups.fetch("g")[PLACE].offset == 1
    assert commit(groups, 6, record=8) == (6, 8)
    within(lambda it: groups.decided(it, "h", {PLACE: OffsetToCommit(3, record=8, replayed=True)}))
    assert groups.fetch("h")[PLACE].record == 8
    within(lambda it: groups.decided(it, "i", {PLACE: OffsetToCommit(3, record=6)}))
    assert groups.fetch("i")[PLACE].record == 6, "it was not read again, so it is not deleted"


def test_what_is_deleted_without_a_record_leaves_nothing(groups):
    commit(groups, 5)
    groups.change_idle("g", None)
    assert commit(groups, 6, record=0) == (6, 0)


def test_what_the_journal_has_is_kept_whoever_the_members_are(groups):
    """A decision can't be refused any more."""
    change = GroupChange("embedded", 1, False, b"", {"m": b""})
    groups.act("g", lambda *_: (GroupStep(change), None))
    claim = groups.claim_member("m")

    def within(commit, offset):
        work = partial(commit, group="g", offsets={PLACE: offset})
        groups.environment.transact(TABLES, work)

    with pytest.raises(GroupBusy):
        within(groups.commit, OffsetToCommit(5))
    assert groups.fetch("g") == {}
    within(groups.decided, OffsetToCommit(5, record=7))
    assert groups.fetch("g")[PLACE].offset == 5
    claim.release()


def test_nothing_expires_of_a_group_that_has_offsets_in_transactions(groups):
    commit(groups, 5)
    pending = {"g"}
    groups.pending = pending.__contains__
    assert groups.expire(0) == []
    assert groups.fetch("g")[PLACE].offset == 5
    pending.clear()
    assert groups.expire(0) == ["g"]
