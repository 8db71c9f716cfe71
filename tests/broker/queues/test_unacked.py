"""A channel's deliveries against a dict from tag to message."""

import random
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.broker.queues import unacked as module
from logstore.broker.queues.unacked import PAGE_TAGS, Delivered, Unacked


def messages(groups):
    return [
        (group.queue, group.lane, group.first + n, group.consumer)
        for group in groups
        for n in range(group.bits.bit_length())
        if group.bits >> n & 1
    ]


class UnackedModel(RuleBasedStateMachine):
    @initialize(passed=st.sampled_from([0, 1000, 5000]))
    def begin(self, passed):
        self.it = Unacked()
        self.next = self.it.pass_over(passed) + passed
        self.known = {}  # tag -> message

    @rule(
        queue=st.sampled_from("ab"),
        lane=st.integers(0, 1),
        first=st.integers(0, 30),
        count=st.sampled_from([0, 1, 1, 1, 2, 7, 500, 1500]),
        consumer=st.sampled_from("xy"),
        stride=st.sampled_from([1, 1, 2, 5, 300]),
    )
    def deliver(self, queue, lane, first, count, consumer, stride):
        assert self.it.next_tag == self.next
        assert self.it.add(queue, lane, first, count, consumer, stride) == self.next
        for n in range(count):
            self.known[self.next + n] = (queue, lane, first + n * stride, consumer)
        self.next += count

    @rule(offsets=st.lists(st.integers(1, 100), max_size=8), apart=st.booleans())
    def deliver_one_by_one(self, offsets, apart):
        for n, offset in enumerate(sorted(offsets)):
            queue = "ab"[n % 2] if apart else "a"
            tag = self.it.add(queue, 0, offset, 1, "x")
            self.known[tag] = (queue, 0, offset, "x")
            self.next = tag + 1

    @rule(count=st.sampled_from([1, 2, 1100]))
    def deliver_without_acks(self, count):
        assert self.it.pass_over(count) == self.next
        self.next += count

    def some_tag(self, data):
        if self.known and data.draw(st.booleans()):
            return data.draw(st.sampled_from(list(self.known)))
        return data.draw(st.integers(1, self.next + 5))

    @rule(data=st.data(), count=st.integers(1, 30))
    def ack(self, data, count):
        for _ in range(count):
            tag = self.some_tag(data)
            assert (tag in self.it) == (tag in self.known)
            found = self.it.ack(tag)
            if tag in self.known:
                assert messages([found]) == [self.known.pop(tag)]
                assert found.size == 1
            else:
                assert found is None

    @rule(data=st.data(), count=st.sampled_from([1, 5, 3000]))
    def take_between(self, data, count):
        first = self.some_tag(data)
        groups = self.it.take_between(first, first + count - 1)
        gone = sorted(tag for tag in self.known if first <= tag < first + count)
        assert messages(groups) == [self.known.pop(tag) for tag in gone]

    @rule(data=st.data())
    def ack_upto(self, data):
        tag = self.some_tag(data)
        groups = self.it.ack_upto(tag)
        if tag not in self.known:
            assert groups is None
            return
        self.expect(groups, [known for known in self.known if known <= tag])

    @rule()
    def ack_all(self):
        self.expect(self.it.ack_upto(0), list(self.known))

    @rule(consumer=st.sampled_from("xyz"))
    def end_of_a_consumer(self, consumer):
        those = [tag for tag, message in self.known.items() if message[3] == consumer]
        self.expect(self.it.drain_consumer(consumer), those)

    @rule(data=st.data(), count=st.sampled_from([1, 2, 8, 1500]))
    def places(self, data, count):
        first = self.some_tag(data)
        found = self.it.places(first, first + count - 1)
        those = [self.known.get(tag) for tag in range(first, first + count)]
        if found is not None:
            consumers = [None if it is None else it[3] for it in those]
            assert [
                (queue, lane, offset + n) for queue, lane, offset, length in found
                for n in range(length)
            ] == [it[:3] for it in those if it is not None]  # fmt: skip
            assert None not in consumers
        elif None not in those:
            steps = [b[2] - a[2] for a, b in pairwise(those)]
            assert any(it != 1 for it in steps)

    @rule()
    def drain(self):
        self.expect(self.it.drain(), list(self.known))

    def expect(self, groups, tags):
        assert messages(groups) == [self.known.pop(tag) for tag in sorted(tags)]
        assert all(group.bits & 1 for group in groups)

    @invariant()
    def counts_agree(self):
        if not hasattr(self, "it"):
            return
        assert len(self.it) == len(self.known)
        for consumer in "xyz":
            mine = [it for it in self.known.values() if it[3] == consumer]
            assert self.it.of(consumer) == len(mine)
            tags = [tag for tag, it in self.known.items() if it[3] == consumer]
            assert self.it.oldest(consumer) == min(tags, default=None)
        pages = {tag // PAGE_TAGS for tag in self.known}
        assert set(self.it._pages) == pages
        for number, page in self.it._pages.items():
            left = [page.bits & run.mask(number << 10) for run in page.runs]
            assert page.done == left.count(0)
            assert 2 * page.done <= len(page.runs)


TestUnackedModel = pytest.mark.long(UnackedModel.TestCase)
TestUnackedModel.settings = settings(max_examples=30, stateful_step_count=30)


def test_a_tag_is_acked_once():
    it = Unacked()
    assert it.add("q", 3, 100, 5, "c") == 1
    assert it.ack(2) == Delivered("q", 3, 101, 1, "c")
    assert it.ack(2) is None
    assert it.ack(0) is None
    assert it.ack(6) is None
    assert it.ack(2**63) is None
    assert it.ack_upto(2) is None
    assert it.ack_upto(3) == [Delivered("q", 3, 100, 0b101, "c")]
    assert it.of("c") == len(it) == 2


def test_where_deliveries_are_is_told_by_runs():
    it = Unacked()
    it.add("q", 3, 100, 5, "c")
    it.add("r", 0, 7, 2, "d")
    assert it.places(2, 6) == [("q", 3, 101, 4), ("r", 0, 7, 1)]
    assert it.places(6, 8) is None  # nobody has 8
    assert it.places(9, 9) is None
    it.ack(4)
    assert it.places(2, 6) is None
    assert it.places(2, 3) == [("q", 3, 101, 2)]
    it.add("q", 3, 200, 2, "c", 5)
    assert it.places(8, 9) is None  # not in a row
    assert it.places(9, 9) == [("q", 3, 205, 1)]
    assert len(it) == 8


def test_deliveries_across_a_page_are_told_where_they_are():
    it = Unacked()
    it.pass_over(PAGE_TAGS - 3)
    first = it.add("q", 0, 50, 6, "c")
    found = it.places(first, first + 5)
    assert sum(count for *_, count in found) == 6
    assert [offset for _, _, offset, _ in found] == [50, 52]
    assert it.places(first - 1, first) is None
    assert it.places(1, 1) is None


def test_all_of_nothing_is_no_error():
    assert Unacked().ack_upto(0) == []


def test_one_by_one_and_in_turn_are_runs():
    it = Unacked()
    for offset in range(0, 2000, 2):
        it.add("q", 0, offset, 1, "c")
    assert [len(page.runs) for page in it._pages.values()] == [1]
    assert it.drain() == [Delivered("q", 0, 0, sum(1 << 2 * n for n in range(1000)), "c")]


def test_a_run_of_which_nothing_was_left_goes_on():
    it = Unacked()
    for queue, offset in [("a", 0), ("b", 0), ("a", 1)]:
        it.add(queue, 0, offset, 1, "c")
    it.ack(3)
    it.add("a", 0, 2, 1, "c")
    (page,) = it._pages.values()
    assert (len(page.runs), page.done) == (3, 0)
    assert [it.ack(tag) for tag in (3, 4)] == [None, Delivered("a", 0, 2, 1, "c")]


def test_what_lies_far_apart_is_not_one_long_number():
    it = Unacked()
    it.add("q", 0, 0, 1, "c")
    it.add("q", 0, 10**12, 1, "c")
    assert [group.bits for group in it.drain()] == [1, 1]


class Counting(dict):
    """Refuses what goes over all of it."""

    reads = 0

    def __getitem__(self, key):
        Counting.reads += 1
        return super().__getitem__(key)

    def __iter__(self):
        pytest.fail("goes over all")

    items = values = keys = __iter__


@pytest.mark.parametrize("batch", [500, 1])
@pytest.mark.long
def test_a_million_unacked_are_few_runs_and_acked_at_random_without_going_over_them(batch):
    it = Unacked()
    count = 1_000_000 if batch > 1 else 200_000
    for first in range(0, count, batch):
        it.add(f"q{first // batch % 2}", 0, first, batch, "c")
    assert len(it._pages) == count // PAGE_TAGS + 1
    assert sum(len(page.runs) for page in it._pages.values()) <= count // batch + len(it._pages)
    it._pages, Counting.reads = Counting(it._pages), 0
    tags = random.Random(5).sample(range(1, count + 1), 20_000)
    assert all(it.ack(tag) is not None for tag in tags)
    assert Counting.reads == len(tags)
    assert len(it) == count - 20_000


def test_runs_that_are_done_are_forgotten_a_page_at_a_time(monkeypatch):
    """One message of each page is never acked: its neighbours leave nothing."""
    it = Unacked()
    for n in range(5 * PAGE_TAGS):
        it.add("ab"[n % 2], 0, n, 1, "c")
    for tag in range(1, 5 * PAGE_TAGS + 1):
        if tag % PAGE_TAGS != 7:
            it.ack(tag)
    assert [len(page.runs) for page in it._pages.values()] == [1] * 5


def test_acks_up_to_a_tag_look_at_the_runs_they_take():
    class Steps(dict):
        count = 0

        def __contains__(self, key):
            Steps.count += 1
            return super().__contains__(key)

    looked = 0
    real = module._left

    def counting(*given):
        nonlocal looked
        looked += 1
        return real(*given)

    it = Unacked()
    for n in range(20 * PAGE_TAGS):
        it.add("ab"[n % 2], 0, n, 1, "c")
    module._left = counting
    it._pages = Steps(it._pages)
    try:
        for tag in range(1, 20 * PAGE_TAGS + 1):
            assert len(it.ack_upto(tag)) == 1
    finally:
        module._left = real
    assert looked < 4 * 20 * PAGE_TAGS
    assert Steps.count < 2 * 20 * PAGE_TAGS


def test_a_range_of_tags_is_taken_out_whole_or_not_at_all():
    unacked = Unacked()
    unacked.add("q", 0, 0, 3000, "c")
    assert unacked.ack_range(10, 10) == [unacked_of(10, 1)]
    assert unacked.ack_range(5, 15) is None
    assert unacked.ack_range(2999, 3001) is None
    assert unacked.ack_range(0, 3) is None
    assert len(unacked) == 2999
    found = unacked.ack_range(1000, 2100)
    assert sum(it.size for it in found) == 1101
    assert [it.first for it in found] == [999, 1023, 2047]
    assert unacked.ack_range(1000, 2100) is None
    assert len(unacked) == 2999 - 1101


def test_all_up_to_a_tag_are_taken_out_though_it_is_not_unacked_itself():
    unacked = Unacked()
    unacked.add("q", 0, 0, 10, "c")
    unacked.ack(5)
    assert unacked.ack_upto(5) is None
    assert sum(it.size for it in unacked.take_upto(5)) == 4
    assert unacked.take_upto(5) == []
    assert len(unacked) == 5


def unacked_of(tag, size):
    return Delivered("q", 0, tag - 1, (1 << size) - 1, "c")
