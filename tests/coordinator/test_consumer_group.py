"""The protocol of KIP-848 by scenario."""

import pytest
from coordinator_parts import REBALANCE_MS, Bench, MemoryKeeper, T

from logstore.broker.coordinator.calls import LEAVE, LEAVE_STATIC, Leaver, Sight
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.coordinator.view import TopicFacts
from logstore.errors import StorageFull

E = GroupError
SESSION_MS = 45_000
ALL = frozenset(("id-t", number) for number in range(4))


@pytest.fixture
def bench():
    return Bench()


def describe(bench):
    return bench.coordinator.describe("g")


def settled(bench, *members, epochs=None, owned=None, topics=None):
    """The members' epochs and partitions once they have done what they are told."""
    epochs, owned = dict(epochs or {}), dict(owned or {})
    for _ in range(10):
        for member in members:
            epoch = epochs.get(member, 0)
            answer = bench.beat(member, epoch, owned.get(member, ()), topics)
            assert answer.error is None
            epochs[member] = answer.epoch
            if answer.assignment is not None:
                owned[member] = answer.assignment
        if describe(bench).state == "Stable":
            return epochs, owned
    raise AssertionError(describe(bench))


# Joining, and the way to the target


def test_the_first_member_gets_everything(bench):
    answer = bench.beat("a", 0)
    assert (answer.error, answer.member_id, answer.epoch) == (None, "a", 1)
    assert answer.heartbeat_interval_ms == 5000
    assert answer.assignment == ALL
    assert describe(bench).state == "Stable"
    assert bench.beat("a", 1).assignment is None  # nothing new


def test_a_member_without_an_id_is_given_one(bench):
    answer = bench.beat("", 0)
    assert answer.error is None
    assert answer.member_id


def test_a_partition_is_taken_from_one_before_it_is_given_to_another(bench):
    first = bench.beat("a", 0)
    second = bench.beat("b", 0)
    assert (second.epoch, second.assignment) == (2, frozenset())  # at the epoch, still waiting
    told = bench.beat("a", first.epoch)
    assert (told.epoch, len(told.assignment)) == (first.epoch, 2)  # what stays with it
    assert bench.beat("b", second.epoch).assignment is None
    assert bench.beat("a", first.epoch, ALL).epoch == first.epoch  # it has not given up yet
    done = bench.beat("a", first.epoch, told.assignment)
    assert done.epoch == second.epoch
    assert bench.beat("b", second.epoch).assignment == ALL - told.assignment
    assert describe(bench).state == "Stable"


def test_who_has_nothing_to_give_up_moves_to_the_new_epoch_at_once(bench):
    epochs, owned = settled(bench, "a", "b")
    bench.beat("c", 0, topics=["other"])
    answer = bench.beat("a", epochs["a"])
    assert (answer.epoch, answer.assignment) == (epochs["a"] + 1, None)
    assert describe(bench).members[0].assigned == owned["a"]


def test_a_subscription_that_changes_moves_partitions(bench):
    bench.topics["u"] = TopicFacts("id-u", 2)
    epochs, owned = settled(bench, "a", "b")
    answer = bench.beat("a", epochs["a"], owned["a"], topics=["u"])
    assert answer.assignment == frozenset()  # first give up the others
    answer = bench.beat("a", epochs["a"], ())
    assert answer.assignment == {("id-u", 0), ("id-u", 1)}
    assert bench.beat("b", epochs["b"]).assignment == ALL


def test_a_topic_that_is_made_later_is_assigned(bench):
    del bench.topics["t"]
    answer = bench.beat("a", 0)
    assert answer.assignment == frozenset()
    bench.topics["t"] = T
    assert bench.beat("a", answer.epoch).assignment is None  # it is looked for now and then
    bench.coordinator.topics_changed()
    assert bench.beat("a", answer.epoch).assignment == ALL


def test_a_topic_that_grows_is_noticed_in_time_without_being_told(bench):
    answer = bench.beat("a", 0)
    bench.topics["t"] = TopicFacts("id-t", 5)
    bench.pass_ms(5000)
    assert len(bench.beat("a", answer.epoch).assignment) == 5


