"""Searches: all that matches, once each, whatever the parts; what they say of where they are."""

import pytest
from broker_parts import memory_topic
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st
from memory_log import MemoryLog

from logstore.broker import search as searching
from logstore.broker.looking import HeaderLookedFor, LookedFor
from logstore.broker.search import Search, cursor, parsed_cursor
from logstore.errors import CorruptBatch, Failed, Refused
from logstore.records.record import Message

ALL = LookedFor()


def filled(rows, partitions, compression="producer", batch=3):
    """A topic with these: (partition, value, milliseconds after the beginning)."""
    topic = memory_topic(partitions, compression_type=compression)
    for number in range(partitions):
        messages = [
            Message(value, b"k%d" % (after % 3), (("h", b"v"),) * (after % 2), NOW_MS + after)
            for partition, value, after in rows if partition == number
        ]  # fmt: skip
        for at in range(0, len(messages), batch):
            topic.append_many(messages[at : at + batch], number)
    return topic


def begun(topic, looked_for=ALL, limit=10**6, positions=None, *, back=False, partitions=None):
    asked = positions or {}
    place = {"begin": lambda log, n: log.start, "end": lambda log, n: log.safe}
    place["end" if back else "begin"] = lambda log, n: asked.get(n, log.safe if back else log.start)
    numbers = range(len(topic.partitions)) if partitions is None else partitions

    def show(record):
        return record.timestamp_ms, record.value

    return Search(topic, numbers, looked_for, show, limit, back=back, **place)


def all_of(search, steps=None):
    """What it finds; with ``steps`` in steps of one part each."""
    found = []
    while not search.over:
        found += search.step(lambda: steps is None)
    return found


def places(hits):
    return [(hit.partition, hit.offset) for hit in hits]


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([b"a", b"ab", b"b", b""]), st.integers(0, 40)),
    max_size=60,
)


@given(
    ROWS, st.sampled_from([ALL, LookedFor(text=b"a"), LookedFor(key=b"k1")]), st.integers(1, 7),
    st.booleans(), st.sampled_from([1, 5, 4096]), st.sampled_from(["producer", "gzip"]),
    st.booleans(),
)  # fmt: skip
def test_everything_is_found_once_however_often_it_is_gone_on_with(
    rows, looked_for, limit, back, held_max, compression, one_step
):
    topic = filled(rows, 4, compression)
    expected = {
        (record.partition, record.offset)
        for log in topic.partitions
        for batch in (log.read(0, 1 << 20) if log.end else [])
        for record in searching.of_batches(log, ("t", int(log.name[2:])), [batch], 0).__next__()[0]
        if looked_for.matches(record)
    }
    found, positions, more = [], None, True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "HELD_MAX", held_max)
        while more:
            search = begun(topic, looked_for, limit, positions, back=back)
            hits = search.step(lambda: False) if one_step else all_of(search, steps=1)
            while one_step and not search.opened:
                hits += search.step(lambda: False)
            hits += search.step(lambda: False) if one_step else []
            while search.halfway:
                hits += search.step(lambda: False)
            hits += search.rest()
            assert len(hits) <= limit
            found += hits
            text = cursor(search.positions(), back=back)
            positions, backward = parsed_cursor(text)
            assert backward == back
            more = search.more
            if not more:
                assert search.share == 1
    assert len(found) == len(expected)
    assert set(places(found)) == expected
    for number in range(4):
        offsets = [it.offset for it in found if it.partition == number]
        assert offsets == sorted(offsets, reverse=back)


@pytest.mark.long
@pytest.mark.parametrize("back", [False, True])
def test_a_batch_of_very_many_records_is_looked_at_in_parts(back, monkeypatch):
    """And decoded once, however often the search is left in its middle."""
    messages = [Message(b"v%d" % at * 500, timestamp_ms=NOW_MS) for at in range(5000)]
    topic = memory_topic(compression_type="gzip", max_message_bytes=str(1 << 26))
    topic.append_many(messages)
    topic.append_many([Message(b"last", timestamp_ms=NOW_MS)])
    search = begun(topic, LookedFor(text=b"v4999"), back=back)
    steps, hits = 0, []
    while not search.over:
        steps += 1
        hits += search.step(lambda: False)
    assert [it.offset for it in hits] == [4999]
    assert steps > 5
    assert search.counts.records == 5001


@pytest.mark.parametrize("back", [False, True])
def test_hits_of_several_partitions_come_in_the_order_of_time(back):
    rows = [(at % 4, b"v", at) for at in range(200)]
    hits = all_of(begun(filled(rows, 4), back=back))
    times = [it.row[0] for it in hits]
    assert times == sorted(times, reverse=back)
    assert len(times) == 200


def test_the_newest_are_found_without_reading_the_rest():
    topic = filled([(0, b"x" * 1000, at) for at in range(5000)], 1, batch=10)
    search = begun(topic, limit=20, back=True)
    assert [it.offset for it in all_of(search)] == list(range(4999, 4979, -1))
    assert search.counts.records <= 100
    assert search.positions() == {0: 4980}
    assert search.newest == {0: 5000}


def test_a_rare_text_is_found_from_behind_in_few_reads():
    topic = filled(
        [(0, b"needle" if at == 7 else b"hay", at) for at in range(20_000)], 1, batch=500
    )
    reads = []
    log = topic.partitions[0]
    read = log.read
    log.read = lambda at, most: reads.append(at) or read(at, most)
    hits = all_of(begun(topic, LookedFor(text=b"needle"), back=True))
    assert places(hits) == [(0, 7)]
    assert len(reads) < 60


