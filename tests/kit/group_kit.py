"""What members and others ask of groups through the Kafka door, and what they are answered."""

import struct
import uuid

from every_request import check_answer

from logstore.kafka.messages import join_group, offset_commit, offset_fetch, sync_group

SESSION_MS, REBALANCE_MS = 10_000, 30_000
JOIN, BEAT, LEAVE, SYNC, DESCRIBE = 11, 12, 13, 14, 15
ID_REQUIRED, UNKNOWN_MEMBER, ILLEGAL, REBALANCING, NOT_COORDINATOR = 79, 25, 22, 27, 16
COMMIT, FETCH, DELETE = 8, 9, 47
NOWHERE = uuid.uuid4().bytes  # the id of no topic
METADATA = struct.pack(">hih", 0, 1, 1) + b"t" + struct.pack(">i", 0)


def a_join(member="", group="g", session_ms=SESSION_MS, metadata=METADATA, **more):
    return join_group.Request(
        group, session_ms, REBALANCE_MS, member, protocol_type="consumer",
        protocols=[join_group.Protocol("range", metadata)], **more,
    )  # fmt: skip


def joined(talk, version=9, **more):
    """The answer to a join that waits for no other member."""
    answer = checked(talk, JOIN, version, a_join(**more), join_group.Response)
    if answer.error_code == ID_REQUIRED:
        more["member"] = answer.member_id
        answer = checked(talk, JOIN, version, a_join(**more), join_group.Response)
    return answer


def checked(talk, key, version, request, kind):
    """The answer, which kio must also decode."""
    asked = talk.say(key, version, request)
    [(correlation, body)] = talk.replies()
    assert correlation == asked
    check_answer(key, version, body)
    return talk.read(key, version, kind, body)


def synced(talk, member, generation, version=5, assignments=()):
    named = ("consumer", "range") if version >= 5 else (None, None)
    request = sync_group.Request("g", generation, member, None, *named, assignments)
    return checked(talk, SYNC, version, request, sync_group.Response)


def settled(talk, version=9):
    """The member id in a stable group of one member, generation 1."""
    member = joined(talk, version).member_id
    assignment = [sync_group.Assignment(member, b"all of it")]
    assert synced(talk, member, 1, assignments=assignment).error_code == 0
    return member


def committed(talk, places, version=9, group="g", generation=-1, member=""):
    """The error codes, in the order of the partitions: (topic, partition, offset, metadata)."""
    talk.say(COMMIT, version, a_commit(talk, places, group, generation, member))
    [(_, body)] = talk.replies()
    answer = talk.read(COMMIT, version, offset_commit.Response, body)
    return [it.error_code for topic in answer.topics for it in topic.partitions]


def a_commit(talk, places, group="g", generation=-1, member=""):
    topics = [
        offset_commit.Topic(
            id_of(talk, name), name, [offset_commit.Partition(number, offset, 7, metadata)]
        )
        for name, number, offset, metadata in places
    ]
    return offset_commit.Request(group, generation, member, topics=topics)


def id_of(talk, name):
    topic = talk.topics.get(name)
    return NOWHERE if topic is None else topic.uuid


def fetched(talk, version, group="g", topics=None, **more):
    """Error code; (offset, metadata, error code) by topic (from v10 on: its id) and partition."""
    if version >= 8:
        asked = offset_fetch.Group(group, topics=topics, **more)
        request = offset_fetch.Request([asked])
        [found] = checked(talk, FETCH, version, request, offset_fetch.Response).groups
    else:
        named = None if topics is None else [
            offset_fetch.Topic(it.name, it.partition_indexes) for it in topics
        ]  # fmt: skip
        request = offset_fetch.Request(group_id=group, topics=named)
        found = checked(talk, FETCH, version, request, offset_fetch.Response)
    return found.error_code, {
        (topic.topic_id if version >= 10 else topic.name, it.partition_index): (
            it.committed_offset, it.metadata, it.error_code,
        )
        for topic in found.topics
        for it in topic.partitions
    }  # fmt: skip
