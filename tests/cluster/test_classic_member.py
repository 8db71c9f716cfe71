"""A member of a group that assigns itself, whose coordinator's answers are fed by hand."""

import msgspec
import pytest
from fed_coordinator import GROUP, TOPIC, FedCoordinator

from logstore.cluster import kinds
from logstore.cluster.classic_member import SESSION_MAX_MS, ClassicMember
from logstore.errors import ClusterUnreachable, CorruptStore, NotSpoken

joins, syncs = kinds.JOIN_GROUP.messages(), kinds.SYNC_GROUP.messages()
NESTED = b'{"a":' + b"[" * 100_000


def begun():
    fed = FedCoordinator()
    member = ClassicMember(fed, TOPIC, fed, fed, fed.random)
    fed.step()
    return fed, member


def said(**facts):
    return msgspec.json.encode(facts)


def join(fed, generation=1, leader="a", members=(), **facts):
    return fed.answer(
        generation_id=generation, leader=leader, member_id="a",
        members=[joins.Member(name, None, data) for name, data in members], **facts,
    )  # fmt: skip


def settled(assigned=(0, 1)):
    fed, member = begun()
    join(fed, leader="b")
    fed.answer(assignment=said(partitions=list(assigned)))
    return fed, member


def test_it_is_given_an_id_first():
    fed, _ = begun()
    first = fed.answer(79, member_id="a")
    assert (first.group_id, first.member_id, first.protocol_type) == (GROUP, "", "logstore")
    fed.step()
    again = join(fed, leader="b")
    assert again.member_id == "a"
    sync = fed.answer(assignment=said(partitions=[2]))
    assert (sync.member_id, sync.generation_id, sync.assignments) == ("a", 1, [])
    assert fed.assigned == {2}
    assert fed.step() == 1
    beat = fed.answer()
    assert (beat.member_id, beat.generation_id) == ("a", 1)


@pytest.mark.parametrize("nonsense", [b"{", NESTED])
def test_the_leader_assigns_what_each_may_have_now(nonsense):
    fed, _ = begun()
    nothing = said(partitions=[], generation=-1)
    others = said(partitions=[0, 1, 2, 3], generation=4)
    join(fed, 5, members=[("a", nothing), ("b", others), ("c", nonsense)])
    sync = fed.answer(assignment=said(partitions=[]))
    found = {it.member_id: msgspec.json.decode(it.assignment) for it in sync.assignments}
    assert {name: it["partitions"] for name, it in found.items()} == {"a": [], "b": [0, 1], "c": []}


def test_whoever_has_given_something_up_has_all_join_again():
    fed, member = settled()
    fed.step()
    fed.answer(27)
    fed.step()
    again = join(fed, 2, "b")
    assert msgspec.json.decode(again.protocols[0].metadata) == {
        "partitions": [0, 1], "generation": 1,
    }  # fmt: skip
    fed.answer(assignment=said(partitions=[1]))
    assert (fed.assigned, fed.giving) == ({1}, {0})
    fed.step()
    assert fed.answer().generation_id == 2  # a heartbeat: it has not given up yet
    fed.giving.clear()
    member.changed()
    assert fed.step() == 0
    held = msgspec.json.decode(join(fed, 3, "b").protocols[0].metadata)
    assert held == {"partitions": [1], "generation": 2}


def test_what_was_given_up_at_once_needs_no_heartbeat():
    fed, _ = settled()
    fed.step()
    fed.answer(27)
    fed.step()
    join(fed, 2, "b")
    fed.assign = lambda numbers: setattr(fed, "assigned", numbers)
    fed.answer(assignment=said(partitions=[1]))
    assert fed.step() == 0
    assert isinstance(fed.asked[0][1], joins.Request)


def test_partitions_that_are_new_are_assigned_by_the_leader():
    fed, _ = begun()
    join(fed, 1, members=[("a", said(partitions=[], generation=-1))])
    fed.answer(assignment=said(partitions=[0, 1, 2, 3]))
    fed.know(6)
    assert fed.step() == 0
    join(fed, 2, members=[("a", said(partitions=[0, 1, 2, 3], generation=1))])
    [it] = fed.answer(assignment=said(partitions=[])).assignments
    assert msgspec.json.decode(it.assignment)["partitions"] == [0, 1, 2, 3, 4, 5]


