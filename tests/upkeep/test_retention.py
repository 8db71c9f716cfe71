"""Retention: the judgement alone, and the store that acts on it."""

import os

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.errors import Damaged, OffsetAboveEnd, OffsetBelowStart, ReadOnly
from logstore.kept.groups import KeptOffset
from logstore.settings import TopicSettings
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.retention import duration, held, judge

HOUR_MS = 3_600_000


def segments(*rows):
    """(bytes, stamped hours ago, written hours ago) of each; the last is active."""
    return [
        SegmentFacts(
            f"t-0/{n}.log", 10 * n, 10 * n + 10, size,
            NO_TIMESTAMP if stamped is None else NOW_MS - round(stamped * HOUR_MS),
            NOW_MS - round(written * HOUR_MS), active=n + 1 == len(rows),
        )
        for n, (size, stamped, written) in enumerate(rows)
    ]  # fmt: skip


def gone(found, readers=None, **settings):
    """The places of those that go."""
    settings = {"retention_ms": -1, **settings}
    verdicts = judge(found, NOW_MS, TopicSettings(**settings), readers or {})
    assert [it.segment for it in verdicts] == found
    assert all(it.why for it in verdicts)
    return [place for place, it in enumerate(verdicts) if it.goes]


OLD = segments((100, 9, 9), (100, 6, 6), (100, 3, 3), (100, 0, 0))


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    limit=st.integers(-1, 1500),
    readers=st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(0, 90)),
)
def test_what_groups_hold_is_what_would_go_without_them(sizes, limit, readers):
    found = segments(*((size, 1, 1) for size in sizes))
    settings = TopicSettings(retention_ms=-1, retention_bytes=limit)
    kept = {name: None if at is None else KeptOffset(at, 7, "") for name, at in readers.items()}
    holds = held(found, NOW_MS, settings, kept)
    goes = [found[it] for it in gone(found, readers, retention_bytes=limit)]
    alone = [found[it] for it in gone(found, {}, retention_bytes=limit)]
    assert (goes == alone) == (not holds)
    for it in holds:
        its = [one for one in alone[len(goes) :] if it.at is None or it.at < one.end_offset]
        assert (it.base_offset, it.end_offset) == (its[0].base_offset, its[-1].end_offset)
        assert (it.segments, it.bytes) == (len(its), sum(one.bytes for one in its))
        assert it.commit_ms == (None if it.at is None else 7)
    if holds:
        assert max(it.segments for it in holds) == len(alone) - len(goes)


class TestByAge:
    def test_what_is_older_goes(self):
        assert gone(OLD) == []
        assert gone(OLD, retention_ms=5 * HOUR_MS) == [0, 1]
        assert gone(OLD, retention_ms=6 * HOUR_MS) == [0], "as old is not older"

    def test_the_active_one_goes_when_all_of_it_is_old(self):
        assert gone(OLD, retention_ms=0) == [0, 1, 2]
        found = segments((100, 9, 9), (100, 8, 8))
        assert gone(found, retention_ms=HOUR_MS) == [0, 1]
        why = judge(found, NOW_MS, TopicSettings(retention_ms=HOUR_MS), {})[1].why
        assert why == "8.0 h old, over retention.ms=3600000; it is the active one: rolled first"

    def test_an_empty_active_one_stays(self):
        assert gone(segments((0, None, 99)), retention_ms=0) == []

    def test_none_after_one_that_stays(self):
        found = segments((100, 9, 9), (100, 0, 0), (100, 9, 9), (100, 0, 0))
        assert gone(found, retention_ms=HOUR_MS) == [0]

    def test_compacted_topics_expire_nothing_unless_they_delete_too(self):
        assert gone(OLD, retention_ms=1, cleanup_policy=("compact",)) == []
        assert gone(OLD, retention_ms=HOUR_MS, cleanup_policy=("compact", "delete")) == [0, 1, 2]


