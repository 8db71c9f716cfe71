"""Packet identifiers against a dict from them to their deliveries."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.mqtt.packet_ids import NO_DELIVERY, PID_MAX, PacketIds

tags = st.dictionaries(st.integers(1, 12), st.integers(1, 15), max_size=12)


def known_of(those):
    it = PacketIds()
    for pid, tag in those.items():
        it.put(pid, tag)
    return it


def test_they_go_round_and_skip_what_is_in_use():
    it = PacketIds(PID_MAX - 2)
    it.put(1, 70)
    it.put(PID_MAX - 1, 71)
    assert [it.take(tag) for tag in (80, 81)] == [PID_MAX, 2]


@given(
    st.sets(st.integers(1, 12) | st.integers(PID_MAX - 5, PID_MAX), max_size=9),
    st.sets(st.integers(1, 12), max_size=3),
    st.integers(0, 9) | st.integers(PID_MAX - 9, PID_MAX - 1),
    st.integers(1, 9),
)
def test_many_are_taken_as_one_by_one(used, reserved, last, count):
    alone, together = PacketIds(last), PacketIds(last)
    for it in (alone, together):
        for pid in used:
            it.put(pid, pid)
        it._last = last
        it.reserved |= reserved
    assert list(together.take_all(100, count)) == [alone.take(100 + n) for n in range(count)]
    assert list(together.items()) == list(alone.items())
    assert together.take(200) == alone.take(200)


@given(tags, st.lists(st.integers(1, 13), max_size=9))
def test_deliveries_are_told_by_rows(those, asked):
    rows = [
        (pid + n, tag + n)
        for pid, tag, count in known_of(those).in_a_row(asked)
        for n in range(count)
    ]
    assert rows == [(pid, those[pid]) for pid in asked if pid in those]


def test_a_row_is_one():
    it = known_of({pid: pid + 100 for pid in range(5, 60)})
    it.keep(60)
    assert list(it.in_a_row([*range(7, 60)])) == [(7, 107, 53)]
    assert list(it.in_a_row([4, 5])) == [(5, 105, 1)]
    assert (60, NO_DELIVERY) in it.items()


@given(tags, st.lists(st.integers(1, 13), max_size=9))
def test_what_is_freed_is_told_by_ranges_of_deliveries(those, asked):
    it = known_of(those)
    ranges, unknown = it.free_all(asked)
    freed = [tag for first, last in ranges for tag in range(first, last + 1)]
    there = dict(those)
    assert freed == [there.pop(pid) for pid in asked if pid in there]
    assert unknown == len(asked) - len(freed)
    assert dict(it.items()) == there
