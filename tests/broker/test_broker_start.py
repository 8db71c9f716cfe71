from datetime import UTC, datetime, timedelta, timezone

import pytest
from broker_parts import memory_topic

from logstore.broker.start import check_offset, offset_of
from logstore.errors import OffsetAboveEnd, OffsetBelowStart, Refused

DAY = datetime(2013, 1, 5, tzinfo=UTC)
DAY_MS = 1_357_344_000_000


@pytest.fixture
def log():
    topic = memory_topic()
    for ms in (0, 1, 2, 1000, 2000):
        topic.append(b"", timestamp_ms=DAY_MS + ms)
    topic.partitions[0].trim(1)
    return topic.partitions[0]


def test_words_are_the_two_ends(log):
    assert (offset_of(log, "earliest"), offset_of(log, "latest")) == (1, 5)


@pytest.mark.parametrize("offset", [1, 3, 5])
def test_an_offset_from_start_to_end_is_itself(log, offset):
    assert offset_of(log, offset) == check_offset(log, offset) == offset


def test_an_offset_below_the_start_and_one_above_the_end_are_two_errors(log):
    with pytest.raises(OffsetBelowStart, match="offset 0 is below the start, 1"):
        offset_of(log, 0)
    with pytest.raises(OffsetBelowStart):
        offset_of(log, -1)
    with pytest.raises(OffsetAboveEnd, match="offset 6 is above the end, 5"):
        offset_of(log, 6)


@pytest.mark.parametrize(
    ("time", "offset"),
    [
        (DAY - timedelta(days=1), 1),
        (DAY, 1),
        (DAY + timedelta(milliseconds=1), 1),
        (DAY + timedelta(microseconds=1001), 2),  # a record of 1 ms is before it
        (DAY + timedelta(microseconds=1999), 2),
        (DAY + timedelta(seconds=1), 3),
        (DAY + timedelta(seconds=2), 4),
        (DAY + timedelta(seconds=3), 5),
        (datetime.max.replace(tzinfo=UTC), 5),
        (datetime.min.replace(tzinfo=UTC), 1),
    ],
)
def test_a_time_is_the_first_record_of_it_or_later(log, time, offset):
    assert offset_of(log, time) == offset


def test_a_time_without_zone_is_utc_and_zones_count(log):
    assert offset_of(log, datetime(2013, 1, 5, 0, 0, 1)) == 3
    plus_one = timezone(timedelta(hours=1))
    assert offset_of(log, datetime(2013, 1, 5, 1, 0, 1, tzinfo=plus_one)) == 3


@pytest.mark.parametrize("wrong", ["newest", "", None, 1.5])
def test_anything_else_is_refused(log, wrong):
    with pytest.raises(Refused, match="must be earliest, latest, an offset or a datetime"):
        offset_of(log, wrong)


def test_an_empty_log_has_one_place():
    log = memory_topic().partitions[0]
    assert {offset_of(log, it) for it in ("earliest", "latest", 0, DAY)} == {0}
