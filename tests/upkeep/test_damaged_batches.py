"""Upkeep of logs with batches that can't be read: named, left as they are, in nobody's way."""

import logging
from pathlib import Path

import pytest
from clock import NOW_MS
from crafted import ASTRAY, DAMAGED, lead_astray, put, three, with_maximum

import logstore
from logstore import Message
from logstore.errors import CorruptBatch
from logstore.records.compression import Compression
from logstore.records.encode import encode
from logstore.records.keyed import keyed
from logstore.records.merge import Merge
from logstore.storage.disk import Disk

pytestmark = pytest.mark.long

COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
RECOMPRESS = {"compression.sealed": "zstd"}


class ThisProcess(Disk):
    """Has the heavy part done without a child process, which takes a tenth of a second to start."""


@pytest.fixture(params=["a child", "this process"])
def store(tmp_path, request):
    """Upkeep is done by both kinds of workers."""
    config = logstore.Config({"upkeep.interval.ms": ("-1", "test")})
    disk = Disk() if request.param == "a child" else ThisProcess()
    with logstore.open(tmp_path / "data", config=config, disk=disk) as store:
        yield store


def fill(store, name, settings, *between):
    """Two sealed segments: records of one key, with these batches in the middle of the first."""
    log = store.create_topic(name, 1, settings).partition(0)
    put(log, three(b"old", b"older", b"oldest"), *between, three(b"new", b"newer", b"newest"))
    log.roll()
    put(log, three(b"last"))
    log.roll()
    return log


def files(store, name):
    return {it.name: it.read_bytes() for it in Path(store.path, f"{name}-0").glob("*.log")}


@pytest.fixture(params=DAMAGED.values(), ids=DAMAGED)
def damaged(request):
    return request.param()


@pytest.mark.parametrize("job", ["compaction", "recompression"])
def test_a_damaged_log_is_named_and_left_and_the_others_are_done(store, damaged, job):
    settings = COMPACT if job == "compaction" else RECOMPRESS
    fill(store, "a", settings, damaged)
    fill(store, "b", settings)
    before = files(store, "a")
    one, other = getattr(store, job)()
    assert (one.topic, other.topic) == ("a", "b")
    message = str(one.broke.error())
    assert isinstance(one.broke.error(), CorruptBatch)
    assert message.startswith(f"a-0: {'compact' if job == 'compaction' else 'recompress'}: ")
    assert f"{store.path}/a-0/{0:020d}.log: batch at offset 3: " in message
    assert other.broke is None
    after = files(store, "a")
    assert {it: after[it] for it in before} == before
    with store.consumer("b") as consumer:
        values = [it.value for it in consumer]
    assert (values == [b"last"]) if job == "compaction" else (len(values) == 7)


@pytest.mark.parametrize("name", ASTRAY)
@pytest.mark.parametrize("job", ["compaction", "recompression"])
def test_what_is_behind_a_batch_that_leads_astray_is_not_taken_for_gone(store, name, job):
    """Compaction left out all that followed in the segment, and verify found nothing wrong then."""
    settings = COMPACT if job == "compaction" else RECOMPRESS
    log = fill(store, "a", settings, three(b"1", b"2", b"3", key=b"x"))
    lead_astray(Path(store.path, "a-0", f"{0:020d}.log"), name)
    log.chain.let_go()
    before = files(store, "a")
    [outcome] = getattr(store, job)("a")
    error = outcome.broke.error()
    assert isinstance(error, CorruptBatch)
    assert f"{store.path}/a-0/{0:020d}.log at position " in str(error)
    assert {it: files(store, "a")[it] for it in before} == before
    assert any(it.findings for it in store.verify())
    skipped = []
    with store.consumer("a", on_damage=skipped.append) as consumer:
        assert [it.offset for it in consumer] == [0, 1, 2, 9]
    [damage] = skipped
    assert f"{store.path}/a-0/{0:020d}.log" in str(damage)
    assert "offsets 3 to 8 are skipped" in str(damage)


def test_what_is_whole_of_a_recompressed_log_is_not_done_again(tmp_path):
    config = logstore.Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(tmp_path / "data", config=config, disk=ThisProcess()) as store:
        log = store.create_topic("t", 1, RECOMPRESS).partition(0)
        for batch in (three(b"x" * 5000), DAMAGED["garbage"](), three(b"y")):
            put(log, batch)
            log.roll()
        for _ in range(2):
            [outcome] = store.recompression()
            assert "batch at offset 1" in outcome.broke.text
            assert log.state.recompressed_below == 1


