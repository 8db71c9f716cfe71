"""Share groups (KIP-932) on the wire: being a member, and what others see of the group."""

from collections import deque

import pytest
from door_kit import Talk
from group_kit import checked, committed, fetched, joined

from logstore.kafka.messages import (
    api_versions,
    consumer_group_describe,
    consumer_group_heartbeat,
    delete_groups,
    describe_groups,
    find_coordinator,
    list_groups,
    offset_delete,
    share_group_describe,
    share_group_heartbeat,
    update_features,
)
from logstore.protocols.kafka.client import ASK_UNITS
from logstore.protocols.kafka.group_descriptions import FEW
from logstore.slices import UNITS, Slices

BEAT, DESCRIBE = 76, 77
FENCED, FULL, INVALID, NOT_FOUND, INCONSISTENT, NON_EMPTY = 110, 81, 42, 69, 23, 68


@pytest.fixture
def talk():
    found = Talk()
    found.topics.create("t", 4, {})
    return found


def beat(talk, member="m", epoch=0, topics=("t",), group="g", rack=None):
    request = share_group_heartbeat.Request(group, member, epoch, rack, topics)
    return checked(talk, BEAT, 1, request, share_group_heartbeat.Response)


def parts(talk, answer):
    assigned = answer.assignment.topic_partitions
    assert [it.topic_id for it in assigned] == [talk.topics.get("t").uuid] * len(assigned)
    return [n for it in assigned for n in it.partitions]


def described(talk, *names):
    request = share_group_describe.Request(names, include_authorized_operations=True)
    return checked(talk, DESCRIBE, 1, request, share_group_describe.Response).groups


def test_a_member_gets_its_partitions_with_its_heartbeat(talk):
    first = beat(talk)
    assert (first.error_code, first.member_id, first.heartbeat_interval_ms) == (0, "m", 5000)
    assert (parts(talk, first), first.member_epoch) == ([0, 1, 2, 3], 1)
    quiet = beat(talk, epoch=1, topics=None)
    assert (quiet.error_code, quiet.assignment) == (0, None)
    beat(talk, "n")
    less = beat(talk, epoch=1, topics=None)
    assert (less.member_epoch, len(parts(talk, less))) == (2, 2)
    gone = beat(talk, "n", -1, None)
    assert (gone.error_code, gone.member_epoch, gone.assignment) == (0, -1, None)
    assert parts(talk, beat(talk, epoch=2, topics=None)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"epoch": 7, "member": "x"}, 25),
        ({"epoch": 7}, FENCED),
        ({"epoch": -1, "group": "none"}, NOT_FOUND),
        ({"epoch": -2}, INVALID),
        ({"member": ""}, INVALID),
        ({"member": "x" * 37}, INVALID),
        ({"topics": None}, INVALID),
        ({"rack": ""}, INVALID),
        ({"group": ""}, INVALID),
        ({"group": "x" * 256}, 24),
    ],
)
def test_what_cant_be_is_refused_with_its_own_error(talk, more, code):
    beat(talk)
    refused = beat(talk, **more)
    assert (refused.error_code, refused.assignment) == (code, None)
    assert refused.error_message


def test_one_more_than_may_be_is_told_so():
    talk = Talk(settings={"group.share.max.size": 1})
    beat(talk)
    assert beat(talk, "n").error_code == FULL


def test_a_share_group_is_described(talk):
    beat(talk, rack="r")
    [group] = described(talk, "g")
    assert (group.error_code, group.group_state, group.assignor_name) == (0, "Stable", "simple")
    assert (group.group_epoch, group.assignment_epoch) == (1, 1)
    assert group.authorized_operations == 3400
    [member] = group.members
    assert (member.member_id, member.rack_id, member.member_epoch) == ("m", "r", 1)
    assert (member.client_id, member.client_host) == ("test", "/192.0.2.1")
    assert member.subscribed_topic_names == ["t"]
    [assigned] = member.assignment.topic_partitions
    assert (assigned.topic_name, assigned.partitions) == ("t", [0, 1, 2, 3])
    assert assigned.topic_id == talk.topics.get("t").uuid
    talk.topics.delete("t")
    assert described(talk, "g")[0].members[0].assignment.topic_partitions == []


