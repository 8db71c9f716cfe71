import pytest
from door_kit import Talk
from group_kit import (
    BEAT,
    DESCRIBE,
    ID_REQUIRED,
    ILLEGAL,
    JOIN,
    LEAVE,
    METADATA,
    NOT_COORDINATOR,
    REBALANCING,
    SESSION_MS,
    SYNC,
    UNKNOWN_MEMBER,
    a_join,
    checked,
    joined,
    settled,
    synced,
)

from logstore.kafka.messages import (
    api_versions,
    describe_groups,
    heartbeat,
    join_group,
    leave_group,
    sync_group,
)


def beaten(talk, member, generation, version=4):
    request = heartbeat.Request("g", generation, member)
    return checked(talk, BEAT, version, request, heartbeat.Response).error_code


@pytest.mark.parametrize("version", range(10))
def test_a_member_joins_in_every_version(version):
    talk = Talk()
    asked = checked(talk, JOIN, version, a_join(), join_group.Response)
    if version >= 4:  # KIP-394
        assert (asked.error_code, asked.generation_id) == (ID_REQUIRED, -1)
        again = a_join(asked.member_id)
        asked = checked(talk, JOIN, version, again, join_group.Response)
    assert (asked.error_code, asked.generation_id, asked.protocol_name) == (0, 1, "range")
    assert asked.protocol_type == ("consumer" if version >= 7 else None)
    assert asked.leader == asked.member_id
    assert asked.members == [join_group.Member(asked.member_id, None, METADATA)]


@pytest.mark.parametrize("version", range(6))
def test_the_leaders_assignment_comes_back_in_every_version(version):
    talk = Talk()
    member = joined(talk).member_id
    found = synced(talk, member, 1, version, [sync_group.Assignment(member, b"mine")])
    assert (found.error_code, found.assignment) == (0, b"mine")
    if version >= 5:
        assert (found.protocol_type, found.protocol_name) == ("consumer", "range")


def test_a_sync_must_name_the_protocol_once_it_can():
    talk = Talk()
    member = joined(talk).member_id
    request = sync_group.Request("g", 1, member)
    assert checked(talk, SYNC, 5, request, sync_group.Response).error_code == 23
    request.protocol_type, request.protocol_name = "consumer", "roundrobin"
    assert checked(talk, SYNC, 5, request, sync_group.Response).error_code == 23


@pytest.mark.parametrize("version", range(5))
def test_heartbeats_in_every_version(version):
    talk = Talk()
    member = settled(talk)
    assert beaten(talk, member, 1, version) == 0
    assert beaten(talk, member, 2, version) == ILLEGAL
    assert beaten(talk, "nobody", 1, version) == UNKNOWN_MEMBER


@pytest.mark.parametrize("version", range(6))
def test_leaving_in_every_version(version):
    talk = Talk()
    member = settled(talk)

    def leave(name):
        request = leave_group.Request("g", [leave_group.MemberIdentity(name)], name)
        answer = checked(talk, LEAVE, version, request, leave_group.Response)
        if version < 3:
            return answer.error_code
        [of_member] = answer.members
        assert (answer.error_code, of_member.member_id) == (0, name)
        return of_member.error_code

    assert (leave("nobody"), leave(member)) == (UNKNOWN_MEMBER, 0)
    assert beaten(talk, member, 1) == UNKNOWN_MEMBER


