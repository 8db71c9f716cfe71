"""Groups that go over from the classic protocol to the new one, and back (KIP-848's migration)."""

import pytest
from coordinator_parts import (
    REBALANCE_MS,
    SESSION_MS,
    Bench,
    MemoryKeeper,
    T,
    places_of,
    text_of,
)

from logstore.broker.coordinator.calls import LEAVE, LEAVE_STATIC
from logstore.broker.coordinator.refusal import GroupError
from logstore.errors import StorageFull

E = GroupError
ALL = {(T.id, number) for number in range(T.partitions)}


@pytest.fixture
def bench():
    return Bench(group_initial_rebalance_delay_ms=0)


class Classic:
    """A member of the classic protocol that does what it is told; ``reads`` is what it owns."""

    def __init__(self, bench, joined, reads=(), *, eager=False, instance=None):
        self.bench, self.joined, self.reads = bench, joined, set(reads)
        self.eager, self.instance = eager, instance

    def beat(self):
        error = self.bench.heartbeat(self.joined, self.instance)
        if error is E.REBALANCE_IN_PROGRESS:
            self.rejoin()
        return error

    def rejoin(self):
        if self.eager:
            self.reads = set()
        owned = b"t|" + text_of(self.reads).encode()
        [self.joined] = self.bench.join(
            self.joined.member_id, instance=self.instance, protocols=[("range", owned)]
        )
        assert self.joined.error is None
        assert self.joined.leader != self.joined.member_id
        self.sync()

    def sync(self):
        [synced] = self.bench.sync(self.joined, instance=self.instance)
        if synced.error is None:
            self.reads = set(places_of(synced.assignment[1:].decode()))
        return synced.error


def numbers(places):
    return sorted(number for _, number in places)


def classics(bench, count=2, **how):
    """A stable classic group, in which each has its part of the topic."""
    parts = {}

    def assign(member_id):
        at = len(parts)
        parts[member_id] = {("t", number) for number in range(at, T.partitions, count)}
        return b"=" + text_of(parts[member_id]).encode()

    return [Classic(bench, it, parts[it.member_id], **how) for it in bench.members(count, assign)]


class New:
    """A member of the new protocol."""

    def __init__(self, bench, member_id, **fields):
        self.bench, self.id, self.fields = bench, member_id, fields
        self.answer = bench.beat(member_id, 0, **fields)
        self.reads = set(self.answer.assignment or ())

    def beat(self):
        self.answer = self.bench.beat(self.id, self.answer.epoch, self.reads)
        assert self.answer.error is None
        if self.answer.assignment is not None:
            self.reads = set(self.answer.assignment)

    def leave(self, epoch=LEAVE):
        return self.bench.beat(self.id, epoch, instance=self.fields.get("instance"))


def ids(members):
    return [{("id-t", n) for _, n in it.reads} for it in members]


def settle(bench, classic, new):
    """Everybody beats until nothing changes; at no time is a partition read twice."""
    for _ in range(10):
        for it in [*classic, *new]:
            it.beat()
            reads = [place for them in ids([*classic, *new]) for place in them]
            assert len(reads) == len(set(reads)), "read by two at once"
    assert bench.coordinator.describe("g").state == "Stable"
    assert set().union(*ids([*classic, *new])) == ALL


def kind(bench):
    return bench.coordinator.describe("g").kind, bench.keeper.kept["g"].kind


@pytest.mark.parametrize("eager", [True, False])
def test_a_member_of_the_new_protocol_turns_the_group_into_a_consumer_group(bench, eager):
    one, two = classics(bench, eager=eager)
    generation = one.joined.generation
    new = New(bench, "n")
    assert new.answer.error is None
    assert new.answer.epoch > generation
    assert new.reads == set(), "all are read by the others"
    assert kind(bench) == ("consumer", "consumer")
    assert one.beat() is E.REBALANCE_IN_PROGRESS
    settle(bench, [one, two], [new])
    assert sorted(map(len, ids([one, two, new]))) == [1, 1, 2]
    described = {it.id: it.speaks_classic for it in bench.coordinator.describe("g").members}
    assert described == {one.joined.member_id: True, two.joined.member_id: True, "n": False}


@pytest.mark.parametrize("eager", [True, False])
def test_the_last_member_of_the_new_protocol_turns_it_back(bench, eager):
    one, two = classics(bench, eager=eager)
    new = New(bench, "n")
    settle(bench, [one, two], [new])
    epoch = new.answer.epoch
    assert new.leave().error is None
    assert kind(bench) == ("classic", "classic")
    assert bench.coordinator.describe("g").state == "PreparingRebalance"
    assert bench.heartbeat(one.joined) is E.REBALANCE_IN_PROGRESS
    assert bench.beat("n", epoch).error is E.UNKNOWN_MEMBER_ID
    waiting = [bench.join(it.joined.member_id, protocols=[("range", b"t")]) for it in (one, two)]
    joined = [answer for (answer,) in waiting]
    assert {it.generation for it in joined} == {epoch + 1}
    assert len({it.leader for it in joined}) == 1
    assert {it.leader for it in joined} <= {it.member_id for it in joined}


def test_all_classic_members_leave_one_by_one_and_the_new_ones_have_all(bench):
    one, two = classics(bench)
    first = New(bench, "a")
    settle(bench, [one, two], [first])
    assert bench.leave(one.joined.member_id) is None
    second = New(bench, "b")
    settle(bench, [two], [first, second])
    assert bench.leave(two.joined.member_id) is None
    settle(bench, [], [first, second])
    assert kind(bench) == ("consumer", "consumer")


def test_classic_members_join_a_group_of_the_new_protocol_one_by_one_and_take_it_over(bench):
    first, second = New(bench, "a"), New(bench, "b")
    settle(bench, [], [first, second])
    [told] = bench.join(id_required=True)
    assert told.error is E.MEMBER_ID_REQUIRED
    [joined] = bench.join(told.member_id)
    one = Classic(bench, joined)
    assert joined.error is None
    assert one.sync() is None
    settle(bench, [one], [first, second])
    first.leave()
    settle(bench, [one], [second])
    assert kind(bench)[0] == "consumer"
    second.leave()
    assert kind(bench) == ("classic", "classic")
    assert bench.heartbeat(one.joined) is E.REBALANCE_IN_PROGRESS


@pytest.mark.parametrize(
    ("policy", "over", "back"),
    [("bidirectional", True, True), ("upgrade", True, False), ("downgrade", False, True),
     ("disabled", False, False)],
)  # fmt: skip
def test_the_policy_says_which_way_groups_go(policy, over, back):
    bench = Bench(group_initial_rebalance_delay_ms=0, group_consumer_migration_policy=policy)
    [one] = classics(bench, 1)
    assert (bench.beat("n", 0).error is None) == over
    assert kind(bench)[0] == ("consumer" if over else "classic")
    bench = Bench(group_initial_rebalance_delay_ms=0, group_consumer_migration_policy=policy)
    new = New(bench, "n")
    [joined] = bench.join()
    one = Classic(bench, joined)
    one.sync()
    new.leave()
    assert kind(bench)[0] == ("classic" if back else "consumer")
    if not back:
        settle(bench, [one], [])


def test_assignments_that_say_more_than_partitions_keep_a_group_classic(bench):
    bench.members(2, assign=lambda it: b"my own: " + it.encode())
    answer = bench.beat("n", 0)
    assert answer.error is E.GROUP_ID_NOT_FOUND
    assert "an assignor of their own" in answer.message
    assert kind(bench)[0] == "classic"


@pytest.mark.parametrize(("protocol", "over"), [("range", False), ("cooperative-sticky", True)])
def test_what_sticky_assignors_add_to_an_assignment_keeps_no_group_classic(bench, protocol, over):
    bench.members(1, lambda _: b"+t:0 t:1", protocols=[(protocol, b"t")])
    answer = bench.beat("n", 0)
    assert answer.error is (None if over else E.GROUP_ID_NOT_FOUND)
    if over:
        assert numbers(answer.assignment) == [2, 3]


def test_groups_that_are_no_consumers_stay_classic(bench):
    bench.members(1, protocol_type="connect")
    assert bench.beat("n", 0).error is E.GROUP_ID_NOT_FOUND


def test_a_consumer_group_takes_no_classic_members_that_are_no_consumers(bench):
    New(bench, "n")
    for wrong in ({"protocol_type": "connect"}, {"protocols": []}, {"session_timeout_ms": 1}):
        [told] = bench.join(**wrong)
        assert told.error in (E.INCONSISTENT_GROUP_PROTOCOL, E.INVALID_SESSION_TIMEOUT)
    assert set(bench.keeper.kept["g"].members) == {"n"}


def test_classic_members_of_a_consumer_group_need_an_assignor_in_common(bench):
    New(bench, "n")
    [one] = bench.join(protocols=[("range", b"t"), ("roundrobin", b"t")])
    [told] = bench.join(protocols=[("sticky", b"t")])
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL
    [again] = bench.join(one.member_id, protocols=[("sticky", b"t")])
    assert again.error is None, "it is alone: it may change its mind"


def test_members_that_wait_as_the_group_goes_over_are_told_to_join_it():
    bench = Bench(group_initial_rebalance_delay_ms=3000)
    joining = bench.join()
    assert joining == []
    new = New(bench, "n")
    assert [it.error for it in joining] == [E.REBALANCE_IN_PROGRESS]
    assert new.answer.error is None
    [joined] = bench.join(joining[0].member_id)
    assert joined.error is None
    one = Classic(bench, joined)
    assert one.sync() is None
    settle(bench, [one], [new])


