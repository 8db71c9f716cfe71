"""Committed offsets of groups: OffsetCommit, OffsetFetch, OffsetDelete."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

from logstore.access import audit
from logstore.access.resources import DESCRIBE, GROUP, READ
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.coordinator import Results
from logstore.broker.coordinator.refusal import GroupError, Refusal
from logstore.broker.coordinator.undecided import Due, Unstable
from logstore.broker.topic import Topic
from logstore.kafka.messages import offset_commit as commit_messages
from logstore.kafka.messages import offset_delete as delete_messages
from logstore.kafka.messages import offset_fetch as fetch_messages
from logstore.kafka.messages import txn_offset_commit as pending_messages
from logstore.kept.groups import KeptOffset, OffsetToCommit
from logstore.log import TopicPartition
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, KafkaDoor, Later, given, made_elsewhere
from logstore.protocols.kafka.errors import group_code
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps, parts

BY_ID: Final = 10  # OffsetCommit and OffsetFetch: topics have ids, not names
KNOWS_EPOCHS: Final = 9  # OffsetCommit: the minimum for a member of the new protocol (KIP-848)
MANY_GROUPS: Final = 8  # OffsetFetch (KIP-709)
GROUP_ERROR: Final = 2  # OffsetFetch: from here on a group's error is sent once
AT_ONCE: Final = 100  # partitions that are looked up, or looked at, while others wait
COMMITTED_AT_ONCE: Final = 1000  # partitions, of one change of the group
UNKNOWN: Final = errors.UNKNOWN_TOPIC_OR_PARTITION
NOTHING: Final = -1  # the offset where nothing is committed


# OffsetCommit


def offset_commit(client: KafkaClient, version: int, request: commit_messages.Request) -> Steps:
    """Key 8. Durable when answered."""
    many = are_many(request.topics)
    if many:
        work = partial(_to_commit, client, version, request)
        topics, offsets = yield made_elsewhere(client.door, work)
    else:
        topics, offsets = _to_commit(client, version, request)
    results: dict[TopicPartition, GroupError | None] = {}
    for some in parts(offsets, COMMITTED_AT_ONCE) if offsets else [()]:
        results |= yield given(_commitment(client, request, dict(some)))
        yield len(some)
    if many:
        return InWorker(partial(_committed, version, request.topics, topics, results))
    return _committed(version, request.topics, topics, results)


def are_many(
    topics: Sequence[commit_messages.Topic]
    | Sequence[delete_messages.Topic]
    | Sequence[pending_messages.Topic],
) -> bool:
    """Whether looking up these partitions is slow."""
    return len(topics) > AT_ONCE or sum(len(it.partitions) for it in topics) > AT_ONCE


Offsets = Sequence[tuple[TopicPartition, OffsetToCommit]]


def _to_commit(
    client: KafkaClient, version: int, request: commit_messages.Request
) -> tuple[Sequence[Topic | int], Offsets]:
    """The topic or error code for each named topic, and the offsets that can be committed."""
    topics = [_topic(client, READ, version, it) for it in request.topics]
    offsets = {
        (topic.name, it.partition_index): OffsetToCommit(
            it.committed_offset,
            it.committed_metadata or "",
            it.committed_leader_epoch,
            topic.id if version >= BY_ID or topic.read_only else None,
        )
        for asked, topic in zip(request.topics, topics, strict=True)
        for it in asked.partitions
        if isinstance(topic, Topic) and unfit(topic, it) is None
    }
    return topics, list(offsets.items())


def _commitment(
    client: KafkaClient,
    request: commit_messages.Request,
    offsets: Mapping[TopicPartition, OffsetToCommit],
) -> Later:
    """Commit the offsets and return the results; also checks the group if there are no offsets."""
    call = OffsetCommit(
        request.group_id,
        offsets,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
    )
    later = Later()
    client.door.coordinator.commit(call, client.now_ms, later.give)
    return later


def _topic(
    client: KafkaClient,
    operation: str,
    version: int,
    asked: commit_messages.Topic | fetch_messages.Topics,
) -> Topic | int:
    """The topic, or an error code, which reveals only to permitted clients whether the topic
    exists.
    """
    topics = client.door.topics
    topic = topics.by_uuid(asked.topic_id) if version >= BY_ID else topics.get(asked.name)
    if topic is None and version >= BY_ID:
        return errors.UNKNOWN_TOPIC_ID
    if not client.may_topic(operation, asked.name if topic is None else topic.name):
        return errors.TOPIC_AUTHORIZATION_FAILED
    return errors.UNKNOWN_TOPIC_OR_PARTITION if topic is None else topic


def unfit(
    topic: Topic, asked: commit_messages.Partition | pending_messages.Partition
) -> int | None:
    """The error code of a partition that cannot be committed, whatever the group's state; else
    None.
    """
    if not 0 <= asked.partition_index < len(topic.partitions):
        return errors.UNKNOWN_TOPIC_OR_PARTITION
    if asked.committed_offset < 0:  # readers would take it for a place in the log
        return errors.INVALID_REQUEST
    return None


def _committed(
    version: int,
    asked: Sequence[commit_messages.Topic],
    topics: Sequence[Topic | int],
    results: Results,
) -> commit_messages.Response:
    return commit_messages.Response(
        topics=[
            commit_messages.ResponseTopic(
                it.topic_id,
                it.name,
                [
                    commit_messages.ResponsePartition(
                        partition.partition_index, _outcome(version, topic, partition, results)
                    )
                    for partition in it.partitions
                ],
            )
            for it, topic in zip(asked, topics, strict=True)
        ]
    )


def _outcome(
    version: int, topic: Topic | int, asked: commit_messages.Partition, results: Results
) -> int:
    unknown = errors.UNKNOWN_TOPIC_ID if version >= BY_ID else errors.UNKNOWN_TOPIC_OR_PARTITION
    if isinstance(topic, int):
        return topic
    code = unfit(topic, asked)
    if code is not None:
        return code
    # Deleted since, perhaps, and the partition is another one's.
    error = results.get((topic.name, asked.partition_index), GroupError.UNKNOWN_TOPIC_OR_PARTITION)
    if error is GroupError.UNKNOWN_TOPIC_OR_PARTITION:
        return unknown
    if error is GroupError.STALE_MEMBER_EPOCH and version < KNOWS_EPOCHS:
        return errors.UNSUPPORTED_VERSION
    return group_code(error)


# OffsetFetch


def offset_fetch(client: KafkaClient, version: int, request: fetch_messages.Request) -> Steps:
    """Key 9."""
    groups: Sequence[fetch_messages.Group | fetch_messages.Request] = (
        request.groups if version >= MANY_GROUPS else [request]
    )
    many = len(groups) > 1 or any(
        it.topics is None
        or len(it.topics) > AT_ONCE
        or sum(len(topic.partition_indexes) for topic in it.topics) > AT_ONCE
        for it in groups
    )
    undecided: dict[str, _Undecided] = {}
    for some in parts(groups, AT_ONCE):
        for it in some:
            if it.group_id not in undecided:
                found = _look(client, it.group_id, stable=request.require_stable)
                undecided[it.group_id] = found.copy() if many else found
        yield len(some)
    whole = partial(_offsets_fetched, client, version, request, undecided)
    return InWorker(whole) if many else whole()


class _Undecided(NamedTuple):
    """The pending offsets of a group's open transactions; read before the committed offsets."""

    unstable: Unstable = ()
    due: Due = MappingProxyType({})
    refusal: Refusal | None = None  # it is not known yet

    def copy(self) -> "_Undecided":
        """A copy for another thread."""
        return self._replace(unstable=frozenset(self.unstable)) if self.unstable else self


