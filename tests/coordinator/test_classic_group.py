"""The classic protocol by scenario."""

import pytest
from coordinator_parts import REBALANCE_MS, SESSION_MS, Bench, MemoryKeeper

from logstore.broker.coordinator.calls import MemberMetadata, OffsetCommit
from logstore.broker.coordinator.classic_member import TRANSITIONS, Event, State
from logstore.broker.coordinator.refusal import GroupError
from logstore.errors import StorageFull

E = GroupError


@pytest.fixture
def bench():
    return Bench()


def errors(answers):
    return [it.error for it in answers]


def state(bench):
    return bench.coordinator.describe("g").state


# Join and sync


def test_one_member_leads_and_gets_what_it_assigns_itself(bench):
    [joined] = bench.join()
    assert (joined.error, joined.generation, joined.leader) == (None, 1, joined.member_id)
    assert (joined.protocol_type, joined.protocol) == ("consumer", "range")
    assert joined.members == (MemberMetadata(joined.member_id, None, b"t"),)
    assert state(bench) == "CompletingRebalance"
    [synced] = bench.sync(joined, {joined.member_id: b"mine"})
    assert (synced.error, synced.assignment) == (None, b"mine")
    assert state(bench) == "Stable"


def test_a_second_member_waits_until_the_first_has_joined_again(bench):
    [first] = bench.members(1)
    second = bench.join(client="d")
    assert second == []
    assert bench.heartbeat(first) is E.REBALANCE_IN_PROGRESS
    [again] = bench.join(first.member_id)
    [other] = second
    assert again.generation == other.generation == 2
    assert again.leader == other.leader == first.member_id
    assert len(again.members) == 2
    assert other.members == ()


def test_a_follower_waits_for_the_leader_to_sync(bench):
    [first] = bench.members(1)
    waiting = bench.join(client="d")
    [first] = bench.join(first.member_id)
    [second] = waiting
    synced = bench.sync(second)
    assert synced == []
    bench.sync(first, {first.member_id: b"a", second.member_id: b"b"})
    assert synced[0].assignment == b"b"
    [again] = bench.sync(second)  # the answer was lost
    assert again.assignment == b"b"


def test_the_first_rebalance_waits_for_more_members(bench):
    bench = Bench(group_initial_rebalance_delay_ms=3000)
    first = bench.join()
    bench.pass_ms(2000)
    second = bench.join()
    bench.pass_ms(2999)
    assert first == second == []
    bench.pass_ms(1)
    assert first[0].generation == second[0].generation == 1


def test_a_member_that_does_not_join_again_in_time_is_out(bench):
    [first] = bench.members(1, session_timeout_ms=200_000)
    second = bench.join(client="d")
    bench.pass_ms(REBALANCE_MS - 1)
    assert second == []
    bench.pass_ms(1)
    [joined] = second
    assert (joined.generation, joined.leader) == (2, joined.member_id)
    assert bench.heartbeat(first) is E.UNKNOWN_MEMBER_ID


def test_a_member_that_does_not_sync_in_time_is_out(bench):
    known = bench.members(2, session_timeout_ms=200_000)
    waiting = [bench.join(it.member_id) for it in known]
    leader, follower = (answer for (answer,) in waiting)
    synced = bench.sync(follower)
    bench.pass_ms(REBALANCE_MS)
    assert errors(synced) == [E.REBALANCE_IN_PROGRESS]
    assert bench.heartbeat(leader) is E.UNKNOWN_MEMBER_ID


def test_a_rebalance_between_join_and_sync_sends_all_back(bench):
    known = bench.members(2)
    leader, follower = (answer for (answer,) in [bench.join(it.member_id) for it in known])
    synced = bench.sync(follower)
    bench.join(client="third")
    assert errors(synced) == [E.REBALANCE_IN_PROGRESS]
    [late] = bench.sync(leader, {})
    assert late.error is E.REBALANCE_IN_PROGRESS


