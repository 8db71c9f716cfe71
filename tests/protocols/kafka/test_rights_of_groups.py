"""Groups tell nobody of topics that they may not know of (KAFKA-18813)."""

import struct

import pytest
from door_kit import Talk

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import DESCRIBE, GROUP, READ, TOPIC
from logstore.kafka.messages import (
    consumer_group_describe,
    consumer_group_heartbeat,
    join_group,
    share_group_describe,
    share_group_heartbeat,
    sync_group,
)
from logstore.kept.users import KeptAccess, KeptRule, KeptUser
from logstore.protocols.kafka.group_descriptions import HIDDEN
from logstore.protocols.kafka.membership import sight_of
from logstore.protocols.kafka.subscription import assigned

NOT_ALLOWED = 29
USERS = (KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al"), KeptUser("bo"))
MEMBERS = KeptRule("*", READ, GROUP, "g")
EVERY_S = 6  # heartbeats are further apart than topics are looked at


class Node:
    """Members of a group, each with a connection of its own."""

    def __init__(self, *rules):
        self.access = Access(Unkept(KeptAccess(USERS, [MEMBERS, *rules])))
        self.talk = Talk(access=self.access)
        self.names = {}
        for name in ("logs.a", "logs.b", "secret"):
            self.add(name)
        self.epochs = {}

    def add(self, name):
        topic = self.talk.topics.create(name, 1, {})
        self.names[topic.uuid] = name
        self.talk.coordinator.topics_changed()

    def as_(self, user):
        talk = Talk(beside=self.talk)
        talk.session._login = None
        talk.session._client.become(Identity(user, "192.0.2.1", "PLAIN", "kafka"))
        return talk

    def beat(self, user, member=None, **more):
        """The topics that the member has; None: as before."""
        member = member or user
        epoch = self.epochs.get(member, 0)
        if not epoch:
            more = {"rebalance_timeout_ms": 60_000, "topic_partitions": [], **more}
        self.talk.pass_time(EVERY_S)
        talk = self.as_(user)
        request = consumer_group_heartbeat.Request("g", member, epoch, **more)
        told = talk.ask(68, 1, request, consumer_group_heartbeat.Response)
        assert told.error_code == 0, told.error_message
        self.epochs[member] = told.member_epoch
        if told.assignment is None:
            return None
        return {self.names[it.topic_id] for it in told.assignment.topic_partitions}


def sees(user, *names):
    return [KeptRule(user, DESCRIBE, TOPIC, name) for name in names]


def test_a_pattern_stands_for_the_topics_that_its_member_may_know_of():
    node = Node(*sees("al", "logs.a"))
    assert node.beat("al", subscribed_topic_regex=".*") == {"logs.a"}
    node.add("logs.c")
    assert node.beat("al") is None
    assert node.beat("root", subscribed_topic_regex=".*") == {"logs.b", "logs.c", "secret"}


def test_a_pattern_tells_nobody_that_a_topic_is_there():
    node = Node(*sees("al", "logs.a"))
    for guess in ("s.*", "sec.*", "secret"):
        assert node.beat("al", member=guess, subscribed_topic_regex=guess) == set()


def test_each_member_s_pattern_stands_for_what_it_may_know_of():
    node = Node(*sees("al", "logs.a", "logs.b"), *sees("bo", "secret"))
    assert node.beat("al", subscribed_topic_regex=".*") == {"logs.a", "logs.b"}
    assert node.beat("bo", subscribed_topic_regex=".*") == {"secret"}


def test_a_member_loses_and_gets_topics_as_its_rights_change():
    node = Node(*sees("al", "logs.a", "logs.b"))
    assert node.beat("al", subscribed_topic_regex="logs.*") == {"logs.a", "logs.b"}
    node.access.change(forget=sees("al", "logs.a"))
    assert node.beat("al") == {"logs.b"}
    node.access.change(sees("al", "logs.a"))
    topic_id = next(uuid for uuid, name in node.names.items() if name == "logs.b")
    owned = [consumer_group_heartbeat.TopicPartitions(topic_id, [0])]
    assert node.beat("al", topic_partitions=owned) == {"logs.a", "logs.b"}


def test_rules_of_others_do_not_move_a_group():
    node = Node(*sees("al", "logs.a"))
    node.beat("al", subscribed_topic_regex=".*")
    before = dict(node.epochs)
    node.access.change(sees("bo", "secret"))
    assert node.beat("al") is None
    assert node.epochs == before


def test_a_topic_that_is_named_must_be_one_that_the_member_may_know_of():
    node = Node(*sees("al", "logs.a"))
    for names in (["secret"], ["logs.a", "none"]):
        request = consumer_group_heartbeat.Request(
            "g", "m", 0, rebalance_timeout_ms=1000, subscribed_topic_names=names,
            topic_partitions=[],
        )  # fmt: skip
        told = node.as_("al").ask(68, 1, request, consumer_group_heartbeat.Response)
        assert (told.error_code, told.member_epoch) == (NOT_ALLOWED, 0)


@pytest.mark.parametrize("by", [{"subscribed_topic_names": ["logs.a", "secret"]},
                                {"subscribed_topic_regex": "logs.a|secret"}], ids=str)  # fmt: skip
def test_a_group_with_a_topic_that_one_may_not_know_of_shows_no_members(by):
    node = Node(*sees("al", "logs.a"))
    node.beat("root", **by)
    request = consumer_group_describe.Request(["g"])
    [group] = node.as_("al").ask(69, 1, request, consumer_group_describe.Response).groups
    assert (group.error_code, group.error_message, group.members) == (NOT_ALLOWED, HIDDEN, [])
    node.access.change(sees("al", "secret"))
    [group] = node.as_("al").ask(69, 1, request, consumer_group_describe.Response).groups
    assert (group.error_code, len(group.members)) == (0, 1)


class ShareMember:
    """One of a share group, by its user."""

    def __init__(self, node, user):
        self._node, self._user, self._epoch = node, user, 0

    def beat(self, *names):
        """The error code, and the topics that it has; None: as before."""
        self._node.talk.pass_time(EVERY_S)
        request = share_group_heartbeat.Request(
            "g", self._user, self._epoch, None, list(names) or None
        )
        told = self._node.as_(self._user).ask(76, 1, request, share_group_heartbeat.Response)
        self._epoch = told.member_epoch
        if told.assignment is None:
            return told.error_code, None
        assigned = told.assignment.topic_partitions
        return told.error_code, {self._node.names[it.topic_id] for it in assigned}


def test_a_member_of_a_share_group_has_what_it_may_know_of_now():
    node = Node(*sees("al", "logs.a", "logs.b"))
    al, root = ShareMember(node, "al"), ShareMember(node, "root")
    assert al.beat("logs.a", "secret") == (NOT_ALLOWED, None)
    assert al.beat("none") == (NOT_ALLOWED, None)
    assert al.beat("logs.a", "logs.b") == (0, {"logs.a", "logs.b"})
    node.access.change(forget=sees("al", "logs.a"))
    assert al.beat() == (0, {"logs.b"})
    assert root.beat("logs.a", "secret") == (0, {"logs.a", "secret"})
    node.access.change(sees("al", "logs.a"))
    assert al.beat() == (0, {"logs.a", "logs.b"})


def test_a_share_group_with_a_topic_that_one_may_not_know_of_shows_no_members():
    node = Node(*sees("al", "logs.a"))
    ShareMember(node, "root").beat("logs.a", "secret")
    request = share_group_describe.Request(["g"])
    [group] = node.as_("al").ask(77, 1, request, share_group_describe.Response).groups
    assert (group.error_code, group.error_message, group.members) == (NOT_ALLOWED, HIDDEN, [])
    node.access.change(sees("al", "secret"))
    [group] = node.as_("al").ask(77, 1, request, share_group_describe.Response).groups
    assert (group.error_code, len(group.members)) == (0, 1)


def test_members_of_one_user_see_the_same_from_all_hosts_that_no_rule_names():
    node = Node(*sees("al", "logs.a"))
    here, there = node.as_("al"), node.as_("al")
    there.session._client.become(Identity("al", "192.0.2.2", "PLAIN", "kafka"))
    assert sight_of(here.session._client) == sight_of(there.session._client)
    assert sight_of(here.session._client) != sight_of(node.as_("bo").session._client)
    node.access.change([KeptRule("al", DESCRIBE, TOPIC, "secret", host="192.0.2.2")])
    assert sight_of(here.session._client) != sight_of(there.session._client)


class Classic:
    """A member by the classic protocol, which wants one topic."""

    def __init__(self, node, topic):
        self._talk, self._id = node.as_("al"), ""
        self._metadata = struct.pack(f">hih{len(topic)}si", 0, 1, len(topic), topic.encode(), -1)

    def join(self):
        protocols = [join_group.Protocol("range", self._metadata)]
        request = join_group.Request("g", 30_000, 30_000, self._id, "i", "consumer", protocols)
        self._talk.say(11, 5, request)
        self._talk.pass_time(EVERY_S)
        [(_, body)] = self._talk.replies()
        joined = self._talk.read(11, 5, join_group.Response, body)
        assert joined.error_code == 0
        self._id = joined.member_id
        chosen = [sync_group.Assignment(self._id, assigned(0, []))] if joined.leader else []
        request = sync_group.Request("g", joined.generation_id, self._id, "i", assignments=chosen)
        synced = self._talk.ask(14, 4, request, sync_group.Response)
        assert synced.error_code == 0
        return bytes(synced.assignment)


def test_a_classic_member_of_a_new_group_gets_no_topic_that_it_may_not_know_of():
    node = Node(*sees("al", "logs.a"))
    node.beat("al", subscribed_topic_names=["logs.a"])
    assert Classic(node, "secret").join() == assigned(0, [])


def test_nor_does_one_whose_group_becomes_a_new_one():
    node = Node(*sees("al", "logs.a"))
    classic = Classic(node, "secret")
    assert classic.join() == assigned(0, [])  # as it chose itself
    node.beat("al", subscribed_topic_names=["logs.a"])
    assert classic.join() == assigned(0, [])
    node.access.change(sees("al", "secret"))
    assert classic.join() == assigned(0, [("secret", 0)])


def test_a_member_loses_a_topic_that_it_has_named_with_the_right_to_know_of_it():
    node = Node(*sees("al", "logs.a", "logs.b"))
    node.beat("al", subscribed_topic_names=["logs.a", "logs.b"])
    node.access.change(forget=sees("al", "logs.a"))
    assert node.beat("al") == {"logs.b"}