def test_a_topic_made_anew_under_the_same_name_is_another(bench):
    answer = bench.beat("a", 0)
    bench.topics["t"] = TopicFacts("id-new", 1)
    bench.coordinator.topics_changed()
    told = bench.beat("a", answer.epoch, ALL)
    assert told.assignment == frozenset()
    assert bench.beat("a", answer.epoch, ()).assignment == {("id-new", 0)}


# Topics by a pattern


def test_a_pattern_gives_the_topics_that_match_it_as_a_whole(bench):
    bench.topics |= {"tea": TopicFacts("id-tea", 1), "at": TopicFacts("id-at", 1)}
    answer = bench.beat("a", 0, regex="t.a")
    assert answer.assignment == {("id-tea", 0)}
    bench.topics["toa"] = TopicFacts("id-toa", 1)
    bench.coordinator.topics_changed()
    assert bench.beat("a", answer.epoch, answer.assignment).assignment == {
        ("id-tea", 0), ("id-toa", 0),
    }  # fmt: skip
    [member] = describe(bench).members
    assert (member.regex, member.topics) == ("t.a", frozenset())
    assert bench.delete_offsets([("tea", 0), ("at", 0)]) == {
        ("tea", 0): E.GROUP_SUBSCRIBED_TO_TOPIC, ("at", 0): None,
    }  # fmt: skip


def test_a_pattern_adds_to_names_and_ends_with_an_empty_one(bench):
    bench.topics["tea"] = TopicFacts("id-tea", 1)
    answer = bench.beat("a", 0, topics=["t"], regex="te.")
    assert answer.assignment == ALL | {("id-tea", 0)}
    told = bench.beat("a", answer.epoch, answer.assignment, regex="")
    assert told.assignment == ALL


def test_a_pattern_outlives_a_restart(bench):
    answer = bench.beat("a", 0, regex="t")
    bench.start()
    [member] = describe(bench).members
    assert member.regex == "t"
    bench.topics["t"] = TopicFacts("id-t", 5)
    assert len(bench.beat("a", answer.epoch, ALL).assignment) == 5


def test_the_assignor_that_most_ask_for_is_taken(bench):
    bench.beat("a", 0, assignor="range")
    assert describe(bench).protocol == "range"
    bench.beat("b", 0)
    bench.beat("c", 0)
    assert describe(bench).protocol == "range"


# An answer that was lost


def test_a_lost_answer_to_the_join_is_given_again(bench):
    first = bench.beat("a", 0)
    again = bench.beat("a", 0)
    assert (again.epoch, again.assignment) == (first.epoch, ALL)


def test_a_lost_answer_that_raised_the_epoch_is_given_again(bench):
    first = bench.beat("a", 0)
    bench.beat("b", 0)
    kept = bench.beat("a", first.epoch).assignment
    done = bench.beat("a", first.epoch, kept)
    again = bench.beat("a", first.epoch, kept)
    assert (again.error, again.epoch, again.assignment) == (None, done.epoch, kept)


def test_a_member_at_another_epoch_is_fenced(bench):
    first = bench.beat("a", 0)
    assert bench.beat("a", first.epoch + 1).error is E.FENCED_MEMBER_EPOCH
    bench.beat("b", 0)
    kept = bench.beat("a", first.epoch).assignment
    bench.beat("a", first.epoch, kept)
    assert bench.beat("a", first.epoch).error is E.FENCED_MEMBER_EPOCH  # says not what it owns
    assert bench.beat("a", first.epoch, ALL).error is E.FENCED_MEMBER_EPOCH  # more than it has
    assert bench.beat("nobody", 1).error is E.UNKNOWN_MEMBER_ID


def test_who_joins_again_from_nothing_has_given_up_what_it_had(bench):
    epochs, _ = settled(bench, "a", "b")
    again = bench.beat("a", 0)
    assert len(again.assignment) == 2
    assert bench.beat("b", epochs["b"]).error is None


# Time


def test_a_silent_member_loses_its_partitions(bench):
    epochs, _ = settled(bench, "a", "b")
    bench.pass_ms(SESSION_MS - 1)
    assert bench.beat("b", epochs["b"]).error is None
    bench.pass_ms(1)
    answer = bench.beat("b", epochs["b"])
    assert answer.assignment == ALL
    assert bench.beat("a", epochs["a"]).error is E.UNKNOWN_MEMBER_ID