def test_several_leave_at_once_each_with_its_answer():
    talk = Talk()
    first = joined(talk, group_instance_id="one").member_id
    leaving = [
        leave_group.MemberIdentity("", "one"),
        leave_group.MemberIdentity(first, "two"),
        leave_group.MemberIdentity("nobody"),
    ]
    request = leave_group.Request("g", leaving)
    found = checked(talk, LEAVE, 5, request, leave_group.Response)
    assert [(it.group_instance_id, it.error_code) for it in found.members] == [
        ("one", 0), ("two", UNKNOWN_MEMBER), (None, UNKNOWN_MEMBER),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_names_that_no_group_can_have_are_refused(name):
    talk = Talk()
    assert checked(talk, JOIN, 9, a_join(group=name), join_group.Response).error_code == 24
    request = sync_group.Request(name, 1, "m", None, "consumer", "range")
    assert checked(talk, SYNC, 5, request, sync_group.Response).error_code == 24
    request = heartbeat.Request(name, 1, "m")
    assert checked(talk, BEAT, 4, request, heartbeat.Response).error_code == 24
    request = leave_group.Request(name, [leave_group.MemberIdentity("m")])
    assert checked(talk, LEAVE, 5, request, leave_group.Response).error_code == 24


def test_a_group_and_what_its_members_say_are_bounded():
    talk = Talk(settings={"group.max.size": 2, "group.metadata.max.bytes": 1024})
    assert joined(talk, 3, metadata=bytes(2000)).error_code == 42
    assert joined(talk, 3).error_code == 0
    other = Talk(beside=talk)
    other.say(JOIN, 3, a_join())  # waits for the first
    third = Talk(beside=talk)
    assert joined(third, 3).error_code == 81
    assert joined(third, 3, group="another").error_code == 0


@pytest.mark.parametrize("session_ms", [5999, 1_800_001, -1])
def test_a_session_timeout_has_bounds(session_ms):
    assert joined(Talk(), session_ms=session_ms).error_code == 26


def test_the_member_is_described_by_its_client_and_peer():
    talk = Talk()
    settled(talk)
    request = describe_groups.Request(["g"])
    [group] = checked(talk, DESCRIBE, 6, request, describe_groups.Response).groups
    [member] = group.members
    assert (member.client_id, member.client_host) == ("test", "/192.0.2.1")
    assert (member.member_metadata, member.member_assignment) == (METADATA, b"all of it")


# Waiting


def waiting(talk, member):
    """Another session, with a join that waits for ``member``; the join's correlation id."""
    other = Talk(beside=talk)
    asked = other.say(JOIN, 3, a_join())
    assert other.replies() == []
    assert beaten(talk, member, 1) == REBALANCING
    return other, asked


def test_a_join_that_waits_is_answered_before_what_comes_behind_it():
    talk = Talk()
    member = settled(talk)
    other, first = waiting(talk, member)
    second = other.say(18, 3, api_versions.Request("x", "1"))
    assert other.replies() == []
    again = joined(talk, member=member)
    assert (again.generation_id, len(again.members)) == (2, 2)
    assert other.woken
    other.session.wake(other.now)
    [(correlation, _)] = other.replies()
    other.feed(b"")  # only now the second is taken
    assert [correlation, *(it for it, _ in other.replies())] == [first, second]


def test_a_follower_waits_for_its_leader():
    talk = Talk()
    member = settled(talk)
    other, _ = waiting(talk, member)
    joined(talk, member=member)
    [(_, body)] = other.replies()
    follower = other.read(JOIN, 3, join_group.Response, body)
    assert (follower.generation_id, follower.leader, follower.members) == (2, member, [])
    other.say(SYNC, 3, sync_group.Request("g", 2, follower.member_id))
    assert other.replies() == []
    parts = [sync_group.Assignment(follower.member_id, b"half")]
    assert synced(talk, member, 2, assignments=parts).assignment == b""
    [(_, body)] = other.replies()
    assert other.read(SYNC, 3, sync_group.Response, body).assignment == b"half"


def test_a_first_version_client_is_waited_for_as_long_as_its_session():
    talk = Talk()
    member = joined(talk, 0).member_id
    synced(talk, member, 1)
    other = Talk(beside=talk)
    other.say(JOIN, 0, a_join())
    talk.pass_time(SESSION_MS / 1000 - 1)
    assert beaten(talk, member, 1) == REBALANCING  # it is alive, but does not join again
    assert other.replies() == []
    talk.pass_time(1.001)
    assert len(other.replies()) == 1
    assert beaten(talk, member, 1) == UNKNOWN_MEMBER


def test_who_goes_away_while_it_waits_stays_a_member_until_its_session_ends():
    talk = Talk()
    member = settled(talk)
    other, _ = waiting(talk, member)
    other.session.close()
    assert len(joined(talk, member=member).members) == 2
    assert synced(talk, member, 2).error_code == 0
    assert not other.out()
    for _ in range(2):
        talk.pass_time(SESSION_MS / 2000)
        last = beaten(talk, member, 2)
    talk.pass_time(0.001)
    assert (last, beaten(talk, member, 2)) == (REBALANCING, REBALANCING)
    assert len(joined(talk, member=member).members) == 1


def test_who_ends_its_side_is_told_at_once_and_its_last_request_is_served():
    talk = Talk()
    member = settled(talk)
    other, first = waiting(talk, member)
    name = describe(talk)[1]
    last = other.say(LEAVE, 1, leave_group.Request("g", member_id=name))
    other.session.finish(other.now)
    [(correlation, body)] = other.replies()
    answer = other.read(JOIN, 3, join_group.Response, body)
    assert (correlation, answer.error_code) == (first, NOT_COORDINATOR)
    other.feed(b"")
    assert [it for it, _ in other.replies()] == [last]
    assert not other.session.busy
    assert describe(talk) == [member]


def describe(talk):
    request = describe_groups.Request(["g"])
    [group] = checked(talk, DESCRIBE, 5, request, describe_groups.Response).groups
    return [it.member_id for it in group.members]


def test_a_generation_is_told_when_it_is_durable():
    talk = Talk()
    talk.keeper.held = True
    talk.say(JOIN, 3, a_join())
    assert talk.replies() == []
    talk.keeper.settle()
    assert talk.woken
    assert len(talk.replies()) == 1


def test_a_group_of_the_directorys_own_members_refuses_clients():
    talk = Talk()
    talk.keeper.living.add("g")
    assert joined(talk, 3).error_code == 23


def test_the_time_of_groups_is_the_servers():
    talk = Talk()
    talk.pass_time(1.5)
    assert talk.session._client.now_ms == 1_001_500
