"""The window against a list of all that came."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.deduplication import window as module
from logstore.broker.deduplication.ids import ID_BYTES, header_id, id_of
from logstore.broker.deduplication.room import Room
from logstore.broker.deduplication.window import CHUNK, FOREVER, ID_COST, Window
from logstore.errors import CorruptStore


def id_(n):
    return n.to_bytes(ID_BYTES, "big")


STEPS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, 30)), max_size=60)


def came(window, steps):
    """The ids that were taken, each until when, by a list."""
    now, listed = 0, []
    for n, later, length in steps:
        now += later
        known = any(it == n and now < until for it, until in listed)
        assert window.knows(id_(n), now) == known
        if not known:
            window.add(id_(n), now + length, now)
            listed.append((n, now + length))
    return now, listed


@given(STEPS)
def test_an_id_is_known_until_its_time_is_over(steps):
    came(Window(), steps)


@given(STEPS, STEPS)
def test_what_is_loaded_knows_what_was_known_when_it_was_frozen(first, second):
    window = Window()
    now, listed = came(window, first)
    frozen = window.freeze()
    for n, _, length in second:
        if not window.knows(id_(n), now):
            window.add(id_(n), now + length, now)
    again = Window()
    again.load(frozen(), "it")
    for n in range(9):
        assert again.knows(id_(n), now) == any(it == n and now < until for it, until in listed)


@given(st.integers(1, 9), st.lists(st.integers(0, 20), max_size=40))
def test_of_too_many_those_that_came_first_are_forgotten(most, numbers):
    window, listed = Window(most), []
    for n in numbers:
        if n not in listed:
            window.add(id_(n), FOREVER, 0)
            listed = [*listed, n][-most:]
        assert [window.knows(id_(it), 5) for it in range(21)] == [it in listed for it in range(21)]
    assert len(window) == len(listed)


def test_ids_whose_time_is_over_take_no_memory_for_long():
    window = Window()
    for n in range(10 * CHUNK):
        window.add(id_(n), n + 10, n)
    assert len(window) <= 11
    assert len(window._until) <= 11
    assert len(window._chunks) <= 2
    window.expire(FOREVER)
    assert len(window) == 0


def test_one_id_for_ever_at_the_front_does_not_make_others_known_for_longer():
    window = Window()
    window.add(id_(0), FOREVER, 0)
    window.add(id_(1), 5, 0)
    assert window.knows(id_(1), 4)
    assert not window.knows(id_(1), 5)
    window.add(id_(1), 20, 6)
    window.forget(2)  # the first, and what was known of 1 before
    assert window.knows(id_(1), 19)


def test_a_note_that_is_cut_is_refused():
    window = Window()
    window.add(id_(1), 5, 0)
    note = window.freeze()()
    for wrong in (note[:-1], note + b"x", note[:3], b"\0\0\0\2" + note[4:]):
        with pytest.raises(CorruptStore, match=r"^it is cut off, or too long: restore the store"):
            Window().load(wrong, "it")


@pytest.mark.long
def test_what_was_frozen_is_made_into_bytes_while_others_come(monkeypatch):
    """In another thread: neither waits for the other."""
    monkeypatch.setattr(module, "CHUNK", 4)
    window = Window()
    for n in range(50):
        window.add(id_(n), 1000, 0)
    frozen = window.freeze()
    expected = frozen()

    def go_on():
        for n in range(50, 3000):
            window.add(id_(n), 1000, 0)

    thread = threading.Thread(target=go_on)
    thread.start()
    while thread.is_alive():
        assert frozen() == expected
    thread.join()
    assert frozen() == expected


def test_the_window_that_has_most_forgets_when_all_have_too_much():
    room = Room(3 * CHUNK * ID_COST)
    small, large = room.enter(Window()), room.enter(Window())
    for n in range(CHUNK):
        small.add(id_(n), FOREVER, 0)
    room.came(CHUNK)
    for n in range(10 * CHUNK):
        large.add(id_(n), FOREVER, 0)
        room.came(1)
    assert len(small) == CHUNK
    assert len(large) <= 2 * CHUNK
    assert room.bytes <= 3 * CHUNK * ID_COST
    assert room.forgotten == large.forgotten >= 8 * CHUNK
    assert large.knows(id_(10 * CHUNK - 1), 0)


def test_a_window_that_is_gone_takes_no_memory():
    room = Room(2 * CHUNK * ID_COST)
    gone = room.enter(Window())
    for n in range(2 * CHUNK):
        gone.add(id_(n), FOREVER, 0)
    room.came(2 * CHUNK)
    del gone
    here = room.enter(Window())
    for n in range(2 * CHUNK):
        here.add(id_(n), FOREVER, 0)
        room.came(1)
    assert here.forgotten == room.forgotten == 0


@pytest.mark.long
def test_an_id_costs_no_more_than_is_said():
    import tracemalloc

    tracemalloc.start()
    try:
        window, before = Window(), tracemalloc.get_traced_memory()[0]
        for n in range(30_000):  # a dictionary just grown is the worst
            window.add(id_of(b"%d" % n), n + (1 << 40), 0)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 30_000 <= ID_COST


def test_the_last_header_of_a_name_is_the_id():
    headers = (("id", b"1"), ("other", b"3"), ("id", b"2"))
    assert header_id(headers, "id") == id_of(b"2")
    assert header_id(headers, "none") is None
    assert header_id((("id", None),), "id") is None
    assert header_id((("id", b""),), "id") == id_of(b"")
