"""Numbers that no two nodes give."""

from random import Random

import pytest

from logstore.cluster.backoff import Backoff
from logstore.cluster.identity import Identity
from logstore.cluster.ids import AHEAD, BLOCK_BITS, LEFT_LEAST, TRIES, WITHIN, Ids
from logstore.errors import ClusterUnreachable, LogstoreError


class Around:
    def __init__(self):
        self.asked, self.alarms = [], []
        self.ids = Ids(
            self.asked.append, lambda s, call: self.alarms.append(call), Backoff(Random(1))
        )

    def give(self, pid):
        self.asked.pop(0)(Identity(pid, 0) if isinstance(pid, int) else pid)


def test_numbers_of_two_producers_are_never_the_same():
    one, other = Around(), Around()
    for it, pid in ((one, 0), (other, 1)):
        it.ids.begin(lambda error: None)
        it.give(pid)
    first, second = ([it.ids.next() for _ in range(5)] for it in (one, other))
    assert first == [(1 << BLOCK_BITS) + n for n in range(5)]
    assert not set(first) & set(second)


def test_blocks_are_asked_for_ahead_and_used_one_after_the_other(monkeypatch):
    monkeypatch.setattr("logstore.cluster.ids.BLOCK_BITS", 1)
    around = Around()
    around.ids.begin(lambda error: None)
    for pid in range(AHEAD):
        around.give(pid)
    assert around.asked == []
    found = [around.ids.next()]
    assert len(around.asked) == 1
    around.give(7)
    found += [around.ids.next() for _ in range(5)]
    assert found == [2, 3, 4, 5, 16, 17]
    for ask in (around.ids.next, around.ids.check):
        with pytest.raises(ClusterUnreachable, match="the cluster has no producer ids left"):
            ask()
    around.give(9)
    assert around.ids.next() == 20


def test_nothing_is_begun_for_which_there_may_be_too_few(monkeypatch):
    monkeypatch.setattr("logstore.cluster.ids.BLOCK_BITS", 11)
    around = Around()
    around.ids.begin(lambda error: None)
    around.give(1)
    around.ids.check()
    for _ in range((1 << 11) - LEFT_LEAST + 1):
        around.ids.next()
    with pytest.raises(ClusterUnreachable):
        around.ids.check()
    assert around.ids.next() < 3 << 11, "what was begun before has them"


@pytest.mark.parametrize(
    ("answer", "tries"), [(ClusterUnreachable("nobody is there"), TRIES), (-1, 1)]
)
def test_whoever_begins_is_told_why_there_are_none_and_they_are_asked_for_again(answer, tries):
    around, told = Around(), []
    around.ids.begin(told.append)
    for _ in range(tries):
        assert told == []
        around.give(answer)
        around.alarms.pop()()
    assert isinstance(told[0], LogstoreError)
    around.ids.begin(told.append)
    around.give(3)
    assert told[1] is None
    assert around.ids.next() == 4 << BLOCK_BITS


def test_a_broker_that_has_no_numbers_for_now_is_asked_again_before_that_is_told():
    around, told = Around(), []
    around.ids.begin(told.append)
    around.give(ClusterUnreachable("error 14"))
    around.alarms.pop()()
    around.give(3)
    assert told == [None]


def test_what_each_host_has_has_the_same_number_on_each_node():
    one, other = Around().ids, Around().ids
    numbers = {one.within(host, place) for host in (1, 1 << 20, 1 << 50) for place in range(7)}
    assert len(numbers) == 21
    assert numbers == {
        other.within(host, place) for host in (1, 1 << 20, 1 << 50) for place in range(7)
    }
    assert min(numbers) > WITHIN
    assert max(numbers) < 1 << 62
