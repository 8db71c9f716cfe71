"""Where share groups are, told and changed by those who run them."""

import pytest
from share_kit import ACCEPT, Sharer, acquired, append
from shares_kit import places

from logstore.errors import StorageFull, UnknownTopic
from logstore.kafka.messages import (
    alter_share_group_offsets,
    delete_groups,
    delete_share_group_offsets,
    describe_share_group_offsets,
    share_group_describe,
    share_group_heartbeat,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka import share_offsets as module

NON_EMPTY, NO_GROUP = 68, 69


@pytest.fixture
def a():
    return Sharer()


@pytest.fixture
def topic(a):
    made = a.topic(partitions=2)
    append(made, 10)
    append(made, 3, 1)
    a.fetch([(made, 0)])
    a.acknowledge((made, 0, [(0, 2, [ACCEPT]), (5, 5, [ACCEPT])]))
    return made


def describe(a, topics, version=1, group="g"):
    named = topics and [
        describe_share_group_offsets.RequestTopic(name, numbers) for name, numbers in topics
    ]
    request = describe_share_group_offsets.Request(
        [describe_share_group_offsets.RequestGroup(group, named)]
    )
    [found] = a.talk.ask(90, version, request, describe_share_group_offsets.Response).groups
    return found


def told(group):
    return {
        (topic.topic_name, it.partition_index): (it.start_offset, it.lag, it.error_code)
        for topic in group.topics
        for it in topic.partitions
    }


def alter(a, *moves, name="t", group="g"):
    partitions = [alter_share_group_offsets.RequestPartition(*it) for it in moves]
    request = alter_share_group_offsets.Request(
        group, [alter_share_group_offsets.RequestTopic(name, partitions)]
    )
    return a.talk.ask(91, 0, request, alter_share_group_offsets.Response)


def codes(answer):
    return [it.error_code for topic in answer.responses for it in topic.partitions]


def delete(a, name="t", group="g"):
    request = delete_share_group_offsets.Request(
        group, [delete_share_group_offsets.RequestTopic(name)]
    )
    return a.talk.ask(92, 0, request, delete_share_group_offsets.Response)


def join(a, epoch=0):
    beat = share_group_heartbeat.Request("g", "a", epoch, None, ["t"])
    assert a.talk.ask(76, 1, beat, share_group_heartbeat.Response).error_code == 0


def standing(a, topic, number=0):
    shares = a.talk.shares_of.opened
    [place] = [it for it in places(shares) if it[1:] == (topic.uuid, number)] or [None]
    return place and shares.standing(place, topic.partitions[number].safe)


# Told


def test_where_a_group_is(a, topic):
    group = describe(a, [("t", [0, 1, 7])])
    assert told(group) == {("t", 0): (3, 6, 0), ("t", 1): (-1, -1, 0), ("t", 7): (-1, -1, 0)}
    assert group.topics[0].topic_id == topic.uuid
    assert told(describe(a, None)) == {("t", 0): (3, 6, 0)}
    assert told(describe(a, None, version=0)) == {("t", 0): (3, -1, 0)}


def test_as_a_start_finds_it_nothing_is_opened_for_that(a, topic):
    a.talk.shares_of.opened = None
    assert told(describe(a, None)) == {("t", 0): (3, 6, 0)}
    shares = a.talk.shares_of.opened
    assert [shares.at_hand(it) for it in places(shares)] == [None]


@pytest.mark.parametrize("count", [5, 6, 7])
def test_a_request_has_some_changes_under_way_at_a_time(a, monkeypatch, count):
    monkeypatch.setattr(module, "CHANGED_AT_ONCE", 3)
    topic = a.topic("many", partitions=count)
    for number in range(count):
        append(topic, 2, number)
    a.fetch([(topic, number) for number in range(count)], most=1)
    a.fetch()
    journal, shares = a.talk.shares_of.journal, a.talk.shares_of.opened
    journal.hold()
    m = alter_share_group_offsets
    parts = [m.RequestPartition(number, 1) for number in range(count)]
    a.talk.say(91, 0, m.Request("g", [m.RequestTopic("many", parts)]))
    under_way = []
    while not (replies := a.talk.replies()):
        under_way.append(len(shares._pauses))
        journal.sync()
    [(_, body)] = replies
    assert codes(a.talk.read(91, 0, m.Response, body)) == [0] * count
    assert under_way == [3] * (count // 3) + [count % 3] * (count % 3 > 0)


def test_a_group_is_told_once_however_often_it_is_named(a, topic):
    m = describe_share_group_offsets
    request = m.Request([m.RequestGroup("g", None)] * 3)
    [group] = a.talk.ask(90, 1, request, m.Response).groups
    assert told(group) == {("t", 0): (3, 6, 0)}


def test_a_topic_that_is_deleted_meanwhile(a, topic, monkeypatch):
    def deleted(name):
        raise UnknownTopic(name)

    monkeypatch.setattr(a.talk.topics, "offsets", deleted)
    assert told(describe(a, [("t", [0])])) == {("t", 0): (-1, -1, 3)}


def test_a_group_or_a_topic_that_is_not_there(a, topic):
    assert describe(a, None, group="none").error_code == NO_GROUP
    assert told(describe(a, [("none", [0])])) == {("none", 0): (-1, -1, 3)}
    join(a)
    assert describe(a, [], group="g").error_code == 0


def test_a_journal_that_can_not_be_opened_is_told(a, topic):
    a.talk.shares_of.error = StorageFull("journal: full")
    assert describe(a, None).error_code == errors.KAFKA_STORAGE_ERROR
    assert alter(a, (0, 1)).error_code == errors.KAFKA_STORAGE_ERROR
    assert delete(a).error_code == errors.KAFKA_STORAGE_ERROR


def test_trap_7_the_assignments_epoch_of_an_empty_group_is_the_groups(a, topic):
    """kafka#22046: whoever moves its offsets would wait for ever."""
    join(a)
    join(a, epoch=-1)
    request = share_group_describe.Request(["g"])
    [group] = a.talk.ask(77, 1, request, share_group_describe.Response).groups
    assert (group.group_state, group.members) == ("Empty", [])
    assert group.assignment_epoch == group.group_epoch > 1
    assert codes(alter(a, (0, 0))) == [0]


# Moved


def test_a_group_is_moved(a, topic):
    answer = alter(a, (0, 8), (1, 3))
    assert (answer.error_code, codes(answer)) == (0, [0, 0])
    assert answer.responses[0].topic_id == topic.uuid
    assert (standing(a, topic), standing(a, topic, 1)) == ((8, 2), (3, 0))
    assert acquired(a.fetch([(topic, 1)]), topic) == [(8, 9, 1)]
    codes(alter(a, (0, 0)))
    assert acquired(a.fetch(), topic) == [(0, 9, 1)]


def test_it_is_moved_only_to_where_the_log_is(a, topic):
    answer = alter(a, (0, 11), (0, -1), (0, 10), (5, 0))
    assert codes(answer) == [1, 1, 0, 3]
    assert codes(alter(a, (0, 0), name="none")) == [3]
    assert standing(a, topic) == (10, 0)


def test_where_one_partition_is_named_twice_the_last_counts(a, topic):
    assert codes(alter(a, (0, 4), (0, 7))) == [0, 0]
    assert standing(a, topic) == (7, 3)


def test_a_group_with_members_stays_where_it_is(a, topic):
    join(a)
    assert alter(a, (0, 0)).error_code == NON_EMPTY
    assert delete(a).error_code == NON_EMPTY
    join(a, epoch=-1)
    assert codes(alter(a, (0, 0))) == [0]


def test_a_group_that_is_not_there_is_not_moved(a, topic):
    assert alter(a, (0, 0), group="none").error_code == NO_GROUP
    assert delete(a, group="none").error_code == NO_GROUP


@pytest.fixture
def full(a, topic, monkeypatch):
    def refuse(batch):
        raise StorageFull("journal: full")

    monkeypatch.setattr(a.talk.shares_of.journal, "append", refuse)


def test_what_the_journal_does_not_take_is_told(a, topic, full):
    assert codes(alter(a, (0, 0))) == [errors.KAFKA_STORAGE_ERROR]
    [part] = delete(a).responses
    assert (part.error_code, part.error_message) == (errors.KAFKA_STORAGE_ERROR, "journal: full")
    assert standing(a, topic) == (3, 6)


# Forgotten


def test_a_group_forgets_a_topic(a, topic):
    a.fetch([(topic, 1)])
    [part] = delete(a).responses
    assert (part.error_code, part.topic_id) == (0, topic.uuid)
    assert standing(a, topic) is None
    assert [it.error_code for it in delete(a, "none").responses] == []
    append(topic, 1)
    assert acquired(a.fetch(), topic) == [(0, 10, 1)]


def test_who_deletes_a_group_deletes_what_it_has_settled(a, topic):
    join(a)
    request = delete_groups.Request(["g", "none"])

    def deleted():
        results = a.talk.ask(42, 2, request, delete_groups.Response).results
        return {it.group_id: it.error_code for it in results}

    assert deleted() == {"g": NON_EMPTY, "none": NO_GROUP}
    assert standing(a, topic) == (3, 6)
    join(a, epoch=-1)
    assert deleted() == {"g": 0, "none": NO_GROUP}
    assert standing(a, topic) is None
    a.fetch([(topic, 0)])  # by who is no member: there is no such group, and yet it has begun
    assert deleted() == {"g": 0, "none": NO_GROUP}
    assert deleted() == {"g": NO_GROUP, "none": NO_GROUP}


def test_a_group_of_consumers_that_is_deleted_has_no_journal_opened(a):
    assert a.talk.shares_of.opened is None
    request = delete_groups.Request(["none"])
    [result] = a.talk.ask(42, 2, request, delete_groups.Response).results
    assert result.error_code == NO_GROUP
    assert a.talk.shares_of.opened is None


def test_where_the_journal_does_not_take_that_it_is_told(a, topic, full):
    request = delete_groups.Request(["g"])
    [result] = a.talk.ask(42, 2, request, delete_groups.Response).results
    assert result.error_code == errors.KAFKA_STORAGE_ERROR
    assert standing(a, topic) == (3, 6)