def test_joining_again_without_a_change_gets_the_same_generation(bench):
    leader, follower = bench.members(2)
    [again] = bench.join(follower.member_id)
    assert (again.generation, again.members) == (leader.generation, ())
    assert state(bench) == "Stable"


def test_joining_again_with_other_metadata_rebalances(bench):
    _, follower = bench.members(2)
    assert bench.join(follower.member_id, protocols=(("range", b"t u"),)) == []
    assert state(bench) == "PreparingRebalance"


def test_a_leader_that_joins_again_rebalances(bench):
    leader, _ = bench.members(2)
    assert bench.join(leader.member_id) == []
    assert state(bench) == "PreparingRebalance"


def test_the_protocol_is_the_one_most_members_like_best_of_those_all_know(bench):
    first = (("a", b""), ("b", b""), ("c", b""))
    second = (("b", b""), ("c", b""))
    [one] = bench.join(protocols=first)
    waiting = bench.join(protocols=second)
    [one] = bench.join(one.member_id, protocols=first)
    assert one.protocol == waiting[0].protocol == "b"
    [told] = bench.join(protocols=(("a", b""),))
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL
    [told] = bench.join(protocols=first, protocol_type="connect")
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("protocols", [(), (("a", b""),)])
def test_a_member_without_a_protocol_is_refused(bench, protocols):
    [told] = bench.join(protocols=protocols, protocol_type="" if protocols else "consumer")
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("session_ms", [5_999, 1_800_001])
def test_a_session_timeout_out_of_bounds_is_refused(bench, session_ms):
    [told] = bench.join(session_timeout_ms=session_ms)
    assert told.error is E.INVALID_SESSION_TIMEOUT


def test_a_group_that_is_full(bench):
    bench = Bench(group_max_size=2)
    known = bench.members(2)
    [told] = bench.join()
    assert told.error is E.GROUP_MAX_SIZE_REACHED
    assert bench.join(known[0].member_id) == []  # who is in comes back


def test_metadata_over_the_limit(bench):
    bench = Bench(group_metadata_max_bytes=1024)
    [told] = bench.join(protocols=(("a", bytes(1024)),))
    assert told.error is E.INVALID_REQUEST


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_group_names_that_can_not_be(bench, name):
    done = bench.coordinator.heartbeat(name, 1, "m", None, bench.now)
    assert done.error is E.INVALID_GROUP_ID


def test_too_many_groups_at_once(bench):
    bench = Bench(group_max_count=1)
    bench.members(1)
    done = bench.coordinator.heartbeat("other", 1, "m", None, bench.now)
    assert done.error is E.GROUP_MAX_SIZE_REACHED


# Member ids


def test_a_new_member_is_given_an_id_and_joins_with_it(bench):
    [told] = bench.join(id_required=True)
    assert told.error is E.MEMBER_ID_REQUIRED
    [joined] = bench.join(told.member_id, id_required=True)
    assert (joined.error, joined.member_id) == (None, told.member_id)


def test_an_id_that_was_given_out_and_not_used_is_forgotten(bench):
    [told] = bench.join(id_required=True)
    bench.pass_ms(SESSION_MS)
    [late] = bench.join(told.member_id, id_required=True)
    assert late.error is E.UNKNOWN_MEMBER_ID
    assert bench.coordinator.deadline() is None


def test_a_rebalance_waits_for_who_was_given_an_id(bench):
    [first] = bench.members(1)
    bench.join(client="d")
    [told] = bench.join(id_required=True)
    again = bench.join(first.member_id)
    assert again == []
    bench.join(told.member_id, id_required=True)
    assert len(again[0].members) == 3


def test_an_id_that_nobody_was_given_is_unknown(bench):
    [told] = bench.join("made-up")
    assert told.error is E.UNKNOWN_MEMBER_ID


def test_a_second_call_of_the_same_member_takes_the_place_of_the_first(bench):
    [first] = bench.members(1)
    second = bench.join(client="d")
    bench.pass_ms(10)
    member_id = bench.coordinator.describe("g").members[1].id
    third = bench.join(member_id)
    assert errors(second) == [E.REBALANCE_IN_PROGRESS]
    bench.join(first.member_id)
    assert errors(third) == [None]


