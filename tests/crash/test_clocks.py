"""Clocks that jump, and records of another century: upkeep stays sane, says what it assumed."""

import os

import pytest
from clock import NOW_MS

import logstore
from logstore import Message
from logstore.config import Config
from logstore.settings import FOREVER

pytestmark = pytest.mark.long

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_1970, YEAR_2100 = 1000, 4_102_444_800_000
OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SMALL = {
    "segment.bytes": "400", "retention.ms": str(DAY_MS),
    "message.timestamp.after.max.ms": str(FOREVER),
}  # fmt: skip
JUMPS = [HOUR_MS, DAY_MS, -HOUR_MS, -DAY_MS, -400 * DAY_MS]


@pytest.fixture
def store(tmp_path, clock):
    with logstore.open(tmp_path / "data", clock=clock, config=OFF) as store:
        yield store


def fill(store, clock, count=20, *, timestamps=None, **settings):
    topic = store.create_topic("t", settings=SMALL | settings)
    for n in range(count):
        stamp = None if timestamps is None else timestamps[n % len(timestamps)]
        topic.append(b"%d" % n * 20, key=b"k%d" % (n % 3), timestamp_ms=stamp)
        written(topic.partition(0), clock)
    return topic


def written(log, clock):
    """The files' own times come from the machine's clock: here they are of the store's."""
    for base in log.bases():
        path = log.segment(base).path
        if os.stat(path).st_mtime > clock.ms / 1000 + 10**7:
            os.utime(path, (clock.ms / 1000, clock.ms / 1000))


def values(store, **given):
    with store.consumer("t", **given) as consumer:
        return [record.offset for record in consumer]


@pytest.mark.parametrize("jump_ms", JUMPS)
def test_a_jump_loses_nothing_before_its_time_and_nothing_stays_for_ever(store, clock, jump_ms):
    topic = fill(store, clock)
    log = topic.partition(0)
    clock.ms += jump_ms
    list(store.retention())
    assert values(store) == list(range(log.start, 20))
    if jump_ms < DAY_MS:
        assert log.start == 0
    for n in range(20, 30):
        assert topic.append(b"%d" % n * 20).offset == n
        written(log, clock)
    assert values(store)[-10:] == list(range(20, 30))
    clock.ms = max(clock.ms, NOW_MS) + DAY_MS + 1
    list(store.retention())
    assert values(store) == []
    assert topic.append(b"x").offset == 30


def test_what_a_clock_put_into_the_future_goes_by_its_last_write(store, clock):
    fill(store, clock, timestamps=[YEAR_2100])
    [kept] = store.retention(dry_run=True)
    assert not kept.dropped
    assert "in the future: its last write counts" in kept.verdicts[0].why
    clock.ms += DAY_MS + 1
    [done] = store.retention()
    assert len(done.dropped) == len(done.verdicts)
    assert str(YEAR_2100) in done.dropped[0].why


def test_what_was_stamped_in_1970_is_not_gone_the_moment_it_is_loaded(store, clock):
    fill(store, clock, timestamps=[YEAR_1970])
    assert not any(it.dropped for it in store.retention())
    clock.ms += DAY_MS + 1
    [done] = store.retention()
    assert len(done.dropped) == len(done.verdicts)


def test_rolling_does_not_run_wild_between_two_centuries(store, clock):
    """A log rolls when a batch is later than its segment's first by segment.ms; never backwards."""
    settings = {"segment.bytes": "1000000", "segment.ms": str(HOUR_MS)}
    topic = fill(store, clock, 30, timestamps=[YEAR_1970, NOW_MS, YEAR_2100], **settings)
    assert len(topic.partition(0).bases()) == 3  # at the first steps forwards, and at none back
    clock.ms -= DAY_MS
    for _ in range(20):
        topic.append(b"x")
    assert len(topic.partition(0).bases()) == 3
    assert values(store) == list(range(50))


def test_times_are_found_whatever_stands_beside_them(store, clock):
    topic = fill(store, clock, 30, timestamps=[NOW_MS, YEAR_1970, NOW_MS + 5, YEAR_2100])
    assert store.offset_for("t", 0, 0) == 0
    assert store.offset_for("t", 0, NOW_MS + 1) == 2
    assert store.offset_for("t", 0, NOW_MS + 6) == 3
    assert store.offset_for("t", 0, YEAR_2100 + 1) == 30
    assert store.offset_for("t", 0, -1) == 0
    times = [it.timestamp_ms for chunk in store.replay("t", to_ms=YEAR_2100) for it in chunk]
    assert len(times) == 30 - 7
    assert set(times) == {YEAR_1970, NOW_MS, NOW_MS + 5}
    assert topic.partition(0).find(FOREVER) == 30


@pytest.mark.parametrize("jump_ms", JUMPS)
def test_compaction_keeps_the_latest_by_offset_whatever_the_times_say(store, clock, jump_ms):
    given = {
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0",
        "min.compaction.lag.ms": "1000", "delete.retention.ms": "1000",
    }  # fmt: skip
    topic = fill(store, clock, **given)
    clock.ms += jump_ms
    topic.append_many([Message(b"last", b"k%d" % n) for n in range(3)])
    topic.append(None, key=b"k0")
    topic.partition(0).roll()
    clock.ms += 2000
    for _ in range(3):
        list(store.compaction())
        clock.ms = max(clock.ms, NOW_MS) + 2000
    with store.consumer("t") as consumer:
        left = {it.key: it.value for it in consumer}
    assert {key: it for key, it in left.items() if it} == {b"k1": b"last", b"k2": b"last"}
