"""Which segments of a queue's lane may go."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from logstore.settings import StoreSettings, TopicSettings
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.lanes import among, as_there_is_room, judge_lane, shares

NOW_MS = 1_000_000
HOUR_MS = 3_600_000


def segment(base, end, *, age_ms=0, size=100, active=False):
    at_ms = NOW_MS - age_ms
    return SegmentFacts(f"{base:020d}.log", base, end, size, at_ms, at_ms, active=active)


def going(segments, floor, **settings):
    verdicts = judge_lane(segments, floor, NOW_MS, TopicSettings(**settings))
    assert [it.segment for it in verdicts] == segments
    assert all(it.why for it in verdicts)
    return [it.segment.base_offset for it in verdicts if it.goes]


THREE = [segment(0, 10), segment(10, 20), segment(20, 30, active=True)]


@pytest.mark.parametrize(
    ("floor", "gone"), [(0, []), (9, []), (10, [0]), (19, [0]), (29, [0, 10]), (30, [0, 10, 20])]
)
def test_what_is_settled_as_a_whole_goes_at_once_where_nothing_is_retained(floor, gone):
    assert going(THREE, floor, retention_ms=0) == gone


def test_an_empty_active_segment_stays():
    lane = [segment(0, 10), segment(10, 10, active=True)]
    assert going(lane, 10, retention_ms=0) == [0]


def test_what_is_settled_stays_for_as_long_as_it_is_retained():
    lane = [segment(0, 10, age_ms=HOUR_MS + 1), segment(10, 20), segment(20, 30, active=True)]
    assert going(lane, 30, retention_ms=HOUR_MS) == [0]
    assert going(lane, 9, retention_ms=HOUR_MS) == []


def test_no_more_is_retained_of_a_lane_than_so_many_bytes_of_what_is_settled():
    lane = [segment(n, n + 10) for n in range(0, 50, 10)] + [segment(50, 60, active=True)]
    kept = {"retention_ms": HOUR_MS, "retention_bytes": 200}
    assert going(lane, 30, **kept) == [0]
    assert going(lane, 50, **kept) == [0, 10, 20]


def test_what_is_not_settled_is_never_too_old_and_never_too_large():
    lane = [segment(n, n + 10, age_ms=9 * HOUR_MS) for n in range(0, 50, 10)]
    assert going(lane, 5, retention_ms=HOUR_MS, retention_bytes=0) == []


@pytest.mark.parametrize(
    ("space", "retained_ms"),
    [((1 << 40, 399), 0), ((1 << 40, 400), HOUR_MS), ((0, 0), HOUR_MS), (OSError(), HOUR_MS)],
)
def test_nothing_that_is_settled_keeps_others_from_publishing(space, retained_ms):
    def asked(path):
        if isinstance(space, OSError):
            raise space
        return space

    directory = SimpleNamespace(
        path="data", disk=SimpleNamespace(space=asked),
        config=SimpleNamespace(store=StoreSettings(queue_disk_free_bytes=100)),
    )  # fmt: skip
    settings = TopicSettings(retention_ms=HOUR_MS)
    assert as_there_is_room(directory, settings).retention_ms == retained_ms


def test_the_age_is_that_of_the_messages_and_not_of_what_was_written_last():
    """Thinning writes a segment anew, and upkeep looks at it later."""
    old = SegmentFacts("f", 0, 10, 100, NOW_MS - 2 * HOUR_MS, NOW_MS, active=False)
    future = SegmentFacts("g", 10, 20, 100, NOW_MS + HOUR_MS, NOW_MS - 5, active=False)
    assert going([old, future], 20, retention_ms=HOUR_MS) == [0]
    assert going([old, future], 20, retention_ms=3) == [0, 10]


def test_what_a_purge_has_removed_goes_at_once():
    verdicts = judge_lane(THREE, 30, NOW_MS, TopicSettings(retention_ms=HOUR_MS), shown=25)
    assert [it.segment.base_offset for it in verdicts if it.goes] == [0, 10]
    verdicts = judge_lane(THREE, 15, NOW_MS, TopicSettings(retention_ms=HOUR_MS), shown=15)
    assert [it.segment.base_offset for it in verdicts if it.goes] == [0]


def test_of_all_lanes_of_a_queue_what_is_oldest_goes_first():
    high = [segment(0, 10, age_ms=50), segment(10, 20, age_ms=10)]
    low = [segment(0, 9, age_ms=40), segment(9, 20, age_ms=30), segment(20, 30, active=True)]
    assert shares({1: high, 0: low}, 500) == {1: 200, 0: 300}
    assert shares({1: high, 0: low}, 499) == {1: 200, 0: 300}  # a segment is not cut
    assert shares({1: high, 0: low}, 400) == {1: 100, 0: 300}
    assert shares({1: high, 0: low}, 200) == {1: 100, 0: 100}
    assert shares({1: high, 0: low}, 0) == {1: 0, 0: 100}
    assert shares({}, 0) == {}


class Segments:
    """A log, as upkeep sees it."""

    def __init__(self, *segments):
        self._segments = segments

    def bytes(self):
        return sum(it.bytes for it in self._segments)

    def segments(self, *, timed):
        assert not timed
        return list(self._segments)

    def timed(self, facts):
        return facts


def test_bytes_are_counted_over_all_lanes_of_a_queue():
    one = Segments(segment(0, 10, age_ms=50), segment(10, 20, active=True))
    two = Segments(segment(0, 10, age_ms=60), segment(10, 20), segment(20, 30, active=True))
    settings = TopicSettings(retention_ms=HOUR_MS, retention_bytes=300)
    lanes, less = [(one, 10), (two, 20)], replace(settings, retention_bytes=200)
    assert among(one, lanes, settings).retention_bytes == 100
    assert among(one, lanes, less).retention_bytes == 100
    assert among(two, lanes, less).retention_bytes == 100
    for unbounded in (-1, 500):
        wide = replace(settings, retention_bytes=unbounded)
        assert among(one, lanes, wide) == wide
