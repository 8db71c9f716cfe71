"""What the journal's records come to, in whatever way they are replayed."""

from contextlib import suppress

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC, Pids, an_id, no_pid

from logstore.broker.transactions.journaled import FORMAT, Journaled
from logstore.broker.transactions.operations import (
    Offset,
    Offsets,
    Part,
    Place,
    abandoned,
    decided_key,
    decision_of,
    dropped_key,
    encode_decision,
    encode_dropped,
    encode_known,
    encode_offsets,
    encode_staged,
    known_key,
    overtaken_key,
    staged_key,
)
from logstore.broker.transactions.staged import Committed
from logstore.broker.transactions.state import State
from logstore.broker.transactions.transactional_id import EXHAUSTED, TV1, TV2
from logstore.errors import CorruptStore, SchemaTooNew

PART = Part(TOPIC, 0, 10)
OFFSET = Offset(TOPIC, 0, 5)


class Journal:
    """Records, and what is made of them as they come."""

    def __init__(self):
        self.records = []
        self.it = Journaled()

    def write(self, key, value):
        self.records.append((key, value))
        return self.it.apply(key, value, len(self.records) - 1)

    def known(self, it):
        self.write(known_key(it.name), encode_known(it))
        return it.kept() if it.pending else it

    def staged(self, it, offset=OFFSET, group="g"):
        self.write(staged_key(it.pid), encode_staged(Offsets(it.epoch, NOW_MS, group, (offset,))))

    def decided(self, it, parts=()):
        decision = decision_of(it, parts)
        return self.write(decided_key(it.pid), encode_decision(decision))

    def end(self, it, outcome, version=TV2, parts=(), new_pid=no_pid):
        begun = it.added(it.producer, NOW_MS)
        ended = begun.ended(it.producer, outcome, version, new_pid, NOW_MS + len(self.records))
        self.decided(ended, parts)
        return ended.kept().completed()


@pytest.fixture
def journal():
    return Journal()


def again(records, start, it):
    for place, (key, value) in enumerate(records[start:], start):
        it.apply(key, value, place)
    return it


def test_an_id_is_as_its_last_record_says(journal):
    it = journal.known(an_id(pending=True))
    assert journal.it.ids() == [it]
    for outcome, version in [(COMMIT, TV2), (ABORT, TV2), (COMMIT, TV1), (ABORT, TV1)]:
        it = journal.end(it, outcome, version)
        assert journal.it.ids() == [it]
    journal.write(known_key("copier"), b"")
    assert journal.it.ids() == []


def test_t18_a_change_of_the_producer_id_is_known_after_a_start(journal):
    it = journal.known(an_id(epoch=EXHAUSTED, pending=True))
    it = journal.end(it, COMMIT, new_pid=Pids())
    assert journal.it.ids() == [it]
    assert (it.producer, it.last_epoch, it.previous_pid) == ((1000, 0), EXHAUSTED, 7)
    assert Journaled.decode(journal.it.encode()).ids() == [it]


def test_decisions_are_unfinished_until_they_are_everywhere(journal):
    it = journal.known(an_id(pending=True))
    it = journal.end(it, COMMIT, parts=[PART])
    it = journal.end(it, ABORT)  # of nothing
    it = journal.end(it, ABORT, parts=[PART, PART])
    assert journal.it.unfinished() == [1, 3]
    assert journal.it.lowest(9) == 1
    kept = Journaled.decode(journal.it.encode())
    assert kept.unfinished() == [1, 3]
    journal.it.finish(1)
    journal.it.finish(2)
    assert journal.it.unfinished() == [3]
    assert journal.it.lowest(2) == 2
    journal.it.finish(3)
    assert journal.it.lowest(9) == 9


def test_a_decision_may_be_finished_before_its_record_is_read(journal):
    it = journal.known(an_id(pending=True))
    journal.it.finish(1)
    it = journal.end(it, COMMIT, parts=[PART])
    assert journal.it.unfinished() == []
    journal.end(it, COMMIT, parts=[PART])
    assert journal.it.unfinished() == [2]


def test_a_commit_shows_the_offsets_that_go_with_it(journal):
    it = journal.known(an_id(pending=True))
    journal.staged(it)
    assert journal.it.staged.producers() == [(7, 5, NOW_MS)]
    ended = it.added(it.producer, NOW_MS).ended(it.producer, COMMIT, TV2, no_pid, NOW_MS)
    assert journal.decided(ended) == [Committed("g", (OFFSET,))]
    assert journal.it.unfinished() == []
    for known in (journal.it, Journaled.decode(journal.it.encode())):
        assert known.committed() == [(2, Committed("g", (OFFSET,)))]
        known.finish(2)
        assert known.committed() == []
    assert journal.it.staged.producers() == []


