"""Batches whose headers say a largest timestamp that cannot be right: -1, or below their base.

sarama up to 1.45 writes -1. Look-ups by time passed over such batches, and a trim by time deleted
records that were newer than the time.
"""

from datetime import UTC, datetime, timedelta

import lmdb
import pytest
from clock import NOW_MS
from crafted import put, three, with_maximum
from mostly_long import mostly_long

import logstore
from logstore.records.batch import restamp
from logstore.records.compression import Compression
from logstore.records.latest import latest, recorded
from logstore.storage.index import TIME_ENTRY, Index

HOUR_MS = 3_600_000
BATCHES = 40  # one an hour, of three records a millisecond apart
SETTINGS = {"segment.bytes": "1000", "index.interval.bytes": "200", "retention.ms": "-1"}


def at(ms):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def batch(number, maximum):
    codec = (Compression.NONE, Compression.ZSTD)[number % 2]
    values = [b"%d %d" % (number, n) for n in range(3)]
    made = three(*values, at_ms=NOW_MS + number * HOUR_MS, compression=codec)
    return made if maximum is None else with_maximum(made, maximum)


def all_wrong(number):
    return -1


def one_of_three_right(number):
    return None if number % 3 == 0 else -1


def below_the_base(number):
    return NOW_MS + number * HOUR_MS - 1


PATTERNS = [all_wrong, one_of_three_right, below_the_base]


@pytest.fixture
def config():
    return logstore.Config({"upkeep.interval.ms": ("-1", "test")})


@pytest.fixture(params=PATTERNS)
def path(tmp_path, request, config):
    path = tmp_path / "data"
    with logstore.open(path, config=config) as store:
        log = store.create_topic("t", 1, SETTINGS).partition(0)
        put(log, *[batch(number, request.param(number)) for number in range(BATCHES)])
        assert len(log.bases()) > 3
    return path


@pytest.fixture(params=["as written", "by an older logstore"])
def store(path, request, config):
    if request.param != "as written":
        as_older_logstores_left_it(path)
    with logstore.open(path, config=config) as store:
        yield store


def as_older_logstores_left_it(path):
    """Time indexes by what the headers say, and a catalogue that knows nothing of doubt."""
    with logstore.open(path, "read") as store:
        log = store.topic("t").partition(0)
        for base in log.bases():
            index = Index(base, 200)
            for position, it in log.chain.segment(base).walk():
                index.note(position, it.size, it.last_offset, it.max_timestamp_ms)
            index.note_largest()
            entries = zip(index.times, index.time_offsets, strict=True)
            file = path / "t-0" / f"{base:020d}.timeindex"
            file.write_bytes(b"".join(TIME_ENTRY.pack(*entry) for entry in entries))
    with lmdb.open(str(path / "catalog.mdb"), subdir=False, max_dbs=16) as environment:
        logs = environment.open_db(b"logs")
        with environment.begin(write=True) as change:
            rows = [(bytes(key), bytes(value)) for key, value in change.cursor(logs)]
            assert rows
            for key, value in rows:
                change.put(key, value[:88], db=logs)


HOURS = [0, 1, 7, 20, 39]
FEW_HOURS = mostly_long(HOURS, [7])


@pytest.mark.parametrize("hour", FEW_HOURS)
def test_consuming_from_a_time_begins_there(store, hour):
    with store.consumer("t", start=at(NOW_MS + hour * HOUR_MS)) as consumer:
        assert [it.offset for it in consumer] == list(range(3 * hour, 3 * BATCHES))
    with store.consumer("t", start=at(NOW_MS + hour * HOUR_MS + 1)) as consumer:
        assert next(iter(consumer)).offset == 3 * hour + 1


@pytest.mark.parametrize("hour", FEW_HOURS)
def test_nothing_newer_than_the_time_is_trimmed(store, hour):
    store.trim("t", at(NOW_MS + hour * HOUR_MS))
    with store.consumer("t") as consumer:
        assert [it.offset for it in consumer] == list(range(3 * hour, 3 * BATCHES))


def test_a_replay_of_a_span_has_all_of_it(store):
    span = store.replay("t", from_ms=NOW_MS + 5 * HOUR_MS, to_ms=NOW_MS + 9 * HOUR_MS)
    assert [it.offset for some in span for it in some] == list(range(15, 27))


def test_a_group_is_reset_to_a_time(store):
    with store.consumer("t", group="g") as consumer:
        consumer.poll()
    [move] = store.group("g").reset(at(NOW_MS + 7 * HOUR_MS))
    assert move.after == 21


def test_the_latest_timestamp_is_that_of_the_records(store):
    assert store.topic("t").partition(0).latest_timestamp() == NOW_MS + 39 * HOUR_MS + 2


def test_a_reader_beside_the_writer_finds_the_same(store):
    with logstore.open(store.path, "read") as reader:
        log = reader.topic("t").partition(0)
        assert [log.find(NOW_MS + hour * HOUR_MS) for hour in HOURS] == [3 * it for it in HOURS]


def test_retention_counts_from_the_newest_record(store):
    store.alter_topic("t", {"retention.ms": "1000"})
    [outcome] = store.retention("t", dry_run=True)
    for verdict in outcome.verdicts:
        last = (verdict.segment.end_offset - 1) // 3
        assert verdict.segment.max_timestamp_ms in (NOW_MS + last * HOUR_MS + n for n in range(3))
        if verdict.goes is False:
            break


def test_upkeep_makes_old_time_indexes_right_for_good(path, config):
    as_older_logstores_left_it(path)
    with logstore.open(path, config=config) as store:
        log = store.topic("t").partition(0)
        assert log.state.times_doubtful_below == 3 * BATCHES
        list(store.retention("t"))
        assert log.state.times_doubtful_below == 0
        reports = list(store.verify("t"))
    assert not [it for report in reports for it in report.findings if it.derived]
    with logstore.open(path, "read") as store:
        log = store.topic("t").partition(0)
        assert [log.find(NOW_MS + hour * HOUR_MS) for hour in HOURS] == [3 * it for it in HOURS]


def test_a_segment_is_not_rolled_at_each_batch(tmp_path, config):
    """-1 as the first timestamp of a segment made each further batch look weeks younger."""
    with logstore.open(tmp_path / "data", config=config) as store:
        log = store.create_topic("t", 1, {"segment.ms": "86400000"}).partition(0)
        put(log, *[with_maximum(three(at_ms=NOW_MS)), *[three(at_ms=NOW_MS)] * 5])
        assert len(log.bases()) == 1


@pytest.mark.parametrize("codec", list(Compression))
def test_the_header_is_believed_where_it_can_be_right(codec):
    made = three(at_ms=NOW_MS, compression=codec)
    assert latest(made) == recorded(made) == NOW_MS + 2
    assert latest(with_maximum(made)) == NOW_MS + 2
    assert latest(with_maximum(made, NOW_MS + 7)) == NOW_MS + 7
    assert recorded(with_maximum(made, NOW_MS + 7)) == NOW_MS + 2
    stamped = restamp(made, 5)  # LogAppendTime: the maximum is the timestamp of each
    assert latest(stamped) == recorded(stamped) == 5