# Static members


def test_a_static_member_that_starts_anew_keeps_its_assignment_without_a_rebalance(bench):
    [first] = bench.members(1)
    waiting = bench.join(instance="i")
    [first] = bench.join(first.member_id)
    [static] = waiting
    bench.sync(static, instance="i")
    bench.sync(first, {static.member_id: b"its", first.member_id: b""})
    [anew] = bench.join(instance="i")
    assert (anew.error, anew.generation) == (None, static.generation)
    assert anew.member_id != static.member_id
    assert bench.sync(anew, instance="i")[0].assignment == b"its"
    assert bench.heartbeat(static, "i") is E.FENCED_INSTANCE_ID
    assert bench.commit(1, static.generation, static.member_id, instance="i") is (
        E.FENCED_INSTANCE_ID
    )
    assert state(bench) == "Stable"


def test_a_static_leader_that_starts_anew_does_not_assign_again(bench):
    [leader] = bench.join(instance="i")
    bench.sync(leader, {leader.member_id: b"its"}, instance="i")
    [old] = bench.join(instance="i")
    assert old.leader != old.member_id  # a client that knows nothing better must not assign
    [new] = bench.join(instance="i", may_skip_assignment=True)
    assert (new.leader, new.skip_assignment) == (new.member_id, True)
    assert bench.sync(new, instance="i")[0].assignment == b"its"


def test_a_static_member_keeps_its_place_until_its_session_ends(bench):
    [static] = bench.join(instance="i", session_timeout_ms=200_000)
    bench.sync(static, {}, instance="i")
    dynamic = bench.join(client="d", session_timeout_ms=200_000)
    bench.pass_ms(REBALANCE_MS)
    assert errors(dynamic) == [None]
    members = [it.id for it in bench.coordinator.describe("g").members]
    assert static.member_id in members
    bench.sync(dynamic[0], {})
    while bench.heartbeat(dynamic[0]) is None:
        bench.pass_ms(REBALANCE_MS)
    members = [it.id for it in bench.coordinator.describe("g").members]
    assert members == [dynamic[0].member_id]


def test_the_older_self_that_waits_is_fenced(bench):
    [first] = bench.members(1)
    older = bench.join(instance="i")
    newer = bench.join(instance="i")
    assert errors(older) == [E.FENCED_INSTANCE_ID]
    bench.join(first.member_id)
    assert errors(newer) == [None]


def test_a_static_member_can_be_removed_by_its_instance_alone(bench):
    [static] = bench.join(instance="i")
    bench.sync(static, {}, instance="i")
    assert bench.leave("", "other") is E.UNKNOWN_MEMBER_ID
    assert bench.leave("someone", "i") is E.FENCED_INSTANCE_ID
    assert bench.leave("", "i") is None
    assert state(bench) == "Empty"


# Heartbeats, sessions, leaving


def test_heartbeats_keep_a_member_and_silence_ends_it(bench):
    leader, follower = bench.members(2)
    for _ in range(3):
        bench.pass_ms(SESSION_MS - 1)
        assert bench.heartbeat(leader) in (None, E.REBALANCE_IN_PROGRESS)
    assert bench.heartbeat(follower) is E.UNKNOWN_MEMBER_ID
    assert bench.heartbeat(leader) is E.REBALANCE_IN_PROGRESS
    [alone] = bench.join(leader.member_id)
    assert (alone.generation, len(alone.members)) == (leader.generation + 1, 1)


def test_heartbeats_of_an_older_generation(bench):
    [first] = bench.members(1)
    bench.join(client="d")
    bench.join(first.member_id)
    assert bench.heartbeat(first) is E.ILLEGAL_GENERATION


def test_who_leaves_is_out_at_once_and_the_rest_rebalances(bench):
    leader, follower = bench.members(2)
    assert bench.leave(leader.member_id) is None
    assert bench.leave(leader.member_id) is E.UNKNOWN_MEMBER_ID
    [now] = bench.join(follower.member_id)
    assert (now.leader, len(now.members)) == (follower.member_id, 1)


