"""What is told of a queue, as bytes and back, against a plain model of its lanes."""

import copy
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logstore.broker.packed import packed
from logstore.broker.queues import state as state_module
from logstore.broker.queues.bits import runs
from logstore.broker.queues.settled import LONG_RUN, Settled, apply, reopened
from logstore.broker.queues.settlement import Purged, Settlement
from logstore.broker.queues.state import LaneState, QueueState
from logstore.errors import CorruptStore, SchemaTooNew


class Plain:
    """A lane: each offset below the cursor that is not settled, with its count."""

    def __init__(self):
        self.cursor = 0
        self.held = {}
        self.removed = set()

    def hold(self, upto):
        self.held |= dict.fromkeys(range(self.cursor, upto), 0)
        self.cursor = max(self.cursor, upto)

    def settle(self, offsets):
        for offset in offsets:
            self.hold(offset + 1)
            self.held.pop(offset, None)

    def remove(self, offsets):
        self.settle(offsets)
        self.removed.update(offsets)

    def failed(self, counted):
        for offset, count in counted.items():
            self.hold(offset + 1)
            if offset in self.held:
                self.held[offset] = count

    def clip(self, end):
        self.held = {offset: n for offset, n in self.held.items() if offset < end}
        self.cursor = min(self.cursor, end)
        self.removed = {offset for offset in self.removed if offset < end}

    def compare(self, lane):
        assert lane.cursor == self.cursor
        held = [first + n for first, count in runs(lane.held) for n in range(count)]
        assert held == sorted(self.held)
        assert lane.unsettled(0, lane.cursor) == len(self.held)
        assert lane.floor == min(self.held, default=lane.cursor)
        assert {offset: lane.counts.of(offset) for offset in held} == self.held
        assert {n for n in range(self.cursor + 3) if n in lane.removed} == self.removed


offsets = st.integers(0, 900)
# One thing that happens to a lane.
happenings = st.one_of(
    st.tuples(st.just("settle"), offsets, st.sampled_from([1, 1, 3, 256, 300, LONG_RUN + 1])),
    st.tuples(st.just("bits"), offsets, st.integers(1, 2**300)),
    st.tuples(
        st.just("failed"), st.dictionaries(offsets, st.integers(1, 9), min_size=1, max_size=5)
    ),
    st.tuples(st.just("cursor"), offsets),
    st.tuples(st.just("purge"), st.dictionaries(st.integers(0, 3), st.integers(1, 2**256 - 1)),
              offsets, st.sampled_from([0, 1, 300])),
)  # fmt: skip
turns = st.lists(
    st.one_of(
        st.lists(st.tuples(st.sampled_from([0, 1, 255]), happenings), max_size=6),
        st.tuples(st.just("clip"), st.sampled_from([0, 1, 255]), offsets),
    ),
    max_size=12,
)


def by_count(counted):
    found = {}
    for offset, count in counted.items():
        those = found.setdefault(count, {})
        those[offset >> 8] = those.get(offset >> 8, 0) | 1 << (offset & 255)
    return found


def tell(settled, lane, happened):
    name, *facts = happened
    if name == "settle":
        settled.settle(lane, *facts)
    elif name == "bits":
        settled.settle_bits(lane, *facts)
    elif name == "failed":
        settled.failed(lane, by_count(*facts))
    elif name == "purge":
        settled.remove(lane, Purged(*facts), 0)
    else:
        settled.given_out(lane, *facts)


def values_of(turns):
    """Each turn's value, and the lanes as they are after it."""
    lanes, values, after = {}, [], []
    for turn in turns:
        settled = Settled()
        if isinstance(turn, tuple):
            _, lane, end = turn
            settled.clip(lane, end)
            lanes.setdefault(lane, Plain()).clip(end)
        else:
            happen(settled, lanes, turn)
        if settled:
            values.append(settled.encode())
            after.append(copy.deepcopy(lanes))
    return values, after


def happen(settled, lanes, turn):
    for lane, happened in turn:
        tell(settled, lane, happened)
        if happened != ("purge", {}, happened[-2], 0):  # of which nothing is told
            lanes.setdefault(lane, Plain())
    # In one turn the order says nothing: what is settled is settled.
    for lane, (name, *facts) in turn:
        if name == "settle":
            lanes[lane].settle(range(facts[0], facts[0] + facts[1]))
        elif name == "bits":
            lanes[lane].settle(
                facts[0] + n for n in range(facts[1].bit_length()) if facts[1] >> n & 1
            )
        elif name == "purge":
            back, first, count = facts
            removed = [offset for start, n in runs(back) for offset in range(start, start + n)]
            removed += range(first, first + count)
            if removed:
                lanes[lane].remove(removed)
    for lane, (name, *facts) in turn:
        if name == "cursor":
            lanes[lane].hold(facts[0])
        elif name == "failed":
            lanes[lane].failed(facts[0])


