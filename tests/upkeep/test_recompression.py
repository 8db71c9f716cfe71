"""Recompression and merging: the plans alone, and over a real store: no record changes."""

import random

import pytest
from clock import NOW_MS
from hypothesis import given, settings
from hypothesis import strategies as st

import logstore
from logstore import Message
from logstore.config import Config
from logstore.records.batch import NUMBERED_PRODUCER
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.disk import Disk
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.recompression import in_larger_batches, plan, runs

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SETTINGS = {"segment.bytes": 4000, "index.interval.bytes": 200, "compression.sealed": "zstd"}


class ThisProcess(Disk):
    """Has the heavy part done without a child process."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def store(path):
    with logstore.open(path, config=OFF, clock=lambda: NOW_MS, disk=ThisProcess()) as store:
        yield store


def fill(store, count=400, **more):
    topic = store.create_topic("t", settings=SETTINGS | more)
    for at in range(0, count, 4):
        topic.append_many(
            [
                Message(
                    b'{"flight":%d,"origin":"EWR","carrier":"UA"}' % n, b"k%d" % (n % 7),
                    (("n", b"%d" % n),) if n % 3 else (), NOW_MS - count + n,
                )
                for n in range(at, at + 4)
            ]
        )  # fmt: skip
    topic.partition(0).roll()
    return topic


def rows(store, **given):
    with store.consumer("t", **given) as consumer:
        return [tuple(it) for it in consumer]


def batches_of(log):
    found, at = [], log.start
    while batches := log.read(at, 1 << 20):
        found += batches
        at = batches[-1].next_offset
    return found


def findings(store):
    return [it for report in store.verify() for it in report.findings]


def test_no_record_changes_and_a_fraction_of_the_bytes_is_left(store, path):
    log = fill(store).partition(0)
    before, segments = rows(store), len(log.bases())
    [done] = store.recompression()
    assert done.broke is None
    assert done.due
    assert rows(store) == before
    assert done.bytes_after < 0.35 * done.bytes_before
    assert len(log.bases()) < segments  # what became small was merged
    sealed = [it for it in batches_of(log) if it.base_offset < log.bases()[-1]]
    assert {it.compression for it in sealed} == {Compression.ZSTD}
    assert len(sealed) < 20
    assert findings(store) == []
    [again] = store.recompression()
    assert (again.due, again.why) == (False, "everything sealed is recompressed")
    with logstore.open(path, "read") as reader:
        assert rows(reader) == before
        assert findings(reader) == []


def test_every_offset_and_time_is_found_as_before(store):
    log = fill(store, 200).partition(0)
    times = [(row[2], row[3]) for row in rows(store)]
    wanted = {at: log.find(at) for _, at in times[::7]}
    list(store.recompression())
    for offset, _ in times:
        assert log.read(offset, 1)[0].base_offset <= offset <= log.read(offset, 1)[0].last_offset
    assert {at: log.find(at) for at in wanted} == wanted


def test_it_goes_on_where_it_was_and_survives_a_reopening(store, path):
    topic = fill(store, 100)
    list(store.recompression())
    for n in range(100, 200):
        topic.append(b"%d" % n, key=b"k", timestamp_ms=NOW_MS)
    topic.partition(0).roll()
    before = rows(store)
    [done] = store.recompression()
    assert done.due
    store.close()
    with logstore.open(path, config=OFF) as again:
        assert rows(again) == before
        assert findings(again) == []


def test_compacted_and_recompressed(store):
    fill(store, 300, **{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": 0})
    latest = {row[4]: row for row in rows(store)}
    list(store.compaction())
    list(store.recompression())
    assert rows(store) == sorted(latest.values(), key=lambda row: row[2])
    list(store.compaction())
    assert rows(store) == sorted(latest.values(), key=lambda row: row[2])
    assert findings(store) == []


def test_with_the_setting_off_nothing_is_touched(store):
    fill(store, 100, **{"compression.sealed": "producer"})
    assert list(store.recompression()) == []


def test_a_reader_that_began_before_a_merge_reads_on(store, path):
    fill(store, 300)
    with logstore.open(path, "read") as reader:
        before = rows(reader)
        log = reader.topic("t").partition(0)
        for at in range(0, 300, 50):
            log.read(at, 1)  # segments are open
        list(store.recompression())
        assert rows(reader) == before
        assert [row for at in range(0, 300, 23) for row in rows(reader, start=at)] == [
            row for at in range(0, 300, 23) for row in before[at:]
        ]


class TestLargerBatches:
    def same(self, batches, batch_bytes=1 << 16):
        found = list(in_larger_batches(batches, batch_bytes))
        for batch in found:
            batch.check()
        before = [it for batch in batches for it in decode(batch)]
        assert [it for batch in found for it in decode(batch)] == before
        assert found[-1].next_offset == batches[-1].next_offset
        return found

    def some(self, count, at=0, n=5, **given):
        found = []
        for _ in range(count):
            messages = [(b"value %d" % m * 8, b"k", (), NOW_MS + at + m) for m in range(n)]
            found.append(encode(messages, base_offset=at, **given))
            at += n
        return found

    @pytest.mark.parametrize("codec", Compression)
    def test_from_every_codec(self, codec):
        [one] = self.same(self.some(20, compression=codec))
        assert one.record_count == 100

    def test_gaps_of_a_compaction(self):
        assert len(self.same(self.some(3) + self.some(3, at=1000) + self.some(2, at=70_000))) == 1

    def test_a_producers_batches_by_sequence(self):
        batches = []
        for n in range(6):
            sequence = 5 * n if n < 4 else 100 + 5 * n
            producer = {"producer_id": 7, "producer_epoch": 1, "base_sequence": sequence}
            batches += self.some(1, at=5 * n, **producer)
        found = self.same(batches)
        assert [(it.base_sequence, it.record_count) for it in found] == [(0, 20), (120, 10)]

    def test_what_held_transactions_brought_stays_apart_since_its_numbers_count_batches(self):
        batches = []
        for n in range(3):
            producer = {"producer_id": NUMBERED_PRODUCER, "producer_epoch": 0}
            batches += self.some(1, at=n, n=1, base_sequence=n, **producer)
        assert [it.base_sequence for it in self.same(batches)] == [0, 1, 2]

    def test_other_producers_and_markers_stay_apart(self):
        batches = self.some(2) + self.some(
            2, at=10, producer_id=1, producer_epoch=0, base_sequence=0
        )
        batches += self.some(1, at=20, n=1, control=True, transactional=True) + self.some(2, at=21)
        found = self.same(batches)
        assert [it.is_control for it in found] == [False, False, False, True, False]

    def test_times_of_append(self):
        batches = self.some(4, log_append_time=True)
        assert len({it.timestamp_ms for batch in batches for it in decode(batch)}) == 4
        assert len(self.same(batches)) == 4

    def test_timestamps_that_overflow(self):
        ends = [-(2**63), 2**63 - 1, 0, -1, 1, 2**62, -(2**62)]
        batches = [
            encode([(b"v" * 50, None, (), at), (b"w" * 50, None, (), 5)], base_offset=2 * n)
            for n, at in enumerate(ends)
        ]
        assert len(self.same(batches)) == 1

    def test_what_does_not_get_smaller_stays_as_it_is(self):
        value = random.Random(1).randbytes(3000)
        batches = [encode([(value, None, (), NOW_MS)])]
        assert self.same(batches) == batches

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.lists(st.tuples(st.binary(max_size=200), st.none() | st.binary(max_size=8),
                                   st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=6),
                st.integers(0, 300), st.sampled_from(list(Compression)),
            ),
            min_size=1, max_size=8,
        ),
        st.sampled_from([1, 300, 1 << 20]),
    )  # fmt: skip
    def test_whatever_they_hold(self, given_batches, batch_bytes):
        batches, at = [], 0
        for records, gap, codec in given_batches:
            at += gap
            messages = [(value, key, (("h", value),), time) for value, key, time in records]
            batches.append(encode(messages, base_offset=at, compression=codec))
            at += len(records)
        self.same(batches, batch_bytes)


def facts(*sizes, times=None, active=True):
    found, at = [], 0
    for n, size in enumerate(sizes):
        time = NOW_MS if times is None else times[n]
        last = active and n == len(sizes) - 1
        found.append(SegmentFacts(f"{at:020d}.log", at, at + 10, size, time, NOW_MS, active=last))
        at += 10
    return found


class TestPlans:
    def test_what_is_sealed_secure_and_not_done_yet(self):
        segments = facts(5, 5, 5, 5, 5)
        chosen, _ = plan(segments, LogState(recompressed_below=10), 30, SEALED)
        assert [it.base_offset for it in chosen] == [10, 20]
        assert plan(segments, LogState(), 30, TopicSettings())[0] == []
        assert plan(facts(5, 0, times=[NO_TIMESTAMP] * 2), LogState(), 30, SEALED)[0] == []

    def bases(self, found):
        return [[it.base_offset for it in run] for run in found]

    def test_runs_of_small_ones_that_fit_into_one(self):
        segments = facts(30, 30, 30, 30, 60, 10, 10, 5)
        assert self.bases(runs(segments, 70, SEALED)) == [[0, 10, 20], [50, 60]]
        assert self.bases(runs(segments, 20, SEALED)) == [[0, 10]]
        assert runs(segments, 70, TopicSettings(segment_bytes=100)) == []

    def test_none_that_would_hold_up_retention(self):
        week = 7 * 86_400_000
        segments = facts(1, 1, 1, 1, times=[0, week, week + 1, 2 * week])
        assert self.bases(runs(segments, 40, SEALED)) == [[0, 10]]
        forever = TopicSettings(segment_bytes=100, compression_sealed="zstd", retention_ms=-1)
        assert self.bases(runs(segments, 40, forever)) == [[0, 10, 20]]


SEALED = TopicSettings(segment_bytes=100, compression_sealed="zstd")
