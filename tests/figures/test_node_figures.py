"""The timer that has the figures looked at."""

from types import SimpleNamespace

import pytest

from logstore.broker.channel import Channels
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.errors import Failed
from logstore.figures.figures import Figures
from logstore.node.figures import BEGIN_S, NodeFigures
from logstore.protocols.session import Doorway, Limits
from logstore.slices import Slices


class Loop:
    """Time that a test lets pass."""

    def __init__(self):
        self.now, self.calls = 1003.0, []

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        handle = SimpleNamespace(at=self.now + seconds, call=call, cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        self.calls.append(handle)
        return handle

    def pass_time(self, seconds):
        self.now += seconds
        due = [it for it in self.calls if it.at <= self.now]
        self.calls = [it for it in self.calls if it.at > self.now]
        for it in due:
            if not it.cancelled:
                it.call()


class Node:
    def __init__(self, space=lambda: SimpleNamespace(total_bytes=100, usable_bytes=30)):
        self.loop, self.jobs = Loop(), []
        self.figures = Figures(self.loop.time, lambda: 0)
        self.doorway = Doorway(None, Limits(10, 1.0), "kafka", self.figures.door("kafka"))
        self.doorways = [self.doorway]
        server = SimpleNamespace(
            connections=list, doorways=lambda: self.doorways, count=lambda doorway: 4
        )
        self.looks = NodeFigures(
            self.loop, self.figures, server, lambda job, done: self.jobs.append((job, done)),
            Slices(), topics=SimpleNamespace(space=space, used=tuple),
            coordinator=SimpleNamespace(stirred=None, kinds=dict), channels=Channels(),
            queues=lambda: None, budget=Budget(BUDGET_BYTES_MAX),
        )  # fmt: skip

    def work(self):
        jobs, self.jobs = self.jobs, []
        for job, done in jobs:
            done(job())


def test_nothing_is_looked_at_before_somebody_wants_it():
    node = Node()
    assert node.loop.calls == []
    node.figures.wanted()
    node.figures.wanted()
    assert len(node.loop.calls) == 1


def test_it_looks_soon_and_then_at_the_beginning_of_each_step():
    node = Node()
    node.doorway.counts.opened = 4
    node.figures.wanted()
    node.loop.pass_time(BEGIN_S)
    node.work()
    rooms = {it.what: (it.used, it.limit) for it in node.figures.rooms}
    assert rooms["disk"] == (70, 100)
    assert rooms["connections of kafka"] == (4, 10)
    assert rooms["files"][0] > 0
    assert [it.at for it in node.loop.calls] == [pytest.approx(1010.0)]
    node.doorway.counts.messages_in = 70
    node.loop.pass_time(10)
    node.work()
    assert node.figures.rates("door", "kafka")["in"] > 0


def test_two_doorways_of_one_door_are_told_apart():
    node = Node()
    local = Doorway(None, Limits(7, 1.0), "kafka", node.doorway.counts, called="commands")
    node.doorways.append(local)
    node.doorway.counts.opened = 4
    node.figures.wanted()
    node.loop.pass_time(BEGIN_S)
    node.work()
    found = [(it.what, it.limit) for it in node.figures.rooms if "connections" in it.what]
    assert found == [("connections of kafka", 10), ("connections of commands", 7)]


def test_a_disk_that_hangs_is_not_asked_again_before_it_has_answered():
    node = Node()
    node.figures.wanted()
    for _ in range(5):
        node.loop.pass_time(10)
    assert len(node.jobs) == 1
    node.work()
    node.loop.pass_time(10)
    assert len(node.jobs) == 1


def test_a_worker_that_has_failed_is_asked_again():
    node = Node()
    node.figures.wanted()
    node.loop.pass_time(10)
    [(_, done)] = node.jobs
    node.jobs.clear()
    done(Failed("internal error"))
    node.loop.pass_time(10)
    assert len(node.jobs) == 1


def test_a_disk_of_which_nothing_is_known_is_left_out():
    def space():
        raise Failed("no such device")

    node = Node(space)
    node.figures.wanted()
    node.loop.pass_time(10)
    node.work()
    assert "disk" not in {it.what for it in node.figures.rooms}


def test_after_the_end_nothing_is_looked_at_and_nothing_begins():
    node = Node()
    node.figures.wanted()
    node.loop.pass_time(10)
    node.looks.close()
    node.work()
    assert node.figures.rooms == ()
    node.loop.pass_time(100)
    assert node.jobs == []
    other = Node()
    other.looks.close()
    other.figures.wanted()
    assert other.loop.calls == []
