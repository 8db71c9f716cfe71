"""A stretch of a partition in memory, against a list."""

from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

from logstore.cluster.tail import Tail
from logstore.log import Aborted
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.encode import encode


def stretch(sizes, at=0):
    found = []
    for size in sizes:
        found.append(encode([(b"x" * 20, None, (), NOW_MS)] * size).with_base_offset(at))
        at += size
    return found


@given(
    st.lists(st.integers(1, 4), max_size=30), st.integers(100, 2000), st.integers(0, 200),
    st.integers(1, 600), st.integers(0, 200), st.integers(1, 5),
)  # fmt: skip
def test_what_is_read_is_what_was_added(sizes, bytes_max, at, read_max, below, pieces):
    batches = stretch(sizes, 50)
    tail = Tail(bytes_max, 50)
    for number in range(0, len(batches), pieces):
        # As brokers do, with what is here already.
        tail.add(batches[max(0, number - 1) : number + pieces])
    kept = [it for it in batches if it.base_offset >= tail.start]
    assert tail.end == (batches[-1].next_offset if batches else 50)
    assert tail.bytes == sum(it.size for it in kept)
    assert tail.bytes <= bytes_max or len(kept) <= 1
    assert kept or tail.start == tail.end
    expected = []
    if tail.start <= at < tail.end:
        for it in kept:
            if it.next_offset <= at:
                continue
            if it.next_offset > below or (expected and read_max < it.size):
                break
            expected.append(it)
            read_max -= it.size
    found = tail.read(at, read_max if not expected else read_max + sum(it.size for it in expected),
                      below)  # fmt: skip
    assert list(found) == expected


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["write", ABORT, COMMIT])), max_size=60),
    st.integers(1, 60), st.integers(0, 2),
)  # fmt: skip
def test_transactions_that_were_aborted_are_known_by_their_markers(steps, pieces, again):
    """Several of one producer come in one answer, and some of them twice."""
    batches, begun, aborted = [], {}, []
    for producer, step in [*steps, *((it, ABORT) for it in (1, 2, 3))]:
        at = len(batches)
        if step == "write":
            begun.setdefault(producer, at)
            batches += stretch([1], at)
        elif producer in begun:
            first = begun.pop(producer)
            batches.append(marker(step, producer, 0, NOW_MS).with_base_offset(at))
            if step == ABORT:
                aborted.append(Aborted(producer, first, at, at + 1))
    tail = Tail(1 << 20)
    for at in range(0, len(batches), pieces):
        begins, ends = max(0, at - again), at + pieces
        told = sorted((it.first, it.producer_id) for it in aborted
                      if it.first < ends and it.last >= begins)  # fmt: skip
        tail.add(batches[begins:ends], [(producer, first) for first, producer in told])
    assert tail.aborted(0, len(batches)) == aborted
    assert tail._begun == {}
