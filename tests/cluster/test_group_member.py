"""A member of a group that is assigned by its coordinator, whose answers are fed by hand."""

import pytest
from fed_coordinator import GROUP, TOPIC, TOPIC_ID, FedCoordinator

from logstore.cluster import kinds
from logstore.cluster.group_member import ASSIGNOR, GroupMember
from logstore.cluster.group_steps import SLOWLY_S
from logstore.errors import ClusterUnreachable, Failed, NotSpoken

messages = kinds.GROUP_HEARTBEAT.messages()


def begun(partitions=4):
    fed = FedCoordinator(partitions)
    return fed, GroupMember(fed, TOPIC, "rack-1", fed, fed, fed.random)


def answer(fed, epoch, assigned=None, interval_ms=500, topic_id=TOPIC_ID):
    """The request that is answered so."""
    assignment = None
    if assigned is not None:
        assignment = messages.Assignment(
            [messages.ResponseTopicPartitions(topic_id, list(assigned))] if assigned else []
        )
    return fed.answer(member_epoch=epoch, heartbeat_interval_ms=interval_ms, assignment=assignment)


def joined(assigned=(0, 1)):
    fed, member = begun()
    fed.step()
    answer(fed, 1, assigned)
    fed.step()
    answer(fed, 1)
    return fed, member


def test_it_says_all_when_it_joins_and_what_has_changed_later():
    fed, _ = begun()
    assert fed.step() == 0
    first = answer(fed, 3, [0, 1])
    assert (first.group_id, first.member_epoch, first.rack_id) == (GROUP, 0, "rack-1")
    assert (first.subscribed_topic_names, first.server_assignor) == ([TOPIC], ASSIGNOR)
    assert first.topic_partitions == []
    assert len(first.member_id) == 22
    assert fed.assigned == {0, 1}
    assert fed.step() == 0  # what it was given is said at once
    second = answer(fed, 3)
    assert second.topic_partitions == [messages.TopicPartitions(TOPIC_ID, [0, 1])]
    assert (second.member_epoch, second.subscribed_topic_names) == (3, None)
    assert fed.step() == 0.5  # as the coordinator has said
    third = answer(fed, 3)
    assert third.topic_partitions is None
    assert third.member_id == first.member_id


def test_what_is_to_be_given_up_is_said_as_soon_as_it_is():
    fed, member = joined()
    fed.step()
    answer(fed, 1, [1])
    assert (fed.assigned, fed.giving) == ({1}, {0})
    fed.giving.clear()
    member.changed()
    assert fed.step() == 0
    said = answer(fed, 2).topic_partitions
    assert said == [messages.TopicPartitions(TOPIC_ID, [1])]


@pytest.mark.parametrize("code", [25, 110])
def test_a_member_that_is_not_known_joins_anew_and_keeps_what_it_has_until_told(code):
    fed, _ = joined()
    fed.step()
    fed.answer(code)
    assert fed.assigned == {0, 1}
    fed.step()
    again = answer(fed, 9, [1, 2])
    assert (again.member_epoch, again.topic_partitions) == (0, [])
    assert again.subscribed_topic_names == [TOPIC]
    assert (fed.assigned, fed.giving) == ({1, 2}, {0})


def test_a_heartbeat_that_was_lost_is_said_whole_again():
    fed, member = joined()
    fed.step()
    why = ClusterUnreachable("gone")
    fed.answer(error=why)
    assert member.failure is why
    assert fed.assigned == {0, 1}
    assert 0 < fed.step() < 0.2
    whole = answer(fed, 1)
    assert (whole.member_epoch, whole.subscribed_topic_names) == (1, [TOPIC])
    assert whole.topic_partitions == [messages.TopicPartitions(TOPIC_ID, [0, 1])]
    assert member.failure is None


@pytest.mark.parametrize(("code", "forgotten"), [(14, 0), (15, 1), (16, 1)])
def test_another_coordinator_is_looked_for_where_this_one_is_none(code, forgotten):
    fed, _ = joined()
    fed.step()
    fed.answer(code)
    assert fed.forgotten == forgotten
    assert fed.step() < 0.2
    assert answer(fed, 1).subscribed_topic_names == [TOPIC]


def test_a_coordinator_without_the_assignor_takes_its_own():
    fed, _ = begun()
    fed.step()
    fed.answer(112)
    fed.step()
    assert answer(fed, 1, []).server_assignor is None


@pytest.mark.parametrize("error", [23, 35, 69, NotSpoken("no")])
def test_a_group_that_is_of_another_protocol_ends_it(error):
    fed, _ = begun()
    fed.step()
    if isinstance(error, int):
        fed.answer(error)
    else:
        fed.answer(error=error)
    [why] = fed.refusals
    assert isinstance(why, Failed)
    assert not fed.due
    assert not fed.watchers


def test_what_others_have_to_change_is_tried_again_slowly():
    fed, member = begun()
    waits = []
    for _ in range(6):
        waits.append(fed.step())
        fed.answer(30, error_message="not allowed")
    assert "not allowed" in str(member.failure)
    assert waits[1] >= 0.8
    assert waits == sorted(waits)
    assert waits[-1] <= SLOWLY_S * 1.2


def test_an_assignment_waits_for_the_topics_name():
    fed, _ = begun(partitions=0)
    fed.step()
    answer(fed, 1, [2, 3])
    assert not fed.assigned
    assert fed.step() == 0.5
    answer(fed, 1)
    fed.know(4)
    assert fed.assigned == {2, 3}


def test_a_topic_that_was_made_anew_is_waited_for():
    fed, _ = joined()
    fed.step()
    answer(fed, 2, [0, 3], topic_id=b"n" * 16)
    assert fed.assigned == set()
    assert fed.refreshes == 1
    fed.giving.clear()
    fed.know(4, b"n" * 16)
    assert fed.assigned == {0, 3}


@pytest.mark.parametrize(("told_ms", "waits_s"), [(0, 0.1), (-5, 0.1), (2**31 - 1, 60)])
def test_intervals_that_are_none_are_bounded(told_ms, waits_s):
    fed, _ = begun()
    fed.step()
    answer(fed, 1, [], told_ms)
    assert fed.step() == waits_s


def test_it_leaves_by_its_id():
    fed, member = joined()
    over = []
    member.leave(lambda: over.append(True))
    [(_, request, _)] = fed.asked
    assert request.member_epoch == -1
    assert not fed.due
    fed.answer(error=ClusterUnreachable("gone"))
    assert over == [True]


def test_whoever_was_never_in_it_has_left():
    fed, member = begun()
    over = []
    member.leave(lambda: over.append(True))
    assert over == [True]
    assert not fed.asked
    assert not fed.due


def test_it_was_heard_of_when_it_said_what_is_answered():
    fed, _ = begun()
    fed.step()
    fed.steady = 3.0
    answer(fed, 1, [0])
    assert (fed.heard_at, fed.joins) == (0.0, 1)
    fed.step()
    fed.steady = 10.0
    fed.answer(25)  # it is not known any more
    assert (fed.heard_at, fed.joins) == (0.0, 1)
    fed.step()
    answer(fed, 1, [0])
    assert (fed.heard_at, fed.joins) == (10.0, 2)