def test_members_that_wait_for_their_leader_as_the_group_goes_over_are_told_to_join_it(bench):
    one, two = classics(bench)
    waiting = bench.join(client="third")
    answers = [bench.join(it.joined.member_id) for it in (one, two)]
    joined = [answer for (answer,) in answers]
    follower = next(it for it in joined if it.leader != it.member_id)
    synced = bench.sync(follower)
    assert (synced, waiting[0].error) == ([], None)
    new = New(bench, "n")
    assert [it.error for it in synced] == [E.REBALANCE_IN_PROGRESS]
    assert new.reads == set(), "what the others had in the last generation may be read still"
    three = Classic(bench, waiting[0])
    for it in (one, two):
        it.joined = next(at for at in joined if at.member_id == it.joined.member_id)
    settle(bench, [one, two, three], [new])


def test_what_members_said_they_own_is_held_where_no_assignment_was_given(bench):
    [told] = bench.join(protocols=[("coop", b"t|t:0 t:1 t:2")])
    new = New(bench, "n")
    assert numbers(new.reads) == [3]
    one = Classic(bench, told, places_of("t:0 t:1 t:2"))
    settle(bench, [one], [new])


def test_a_member_that_is_told_to_join_and_never_does_is_out_in_its_time(bench):
    one, two = classics(bench)
    new = New(bench, "n")
    for _ in range(REBALANCE_MS // 5000):
        assert bench.heartbeat(one.joined) is E.REBALANCE_IN_PROGRESS  # and does nothing about it
        two.beat()
        new.beat()
        bench.pass_ms(5000)
    assert bench.heartbeat(one.joined) is E.UNKNOWN_MEMBER_ID
    settle(bench, [two], [new])


def test_a_member_that_joins_and_never_syncs_is_out_in_its_time(bench):
    new = New(bench, "n")
    [joined] = bench.join()
    for _ in range(REBALANCE_MS // 5000):
        bench.heartbeat(joined)
        new.beat()
        bench.pass_ms(5000)
    assert bench.heartbeat(joined) is E.UNKNOWN_MEMBER_ID


def test_a_classic_member_has_its_own_session(bench):
    [one] = classics(bench, 1)
    new = New(bench, "n")
    settle(bench, [one], [new])
    bench.pass_ms(SESSION_MS - 1)
    assert one.beat() is None
    bench.pass_ms(SESSION_MS)
    assert bench.heartbeat(one.joined) is E.UNKNOWN_MEMBER_ID
    settle(bench, [], [new])


def test_the_last_new_member_that_falls_silent_turns_the_group_back(bench):
    [one] = classics(bench, 1)
    new = New(bench, "n")
    settle(bench, [one], [new])
    for _ in range(9):
        bench.pass_ms(5000)
        error = one.bench.heartbeat(one.joined)
    assert error is E.REBALANCE_IN_PROGRESS
    assert kind(bench) == ("classic", "classic")


def test_static_members_roll_over_and_back_with_their_partitions(bench):
    def assign(_):
        return b"=t:0 t:1 t:2 t:3"

    [joined] = bench.members(1, assign, instance="i")
    new = New(bench, "n1", instance="i")  # the classic one never says that it goes
    assert new.answer.error is None
    assert new.reads == ALL
    assert bench.heartbeat(joined, "i") is E.FENCED_INSTANCE_ID
    assert new.leave(LEAVE_STATIC).error is None
    joining = bench.join(instance="i", protocols=[("range", b"t")])
    assert kind(bench) == ("classic", "classic")
    [again] = joining
    assert (again.error, again.leader) == (None, again.member_id)
    assert again.generation > new.answer.epoch
    [synced] = bench.sync(again, {again.member_id: b"=t:0"}, instance="i")
    assert synced.assignment == b"=t:0"


def test_a_new_static_member_is_not_replaced_while_it_is_here_by_another_of_its_protocol(bench):
    classics(bench, 1)
    New(bench, "n1", instance="i")
    assert bench.beat("n2", 0, instance="i").error is E.UNRELEASED_INSTANCE_ID


def test_old_generations_commit_nothing_and_members_commit_what_they_read(bench):
    one, two = classics(bench)
    assert bench.commit(1, one.joined.generation, one.joined.member_id) is None
    new = New(bench, "n")
    old = one.joined.generation
    assert bench.commit(2, old, one.joined.member_id) is None, "before it hears of it"
    settle(bench, [one, two], [new])
    assert bench.commit(3, old, one.joined.member_id) is E.ILLEGAL_GENERATION
    assert bench.commit(4, old, "n") is E.STALE_MEMBER_EPOCH
    assert bench.commit(5, one.joined.generation, one.joined.member_id) is None
    assert bench.commit(6, new.answer.epoch, "n") is None
    assert bench.commit(7) is not None
    assert bench.committed() == {("t", 0): 6}
    new.leave()
    assert bench.committed() == {("t", 0): 6}
    assert bench.commit(8, one.joined.generation, one.joined.member_id) is None


@pytest.mark.parametrize("beats", range(6))
def test_a_restart_in_the_middle_of_going_over_goes_on(bench, beats):
    one, two = classics(bench)
    new = New(bench, "n")
    for it in ([one, two, new] * 2)[:beats]:
        it.beat()
    bench.start()
    settle(bench, [one, two], [new])
    assert kind(bench) == ("consumer", "consumer")


def test_a_restart_after_going_back_lets_all_join_again(bench):
    one, two = classics(bench)
    new = New(bench, "n")
    settle(bench, [one, two], [new])
    new.leave()
    for _ in range(2):
        bench.start()
        assert bench.coordinator.describe("g").state == "PreparingRebalance"
        assert bench.heartbeat(one.joined) is E.REBALANCE_IN_PROGRESS
    waiting = [bench.join(it.joined.member_id) for it in (one, two)]
    joined = [answer for (answer,) in waiting]
    assert [it.error for it in joined] == [None, None]


def test_a_group_is_not_turned_while_it_is_being_kept():
    bench = Bench(keeper=MemoryKeeper(held=True), group_initial_rebalance_delay_ms=0)
    joining = bench.join()
    assert bench.beat("n", 0).error is E.COORDINATOR_NOT_AVAILABLE
    bench.keeper.settle()
    assert joining[0].error is None
    assert bench.beat("n", 0) == [], "it waits until it is durable"
    bench.keeper.settle()
    assert kind(bench) == ("consumer", "consumer")


def test_a_full_disk_leaves_the_group_as_it_was_kept():
    bench = Bench(keeper=MemoryKeeper(held=True), group_initial_rebalance_delay_ms=0)
    bench.keeper.held = False
    one, two = classics(bench)
    bench.keeper.held = True
    answers = bench.beat("n", 0)
    bench.keeper.error = StorageFull("full")
    bench.keeper.settle()
    assert answers[0].error is E.COORDINATOR_NOT_AVAILABLE
    assert bench.keeper.kept["g"].kind == "classic"
    bench.start()
    assert bench.heartbeat(one.joined) is None, "as if it had never been"
    bench.keeper.error = None
    bench.keeper.held = False
    settle(bench, [one, two], [New(bench, "n")])


def test_a_refused_member_leaves_the_group_as_it_is():
    bench = Bench(group_initial_rebalance_delay_ms=0, group_max_size=2)
    one, two = classics(bench)
    assert bench.beat("n", 0).error is E.GROUP_MAX_SIZE_REACHED
    assert kind(bench) == ("classic", "classic")
    assert [bench.heartbeat(it.joined) for it in (one, two)] == [None, None]


def test_a_topic_deleted_meanwhile_is_in_no_assignment(bench):
    one, two = classics(bench)
    del bench.topics["t"]
    new = New(bench, "n")
    for it in (one, two, new):
        it.beat()
    assert ids([one, two, new]) == [set(), set(), set()]


def test_what_a_member_has_not_heard_that_it_lost_is_held_still(bench):
    """It rejoined with three partitions, was given two, and has not synced yet."""
    one, two = classics(bench)
    answers = [
        bench.join(it.joined.member_id, protocols=[("range", b"t|" + text_of(it.reads).encode())])
        for it in (one, two)
    ]
    joined = {it.member_id: it for (it,) in answers}
    one.joined, two.joined = (joined[it.joined.member_id] for it in (one, two))
    leader, slow = (one, two) if one.joined.leader == one.joined.member_id else (two, one)
    kept = {("t", min(n for _, n in slow.reads))}
    assignments = {
        leader.joined.member_id: b"=" + text_of(leader.reads).encode(),
        slow.joined.member_id: b"=" + text_of(kept).encode(),
    }
    [synced] = bench.sync(leader.joined, assignments)
    assert synced.error is None
    new = New(bench, "n")
    assert new.reads == set()
    settle(bench, [one, two], [new])


def test_who_was_thrown_out_and_reads_still_must_let_go_before_it_is_a_member_again(bench):
    [one] = classics(bench, 1)
    new = New(bench, "n")
    settle(bench, [one], [new])
    assert bench.heartbeat(one.joined) is None
    bench.pass_ms(SESSION_MS)
    new.beat()
    owned = b"t|" + text_of(one.reads).encode()
    [told] = bench.join(one.joined.member_id, protocols=[("range", owned)])
    assert told.error is E.UNKNOWN_MEMBER_ID
    [again] = bench.join(protocols=[("range", b"t")])
    assert again.error is None
