"""Markers of transactions: when compaction takes them, and that it never does too early."""

import pytest
from clock import NOW_MS
from transactions_kit import every_batch, read_as_kafka

import logstore
from logstore.broker.committed import CommittedLog
from logstore.broker.ledger import producers_of
from logstore.config import Config
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.chain import Chain
from logstore.storage.disk import Disk
from logstore.upkeep.recompression import in_larger_batches

DAY_MS = 86_400_000
SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": 100_000, "min.cleanable.dirty.ratio": 0,
    "delete.retention.ms": 1000, "retention.ms": -1,
}  # fmt: skip


class ThisProcess(Disk):
    """Has the heavy part done without a child process."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def opened(path, clock):
    """Opens the store, again and again."""
    stores = []

    def opened():
        for store in stores:
            store.close()
        config = Config({"upkeep.interval.ms": ("-1", "test")})
        stores.append(logstore.open(path, clock=clock, config=config, disk=ThisProcess()))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(opened):
    store = opened()
    store.create_topic("t", settings=SETTINGS)
    return store


@pytest.fixture
def log(store):
    return store.topic("t").partition(0)


def put(log, key, value, producer=None, sequence=0, epoch=0):
    more = {}
    if producer is not None:
        more = {"producer_id": producer, "producer_epoch": epoch, "base_sequence": sequence,
                "transactional": True}  # fmt: skip
    at = log.append(encode([(value, key, (), NOW_MS)], **more))
    log.wait(log.end)
    return at


def end(log, outcome, producer, epoch=0):
    at = log.append(marker(outcome, producer, epoch, NOW_MS))
    log.wait(log.end)
    return at


def compact(store):
    """All that is there, behind which the log goes on."""
    put(store.topic("t").partition(0), b"end", b"x")
    [done] = store.compaction("t", seal=True)
    assert done.broke is None
    return done


def markers(log):
    return {it.base_offset: it.delete_horizon_ms for it in every_batch(log) if it.is_control}


def shown(log):
    """By key, as our reader and as Kafka's has it."""
    ours, kafkas = (
        {
            it.key: it.value
            for batch in batches if not batch.is_control for it in decode(batch)
            if it.key != b"end"
        }
        for batches in (every_batch(CommittedLog(log)), read_as_kafka(log, log.start, 1 << 20))
    )  # fmt: skip
    assert ours == kafkas
    return ours


def expire(store, clock):
    """Nobody is active any more."""
    clock.ms += DAY_MS
    assert list(producers_of(store.topic("t").partition(0)).producers()) == []


def test_t12_markers_have_no_part_in_what_is_latest_of_a_key(store, log):
    for producer in (1, 2):
        put(log, b"k%d" % producer, b"committed", producer)
        end(log, COMMIT, producer)
    put(log, b"\0\0\0\1", b"a key as a marker's")
    compact(store)
    assert list(markers(log)) == [1, 3]
    assert shown(log) == {
        b"k1": b"committed", b"k2": b"committed", b"\0\0\0\1": b"a key as a marker's",
    }  # fmt: skip


def test_t13_a_marker_goes_after_its_data_and_merging_does_not_bring_that_back(store, log, clock):
    put(log, b"k", b"old")
    first = put(log, b"k", b"aborted", 1)
    log.roll()
    last = end(log, ABORT, 1)
    log.roll()
    assert [(it.first, it.last) for it in log.aborted(0, log.safe)] == [(first, last)]
    compact(store)  # what was aborted goes but for its producer's sake; the segments are merged
    assert (shown(log), list(markers(log))) == ({b"k": b"old"}, [last])
    assert [(it.first, it.last) for it in log.aborted(0, log.safe)] == [(first, last)]
    expire(store, clock)
    compact(store)
    assert markers(log) == {last: clock() + 1000}
    clock.ms += 999
    compact(store)
    assert list(markers(log)) == [last]
    assert [it.last for it in log.aborted(0, log.safe)] == [last]
    clock.ms += 1
    compact(store)
    assert (markers(log), log.aborted(0, log.safe)) == ({}, [])
    assert shown(log) == {b"k": b"old"}


def test_t13_a_run_that_does_not_come_to_the_data_leaves_marker_and_entry(store, log, clock):
    put(log, b"other", b"damaged", 2)
    log.roll()
    put(log, b"k", b"aborted", 1)
    last = end(log, ABORT, 1)
    end(log, COMMIT, 2)
    put(log, b"end", b"x")
    expire(store, clock)
    with open(log.segment(0).path, "r+b") as file:
        file.seek(70)
        file.write(b"\xff")
    for _ in range(3):
        [done] = store.compaction("t", seal=True)
        assert done.broke is not None
        clock.ms += DAY_MS
    assert list(markers(log)) == [last, last + 1]
    assert [it.last for it in log.aborted(0, log.safe)] == [last]


