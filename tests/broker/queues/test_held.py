"""Held transactions as records of the journal, and what the notes beside it know of them."""

from contextlib import suppress
from dataclasses import replace

import pytest
import storage_kit
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.packed import packed
from logstore.broker.queues import held
from logstore.broker.queues.held import (
    NUMBER_MAX,
    PARTITION_MAX,
    Body,
    Place,
    decode,
    encode,
    first_of,
    held_key,
    number_of,
    producer_of,
)
from logstore.broker.queues.journal import SettlementNotes, queue_key
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.unfinished import Unfinished
from logstore.errors import CorruptStore, SchemaTooNew
from logstore.kept.queues import Lane
from logstore.records.decode import decode as records_of
from logstore.records.encode import Columns, encode_columns
from logstore.records.encode import encode as batch_of
from logstore.storage.kinds import JOURNAL, KINDS

WITH_NOTES = {**KINDS, "journal": replace(JOURNAL, notes=SettlementNotes)}

numbers = st.one_of(st.integers(1, 5), st.integers(1, NUMBER_MAX - 10))
lanes = st.lists(
    st.builds(Lane, st.integers(0, 2**62), st.integers(0, 255)), min_size=1, max_size=4
)

places = st.builds(
    Place, st.binary(min_size=16, max_size=16), st.integers(0, PARTITION_MAX)
).map(lambda it: [it])  # fmt: skip


def body(number, *to, values=(b"x",)):
    columns = Columns(list(values), [b""] * len(values), [()] * len(values), [NOW_MS] * len(values))
    where = to[0] if isinstance(to[0], Place) else tuple(to)
    return Body(where, encode_columns(columns, producer=producer_of(number)))


@st.composite
def transactions(draw):
    first = draw(numbers)
    values = st.lists(st.binary(max_size=40), min_size=1, max_size=3)
    found = draw(st.lists(st.tuples(st.one_of(lanes, places), values), min_size=1, max_size=4))
    return first, [body(first + n, *to, values=those) for n, (to, those) in enumerate(found)]


def plain(bodies):
    return [(it.to, bytes(it.batch.data)) for it in bodies]


@given(transactions())
def test_what_is_decoded_is_what_was_encoded(transaction):
    first, bodies = transaction
    assert plain(decode(encode(bodies), first)) == plain(bodies)
    assert first_of(held_key(first)) == first
    assert [number_of(it.batch) for it in bodies] == [first + n for n in range(len(bodies))]


@given(transactions(), st.data())
def test_what_is_cut_off_or_changed_is_refused_and_nothing_else_is_raised(transaction, data):
    first, bodies = transaction
    value = encode(bodies)
    cut = data.draw(st.integers(0, len(value) - 1))
    with suppress(CorruptStore):
        assert len(decode(value[:cut], first)) < len(bodies)
    at, byte = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(0, 255))
    with suppress(CorruptStore, SchemaTooNew):
        decode(value[:at] + bytes((byte,)) + value[at + 1 :], first)


@given(st.binary(max_size=200), numbers)
def test_garbage_is_refused_in_words(value, first):
    with pytest.raises((CorruptStore, SchemaTooNew), match=f"transaction {first}"):
        decode(value, first)  # no batch begins so


@pytest.mark.parametrize("key", [b"H", b"H\0", b"H\x01\x01", b"H" + packed(NUMBER_MAX + 1)])
def test_a_key_without_a_number_of_a_body_is_refused(key):
    with pytest.raises(CorruptStore):
        first_of(key)


def test_a_body_with_the_number_of_another_is_refused():
    with pytest.raises(CorruptStore, match="number 8"):
        decode(encode([body(7, Lane(1, 0)), body(9, Lane(1, 0))]), 7)
    with pytest.raises(CorruptStore, match="brings nothing"):
        decode(b"", 7)


def test_a_body_for_no_partition_that_there_can_be_is_refused():
    with pytest.raises(CorruptStore, match="partition 2147483648"):
        decode(encode([body(7, Place(bytes(16), PARTITION_MAX + 1))]), 7)


def test_no_client_has_the_producer_id_of_bodies():
    from logstore.broker.producer_ids import CHECK_BITS, ProducerIds

    ids = ProducerIds(b"secret", (1 << CHECK_BITS) - 1, 1 << 60)
    assert not ids.knows(held.PRODUCER, 0)
    assert ids.make(0) > held.PRODUCER


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (held_key(1), b"Z"),
        (held_key(1), encode([body(1, Lane(1, 0))]) + b"O"),
        (b"Z" + packed(1), b""),
    ],
)
def test_a_journal_with_an_operation_that_is_not_known_is_not_opened(tmp_path, key, value):
    """What is skipped could be what a commit is whole with."""
    opened = storage_kit.Opened(tmp_path / "store")
    writer = opened.writer(kinds=KINDS)  # it reads no notes
    log = writer.log("settled", writer.create("journal", "settled", 1, {}), 0)
    log.append(batch_of([(value, key, (), NOW_MS)]))
    log.wait(log.end)
    opened.crash()
    writer = opened.writer(kinds=WITH_NOTES)
    [entry] = [it for _, it in writer.entries() if it.kind == "journal"]
    with pytest.raises(SchemaTooNew, match="open the store with the one that wrote it"):
        writer.log("settled", entry, 0)
    opened.close_all()