def test_a_member_that_does_not_give_up_in_time_is_out(bench):
    first = bench.beat("a", 0)
    second = bench.beat("b", 0)
    assert len(bench.beat("a", first.epoch).assignment) == 2
    for _ in range(REBALANCE_MS // 5000):
        assert bench.beat("a", first.epoch).error is None  # alive, and holding on
        assert bench.beat("b", second.epoch).assignment is None
        bench.pass_ms(5000)
    assert bench.beat("a", first.epoch).error is E.UNKNOWN_MEMBER_ID
    assert bench.beat("b", second.epoch).assignment == ALL


# Leaving, and static members


def test_who_leaves_leaves_its_partitions_at_once(bench):
    epochs, _ = settled(bench, "a", "b")
    assert bench.beat("a", LEAVE).epoch == LEAVE
    assert bench.beat("b", epochs["b"]).assignment == ALL
    assert bench.beat("a", LEAVE).error is E.UNKNOWN_MEMBER_ID


def test_a_static_member_that_comes_back_has_what_it_had(bench):
    one = bench.beat("a", 0, instance="i")
    two = bench.beat("b", 0)
    kept = bench.beat("a", one.epoch, instance="i").assignment
    bench.beat("a", one.epoch, kept, instance="i")
    assert bench.beat("b", two.epoch).assignment == ALL - kept
    epoch = describe(bench).epoch
    assert bench.beat("c", 0, instance="i").error is E.UNRELEASED_INSTANCE_ID
    assert bench.beat("a", LEAVE_STATIC, instance="i").epoch == LEAVE_STATIC
    assert bench.beat("b", two.epoch).assignment is None  # kept for it
    back = bench.beat("c", 0, instance="i")
    assert (back.assignment, back.epoch) == (kept, epoch)
    assert describe(bench).state == "Stable"
    assert bench.beat("a", one.epoch, instance="i").error is E.FENCED_INSTANCE_ID


def test_a_static_member_that_stays_away_is_out_with_its_session(bench):
    bench.beat("a", 0, instance="i")
    bench.beat("a", LEAVE_STATIC, instance="i")
    bench.pass_ms(SESSION_MS)
    assert describe(bench).state == "Empty"
    assert bench.beat("b", 5, instance="i").error is E.UNKNOWN_MEMBER_ID


def test_members_can_be_removed_by_an_administrator(bench):
    bench.beat("a", 0, instance="i")
    bench.beat("b", 0)
    leavers = [Leaver("", "i"), Leaver("b"), Leaver("c")]
    done = bench.coordinator.leave("g", leavers, bench.now)
    assert [it.error for it in done] == [None, None, E.UNKNOWN_MEMBER_ID]
    assert describe(bench).state == "Empty"


# Refused


@pytest.mark.parametrize(
    ("member", "epoch", "fields", "error"),
    [
        ("a", -3, {}, E.INVALID_REQUEST),
        ("a", LEAVE_STATIC, {}, E.INVALID_REQUEST),
        ("", 3, {}, E.INVALID_REQUEST),
        ("x" * 256, 0, {}, E.INVALID_REQUEST),
        ("a", 0, {"owned": [("id-t", 0)]}, E.INVALID_REQUEST),
        ("a", 0, {"rebalance_timeout_ms": 0}, E.INVALID_REQUEST),
        ("a", 0, {"instance": "x" * 250}, E.INVALID_REQUEST),
        ("a", 0, {"topics": ["x" * 2000]}, E.INVALID_REQUEST),
        ("a", 0, {"regex": "t("}, E.INVALID_REGULAR_EXPRESSION),
        ("a", 0, {"regex": "(?=t)"}, E.INVALID_REGULAR_EXPRESSION),
        ("a", 0, {"regex": "x" * 2000}, E.INVALID_REQUEST),
        ("a", 0, {"assignor": "sticky"}, E.UNSUPPORTED_ASSIGNOR),
    ],
)
def test_what_can_not_be(member, epoch, fields, error):
    bench = Bench(group_metadata_max_bytes=1024)
    answer = bench.beat(member, epoch, **fields)
    assert answer.error is error
    assert answer.message
    assert bench.coordinator._groups == {}


def test_a_group_that_is_full():
    bench = Bench(group_max_size=1)
    bench.beat("a", 0)
    assert bench.beat("b", 0).error is E.GROUP_MAX_SIZE_REACHED
    assert [it.id for it in describe(bench).members] == ["a"]


# Offsets


def test_only_a_member_at_its_epoch_commits(bench):
    answer = bench.beat("a", 0)
    assert bench.commit(1, answer.epoch, "a") is None
    assert bench.commit(2, answer.epoch - 1, "a") is E.STALE_MEMBER_EPOCH
    assert bench.commit(2, answer.epoch, "b") is E.UNKNOWN_MEMBER_ID
    assert bench.commit(2) is E.UNKNOWN_MEMBER_ID
    fetched = bench.coordinator.fetch("g", bench.now, [("t", 0), ("t", 1)], "a", answer.epoch)
    assert {place: it.offset for place, it in fetched.items()} == {("t", 0): 1}
    with pytest.raises(Exception, match="epoch") as told:
        bench.coordinator.fetch("g", bench.now, None, "a", answer.epoch - 1)
    assert told.value.error is E.STALE_MEMBER_EPOCH
    bench.beat("a", LEAVE)
    assert bench.commit(3) is None


def test_an_older_epoch_is_good_enough_for_what_is_held_since(bench):
    """KIP-1251: the member has not heard of the epoch that it is at."""
    epochs, owned = settled(bench, "a", "b")
    [mine, *_] = sorted(number for _, number in owned["a"])
    [theirs, *_] = sorted(number for _, number in owned["b"])
    old = epochs["a"]
    bench.beat("c", 0, topics=["other"])
    new = bench.beat("a", old).epoch
    assert new == old + 1
    assert bench.commit(1, old, "a", ("t", mine)) is None
    assert bench.commit(1, new + 1, "a", ("t", mine)) is E.STALE_MEMBER_EPOCH
    assert bench.commit(1, old, "a", ("t", theirs)) is E.STALE_MEMBER_EPOCH
    bench.beat("b", LEAVE)
    bench.beat("c", LEAVE)
    epochs, owned = settled(bench, "a", epochs={"a": new}, owned={"a": owned["a"]})
    assert owned["a"] == ALL
    assert bench.commit(1, old, "a", ("t", mine)) is None
    assert bench.commit(1, new, "a", ("t", theirs)) is E.STALE_MEMBER_EPOCH
    assert bench.commit(1, epochs["a"], "a", ("t", theirs)) is None


def test_what_is_to_be_given_up_is_held_still(bench):
    first = bench.beat("a", 0)
    bench.beat("b", 0)
    bench.beat("a", first.epoch)
    bench.start()  # also when the process begins anew
    assert bench.commit(1, first.epoch, "a", ("t", 3)) is None
    assert bench.commit(1, first.epoch - 1, "a", ("t", 3)) is E.STALE_MEMBER_EPOCH


class TestWithinATransaction:
    def test_only_a_member_at_its_epoch_commits(self, bench):
        epoch = bench.beat("a", 0).epoch
        assert bench.pending(epoch, "a") is None
        assert bench.pending(epoch - 1, "a") is E.ILLEGAL_GENERATION  # clients know no other
        assert bench.pending(epoch + 1, "a") is E.ILLEGAL_GENERATION
        assert bench.pending(epoch, "b") is E.UNKNOWN_MEMBER_ID
        assert bench.pending(-1, "b") is E.UNKNOWN_MEMBER_ID
        assert bench.pending(-1, "", instance="i") is E.UNKNOWN_MEMBER_ID
        assert bench.committed() == {}

    def test_t25_who_says_nothing_of_members_may(self, bench):
        """KAFKA-18060: clients of before KIP-447."""
        bench.beat("a", 0)
        assert bench.pending() is None

    def test_an_older_epoch_is_good_enough_for_what_is_held_since(self, bench):
        epochs, owned = settled(bench, "a", "b")
        [mine, *_] = sorted(number for _, number in owned["a"])
        bench.beat("c", 0, topics=["other"])
        assert bench.beat("a", epochs["a"]).epoch == epochs["a"] + 1
        assert bench.pending(epochs["a"], "a", ("t", mine)) is None

    def test_metadata_is_bounded(self, bench):
        assert bench.pending(metadata="x" * 4097) is E.OFFSET_METADATA_TOO_LARGE


def test_offsets_of_what_is_subscribed_stay(bench):
    bench.commit(1)
    bench.beat("a", 0)
    answers = []
    bench.coordinator.delete_offsets("g", [("t", 0)], bench.now, answers.append)
    assert answers == [{("t", 0): E.GROUP_SUBSCRIBED_TO_TOPIC}]


# Keeping


def test_nobody_hears_of_an_epoch_before_it_is_durable():
    bench = Bench(held=True)
    answers = bench.beat("a", 0)
    assert answers == []
    bench.keeper.settle()
    assert answers[0].assignment == ALL
    again = bench.beat("a", answers[0].epoch)
    assert again.error is None  # nothing to keep: at once


def test_an_answer_behind_one_that_could_not_be_kept_fails_too():
    bench = Bench(held=True)
    answers = [bench.beat("a", 0), bench.beat("b", 0), bench.beat("a", 0)]
    bench.keeper.error = StorageFull("full")
    bench.keeper.settle(1)
    bench.keeper.error = None
    bench.keeper.settle()
    assert [it[0].error for it in answers] == [E.COORDINATOR_NOT_AVAILABLE] * 3
    now = bench.beat("a", 0)
    bench.keeper.settle()
    assert now[0].error is None
    assert set(bench.keeper.kept["g"].members) == {"a", "b"}


def test_members_go_on_after_a_restart(bench):
    epochs, owned = settled(bench, "a", "b")
    before = describe(bench)
    bench.start()
    assert describe(bench) == before
    assert bench.beat("a", epochs["a"], owned["a"]).error is None
    bench.pass_ms(SESSION_MS - 1)
    assert bench.beat("b", epochs["b"], owned["b"]).error is None
    bench.pass_ms(1)
    assert bench.beat("b", epochs["b"]).assignment == ALL


def test_epochs_go_on_after_a_restart_of_an_empty_group(bench):
    before = bench.beat("a", 0).epoch
    bench.beat("a", LEAVE)
    bench.start()
    assert bench.beat("b", 0).epoch > before


def test_plain_heartbeats_write_nothing(bench):
    answer = bench.beat("a", 0)
    bench.keeper.held = True
    for _ in range(5):
        bench.pass_ms(1000)
        assert bench.beat("a", answer.epoch, ALL).error is None
    assert bench.keeper.waiting == []


# One kind and the other


def test_an_empty_group_changes_its_kind_and_goes_on_counting(bench):
    [member] = bench.members(1)
    assert bench.beat("a", 0).error is E.GROUP_ID_NOT_FOUND
    bench.leave(member.member_id)
    answer = bench.beat("a", 0)
    assert answer.epoch > member.generation
    assert describe(bench).kind == "consumer"
    assert set(bench.keeper.kept["g"].members) == {"a"}
    [told] = bench.join(protocol_type="connect")
    assert told.error is E.INCONSISTENT_GROUP_PROTOCOL
    assert bench.heartbeat(member) is E.UNKNOWN_MEMBER_ID
    bench.beat("a", LEAVE)
    [joined] = bench.join()
    assert joined.generation > answer.epoch
    assert bench.keeper.kept["g"].kind == "classic"


def test_embedded_members_that_came_first_keep_the_clients_out():
    keeper = MemoryKeeper(held=True)
    bench = Bench(keeper=keeper)
    answers = bench.beat("a", 0)
    keeper.living.add("g")
    keeper.settle()
    assert answers[0].error is E.INCONSISTENT_GROUP_PROTOCOL
    assert bench.coordinator._groups == {}


def test_what_is_given_up_twice_in_one_millisecond_is_kept_twice(bench):
    one = bench.beat("a", 0)
    for others in (["b"], ["c", "d"]):
        for member in others:
            bench.beat(member, 0)
        one = bench.beat("a", one.epoch, one.assignment)
    before = {it.id: it.assigned for it in describe(bench).members}
    bench.start()
    assert {it.id: it.assigned for it in describe(bench).members} == before


def test_who_is_shown_a_topic_after_a_start_gets_it():
    bench = Bench()
    blind = Sight((0,), lambda topic: False)
    assert bench.beat("m", 0, sight=blind).assignment == frozenset()
    bench.start()
    assert len(bench.beat("m", 1).assignment) == T.partitions
