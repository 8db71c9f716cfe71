"""Ids with their places, against a list of all that came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.deduplication.ids import ID_BYTES
from logstore.broker.deduplication.present import NONE, Mark, Placed, Present
from logstore.broker.deduplication.window import CHUNK
from logstore.errors import CorruptStore


def id_(n):
    return n.to_bytes(ID_BYTES, "big")


def mark(n, time_ms=5):
    return Mark(None if n is None else id_(n), time_ms, NONE)


BATCHES = st.lists(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=4), max_size=20
)


@given(BATCHES, st.sets(st.integers(0, 60)), st.integers(0, 20))
def test_the_last_place_of_each_id_that_counts(batches, done, frozen_after):
    present, places, offset = Present(), {}, 0
    counts = lambda placed: placed.offset not in done  # noqa: E731
    frozen, frozen_places = present.freeze(), {}
    for number, batch in enumerate(batches):
        present.add([mark(n, offset) for n in batch], offset, counts)
        for place, n in enumerate(batch, offset):
            if n is not None:
                places[n] = Placed(place, offset, NONE)
        offset += len(batch)
        if number == frozen_after:
            frozen, frozen_places = present.freeze(), dict(places)
    for n in range(10):
        found, expected = present.find(id_(n)), places.get(n)
        assert found == expected or (found is None and expected.offset in done)
    again = Present()
    again.load(frozen(), "it")
    for n, expected in frozen_places.items():
        # What has come again since is not in it: that stands in the log, and is read from there.
        if places[n] == expected and expected.offset not in done:
            assert again.find(id_(n)) == expected
    assert all(again.find(id_(n)) is None for n in range(10) if n not in frozen_places)


@pytest.mark.long
def test_what_does_not_count_any_more_takes_no_memory_for_long():
    present, settled = Present(), 0
    for offset in range(20 * CHUNK):
        present.add([mark(offset)], offset, lambda placed, below=settled: placed.offset >= below)
        settled = offset - 100
    assert len(present) <= 2000
    assert len(present._chunks) <= 4


@pytest.mark.long
def test_one_that_counts_for_ever_at_the_front_keeps_no_others():
    present = Present()
    for offset in range(20 * CHUNK):
        present.add([mark(offset)], offset, lambda placed, now=offset: placed.offset in (0, now))
    assert present.find(id_(0)).offset == 0
    assert len(present) <= 2000


def test_an_append_looks_at_few_others():
    """However many there are: others wait in the same turn."""
    present = Present()
    present.add([mark(n) for n in range(5000)], 0, lambda placed: True)
    looked = []
    for offset in range(5000, 5100):
        present.add([mark(offset)], offset, lambda placed: looked.append(placed) or True)
    assert len(looked) <= 200


def test_of_too_many_those_that_came_first_are_forgotten():
    present = Present(3)
    present.add([mark(n) for n in range(5)], 0, lambda placed: True)
    assert [present.find(id_(n)) is not None for n in range(5)] == [False, False, True, True, True]
    assert present.forgotten == 2


def test_what_is_known_is_not_added_again():
    """A log tells at opening of batches that its note may have already."""
    present = Present()
    present.add([mark(1), mark(2)], 0, lambda placed: True)
    again = Present()
    again.load(present.freeze()(), "it")
    assert again.add([mark(1), mark(2), mark(3)], 0, lambda placed: True) == 1
    assert [again.find(id_(n)).offset for n in (1, 2, 3)] == [0, 1, 2]


def test_a_note_that_is_cut_is_refused():
    present = Present()
    present.add([mark(1)], 0, lambda placed: True)
    note = present.freeze()()
    for wrong in (note[:-1], note + b"x", note[:3]):
        with pytest.raises(CorruptStore, match=r"^it is cut off, or too long: restore the store"):
            Present().load(wrong, "it")


@pytest.mark.long
def test_what_counts_for_ever_here_and_there_keeps_no_places_of_others():
    """So neither memory nor a round over all goes by what has come, but by what counts."""
    present, each, now = Present(), 512, [0]
    counts = lambda placed: placed.offset % each == 0 or placed.offset >= now[0]  # noqa: E731
    for offset in range(200 * CHUNK):
        now[0] = offset
        present.add([mark(offset)], offset, counts)
    there = 200 * CHUNK // each
    assert all(present.find(id_(n)).offset == n for n in range(0, 200 * CHUNK, each))
    assert len(present) <= there + 2 * CHUNK
    assert sum(len(it.offsets) for it in present._chunks.values()) <= 2 * there + 3 * CHUNK
    present.forget(3)
    assert [present.find(id_(n * each)) is None for n in range(4)] == [True, True, True, False]
    again = Present()
    again.load(present.freeze()(), "it")
    assert all(again.find(id_(n)) == present.find(id_(n)) for n in range(0, 200 * CHUNK, each))


def test_a_snapshot_has_nothing_that_came_later_where_places_were_packed_since():
    """The log may lose that at a power cut, and what is sent again would be no repeat."""
    present = Present()
    present.add([mark(n) for n in range(CHUNK - 1)], 0, lambda placed: True)
    frozen = present.freeze()
    present.add([mark(CHUNK - 1), mark(CHUNK)], CHUNK - 1, lambda placed: True)
    present.forget(CHUNK - 5)
    again = Present()
    again.load(frozen(), "it")
    assert [again.find(id_(n)) is not None for n in range(CHUNK - 6, CHUNK + 1)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip
