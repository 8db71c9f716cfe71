"""A partition of a share group: who gets which records, and what becomes of them."""

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from logstore.broker.queues.bits import runs
from logstore.broker.queues.settled import Settled, apply, reopened
from logstore.broker.queues.settlement import Settlement
from logstore.broker.queues.state import QueueState
from logstore.broker.shares.acknowledgement import Acknowledged, Type, said
from logstore.broker.shares.locks import NEVER
from logstore.broker.shares.partition import (
    REJECTED,
    Acquired,
    Changed,
    Death,
    Limits,
    SharePartition,
)
from logstore.errors import InvalidRecordState, Refused
from logstore.protocols.kafka.errors import code_of

ACCEPT, RELEASE, REJECT, RENEW, GAP = Type.ACCEPT, Type.RELEASE, Type.REJECT, Type.RENEW, Type.GAP
LOCK_MS = 100


def partition(start=0, **limits):
    return SharePartition(Settlement(start), Limits(**{"lock_ms": LOCK_MS, **limits}))


@pytest.fixture
def it():
    return partition()


def offsets(bits):
    return [first + n for first, count in runs(bits) for n in range(count)]


def counts(changed):
    return {o: count for count, bits in changed.failed.items() for o in offsets(bits)}


def say(it, owner, first, last, *types, now=0):
    """The journal takes it at once."""
    acknowledging = it.acknowledge(owner, said([Acknowledged(first, last, types)]), now)
    it.done(acknowledging)
    return acknowledging.changed


def test_records_are_given_to_one_member_each(it):
    assert it.acquire("a", 3, 10, 0) == [Acquired(0, 2, 1)]
    assert it.acquire("b", 100, 10, 0) == [Acquired(3, 9, 1)]
    assert it.acquire("a", 100, 10, 0) == []
    assert not it.available(10)
    assert it.available(11)
    assert (it.start, it.end, it.lag(12)) == (0, 10, 12)


def test_what_is_accepted_or_rejected_is_done_with(it):
    it.acquire("a", 6, 6, 0)
    changed = say(it, "a", 0, 3, ACCEPT, REJECT, GAP, ACCEPT)
    assert (offsets(changed.settled), changed.failed, changed.dead) == ([0, 1, 2, 3], {}, {})
    assert (it.start, it.lag(6)) == (4, 2)
    assert it.acquire("a", 100, 6, 0) == []


def test_what_is_released_comes_again_and_counts(it):
    it.acquire("a", 3, 10, 0)
    changed = say(it, "a", 1, 1, RELEASE)
    assert (changed.settled, counts(changed)) == ({}, {1: 1})
    assert it.acquire("b", 2, 10, 0) == [Acquired(1, 1, 2), Acquired(3, 3, 1)]


def test_a_session_that_ends_gives_back_all_that_it_has(it):
    it.acquire("a", 3, 10, 0)
    it.acquire("b", 3, 10, 0)
    assert counts(it.release("a")) == {0: 1, 1: 1, 2: 1}
    assert not it.release("a")
    assert it.acquire("c", 5, 10, 0) == [Acquired(0, 2, 2), Acquired(6, 7, 1)]


def test_a_member_that_is_silent_for_too_long_loses_what_it_has(it):
    it.acquire("a", 2, 10, 0)
    it.acquire("b", 2, 10, 50)
    assert it.deadline_ms == LOCK_MS
    assert not it.expire(LOCK_MS - 1)
    assert counts(it.expire(LOCK_MS)) == {0: 1, 1: 1}
    assert it.deadline_ms == LOCK_MS + 50
    with pytest.raises(InvalidRecordState) as caught:
        say(it, "a", 0, 1, ACCEPT)
    assert code_of(caught.value) == 121


def test_a_member_may_ask_for_more_time(it):
    it.acquire("a", 4, 10, 0)
    assert not say(it, "a", 1, 2, RENEW, now=60)
    assert counts(it.expire(LOCK_MS)) == {0: 1, 3: 1}
    assert it.deadline_ms == LOCK_MS + 60
    say(it, "a", 1, 2, ACCEPT, now=90)
    assert it.deadline_ms is None


def test_a_group_may_give_no_more_time():
    it = partition(renews=False)
    it.acquire("a", 4, 10, 0)
    with pytest.raises(InvalidRecordState, match="renew"):
        say(it, "a", 0, 1, RENEW)


def test_after_the_last_delivery_a_record_is_dead():
    it = partition(deliveries=2)
    it.acquire("a", 3, 3, 0)
    it.release("a")
    assert it.acquire("a", 3, 3, 0) == [Acquired(0, 2, 2)]
    changed = say(it, "a", 0, 1, RELEASE, ACCEPT)
    assert (offsets(changed.settled), offsets(changed.dead)) == ([1], [0])
    assert counts(changed) == {0: 2}
    assert it.acquire("b", 3, 3, 0) == []
    assert it.start == 0  # until it is where it goes
    it.bury(changed.dead)
    assert (it.start, it.lag(3)) == (2, 1)


def acknowledging(it, owner, *told, now=0):
    return it.acknowledge(owner, said([Acknowledged(*one) for one in told]), now)


def test_until_the_journal_has_it_records_are_nobodys(it):
    """Trap 2 (KAFKA-19476): no deadline comes meanwhile, and nothing else takes them."""
    it.acquire("a", 4, 4, 0)
    under_way = acknowledging(it, "a", (0, 2, [ACCEPT, RELEASE, REJECT]))
    assert (offsets(under_way.changed.settled), counts(under_way.changed)) == ([0, 2], {1: 1})
    assert counts(it.expire(10 * LOCK_MS)) == {3: 1}
    assert not it.release("a")
    assert it.deadline_ms is None
    with pytest.raises(InvalidRecordState):
        acknowledging(it, "a", (0, 0, [ACCEPT]))
    assert it.acquire("b", 9, 4, 0) == [Acquired(3, 3, 2)]
    assert it.start == 0
    it.done(under_way)
    assert it.start == 1
    assert it.acquire("b", 9, 4, 0) == [Acquired(1, 1, 2)]


def test_what_the_journal_does_not_take_has_not_been_said(it):
    it.acquire("a", 4, 4, 0)
    it.undo(acknowledging(it, "a", (0, 2, [ACCEPT, RELEASE, RENEW]), now=50))
    assert it.deadline_ms == LOCK_MS
    assert it.acquire("b", 9, 4, 0) == []
    assert counts(it.expire(LOCK_MS)) == {0: 1, 1: 1, 3: 1}
    assert counts(it.release("a")) == {2: 1}


def test_a_lower_limit_makes_records_dead(it):
    """As does a start before they were buried."""
    it.acquire("a", 4, 4, 0)
    for _ in range(2):
        say(it, "a", 1, 2, RELEASE)
        it.acquire("a", 2, 4, 0)
    it.release("a")
    assert it.overdue().dead == {}
    it.limits = it.limits._replace(deliveries=2)
    dead = it.overdue().dead
    assert offsets(dead) == [1, 2]
    assert it.overdue().dead == {}
    it.bury(dead)
    assert it.acquire("a", 4, 4, 0) == [Acquired(0, 0, 2), Acquired(3, 3, 2)]


def test_with_letters_what_is_rejected_stays_dead_until_it_is_buried():
    it = partition(letters=True)
    it.acquire("a", 6, 6, 0)
    say(it, "a", 2, 2, RELEASE)
    it.acquire("a", 1, 6, 0)
    changed = say(it, "a", 0, 3, ACCEPT, REJECT, REJECT, RELEASE)
    assert (offsets(changed.settled), offsets(changed.dead)) == ([0], [1, 2])
    assert counts(changed) == {1: REJECTED + 1, 2: REJECTED + 2, 3: 1}
    assert changed.letters
    assert it.deaths(changed.dead) == [Death(1, 1, True), Death(2, 2, True)]
    assert (it.start, it.lag(6)) == (1, 5)
    assert it.acquire("b", 9, 6, 0) == [Acquired(3, 3, 2)]
    it.bury(changed.dead)
    assert (it.start, it.lag(6)) == (3, 3)