def _look(client: KafkaClient, group: str, *, stable: bool) -> _Undecided:
    """Look up undecided offsets. ``stable``: the client refuses offsets of an open transaction."""
    coordinator = client.door.coordinator
    try:
        unstable = coordinator.unstable(group) if stable else ()
        return _Undecided(unstable, coordinator.due(group))
    except Refusal as it:
        return _Undecided(refusal=it)


def _offsets_fetched(
    client: KafkaClient,
    version: int,
    request: fetch_messages.Request,
    undecided: Mapping[str, _Undecided],
) -> fetch_messages.Response:
    if version >= MANY_GROUPS:
        return fetch_messages.Response(
            groups=[_fetched(client, version, it, undecided[it.group_id]) for it in request.groups]
        )
    topics = None if request.topics is None else [
        fetch_messages.Topics(name=it.name, partition_indexes=it.partition_indexes)
        for it in request.topics
    ]  # fmt: skip
    group = fetch_messages.Group(request.group_id, topics=topics)
    found = _fetched(client, version, group, undecided[request.group_id])
    if version < GROUP_ERROR and found.error_code and topics:
        found.topics = [_nowhere(it, found.error_code) for it in topics]
    return fetch_messages.Response(
        topics=[
            fetch_messages.ResponseTopic(
                topic.name,
                [
                    fetch_messages.Partition(
                        it.partition_index, it.committed_offset, it.committed_leader_epoch,
                        it.metadata, it.error_code,
                    )
                    for it in topic.partitions
                ],
            )
            for topic in found.topics
        ],
        error_code=found.error_code,
    )  # fmt: skip


