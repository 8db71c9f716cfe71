"""The journal over a real log: what is kept of queues is the same however it is opened again."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import storage_kit
from clock import NOW_MS
from hypothesis import given, settings
from hypothesis import strategies as st

import logstore
from logstore.broker.packed import packed
from logstore.broker.queues import journal as module
from logstore.broker.queues.journal import SettlementNotes, queue_key, queue_of, settlements_of
from logstore.broker.queues.settled import Settled, reopened
from logstore.broker.queues.settlement import Run, Settlement
from logstore.broker.queues.state import LaneState
from logstore.errors import CorruptStore, SchemaTooNew
from logstore.open_queues import OpenQueues
from logstore.records.batch import split
from logstore.records.encode import encode
from logstore.storage.kinds import JOURNAL, JOURNAL_RECOVERY_BYTES, KINDS

WITH_NOTES = {**KINDS, "journal": replace(JOURNAL, notes=SettlementNotes)}


@pytest.fixture
def store(tmp_path):
    opened = storage_kit.Opened(tmp_path / "store")
    yield opened
    opened.close_all()


def told(*lanes, gone=False):
    """What a turn settled: (lane, first, count) each."""
    settled = Settled()
    for lane, first, count in lanes:
        settled.settle(lane, first, count)
    if gone:
        settled.gone()
    return settled.encode()


def a_turn(**queues):
    """One batch, with a record for each queue: q7=value."""
    return encode([(value, queue_key(int(name[1:])), (), NOW_MS) for name, value in queues.items()])


def journal_of(directory):
    entry = next((it for _, it in directory.entries() if it.kind == "journal"), None)
    entry = entry or directory.create("journal", "settled", 1, {})
    return directory.log("settled", entry, 0)


def unread_bytes(notes):
    """Of batches that are kept until the next recovery point."""
    return sum(len(data) for _, data in notes._unread)


def held(notes, queue, lane=0):
    return notes.state(queue).lanes[lane].held


def loaded(note, *batches):
    """Notes of a log that was opened with this note, and appended to."""
    notes = SettlementNotes()
    notes.load(note)
    notes.freeze()
    for n, batch in enumerate(batches):
        notes.appended(batch, n)
    return notes


TURNS = (
    a_turn(q1=told((0, 5, 2)), q2=told((3, 0, 9))),
    a_turn(q1=told((0, 0, 3))),
    a_turn(q2=told(gone=True), q3=told((0, 1, 1), (7, 300, 1))),
)


@pytest.mark.parametrize("how", ["close", "crash"])
def test_after_a_close_and_after_a_crash_it_knows_the_same(store, how):
    log = journal_of(store.writer(kinds=WITH_NOTES))
    for turn in TURNS:
        log.append(turn)
    log.wait(log.end)
    before = {queue: log.notes.state(queue) for queue in (1, 2, 3)}
    getattr(store, how)()
    notes = journal_of(store.writer(kinds=WITH_NOTES)).notes
    assert {queue: notes.state(queue) for queue in (1, 2, 3)} == before
    assert notes.state(1).lanes == {0: LaneState(7, {0: 0b11000})}
    assert notes.state(2) is None
    assert notes.queues() == [1, 3]


def test_a_store_keeps_what_is_settled_of_its_queues(tmp_path):
    for begin in range(3):
        with logstore.open(tmp_path / "data") as store:
            queues = OpenQueues(store.internals().directory.writable(), keeper=None)
            notes = settlements_of(queues.journal())
            if begin:
                assert notes.state(9).lanes == {4: LaneState(begin)}
            journal = queues.journal()
            journal.append(a_turn(q9=told((4, begin, 1))))
            journal.wait(journal.end)
            assert notes.state(9).lanes == {4: LaneState(begin + 1)}


def test_below_a_recovery_point_nothing_is_read_again(store):
    log = journal_of(store.writer(kinds=WITH_NOTES))
    for turn in TURNS:
        log.append(turn)
        log.wait(log.end)
    state = log.recovery_point()
    assert (state.recovery_offset, unread_bytes(log.notes)) == (log.end, 0)
    log._save(log, state)
    log.append(a_turn(q3=told((0, 0, 1))))
    log.wait(log.end)
    store.crash()
    notes = journal_of(store.writer(kinds=WITH_NOTES)).notes
    assert unread_bytes(notes) == 0
    assert notes.queues() == [1, 3]
    assert held(notes, 3) == {}


@pytest.mark.long
def test_a_journal_keeps_few_batches_until_it_is_read(store):
    """However rarely the recovery points of other logs move."""
    log = journal_of(store.writer(kinds=WITH_NOTES))
    scattered = Settled()
    for n in range(20_000):
        scattered.settle(0, 512 * n)
    turn = a_turn(q1=scattered.encode())
    assert turn.size < 1 << 16
    for _ in range(3 * JOURNAL_RECOVERY_BYTES // turn.size):
        log.append(turn)
        log.wait(log.end)
        assert unread_bytes(log.notes) < JOURNAL_RECOVERY_BYTES + turn.size
    assert log.state.recovery_offset > 2 * log.end // 3 - 2


def test_what_was_not_synced_is_in_no_recovery_point(store):
    log = journal_of(store.writer(kinds=WITH_NOTES))
    log.append(a_turn(q1=told((0, 1, 1))))
    log.wait(log.end)
    log.append(a_turn(q1=told((0, 0, 1))))  # not waited for
    log.recovery_point()
    assert held(loaded(log.note), 1) == {0: 1}
    assert held(log.notes, 1) == {}


def test_what_was_frozen_is_what_was_known_then():
    notes = loaded(b"", TURNS[0])
    first = notes.freeze()
    assert notes.freeze() is first
    notes.appended(TURNS[1], 2)
    assert notes.freeze() is not first
    assert held(loaded(first()), 1) == {0: 0b11111}


def test_frozen_twice_and_read_the_other_way_round_it_is_the_newer_one():
    """Both are synced by then, and replay of what is known already changes nothing."""
    notes = loaded(b"", TURNS[0])
    first = notes.freeze()
    notes.appended(TURNS[1], 2)
    second = notes.freeze()
    notes.appended(TURNS[2], 3)
    newer = second()
    assert first() == newer
    again = loaded(first(), *TURNS)
    assert again.freeze()() == notes.freeze()()


# In each turn some of the queues that are there settle something, or go.
queue_turns = st.lists(
    st.dictionaries(
        st.integers(0, 3),
        st.none() | st.tuples(st.integers(0, 2), st.integers(0, 600), st.integers(1, 300)),
        min_size=1,
        max_size=3,
    ),
    max_size=10,
)


@given(queue_turns, st.data())
@settings(max_examples=50)
def test_a_note_anywhere_and_turns_told_from_anywhere_before_give_the_same(given, data):
    gone, turns = set(), []
    for turn in given:
        values = {
            f"q{queue}": told(gone=True) if lane is None else told(lane)
            for queue, lane in turn.items()
            if queue not in gone
        }
        gone |= {queue for queue, lane in turn.items() if lane is None}
        turns += [a_turn(**values)] if values else []
    whole = loaded(b"", *turns)
    at = data.draw(st.integers(0, len(turns)))
    begin = data.draw(st.integers(0, at))
    again = loaded(loaded(b"", *turns[:at]).freeze()(), *turns[begin:])
    queues = [queue for queue in range(4) if whole.state(queue) is not None]
    assert gone.isdisjoint(queues)
    assert sorted(again.queues()) == queues
    for queue in queues:
        assert again.state(queue) == whole.state(queue)


def test_only_queues_that_were_touched_are_encoded_anew(monkeypatch):
    value = told((0, 1, 1))
    notes = loaded(b"", a_turn(**{f"q{n}": value for n in range(1000)}))
    notes.freeze()()
    encoded = []
    real = module.QueueState.encode
    monkeypatch.setattr(module.QueueState, "encode", lambda it: encoded.append(it) or real(it))
    notes.appended(a_turn(q7=told((0, 0, 1))), 0)
    notes.freeze()()
    assert len(encoded) == 1
    notes.freeze()()
    assert len(encoded) == 1


def test_an_append_does_not_wait_for_a_recovery_point_that_is_being_made(monkeypatch):
    entered, go = threading.Event(), threading.Event()
    real = module.apply

    def slow(*given):
        entered.set()
        assert go.wait(storage_kit.DEADLINE_S)
        return real(*given)

    notes = loaded(b"", TURNS[0])
    monkeypatch.setattr(module, "apply", slow)
    finish = storage_kit.in_background(notes.freeze())
    assert entered.wait(storage_kit.DEADLINE_S)
    notes.appended(TURNS[1], 2)
    later = notes.freeze()
    go.set()
    assert held(loaded(finish()), 1) == {0: 0b11111}
    assert held(loaded(later()), 1) == {0: 0b11000}


def test_ten_thousand_queues_that_settled_in_order_are_a_small_note():
    notes = loaded(b"", a_turn(**{f"q{n}": told((0, 0, 10**6)) for n in range(10_000)}))
    assert len(notes.freeze()()) < 16 * 10_000


def test_the_number_of_a_queue_is_its_key():
    for number in (0, 127, 128, 2**40):
        assert queue_of(queue_key(number)) == number
    with pytest.raises(CorruptStore, match="too long"):
        queue_of(queue_key(5) + b"\0")


@pytest.mark.parametrize(
    ("note", "error", "told_"),
    [
        (b"\3", SchemaTooNew, "has format 3, known is 2"),
        (b"\1\2Z\5\0", SchemaTooNew, "does not know"),
        (b"\1\2Q\5", CorruptStore, "cut off"),
        (b"\1\2Q\5\1", CorruptStore, "cut off"),
        (b"\1\2Q\5\0\2Q\5\0", CorruptStore, "twice"),
    ],
)
def test_a_note_that_is_not_ours_is_told(note, error, told_):
    with pytest.raises(error, match=told_):
        SettlementNotes().load(note)


@given(st.binary(max_size=60))
def test_garbage_is_a_note_or_told(note):
    notes = SettlementNotes()
    try:
        notes.load(note)
    except (CorruptStore, SchemaTooNew):
        return
    for queue in notes.queues():
        with only_errors_of_ours():
            notes.state(queue)


@contextmanager
def only_errors_of_ours():
    try:
        yield
    except (CorruptStore, SchemaTooNew) as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("key", "value", "error", "told_"),
    [
        (queue_key(5), b"Z\0", SchemaTooNew, "queue 5 in the journal has an operation b'Z'"),
        (b"Z\5", b"anything", SchemaTooNew, "a record with the key b'Z"),
        (queue_key(5), b"S\0", CorruptStore, "queue 5 in the journal is cut off"),
        (queue_key(5), None, CorruptStore, "no key or no value"),
        (None, b"X", CorruptStore, "no key or no value"),
        (b"Q", b"X", CorruptStore, "cut off"),
    ],
)
def test_a_journal_with_what_is_not_known_is_refused_and_stays_as_it_is(
    store, key, value, error, told_
):
    log = journal_of(store.writer(kinds=WITH_NOTES))
    log.append(a_turn(q1=told((0, 0, 1))))
    log.append(encode([(value, key, (), NOW_MS)]))
    log.wait(log.end)
    store.crash()
    directory = store.writer(kinds=WITH_NOTES)
    for _ in range(2):
        with pytest.raises(error, match=told_):
            journal_of(directory)
    store.close()
    assert numbers_of_records(store.segment(topic="journal/settled")) == 2


def numbers_of_records(path):
    return sum(batch.record_count for batch in split(path.read_bytes()) if batch.record_count)


def test_one_queue_whose_state_is_damaged_leaves_the_others_alone():
    note = b"\1" + b"".join(
        packed(2) + queue_key(n) + packed(len(state)) + state
        for n, state in [(1, loaded(b"", TURNS[0]).state(1).encode()), (2, b"\1\0\xff")]
    )
    notes = loaded(note)
    assert held(notes, 1) == {0: 0b11111}
    with pytest.raises(CorruptStore, match="what is kept of queue 2 in the journal is cut off"):
        notes.state(2)


# What is settled, over a topic's partition


def test_over_a_partition_of_a_topic_each_record_is_settled_once(store):
    """Share groups read topics: gaps by trimming, a crash, and redelivery from the journal."""
    directory = store.writer(kinds=WITH_NOTES)
    log, journal = store.log_of(directory, "orders"), journal_of(directory)
    storage_kit.fill(log, 40)
    it, done = Settlement(log.start), []
    read(it, log, journal, done, settle=lambda offset: offset % 3 == 0)
    assert done == list(range(0, 40, 3))
    log.trim(10)
    storage_kit.fill(log, 20, first=40)
    journal.wait(journal.end)
    store.crash()

    directory = store.writer(kinds=WITH_NOTES)
    log, journal = store.log_of(directory, "orders"), journal_of(directory)
    lane = journal.notes.state(1).lanes[0]
    lost = Settled()
    it = reopened(0, lane, log.start, log.end, log.end, lost)
    journal.append(a_turn(q1=lost.encode()))
    assert it.take(2, log.safe) == [Run(10, 2, True)]
    it.release(10, 2)
    read(it, log, journal, done, settle=lambda offset: True)
    assert sorted(done) == [*range(0, 10, 3), *range(10, 60)]
    assert (it.floor, it.out, it.ready(log.end)) == (60, 0, 0)
    assert journal.notes.state(1).lanes[0] == LaneState(60)


def read(it, log, journal, done, settle):
    """Take all there is in steps; settle some, and put the others back at the end."""
    left = []
    while runs := it.take(7, log.safe):
        turn = Settled()
        for run in runs:
            present = storage_kit.numbers(log, run.first)[: run.length]
            assert present == list(range(run.first, run.upto))
            for offset in present:
                if settle(offset):
                    it.settle(offset)
                    turn.settle(0, offset)
                    done.append(offset)
                else:
                    left.append(offset)
        journal.append(a_turn(q1=turn.encode()))
    for offset in left:
        it.release(offset)
