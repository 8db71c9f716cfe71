"""Upkeep of queues in a real store: what is settled goes, whoever does it."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from clock import NOW_MS

import logstore
from logstore import Config

MANY = 40
BODY = 100_000  # so that a queue's smallest segment has ten


@contextmanager
def opened(path, mode="write", retention_ms=0):
    settings = {
        "upkeep.interval.ms": "-1", "queue.segment.bytes": str(1 << 20),
        "queue.retention.ms": str(retention_ms),
    }  # fmt: skip
    config = Config({name: (value, "test") for name, value in settings.items()})
    with logstore.open(path, mode, config=config, clock=lambda: NOW_MS) as store:
        yield store


def used(store, settled):
    """Messages of which these are acknowledged, and the others are out until the store's end."""
    queue = store.queue("q")
    for n in range(MANY):
        queue.publish(b"%d|" % n + bytes(BODY))
    messages = [queue.get() for _ in range(MANY)]
    for n in settled:
        messages[n].ack()
    return queue


def left(store):
    found = []
    while (message := store.queue("q").get()) is not None:
        found.append(int(message.body.split(b"|")[0]))
        message.ack()
    return found


def disk(path):
    """What lanes take."""
    return sum(it.stat().st_blocks * 512 for it in Path(path).rglob("queues/*/*.log"))


def of_lanes(outcomes):
    outcomes = list(outcomes)
    assert not [it.broke for it in outcomes if it.broke is not None]
    return [it for it in outcomes if it.topic.startswith("queues/")]


def test_one_message_that_nobody_acknowledges_keeps_little_of_what_came_behind_it(tmp_path):
    with opened(tmp_path / "data") as store:
        used(store, range(1, MANY))
        assert disk(tmp_path) > MANY * BODY
        [done] = of_lanes(store.compaction())
        assert done.due
        assert disk(tmp_path) < 2 * (1 << 20)
    with opened(tmp_path / "data") as store:
        assert left(store) == [0]


@pytest.mark.long
def test_by_a_process_that_uses_no_queues(tmp_path):
    with opened(tmp_path / "data") as store:
        used(store, range(1, MANY))
    with opened(tmp_path / "data") as store:
        of_lanes(store.compaction())
        assert store._queues is None
    assert disk(tmp_path) < 2 * (1 << 20)
    with opened(tmp_path / "data") as store:
        assert left(store) == [0]


@pytest.mark.long
def test_by_the_process_that_has_the_queues_without_being_asked(tmp_path):
    with opened(tmp_path / "data") as store:
        used(store, [*range(25), *range(26, MANY)])
        store._upkeep.do()
        assert disk(tmp_path) < 2 * (1 << 20)
        assert store._upkeep._directory.noted_upkeep()
    with opened(tmp_path / "data") as store:
        assert left(store) == [25]


def test_a_reader_says_what_would_be_done_and_does_nothing(tmp_path):
    with opened(tmp_path / "data") as store:
        used(store, [*range(15), *range(16, MANY)])
        before = disk(tmp_path)
    with opened(tmp_path / "data", "read") as reader:
        [retained] = of_lanes(reader.retention(dry_run=True))
        [compacted] = of_lanes(reader.compaction(dry_run=True))
    assert [it.segment.base_offset for it in retained.dropped] == [0]
    assert compacted.due
    assert disk(tmp_path) == before


@pytest.mark.parametrize("name", ["retention", "compaction"])
def test_nothing_goes_that_is_retained(tmp_path, name):
    with opened(tmp_path / "data", retention_ms=3_600_000) as store:
        used(store, range(1, MANY))
        before = disk(tmp_path)
        [done] = of_lanes(getattr(store, name)())
        assert disk(tmp_path) == before
        assert not (done.due if name == "compaction" else done.dropped)


def test_topics_that_are_named_are_all_that_is_looked_at(tmp_path):
    with opened(tmp_path / "data") as store:
        store.create_topic("t")
        used(store, range(MANY))
        assert [it.topic for it in store.retention("t")] == ["t"]