def test_the_last_that_leaves_while_others_wait_lets_them_go_on(bench):
    [first] = bench.members(1)
    second = bench.join(client="d")
    bench.leave(first.member_id)
    assert errors(second) == [None]


def test_a_group_whose_members_are_gone_goes_on_counting(bench):
    [first] = bench.members(1)
    bench.leave(first.member_id)
    assert bench.coordinator.describe("g").state == "Empty"
    [again] = bench.join()
    assert again.generation == first.generation + 2  # the empty generation counts


# Offsets


def test_who_is_no_member_commits_while_the_group_is_empty(bench):
    assert bench.commit(5) is None
    assert bench.committed() == {("t", 0): 5}
    bench.members(1)
    assert bench.commit(6) is E.UNKNOWN_MEMBER_ID
    assert bench.committed() == {("t", 0): 5}


def test_commits_of_members(bench):
    leader, follower = bench.members(2)
    assert bench.commit(1, follower.generation, follower.member_id) is None
    assert bench.commit(2, follower.generation - 1, follower.member_id) is E.ILLEGAL_GENERATION
    assert bench.commit(2, follower.generation, "other") is E.UNKNOWN_MEMBER_ID
    bench.join(client="third")  # a rebalance begins: what was read is committed still
    assert bench.commit(3, leader.generation, leader.member_id) is None
    assert bench.committed() == {("t", 0): 3}


def test_a_commit_before_the_assignment_is_known(bench):
    [joined] = bench.join()
    assert bench.commit(1, joined.generation, joined.member_id) is E.REBALANCE_IN_PROGRESS


def test_a_commit_is_a_sign_of_life(bench):
    [joined] = bench.members(1)
    for _ in range(3):
        bench.pass_ms(SESSION_MS - 1)
        assert bench.commit(1, joined.generation, joined.member_id) is None


def test_metadata_beside_an_offset_is_bounded(bench):
    assert bench.commit(1, metadata="x" * 4097) is E.OFFSET_METADATA_TOO_LARGE
    assert bench.commit(1, metadata="x" * 4096) is None


def test_a_commit_in_a_topic_that_is_gone(bench):
    bench.keeper.gone.add("t")
    assert bench.commit(1) is E.UNKNOWN_TOPIC_OR_PARTITION


def test_offsets_of_topics_that_a_group_reads_are_not_deleted(bench):
    bench.commit(1)
    bench.commit(2, place=("u", 0))
    [member] = bench.members(1)
    answers = []
    places = [("t", 0), ("u", 0)]
    bench.coordinator.delete_offsets("g", places, bench.now, answers.append)
    assert answers == [{("t", 0): E.GROUP_SUBSCRIBED_TO_TOPIC, ("u", 0): None}]
    assert bench.committed() == {("t", 0): 1}
    bench.leave(member.member_id)
    bench.coordinator.delete_offsets("g", places[:1], bench.now, answers.append)
    assert (answers[-1], bench.committed()) == ({("t", 0): None}, {})
    bench.coordinator.delete_offsets("nosuch", places, bench.now, answers.append)
    assert answers[-1] == dict.fromkeys(places, E.GROUP_ID_NOT_FOUND)