def test_a_commit_outside_is_shown_at_once(journal):
    it = journal.known(an_id(pending=True))
    journal.staged(it)
    later = OFFSET._replace(offset=9)
    assert journal.write(overtaken_key("g"), encode_offsets([later])) == [Committed("g", (later,))]
    assert journal.it.committed() == [(2, Committed("g", (later,)))]
    ended = it.added(it.producer, NOW_MS).ended(it.producer, COMMIT, TV1, no_pid, NOW_MS)
    assert journal.decided(ended) == []


def test_what_a_note_has_of_a_commit_is_all_of_it(journal):
    """Replay may begin behind some of what was staged."""
    it = journal.known(an_id(pending=True))
    journal.staged(it)
    journal.staged(it, OFFSET._replace(partition=1))
    it = journal.end(it, COMMIT)
    [(place, committed)] = journal.it.committed()
    assert (place, len(committed.offsets)) == (3, 2)
    found = again(journal.records, 2, Journaled.decode(journal.it.encode()))
    assert found.committed() == journal.it.committed()


def test_what_is_dropped_is_not_committed(journal):
    it = journal.known(an_id(pending=True))
    journal.staged(it)
    journal.staged(it, group="h")
    assert journal.write(dropped_key("g"), b"") == []
    assert journal.it.staged.has("h")
    journal.write(dropped_key(), encode_dropped([Place(TOPIC)]))
    assert not journal.it.staged.has("h")
    with pytest.raises(CorruptStore, match="all offsets of all groups"):
        journal.write(dropped_key(), b"")


@pytest.mark.parametrize(
    ("group", "places", "left"),
    [
        ("g", [], []),
        ("g", [Place(TOPIC, 0)], [1]),
        ("g", [Place(TOPIC, 1), Place(OTHER_TOPIC, 0)], [0]),
        ("g", [Place(TOPIC)], []),
        ("", [Place(TOPIC)], []),
        ("", [Place(OTHER_TOPIC)], [0, 1]),
        ("h", [], [0, 1]),
    ],
)
def test_what_was_committed_and_deleted_does_not_come_back(journal, group, places, left):
    it = journal.known(an_id(pending=True))
    journal.staged(it)
    journal.staged(it, OFFSET._replace(partition=1))
    journal.end(it, COMMIT)
    journal.write(dropped_key(group), encode_dropped(places))
    journal.write(overtaken_key("g"), encode_offsets([OFFSET]))  # later, so it stays
    for known in (Journaled.decode(journal.it.encode()), journal.it):
        found = [(place, [o.partition for o in it.offsets]) for place, it in known.committed()]
        assert found == [(3, left)] * bool(left) + [(5, [0])]


def test_what_a_group_has_committed_again_is_not_the_newest(journal):
    it = journal.known(an_id(pending=True))
    for _ in range(2):
        journal.staged(it)
        journal.staged(it, OFFSET._replace(partition=1), "h")
        it = journal.end(it, COMMIT)
    last = OFFSET._replace(offset=9)
    journal.write(overtaken_key("g"), encode_offsets([last, OFFSET._replace(partition=2)]))
    assert [place for place, _ in journal.it.committed()] == [3, 3, 6, 6, 7]
    assert journal.it.newest() == [
        (6, Committed("h", (OFFSET._replace(partition=1),))),
        (7, Committed("g", (last, OFFSET._replace(partition=2)))),
    ]


def test_what_is_abandoned_changes_no_producer(journal):
    it = journal.known(an_id(pending=True))
    for pid, epoch in ((it.pid, 4), (99, 0)):
        decision = abandoned(pid, epoch, NOW_MS, [PART])
        journal.write(decided_key(pid), encode_decision(decision))
    assert journal.it.ids() == [it]
    assert journal.it.unfinished() == [1, 2]


def test_records_that_can_not_be():
    journal = Journal()
    it = journal.known(an_id(pending=True))
    ahead = it._replace(epoch=9, state=State.PREPARE_COMMIT, version=TV2)
    with pytest.raises(CorruptStore, match="epoch 9 of transactional id 'copier', which has 5"):
        journal.decided(ahead)
    with pytest.raises(
        CorruptStore, match=r"producer 7 for transactional ids 'other' and 'copier'"
    ):
        journal.known(an_id(name="other"))
    with pytest.raises(SchemaTooNew, match="b'Zx'"):
        journal.write(b"Zx", b"")


