"""Cursors over a log: each consumer gets every record once, in order, whatever others do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_log import MemoryLog

from logstore.broker.queues.streams import pages as module
from logstore.broker.queues.streams.pages import (
    EMPTY_MAX,
    OPENING_MAX,
    PAGES_BYTES,
    RECORD_BYTES,
    Cursor,
    Pages,
)
from logstore.broker.reading import TURN_PART_BYTES, TURN_RECORDS, Chunk
from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.encode import encode

MANY = 1 << 30


def filled(*batches, name="s-0"):
    """A log with a batch for each number, of so many records."""
    log, n = MemoryLog(name), 0
    for size in batches:
        log.append(encode([(b"%d" % (n + it), None, (), 5) for it in range(size)]))
        n += size
    return log


def no_skip(damage):
    raise AssertionError(damage)


def values(cursor, log, pages, most=MANY, bytes_max=MANY):
    return [int(it.value) for it in cursor.take(log, pages, most, bytes_max, no_skip)]


def test_a_cursor_goes_through_a_log():
    log, pages, cursor = filled(3, 1, 4), Pages(), Cursor(2)
    assert values(cursor, log, pages, most=3) == [2, 3, 4]
    assert cursor.at == 5
    assert values(cursor, log, pages) == [5, 6, 7]
    assert values(cursor, log, pages) == []
    log.append(encode([(b"8", None, (), 5)]))
    assert values(cursor, log, pages) == [8]


def test_what_is_not_there_yet_is_waited_for():
    log, pages, cursor = filled(2), Pages(), Cursor(3)
    assert values(cursor, log, pages) == []
    log.append(encode([(b"2", None, (), 5)]))
    assert values(cursor, log, pages) == []
    log.append(encode([(b"3", None, (), 5)]))
    assert values(cursor, log, pages) == [3]


def test_what_is_gone_is_passed_over():
    log, pages, cursor = filled(2, 2, 2), Pages(), Cursor(0)
    assert values(cursor, log, pages, most=1) == [0]
    pages.forget(log)
    log.trim(4)
    assert values(cursor, log, pages) == [4, 5]


def test_what_is_gone_is_passed_over_also_where_it_is_kept():
    log, pages, cursor, other = filled(2, 2, 2), Pages(), Cursor(0), Cursor(0)
    assert values(cursor, log, pages, most=1) == [0]
    assert values(other, log, pages, most=1) == [0]
    log.trim(4)
    assert values(cursor, log, pages) == [4, 5]
    assert values(other, log, pages, most=1) == [4]


def test_bytes_are_bounded_beside_the_first_record():
    log, pages, cursor = MemoryLog("s-0"), Pages(), Cursor(0)
    log.append(encode([(b"x" * 100, None, (), 5) for _ in range(5)]))
    taken = [len(cursor.take(log, pages, MANY, room, no_skip)) for room in (10, 250, 1000)]
    assert taken == [1, 2, 2]


def test_consumers_at_one_place_share_what_was_read(monkeypatch):
    read, log, pages = [], filled(500), Pages()
    real = module.chunks

    def counted(log, place, at, skip, **kw):
        read.append(at)
        return real(log, place, at, skip, **kw)

    monkeypatch.setattr(module, "chunks", counted)
    cursors = [Cursor(0) for _ in range(50)]
    for most in (7, 100, MANY):
        for cursor in cursors:
            assert len(values(cursor, log, pages, most)) == min(most, 393)
    assert read == [0]


def test_pages_are_bounded():
    pages = Pages(bytes_max=20 * RECORD_BYTES)
    logs = [filled(5, name=f"s{n}-0") for n in range(10)]
    cursors = [Cursor(0) for _ in logs]
    for _ in range(5):  # what was dropped is read again
        for n, log in enumerate(logs):
            cursors[n].take(log, pages, 1, MANY, no_skip)
    assert pages._bytes <= 20 * RECORD_BYTES
    assert [it.at for it in cursors] == [5] * 10
    for log in logs:
        pages.forget(log)
    assert len(pages) == 0
    assert pages._bytes == 0


def test_damage_is_told_of_and_passed_over():
    log, told = filled(2, 2, 2), []
    data = bytes(log._batches[1].data)
    log._batches[1] = Batch(data[:-1] + bytes((data[-1] ^ 1,)))
    cursor, pages = Cursor(0), Pages()
    found = []
    while more := cursor.take(log, pages, MANY, MANY, told.append):
        found += [int(it.value) for it in more]
    assert found == [0, 1, 4, 5]
    assert len(told) == 1
    assert isinstance(told[0], CorruptBatch)


@pytest.mark.parametrize("codec", [Compression.ZSTD, Compression.GZIP])
def test_a_batch_that_is_much_once_it_is_decompressed_comes_by_pages(codec):
    log, pages = MemoryLog("s-0"), Pages()
    log.append(
        encode([(b"%07d" % n + b"x" * 999, None, (), 5) for n in range(4000)], compression=codec)
    )
    log.append(encode([(b"%07d" % 4000, None, (), 5)]))
    slow, quick = Cursor(0), Cursor(0)
    first = slow.take(log, pages, 1, MANY, no_skip)
    sizes, seen = [], []
    while more := quick.take(log, pages, MANY, MANY, no_skip):
        sizes.append(len(more))
        seen += [int(it.value[:7]) for it in more]
    assert seen == list(range(4001))
    assert max(sizes) < 2500
    seen = [int(it.value[:7]) for it in first]
    while more := slow.take(log, pages, 333, MANY, no_skip):
        seen += [int(it.value[:7]) for it in more]
    assert seen == list(range(4001))


def test_a_cursor_stops_after_some_pages_without_records(monkeypatch):
    log, pages, cursor = filled(1, *[1] * 100), Pages(), Cursor(0)

    def empty(log, place, at, skip, **kw):
        yield Chunk([], at, at + 1, more=False)

    monkeypatch.setattr(module, "chunks", empty)
    assert cursor.take(log, pages, MANY, MANY, no_skip) == []
    assert cursor.stopped
    assert 0 < cursor.at <= EMPTY_MAX


def bomb(count=10_000):
    """One batch of so many records, each as small as they may be with its number."""
    log = MemoryLog("s-0")
    sent = [(b"%d" % n, None, (), 5) for n in range(count)]
    log.append(encode(sent, compression=Compression.ZSTD))
    return log


def taken(cursor, log, pages):
    """All there is, and how many records were decoded for each take."""
    found, work = [], []
    while True:
        before = pages.decoded
        found += values(cursor, log, pages)
        work.append(pages.decoded - before)
        if not cursor.stopped:
            return found, work


@pytest.mark.parametrize("begin", [0, 3, 9990])
def test_a_batch_of_many_tiny_records_is_decoded_a_part_at_a_time(begin):
    """100,000 in a batch of 100 KB kept the loop for 757 ms; wherever a consumer began in it."""
    log, pages = bomb(), Pages()
    found, work = taken(Cursor(begin), log, pages)
    assert found == list(range(begin, 10_000))
    assert max(work) <= TURN_RECORDS + TURN_PART_BYTES // 7
    assert len(work) >= 5
    assert not pages._opening


def test_cursors_that_begin_within_a_batch_wait_for_the_first():
    log, pages = bomb(), Pages()
    cursors = [Cursor(9000) for _ in range(20)]
    assert [values(it, log, pages) for it in cursors] == [[]] * 20
    assert all(it.stopped for it in cursors)
    assert pages.decoded == TURN_RECORDS
    assert [taken(it, log, pages)[0] for it in cursors] == [list(range(9000, 10_000))] * 20
    assert pages.decoded <= 10_000 + 20 * TURN_RECORDS


def test_few_cursors_have_a_batch_open_at_once():
    log, pages = bomb(), Pages()
    cursors = [Cursor(9000 + n) for n in range(20)]
    for it in cursors:
        values(it, log, pages)
    assert len(pages._opening) == OPENING_MAX
    for it in cursors[:OPENING_MAX]:
        pages.let_go(it)  # it has no room, or is gone
    assert taken(cursors[-1], log, pages)[0] == list(range(9019, 10_000))
    pages.forget(log)
    assert not pages._opening


def test_what_pages_hold_beside_their_records_is_bounded_too():
    """One page of each of 20 batches, of a megabyte that is decompressed and not decoded yet."""
    pages = Pages()
    logs = [filled(name=f"s{n}-0") for n in range(20)]
    for log in logs:
        sent = [(b"%097d" % n, None, (), 5) for n in range(5000)]
        log.append(encode(sent, compression=Compression.ZSTD))
        Cursor(0).take(log, pages, 1, MANY, no_skip)
    held = sum(page.held for page, _ in pages._kept.values())
    assert len(pages) < 10
    assert 1 << 20 < held <= PAGES_BYTES
    pages.forget(logs[-1])
    found, work = taken(Cursor(0), logs[-1], pages)
    assert found == list(range(5000))
    assert sum(work) == 5000  # none twice
    assert sum(page.held for page, _ in pages._kept.values()) < held
    assert pages._bytes <= PAGES_BYTES


@given(
    st.lists(st.integers(1, 5), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=60),
    st.integers(1, 30),
)
def test_each_consumer_has_every_record_once(batches, takes, room):
    log, pages = filled(*batches), Pages(bytes_max=room * RECORD_BYTES)
    begins = [0, 0, 3, 7]
    cursors, seen = [Cursor(it) for it in begins], [[] for _ in begins]
    for n, most in [*takes, *((n, MANY) for _ in range(30) for n in range(4))]:
        seen[n] += values(cursors[n], log, pages, most)
    for begin, its in zip(begins, seen, strict=True):
        assert its == list(range(begin, sum(batches)))