def test_a_start_finds_what_was_rejected_dead_whatever_the_limit():
    it = partition(letters=True)
    it.acquire("a", 3, 3, 0)
    told = Settled()
    told.failed(0, say(it, "a", 1, 1, REJECT).failed)
    state = QueueState()
    apply(told.encode(), state)
    lane = state.lane(0)
    lane.hold(3)
    again = SharePartition(reopened(0, lane, 0, 3, 0, Settled()), Limits(10, letters=True))
    changed = again.overdue()
    assert again.deaths(changed.dead) == [Death(1, 1, True)]
    assert again.acquire("a", 9, 3, 0) == [Acquired(0, 0, 1), Acquired(2, 2, 1)]


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ([(0, 1, [ACCEPT]), (3, 4, [ACCEPT])], InvalidRecordState),  # another's
        ([(0, 2, [ACCEPT])], InvalidRecordState),
        ([(0, 0, [ACCEPT]), (1, 9, [ACCEPT])], Refused),  # never given out
        ([(0, 0, [ACCEPT]), (1, 6, [ACCEPT])], Refused),  # nor one of these
        ([(0, 0, [ACCEPT]), (1, 1, [9])], Refused),
        ([(0, 0, [ACCEPT]), (0, 0, [ACCEPT])], Refused),
    ],
)
def test_all_that_is_said_is_done_or_nothing(it, told, error):
    it.acquire("a", 2, 10, 0)
    it.acquire("b", 4, 10, 0)
    with pytest.raises(error) as caught:
        it.acknowledge("a", said([Acknowledged(*one) for one in told]), 0)
    assert type(caught.value) is error
    assert counts(it.release("a")) == {0: 1, 1: 1}


def test_what_was_said_before_is_refused_unless_all_below_is_done_with(it):
    """As Kafka: below the start nothing is looked at."""
    it.acquire("a", 4, 10, 0)
    say(it, "a", 1, 1, ACCEPT)
    with pytest.raises(InvalidRecordState):
        say(it, "a", 1, 1, ACCEPT)
    say(it, "a", 0, 0, ACCEPT)
    assert not say(it, "a", 0, 1, ACCEPT)
    assert offsets(say(it, "a", 0, 3, ACCEPT).settled) == [2, 3]


def test_too_much_that_is_out_holds_back_what_is_new_and_nothing_else(it):
    it = partition(locks=4)
    assert it.acquire("a", 9, 20, 0) == [Acquired(0, 3, 1)]
    assert it.acquire("b", 9, 20, 0) == []
    assert not it.available(20)
    say(it, "a", 1, 2, ACCEPT, RELEASE)
    assert it.available(20)
    assert it.acquire("b", 9, 20, 0) == [Acquired(2, 2, 2)]  # 0 is out still
    say(it, "a", 0, 0, ACCEPT)
    assert it.available(20)
    assert it.acquire("b", 9, 20, 0) == [Acquired(4, 5, 1)]


def test_batches_are_given_out_whole_where_that_is_asked(it):
    ends = [4, 10, 20]
    assert it.acquire("a", 5, 20, 0, ends) == [Acquired(0, 9, 1)]
    assert it.acquire("a", 10, 20, 0, ends) == [Acquired(10, 19, 1)]
    it.release("a")
    assert it.acquire("a", 5, 20, 0, ends) == [Acquired(0, 4, 2)]  # what comes again: as asked


def test_what_comes_again_beyond_the_bound_is_given_out():
    """A batch that was given out whole may go beyond it."""
    it = partition(locks=4)
    assert it.acquire("a", 4, 20, 0, [10]) == [Acquired(0, 9, 1)]
    say(it, "a", 8, 8, RELEASE)
    assert it.acquire("b", 4, 20, 0) == [Acquired(8, 8, 2)]


