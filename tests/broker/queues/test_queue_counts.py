from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.queues.counts import Counts

masks = st.integers(1, 2**256 - 1) | st.integers(1, 15)
blocks = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), blocks, masks),
        st.tuples(st.just("clear"), blocks, masks),
        st.tuples(st.just("put"), blocks, masks, st.integers(1, 40)),
    ),
    max_size=40,
)


def offsets(block, mask):
    return [(block << 8) + bit for bit in range(256) if mask >> bit & 1]


@given(steps, masks, st.integers(1, 40))
def test_counters_by_the_block_are_counters(steps, mask, bound):
    counts, expected = Counts(), Counter()
    for name, block, which, *count in steps:
        getattr(counts, name)(block, which, *count)
        for offset in offsets(block, which):
            expected[offset] = {"add": expected[offset] + 1, "clear": 0}.get(name) or sum(count)
    assert bool(counts) == any(expected.values())
    for block in range(3):
        for offset in range(block << 8, block + 1 << 8):
            assert counts.of(offset) == expected[offset]
        assert offsets(block, counts.at_least(block, mask, bound)) == [
            offset for offset in offsets(block, mask) if expected[offset] >= bound
        ]
    asked = dict.fromkeys(range(3), mask)
    found = {
        offset: count
        for count, those in counts.within(asked).items()
        for block, which in those.items()
        for offset in offsets(block, which)
    }
    wanted = [offset for block in range(3) for offset in offsets(block, mask)]
    assert found == {offset: expected[offset] for offset in wanted if expected[offset]}
    counts.keep({1: mask})
    for offset in range(768):
        assert counts.of(offset) == (expected[offset] if offset in offsets(1, mask) else 0)


def test_a_copy_is_apart():
    counts = Counts()
    counts.add(0, 7)
    copied = counts.copy()
    assert copied == counts
    counts.add(0, 1)
    counts.clear(0, 6)
    assert [copied.of(offset) for offset in range(3)] == [1, 1, 1]
    assert [counts.of(offset) for offset in range(3)] == [2, 0, 0]


def test_a_million_that_failed_five_times_are_three_numbers_a_block():
    counts = Counts()
    for _ in range(5):
        for block in range(1_000_000 >> 8):
            counts.add(block, 2**256 - 1)
    assert counts.blocks == 3906
    assert {len(planes) for planes in counts._planes.values()} == {3}
    assert counts.of(999_000) == 5
