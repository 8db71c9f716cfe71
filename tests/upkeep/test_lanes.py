"""Which segments of a queue's lane may go."""

from types import SimpleNamespace

import pytest

from logstore.settings import StoreSettings, TopicSettings
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.lanes import as_there_is_room, judge_lane

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
