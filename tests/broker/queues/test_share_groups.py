"""What the journal has of share groups: the same however it is replayed."""

from contextlib import suppress

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st
from transaction_parts import OTHER_TOPIC, TOPIC

from logstore.broker.queues.journal import SettlementNotes, queue_key
from logstore.broker.queues.settled import LONG_RUN, Settled
from logstore.broker.queues.share_groups import (
    FORMAT,
    JournaledShares,
    Place,
    begun,
    clipped,
    decode_state,
    gone,
    place_of,
    share_key,
)
from logstore.broker.queues.state import LaneState
from logstore.errors import CorruptStore, SchemaTooNew
from logstore.records.encode import encode

PLACE = Place("g", TOPIC, 0)
FAR = 1 << 50  # above anything that one partition holds unsettled


def settling(*ranges, failed=None):
    settled = Settled()
    for first, count in ranges:
        settled.settle(0, first, count)
    if failed is not None:
        settled.failed(0, {failed[1]: {failed[0] >> 8: 1 << (failed[0] & 255)}})
    return settled.encode()


def told(*records):
    it = JournaledShares()
    for at, (place, value) in enumerate(records):
        it.apply(share_key(place), value, at)
    return it


def known(it):
    return {place: decode_state(kept, place) for place, kept in it.partitions()}


def test_a_group_begins_where_it_is_told():
    assert known(told((PLACE, begun(0)))) == {PLACE: LaneState(0)}
    assert known(told((PLACE, begun(7)))) == {PLACE: LaneState(7)}
    far = known(told((PLACE, begun(FAR))))[PLACE]
    assert (far.floor, far.held) == (FAR, {})


def test_what_is_settled_and_what_has_failed():
    state = known(told((PLACE, begun(5)), (PLACE, settling((5, 1), (7, 2), failed=(6, 3)))))[PLACE]
    assert (state.cursor, state.held, state.counts.of(6), state.floor) == (9, {0: 1 << 6}, 3, 6)


def test_what_is_settled_behind_the_end_of_a_log_is_forgotten():
    state = known(told((PLACE, begun(0)), (PLACE, settling((1, 9))), (PLACE, clipped(3))))[PLACE]
    assert (state.cursor, state.held) == (3, {0: 1})


def test_it_may_begin_again_far_below():
    """Whatever of the time before is told again: it would make no sense there."""
    records = [
        (PLACE, begun(FAR)),
        (PLACE, settling((FAR, 3))),
        (PLACE, gone()),
        (PLACE, begun(2)),
        (PLACE, settling((2, 1))),
    ]
    whole = told(*records)
    assert known(whole) == {PLACE: LaneState(3)}
    again = JournaledShares.decode(whole.encode())
    for at, (place, value) in enumerate(records):
        again.apply(share_key(place), value, at)
    assert known(again) == known(whole)


def test_all_of_a_topic_or_a_group_may_go():
    other = Place("g", OTHER_TOPIC, 3)
    third = Place("h", TOPIC, 1)
    begin = [(it, begun(1)) for it in (PLACE, PLACE._replace(partition=9), other, third)]
    assert set(known(told(*begin, (Place("g", TOPIC), gone())))) == {other, third}
    assert set(known(told(*begin, (Place("g"), gone())))) == {third}
    assert not known(told(*begin, (Place("g"), gone()), (Place("h", TOPIC, 1), gone())))


GROUPS = st.sampled_from(["g", "grüße", "h" * 200])
PLACES = st.builds(Place, GROUPS, st.sampled_from([TOPIC, OTHER_TOPIC]), st.integers(0, 2))
RANGES = st.lists(st.tuples(st.integers(0, 700), st.integers(1, LONG_RUN + 5)), max_size=3)
RECORDS = st.lists(
    st.one_of(
        st.tuples(PLACES, st.builds(begun, st.sampled_from([0, 3, 300, FAR]))),
        st.tuples(
            PLACES, RANGES.filter(bool).map(lambda it: settling(*it, failed=(it[0][0] + 1, 2)))
        ),
        st.tuples(PLACES, st.just(gone())),
        st.tuples(PLACES.map(lambda it: it._replace(partition=None)), st.just(gone())),
        st.tuples(GROUPS.map(Place), st.just(gone())),
    ),
    max_size=12,
)