def test_nothing_is_kept_of_a_journal_without_transactions(journal):
    assert not journal.it
    journal.known(an_id(pending=True))
    assert journal.it


NOTE = b"\x01"


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        NOTE,
        NOTE + b"\x01",
        NOTE + b"\0\0\0\0\0",  # goes on
        NOTE + b"\x01\x01a\x01" + encode_known(an_id()) + b"\0\0",  # ongoing
        NOTE + b"\x02" + 2 * (b"\x01a\0" + encode_known(an_id())) + b"\0\0",
        NOTE + b"\x01\0\0" + encode_known(an_id()) + b"\0\0",  # without a name
        NOTE
        + b"\x02\x01a\0"
        + encode_known(an_id())
        + b"\x01b\0"
        + encode_known(an_id())
        + b"\0\0",
    ],
)
def test_a_damaged_note_is_told(kept):
    with pytest.raises(CorruptStore, match="restore the store from a backup"):
        Journaled.decode(kept)


def test_a_note_of_a_later_version_is_told():
    with pytest.raises(SchemaTooNew, match="format 2, known is 1"):
        Journaled.decode(bytes((FORMAT + 1,)))


# Replay


@st.composite
def journals(draw):
    """Records as a coordinator writes them, of some ids."""
    journal, pids, names = Journal(), Pids(), ("a", "b", "c")
    ids = {}
    for _ in range(draw(st.integers(0, 20))):
        name = draw(st.sampled_from(names))
        it = ids.get(name)
        if it is None:
            epoch = draw(st.sampled_from([0, EXHAUSTED - 1]))
            ids[name] = journal.known(an_id(name=name, pid=pids(), epoch=epoch, pending=True))
            continue
        what = draw(st.sampled_from(["init", "stage", "plain", "drop", "end", "end", "expire"]))
        group, offset = draw(st.sampled_from("gh")), Offset(TOPIC, draw(st.integers(0, 1)), 7)
        if what == "init" and not it.is_open:
            asked = it.producer if draw(st.booleans()) else None
            ids[name] = journal.known(it.initialized(asked, 9, pids, NOW_MS))
        elif what == "stage":
            ids[name] = it.added(it.producer, NOW_MS)
            journal.staged(it, offset, group)
        elif what == "plain":
            journal.write(overtaken_key(group), encode_offsets([offset]))
        elif what == "drop":
            journal.write(dropped_key(group), b"")
        elif what == "end":
            outcome, version = draw(st.sampled_from([COMMIT, ABORT])), draw(st.sampled_from([1, 2]))
            parts = [PART] if draw(st.booleans()) else []
            ids[name] = journal.end(it, outcome, version, parts, pids)
        elif what == "expire" and not it.is_open:
            journal.write(known_key(name), b"")
            del ids[name]
    expected = [it for it in ids.values() if not it.is_open]
    return journal, expected


@given(journals(), st.data())
def test_replay_comes_to_the_same_wherever_it_begins(drawn, data):
    """Also before what the note has already: a note may be newer than its recovery point."""
    journal, expected = drawn
    size = len(journal.records)
    noted = data.draw(st.integers(0, size))
    begin = data.draw(st.integers(0, noted))
    note = again(journal.records[:noted], 0, Journaled()).encode()
    it = again(journal.records, begin, Journaled.decode(note))
    assert it.encode() == journal.it.encode()
    known = {it.name: it for it in journal.it.ids()}
    assert {it.name: known[it.name] for it in expected} == {it.name: it for it in expected}


@given(journals(), st.integers(0, 300), st.integers(0, 255), st.integers(0, 300))
def test_a_damaged_note_is_read_or_told(drawn, at, byte, size):
    kept = drawn[0].it.encode()
    damaged = (kept[:at] + bytes((byte,)) + kept[at + 1 :])[:size]
    with suppress(CorruptStore, SchemaTooNew):
        Journaled.decode(damaged).encode()


@given(journals(), st.data())
def test_damaged_records_are_read_or_told(drawn, data):
    journal = drawn[0]
    it = Journaled()
    for place, (key, value) in enumerate(journal.records):
        if data.draw(st.integers(0, 3)) == 0:
            at, byte = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 255))
            whole = key + b"|" + value
            key, value = whole[:at] + bytes((byte,)) + whole[at + 1 :], value
            key, _, value = key.partition(b"|")
        with suppress(CorruptStore, SchemaTooNew):
            it.apply(key, value, place)
    it.encode()