def test_nobody_loses_partitions_because_a_broker_does_not_know_the_topic():
    """As one that has just been started, and is asked who leads what."""
    fed, _ = begun()
    join(fed, 1, members=[("a", said(partitions=[], generation=-1))])
    fed.answer(assignment=said(partitions=[0, 1, 2, 3]))
    fed.view.topics = {}
    for call in fed.watchers:
        call()
    assert fed.step() == 1
    fed.answer(27)
    fed.step()
    join(fed, 2, members=[("a", said(partitions=[0, 1, 2, 3], generation=1))])
    [it] = fed.answer(assignment=said(partitions=[0, 1, 2, 3])).assignments
    assert msgspec.json.decode(it.assignment)["partitions"] == [0, 1, 2, 3]


def test_a_leader_that_does_not_know_the_topic_yet_leaves_to_others_what_they_have():
    fed = FedCoordinator(partitions=0)
    ClassicMember(fed, TOPIC, fed, fed, fed.random)
    fed.step()
    others = said(partitions=[0, 3, 1 << 40], generation=1)
    join(fed, 2, members=[("a", said(partitions=[], generation=-1)), ("b", others)])
    found = {it.member_id: it for it in fed.answer(assignment=said(partitions=[])).assignments}
    assert msgspec.json.decode(found["b"].assignment)["partitions"] == [0, 3]
    fed.know(4)
    assert fed.step() == 0  # and assigns all of them now
    assert fed.asked[0][0] is kinds.JOIN_GROUP


@pytest.mark.parametrize(("code", "member_id"), [(25, ""), (22, "a")])
def test_a_member_that_is_not_known_joins_anew_and_keeps_what_it_has(code, member_id):
    fed, _ = settled()
    fed.step()
    fed.answer(code)
    fed.step()
    assert join(fed, 2, "b").member_id == member_id
    assert fed.assigned == {0, 1}


def test_a_session_is_as_short_as_the_cluster_allows():
    fed, member = begun()
    asked = []
    for _ in range(8):
        asked.append(fed.answer(26).session_timeout_ms)
        fed.step()
    assert asked == [6000, 12_000, 24_000, 48_000, 96_000, 192_000, SESSION_MAX_MS, SESSION_MAX_MS]
    assert "error 26" in str(member.failure)


@pytest.mark.parametrize(("code", "forgotten"), [(14, 0), (15, 1), (16, 1), (30, 0)])
def test_what_can_not_be_now_is_asked_again(code, forgotten):
    fed, member = settled()
    fed.step()
    fed.answer(code)
    assert fed.forgotten == forgotten
    assert str(code) in str(member.failure)
    assert fed.step() > 0
    fed.answer()
    assert member.failure is None
    assert fed.assigned == {0, 1}


def test_a_heartbeat_that_was_lost_is_sent_again():
    fed, member = settled()
    fed.step()
    fed.answer(error=ClusterUnreachable("gone"))
    assert fed.step() < 0.2
    fed.answer()
    assert member.failure is None


@pytest.mark.parametrize("assignment", [b"", b"[]", b'{"partitions":["a"]}', b"\xff", NESTED])
def test_an_assignment_that_is_none_is_said_so(assignment):
    fed, member = begun()
    join(fed, leader="b")
    fed.answer(assignment=assignment)
    assert isinstance(member.failure, CorruptStore)
    assert fed.step() > 0
    assert isinstance(fed.asked[0][1], joins.Request)


@pytest.mark.parametrize("error", [23, NotSpoken("no")])
def test_a_group_that_is_of_another_protocol_ends_it(error):
    fed, _ = begun()
    if isinstance(error, int):
        fed.answer(error)
    else:
        fed.answer(error=error)
    assert len(fed.refusals) == 1
    assert not fed.due


def test_it_leaves_by_its_id():
    fed, member = settled()
    over = []
    member.leave(lambda: over.append(True))
    request = fed.answer()
    assert (request.member_id, request.members[0].member_id) == ("a", "a")
    assert over == [True]
    assert not fed.due
    assert not fed.watchers


def test_it_was_heard_of_when_it_said_what_is_answered():
    fed, _ = settled()
    assert (fed.heard_at, fed.joins) == (0.0, 1)
    fed.steady = 3.0
    fed.step()
    fed.steady = 4.0
    fed.answer()
    assert (fed.heard_at, fed.joins) == (3.0, 1)
    fed.step()
    fed.answer(25)  # it is not known any more
    fed.step()
    join(fed, leader="b")
    fed.answer(assignment=said(partitions=[]))
    assert (fed.heard_at, fed.joins) == (4.0, 2)
