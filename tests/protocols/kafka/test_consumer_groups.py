"""KIP-848, and what is seen of groups from outside."""

import pytest
from coordinator_parts import Kept
from door_kit import Talk
from group_kit import a_commit, checked, committed, fetched, joined, settled

from logstore.kafka.messages import (
    consumer_group_describe,
    consumer_group_heartbeat,
    delete_groups,
    describe_groups,
    find_coordinator,
    list_groups,
    offset_commit,
)

BEAT, DESCRIBE, CLASSIC, LIST, DELETE = 68, 69, 15, 16, 42
NOT_FOUND = 69


@pytest.fixture
def talk():
    found = Talk()
    found.topics.create("t", 4, {})
    return found


def beat(talk, member="m", epoch=0, version=1, group="g", **more):
    if epoch == 0:
        more = {
            "rebalance_timeout_ms": 1000, "subscribed_topic_names": ["t"], "topic_partitions": [],
            **more,
        }  # fmt: skip
    else:
        more.setdefault("topic_partitions", None)
    request = consumer_group_heartbeat.Request(group, member, epoch, **more)
    return checked(talk, BEAT, version, request, consumer_group_heartbeat.Response)


def parts(talk, answer):
    assigned = answer.assignment.topic_partitions
    assert [it.topic_id for it in assigned] == [talk.topics.get("t").uuid] * len(assigned)
    return [n for it in assigned for n in it.partitions]


@pytest.mark.parametrize("version", [0, 1])
def test_a_member_gets_its_partitions_with_its_heartbeat(talk, version):
    first = beat(talk, version=version)
    assert (first.error_code, first.member_id, first.heartbeat_interval_ms) == (0, "m", 5000)
    assert parts(talk, first) == [0, 1, 2, 3]
    quiet = beat(talk, epoch=first.member_epoch, version=version)
    assert (quiet.error_code, quiet.assignment) == (0, None)


def test_a_member_without_a_name_gets_one_or_must_have_one(talk):
    assert len(beat(talk, "", version=0).member_id) > 20
    refused = beat(talk, "", version=1)
    assert (refused.error_code, refused.error_message) == (42, "a member must name itself")


def test_partitions_go_over_when_they_are_given_up(talk):
    one = beat(talk, "one")
    two = beat(talk, "two")
    assert parts(talk, two) == []
    mine = consumer_group_heartbeat.TopicPartitions(talk.topics.get("t").uuid, [0, 1, 2, 3])
    kept = beat(talk, "one", one.member_epoch, topic_partitions=[mine])
    mine.partitions = parts(talk, kept)
    assert len(mine.partitions) == 2
    beat(talk, "one", kept.member_epoch, topic_partitions=[mine])
    got = parts(talk, beat(talk, "two", two.member_epoch))
    assert sorted(mine.partitions + got) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"subscribed_topic_regex": "t("}, 128),
        ({"server_assignor": "sticky"}, 112),
        ({"group": ""}, 24),
        ({"group": "x" * 256}, 24),
        ({"member": "x" * 300}, 42),
        ({"rebalance_timeout_ms": -1}, 42),
        ({"epoch": 7}, 25),
        ({"epoch": -9}, 42),
    ],
)
def test_what_cant_be_is_refused_with_its_own_error(talk, more, code):
    refused = beat(talk, **more)
    assert (refused.error_code, refused.assignment) == (code, None)
    assert refused.error_message


def test_members_of_the_new_protocol_commit_at_their_epoch(talk):
    epoch = beat(talk).member_epoch
    here = [("t", 0, 1, "")]
    assert committed(talk, here, generation=epoch, member="m") == [0]
    assert committed(talk, here, generation=epoch + 1, member="m") == [113]
    request = a_commit(talk, here, generation=epoch + 1, member="m")
    told = checked(talk, 8, 8, request, offset_commit.Response)
    assert told.topics[0].partitions[0].error_code == 35  # it can't be told of epochs
    assert fetched(talk, 9, member_id="m", member_epoch=epoch)[0] == 0
    assert fetched(talk, 9, member_id="m", member_epoch=epoch + 1)[0] == 113
    assert fetched(talk, 9, member_id="n", member_epoch=epoch)[0] == 25


def described(talk, *names, version=1):
    request = consumer_group_describe.Request(names, include_authorized_operations=True)
    return checked(talk, DESCRIBE, version, request, consumer_group_describe.Response).groups


@pytest.mark.parametrize("version", [0, 1])
def test_a_group_of_the_new_protocol_is_described(talk, version):
    beat(talk, instance_id="me", rack_id="r")
    [group] = described(talk, "g", version=version)
    assert (group.error_code, group.group_state, group.assignor_name) == (0, "Stable", "uniform")
    assert group.authorized_operations == 3400
    [member] = group.members
    told = member.member_id, member.instance_id, member.rack_id, member.client_id
    assert (*told, member.client_host) == ("m", "me", "r", "test", "/192.0.2.1")
    assert member.subscribed_topic_names == ["t"]
    [assigned] = member.assignment.topic_partitions
    assert (assigned.topic_name, assigned.partitions) == ("t", [0, 1, 2, 3])
    assert member.target_assignment == member.assignment
    assert member.member_type == (1 if version else -1)