def test_a_batch_that_is_not_readable_yet_is_given_out_as_far_as_it_is(it):
    assert it.acquire("a", 5, 7, 0, [4, 10]) == [Acquired(0, 6, 1)]


def test_what_comes_again_brings_nothing_new_by_its_batch():
    it = partition(locks=4)
    it.acquire("a", 4, 10, 0)
    say(it, "a", 3, 3, RELEASE)
    assert it.acquire("a", 1, 10, 0, [10]) == [Acquired(3, 3, 2)]


def test_records_that_may_be_what_members_fail_at_come_by_themselves():
    """KIP-932's limit of 5: from the third failure on half as many, before the last one alone."""
    it = partition()
    it.acquire("a", 16, 20, 0)
    say(it, "a", 0, 3, ACCEPT)
    for n in range(2):
        assert it.release("a")
        assert it.acquire("a", 16, 16, 0) == [Acquired(4, 15, n + 2)]
    it.release("a")
    assert it.acquire("a", 16, 20, 0) == [Acquired(4, 11, 4)]
    assert it.acquire("b", 16, 20, 0) == [Acquired(12, 15, 4)]
    assert it.acquire("c", 16, 20, 0) == [Acquired(16, 19, 1)]
    it.release("a")
    for n in range(3):
        assert it.acquire("d", 16, 20, 0) == [Acquired(4 + n, 4 + n, 5)]
    assert offsets(it.release("d").dead) == [4, 5, 6]


def test_records_before_those_come_without_them():
    it = partition(deliveries=3)
    it.acquire("a", 4, 10, 0)
    for _ in range(2):
        say(it, "a", 2, 2, RELEASE)
        it.acquire("a", 1, 3, 0)
    it.expire(LOCK_MS)
    # 0, 1 and 3 have failed once; 2 three times, so it is dead
    assert it.acquire("a", 9, 4, 0) == [Acquired(0, 1, 2), Acquired(3, 3, 2)]


def test_a_poisonous_record_between_others_is_left_for_the_next_time():
    it = partition(deliveries=3)
    it.acquire("a", 4, 4, 0)
    say(it, "a", 2, 2, RELEASE)
    it.acquire("b", 1, 4, 0)
    it.release("b")
    it.release("a")
    assert it.acquire("a", 9, 8, 0) == [Acquired(0, 1, 2)]
    assert it.acquire("a", 9, 8, 0) == [Acquired(2, 2, 3)]
    assert it.acquire("a", 9, 8, 0) == [Acquired(3, 3, 2), Acquired(4, 7, 1)]


def test_what_is_no_record_is_passed_over(it):
    """Control records, aborted ones, and gaps; what a member has already is his (trap 9)."""
    it.acquire("a", 6, 10, 0)
    say(it, "a", 3, 5, RELEASE)
    passed = it.skip(2, 5)
    assert (offsets(passed.back), passed.length) == ([3, 4], 0)
    assert it.skip(3, 5).total == 0
    assert it.skip(7, 9).total == 0  # it is not there yet
    assert it.skip(6, 9) == ({}, 6, 3)
    assert it.acquire("b", 9, 10, 0) == [Acquired(5, 5, 2), Acquired(9, 9, 1)]
    say(it, "a", 0, 2, ACCEPT)
    say(it, "b", 5, 5, ACCEPT)
    assert it.lag(10) == 1


def test_a_log_that_loses_its_start_takes_what_nobody_has(it):
    it.acquire("a", 2, 10, 0)
    it.acquire("b", 2, 10, 0)
    it.release("b")
    gone = it.trim(6)
    assert (offsets(gone.back), gone.first, gone.length) == ([2, 3], 4, 2)
    assert (it.start, it.end) == (0, 6)
    say(it, "a", 0, 1, ACCEPT)
    assert it.start == 6