class TestWithinATransaction:
    def test_members_commit_in_their_generation(self, bench):
        _, follower = bench.members(2)
        generation = follower.generation
        assert bench.pending(generation, follower.member_id) is None
        assert bench.pending(generation - 1, follower.member_id) is E.ILLEGAL_GENERATION
        assert bench.pending(generation, "other") is E.UNKNOWN_MEMBER_ID
        assert bench.pending(-1, follower.member_id) is E.ILLEGAL_GENERATION
        assert bench.pending(generation, "") is E.UNKNOWN_MEMBER_ID
        assert bench.committed() == {}

    def test_an_instance_that_is_another_member_now_does_not(self, bench):
        [old] = bench.members(1, instance="i")
        assert bench.pending(old.generation, old.member_id, instance="i") is None
        bench.join(instance="i")
        assert bench.pending(old.generation, old.member_id, instance="i") is E.FENCED_INSTANCE_ID
        assert bench.pending(instance="none") is E.UNKNOWN_MEMBER_ID

    def test_who_says_nothing_of_members_may_whatever_the_group_does(self, bench):
        """Clients of before KIP-447."""
        assert bench.pending() is None
        [joined] = bench.join()
        assert state(bench) == "CompletingRebalance"
        assert bench.pending() is None
        bench.sync(joined, {joined.member_id: b"mine"})
        assert bench.pending() is None

    def test_a_rebalance_keeps_no_member_from_it(self, bench):
        [joined] = bench.join()
        assert bench.pending(joined.generation, joined.member_id) is None
        bench.leave(joined.member_id)
        leader, _ = bench.members(2)
        bench.join(client="third")
        assert state(bench) == "PreparingRebalance"
        assert bench.pending(leader.generation, leader.member_id) is None

    def test_of_a_group_that_is_not_there_nobody_is_a_member(self, bench):
        assert bench.pending(0, "a") is E.ILLEGAL_GENERATION
        bench.commit(1)
        assert bench.pending(0, "a") is E.UNKNOWN_MEMBER_ID
        assert bench.pending(-2, "a") is None
        assert bench.coordinator._groups == {}

    def test_it_is_no_sign_of_life(self, bench):
        [joined] = bench.members(1)
        bench.pass_ms(SESSION_MS - 1)
        assert bench.pending(joined.generation, joined.member_id) is None
        bench.pass_ms(1)
        assert bench.pending(joined.generation, joined.member_id) is E.UNKNOWN_MEMBER_ID

    def test_a_group_that_is_consumed_in_the_directory_is_left_alone(self, bench):
        bench.keeper.living.add("g")
        assert bench.pending() is E.UNKNOWN_MEMBER_ID

    def test_metadata_is_bounded(self, bench):
        assert bench.pending(metadata="x" * 4097) is E.OFFSET_METADATA_TOO_LARGE
        assert bench.pending(metadata="x" * 4096) is None

    def test_a_group_of_a_name_that_cant_be(self, bench):
        answers = bench.coordinator.check_pending(OffsetCommit("", {("t", 0): None}), bench.now)
        assert answers == {("t", 0): E.INVALID_GROUP_ID}


# From outside


def test_a_group_is_deleted_when_nobody_is_in_it(bench):
    answers = []

    def delete():
        bench.coordinator.delete("g", bench.now, answers.append)
        return answers[-1].error

    assert delete() is E.GROUP_ID_NOT_FOUND
    [member] = bench.members(1)
    assert delete() is E.NON_EMPTY_GROUP
    bench.leave(member.member_id)
    assert delete() is None
    assert bench.coordinator.describe("g") is None
    assert bench.coordinator.list() == []


def test_groups_are_listed_and_described(bench):
    leader, follower = bench.members(2)
    bench.keeper.kept["simple"] = type(bench.keeper.kept["g"])("simple")
    assert [(it.group, it.kind, it.state) for it in bench.coordinator.list()] == [
        ("g", "classic", "Stable"),
        ("simple", "simple", "Empty"),
    ]
    found = bench.coordinator.describe("g")
    assert (found.epoch, found.protocol_type, found.protocol) == (2, "consumer", "range")
    assert {it.id: it.assignment for it in found.members} == {
        it.member_id: it.member_id.encode() for it in (leader, follower)
    }
    assert {it.client.host for it in found.members} == {"/h"}


def test_groups_without_members_take_no_memory(bench):
    for _ in range(3):
        bench.heartbeat(bench.members(1)[0])
        bench.leave(bench.coordinator.describe("g").members[0].id)
    bench.commit(1)
    bench.coordinator.heartbeat("other", 1, "m", None, bench.now)
    assert bench.coordinator._groups == {}
    assert len(bench.coordinator._timetable) == 0