def _fetched(
    client: KafkaClient,
    version: int,
    asked: fetch_messages.Group,
    undecided: _Undecided,
) -> fetch_messages.ResponseGroup:
    answer = fetch_messages.ResponseGroup(asked.group_id)
    if not client.may(DESCRIBE, GROUP, asked.group_id):
        answer.error_code = errors.GROUP_AUTHORIZATION_FAILED
        return answer
    try:
        if undecided.refusal is not None:
            raise undecided.refusal
        kept = client.door.coordinator.fetch(
            asked.group_id,
            client.now_ms,
            None if asked.topics is None else list(_places(client.door, version, asked.topics)),
            asked.member_id,
            asked.member_epoch,
        )
    except Refusal as it:
        answer.error_code = group_code(it.error)
        return answer
    answer.topics = (
        list(_all(client, version, kept, undecided))
        if asked.topics is None
        else [_some(client, version, it, kept, undecided) for it in asked.topics]
    )
    return answer


def _places(
    door: KafkaDoor, version: int, asked: Sequence[fetch_messages.Topics]
) -> Iterator[TopicPartition]:
    for it in asked:
        topic = door.topics.by_uuid(it.topic_id) if version >= BY_ID else None
        name = topic.name if topic is not None else it.name
        for number in it.partition_indexes:
            yield name, number


def _all(
    client: KafkaClient,
    version: int,
    kept: Mapping[TopicPartition, KeptOffset],
    undecided: _Undecided,
) -> Iterator[fetch_messages.ResponseTopics]:
    by_topic: dict[str, dict[int, KeptOffset]] = {}
    for (name, number), it in kept.items():
        by_topic.setdefault(name, {})[number] = it
    for (uuid, number), it in undecided.due.items():
        topic = client.door.topics.by_uuid(uuid)
        if topic is not None:
            of_topic = by_topic.setdefault(topic.name, {})
            of_topic[number] = _newer(of_topic.get(number), it)
    for name, offsets in sorted(by_topic.items()):
        if not client.sees_topic(DESCRIBE, name):
            continue
        topic = client.door.topics.get(name)
        if topic is not None:
            found = [
                _partition(number, it, (topic.uuid, number) in undecided.unstable)
                for number, it in sorted(offsets.items())
            ]
            yield fetch_messages.ResponseTopics(topic.uuid, name, found)
        elif version < BY_ID:  # just being deleted
            found = [_partition(number, it) for number, it in sorted(offsets.items())]
            yield fetch_messages.ResponseTopics(name=name, partitions=found)


def _newer(kept: KeptOffset | None, due: KeptOffset) -> KeptOffset:
    return due if kept is None or kept.record < due.record else kept


def _some(
    client: KafkaClient,
    version: int,
    asked: fetch_messages.Topics,
    kept: Mapping[TopicPartition, KeptOffset],
    undecided: _Undecided,
) -> fetch_messages.ResponseTopics:
    topic = _topic(client, DESCRIBE, version, asked)
    if isinstance(topic, int):
        if version >= BY_ID or topic != UNKNOWN:
            return _nowhere(asked, topic)
        found = [_partition(number, None) for number in asked.partition_indexes]
        return fetch_messages.ResponseTopics(asked.topic_id, asked.name, found)
    found = []
    for number in asked.partition_indexes:
        place = topic.uuid, number
        it, due = kept.get((topic.name, number)), undecided.due.get(place)
        it = it if due is None else _newer(it, due)
        found.append(_partition(number, it, place in undecided.unstable))
    return fetch_messages.ResponseTopics(asked.topic_id, topic.name, found)


