"""Idempotent producers: their ids, and what partitions know about them."""

from functools import partial
from typing import Final

from logstore.access.resources import IDEMPOTENT_WRITE, READ, WRITE
from logstore.broker.ledger import producers_of
from logstore.errors import LogstoreError
from logstore.kafka.messages import (
    describe_producers as describe_messages,
)
from logstore.kafka.messages import (
    init_producer_id as init_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import NO_TOPIC
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, KafkaDoor, Later
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.offsets import log_of
from logstore.protocols.kafka.transactions import initialize, no_producer


def init_producer_id(
    client: KafkaClient, version: int, request: init_messages.Request
) -> init_messages.Response | Later | InWorker:
    """Key 22: a new producer id, or the next epoch of a transactional id."""
    if request.transactional_id is not None:
        return initialize(client, version, request.transactional_id, request)
    return InWorker(partial(_new_id, client))


def _new_id(client: KafkaClient) -> init_messages.Response:
    if not (client.sees_some_topic(WRITE) or client.may_cluster(IDEMPOTENT_WRITE)):
        return no_producer(errors.CLUSTER_AUTHORIZATION_FAILED)
    try:
        return init_messages.Response(producer_id=client.door.topics.new_producer_id())
    except LogstoreError as error:
        return no_producer(code_of(error))


def describe_producers(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response:
    """Key 61."""
    return describe_messages.Response(
        topics=[
            describe_messages.TopicResponse(
                topic.name,
                _described_of(client, topic),
            )
            for topic in request.topics
        ]
    )


def _described_of(
    client: KafkaClient, topic: describe_messages.TopicRequest
) -> list[describe_messages.PartitionResponse]:
    if client.may_topic(READ, topic.name):
        return [_described(client.door, topic.name, it) for it in topic.partition_indexes]
    refused = errors.TOPIC_AUTHORIZATION_FAILED, NO_TOPIC
    return [describe_messages.PartitionResponse(it, *refused) for it in topic.partition_indexes]


def _described(door: KafkaDoor, name: str, partition: int) -> describe_messages.PartitionResponse:
    answer = describe_messages.PartitionResponse(partition)
    try:
        known = producers_of(log_of(door, name, partition))
    except LogstoreError as error:
        answer.error_code, answer.error_message = code_of(error), str(error)
        return answer
    if known is not None:
        answer.active_producers = [
            describe_messages.ProducerState(
                producer_id,
                it.epoch,
                last_sequence=it.sent[-1].last_sequence if it.sent else -1,
                last_timestamp=it.max_timestamp_ms,
                coordinator_epoch=-1,
                current_txn_start_offset=known.open.get(producer_id, -1),
            )
            for producer_id, it in known.producers()
        ]
    return answer


HANDLERS: Final = {
    22: handler(init_messages.Request, init_messages.Response, init_producer_id),
    61: handler(describe_messages.Request, describe_messages.Response, describe_producers),
}
