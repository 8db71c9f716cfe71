"""How far groups are behind: looked up when somebody asks, and no oftener than it is worth."""

import pytest
from coordinator_parts import Kept, MemoryKeeper

from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.fresh import FRESH_S, OLD_S, SHARE
from logstore.broker.group_lags import GroupLags
from logstore.config import Config
from logstore.errors import Failed, UnknownTopic
from logstore.kept.groups import KeptOffset


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
        self.now, self.keeper, self.stands = 1000.0, MemoryKeeper(), Stands()
        coordinator = Coordinator(Config().store, self.keeper, lambda name: None)
        self.looks = 0
        self.failure = None
        self.takes_s = 0.0
        self.lags = GroupLags(self.stands, coordinator, self._work, lambda: self.now)

    def _work(self, job, done):
        self.looks += 1
        found = job() if self.failure is None else self.failure
        self.now += self.takes_s
        done(found)

    def commit(self, group, **offsets):
        """``t0=5``: in partition 0 of topic t."""
        self.keeper.kept.setdefault(group, Kept("simple"))
        rows = self.keeper.offsets.setdefault(group, {})
        for place, offset in offsets.items():
            rows[place[:-1], int(place[-1])] = KeptOffset(offset, 0, "")

    def pass_s(self, seconds):
        self.now += seconds

    def ask(self):
        told = []
        self.lags.ask(told.append)
        assert len(told) == 1
        return told[0]


@pytest.fixture
def it():
    found = Watched()
    found.stands.at["t"] = [(0, 10), (5, 20)]
    return found


def test_a_group_is_behind_by_what_it_has_not_read(it):
    it.stands.at["u"] = [(0, 4), None]
    it.commit("g", t0=4, u0=4)
    it.commit("h", t1=20, t0=99)  # beyond the end
    it.commit("i", gone0=3)
    assert it.ask() is None
    groups = it.lags.last.groups
    assert groups["g"].topics == {"t": 6 + 15, "u": None}
    assert groups["g"].lag is None  # of one partition it is not known
    assert groups["h"].lag == 0
    assert (groups["i"].topics, groups["i"].lag) == ({}, 0)
    assert it.lags.readers("t") == ["g", "h"]
    assert it.lags.readers("nope") == ()
    assert it.stands.looks == 3  # each topic once


def test_who_asks_again_soon_is_told_the_same(it):
    it.commit("g", t0=4)
    it.ask()
    it.commit("g", t0=9)
    it.pass_s(FRESH_S / 2)
    it.ask()
    assert (it.looks, it.lags.last.groups["g"].lag) == (1, 21)
    it.pass_s(FRESH_S)
    it.ask()
    assert (it.looks, it.lags.last.groups["g"].lag) == (2, 16)


def test_those_who_ask_together_wait_for_one_look(it):
    jobs, told = [], []
    lags = GroupLags(it.stands, it.lags._coordinator, lambda *it: jobs.append(it), lambda: 1.0)
    lags.ask(lambda _: told.append(1))
    lags.ask(lambda _: told.append(2))
    [(job, done)] = jobs
    done(job())
    assert told == [1, 2]


def test_a_look_that_fails_is_told_and_the_next_one_is_tried(it):
    it.commit("g", t0=4)
    it.failure = Failed("disk")
    assert str(it.ask()) == "disk"
    it.failure = None
    assert it.ask() is None
    assert it.lags.last.groups["g"].lag == 21


@pytest.mark.parametrize(("takes_s", "fresh_s"), [(0.1, 0.1 * SHARE), (3.0, OLD_S), (0.0, FRESH_S)])
def test_a_look_that_takes_long_is_seldom_made(it, takes_s, fresh_s):
    it.takes_s = takes_s
    it.ask()
    it.pass_s(fresh_s - 0.01)
    it.ask()
    assert it.looks == 1
    it.pass_s(0.02)
    it.ask()
    assert it.looks == 2


def test_one_group_is_told_as_it_is_now(it):
    it.commit("g", t0=4)
    it.ask()
    it.commit("g", t0=10)
    assert it.lags.one("g").lag == 15
    assert it.lags.last.groups["g"].lag == 21
    assert it.lags.one("nope") is None


def test_who_has_changed_something_is_told_of_it(it):
    it.commit("g", t0=4)
    it.ask()
    it.commit("g", t0=10)
    it.lags.forget()
    it.ask()
    assert it.lags.last.groups["g"].lag == 15