def replayed(values, state=None):
    state = state or QueueState()
    for value in values:
        assert apply(value, state)
    return state


def same(state, lanes):
    assert state.lanes.keys() == lanes.keys()
    for number, plain in lanes.items():
        plain.compare(state.lanes[number])


@given(turns)
def test_what_is_replayed_is_what_was_told(turns):
    values, after = values_of(turns)
    for count in range(len(values)):
        same(replayed(values[: count + 1]), after[count])


@given(turns, st.integers(0, 12), st.integers(0, 12))
def test_a_snapshot_anywhere_and_replay_from_anywhere_before_it_give_the_same(turns, at, back):
    values, after = values_of(turns)
    at = min(at, len(values))
    whole = replayed(values)
    kept = replayed(values[:at]).encode()
    decoded = QueueState.decode(kept)
    assert decoded.encode() == kept
    again = replayed(values[max(0, at - back) :], decoded)
    assert again == whole
    assert again.encode() == whole.encode()
    if values:
        same(again, after[-1])


@given(turns)
def test_cut_off_between_operations_it_is_a_shorter_history_and_within_one_it_is_told(turns):
    value = b"".join(values_of(turns)[0])
    whole = [n for n in range(len(value) + 1) if applies(value[:n])]
    assert whole[0] == 0
    assert whole[-1] == len(value)
    state = QueueState()
    for begin, end in pairwise(whole):
        assert apply(value[begin:end], state)
    assert state == replayed([value])


def applies(value):
    try:
        return apply(value, QueueState())
    except CorruptStore:
        return False


@given(st.binary(max_size=60) | st.lists(st.sampled_from([
    b"S\0", b"P\1", b"R\0", b"C\0", b"E\0", b"B\0", b"X", packed(0), packed(2), packed(300),
    packed(2**62), packed(2**63 - 1), b"\x20" + bytes(32),
]), max_size=12).map(b"".join))  # fmt: skip
@example(b"C\0" + packed(2**62))
@example(b"P\0" + packed(2**62) + packed(1))
@example(b"P\0\0" + packed(2**62) + b"R\0\1\1\0\0\0" + packed(2**61))
@example(b"S\0\1\0\0\0" + packed(2**62))
def test_garbage_is_told_and_makes_nothing_large(value):
    kept_blocks_max = state_module.KEPT_BLOCKS_MAX
    state_module.KEPT_BLOCKS_MAX = 1000
    state = QueueState()
    try:
        apply(value, state)
    except (CorruptStore, SchemaTooNew) as error:
        assert "\n" not in str(error)  # noqa: PT017
    finally:
        state_module.KEPT_BLOCKS_MAX = kept_blocks_max
    assert sum(len(lane.held) for lane in state.lanes.values()) < 4000


@given(st.binary(max_size=80))
@example(b"\1\0" + packed(2**62) + b"\0\1\0\0\0" + packed(2**61) + b"\0")
def test_garbage_is_a_state_or_told(data):
    try:
        state = QueueState.decode(data)
    except (CorruptStore, SchemaTooNew):
        return
    assert QueueState.decode(state.encode()) == state


@given(turns, st.data())
def test_a_damaged_state_is_told_or_is_one(turns, data):
    kept = bytearray(replayed(values_of(turns)[0]).encode())
    place = data.draw(st.integers(0, len(kept) - 1))
    kept[place] ^= data.draw(st.integers(1, 255))
    try:
        state = QueueState.decode(bytes(kept))
    except (CorruptStore, SchemaTooNew):
        return
    assert QueueState.decode(state.encode()) == state


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cut off"),
        (b"\1\0\0", "cut off"),
        (b"\1\3\0\0\0\2\0\0\0", "lanes out of order"),
        (b"\1\0\x09\1\0\0\0\x09\0", "not below 9"),
        (b"\1\0\x09\1\0\1\2\1\1\1\0\1\3", "a count of what is not held"),
        (b"\1\0\x09\1\0\1\2\2\1\1\0\1\2\1\1\0\1\2", "counts out of order"),
        (b"\1\0\x09\1\0\1\2\2\1\1\0\1\2\2\1\0\1\2", "a count of what is not held"),
        (b"\2\0\x09\0\0\0\1\4\4", "removed an offset that is not below 9"),
    ],
)
def test_what_is_no_state_is_told(data, told):
    with pytest.raises(CorruptStore, match=told):
        QueueState.decode(data, "what is kept of queue 5")


