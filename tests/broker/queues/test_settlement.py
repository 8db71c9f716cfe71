"""Settlement against a plain list: each offset is new, out, back or settled."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.broker.queues import settlement as module
from logstore.broker.queues.bits import runs
from logstore.broker.queues.settlement import Run, Settlement
from logstore.broker.queues.state import LaneState

NEW, OUT, BACK, SETTLED = "new", "out", "back", "settled"


def offsets(bits):
    return [first + n for first, count in runs(bits) for n in range(count)]


def taken(found):
    return [(run.first + n, run.redelivered) for run in found for n in range(run.length)]


def runs_of(numbers):
    """Offsets as (first, bits), a group each: neighbours or not, as the data has it."""
    numbers = sorted(numbers)
    while numbers:
        near = [offset for offset in numbers if offset < numbers[0] + 700]
        yield near[0], sum(1 << offset - near[0] for offset in near)
        numbers = numbers[len(near) :]


class SettlementModel(RuleBasedStateMachine):
    @initialize(start=st.integers(0, 600), length=st.integers(0, 50), before=st.integers(0, 700))
    def begin(self, start, length, before):
        self.start, self.before = start, before
        self.end = start + length
        self.what = dict.fromkeys(range(start, self.end), NEW)
        self.counts = {}
        self.it = Settlement(start, before)

    def those(self, *states):
        return [offset for offset, state in self.what.items() if state in states]

    @rule(more=st.sampled_from([1, 5, 256, 300]))
    def append(self, more):
        self.what |= dict.fromkeys(range(self.end, self.end + more), NEW)
        self.end += more

    @rule(n=st.integers(0, 600), below=st.integers(0, 100))
    def take(self, n, below):
        safe = max(self.it.cursor, self.end - below)
        back = sorted(self.those(BACK))[:n]
        new = [offset for offset in sorted(self.those(NEW)) if offset < safe][: n - len(back)]
        expected = [(offset, True) for offset in back]
        expected += [(offset, offset < self.before) for offset in new]
        first = sorted(self.those(BACK)) or [o for o in sorted(self.those(NEW)) if o < safe]
        assert self.it.head(safe) == (first[0] if first else None)
        found = self.it.take(n, safe)
        assert taken(found) == expected
        assert all(
            one.upto != two.first or one.redelivered != two.redelivered
            for one, two in pairwise(found)
        ), "runs that are one"
        self.what |= dict.fromkeys(back + new, OUT)

    @rule(data=st.data(), n=st.integers(0, 600))
    def take_below(self, data, n):
        """Not to the end of what is safe: what is back above stays there."""
        upto = data.draw(st.integers(self.start, self.end))
        ready = sorted(it for it in self.those(BACK, NEW) if it < upto)[:n]
        found = [offset for offset, _ in taken(self.it.take(n, upto))]
        assert found == ready
        self.what |= dict.fromkeys(ready, OUT)

    @rule(data=st.data(), how=st.sampled_from(["one", "run", "bits"]))
    def settle(self, data, how):
        for first, bits in self.some_out(data, how):
            if how == "bits":
                self.it.settle_bits(first, bits)
            else:
                self.it.settle(first, bits.bit_count())
            for offset in [first + n for n in range(bits.bit_length()) if bits >> n & 1]:
                self.what[offset] = SETTLED
                self.counts.pop(offset, None)

    @rule(
        data=st.data(),
        how=st.sampled_from(["one", "run", "bits"]),
        failed=st.booleans(),
        dead_at=st.integers(0, 3),
    )
    def release(self, data, how, failed, dead_at):
        for first, bits in self.some_out(data, how):
            if how == "bits":
                dead = self.it.release_bits(first, bits, failed=failed, dead_at=dead_at)
            else:
                dead = self.it.release(first, bits.bit_count(), failed=failed, dead_at=dead_at)
            died = []
            for offset in [first + n for n in range(bits.bit_length()) if bits >> n & 1]:
                if failed:
                    self.counts[offset] = self.counts.get(offset, 0) + 1
                if failed and dead_at and self.counts[offset] >= dead_at:
                    died.append(offset)
                else:
                    self.what[offset] = BACK
            assert offsets(dead) == died

    def some_out(self, data, how):
        out = self.those(OUT)
        if not out:
            return []
        if how == "bits":
            return list(runs_of(data.draw(st.sets(st.sampled_from(out), max_size=40))))
        first = data.draw(st.sampled_from(out))
        count = 1
        limit = 1 if how == "one" else data.draw(st.integers(1, 600))
        while count < limit and self.what.get(first + count) == OUT:
            count += 1
        return [(first, (1 << count) - 1)]

    @rule(upto=st.integers(0, 300))
    def skip(self, upto):
        upto = min(self.it.cursor + upto, self.end)
        expected = [offset for offset in self.those(NEW) if offset < upto]
        assert self.it.skip(upto) == len(expected)
        self.what |= dict.fromkeys(expected, SETTLED)

    @rule(data=st.data())
    def purge(self, data):
        upto = data.draw(st.integers(self.start, self.end))
        ready = sorted(offset for offset in self.those(NEW, BACK) if offset < upto)
        gone = self.it.purge(upto)
        found = offsets(gone.back) + list(range(gone.first, gone.first + gone.length))
        assert found == ready
        assert gone.total == len(ready)
        for offset in ready:
            self.counts.pop(offset, None)
            self.what[offset] = SETTLED

    @rule(data=st.data(), lost=st.sampled_from([0, 0, 3, 300]), trimmed=st.integers(0, 30))
    def reopen(self, data, lost, trimmed):
        """As after a crash: what was out is back, and the log may have lost its ends."""
        held = self.it._held
        state = LaneState(self.it.cursor, held, self.it._counts.copy())
        self.end = max(self.start, self.end - lost)
        self.start = min(self.start + trimmed, self.end)
        self.before = data.draw(st.integers(0, self.end))
        self.it = Settlement.restored(state, self.end, self.before)
        self.it.purge(self.start)
        assert dict(state.held) == held, "the state is the journal's"
        self.what = {
            offset: SETTLED if offset < self.start else BACK if it == OUT else it
            for offset, it in self.what.items()
            if offset < self.end
        }
        self.counts = {o: n for o, n in self.counts.items() if self.what.get(o) == BACK}

    @invariant()
    def it_is_as_the_list(self):
        if not hasattr(self, "it"):
            return
        out, back, new = self.those(OUT), self.those(BACK), self.those(NEW)
        held = sorted(out + back)
        assert self.it.cursor == min(new, default=self.end)
        assert (self.it.out, self.it.back) == (len(out), len(back))
        assert self.it.ready(self.end) == len(back) + len(new)
        assert self.it.floor == min(held, default=self.it.cursor)
        assert offsets(self.it._held) == held
        assert self.it.blocks == len({offset >> 8 for offset in held})
        for offset in list(self.what)[:: max(1, len(self.what) // 7)]:
            assert self.it.is_settled(offset) == (self.what[offset] == SETTLED)
            assert self.it.failures(offset) == self.counts.get(offset, 0)
        assert {
            offset: count
            for count, those in self.it.failures_of(self.it._held).items()
            for offset in offsets(those)
        } == self.counts


TestSettlementModel = SettlementModel.TestCase
TestSettlementModel.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_requeued_message_goes_back_to_its_own_place():
    it = Settlement()
    assert it.take(3, 5) == [Run(0, 3, False)]
    it.release(1)
    assert it.take(1, 5) == [Run(1, 1, True)]
    assert it.take(1, 5) == [Run(3, 1, False)]
    it.release(0, 3)
    assert it.take(9, 5) == [Run(0, 3, True), Run(4, 1, False)]


def test_what_was_below_the_end_at_a_crash_comes_redelivered_and_what_follows_does_not():
    it = Settlement.restored(LaneState(10, {0: 0b1100000000}), 20, 20)
    assert it.take(99, 30) == [Run(8, 12, True), Run(20, 10, False)]


def test_a_log_that_lost_its_end_gives_what_is_appended_there_as_new():
    it = Settlement.restored(LaneState(1000), 600)
    assert (it.cursor, it.out, it.back) == (600, 0, 0)
    assert not it.is_settled(600)
    assert it.take(2, 602) == [Run(600, 2, False)]


def test_of_what_a_log_lost_nothing_is_left_to_what_is_appended_there():
    before = Settlement()
    before.take(1000, 1000)
    before.release(900)
    before.settle(0, 900)
    held = dict(before._held)
    it = Settlement.restored(LaneState(1000, held, before._counts), 100)
    assert (it.back, it.blocks, it.floor) == (0, 0, 100)
    assert it.take(2000, 1000) == [Run(100, 900, False)]
    assert it.floor == 100
    assert it.failures(900) == 0


def test_a_range_with_gaps_is_settled_like_records_and_a_long_gap_is_passed_over_at_once():
    it = Settlement()
    it.take(100, 2**60)
    it.settle(40, 60)  # no record was found there
    assert it.skip(2**60 - 10) == 2**60 - 110
    assert it.take(100, 2**60) == [Run(2**60 - 10, 10, False)]
    assert it.blocks == 2
    it.settle(0, 40)
    assert it.floor == 2**60 - 10


def test_purge_leaves_what_is_out_and_costs_nothing_for_what_was_never_given_out():
    it = Settlement()
    it.take(10, 2**50)
    it.release(2, 3)
    gone = it.purge(2**50)
    assert (offsets(gone.back), gone.first, gone.length) == ([2, 3, 4], 10, 2**50 - 10)
    assert (it.out, it.back, it.ready(2**50)) == (7, 0, 0)
    assert it.floor == 0


def test_the_third_return_is_the_death_where_two_are_allowed():
    it = Settlement()
    for _ in range(2):
        it.take(2, 2)
        assert it.release(0, 2, dead_at=3) == {}
    it.take(2, 2)
    assert it.release(0, dead_at=3) == {0: 1}
    assert (it.out, it.back, it.failures(0)) == (2, 0, 3)
    it.settle(0)
    assert it.failures(0) == 0
    assert it.release(1, failed=False, dead_at=3) == {}
    assert it.take(9, 2) == [Run(1, 1, True)]


def test_a_lane_of_which_too_much_is_unsettled_gives_out_nothing_new(monkeypatch):
    monkeypatch.setattr(module, "BLOCKS_MAX", 4)
    it = Settlement()
    assert it.take(5000, 5000) == [Run(0, 1024, False)]
    assert it.take(1, 5000) == []
    it.release(100)
    assert it.take(5000, 5000) == [Run(100, 1, True)]
    it.settle(0, 256)
    assert it.take(5000, 5000) == [Run(1024, 256, False)]


def test_only_what_is_out_can_be_settled_or_released():
    it = Settlement()
    it.take(3, 3)
    it.release(1)
    it.settle(2)
    for offset in (1, 2):
        with pytest.raises((AssertionError, KeyError)):
            it.settle(offset)
        with pytest.raises((AssertionError, KeyError)):
            it.release(offset)


def test_a_million_in_a_row_are_few_numbers_and_out_of_order_settling_touches_one_block_each():
    it = Settlement()
    assert it.take(1_000_000, 1_000_000) == [Run(0, 1_000_000, False)]
    assert it.blocks == 3907

    class Counting(dict):
        reads = 0

        def __getitem__(self, key):
            Counting.reads += 1
            return super().__getitem__(key)

        def __iter__(self):
            pytest.fail("goes over all")

        items = values = keys = __iter__

    it._held = Counting(it._held)
    count = 20_000
    for n in range(count):
        it.settle(n * 7919 % 1_000_000)
    assert Counting.reads == count
    assert it.out == 1_000_000 - count


def test_the_floor_steps_over_each_block_once():
    it = Settlement()
    it.take(1_000_000, 1_000_000)
    looked = 0

    class Counting(dict):
        def __contains__(self, key):
            nonlocal looked
            looked += 1
            return super().__contains__(key)

        def __iter__(self):
            pytest.fail("goes over all")

    it._held = Counting(it._held)
    for first in range(0, 1_000_000 - 64, 64):
        it.settle(first, 64)
        assert it.floor == first + 64
    assert looked < 3 * 1_000_000 / 64


def test_going_back_in_any_order_and_out_again_keeps_one_entry_a_block():
    it = Settlement()
    it.take(100_000, 100_000)
    for round_ in range(3):
        for n in range(100_000):
            it.release(n * 7919 % 100_000, failed=round_ == 0)
        assert len(it._back_blocks) == len(it._back) == 391
        assert it.take(200_000, 100_000) == [Run(0, 100_000, True)]
    assert it.failures(99_999) == 1
