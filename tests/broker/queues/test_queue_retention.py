"""How long messages stay that are done with: as each queue says; what was purged does not."""

import random

import pytest
from lossy_queues import Machine
from lossy_store import StoreDisk

from logstore.kept.queues import Lane

HOUR_MS = 3_600_000


@pytest.fixture
def machine(tmp_path):
    machine = Machine(StoreDisk(str(tmp_path)), random.Random(5))
    yield machine
    machine.crash()


def published(machine, count, name=b"q", **given):
    for _ in range(count):
        machine.publish(name, 1, size=100, **given)
        machine.run()


def taken(machine, count, name=b"q"):
    machine.get(name, count)
    machine.run()
    machine.ack(name, count)
    machine.run()


def start(machine, name=b"q", place=0):
    return machine.vhost.queue(name, None).stock.order[place].log.start


def settings(machine, name=b"q", place=0):
    queue = machine.vhost.queue(name, None)
    log = queue.stock.order[place].log
    return log.settings.retention_ms, log.settings.retention_bytes


def test_each_queue_has_its_own_retention_from_the_first_message_on(machine):
    for name, given in ((b"q", {"retention_ms": HOUR_MS}), (b"none", {"retention_ms": 0})):
        machine.declare(name, **given)
        machine.run()
        published(machine, 8, name)
        taken(machine, 8, name)
    machine.idle()
    assert start(machine) == 0
    assert start(machine, b"none") == 8
    machine.again()
    machine.idle()
    assert settings(machine)[0] == HOUR_MS
    assert start(machine) == 0
    machine.later(HOUR_MS + 1)
    machine.upkeep()
    assert start(machine) == 8


def test_upkeep_of_another_process_knows_it(machine):
    machine.declare(b"q", retention_ms=HOUR_MS, retention_bytes=0)
    machine.run()
    published(machine, 8)
    taken(machine, 8)
    machine.upkeep()
    assert 0 < start(machine) < 8  # but for the segment that is appended to
    entries = dict(machine.directory.entries())
    lane = str(Lane(machine.vhost.queue(b"q", None).id, 0))
    assert entries[lane].settings == {"retention.ms": str(HOUR_MS), "retention.bytes": "0"}


def test_bytes_are_those_of_all_priorities_together(machine):
    machine.declare(b"q", max_priority=3, retention_ms=HOUR_MS, retention_bytes=1000)
    machine.run()
    for _ in range(6):
        for priority in (0, 2):
            published(machine, 1, priority=priority)
            machine.later(10)
    taken(machine, 12)
    machine.idle()
    queue = machine.vhost.queue(b"q", None)
    starts = [lane.log.start for lane in queue.stock.order]
    assert all(0 < it < 6 for it in starts)
    assert max(starts) - min(starts) <= 2
    assert sum(lane.log.bytes() for lane in queue.stock.order) <= 1000 + 2 * 400


def test_retention_changes_while_a_queue_is_in_use_and_the_last_wish_stands(machine):
    machine.declare(b"q", retention_ms=HOUR_MS)
    machine.run()
    published(machine, 8)
    taken(machine, 8)
    stock = machine.vhost.queue(b"q", None).stock
    stock.retain({"retention.ms": "5"})
    stock.retain({"retention.ms": "0"})
    machine.run()
    assert settings(machine)[0] == 0
    machine.queues.touched(machine.vhost.queue(b"q", None))
    machine.vhost.queue(b"q", None).purge(lambda total: None)
    published(machine, 1)
    taken(machine, 1)
    machine.idle()
    assert start(machine) == 9


def test_a_purge_leaves_nothing_that_it_removed(machine):
    machine.declare(b"q", retention_ms=HOUR_MS)
    machine.run()
    published(machine, 20)
    taken(machine, 2)
    machine.purge(b"q")
    machine.idle()
    assert start(machine) == 0  # what was done with stays
    machine.upkeep()
    taken_away = [it for it in machine.segments(b"q")[0] if it]
    machine.later(HOUR_MS + 1)
    machine.upkeep()
    assert start(machine) == 20
    assert taken_away


def test_an_empty_past_goes_at_once_with_a_purge(machine):
    machine.declare(b"q", retention_ms=HOUR_MS)
    machine.run()
    published(machine, 20)
    machine.purge(b"q")
    machine.idle()
    assert start(machine) == 20


@pytest.mark.parametrize("kept", [0, 1])
def test_where_the_disk_is_short_all_queues_lose_what_is_settled(machine, monkeypatch, kept):
    for name in (b"q", b"other"):
        machine.declare(name, retention_ms=HOUR_MS)
        machine.run()
        published(machine, 8, name)
        taken(machine, 8 - kept, name)
    machine.idle()
    assert (start(machine), start(machine, b"other")) == (0, 0)
    space = machine.disk.space
    monkeypatch.setattr(machine.disk, "space", lambda path: (1 << 50, 1000), raising=False)
    told = []
    machine.queues.make_room(lambda: told.append(1))
    machine.queues.make_room(lambda: told.append(2))
    machine.run()
    assert told == [1, 2]
    least = 8 if not kept else 6
    assert start(machine) >= least
    assert start(machine, b"other") >= least
    monkeypatch.setattr(machine.disk, "space", space, raising=False)


def test_what_changes_while_a_lane_is_made_counts_for_it(machine):
    machine.declare(b"q", retention_ms=HOUR_MS)
    machine.run()
    machine.publish(b"q", 1)
    machine.vhost.queue(b"q", None).stock.retain({"retention.ms": "7"})
    machine.run()
    assert settings(machine)[0] == 7


def test_many_that_change_at_once_take_one_worker(machine, monkeypatch):
    for n in range(20):
        machine.declare(b"%d" % n)
        machine.run()
        machine.publish(b"%d" % n, 1)
        machine.run()
    works = []
    work = machine.queues.logs._work
    monkeypatch.setattr(machine.queues.logs, "_work", lambda *it: (works.append(it), work(*it)))
    for ms in ("1", "2"):
        for queue in machine.vhost.queues():
            queue.stock.retain({"retention.ms": ms})
    machine.run()
    assert len(works) <= 2
    assert {settings(machine, b"%d" % n)[0] for n in range(20)} == {2}