def test_a_state_and_an_operation_of_a_newer_version_are_refused():
    with pytest.raises(SchemaTooNew, match="queue 5 has format 3, known is 2: open the store with"):
        QueueState.decode(b"\3", "queue 5")
    with pytest.raises(SchemaTooNew, match=r"queue 5 has an operation b'Z'"):
        apply(b"C\0\5Z\0", QueueState(), "queue 5")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"XC\0\1", "goes on behind the end"),
        (b"P\0\0\0", "settles 0 offsets"),
        (b"P\0\1" + packed(2**63 - 1), "settles"),
        (b"R\0\0\0", "failure that was none"),
        (b"S", "cut off"),
    ],
)
def test_what_is_no_operation_is_told(value, told):
    with pytest.raises(CorruptStore, match=f"the record .*{told}"):
        apply(value, QueueState(), "the record")


@pytest.mark.parametrize("bits", [0b10101, 0b111])
def test_failures_are_kept_of_what_is_held_alone(bits):
    failed, settled = Settled(), Settled()
    failed.failed(0, {1: {0: bits << 1}})
    settled.settle_bits(0, 1, bits)
    assert not replayed([failed.encode(), settled.encode()]).lanes[0].counts
    assert not replayed([settled.encode(), failed.encode()]).lanes[0].counts
    state = replayed([failed.encode()])
    assert sum(state.lanes[0].counts.of(n) << n for n in range(9)) == bits << 1


def test_long_runs_hold_no_more_than_lies_between_them():
    settled = Settled()
    settled.settle(0, 10**12, 10**9)
    settled.settle(0, 7, 10**12 - 7)
    assert replayed([settled.encode()]).lanes[0] == LaneState(10**12 + 10**9, {0: 0b1111111})


def test_a_queue_that_is_gone_says_nothing_else():
    settled = Settled()
    settled.settle(0, 5, 10)
    settled.gone()
    assert settled.encode() == b"X"
    assert not apply(b"X", QueueState())


def test_a_turn_takes_few_bytes_however_many_were_settled():
    for count in (1, 500, 16_000, 10**9):
        settled = Settled()
        settled.settle(0, 10**10 + 77, count)
        assert len(settled.encode()) < 20
    assert not Settled()


def test_a_purge_of_very_many_is_told_at_once():
    it, settled = Settlement(), Settled()
    it.take(3, 10)
    it.release(1)
    gone = it.purge(2**60)
    settled.settle_set(0, gone.back)
    settled.settle(0, gone.first, gone.length)
    state = replayed([settled.encode()])
    assert state.lanes[0] == LaneState(2**60, {0: 0b101})


def test_what_failed_twice_in_a_turn_has_its_last_count():
    it, settled = Settlement(), Settled()
    it.take(5, 5)
    for upto in (5, 3):
        it.release(0, upto)
        settled.failed(0, it.failures_of({0: (1 << upto) - 1}))
        it.take(5, 5)
    lane = replayed([settled.encode()]).lanes[0]
    assert [lane.counts.of(offset) for offset in range(5)] == [2, 2, 2, 1, 1]
    assert lane.counts.within(lane.held).keys() == {1, 2}


def test_settlements_above_a_lost_end_do_not_meet_what_is_appended_there():
    """A lane lost what was not synced: its settlements must not take what comes in its place."""
    settled, again = Settled(), Settled()
    settled.settle(0, 0, 100)
    state = replayed([settled.encode()])
    it = reopened(0, state.lanes[0], 0, 60, 60, again)
    assert [(run.first, run.length) for run in it.take(99, 70)] == [(60, 10)]
    assert again.encode() == b"E\0" + packed(60)
    state = replayed([again.encode()], state)
    assert not Settlement.restored(state.lanes[0], 70).is_settled(60)


def test_a_lost_start_is_told_and_what_is_whole_is_not_told_of():
    settled = Settled()
    settled.settle(0, 3, 2)
    state = replayed([settled.encode()])
    for start, cursor, held in ((0, 5, {0: 0b111}), (2, 5, {0: 0b100}), (9, 9, {})):
        again, before = Settled(), copy.deepcopy(state)
        it = reopened(0, state.lanes[0], start, 20, 20, again)
        assert (it.cursor, it._held) == (cursor, held)
        assert bool(again) == (start > 0)
        assert replayed([again.encode()], before).lanes[0] == LaneState(cursor, held)


def test_a_log_that_lost_all_begins_where_it_begins():
    settled, again = Settled(), Settled()
    settled.settle(0, 0, 100)
    state = replayed([settled.encode()])
    it = reopened(0, state.lanes[0], 50, 50, 50, again)
    assert (it.cursor, it.floor, it.take(9, 50)) == (50, 50, [])
    assert replayed([again.encode()], state).lanes[0] == LaneState(50)


def test_a_clip_comes_before_all_else_of_its_lane():
    settled = Settled()
    settled.settle(0, 1)
    with pytest.raises(AssertionError):
        settled.clip(0, 5)
