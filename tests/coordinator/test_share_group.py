"""Share groups (KIP-932): joining, epochs, leaving, what is kept; and groups of other kinds."""

import pytest
from coordinator_parts import Bench, Kept, T
from share_clients import beat, share_state

from logstore.broker.coordinator.calls import LEAVE, Leaver, Sight
from logstore.broker.coordinator.group_settings import GroupSettingsTable
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.coordinator.share_member import SUBSCRIBED_MAX
from logstore.broker.coordinator.view import TopicFacts
from logstore.config import Config
from logstore.kept.groups import GroupChange

SESSION_MS = 45_000
ALL = frozenset(("id-t", n) for n in range(T.partitions))


def test_the_first_member_has_every_partition():
    bench = Bench()
    joined = beat(bench, "m")
    assert (joined.error, joined.epoch, joined.heartbeat_interval_ms) == (None, 1, 5000)
    assert joined.assignment == ALL


def test_an_assignment_is_told_to_who_joins_asks_anew_or_has_another():
    bench = Bench()
    beat(bench, "m")
    assert beat(bench, "m", 1, topics=None).assignment is None
    assert beat(bench, "m", 1).assignment == ALL  # it says everything, as after an error
    assert beat(bench, "m").assignment == ALL  # its answer to a join was lost
    two = beat(bench, "n")
    told = beat(bench, "m", 1, topics=None)
    assert told.epoch == two.epoch == 2
    assert told.assignment | two.assignment == ALL
    assert len(told.assignment) == len(two.assignment) == 2
    assert beat(bench, "m", 1, topics=None).assignment == told.assignment  # it was lost
    assert beat(bench, "m", 2, topics=None).assignment is None


def test_more_members_than_partitions_share_them():
    bench = Bench(topics={"t": TopicFacts("id-t", 1)})
    members = [f"m{n}" for n in range(5)]
    assert [beat(bench, it).assignment for it in members] == [{("id-t", 0)}] * 5
    seen = bench.coordinator.share_group("g")
    assert (seen.members, seen.is_empty) == (
        dict.fromkeys(members, frozenset({("id-t", 0)})),
        False,
    )


@pytest.mark.parametrize("epoch", [2, 5, 77])
def test_a_member_at_another_epoch_has_to_join_again(epoch):
    bench = Bench()
    beat(bench, "m")
    beat(bench, "n")  # epoch 2, which "m" has not heard of
    beat(bench, "o")  # epoch 3
    assert beat(bench, "m", 1, topics=None).epoch == 3
    assert beat(bench, "m", epoch, topics=None).error is GroupError.FENCED_MEMBER_EPOCH
    assert beat(bench, "m").error is None


@pytest.mark.parametrize(
    ("member", "epoch", "more", "error"),
    [
        ("x", 1, {}, GroupError.UNKNOWN_MEMBER_ID),
        ("x", LEAVE, {}, GroupError.UNKNOWN_MEMBER_ID),
        ("", 0, {}, GroupError.INVALID_REQUEST),
        ("x" * 37, 0, {}, GroupError.INVALID_REQUEST),
        ("x", -2, {}, GroupError.INVALID_REQUEST),
        ("x", 0, {"topics": None}, GroupError.INVALID_REQUEST),
        ("x", 0, {"topics": ()}, GroupError.INVALID_REQUEST),
        ("x", 0, {"rack": ""}, GroupError.INVALID_REQUEST),
        ("x", 0, {"topics": ("t" * (1 << 20),)}, GroupError.INVALID_REQUEST),
        ("x", 0, {"group": ""}, GroupError.INVALID_REQUEST),
        ("x", 0, {"group": "g\0"}, GroupError.INVALID_GROUP_ID),
    ],
)
def test_what_cant_be_is_refused_and_changes_nothing(member, epoch, more, error):
    bench = Bench()
    beat(bench, "m")
    before = bench.coordinator.describe("g")
    refused = beat(bench, member, epoch, **more)
    assert (refused.error, refused.assignment) == (error, None)
    assert refused.message
    assert bench.coordinator.describe("g") == before


@pytest.mark.parametrize("epoch", [1, LEAVE])
def test_a_group_that_is_not_there_is_made_by_a_join_alone(epoch):
    bench = Bench()
    assert beat(bench, "m", epoch).error is GroupError.GROUP_ID_NOT_FOUND
    assert bench.coordinator.list() == []


def test_a_group_has_so_many_members_at_the_most():
    bench = Bench(group_share_max_size=2)
    assert [beat(bench, it).error for it in "mno"] == [
        None, None, GroupError.GROUP_MAX_SIZE_REACHED,
    ]  # fmt: skip
    assert beat(bench, "m").error is None
    beat(bench, "m", LEAVE)
    assert beat(bench, "o").error is None


