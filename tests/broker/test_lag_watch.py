"""How far groups are behind: looked up when somebody asks, and remembered for an hour."""

import pytest
from coordinator_parts import MemoryKeeper
from http_topics import HandTimer

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.lag_watch import (
    FORGET_S,
    FRESH_S,
    RATE_S,
    SHARE,
    STEP_S,
    STEPS,
    LagWatch,
)
from logstore.config import Config
from logstore.errors import Failed, UnknownTopic
from logstore.kept import KeptOffset


class Stands:
    """Where partitions are, by topic; each topic that is looked at is counted."""

    def __init__(self):
        self.at = {}
        self.looks = 0

    def offsets(self, name):
        self.looks += 1
        if name not in self.at:
            raise UnknownTopic(name)
        return self.at[name]


class Watched:
    def __init__(self):
        self.timer, self.keeper, self.stands = HandTimer(), MemoryKeeper(), Stands()
        coordinator = Coordinator(Config().store, self.keeper, lambda name: None)
        self.looks = 0
        self.failure = None
        self.takes_s = 0.0
        self.watch = LagWatch(self.stands, coordinator, self._work, self.timer)

    def _work(self, job, done):
        self.looks += 1
        found = job() if self.failure is None else self.failure
        self.timer.seconds += self.takes_s
        done(found)

    def commit(self, group, **offsets):
        """``t0=5``: in partition 0 of topic t."""
        self.keeper.kept.setdefault(group, Kept())
        rows = self.keeper.offsets.setdefault(group, {})
        for place, offset in offsets.items():
            rows[place[:-1], int(place[-1])] = KeptOffset(offset, 0, "")

    def ask(self):
        told = []
        self.watch.ask(told.append)
        assert len(told) == 1
        return told[0]


class Kept:
    kind = "simple"


@pytest.fixture
def it():
    found = Watched()
    found.stands.at["t"] = [(0, 10), (5, 20)]
    return found


def test_nobody_looks_before_somebody_asks(it):
    it.timer.go_on(1000)
    assert it.looks == 0
    assert it.watch.history("g") == []
    assert it.watch.per_second("g") is None


def test_a_group_is_behind_by_what_it_has_not_read(it):
    it.stands.at["u"] = [(0, 4), None]
    it.commit("g", t0=4, u0=4)
    it.commit("h", t1=20, t0=99)  # beyond the end
    it.commit("i", gone0=3)
    assert it.ask() is None
    groups = it.watch.last.groups
    assert groups["g"].topics == {"t": 6 + 15, "u": None}
    assert groups["g"].lag is None  # of one partition it is not known
    assert (groups["h"].lag, groups["h"].committed) == (0, 119)
    assert (groups["i"].topics, groups["i"].lag) == ({}, 0)
    assert it.watch.readers("t") == ["g", "h"]
    assert it.watch.readers("nope") == ()
    assert it.stands.looks == 3  # each topic once


def test_who_asks_again_soon_is_told_the_same(it):
    it.commit("g", t0=4)
    it.ask()
    it.commit("g", t0=9)
    it.timer.go_on(FRESH_S / 2)
    it.ask()
    assert (it.looks, it.watch.last.groups["g"].committed) == (1, 4)
    it.timer.go_on(FRESH_S)
    it.ask()
    assert (it.looks, it.watch.last.groups["g"].committed) == (2, 9)


def test_those_who_ask_together_wait_for_one_look(it):
    jobs, told = [], []
    watch = LagWatch(it.stands, it.watch._coordinator, lambda *it: jobs.append(it), it.timer)
    watch.ask(lambda _: told.append(1))
    watch.ask(lambda _: told.append(2))
    [(job, done)] = jobs
    done(job())
    assert told == [1, 2]


def test_a_look_that_fails_is_told_and_the_next_one_is_tried(it):
    it.commit("g", t0=4)
    it.failure = Failed("disk")
    assert str(it.ask()) == "disk"
    it.failure = None
    assert it.ask() is None
    assert it.watch.last.groups["g"].lag == 21


def test_the_past_of_an_hour_is_remembered_in_steps(it):
    it.commit("g", t0=0)
    it.ask()
    assert it.watch.history("g") == [25]
    for step in range(STEPS + 10):
        it.stands.at["t"] = [(0, 10 + step), (5, 20)]
        it.timer.go_on(STEP_S)
        it.watch.ask(lambda _: None)
    past = it.watch.history("g")
    assert len(past) == STEPS
    assert past == sorted(past)
    assert past[-1] == 25 + STEPS + 9
    assert it.watch.per_second("g") == pytest.approx(1 / STEP_S, rel=0.3)


def test_of_an_idle_group_nothing_is_added(it):
    it.commit("g", t0=0)
    it.ask()
    it.timer.go_on(100 * STEP_S)
    assert it.looks > 90
    assert len(it.watch._past["g"].lags) == 1
    assert it.watch.history("g") == [25] * 101
    assert it.watch.per_second("g") == 0
    assert it.watch.unmoved_s("g") == pytest.approx(100 * STEP_S)
    it.commit("g", t0=1)
    it.timer.go_on(STEP_S)
    assert it.watch.unmoved_s("g") < STEP_S
    assert it.watch.per_second("g") == pytest.approx(-1 / RATE_S)


def test_a_group_that_is_gone_is_forgotten(it):
    it.commit("g", t0=0)
    it.ask()
    it.keeper.kept.clear()
    it.timer.go_on(STEP_S)
    assert it.watch.history("g") == []
    assert it.watch.last.groups == {}
    assert it.watch.unmoved_s("g") is None


def test_it_ends_when_nobody_has_asked_for_an_hour(it):
    it.commit("g", t0=0)
    it.ask()
    it.timer.go_on(FORGET_S + STEP_S)
    looks = it.looks
    it.timer.go_on(FORGET_S)
    assert it.looks == looks
    assert it.watch.history("g") == []
    it.ask()
    it.timer.go_on(STEP_S)
    assert it.looks == looks + 2


def test_a_look_that_takes_long_is_seldom_made(it):
    it.takes_s = 1.0
    it.ask()
    it.timer.go_on(SHARE - 1)
    assert it.looks == 1
    it.timer.go_on(2)
    assert it.looks == 2