class TestClocks:
    def test_records_of_a_past_year_loaded_just_now_stay(self):
        found = segments((100, 24 * 365 * 50, 1), (100, 24 * 365, 0))
        assert gone(found, retention_ms=2 * HOUR_MS) == []
        assert gone(found, retention_ms=HOUR_MS // 2) == [0]

    def test_a_record_of_the_year_2100_does_not_keep_its_segment_for_ever(self):
        found = segments((100, -24 * 365 * 77, 9), (100, 0, 0))
        assert gone(found, retention_ms=HOUR_MS) == [0]
        why = judge(found, NOW_MS, TopicSettings(retention_ms=HOUR_MS), {})[0].why
        assert "in the future: its last write counts" in why

    def test_a_file_written_by_a_clock_that_was_ahead(self):
        found = segments((100, 9, -24), (100, 0, 0))
        assert gone(found, retention_ms=HOUR_MS) == [0]
        why = judge(found, NOW_MS, TopicSettings(retention_ms=HOUR_MS), {})[0].why
        assert "in the future: its timestamps count" in why

    def test_nothing_goes_when_the_clock_was_set_back_behind_it_all(self):
        found = segments((100, -9, -9), (100, -9, -9))
        assert gone(found, retention_ms=0) == []
        why = judge(found, NOW_MS, TopicSettings(retention_ms=0), {})[0].why
        assert "stamped and written in the future: taken as new" in why


class TestBySize:
    def test_the_oldest_go_while_the_rest_is_enough(self):
        assert gone(OLD, retention_bytes=400) == []
        assert gone(OLD, retention_bytes=399) == [], "301 bytes would be left without the first"
        assert gone(OLD, retention_bytes=300) == [0]
        assert gone(OLD, retention_bytes=150) == [0, 1]

    def test_never_the_active_one(self):
        assert gone(OLD, retention_bytes=0) == [0, 1, 2]


class TestGroups:
    def test_what_a_group_has_not_read_stays(self):
        assert gone(OLD, {"g": 15}, retention_ms=HOUR_MS) == [0]
        assert gone(OLD, {"g": 20}, retention_ms=HOUR_MS) == [0, 1]
        assert gone(OLD, {"g": 20, "h": 9}, retention_ms=HOUR_MS) == []
        assert gone(OLD, {"g": None}, retention_bytes=0) == []

    def test_but_not_for_ever(self):
        limit = {"retention_groups_max_ms": 5 * HOUR_MS}
        assert gone(OLD, {"g": 0}, retention_ms=HOUR_MS, **limit) == [0, 1]
        assert gone(OLD, {"g": 0}, retention_ms=HOUR_MS, retention_groups_max_ms=-1) == []

    def test_what_all_have_read_stays_as_long_as_it_would(self):
        assert gone(OLD, {"g": 40}, retention_ms=5 * HOUR_MS) == [0, 1]


row = st.tuples(st.integers(0, 1000), st.none() | st.integers(-100, 100), st.integers(-100, 100))


@given(
    st.lists(row, min_size=1, max_size=12), st.integers(-1, 50), st.integers(-1, 5000),
    st.dictionaries(st.sampled_from("gh"), st.none() | st.integers(0, 130)),
)  # fmt: skip
def test_what_goes_is_the_beginning_and_no_more_than_asked_for(rows, hours, size, readers):
    found = segments(*rows)
    retention_ms = hours * HOUR_MS if hours >= 0 else -1
    places = gone(found, readers, retention_ms=retention_ms, retention_bytes=size)
    assert places == list(range(len(places)))
    left = sum(it.bytes for it in found[len(places) :])
    for it in reversed([found[place] for place in places]):
        empty = it.max_timestamp_ms == NO_TIMESTAMP
        ages = [NOW_MS - at for at in (it.max_timestamp_ms, it.written_ms) if at <= NOW_MS]
        old = retention_ms >= 0 and ages and min(ages) > retention_ms
        large = size >= 0 and left >= size and not it.active
        assert empty or old or large
        left += it.bytes


def test_lengths_of_time():
    assert [duration(ms) for ms in (5, 1500, 90_000, 2 * HOUR_MS, 36 * HOUR_MS)] == [
        "5 ms", "1.5 s", "1.5 min", "2.0 h", "1.5 d",
    ]  # fmt: skip


# The store


@pytest.fixture
def store(tmp_path, clock):
    with logstore.open(tmp_path / "data", clock=clock) as store:
        yield store


def fill(store, count=20, **settings):
    """A topic of several segments, written an hour apart, the last just now; stamped long ago."""
    given = {name.replace("_", "."): value for name, value in settings.items()}
    topic = store.create_topic("t", settings={"segment.bytes": 400, "retention.ms": -1, **given})
    for n in range(count):
        topic.append(b"%d" % n + bytes(100), timestamp_ms=NOW_MS - 10**9 + n)
    log = topic.partition(0)
    for age_h, base in enumerate(reversed(log.chain.bases)):
        written = (NOW_MS - age_h * HOUR_MS) / 1000
        os.utime(log.chain.segment(base).path, (written, written))
    return log


def values(store):
    return [int(it.value.rstrip(b"\0")) for it in store.consumer("t")]


def test_a_run_drops_what_a_dry_run_says(store, tmp_path, clock):
    log = fill(store)
    clock.ms = NOW_MS + 100
    bases = log.chain.bases
    store.alter_topic("t", {"retention.ms": 2 * HOUR_MS + 1000})
    [would] = store.retention(dry_run=True)
    assert [it.segment.base_offset for it in would.dropped] == bases[:-3]
    assert values(store) == list(range(20))
    with logstore.open(tmp_path / "data", "read", clock=clock) as reader:
        assert list(reader.retention("t", dry_run=True)) == [would]
        with pytest.raises(ReadOnly):
            list(reader.retention("t"))
    assert list(store.retention()) == [would]
    assert log.chain.bases == bases[-3:]
    assert values(store) == list(range(bases[-3], 20))
    assert not any(it.dropped for it in store.retention())


def test_a_log_of_which_all_is_old_is_empty_and_goes_on(store, clock):
    log = fill(store)
    clock.ms = NOW_MS + 2**40
    store.alter_topic("t", {"retention.ms": 1000})
    [done] = store.retention()
    assert len(done.dropped) == len(done.verdicts)
    assert (log.start, log.end, values(store)) == (20, 20, [])
    assert store.topic("t").append(b"20").offset == 20
    assert values(store) == [20]


def test_what_groups_have_not_read_is_kept(store, clock):
    log = fill(store, retention_groups="billing", retention_bytes=0)
    clock.ms = NOW_MS + 100
    assert not any(it.dropped for it in store.retention())
    with store.consumer("t", group="billing") as consumer:
        while consumer.position("t", 0) < 9:
            consumer.poll(1)
    committed = store.group("billing").describe()[0].committed
    [done] = store.retention()
    assert done.dropped
    assert done.dropped[-1].segment.end_offset <= committed
    assert log.start <= committed
    with store.consumer("t", group="billing") as consumer:
        assert [it.offset for it in consumer] == list(range(committed, 20))


def test_upkeep_warns_once_of_a_group_that_has_never_committed(store, clock, caplog):
    fill(store, retention_groups="audit,billing", retention_bytes=0)
    clock.ms = NOW_MS + 100
    with store.consumer("t", group="billing") as consumer:
        consumer.poll(1)
    upkeep = store._upkeep
    for _ in range(2):
        upkeep.do()
    said = [it.getMessage() for it in caplog.records if "retention.groups" in it.getMessage()]
    assert said == [
        "topic t: group 'audit' of retention.groups has no offset in this topic: records that"
        " it has not read are not deleted"
    ]


def test_a_damaged_log_keeps_everything(store, clock):
    log = fill(store)
    fill_other = store.create_topic("u", settings={"retention.ms": 1000})
    fill_other.append(b"x", timestamp_ms=NOW_MS)
    clock.ms = NOW_MS + 2**40
    store.alter_topic("t", {"retention.ms": 1000})
    bases = log.chain.bases
    path = log.chain.segment(bases[1]).path
    with open(path, "r+b") as file:
        file.truncate(30)
    log.chain.segment(bases[1]).restart_index()
    by_topic = {it.topic: it for it in store.retention()}
    assert isinstance(by_topic["t"].broke.error(), Damaged)
    assert log.chain.bases == bases
    assert by_topic["u"].dropped


def test_trim_to_an_offset_or_a_time(store, tmp_path):
    log = fill(store)
    assert store.trim("t", 7, dry_run=True) == [(0, 0, 7)]
    assert log.start == 0
    assert store.trim("t", 7) == [(0, 0, 7)]
    assert values(store) == list(range(7, 20))
    with pytest.raises(OffsetBelowStart):
        store.trim("t", 3)
    with pytest.raises(OffsetAboveEnd):
        store.trim("t", 21)
    assert store.trim("t", "latest", [0]) == [(0, 7, 20)]
    with logstore.open(tmp_path / "data", "read") as reader:
        assert values(reader) == []


def test_trim_is_of_all_partitions_or_none(store):
    topic = store.create_topic("u", partitions=2)
    topic.append_many([logstore.Message(b"%d" % n) for n in range(5)], partition=0)
    with pytest.raises(OffsetAboveEnd):
        store.trim("u", 3)
    assert [log.start for log in topic.partitions] == [0, 0]
    assert store.trim("u", 3, [0]) == [(0, 0, 3)]