def _nowhere(asked: fetch_messages.Topics, code: int) -> fetch_messages.ResponseTopics:
    partitions = [_no_offset(number, code) for number in asked.partition_indexes]
    return fetch_messages.ResponseTopics(asked.topic_id, asked.name, partitions)


def _partition(
    number: int, kept: KeptOffset | None, unstable: bool = False
) -> fetch_messages.Partitions:
    if unstable:
        return _no_offset(number, errors.UNSTABLE_OFFSET_COMMIT)
    if kept is None:
        return _no_offset(number)
    return fetch_messages.Partitions(number, kept.offset, kept.leader_epoch, kept.metadata)


def _no_offset(number: int, code: int = errors.NONE) -> fetch_messages.Partitions:
    return fetch_messages.Partitions(number, NOTHING, metadata="", error_code=code)


# OffsetDelete


def offset_delete(client: KafkaClient, version: int, request: delete_messages.Request) -> Steps:
    """Key 47. Durable when answered."""
    many = are_many(request.topics)
    if many:
        work = partial(_to_delete, client, request)
        places, refused = yield made_elsewhere(client.door, work)
    else:
        places, refused = _to_delete(client, request)
    results: dict[TopicPartition, GroupError | None] = {}
    for some in parts(places, COMMITTED_AT_ONCE) if places else [()]:
        deleted = yield given(_deletion(client, request.group_id, some))
        _tell(client, request.group_id, deleted)
        results |= deleted
        yield len(some)
    if many:
        return InWorker(partial(_deleted, request, refused, results))
    return _deleted(request, refused, results)


def _tell(client: KafkaClient, group: str, deleted: Results) -> None:
    gone = sorted({name for (name, _), error in deleted.items() if error is None})
    for name in gone:
        client.did(audit.GROUP, f"deleted the offsets of {group} in {name}")


def _deletion(client: KafkaClient, group: str, places: Sequence[TopicPartition]) -> Later:
    later = Later()
    client.door.coordinator.delete_offsets(group, places, client.now_ms, later.give)
    return later


def _to_delete(
    client: KafkaClient, request: delete_messages.Request
) -> tuple[list[TopicPartition], Collection[str]]:
    """The partitions to delete, each once, and the topics that the client may not use."""
    topics = client.door.topics
    refused = {it.name for it in request.topics if not client.may_topic(READ, it.name)}
    places = {
        (asked.name, it.partition_index)
        for asked in request.topics
        if (topic := topics.get(asked.name)) is not None and asked.name not in refused
        for it in asked.partitions
        if 0 <= it.partition_index < len(topic.partitions)
    }
    return list(places), refused


def _deleted(
    request: delete_messages.Request, refused: Collection[str], results: Results
) -> delete_messages.Response:
    of_group = {it for it in results.values() if it is not None}
    of_group -= {GroupError.GROUP_SUBSCRIBED_TO_TOPIC}
    if of_group:
        return delete_messages.Response(group_code(of_group.pop()))
    return delete_messages.Response(
        topics=[
            delete_messages.ResponseTopic(
                topic.name,
                [
                    delete_messages.ResponsePartition(
                        it.partition_index,
                        errors.TOPIC_AUTHORIZATION_FAILED
                        if topic.name in refused
                        else group_code(
                            results.get(
                                (topic.name, it.partition_index),
                                GroupError.UNKNOWN_TOPIC_OR_PARTITION,
                            )
                        ),
                    )
                    for it in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


HANDLERS: Final = {
    8: handler(commit_messages.Request, commit_messages.Response, offset_commit),
    9: handler(fetch_messages.Request, fetch_messages.Response, offset_fetch),
    47: handler(delete_messages.Request, delete_messages.Response, offset_delete),
}