def test_what_is_told_says_whether_it_is_anything():
    assert not Changed({}, {}, {})
    assert Changed({0: 1}, {}, {})
    assert Changed({}, {1: {0: 1}}, {})


# Against one entry for each offset


SIZE = 24
owners = st.sampled_from("abc")
types = st.lists(st.sampled_from(Type), max_size=6)
STEPS = st.one_of(
    st.tuples(st.just("acquire"), owners, st.integers(1, 9), st.booleans()),
    st.tuples(st.just("say"), owners, st.integers(0, SIZE), types),
    st.tuples(st.just("begin"), owners, st.integers(0, SIZE), types),
    st.tuples(st.just("end"), st.none(), st.none(), st.booleans()),
    st.tuples(st.just("release"), owners, st.none(), st.none()),
    st.tuples(st.just("wait"), st.none(), st.integers(1, LOCK_MS), st.none()),
    st.tuples(st.just("pass"), st.none(), st.integers(0, SIZE), st.integers(1, 4)),
    st.tuples(st.just("trim"), st.none(), st.integers(0, SIZE), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none(), st.none()),
)  # fmt: skip


class Naive:
    """By offset: who has it until when, how often it was delivered; done with: it is not there."""

    def __init__(self, limits):
        self.limits, self.now, self.seen = limits, 0, 0
        self.has = {}  # offset: owner, deadline; "" and 0: nobody
        self.failed = dict.fromkeys(range(SIZE), 0)

    @property
    def start(self):
        return min(self.has, default=self.seen)

    def lock(self, owner, offset):
        self.has[offset] = owner, self.now + self.limits.lock_ms

    def back(self):
        return [o for o, (owner, _) in sorted(self.has.items()) if not owner]

    def poisonous(self, offset):
        return self.failed[offset] >= max(2, -(-self.limits.deliveries // 2))

    def acquire(self, owner, n, ends):
        back, found = self.back(), []
        if back and self.poisonous(back[0]):
            failed = self.failed[back[0]]
            if failed == self.limits.deliveries - 1:
                n = 1
            else:
                n = max(1, n // 2 ** (failed - max(2, -(-self.limits.deliveries // 2)) + 1))
            for at, offset in enumerate(back[:n]):
                if (offset, self.failed[offset]) == (back[0] + at, failed):
                    found.append(offset)
        else:
            for offset in back:
                if self.poisonous(offset) or len(found) == n:
                    break
                found.append(offset)
            if not any(self.poisonous(it) for it in back):
                room = self.start + self.limits.locks
                new = [o for o in range(self.seen, SIZE) if o < room][: n - len(found)]
                if new and ends:
                    end = next((it for it in ends if it > new[-1]), new[-1] + 1)
                    new += range(new[-1] + 1, end)
                found += new
                self.seen += len(new)
        for offset in found:
            self.lock(owner, offset)
        return [(offset, self.failed[offset] + 1) for offset in found]

    def fail(self, offset):
        """Whether it is dead, and so done with."""
        self.failed[offset] += 1
        dead = self.failed[offset] >= self.limits.deliveries
        if dead:
            del self.has[offset]
        else:
            self.has[offset] = "", 0
        return dead

    def end(self, told, owners, *, safe):
        """What was begun is in the journal, or is undone."""
        for offset, kind in told:
            if kind is RENEW:
                continue
            if not safe:
                self.has[offset] = owners[offset]
            elif kind is RELEASE:
                self.fail(offset)
            else:
                del self.has[offset]

    def begin(self, owner, first, types):
        """What is to be ended; None: it is refused."""
        told = [(o, kind) for o, kind in enumerate(types, first) if o >= self.start]
        if not types or first + len(types) > self.seen:
            return None
        if any(self.has.get(o, ("", 0))[0] != owner for o, _ in told):
            return None
        owners = {offset: self.has[offset] for offset, _ in told}
        for offset, kind in told:
            if kind is RENEW:
                self.lock(owner, offset)
            else:
                self.has[offset] = "the journal", NEVER
        return told, owners


class Both:
    """A partition and its model; and the journal, which makes both anew."""

    def __init__(self, limits):
        self.it, self.model = SharePartition(Settlement(), limits), Naive(limits)
        self.kept = QueueState()
        self.under_way = []

    def told(self, changed):
        """What the journal has of it. Those that are dead are done with at once."""
        settled = Settled()
        settled.failed(0, changed.failed)
        settled.settle_set(0, changed.settled)
        settled.settle_set(0, changed.dead)
        if self.it.end:
            settled.given_out(0, self.it.end)
        apply(settled.encode(), self.kept)
        self.it.bury(changed.dead)

    def end(self, number, *, safe):
        acknowledging, begun = self.under_way.pop(number)
        if safe:
            self.it.done(acknowledging)
            self.told(acknowledging.changed)
        else:
            self.it.undo(acknowledging)
        self.model.end(*begun, safe=safe)

    def step(self, what, owner, number, more):
        it, model = self.it, self.model
        if what == "acquire":
            ends = [5, 12, 13, SIZE] if more else []
            found = it.acquire(owner, number, SIZE, model.now, ends)
            flat = [(o, a.deliveries) for a in found for o in range(a.first, a.last + 1)]
            assert flat == model.acquire(owner, number, ends)
        elif what in ("say", "begin"):
            begun = model.begin(owner, number, more)
            try:
                batch = Acknowledged(number, number + len(more) - 1, more)
                acknowledging = it.acknowledge(owner, said([batch]), model.now)
            except Refused:
                assert begun is None
            else:
                self.under_way.append((acknowledging, begun))
                if what == "say":
                    self.end(len(self.under_way) - 1, safe=True)
        elif what == "end":
            if self.under_way:
                self.end(0, safe=more)
        elif what == "release":
            self.told(it.release(owner))
            for offset in [o for o, (who, _) in model.has.items() if who == owner]:
                model.fail(offset)
        elif what == "wait":
            model.now += number
            self.told(it.expire(model.now))
            for offset in [o for o, (who, due) in model.has.items() if who and due <= model.now]:
                model.fail(offset)
        elif what == "pass":
            passed = it.skip(number, number + more)
            settled = Settled()
            settled.settle_set(0, passed.back)
            settled.settle(0, passed.first, passed.length)
            apply(settled.encode(), self.kept)
            gone = [o for o in model.back() if number <= o < number + more]
            assert offsets(passed.back) == gone
            for offset in gone:
                del model.has[offset]
            if number <= model.seen:
                model.seen = max(model.seen, number + more)
        elif what == "trim":
            gone = it.trim(number)
            settled = Settled()
            settled.remove(0, gone, number)
            apply(settled.encode(), self.kept)
            for offset in [o for o in model.back() if o < number]:
                del model.has[offset]
            model.seen = max(model.seen, number)
        else:
            self.told(Changed({}, {}, {}))
            state = QueueState.decode(self.kept.encode(), "it")
            settlement = reopened(0, state.lane(0), 0, SIZE, 0, Settled())
            self.it = SharePartition(settlement, it.limits)
            self.under_way = []
            model.has = dict.fromkeys(model.has, ("", 0))

    def check(self):
        it, model = self.it, self.model
        assert (it.start, it.end) == (model.start, model.seen)
        due = [due for who, due in model.has.values() if who and due != NEVER]
        assert it.deadline_ms == min(due, default=None)
        assert it.lag(SIZE) == SIZE - model.seen + len(model.has)
        back = bool(model.back())
        assert it.available(SIZE) is (back or model.seen < min(SIZE, model.start + it.limits.locks))


@given(st.sampled_from([2, 3, 5]), st.sampled_from([3, 8, 100]), st.lists(STEPS, max_size=40))
def test_as_one_entry_for_each_offset(deliveries, locks, steps):
    both = Both(Limits(deliveries, locks, LOCK_MS))
    for step in steps:
        note(f"{step}; {both.model.seen} {both.model.has}")
        both.step(*step)
        both.check()
