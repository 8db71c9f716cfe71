"""Upkeep that is asked for by the library: of which topics, and how far it is."""

import pytest

import logstore
from logstore import Config, Progress
from logstore.errors import UnknownTopic

COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}


@pytest.fixture
def store(tmp_path):
    """Three topics of two sealed segments each: a key that is written twice."""
    config = Config({"upkeep.interval.ms": ("-1", "test")})
    with logstore.open(tmp_path / "data", config=config) as store:
        for name in ("a", "b", "c"):
            topic = store.create_topic(name, partitions=1, settings=COMPACT)
            for value in (b"old", b"new"):
                topic.append(value, key=b"k")
                topic.partition(0).roll()
        yield store


def test_jobs_take_several_topics(store):
    assert [it.topic for it in store.retention("a", "c")] == ["a", "c"]
    assert [(it.topic, it.records_removed) for it in store.compaction("c", "a")] == [
        ("c", 1),
        ("a", 1),
    ]
    assert [it.topic for it in store.compaction(dry_run=True) if it.due] == ["b"]


def test_a_topic_named_twice_is_done_once(store):
    assert [it.topic for it in store.retention("b", "b", dry_run=True)] == ["b"]


def test_no_topic_is_touched_where_one_is_unknown(store):
    with pytest.raises(UnknownTopic):
        list(store.compaction("a", "no-such"))
    assert [it.topic for it in store.compaction(dry_run=True) if it.due] == ["a", "b", "c"]


def test_whoever_asks_for_a_job_is_told_how_far_it_is(store):
    told = []
    [done] = store.compaction("b", tell=told.append)
    assert done.records_removed == 1
    assert {(it.topic, it.partition) for it in told} == {("b", 0)}
    assert all(isinstance(it, Progress) and it.bytes_done <= it.bytes_total for it in told)
    assert told[-1].bytes_done == told[-1].bytes_total > 0


def test_recompression_takes_topics_too(store):
    store.alter_topic("b", {"compression.sealed": "zstd"})
    assert [it.topic for it in store.recompression("a", "b")] == ["b"]
