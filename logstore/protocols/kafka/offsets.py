"""Offsets by time, by epoch and at the start: ListOffsets, OffsetForLeaderEpoch, DeleteRecords."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from logstore.access.audit import RECORDS
from logstore.access.resources import CLUSTER_ACTION, DELETE, DESCRIBE
from logstore.broker.reading import fetched
from logstore.errors import LogstoreError, UnknownPartition, UnknownTopic
from logstore.kafka.fetch_codec import READ_COMMITTED
from logstore.kafka.messages import (
    delete_records as delete_records_messages,
)
from logstore.kafka.messages import (
    list_offsets as list_offsets_messages,
)
from logstore.kafka.messages import (
    offset_for_leader_epoch as epoch_messages,
)
from logstore.log import Log, TopicPartition
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import LEADER_EPOCH, InWorker, KafkaDoor
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.records.parts import parts

# Meanings of negative "timestamps".
LATEST: Final = -1
EARLIEST: Final = -2
OF_LARGEST_TIMESTAMP: Final = -3  # KIP-734
EARLIEST_LOCAL: Final = -4  # KIP-405: all is local here
LATEST_TIERED: Final = -5  # KIP-1005: nothing is elsewhere
EARLIEST_PENDING: Final = -6  # KIP-1023: nothing ever will be
QUICK: Final = (LATEST, EARLIEST, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING)

DELETE_ALL: Final = -1  # DeleteRecords: as far as the log is safe


def log_of(door: KafkaDoor, name: str, partition: int) -> Log:
    """The log of a partition. Raises UnknownTopic, UnknownPartition, Damaged, Failed."""
    topic = door.topics.get(name)
    if topic is None:
        raise UnknownTopic(f"no topic {name!r}")
    return topic.partition(partition)


def list_offsets(
    client: KafkaClient, version: int, request: list_offsets_messages.Request
) -> list_offsets_messages.Response | InWorker:
    """Key 2. Another thread searches by time and opens logs."""
    timestamps = (it.timestamp for topic in request.topics for it in topic.partitions)
    places = ((it.name, one.partition_index) for it in request.topics for one in it.partitions)
    if all(it in QUICK for it in timestamps) and _at_hand(client.door, places):
        return _listed(client, request)
    return InWorker(partial(_listed, client, request))


def _at_hand(door: KafkaDoor, places: Iterable[TopicPartition]) -> bool:
    """Whether the answer needs no log that is still closed."""
    for name, partition in places:
        topic = door.topics.get(name)
        with suppress(UnknownPartition):  # the answer reports the error
            if topic is not None and topic.at_hand(partition) is None:
                return False
    return True


def _listed(
    client: KafkaClient, request: list_offsets_messages.Request
) -> list_offsets_messages.Response:
    committed = request.isolation_level == READ_COMMITTED
    return list_offsets_messages.Response(
        topics=[
            list_offsets_messages.TopicResponse(topic.name, _found_of(client, topic, committed))
            for topic in request.topics
        ]
    )


def _found_of(
    client: KafkaClient, topic: list_offsets_messages.Topic, committed: bool
) -> list[list_offsets_messages.PartitionResponse]:
    if client.may_topic(DESCRIBE, topic.name):
        return [_found(client.door, topic.name, it, committed) for it in topic.partitions]
    refused = errors.TOPIC_AUTHORIZATION_FAILED
    return [
        list_offsets_messages.PartitionResponse(it.partition_index, refused)
        for it in topic.partitions
    ]


def _found(
    door: KafkaDoor, name: str, asked: list_offsets_messages.Partition, committed: bool
) -> list_offsets_messages.PartitionResponse:
    answer = list_offsets_messages.PartitionResponse(asked.partition_index)
    if asked.current_leader_epoch > LEADER_EPOCH:
        answer.error_code = errors.UNKNOWN_LEADER_EPOCH
        return answer
    try:
        log = log_of(door, name, asked.partition_index)
        answer.offset, answer.timestamp = _offset(log, asked.timestamp, committed)
    except LogstoreError as error:
        answer.error_code = code_of(error)
        return answer
    answer.leader_epoch = LEADER_EPOCH if answer.offset >= 0 else -1
    return answer


def _offset(log: Log, wanted: int, committed: bool) -> tuple[int, int]:
    """Offset and timestamp; -1 for a missing one. Raises CorruptBatch.

    ``committed``: the log ends for this client at its first open transaction (KIP-98).
    """
    end = log.stable if committed else log.safe
    if wanted == LATEST:
        return end, -1
    if wanted in (EARLIEST, EARLIEST_LOCAL):
        return log.start, -1
    if wanted == OF_LARGEST_TIMESTAMP:
        wanted = log.latest_timestamp()
    if wanted < 0:
        return -1, -1
    offset = log.find(wanted)
    if offset >= end:
        return -1, -1
    return offset, _timestamp_at(log, offset)


def _timestamp_at(log: Log, offset: int) -> int:
    for batch in fetched(log, offset, 1):
        for part in parts(batch):
            for record in part.records:
                if record.offset >= offset:
                    return record.timestamp_ms
    return -1


def offset_for_leader_epoch(
    client: KafkaClient, version: int, request: epoch_messages.Request
) -> epoch_messages.Response | InWorker:
    """Key 23: there is one epoch, which ends at the end of the log (KIP-320)."""
    places = ((it.topic, one.partition) for it in request.topics for one in it.partitions)
    if _at_hand(client.door, places):
        return _epochs(client, request)
    return InWorker(partial(_epochs, client, request))


def _epochs(client: KafkaClient, request: epoch_messages.Request) -> epoch_messages.Response:
    return epoch_messages.Response(
        topics=[
            epoch_messages.OffsetForLeaderTopicResult(topic.topic, _epochs_of(client, topic))
            for topic in request.topics
        ]
    )


def _epochs_of(
    client: KafkaClient, topic: epoch_messages.OffsetForLeaderTopic
) -> list[epoch_messages.EpochEndOffset]:
    if client.sees_cluster(CLUSTER_ACTION) or client.may_topic(DESCRIBE, topic.topic):
        return [_end_of_epoch(client.door, topic.topic, it) for it in topic.partitions]
    refused = errors.TOPIC_AUTHORIZATION_FAILED
    return [epoch_messages.EpochEndOffset(refused, it.partition) for it in topic.partitions]


def _end_of_epoch(
    door: KafkaDoor, name: str, asked: epoch_messages.OffsetForLeaderPartition
) -> epoch_messages.EpochEndOffset:
    answer = epoch_messages.EpochEndOffset(partition=asked.partition)
    if asked.current_leader_epoch > LEADER_EPOCH:
        answer.error_code = errors.UNKNOWN_LEADER_EPOCH
        return answer
    try:
        log = log_of(door, name, asked.partition)
        if asked.leader_epoch == LEADER_EPOCH:
            answer.leader_epoch, answer.end_offset = LEADER_EPOCH, log.safe
    except LogstoreError as error:
        answer.error_code = code_of(error)
    return answer


def delete_records(
    client: KafkaClient, version: int, request: delete_records_messages.Request
) -> delete_records_messages.Response:
    """Key 21."""
    return delete_records_messages.Response(
        topics=[
            delete_records_messages.TopicResult(topic.name, _deleted_of(client, topic))
            for topic in request.topics
        ]
    )


def _deleted_of(
    client: KafkaClient, topic: delete_records_messages.Topic
) -> list[delete_records_messages.PartitionResult]:
    if client.may_topic(DELETE, topic.name):
        return [_deleted(client, topic.name, it) for it in topic.partitions]
    refused = errors.TOPIC_AUTHORIZATION_FAILED
    return [
        delete_records_messages.PartitionResult(it.partition_index, -1, refused)
        for it in topic.partitions
    ]


def _deleted(
    client: KafkaClient, name: str, asked: delete_records_messages.Partition
) -> delete_records_messages.PartitionResult:
    answer = delete_records_messages.PartitionResult(asked.partition_index, low_watermark=-1)
    topic = client.door.topics.get(name)
    if topic is not None and topic.settings.cleanup_policy == ("compact",):
        answer.error_code = errors.POLICY_VIOLATION  # the last value of a key is to be kept
        return answer
    try:
        log = log_of(client.door, name, asked.partition_index)
        before = log.safe if asked.offset == DELETE_ALL else asked.offset
        if before < 0:
            answer.error_code = errors.OFFSET_OUT_OF_RANGE
            return answer
        log.trim(before)
        client.did(RECORDS, f"deleted of {name}-{asked.partition_index} those before {before}")
        answer.low_watermark = log.start
    except LogstoreError as error:
        answer.error_code = code_of(error)
    return answer


HANDLERS: Final = {
    2: handler(list_offsets_messages.Request, list_offsets_messages.Response, list_offsets),
    21: handler(delete_records_messages.Request, delete_records_messages.Response, delete_records),
    23: handler(epoch_messages.Request, epoch_messages.Response, offset_for_leader_epoch),
}