# Keeping


def test_nobody_hears_of_a_generation_before_it_is_durable():
    bench = Bench(held=True)
    joined = bench.join()
    assert joined == []
    bench.keeper.settle()
    synced = bench.sync(joined[0], {joined[0].member_id: b"x"})
    assert synced == []
    assert state(bench) == "CompletingRebalance"
    bench.keeper.settle()
    assert synced[0].assignment == b"x"


def test_a_generation_that_can_not_be_kept_is_not_given_out():
    bench = Bench(held=True)
    joined = bench.join()
    bench.keeper.error = StorageFull("full")
    bench.keeper.settle()
    assert errors(joined) == [E.COORDINATOR_NOT_AVAILABLE]
    bench.keeper.error = None
    again = bench.join(joined[0].member_id)
    bench.keeper.settle()
    assert (again[0].error, again[0].generation) == (None, 2)


def test_an_assignment_that_can_not_be_kept_is_made_again():
    bench = Bench(held=True)
    joined = bench.join()
    bench.keeper.settle()
    synced = bench.sync(joined[0], {joined[0].member_id: b"x"})
    bench.keeper.error = StorageFull("full")
    bench.keeper.settle()
    assert errors(synced) == [E.COORDINATOR_NOT_AVAILABLE]
    assert bench.heartbeat(joined[0]) is E.REBALANCE_IN_PROGRESS


def test_members_go_on_after_a_restart(bench):
    leader, follower = bench.members(2)
    bench.start()
    assert bench.heartbeat(leader) is bench.heartbeat(follower) is None
    assert bench.commit(1, leader.generation, leader.member_id) is None
    assert bench.sync(follower)[0].assignment == follower.member_id.encode()
    bench.pass_ms(SESSION_MS)  # who does not come back is out
    assert bench.heartbeat(leader) is E.UNKNOWN_MEMBER_ID


def test_a_restart_within_a_rebalance_sends_all_back_to_a_higher_generation(bench):
    leader, _ = bench.members(2)
    bench.join(client="third")
    bench.pass_ms(REBALANCE_MS)  # a generation of the third alone, which has not synced
    bench.start()
    assert bench.heartbeat(leader) is E.UNKNOWN_MEMBER_ID
    [again] = bench.join()
    assert again.generation > leader.generation + 1


def test_static_members_are_known_after_a_restart(bench):
    [static] = bench.join(instance="i")
    bench.sync(static, {static.member_id: b"its"}, instance="i")
    [anew] = bench.join(instance="i")
    bench.start()
    assert bench.heartbeat(static, "i") is E.FENCED_INSTANCE_ID
    assert bench.sync(anew, instance="i")[0].assignment == b"its"


def test_generations_go_on_after_a_restart_of_an_empty_group(bench):
    [member] = bench.members(1)
    bench.leave(member.member_id)
    bench.start()
    [again] = bench.join()
    assert again.generation > member.generation


# Other kinds


def test_a_group_consumed_in_the_directory_takes_no_clients():
    keeper = MemoryKeeper()
    keeper.living.add("g")
    bench = Bench(keeper=keeper)
    [told] = bench.join()
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL
    assert bench.commit(1) is E.UNKNOWN_MEMBER_ID
    assert bench.beat("m", 0).error is E.INCONSISTENT_GROUP_PROTOCOL


def test_embedded_members_that_came_first_keep_the_clients_out_that_were_joining():
    bench = Bench(group_initial_rebalance_delay_ms=3000)
    joined = bench.join()
    bench.keeper.living.add("g")
    bench.pass_ms(3000)
    assert errors(joined) == [E.INCONSISTENT_GROUP_PROTOCOL]
    assert bench.coordinator._groups == {}


# The table


def test_every_state_is_left_and_reached_by_the_table():
    assert set(TRANSITIONS) == set(State)
    reached = {State.EMPTY}
    for _ in State:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(State)
    used = {event for row in TRANSITIONS.values() for event in row}
    assert used == set(Event)
