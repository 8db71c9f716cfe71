import pytest
from door_kit import Talk
from group_kit import (
    COMMIT,
    DELETE,
    FETCH,
    NOWHERE,
    a_commit,
    checked,
    committed,
    fetched,
    id_of,
    joined,
    settled,
)

from logstore.errors import StorageFull
from logstore.kafka.messages import offset_commit, offset_delete, offset_fetch

UNKNOWN_TOPIC, UNKNOWN_ID, BAD_REQUEST, BAD_GROUP, UNKNOWN_MEMBER = 3, 100, 42, 24, 25


@pytest.fixture
def talk():
    found = Talk()
    for name in ("t", "u"):
        found.topics.create(name, 3, {})
    return found


def of(talk, name, *numbers):
    return offset_fetch.Topics(id_of(talk, name), name, numbers)


@pytest.mark.parametrize("version", range(2, 11))
def test_offsets_are_committed_in_every_version(talk, version):
    places = [("t", 0, 5, "why"), ("u", 2, 7, None), ("t", 1, 2**40, "")]
    answer = checked(talk, COMMIT, version, a_commit(talk, places), offset_commit.Response)
    assert [[it.error_code for it in topic.partitions] for topic in answer.topics] == [[0]] * 3
    assert fetched(talk, 9) == (
        0, {("t", 0): (5, "why", 0), ("u", 2): (7, "", 0), ("t", 1): (2**40, "", 0)},
    )  # fmt: skip


@pytest.mark.parametrize("version", range(1, 11))
def test_offsets_are_fetched_in_every_version(talk, version):
    committed(talk, [("t", 0, 5, "why")])
    asked = [of(talk, "t", 0, 1), of(talk, "none", 0)]
    if version >= 10:
        there, gone, code = id_of(talk, "t"), NOWHERE, UNKNOWN_ID
    else:
        there, gone, code = "t", "none", 0
    assert fetched(talk, version, topics=asked) == (
        0, {(there, 0): (5, "why", 0), (there, 1): (-1, "", 0), (gone, 0): (-1, "", code)},
    )  # fmt: skip
    assert fetched(talk, version, topics=[]) == (0, {})
    if version >= 2:
        assert fetched(talk, version) == (0, {(there, 0): (5, "why", 0)})
        assert fetched(talk, version, "another") == (0, {})


@pytest.mark.parametrize("version", range(5, 8))
def test_the_leader_epoch_comes_back(talk, version):
    committed(talk, [("t", 0, 5, "")])
    request = offset_fetch.Request(group_id="g", topics=[offset_fetch.Topic("t", [0])])
    [topic] = checked(talk, FETCH, version, request, offset_fetch.Response).topics
    assert topic.partitions[0].committed_leader_epoch == 7


@pytest.mark.parametrize("version", range(1, 11))
def test_a_bad_group_is_told_as_the_version_can(talk, version):
    answer = fetched(talk, version, "", [of(talk, "t", 0)])
    if version == 1:
        assert answer == (0, {("t", 0): (-1, "", BAD_GROUP)})
    else:
        assert answer == (BAD_GROUP, {})