def test_t14_what_is_committed_stays_under_a_newer_one_that_was_aborted(store, log, clock):
    put(log, b"k", b"committed", 1)
    end(log, COMMIT, 1)
    put(log, b"k", b"aborted", 2)
    end(log, ABORT, 2)
    for _ in range(3):
        compact(store)
        clock.ms += DAY_MS
        assert shown(log) == {b"k": b"committed"}
    assert list(markers(log)) == [1]


def test_a_marker_stays_as_long_as_any_record_of_its_transaction(store, log, clock):
    put(log, b"a", b"1", 1)
    put(log, b"b", b"1", 1, sequence=1)
    last = end(log, COMMIT, 1)
    put(log, b"a", b"2")
    for _ in range(3):
        clock.ms += DAY_MS
        compact(store)
        assert markers(log) == {last: None}
    put(log, b"b", b"2")
    compact(store)
    assert markers(log) == {last: clock() + 1000}
    clock.ms += 1000
    compact(store)
    assert (markers(log), shown(log)) == ({}, {b"a": b"2", b"b": b"2"})


def test_it_is_come_back_for_a_marker_though_nothing_else_is_written(store, log, clock):
    put(log, b"k", b"aborted", 1)
    end(log, ABORT, 1)
    put(log, b"end", b"x")
    expire(store, clock)
    log.roll()
    [done] = store.compaction("t")
    assert (done.due, done.again_ms) == (True, clock() + 1000)
    [done] = store.compaction("t")
    assert not done.due
    clock.ms += 1000
    [done] = store.compaction("t")
    assert (done.why, done.again_ms) == ("tombstones or markers are due", None)
    assert markers(log) == {}
    [done] = store.compaction("t")
    assert not done.due


def test_what_is_to_stay_for_ever_does(store, log, clock):
    store.alter_topic("t", {"delete.retention.ms": 2**63 - 1})
    put(log, b"k", b"aborted", 1)
    last = end(log, ABORT, 1)
    tombstone = put(log, b"deleted", None)
    expire(store, clock)
    compact(store)
    assert markers(log) == {last: 2**63 - 1}
    clock.ms += 1000 * DAY_MS
    compact(store)
    assert list(markers(log)) == [last]
    assert tombstone in [it.base_offset for it in every_batch(log)]


def test_one_that_waits_for_nothing_but_its_record_is_not_come_back_for(store, log):
    put(log, b"k", b"committed", 1)
    end(log, COMMIT, 1)
    done = compact(store)
    assert (done.due, done.again_ms) == (True, None)


def test_the_last_marker_of_an_active_producer_stays_where_it_alone_has_its_epoch(
    store, log, clock
):
    put(log, b"k", b"aborted", 1)
    last = end(log, ABORT, 1, epoch=1)  # as those of transactions of version 2 do
    for _ in range(3):
        compact(store)
        clock.ms += 1000
    assert list(markers(log)) == [last]
    assert [it.last for it in log.aborted(0, log.safe)] == [last]
    assert [it.is_control for it in every_batch(log) if it.producer_id == 1] == [True]
    expire(store, clock)
    compact(store)
    assert markers(log) == {}


def test_the_last_batch_of_an_active_producer_stays_empty_with_its_marker(store, log, clock):
    put(log, b"k", b"aborted", 1)
    put(log, b"k", b"aborted", 1, sequence=1)
    last = end(log, ABORT, 1)
    for _ in range(3):
        compact(store)
        clock.ms += 1000
    kept = [(it.base_offset, it.record_count) for it in every_batch(log) if it.producer_id == 1]
    assert kept == [(1, 0), (last, 1)]
    assert [it.last for it in log.aborted(0, log.safe)] == [last]
    expire(store, clock)
    compact(store)
    clock.ms += 1000
    compact(store)
    assert [it.producer_id for it in every_batch(log)] == [-1]


def test_the_last_record_of_a_log_stays_if_it_is_a_marker(store, log, clock):
    put(log, b"k", b"aborted", 1)
    last = end(log, ABORT, 1)
    for _ in range(3):
        expire(store, clock)
        list(store.compaction("t", seal=True))
    assert list(markers(log)) == [last]
    assert [it.last for it in log.aborted(0, log.safe)] == [last]


def test_a_start_does_not_look_for_entries_that_went_with_their_markers(
    store, opened, clock, monkeypatch
):
    log = store.topic("t").partition(0)
    for producer in (1, 2):
        put(log, b"k", b"aborted", producer)
        end(log, ABORT, producer)
    expire(store, clock)
    compact(store)
    assert log.state.aborted == 2
    clock.ms += 1000
    compact(store)
    assert log.state.aborted == 0

    def restarted(chain):
        raise AssertionError("all of it is read again")

    monkeypatch.setattr(Chain, "restart_aborted", restarted)
    again = opened()
    assert again.topic("t").partition(0).aborted(0, 100) == []


