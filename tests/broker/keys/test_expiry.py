"""Which keys are due: all of them, none too early, a part at a time, and in bounded memory."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.keys.expiry import SPARE, STEP, TICK, Expiry
from logstore.broker.keys.keyspace import TRIES, Keyspace
from logstore.broker.keys.levels import Levels


def due(expiry, now_ms, deadlines):
    """All that is due, as whoever calls it removes it."""
    found = []
    for _ in range(100_000):
        keys, more = expiry.step(now_ms)
        found += [key for key in keys if deadlines.pop(key, None) is not None]
        if not more:
            return found
    raise AssertionError("it never ended")


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3 << 22) | st.none()), max_size=60),
    st.lists(st.integers(0, 1 << 22), max_size=20),
)
def test_all_that_is_due_is_found_and_nothing_else(steps, moves):
    deadlines, now = {}, 0
    expiry = Expiry(deadlines)
    for number, deadline in steps:
        key = b"%d" % number
        if deadline is None:
            deadlines.pop(key, None)
        else:
            deadlines[key] = deadline
            expiry.add(key, deadline)
    for move in moves:
        now += move
        before = dict(deadlines)
        found = due(expiry, now, deadlines)
        assert all(before[key] < now for key in found)
        assert all(deadline >= now - (1 << TICK) for deadline in deadlines.values())
        when = expiry.due_ms()
        assert when is None or not deadlines or when <= min(deadlines.values()) + (1 << TICK)
    left = sorted(deadlines)
    assert sorted(due(expiry, 1 << 40, deadlines)) == left
    assert len(expiry) == 0
    assert expiry.due_ms() is None


def test_a_crowd_of_one_second_goes_a_part_at_a_time():
    deadlines = {}
    expiry = Expiry(deadlines)
    for number in range(20 * STEP):
        deadlines[b"%d" % number] = 10_000_000
        expiry.add(b"%d" % number, 10_000_000)
    steps = []
    while deadlines:
        keys, _ = expiry.step(10_001_000)
        steps.append(len(keys))
        for key in keys:
            del deadlines[key]
    assert max(steps) <= STEP
    assert len(steps) <= 2 * 20 + 2


def test_a_key_that_is_dated_anew_again_and_again_takes_no_more_memory():
    deadlines = {}
    expiry = Expiry(deadlines)
    for number in range(200_000):
        deadlines[b"session"] = 10_000_000 + number
        expiry.add(b"session", 10_000_000 + number)
        assert len(expiry) <= 2 * SPARE
    assert due(expiry, 20_000_000, deadlines) == [b"session"]


def test_entries_that_are_added_while_it_is_swept_stay():
    deadlines = {}
    expiry = Expiry(deadlines)
    for number in range(3 * SPARE):
        expiry.add(b"gone%d" % number, 9_000_000)
    added = []
    for number in range(6000):
        key = b"new%d" % number
        deadlines[key] = 9_000_000
        expiry.add(key, 9_000_000)
        added.append(key)
    assert sorted(due(expiry, 10_000_000, deadlines)) == sorted(added)


def test_to_find_any_key_among_very_many_that_have_just_expired_is_bounded():
    now_ms = [0]
    space = Keyspace(0, lambda: now_ms[0], Levels(), lambda _: None)
    for number in range(5 * TRIES):
        space.put(b"%d" % number, b"x", 1000)
    now_ms[0] = 1001
    assert space.any_key(Random(7)) is None
    assert len(space) >= 4 * TRIES
    space.put(b"alive", b"x")
    while len(space) > 1:
        found = space.any_key(Random(len(space)))
        assert found in (None, b"alive")
        space.tick()
        now_ms[0] += 1 << TICK
    assert space.any_key(Random(7)) == b"alive"