def test_each_kind_of_group_is_described_by_its_own_request(talk):
    beat(talk, group="shared")
    joining = consumer_group_heartbeat.Request(
        "new", "m", 0, rebalance_timeout_ms=1000, subscribed_topic_names=["t"], topic_partitions=[]
    )
    checked(talk, 68, 1, joining, consumer_group_heartbeat.Response)
    joined(talk)  # "g"
    names = "shared", "new", "g", "none"
    found = described(talk, *names)
    assert [it.error_code for it in found] == [0, *[NOT_FOUND] * 3]
    assert [it.group_state for it in found] == ["Stable", *[""] * 3]
    request = consumer_group_describe.Request(names)
    answer = checked(talk, 69, 1, request, consumer_group_describe.Response)
    assert [it.error_code for it in answer.groups] == [NOT_FOUND, 0, NOT_FOUND, NOT_FOUND]
    assert answer.groups[0].error_message == "group 'shared' is a share one"
    answer = checked(talk, 15, 6, describe_groups.Request(names), describe_groups.Response)
    assert [it.error_code for it in answer.groups] == [NOT_FOUND, NOT_FOUND, 0, NOT_FOUND]
    assert "ShareGroupDescribe" in answer.groups[0].error_message
    answer = checked(talk, 15, 5, describe_groups.Request(names), describe_groups.Response)
    assert (answer.groups[0].error_code, answer.groups[0].group_state) == (0, "Dead")


def test_share_groups_are_listed_by_their_type_and_state(talk):
    beat(talk), beat(talk, group="h"), beat(talk, "m", -1, None, "h")
    committed(talk, [("t", 0, 1, "")], group="simple")

    def listed(states=(), types=()):
        request = list_groups.Request(states, types)
        found = checked(talk, 16, 5, request, list_groups.Response).groups
        return {it.group_id: (it.protocol_type, it.group_state, it.group_type) for it in found}

    both = {"g": ("share", "Stable", "share"), "h": ("share", "Empty", "share")}
    assert listed(types=["share"]) == listed(types=["Share"]) == both
    assert listed(["EMPTY"], ["share"]) == {"h": both["h"]}
    assert listed().keys() == {"g", "h", "simple"}
    assert listed(types=["classic"]).keys() == {"simple"}


def test_an_empty_share_group_can_be_deleted(talk):
    beat(talk)

    def deleted():
        request = delete_groups.Request(["g"])
        return checked(talk, 42, 2, request, delete_groups.Response).results[0].error_code

    assert deleted() == NON_EMPTY
    beat(talk, "m", -1, None)
    assert (deleted(), deleted()) == (0, NOT_FOUND)
    assert described(talk, "g")[0].error_code == NOT_FOUND


def test_a_share_group_commits_no_offsets(talk):
    beat(talk)
    assert committed(talk, [("t", 0, 1, "")]) == [NOT_FOUND]
    assert fetched(talk, 9)[0] == 0  # as Kafka has it: there are none
    request = offset_delete.Request("g", [offset_delete.Topic("t", [offset_delete.Partition(0)])])
    answer = checked(talk, 47, 0, request, offset_delete.Response)
    assert (answer.error_code, answer.topics) == (NOT_FOUND, [])
    assert joined(talk).error_code == INCONSISTENT


def test_this_node_coordinates_share_groups_too(talk):
    request = find_coordinator.Request(key_type=0, coordinator_keys=["g"])
    [found] = checked(talk, 10, 6, request, find_coordinator.Response).coordinators
    assert (found.error_code, found.node_id) == (0, 1)


@pytest.mark.parametrize("version", [3, 4])
def test_the_feature_is_finalized(talk, version):
    answer = talk.ask(18, version, api_versions.Request("x", "1"), api_versions.Response)
    levels = {it.name: it.max_version_level for it in answer.finalized_features}
    supported = {it.name: (it.min_version, it.max_version) for it in answer.supported_features}
    assert (levels["share.version"], supported["share.version"]) == (2, (2, 2))
    assert answer.finalized_features_epoch >= 0
    served = {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys}
    assert served[76] == served[77] == (1, 1)


@pytest.mark.parametrize(("level", "code"), [(2, 0), (1, 95), (3, 95)])
def test_the_feature_stays_at_its_level(talk, level, code):
    asked = [update_features.FeatureUpdateKey("share.version", level)]
    for version in (1, 2):
        answer = talk.ask(
            57, version, update_features.Request(1000, asked), update_features.Response
        )
        told = answer if version == 2 else answer.results[0]
        assert (told.error_code, told.error_message is None) == (code, code == 0)


def test_a_subscription_to_many_topics_is_looked_at_in_parts(talk):
    turns = deque()
    object.__setattr__(talk.door, "slices", Slices(turns.append))
    names = [f"t{n}" for n in range(3000)]
    for name in names[:1000]:
        talk.topics.create(name, 1, {})
    talk.say(BEAT, 1, share_group_heartbeat.Request("g", "m", 0, None, names))
    count = 0
    while turns:
        turns.popleft()()
        count += 1
    assert count >= 3
    assert talk.door.slices.longest <= UNITS + ASK_UNITS * FEW
    [(_, body)] = talk.replies()
    answer = talk.read(BEAT, 1, share_group_heartbeat.Response, body)
    assert (answer.error_code, len(answer.assignment.topic_partitions)) == (0, 1000)