def test_upkeep_logs_a_line_for_each_log_that_fails(tmp_path, caplog):
    config = logstore.Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(tmp_path / "data", config=config, disk=ThisProcess()) as store:
        for name in ("a", "b"):
            fill(store, name, COMPACT, DAMAGED["garbage"]())
        fill(store, "c", COMPACT)
        with caplog.at_level(logging.WARNING, "logstore.upkeep"):
            store._upkeep.do()
        lines = [it.getMessage() for it in caplog.records]
        assert [line.split(":")[0] for line in lines] == ["a-0", "b-0"]
        assert all("batch at offset 3" in line for line in lines)


def test_equal_deltas_are_not_signed_again():
    """Compaction made one record of such a batch: a hundred values were gone."""
    for name in DAMAGED:
        with pytest.raises(CorruptBatch, match="batch at offset 0"):
            keyed(DAMAGED[name]())
        with pytest.raises(CorruptBatch, match="batch at offset 0"):
            Merge(DAMAGED[name]())


def test_a_merged_batch_says_the_true_maximum():
    merge = Merge(three(at_ms=NOW_MS))
    merge.add(with_maximum(three(at_ms=NOW_MS + 500).with_base_offset(3)))
    assert merge.result(Compression.NONE).max_timestamp_ms == NOW_MS + 502


# Tombstones


@pytest.fixture
def quick(tmp_path):
    """A store whose tombstones go at once; its clock."""
    clock = Clock()
    config = logstore.Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(
        tmp_path / "data", config=config, disk=ThisProcess(), clock=clock
    ) as store:  # fmt: skip
        store.create_topic("t", 1, {**COMPACT, "delete.retention.ms": "0", "segment.bytes": "300"})
        yield store


class Clock:
    ms = NOW_MS

    def __call__(self):
        return self.ms


def write(store, *pairs):
    for key, value in pairs:
        store.topic("t").append_many([Message(value, key)], partition=0)
    store.topic("t").partition(0).roll()


def compact(store):
    [outcome] = store.compaction("t")
    assert outcome.broke is None
    return outcome


def test_values_only_are_never_gone_over_again(quick):
    """``tombstones are due`` was said for ever, and an idle topic read whole once a day."""
    write(quick, *[(b"%d" % (n % 5), b"value") for n in range(40)])
    assert compact(quick).due
    for _ in range(3):
        outcome = compact(quick)
        assert (outcome.due, outcome.why) == (False, "everything is compacted")
    assert quick.topic("t").partition(0).state.tombstones_below == 0


def test_tombstones_are_come_back_for_once(quick):
    write(quick, *[(b"%d" % n, b"value") for n in range(10)], (b"3", None), (b"4", None))
    write(quick, (b"z", b"value"))
    assert compact(quick).due
    second = compact(quick)
    assert (second.due, second.why) == (True, "tombstones or markers are due")
    assert second.records_removed == 2
    assert compact(quick).due is False
    with quick.consumer("t") as consumer:
        assert {it.key for it in consumer} == {b"%d" % n for n in (0, 1, 2, 5, 6, 7, 8, 9)} | {b"z"}


def test_a_tombstone_that_holds_the_end_is_not_come_back_for(quick):
    """The last record of a log stays while nothing comes after it, so that its end can be read."""
    write(quick, *[(b"%d" % n, b"value") for n in range(10)], (b"3", None))
    runs = [compact(quick).due for _ in range(5)]
    assert runs[-2:] == [False, False]


@pytest.mark.parametrize("keys_at_once", [1, 3, 1 << 20])
def test_tombstones_are_counted_over_all_passes(tmp_path, monkeypatch, keys_at_once):
    config = logstore.Config({"upkeep.interval.ms": ("-1", "test")})
    memory_bytes, clock = config.store.compaction_memory_bytes, Clock()
    monkeypatch.setattr("logstore.upkeep.compaction.KEY_BYTES", memory_bytes // keys_at_once)
    with logstore.open(tmp_path / "data", config=config, disk=ThisProcess(), clock=clock) as store:
        store.create_topic("t", 1, {**COMPACT, "delete.retention.ms": "0", "segment.bytes": "300"})
        pairs = [(b"%d" % (n % 20), None if n % 7 == 0 else b"v") for n in range(100)]
        write(store, *pairs)
        write(store, (b"z", b"v"))
        runs = 0
        while compact(store).due:
            runs += 1
            assert runs < 5
        latest = dict(pairs)
        with store.consumer("t") as consumer:
            found = {it.key for it in consumer if it.key != b"z"}
        assert found == {key for key, value in latest.items() if value is not None}


def test_keys_are_read_from_batches_with_gaps():
    """Compaction itself leaves offsets out: deltas must rise, not follow."""
    batch = encode([(b"v", b"%d" % n, (), NOW_MS) for n in range(50)])
    found = keyed(batch)
    from logstore.records.keyed import thinned

    kept = thinned(batch, found.spans([3, 10, 49]))
    assert keyed(kept).keys == [b"3", b"10", b"49"]
