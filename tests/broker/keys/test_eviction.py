"""What goes where keys take more than they may."""

from random import Random

import pytest

from logstore.broker.keys.eviction import AT_ONCE, MINUTE_MS, Eviction
from logstore.broker.keys.keyspace import Keyspace
from logstore.broker.keys.levels import Level, Levels

VALUE = b"v" * 100


class Full:
    """A database of a hundred keys, and a clock."""

    def __init__(self, policy):
        self.now_ms = 10**12
        levels = Levels()
        levels.default = Level.NONE
        clock = lambda: self.now_ms  # noqa: E731
        self.space = Keyspace(0, clock, levels, lambda _: None)
        self.eviction = Eviction([self.space], clock, Random(7))
        self.eviction.limit(1, policy)
        for number in range(100):
            self.put(number)
        self.limit()

    def put(self, number, deadline=None):
        self.now_ms += 1000
        self.space.put(b"%04d" % number, VALUE, deadline)

    def limit(self):
        """What there is now is all that may be."""
        self.eviction.limit(self.eviction.used_bytes, self.eviction.policy)

    def look_at(self, number, times=1):
        for _ in range(times):
            self.space.touch(self.space, b"%04d" % number)

    def numbers(self):
        return sorted(map(int, self.space.values))


def test_without_a_policy_nothing_goes():
    full = Full("noeviction")
    assert full.eviction.make_room()
    full.put(100)
    assert not full.eviction.make_room()
    assert len(full.space.values) == 101
    full.eviction.limit(0, "noeviction")
    assert full.eviction.make_room()


@pytest.mark.parametrize("policy", ["allkeys-random", "allkeys-lru", "allkeys-lfu"])
def test_as_many_go_as_make_room(policy):
    full = Full(policy)
    for number in range(100, 150):
        full.put(number)
        assert full.eviction.make_room()
        assert full.eviction.used_bytes <= full.eviction.bytes_max
    assert len(full.space.values) == 100
    assert full.space.evicted == 50
    assert len(full.space.looked_at) == (0 if policy == "allkeys-random" else 100)


def test_what_was_not_looked_at_goes_first():
    full = Full("allkeys-lru")
    full.now_ms += 10**6
    for number in range(50, 100):
        full.look_at(number)
    for number in range(100, 130):
        full.put(number)
        full.eviction.make_room()
    gone = set(range(100)) - set(full.numbers())
    assert len(gone & set(range(50))) >= 24  # of five samples all may be among the other half
    assert full.eviction.idle_s(full.space, b"0099") == 30


def test_what_is_looked_at_seldom_goes_first():
    full = Full("allkeys-lfu")
    for number in range(50, 100):
        full.look_at(number, times=30)
    for number in range(100, 130):
        full.put(number)
        full.eviction.make_room()
    assert len(set(range(50, 100)) & set(full.numbers())) >= 44
    often = full.eviction.frequency(full.space, b"0099")
    assert often > 5
    full.now_ms += 3 * MINUTE_MS
    assert full.eviction.frequency(full.space, b"0099") == often - 3


@pytest.mark.parametrize(
    "policy", ["volatile-ttl", "volatile-lru", "volatile-lfu", "volatile-random"]
)
def test_only_those_go_that_expire(policy):
    full = Full(policy)
    for number in range(10):
        full.put(number, deadline=full.now_ms + 10**6 + number)
    full.limit()
    for number in range(100, 105):
        full.put(number)
        assert full.eviction.make_room()
    gone = set(range(105)) - set(full.numbers())
    assert 3 <= len(gone) <= 10
    assert gone <= set(range(10))
    if policy == "volatile-ttl":
        assert 0 in gone
    for number in range(200, 300):
        full.put(number)
        full.eviction.make_room()
    assert not full.eviction.make_room()  # there are none left that may go
    assert set(range(10, 100)) <= set(full.numbers())


def test_a_lower_limit_is_come_to_in_steps():
    full = Full("allkeys-random")
    for number in range(100, 1000):
        full.put(number)
    full.eviction.limit(1000, "allkeys-random")
    assert full.eviction.make_room()
    assert len(full.space.values) == 1000 - AT_ONCE