def test_one_large_batch_is_decoded_once_from_behind():
    topic = filled([(0, b"v", at) for at in range(3000)], 1, "zstd", batch=3000)
    search = begun(topic, limit=3000, back=True)
    assert len(all_of(search)) == 3000
    assert search.counts.records == 3000


@pytest.mark.parametrize(
    ("looked_for", "offsets"),
    [
        (LookedFor(key=b"k2"), [2]),
        (LookedFor(text=b"TWO"), []),
        (LookedFor(text=b"two"), [2]),
        (LookedFor(text=b"k"), [1, 2, 3]),  # in keys
        (LookedFor(text=b"other"), [3]),  # in the value of a header
        (LookedFor(header=HeaderLookedFor("h")), [1, 3]),
        (LookedFor(header=HeaderLookedFor("h", b"one")), [1]),
        (LookedFor(header=HeaderLookedFor("one")), []),
        (LookedFor(key=b"k1", text=b"one", header=HeaderLookedFor("h")), [1]),
        (LookedFor(key=b"k1", text=b"two"), []),
        (LookedFor(key=b""), []),
        (LookedFor(text=b""), [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("codec", ["producer", "snappy", "lz4", "zstd"])
def test_what_is_looked_for(looked_for, offsets, codec):
    topic = memory_topic(compression_type=codec)
    topic.append_many([
        Message(None),
        Message(b"value one", b"k1", (("h", b"one"),)),
        Message(b"value two", b"k2"),
        Message(b"", b"k3", (("h", b"other"), ("g", None))),
    ])  # fmt: skip
    assert [it.offset for it in all_of(begun(topic, looked_for))] == offsets


class Broken(MemoryLog):
    """One whose batch at offset 3 does not decode."""

    def append(self, batch):
        offset = super().append(batch)
        if offset == 3:
            data = bytearray(self._batches[-1].data)
            data[-1] ^= 1
            self._batches[-1] = type(batch)(bytes(data))
        return offset


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("looked_for", [ALL, LookedFor(text=b"v")])
def test_what_is_damaged_is_passed_over_and_told_of(back, looked_for):
    topic = memory_topic(log=Broken)
    for at in range(3):
        topic.append_many([Message(b"v%d" % at)] * 3)
    search = begun(topic, looked_for, back=back)
    offsets = [it.offset for it in all_of(search)]
    assert sorted(offsets) == [0, 1, 2, 6, 7, 8]
    [(partition, why)] = search.counts.damages
    assert partition == 0
    assert "offset 3" in why


class Unopened(list):
    """Logs of which the second can't be opened."""

    def __getitem__(self, at):
        if at == 1:
            raise Failed("t-1: can't be opened")
        return super().__getitem__(at)


def test_a_partition_that_cannot_be_opened_hides_no_other():
    topic = filled([(at % 3, b"v", at) for at in range(9)], 3)
    topic.grow(Unopened(topic.partitions))
    topic._opened.clear()
    search = begun(topic)
    assert {it.partition for it in all_of(search)} == {0, 2}
    assert search.counts.damages == [(1, "t-1: can't be opened")]
    assert search.positions().keys() == {0, 2}
    assert not search.more


def test_a_log_that_fails_on_the_way_ends_and_is_told_of():
    topic = filled([(at % 2, b"v", at) for at in range(8)], 2)

    def fail(at, most):
        raise Failed("t-1: input/output error")

    topic.partitions[1].read = fail
    search = begun(topic)
    assert {it.partition for it in all_of(search)} == {0}
    assert search.counts.damages == [(1, "t-1: input/output error")]


@pytest.mark.parametrize("back", [False, True])
def test_what_is_trimmed_meanwhile_is_passed_over(back):
    topic = filled([(0, b"v", at) for at in range(30)], 1)
    search = begun(topic, back=back)
    search.step(lambda: False)  # opened
    topic.partitions[0].trim(20)
    assert sorted(it.offset for it in all_of(search)) == list(range(20, 30))
    search = begun(topic, back=back)
    search.step(lambda: False)
    topic.partitions[0].trim(30)
    assert all_of(search) == []


def test_a_log_that_gives_nothing_below_its_end_ends_the_search():
    topic = filled([(0, b"v", at) for at in range(30)], 1)
    log = topic.partitions[0]
    log.read = lambda at, most: [] if at >= 15 else MemoryLog.read(log, at, 1)
    # As compaction may leave it; ``fetched`` waits for what is not here yet, and this one says so.
    log.watch = lambda wake: wake() or (lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "fetched", lambda log, at, most: log.read(at, most))
        search = begun(topic)
        assert [it.offset for it in all_of(search)] == list(range(15))
        assert search.positions() == {0: 30}


@pytest.mark.parametrize(
    "text",
    ["", "0:1", ">0", ">0:", ">a:1", ">0:1,", ">-1:2", "<0:99999999999999999999", ">0:\u0663"],
)
def test_what_no_search_has_given_is_refused(text):
    with pytest.raises(Refused, match="cursor"):
        parsed_cursor(text)


def test_a_cursor_may_name_no_partition():
    assert parsed_cursor(cursor({}, back=True)) == ({}, True)


def test_damages_are_counted_where_there_are_too_many():
    counts = searching.Counts()
    for number in range(searching.DAMAGES_MAX + 5):
        counts.damaged(number, CorruptBatch("x"))
    assert (len(counts.damages), counts.damages_left_out) == (searching.DAMAGES_MAX, 5)