def test_a_topic_that_is_gone_is_not_described(talk):
    beat(talk)
    talk.topics.delete("t")
    [group] = described(talk, "g")
    assert group.members[0].assignment.topic_partitions == []


def test_either_description_knows_its_own_groups_only(talk):
    beat(talk, group="new")
    settled(talk)  # "g"
    assert [it.error_code for it in described(talk, "new", "g", "none")] == [
        0,
        NOT_FOUND,
        NOT_FOUND,
    ]
    request = describe_groups.Request(["new", "g", "none"])
    for version in range(7):
        found = checked(talk, CLASSIC, version, request, describe_groups.Response).groups
        code = NOT_FOUND if version >= 6 else 0
        assert [(it.group_state, it.error_code) for it in found] == [
            ("Dead", code), ("Stable", 0), ("Dead", code),
        ]  # fmt: skip
        assert all(bool(it.error_message) == (it.error_code != 0) for it in found)


def listed(talk, version, states=(), types=()):
    request = list_groups.Request(states, types)
    found = checked(talk, LIST, version, request, list_groups.Response).groups
    return {it.group_id: (it.protocol_type, it.group_state, it.group_type) for it in found}


@pytest.mark.long
def test_groups_are_listed_by_state_and_type(talk):
    committed(talk, [("t", 0, 1, "")], group="simple")
    settled(talk)
    beat(talk, group="new")
    beat(talk, group="left")
    beat(talk, group="left", epoch=-1)
    everything = {
        "simple": ("", "Empty", "classic"),
        "g": ("consumer", "Stable", "classic"),
        "new": ("consumer", "Stable", "consumer"),
        "left": ("consumer", "Empty", "consumer"),
    }
    assert listed(talk, 5) == everything
    for version in range(4):
        assert listed(talk, version).keys() == everything.keys()
    assert listed(talk, 4, ["empty"]).keys() == {"simple", "left"}
    assert listed(talk, 5, ["Empty", "STABLE"], ["Consumer"]).keys() == {"new", "left"}
    assert listed(talk, 5, ["Dead"]) == {}
    assert listed(talk, 5, (), ["share"]) == {}


@pytest.mark.parametrize("version", range(3))
def test_groups_without_members_are_deleted(talk, version):
    committed(talk, [("t", 0, 1, "")], group="simple")
    settled(talk)
    talk.keeper.living.add("embedded")
    talk.keeper.kept["embedded"] = talk.keeper.kept["simple"]
    request = delete_groups.Request(["simple", "g", "none", "embedded", "", "simple"])
    found = checked(talk, DELETE, version, request, delete_groups.Response)
    assert [(it.group_id, it.error_code) for it in found.results] == [
        ("simple", 0), ("g", 68), ("none", NOT_FOUND), ("embedded", 68), ("", 24),
    ]  # fmt: skip
    none = checked(talk, DELETE, version, delete_groups.Request([]), delete_groups.Response)
    assert none.results == []


@pytest.mark.parametrize("version", range(7))
def test_the_coordinator_of_every_group_is_this_node(talk, version):
    request = find_coordinator.Request("g", 0, ["g", "h"])
    found = checked(talk, 10, version, request, find_coordinator.Response)
    told = found.coordinators if version >= 4 else [found]
    assert {(it.node_id, it.host, it.port, it.error_code) for it in told} == {
        (1, "127.0.0.1", 9092, 0)
    }
    assert len(told) == (2 if version >= 4 else 1)


@pytest.mark.parametrize(("key_type", "code"), [(1, 0), (2, 42), (-1, 42)])
def test_there_are_no_coordinators_but_of_consumer_groups_and_transactions(talk, key_type, code):
    request = find_coordinator.Request("x", key_type, ["x"])
    found = checked(talk, 10, 6, request, find_coordinator.Response)
    assert [it.error_code for it in found.coordinators] == [code]


@pytest.mark.parametrize("kind", ["classic", "consumer"])
def test_a_group_whose_row_is_damaged_is_refused_by_itself(talk, kind):
    settled(talk)
    talk.keeper.kept["bad"] = Kept(kind, 1, False, b"{ broken", {"m": b"{"})
    assert listed(talk, 5)["bad"] == ("", "Unknown", kind)
    assert listed(talk, 5)["g"] == ("consumer", "Stable", "classic")
    request = describe_groups.Request(["bad"])
    [group] = checked(talk, CLASSIC, 6, request, describe_groups.Response).groups
    assert (group.error_code, group.group_state) == (15, "Unknown")
    assert "damaged" in group.error_message
    [group] = described(talk, "bad")
    assert group.error_code == 15
    assert joined(talk, 3, group="bad").error_code == 15
    assert beat(talk, group="bad").error_code == 15
    assert committed(talk, [("t", 0, 1, "")], group="bad") == [15]
    assert list(talk.coordinator.start(0)) == ["bad"]