def test_members_ask_for_no_more_topics_than_can_be_looked_at_in_a_turn():
    bench = Bench()
    many = [f"t{n}" for n in range(SUBSCRIBED_MAX)]
    assert [beat(bench, it, topics=many).error for it in "mn"] == [None] * 2  # it counts once
    refused = beat(bench, "o", topics=["t"])
    assert refused.error is GroupError.GROUP_MAX_SIZE_REACHED
    assert beat(bench, "n", 2, topics=["t"]).error is GroupError.GROUP_MAX_SIZE_REACHED
    beat(bench, "m", LEAVE)
    assert beat(bench, "n", 2, topics=["t"]).error is None
    assert beat(bench, "o", topics=["t"]).error is None


def test_what_differs_is_what_members_may_know_of_too():
    bench = Bench()
    half = [f"t{n}" for n in range(SUBSCRIBED_MAX // 2)]
    sights = [Sight((n,), lambda topic: True) for n in range(3)]
    assert beat(bench, "m", topics=half, sight=sights[0]).error is None
    assert beat(bench, "n", topics=half, sight=sights[0]).error is None
    assert beat(bench, "n", 2, topics=None, sight=sights[1]).error is None
    refused = beat(bench, "o", topics=half, sight=sights[2])
    assert refused.error is GroupError.GROUP_MAX_SIZE_REACHED
    assert beat(bench, "o", topics=half, sight=sights[1]).error is None
    refused = beat(bench, "o", 3, topics=None, sight=sights[2])
    assert refused.error is GroupError.GROUP_MAX_SIZE_REACHED


def test_who_leaves_or_is_silent_leaves_its_partitions_to_the_others():
    bench = Bench()
    beat(bench, "m"), beat(bench, "n"), beat(bench, "o")
    left = beat(bench, "m", LEAVE)
    assert (left.error, left.epoch, left.assignment) == (None, -1, None)
    bench.pass_ms(SESSION_MS - 1)
    assert beat(bench, "n", 2, topics=None).epoch == 4
    bench.pass_ms(1)  # "o" has said nothing
    assert beat(bench, "n", 4, topics=None).assignment == ALL
    assert share_state(bench) == ("Stable", 5, 5, {"n": ALL})


def test_an_empty_group_is_there_until_it_is_deleted_and_its_assignment_is_of_its_epoch():
    bench = Bench()
    beat(bench, "m")
    beat(bench, "m", LEAVE)
    assert share_state(bench) == ("Empty", 2, 2, {})
    seen = bench.coordinator.share_group("g")
    assert (dict(seen.members), seen.is_empty) == ({}, True)
    bench.start()
    assert share_state(bench) == ("Empty", 2, 2, {})
    assert beat(bench, "n").epoch == 3
    answers = []
    bench.coordinator.delete("g", bench.now, answers.append)
    assert answers[0].error is GroupError.NON_EMPTY_GROUP
    beat(bench, "n", LEAVE)
    bench.coordinator.delete("g", bench.now, answers.append)
    assert answers[1].error is None
    assert (bench.coordinator.describe("g"), bench.coordinator.share_group("g")) == (None, None)


def test_a_session_lasts_as_the_settings_of_the_group_say_now():
    table = GroupSettingsTable(Config())
    bench = Bench(group_settings=table)
    beat(bench, "m")
    table.alter(
        "g", {"share.session.timeout.ms": "60000", "share.heartbeat.interval.ms": "15000"}, ()
    )
    assert beat(bench, "m", 1, topics=None).heartbeat_interval_ms == 15_000
    bench.pass_ms(60_000 - 1)
    assert "m" in bench.coordinator.share_group("g").members
    bench.pass_ms(1)
    assert bench.coordinator.share_group("g").is_empty
    assert bench.coordinator.share_group("g").settings.share_session_timeout_ms == 60_000


# Topics


def test_topics_made_grown_deleted_and_made_anew_are_assigned_so():
    bench = Bench(topics={})
    assert beat(bench, "m", topics=("t", "u")).assignment == frozenset()
    bench.topics["t"] = TopicFacts("id-t", 1)
    bench.coordinator.topics_changed()
    made = beat(bench, "m", 1, topics=None)
    assert (made.epoch, made.assignment) == (2, {("id-t", 0)})
    bench.topics["t"] = TopicFacts("id-t", 2)
    bench.coordinator.topics_changed()
    assert beat(bench, "m", 2, topics=None).assignment == {("id-t", 0), ("id-t", 1)}
    bench.topics["t"] = TopicFacts("id-new", 1)
    bench.coordinator.topics_changed()
    assert beat(bench, "m", 3, topics=None).assignment == {("id-new", 0)}
    del bench.topics["t"]
    bench.coordinator.topics_changed()
    assert beat(bench, "m", 4, topics=None).assignment == frozenset()


def test_a_member_that_subscribes_anew_has_what_it_asks_for():
    bench = Bench(topics={"t": T, "u": TopicFacts("id-u", 1)})
    beat(bench, "m", topics=("t", "u"))
    beat(bench, "n", topics=("t",))
    told = beat(bench, "m", 1, topics=("u",))
    assert (told.epoch, told.assignment) == (3, {("id-u", 0)})
    assert beat(bench, "n", 2, topics=None).assignment == ALL


# Kept


def test_members_go_on_after_a_start_at_their_epochs():
    bench = Bench()
    beat(bench, "m"), beat(bench, "n")
    mine = beat(bench, "m", 1, topics=None).assignment
    bench.start()
    assert beat(bench, "m", 2, topics=None).error is None
    assert beat(bench, "n", 2).assignment == ALL - mine
    bench.pass_ms(SESSION_MS - 1)
    assert len(bench.coordinator.share_group("g").members) == 2
    bench.pass_ms(1)
    assert bench.coordinator.share_group("g").is_empty


def test_who_is_shown_a_topic_after_a_start_gets_it():
    bench = Bench()
    beat(bench, "m")
    blind = Sight((0,), lambda topic: False)
    assert beat(bench, "n", sight=blind).assignment == frozenset()
    assert beat(bench, "m", 1, topics=None).epoch == 2
    bench.start()
    assert len(beat(bench, "n", 2, topics=None).assignment) == 2
    assert len(beat(bench, "m", 2, topics=None).assignment) == 2


def test_nothing_is_told_before_it_is_kept_and_what_failed_is_kept_with_the_next():
    bench = Bench(held=True)
    assert beat(bench, "m") == []
    bench.disk(fails=False)
    assert bench.keeper.kept["g"].kind == "share"
    waiting = beat(bench, "n")
    assert waiting == []
    bench.disk(fails=True)
    assert set(bench.keeper.kept["g"].members) == {"m"}
    beat(bench, "o")
    bench.disk(fails=False)
    assert set(bench.keeper.kept["g"].members) == {"m", "n", "o"}
    assert bench.keeper.kept["g"].epoch == 3


def test_a_quiet_heartbeat_keeps_nothing():
    bench = Bench(held=True)
    beat(bench, "m")
    bench.disk(fails=False)
    bench.pass_ms(1000)
    assert beat(bench, "m", 1, topics=None).error is None
    assert bench.keeper.waiting == []


# Groups of other kinds


def test_a_share_group_is_never_a_group_of_another_kind():
    bench = Bench()
    beat(bench, "m")
    for empty in (False, True):
        [joined] = bench.join()
        assert joined.error is GroupError.INCONSISTENT_GROUP_PROTOCOL
        [synced] = bench.sync(joined)
        assert synced.error is GroupError.UNKNOWN_MEMBER_ID
        assert bench.heartbeat(joined) is GroupError.UNKNOWN_MEMBER_ID
        left = bench.coordinator.leave("g", [Leaver("m")] * 2, bench.now)
        assert [it.error for it in left] == [GroupError.UNKNOWN_MEMBER_ID] * 2
        assert bench.beat("k", 0).error is GroupError.GROUP_ID_NOT_FOUND
        assert bench.beat("k", 3).error is GroupError.GROUP_ID_NOT_FOUND
        assert bench.commit(5) is GroupError.GROUP_ID_NOT_FOUND
        assert bench.pending() is GroupError.GROUP_ID_NOT_FOUND
        assert bench.pending(1, "m") is GroupError.GROUP_ID_NOT_FOUND
        assert bench.delete_offsets([("t", 0)]) == {("t", 0): GroupError.GROUP_ID_NOT_FOUND}
        assert bench.committed() == {}  # as Kafka has it: there are none
        assert bench.coordinator.describe("g").kind == "share"
        if not empty:
            assert "m" in bench.coordinator.share_group("g").members
            beat(bench, "m", LEAVE)


@pytest.mark.parametrize("kind", ["simple", "classic", "consumer", "embedded"])
@pytest.mark.parametrize("epoch", [0, 1, LEAVE])
def test_a_group_of_another_kind_is_never_a_share_group(kind, epoch):
    bench = Bench()
    bench.keeper.kept["g"] = Kept(kind, 3, state=b'{"epoch":3,"target_epoch":3}')
    refused = beat(bench, "m", epoch)
    assert refused.error is GroupError.GROUP_ID_NOT_FOUND
    assert bench.keeper.kept["g"].kind == kind
    assert bench.coordinator.share_group("g") is None


def test_a_group_with_members_is_never_a_share_group():
    bench = Bench()
    bench.beat("k", 0)
    assert beat(bench, "m").error is GroupError.GROUP_ID_NOT_FOUND
    assert bench.coordinator.share_group("g") is None
    assert bench.beat("k", 1, ()).error is None


def test_a_group_that_others_have_got_meanwhile_is_theirs():
    bench = Bench(held=True)
    waiting = []
    beat(bench, "m", reply=waiting.append)
    bench.keeper.living.add("g")
    bench.disk(fails=False)
    assert waiting[0].error is GroupError.INCONSISTENT_GROUP_PROTOCOL
    assert bench.coordinator.share_group("g") is None


def test_a_damaged_share_group_is_refused_to_who_asks_for_it():
    bench = Bench()
    bench.keeper.save("g", GroupChange("share", 1, False, b"?", {}))
    assert beat(bench, "m").error is GroupError.COORDINATOR_NOT_AVAILABLE
    assert "g" in bench.coordinator.start(bench.now)
