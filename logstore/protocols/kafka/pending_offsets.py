"""Offsets that groups commit within transactions: TxnOffsetCommit.

An offset is pending, and visible to no one, until its transaction ends with a commit. It is refused
if the transaction no longer belongs to the producer, or if the consumer is no longer a member of
the group (KIP-447).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from logstore.access.resources import READ
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.refusal import GroupError
from logstore.broker.topic import Topic
from logstore.broker.transactions.operations import NO_LEADER_EPOCH, Offset
from logstore.broker.transactions.transactional_id import Producer, missing_in_offset_commit
from logstore.errors import ConcurrentTransactions, CoordinatorLoading, LogstoreError, Refused
from logstore.kafka.messages import txn_offset_commit as messages
from logstore.kept.groups import OffsetToCommit
from logstore.log import TopicPartition
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.commits import are_many, unfit
from logstore.protocols.kafka.door import InWorker, Later, given, made_elsewhere
from logstore.protocols.kafka.errors import code_of, group_code
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps, parts

KNOWS_LOADING: Final = 2  # the first version that may be told COORDINATOR_LOAD_IN_PROGRESS
KNOWS_CONCURRENT: Final = 5  # CONCURRENT_TRANSACTIONS; Kafka tells others to try again, too
STAGED_AT_ONCE: Final = 500  # partitions, of one record of the journal

Offsets = Mapping[TopicPartition, tuple[OffsetToCommit, bytes]]  # with the topic's id
Codes = Mapping[TopicPartition, int]


def txn_offset_commit(client: KafkaClient, version: int, request: messages.Request) -> Steps:
    """Key 28. Durable when answered."""
    many = are_many(request.topics)
    if many:
        topics, offsets = yield made_elsewhere(client.door, partial(_to_stage, client, request))
    else:
        topics, offsets = _to_stage(client, request)
    codes: dict[TopicPartition, int] = {}
    for some in parts(list(offsets.items()), STAGED_AT_ONCE):
        codes |= yield given(_staging(client, version, request, dict(some)))
        yield len(some)
    answer = partial(_staged, request.topics, topics, codes)
    return InWorker(answer) if many else answer()


def _to_stage(
    client: KafkaClient, request: messages.Request
) -> tuple[Sequence[Topic | int], Offsets]:
    """The topic or error code for each named topic, and the offsets that can be committed."""
    topics = [_topic(client, it.name) for it in request.topics]
    return topics, {
        (topic.name, it.partition_index): (
            OffsetToCommit(
                it.committed_offset,
                it.committed_metadata or "",
                max(it.committed_leader_epoch, NO_LEADER_EPOCH),
                topic.id,
            ),
            topic.uuid,
        )
        for asked, topic in zip(request.topics, topics, strict=True)
        for it in asked.partitions
        if isinstance(topic, Topic) and unfit(topic, it) is None
    }


def _topic(client: KafkaClient, name: str) -> Topic | int:
    if not client.may_topic(READ, name):
        return errors.TOPIC_AUTHORIZATION_FAILED
    topic = client.door.topics.get(name)
    return errors.UNKNOWN_TOPIC_OR_PARTITION if topic is None else topic


def _staging(
    client: KafkaClient, version: int, request: messages.Request, offsets: Offsets
) -> Later:
    """Stage the offsets; the answer is each error code, once the journal has the offsets."""
    later = Later()
    producer = Producer(request.producer_id, request.producer_epoch)
    missing = missing_in_offset_commit(version)
    try:
        coordinator = client.door.transactions_of.coordinator()
        coordinator.admit(request.transactional_id, producer, missing)
    except LogstoreError as error:
        later.give(dict.fromkeys(offsets, _code(version, error)))
        return later
    call = OffsetCommit(
        request.group_id,
        {place: it for place, (it, _) in offsets.items()},
        request.generation_id,
        request.member_id,
        request.group_instance_id,
    )
    results = client.door.coordinator.check_pending(call, client.now_ms)
    codes = {place: _group_code(version, error) for place, error in results.items()}
    taken = [
        Offset(topic_id, place[1], it.offset, it.leader_epoch, it.metadata)
        for place, (it, topic_id) in offsets.items()
        if results[place] is None
    ]
    if not taken:
        later.give(codes)
        return later

    def done(error: LogstoreError | None) -> None:
        if error is not None:
            code = _code(version, error)
            codes.update((place, code) for place, it in results.items() if it is None)
        later.give(codes)

    coordinator.stage(request.transactional_id, producer, missing, request.group_id, taken, done)
    return later


def _code(version: int, error: LogstoreError) -> int:
    """The error code for a client of this version. A full disk must not make the client give up."""
    too_new = (isinstance(error, CoordinatorLoading) and version < KNOWS_LOADING) or (
        isinstance(error, ConcurrentTransactions) and version < KNOWS_CONCURRENT
    )
    if too_new or not isinstance(error, Refused):
        return errors.COORDINATOR_NOT_AVAILABLE
    return code_of(error)


def _group_code(version: int, error: GroupError | None) -> int:
    if error is GroupError.COORDINATOR_LOAD_IN_PROGRESS and version < KNOWS_LOADING:
        return errors.COORDINATOR_NOT_AVAILABLE
    return group_code(error)


def _staged(
    asked: Sequence[messages.Topic], topics: Sequence[Topic | int], codes: Codes
) -> messages.Response:
    return messages.Response(
        topics=[
            messages.ResponseTopic(
                it.name,
                [
                    messages.ResponsePartition(
                        partition.partition_index, _outcome(topic, partition, codes)
                    )
                    for partition in it.partitions
                ],
            )
            for it, topic in zip(asked, topics, strict=True)
        ]
    )


def _outcome(topic: Topic | int, asked: messages.Partition, codes: Codes) -> int:
    if isinstance(topic, int):
        return topic
    code = unfit(topic, asked)
    return codes[topic.name, asked.partition_index] if code is None else code


HANDLERS: Final = {28: handler(messages.Request, messages.Response, txn_offset_commit)}