@given(PLACES, st.sampled_from([1, 2, 3]))
def test_a_key_says_whose_it_is(place, parts):
    place = Place(*place[:parts])
    assert place_of(share_key(place)) == place


@given(RECORDS, st.data())
def test_replay_comes_to_the_same_from_wherever_it_begins(records, data):
    live = told(*records)
    saved_at = data.draw(st.integers(0, len(records)))
    begins_at = data.draw(st.integers(0, saved_at))
    again = JournaledShares.decode(told(*records[:saved_at]).encode())
    for at, (place, value) in enumerate(records):
        if at >= begins_at:
            again.apply(share_key(place), value, at)
    assert known(again) == known(live)
    assert again.encode() == live.encode()
    assert JournaledShares.decode(live.encode()).encode() == live.encode()


@given(RECORDS, st.data())
def test_notes_of_the_journal_keep_it(records, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))
    notes = SettlementNotes()
    notes.freeze()
    for begin, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        if begin < end:
            rows = [(value, share_key(place), (), NOW_MS) for place, value in records[begin:end]]
            notes.appended(encode(rows), begin)
    live = told(*records)
    assert known(notes.shares()) == known(live)
    again = SettlementNotes()
    again.load(notes.freeze()())
    again.freeze()
    assert known(again.shares()) == known(live)
    assert again.freeze()() == notes.freeze()()


def test_a_store_without_share_groups_opens_as_before():
    notes = SettlementNotes()
    notes.appended(encode([(settling((0, 3)), queue_key(1), (), NOW_MS)]), 0)
    note = notes.freeze()()
    again = SettlementNotes()
    again.load(note)
    again.freeze()
    assert not again.shares()
    assert again.freeze()() == note
    assert b"G" not in note


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        (PLACE, b"", CorruptStore),
        (PLACE, b"Z\x00", SchemaTooNew),
        (PLACE, b"P\x01\x00\x01", CorruptStore),  # another lane than a partition has
        (PLACE, b"X\x00", CorruptStore),
        (Place("g", TOPIC), b"P\x00\x00\x01", CorruptStore),
        (Place("g"), b"P\x00\x00\x01", CorruptStore),
        (PLACE, b"R\x00\x00\x01\x00\x01\x00", CorruptStore),
    ],
)
def test_what_makes_no_sense_is_refused(place, value, error):
    with pytest.raises(error) as caught:
        told((place, value))
    assert "\n" not in str(caught.value)


def test_a_newer_format_is_refused():
    kept = told((PLACE, begun(1))).encode()
    with pytest.raises(SchemaTooNew, match=f"format {FORMAT + 1}, known is {FORMAT}"):
        JournaledShares.decode(bytes((FORMAT + 1,)) + kept[1:])


@given(RECORDS, st.data())
def test_damaged_bytes_give_one_line_or_a_state(records, data):
    """Of a key, a value, and the note."""
    one = data.draw(st.sampled_from(records or [(PLACE, begun(3))]))
    whole = [share_key(one[0]), one[1], told(*records, (PLACE, begun(1))).encode()]
    number = data.draw(st.integers(0, 2))
    raw = bytearray(whole[number])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    message = ""
    try:
        it = _read([*whole[:number], bytes(raw), *whole[number + 1 :]], noted=number == 2)
    except (CorruptStore, SchemaTooNew) as error:
        message = str(error)
    else:
        assert JournaledShares.decode(it.encode()).encode() == it.encode()
    assert "\n" not in message


def _read(whole, *, noted):
    key, value, note = whole
    if not noted:
        it = JournaledShares()
        it.apply(key, value, 0)
        return it
    it = JournaledShares.decode(note)
    for place, kept in it.partitions():
        with suppress(CorruptStore, SchemaTooNew):
            decode_state(kept, place)
    return it