def test_reading_processes_see_an_index_that_was_exchanged(store, path, clock):
    log = store.topic("t").partition(0)
    for producer in (1, 2):
        put(log, b"k%d" % producer, b"aborted", producer)
        end(log, ABORT, producer)
    put(log, b"keeps it", b"aborted", 3)
    end(log, ABORT, 3)
    with logstore.open(path, "read") as reader:
        other = reader.topic("t").partition(0)
        assert [it.last for it in other.aborted(0, 100)] == [1, 3, 5]
        clock.ms += DAY_MS
        put(log, b"k", b"aborted", 3, sequence=1)  # so it is active
        end(log, ABORT, 3)
        compact(store)
        clock.ms += 1000
        compact(store)
        assert [it.last for it in log.aborted(0, 100)] == [7]
        assert other.aborted(0, 100) == log.aborted(0, 100)
        expire(store, clock)
        compact(store)
        clock.ms += 1000
        compact(store)
        assert other.aborted(0, 100) == log.aborted(0, 100) == []


class TestRetention:
    def test_entries_go_with_their_segments_and_those_that_are_needed_stay(
        self, store, opened, monkeypatch
    ):
        log = store.topic("t").partition(0)
        put(log, b"a", b"gone", 1)
        end(log, ABORT, 1)
        first = put(log, b"b", b"gone", 2)
        log.roll()
        put(log, b"c", b"aborted", 2, sequence=1)
        last = end(log, ABORT, 2)
        put(log, b"d", b"there")
        log.secure()
        log.trim(log.bases()[1])
        assert [(it.first, it.last) for it in log.aborted(0, log.safe)] == [(first, last)]
        assert shown(log) == {b"d": b"there"}
        assert log.state.aborted == 1
        monkeypatch.setattr(Chain, "restart_aborted", None)  # nothing is missing
        log = opened().topic("t").partition(0)
        assert [(it.first, it.last) for it in log.aborted(0, log.safe)] == [(first, last)]
        assert shown(log) == {b"d": b"there"}

    def test_one_that_is_open_in_what_is_dropped_holds_no_more_than_what_is_left(self, store, log):
        put(log, b"a", b"open", 1)
        log.roll()
        put(log, b"b", b"there")
        assert log.stable == 0
        log.trim(log.bases()[1])
        assert log.stable == log.start == 1
        end(log, COMMIT, 1)
        assert shown(log) == {b"b": b"there"}


class TestBatchesStayApart:
    def batches(self, *kinds):
        """``t``: of a transaction, ``p``: plain, ``m``: a marker; all of one producer."""
        found, sequence = [], 0
        for at, kind in enumerate(kinds):
            if kind == "m":
                found.append(marker(COMMIT, 1, 0, NOW_MS).with_base_offset(at))
                continue
            found.append(
                encode([(b"v" * 500, b"k", (), NOW_MS)], base_offset=at, producer_id=1,
                       producer_epoch=0, base_sequence=sequence, transactional=kind == "t")
            )  # fmt: skip
            sequence += 1
        return found

    @pytest.mark.parametrize(
        ("kinds", "expected", "flags"),
        [
            ("ttmtt", [2, 1, 2], "ttt"),
            ("pptt", [2, 2], "pt"),
            ("ttpp", [2, 2], "tp"),
            ("ttmpp", [2, 1, 2], "ttp"),
        ],
    )
    def test_across_a_marker_and_where_one_is_of_no_transaction(self, kinds, expected, flags):
        found = list(in_larger_batches(self.batches(*kinds), 1 << 20))
        assert [it.record_count for it in found] == expected
        assert "".join("pt"[it.is_transactional] for it in found) == flags
        assert [it.data for it in found if it.is_control] == [
            it.data for it in self.batches(*kinds) if it.is_control
        ]

    def test_not_where_the_marker_between_them_is_gone(self):
        before, _, after = self.batches("t", "m", "t")
        assert len(list(in_larger_batches([before, after], 1 << 20))) == 2

    def test_a_whole_log_keeps_its_transactions(self, store, log):
        store.alter_topic("t", {"compression.sealed": "zstd"})
        for n in range(12):
            put(log, b"k%d" % n, b"v" * 300, 1, sequence=n)
            if n % 3 == 2:
                end(log, [ABORT, COMMIT][n % 2], 1)
        log.roll()
        before, told = shown(log), log.aborted(0, log.safe)
        [done] = store.recompression("t")
        assert done.bytes_after < done.bytes_before
        assert (shown(log), log.aborted(0, log.safe)) == (before, told)
