"""Who may have which message, where those of one key stay in order: against the simplest words."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logstore.broker.queues.ordering import STALE_MAX, Hands, Ordering

KEYS, HOLDERS = 3, "abc"


class Orderings(RuleBasedStateMachine):
    """Spots of two lanes: the higher one's are below 1000, the lower one's above."""

    @initialize(each=st.sampled_from([0, 0, 1, 2]))
    def begin(self, each):
        self.each = each
        self.ordering = Ordering(each)
        self.ends = [0, 1000]
        self.ready = {}  # spot -> key: looked at, and waits
        self.new = {}  # not looked at
        self.out = {}  # spot -> key, holder
        self.delayed = {}

    @rule(lane=st.integers(0, 1), keys=st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=6))
    def publish(self, lane, keys):
        for key in keys:
            self.new[self.ends[lane]] = key
            self.ends[lane] += 1

    def of(self, key):
        return [(spot, holder) for spot, (its, holder) in self.out.items() if its == key]

    def may(self, spot, key, hands, new=None):
        """The places of those who may have this one."""
        if key in self.delayed.values():
            return []
        before = {**self.ready, **(self.new if new is None else new)}
        if any(its == key and it < spot for it, its in before.items()):
            return []
        out = self.of(key)
        if self.each and len(out) >= self.each:
            return []
        if out:
            place = hands.places.get(out[0][1], -1)
            return [place] if place >= 0 and hands.rooms[place] > 0 else []
        return [it for it in range(hands.front) if hands.rooms[it] > 0]

    def given(self, spot, key, place, hands):
        if hands.binds[place]:
            self.out[spot] = key, hands.holders[place]

    @rule(
        rooms=st.lists(st.integers(0, 3), min_size=3, max_size=3),
        order=st.permutations(HOLDERS), front=st.integers(1, 3), chunk=st.integers(1, 4),
        binds=st.sampled_from([(True,) * 3, (True, False, True), (False,) * 3]),
    )  # fmt: skip
    def deal(self, rooms, order, front, chunk, binds):
        """As a queue does it: what waits comes before what is new and stands behind it."""
        hands = Hands(order, rooms, front, binds)
        tops = self.ordering.tops(hands)
        while True:
            waits = self.ordering.first(tops, hands)
            able = [it for it, key in self.ready.items() if self.may(it, key, hands, {})]
            assert (None if waits is None else waits.spot) == min(able, default=None)
            looks = hands.open or waits is not None
            lowest = min(self.new, default=None) if looks else None
            if waits is not None and (lowest is None or waits.spot < lowest):
                may = self.may(waits.spot, waits.key, hands)
                place = self.ordering.give(waits, tops, hands)
                assert place in may
                assert self.ready.pop(waits.spot) == waits.key
                self.given(waits.spot, waits.key, place, hands)
                continue
            if lowest is None:
                break
            lane = lowest >= 1000
            spots = [it for it in sorted(self.new) if (it >= 1000) == lane]
            spots = spots[: min(chunk, max(1, hands.room))]
            before = list(hands.rooms)
            places = self.ordering.offer(spots, [self.new[it] for it in spots], hands)
            hands.rooms, after = before, hands.rooms
            for spot, place in zip(spots, places, strict=True):
                key, may = self.new[spot], self.may(spot, self.new[spot], hands)
                del self.new[spot]
                if place < 0:
                    # Before others of its key that wait: it is the first of them then.
                    assert not may or key in self.ready.values()
                    self.ready[spot] = key
                else:
                    assert place in may
                    hands.rooms[place] -= 1
                    self.given(spot, key, place, hands)
            assert hands.rooms == after
            tops = self.ordering.tops(hands)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["settled", "settled", "returned", "delay"]))
    def ended(self, data, how):
        spot = data.draw(st.sampled_from(sorted(self.out)))
        key, _ = self.out.pop(spot)
        found = getattr(self.ordering, how)(spot)
        if how == "returned":
            assert found
            self.ready[spot] = key
        elif how == "delay":
            self.delayed[spot] = key

    @precondition(lambda self: self.delayed)
    @rule(data=st.data(), dies=st.sampled_from([False, False, True]))
    def due(self, data, dies):
        spot = data.draw(st.sampled_from(sorted(self.delayed)))
        key = self.delayed.pop(spot)
        if dies:
            self.ordering.settled(spot)
        else:
            assert self.ordering.returned(spot)
            self.ready[spot] = key

    @precondition(lambda self: self.ready)
    @rule(lane=st.integers(0, 1))
    def drop_the_head(self, lane):
        spot = min((it for it in self.ready if (it >= 1000) == bool(lane)), default=None)
        if spot is not None:
            self.ordering.dropped(spot, self.ready.pop(spot))

    @rule()
    def of_nobody(self):
        """What is not out is settled, and comes back, without a trace."""
        spot = 5000
        self.ordering.settled(spot)
        self.ordering.delay(spot)
        assert not self.ordering.returned(spot)

    @rule(really=st.sampled_from([False, False, False, True]))
    def purge(self, really):
        if really:
            self.ordering.purged()
            self.ready.clear()

    @invariant()
    def the_same_is_there(self):
        if not hasattr(self, "ordering"):
            return
        # Those that have gone from between others are counted until they would be the first.
        assert self.ordering.waiting - len(self.ordering._gone) == len(self.ready)
        used = {key for key, _ in self.out.values()} | {*self.ready.values()}
        used |= {*self.delayed.values()}
        assert used <= set(self.ordering._keys)
        assert self.ordering.keys - len(used) <= len(self.ordering._gone)
        held = {}
        for holder in {it for _, it in self.out.values()}:
            held[holder] = len({key for key, it in self.out.values() if it == holder})
        assert dict(self.ordering.held()) == held


Orderings.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestOrderings = pytest.mark.long(Orderings.TestCase)


def dealt(ordering, spots, keys, rooms, holders="abc"):
    hands = Hands(holders[: len(rooms)], rooms, len(rooms), [True] * len(rooms))
    ordering.tops(hands)
    return ordering.offer(spots, keys, hands)


def waits(ordering, rooms, holders="abc"):
    """What waits, given out as far as there is room: spots and whose they are."""
    hands = Hands(holders[: len(rooms)], rooms, len(rooms), [True] * len(rooms))
    tops, found = ordering.tops(hands), []
    while (it := ordering.first(tops, hands)) is not None:
        found.append((it.spot, holders[ordering.give(it, tops, hands)]))
    return found


def test_a_key_stays_with_whoever_has_it_and_others_go_round():
    ordering = Ordering()
    assert dealt(ordering, range(6), [7, 7, 8, 7, 9, 8], [9, 9, 9]) == [0, 0, 1, 0, 2, 1]


def test_a_full_holder_holds_up_its_own_keys_alone():
    ordering = Ordering()
    assert dealt(ordering, range(4), [7, 7, 8, 8], [1, 9]) == [0, -1, 1, 1]
    assert waits(ordering, [0, 9]) == []
    ordering.settled(0)
    assert waits(ordering, [0, 9]) == [(1, "b")]  # nobody has the key now


def test_what_comes_back_goes_before_what_waits_of_its_key_and_others_go_on():
    ordering = Ordering()
    assert dealt(ordering, range(4), [7, 7, 7, 8], [2, 9]) == [0, 0, -1, 1]
    ordering.returned(0)
    assert dealt(ordering, [4, 5], [8, 9], [0, 9]) == [1, 1]
    assert waits(ordering, [2, 9]) == [(0, "a"), (2, "a")]


def test_all_of_a_key_that_comes_back_may_go_to_another_in_order():
    ordering = Ordering()
    dealt(ordering, range(3), [7, 7, 7], [3, 0])
    for spot in (2, 0, 1):
        ordering.returned(spot)
    assert waits(ordering, [0, 9]) == [(0, "b"), (1, "b"), (2, "b")]


def test_what_is_delayed_holds_up_its_own_key_alone():
    ordering = Ordering()
    dealt(ordering, range(3), [7, 7, 8], [9])
    ordering.delay(0)
    ordering.settled(1)
    assert dealt(ordering, [3, 4], [7, 8], [9]) == [-1, 0]
    assert waits(ordering, [9]) == []
    ordering.returned(0)
    assert waits(ordering, [9]) == [(0, "a"), (3, "a")]


def test_so_many_of_a_key_are_out_at_once_as_is_said():
    ordering = Ordering(each=2)
    assert dealt(ordering, range(4), [7, 7, 7, 8], [9]) == [0, 0, -1, 0]
    ordering.settled(1)
    assert waits(ordering, [9]) == [(2, "a")]


def test_no_more_are_looked_at_than_memory_is_for():
    ordering = Ordering(most=4)
    dealt(ordering, range(3), [7, 7, 7], [1])
    assert not ordering.full
    dealt(ordering, [3], [7], [1])
    assert ordering.full
    ordering.settled(0)
    assert not ordering.full


def test_nothing_is_left_of_keys_that_were_settled():
    ordering = Ordering()
    for round in range(200):
        spots = range(round * 100, round * 100 + 100)
        dealt(ordering, spots, list(spots), [50, 50])
        for spot in spots:
            ordering.settled(spot)
    assert (ordering.keys, ordering.waiting, dict(ordering.held())) == (0, 0, {})
    assert not ordering._out


def test_one_that_comes_back_for_ever_leaves_no_more_behind_each_time():
    ordering = Ordering()
    dealt(ordering, range(50), [7] * 49 + [8], [50, 0])
    for _ in range(3 * STALE_MAX):
        ordering.returned(0)
        assert waits(ordering, [1, 0]) == [(0, "a")]
        ordering.returned(40)
        ordering.returned(3)
        assert waits(ordering, [2, 0]) == [(3, "a"), (40, "a")]
    entries = len(ordering._free) + sum(len(it.waiting) for it in ordering._held.values())
    assert entries <= 2 * ordering.keys + STALE_MAX + 1
