"""What queues leave on the disk: what is settled goes, and an idle queue has one empty segment."""

import random
from dataclasses import replace

import lossy_queues
import pytest
from lossy_queues import Machine
from lossy_store import StoreDisk

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.arguments import NO_ARGUMENTS
from logstore.storage.kinds import LANE


@pytest.fixture
def machine(tmp_path):
    machine = Machine(StoreDisk(str(tmp_path)), random.Random(7))
    machine.declare(b"q")
    machine.run()
    yield machine
    machine.crash()


def published(machine, count, name=b"q"):
    for _ in range(count):
        machine.publish(name, 1, size=100)
        machine.run()


def taken(machine, count, name=b"q"):
    machine.get(name, count)
    machine.run()
    machine.ack(name, count)
    machine.run()


def files(machine, part):
    return sorted(it for it in machine.disk.names if part in it and it.endswith(".log"))


def test_a_drained_idle_queue_has_one_empty_segment(machine):
    published(machine, 20)
    assert len(machine.segments(b"q")[0]) > 5
    taken(machine, 20)
    machine.idle()
    assert machine.segments(b"q") == [[20]]
    [file] = files(machine, "/queues/")
    assert not machine.disk.names[file].data


def test_what_is_settled_goes_while_the_queue_is_in_use(machine):
    for _ in range(10):
        published(machine, 6)
        taken(machine, 6)
        machine.later(1000)
        machine.run()
        assert len(machine.segments(b"q")[0]) <= 6


def test_one_unsettled_message_keeps_what_stands_above_it_and_no_more(machine):
    published(machine, 20)
    taken(machine, 10)
    machine.get(b"q", 1)
    machine.run()
    kept = machine.out
    machine.out = {}
    taken(machine, 9)
    machine.idle()
    [bases] = machine.segments(b"q")
    assert bases[0] <= 10 < bases[1]
    machine.out = kept
    machine.ack(b"q")
    machine.idle()
    assert machine.segments(b"q") == [[20]]


def test_a_drained_queue_is_trimmed_after_a_restart_too(machine):
    published(machine, 20)
    taken(machine, 20)
    machine.again()
    machine.idle()
    assert machine.segments(b"q") == [[20]]


def test_a_queue_that_is_empty_now_and_then_begins_no_segment_for_that(machine):
    begun = set()
    for _ in range(6):
        machine.publish(b"q", 1)
        machine.run()
        begun |= set(machine.segments(b"q")[0])
        machine.get(b"q", 1)
        machine.run()
        machine.ack(b"q")
        machine.run()
        machine.later(1000)
        machine.run()
    assert len(begun) <= 3  # some messages fill one


def test_the_journal_loses_what_lies_below_its_recovery_point(machine):
    for _ in range(60):
        published(machine, 2)
        taken(machine, 2)
        machine.later(1000)
        machine.run()
    assert len(files(machine, "/journal/")) <= 4
    assert machine.queues._journaling.log.start > 40
    machine.again()
    assert machine.contents()[b"q"][1] == []


def test_volatile_queues_lose_what_is_settled(machine):
    facts = QueueFacts(b"v", False, False, False, NO_ARGUMENTS)
    queue, _ = machine.vhost.declare_queue(facts, None)
    machine.live[b"v"] = 0
    published(machine, 20, b"v")
    machine.vhost.queue(b"v", None).purge(lambda total: None)
    machine.idle()
    assert queue.stock.order[0].log.bases() == [20]


def test_an_idle_queue_is_not_looked_at(machine):
    published(machine, 2)
    taken(machine, 2)
    machine.idle()
    assert machine.queues.deadline_ms() is None


def test_what_is_retained_goes_once_it_is_old_enough(tmp_path, monkeypatch):
    """By the next settlement after that, or by upkeep."""
    small = lossy_queues.kinds()
    lanes = {**small[LANE.name].settings(None), "retention.ms": "3600000"}
    kept = {**small, LANE.name: replace(LANE, settings=lambda store: lanes)}
    monkeypatch.setattr(lossy_queues, "kinds", lambda lax=False: kept)
    machine = Machine(StoreDisk(str(tmp_path)), random.Random(7))
    machine.declare(b"q")
    published(machine, 20)
    taken(machine, 18)
    machine.idle()
    [before] = machine.segments(b"q")
    assert before[0] == 0
    machine.later(3_600_001)
    taken(machine, 1)
    machine.idle()
    [after] = machine.segments(b"q")
    assert 0 < after[0] <= 19
    assert after == before[-len(after) :]
    machine.crash()


def test_what_is_retained_goes_at_once_where_the_disk_is_nearly_full(tmp_path, monkeypatch):
    small = lossy_queues.kinds()
    lanes = {**small[LANE.name].settings(None), "retention.ms": "3600000"}
    kept = {**small, LANE.name: replace(LANE, settings=lambda store: lanes)}
    monkeypatch.setattr(lossy_queues, "kinds", lambda lax=False: kept)
    disk = StoreDisk(str(tmp_path))
    machine = Machine(disk, random.Random(7))
    machine.declare(b"q")
    published(machine, 20)
    taken(machine, 20)
    machine.idle()
    assert machine.segments(b"q")[0][0] == 0
    machine.disk.space = lambda path: (1 << 40, 1000)
    published(machine, 1)
    taken(machine, 1)
    machine.idle()
    assert machine.segments(b"q") == [[21]]
    machine.crash()