# What the notes know


def record(first, count):
    """Of the journal: a transaction with so many bodies."""
    bodies = [body(first + n, Lane(5, 0)) for n in range(count)]
    return encode(bodies), held_key(first), (), NOW_MS


def settled_record(queue):
    told = Settled()
    told.settle(0, 0, queue)
    return told.encode(), queue_key(queue), (), NOW_MS


@st.composite
def histories(draw):
    """Batches of the journal; after each, which transactions are finished then."""
    batches, open_, first = [], [], 1
    for _ in range(draw(st.integers(1, 6))):
        records = [settled_record(draw(st.integers(1, 3)))]
        for _ in range(draw(st.integers(0, 3))):
            count = draw(st.integers(1, 3))
            records.append(record(first, count))
            open_.append(first)
            first += count
        finished = draw(st.lists(st.sampled_from(open_), unique=True)) if open_ else []
        open_ = [it for it in open_ if it not in finished]
        batches.append((batch_of(draw(st.permutations(records))), finished))
    return batches


def known(notes):
    return notes.next_number, notes.unfinished(), [notes.state(it) for it in notes.queues()]


def opened(note, batches, begin):
    """Notes of the next process: the batches from there on are replayed."""
    notes, offset = SettlementNotes(), 0
    notes.load(note)
    for n, (batch, _) in enumerate(batches):
        if n >= begin:
            notes.appended(batch.with_base_offset(offset), offset)
        offset += batch.record_count
    notes.freeze()
    return notes


@given(histories(), st.data())
def test_two_replays_give_the_same_state_and_nothing_unfinished_is_forgotten(batches, data):
    notes, offset, expected = opened(b"", [], 0), 0, {}
    snapshots = [(0, b"")]
    for n, (batch, finished) in enumerate(batches, 1):
        notes.appended(batch, offset)
        for it in records_of(batch):
            if it.key[:1] == b"H":
                expected[first_of(it.key)] = offset + it.offset
        offset += batch.record_count
        if data.draw(st.booleans()):  # a recovery point, before it is told what is finished
            snapshots.append((n, notes.freeze()()))
        for first in finished:
            notes.finished(first)
            del expected[first]
        if data.draw(st.booleans()):
            snapshots.append((n, notes.freeze()()))
    assert dict(notes.unfinished()) == expected
    assert notes.needed_from(10**9) == min([10**9, *expected.values()])
    begin, note = data.draw(st.sampled_from(snapshots))
    for start in {begin, data.draw(st.integers(0, begin))}:  # perhaps from further below
        one, other = opened(note, batches, start), opened(note, batches, start)
        assert known(one) == known(other)
        assert one.next_number == notes.next_number
        assert expected.items() <= dict(one.unfinished()).items()
        assert [one.state(it) for it in (1, 2, 3)] == [notes.state(it) for it in (1, 2, 3)]
        again = opened(one.freeze()(), batches, len(batches))
        assert known(again) == known(one)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=8))
def test_what_is_not_finished_is_kept_as_bytes(steps):
    it, first, offset = Unfinished(), 1, 0
    for count, gap in steps:
        offset += gap
        it.add(first, count, offset)
        first += count
    for number, _ in it.items()[::2]:
        it.finish(number)
    again = Unfinished.decode(it.encode())
    assert (again.items(), again.next_number) == (it.items(), first)


@given(st.binary(max_size=20))
def test_damaged_bytes_of_what_is_not_finished_are_told(kept):
    told = ""
    try:
        Unfinished.decode(kept)
    except CorruptStore as error:
        told = str(error)
    assert not told or "transactions beside the journal" in told


def test_a_journal_without_transactions_is_kept_as_before():
    notes = opened(b"", [(batch_of([settled_record(1)]), [])], 0)
    assert b"H" not in notes.freeze()()
    assert notes.next_number == held.FIRST


# What a lane knows


@given(st.lists(st.one_of(st.just(0), numbers), max_size=6), st.integers(0, 6))
def test_a_lane_knows_the_last_body_that_it_took_also_when_told_again(taken, begin):
    batches = [
        body(it, Lane(1, 0)).batch if it else batch_of([(b"x", b"", (), NOW_MS)])
        for it in sorted(taken)
    ]
    notes = LaneNotes()
    notes.load(b"")
    frozen = [b""]
    for n, batch in enumerate(batches):
        notes.appended(batch, n)
        frozen.append(notes.freeze()())
    assert notes.last == max(taken, default=0)
    for upto, note in enumerate(frozen):
        again = LaneNotes()
        again.load(note)
        for n, batch in enumerate(batches):
            if n >= min(begin, upto):
                again.appended(batch, n)
        assert again.last == notes.last


def test_a_damaged_note_of_a_lane_is_told():
    with pytest.raises(CorruptStore, match="beside a lane"):
        LaneNotes().load(b"\x80")