def test_several_groups_are_fetched_at_once_each_with_its_error(talk):
    committed(talk, [("t", 0, 1, "")], group="a")
    committed(talk, [("u", 0, 2, "")], group="b")
    asked = [
        offset_fetch.Group("a", topics=[of(talk, "t", 0)]),
        offset_fetch.Group("x" * 300, topics=None),
        offset_fetch.Group("b", topics=None),
    ]
    found = checked(talk, FETCH, 8, offset_fetch.Request(asked), offset_fetch.Response).groups
    assert [(it.group_id[:1], it.error_code, len(it.topics)) for it in found] == [
        ("a", 0, 1), ("x", BAD_GROUP, 0), ("b", 0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("version", [2, 9, 10])
def test_what_is_not_there_is_refused_and_the_rest_is_committed(talk, version):
    places = [("none", 0, 1, ""), ("t", 3, 1, ""), ("t", -1, 1, ""), ("t", 0, 1, "")]
    unknown = UNKNOWN_ID if version >= 10 else UNKNOWN_TOPIC
    assert committed(talk, places, version) == [unknown, UNKNOWN_TOPIC, UNKNOWN_TOPIC, 0]
    assert fetched(talk, 9)[1].keys() == {("t", 0)}


@pytest.mark.parametrize(("version", "code"), [(9, UNKNOWN_TOPIC), (10, UNKNOWN_ID)])
def test_a_topic_deleted_since_is_refused(talk, version, code):
    talk.keeper.gone.add("t")
    assert committed(talk, [("t", 0, 1, ""), ("u", 0, 1, "")], version) == [code, 0]


def test_an_offset_below_zero_is_none(talk):
    assert committed(talk, [("t", 0, -1, ""), ("t", 1, 0, "")]) == [BAD_REQUEST, 0]


def test_metadata_is_bounded(talk):
    places = [("t", 0, 1, "x" * 4097), ("t", 1, 1, "x" * 4096), ("t", 2, 1, "ü" * 2049)]
    assert committed(talk, places) == [12, 0, 12]


def test_members_commit_in_their_generation_and_others_not_at_all(talk):
    member = settled(talk)
    here = [("t", 0, 1, "")]
    assert committed(talk, here, generation=1, member=member) == [0]
    assert committed(talk, here, generation=0, member=member) == [22]
    assert committed(talk, here) == [UNKNOWN_MEMBER]
    assert committed(talk, here, group="") == [BAD_GROUP]


def test_a_commit_is_answered_when_it_is_durable_and_what_is_behind_it_sees_it(talk):
    talk.keeper.held = True
    first = talk.say(COMMIT, 9, a_commit(talk, [("t", 0, 5, "")]))
    second = talk.say(FETCH, 9, offset_fetch.Request([offset_fetch.Group("g", topics=None)]))
    talk.session.finish(talk.now)  # it is not given up, not even now
    assert talk.replies() == []
    talk.keeper.settle()
    assert [it for it, _ in talk.replies()] == [first]
    talk.feed(b"")
    [(correlation, body)] = talk.replies()
    [group] = talk.read(FETCH, 9, offset_fetch.Response, body).groups
    assert correlation == second
    assert [it.committed_offset for topic in group.topics for it in topic.partitions] == [5]


def test_a_full_disk_is_told_as_something_that_may_pass(talk):
    talk.keeper.error = StorageFull("no space")
    assert committed(talk, [("t", 0, 1, "")]) == [15]


def deleted(talk, *places, group="g"):
    topics = [offset_delete.Topic(name, [offset_delete.Partition(it)]) for name, it in places]
    request = offset_delete.Request(group, topics)
    found = checked(talk, DELETE, 0, request, offset_delete.Response)
    codes = [it.error_code for topic in found.topics for it in topic.partitions]
    return found.error_code, codes


def test_offsets_are_deleted(talk):
    committed(talk, [("t", 0, 1, ""), ("t", 1, 1, ""), ("u", 0, 1, "")])
    places = [("t", 0), ("u", 9), ("none", 0), ("u", 0)]
    assert deleted(talk, *places) == (0, [0, UNKNOWN_TOPIC, UNKNOWN_TOPIC, 0])
    assert fetched(talk, 9)[1].keys() == {("t", 1)}
    assert deleted(talk, ("t", 0), group="nobody") == (69, [])
    assert deleted(talk, ("t", 0), group="") == (BAD_GROUP, [])


def test_offsets_of_a_topic_that_a_member_subscribes_to_are_not_deleted(talk):
    committed(talk, [("t", 0, 1, ""), ("u", 0, 1, "")])
    settled(talk)  # subscribes to t
    assert deleted(talk, ("t", 0), ("u", 0)) == (0, [86, 0])
    assert fetched(talk, 9)[1].keys() == {("t", 0)}


def test_of_a_member_that_cant_be_understood_nothing_is_deleted(talk):
    committed(talk, [("u", 0, 1, "")])
    joined(talk, 3, metadata=b"\0")
    assert deleted(talk, ("u", 0)) == (0, [86])


def of_topic(numbers):
    return offset_fetch.Group(
        "g", topics=[offset_fetch.Topics(name="t", partition_indexes=numbers)]
    )


@pytest.mark.parametrize(
    "asked",
    [[offset_fetch.Group("g", topics=None)], [of_topic([0])] * 2, [of_topic(range(101))]],
)
def test_a_fetch_of_many_offsets_is_done_in_another_thread(asked):
    jobs = []
    talk = Talk(work=lambda job, done: jobs.append((job, done)))
    talk.say(9, 8, offset_fetch.Request(groups=asked))
    assert talk.replies() == []
    [(job, done)] = jobs
    done(job())
    [(_, body)] = talk.replies()
    answer = talk.read(9, 8, offset_fetch.Response, body)
    assert [(it.group_id, it.error_code) for it in answer.groups] == [("g", 0)] * len(asked)
