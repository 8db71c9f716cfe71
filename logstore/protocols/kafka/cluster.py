"""Requests about the cluster: the one node, its topics, its versions, its disk."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from logstore.access.resources import CREATE, DESCRIBE, GROUP, TRANSACTIONAL_ID
from logstore.broker.topic import Topic
from logstore.broker.topics import INTERNAL_TOPICS
from logstore.errors import LogstoreError, TopicExists
from logstore.kafka.messages import (
    describe_cluster as describe_cluster_messages,
)
from logstore.kafka.messages import (
    describe_log_dirs as describe_log_dirs_messages,
)
from logstore.kafka.messages import (
    find_coordinator as find_coordinator_messages,
)
from logstore.kafka.messages import (
    metadata as metadata_messages,
)
from logstore.kafka.wire import NIL_UUID
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES, TEXTS
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import LEADER_EPOCH, NODE_ID, InWorker
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.operations import on_cluster, on_topic

NAME_MAY_BE_NULL: Final = 12  # of a topic asked for by id, in Metadata
PARTITIONS_AT_ONCE: Final = 100  # described while others wait
MADE_AT_ONCE: Final = 100  # topics, by one Metadata request
BROKERS: Final = 1  # what DescribeCluster may be asked for (KIP-919)
MANY_KEYS: Final = 4  # FindCoordinator (KIP-699)
KEYS_AT_ONCE: Final = 100  # looked up while others wait
NOWHERE: Final = -1  # the node and port of a coordinator that is not told
COORDINATED: Final = {0: GROUP, 1: TRANSACTIONAL_ID}  # kinds that have a coordinator


# Metadata


def metadata(
    client: KafkaClient, version: int, request: metadata_messages.Request
) -> metadata_messages.Response | InWorker:
    """Key 3. Creates missing topics if the client, the rules and the settings allow it."""
    door, asked = client.door, request.topics
    if asked is None or (version == 0 and not asked):
        return _unless_many(
            partial(_of_all, client, request), map(door.topics.get, door.topics.names())
        )
    missing = [
        it.name
        for it in asked
        if it.name
        and it.name not in INTERNAL_TOPICS
        and door.topics.get(it.name) is None
        and client.sees_topic(DESCRIBE, it.name)
    ]
    if missing and door.settings.auto_create_topics_enable and request.allow_auto_topic_creation:

        def made() -> metadata_messages.Response:
            failed = _made(client, missing)
            return _metadata(client, request, _asked_for(client, version, asked, failed))

        return InWorker(made)
    return _unless_many(
        lambda: _metadata(client, request, _asked_for(client, version, asked, {})),
        (door.topics.get(it.name) for it in asked if it.name),
    )


def _unless_many(
    answer: Callable[[], metadata_messages.Response], topics: Iterable[Topic | None]
) -> metadata_messages.Response | InWorker:
    """Answer at once, or in a worker if there are thousands of partitions."""
    partitions = sum(len(topic.partitions) for topic in topics if topic is not None)
    return InWorker(answer) if partitions > PARTITIONS_AT_ONCE else answer()


def _of_all(client: KafkaClient, request: metadata_messages.Request) -> metadata_messages.Response:
    topics = client.door.topics
    every = (topics.get(name) for name in topics.names() if client.sees_topic(DESCRIBE, name))
    return _metadata(client, request, [_described(topic) for topic in every if topic is not None])


def _made(client: KafkaClient, names: Sequence[str]) -> dict[str, int]:
    """Create these topics; returns the error codes of those that could not be created.

    Only a few are created per request, so that other clients do not wait; clients ask again for the
    rest.
    """
    door = client.door
    failed = dict.fromkeys(names[MADE_AT_ONCE:], errors.LEADER_NOT_AVAILABLE)
    for name in names[:MADE_AT_ONCE]:
        if not (client.sees_cluster(CREATE) or client.may_topic(CREATE, name)):
            failed[name] = errors.TOPIC_AUTHORIZATION_FAILED
            continue
        try:
            door.topics.create(name, None, {})
        except TopicExists:
            continue  # since
        except LogstoreError as error:
            failed[name] = code_of(error)
    return failed


def _asked_for(
    client: KafkaClient,
    version: int,
    asked: Sequence[metadata_messages.Topic],
    failed: dict[str, int],
) -> list[metadata_messages.ResponseTopic]:
    topics = client.door.topics
    found = []
    for it in asked:
        topic = topics.get(it.name) if it.name else topics.by_uuid(it.topic_id)
        name = it.name or (None if topic is None else topic.name)
        if name is not None and not client.may_topic(DESCRIBE, name):
            code = errors.TOPIC_AUTHORIZATION_FAILED  # whether there is one or not
        elif topic is not None:
            found.append(_described(topic))
            continue
        else:
            unknown = errors.UNKNOWN_TOPIC_OR_PARTITION if it.name else errors.UNKNOWN_TOPIC_ID
            code = failed.get(it.name or "", unknown)
        told = it.name or (None if version >= NAME_MAY_BE_NULL else "")
        topic_id = NIL_UUID if it.name else it.topic_id
        found.append(metadata_messages.ResponseTopic(error_code=code, name=told, topic_id=topic_id))
    return found


def _described(topic: Topic) -> metadata_messages.ResponseTopic:
    return metadata_messages.ResponseTopic(
        name=topic.name,
        topic_id=topic.uuid or NIL_UUID,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            metadata_messages.Partition(
                partition_index=number,
                leader_id=NODE_ID,
                leader_epoch=LEADER_EPOCH,
                replica_nodes=(NODE_ID,),
                isr_nodes=(NODE_ID,),
            )
            for number in range(len(topic.partitions))
        ],
    )


def _metadata(
    client: KafkaClient,
    request: metadata_messages.Request,
    topics: Sequence[metadata_messages.ResponseTopic],
) -> metadata_messages.Response:
    host, port = client.address
    if request.include_topic_authorized_operations:
        for topic in topics:
            if topic.error_code == errors.NONE:
                assert topic.name is not None, "a topic that was found has its name"
                topic.topic_authorized_operations = on_topic(client, topic.name)
    of_cluster = on_cluster(client, asked=request.include_cluster_authorized_operations)
    return metadata_messages.Response(
        brokers=(metadata_messages.Broker(NODE_ID, host, port),),
        cluster_id=client.door.store_id,
        controller_id=NODE_ID,
        topics=topics,
        cluster_authorized_operations=of_cluster,
    )


def describe_cluster(
    client: KafkaClient, version: int, request: describe_cluster_messages.Request
) -> describe_cluster_messages.Response:
    """Key 60."""
    if request.endpoint_type != BROKERS:
        return describe_cluster_messages.Response(
            error_code=errors.INVALID_REQUEST,
            error_message="this cluster has no separate controllers",
            endpoint_type=request.endpoint_type,
        )
    host, port = client.address
    return describe_cluster_messages.Response(
        cluster_id=client.door.store_id,
        controller_id=NODE_ID,
        brokers=(describe_cluster_messages.Broker(NODE_ID, host, port),),
        cluster_authorized_operations=on_cluster(
            client, asked=request.include_cluster_authorized_operations
        ),
    )


def find_coordinator(
    client: KafkaClient, version: int, request: find_coordinator_messages.Request
) -> find_coordinator_messages.Response | InWorker:
    """Key 10: this node, for every group and every transactional id."""
    if COORDINATED.get(request.key_type) == TRANSACTIONAL_ID:
        with suppress(LogstoreError):  # a later request reports the error
            client.door.transactions_of.coordinator()  # is read, until its first request comes
    keys = request.coordinator_keys if version >= MANY_KEYS else [request.key]
    work = partial(_found, client, version, request.key_type, keys)
    return InWorker(work) if len(keys) > KEYS_AT_ONCE else work()


def _found(
    client: KafkaClient, version: int, key_type: int, keys: Sequence[str]
) -> find_coordinator_messages.Response:
    found = [_coordinator(client, key_type, key) for key in keys]
    if version >= MANY_KEYS:
        return find_coordinator_messages.Response(coordinators=found)
    [it] = found
    return find_coordinator_messages.Response(
        error_code=it.error_code,
        error_message=it.error_message,
        node_id=it.node_id,
        host=it.host,
        port=it.port,
    )


def _coordinator(
    client: KafkaClient, key_type: int, key: str
) -> find_coordinator_messages.Coordinator:
    kind = COORDINATED.get(key_type)
    if kind is None:  # of share groups' own state, say, which is no client's business
        code, message = errors.INVALID_REQUEST, f"there are no coordinators of type {key_type} here"
        return find_coordinator_messages.Coordinator(key, NODE_ID, *client.address, code, message)
    if not client.may(DESCRIBE, kind, key):
        return find_coordinator_messages.Coordinator(
            key, NOWHERE, "", NOWHERE, CODES[kind], TEXTS[CODES[kind]]
        )
    return find_coordinator_messages.Coordinator(key, NODE_ID, *client.address)


def describe_log_dirs(
    client: KafkaClient, version: int, request: describe_log_dirs_messages.Request
) -> describe_log_dirs_messages.Response:
    """Key 35: the one data directory, and the size of each log in it."""
    topics = client.door.topics
    asked: dict[str, set[int] | None] = (
        dict.fromkeys(topics.names())
        if request.topics is None
        else {it.topic: set(it.partitions) for it in request.topics}
    )
    found = []
    for name, numbers in asked.items():
        try:
            partitions = [
                describe_log_dirs_messages.Partition(it.partition, it.bytes)
                for it in topics.sizes(name)
                if numbers is None or it.partition in numbers
            ]
        except LogstoreError:
            continue  # gone since, or damaged: what can't be measured is left out, as by Kafka
        found.append(describe_log_dirs_messages.Topic(name, partitions))
    space = topics.space()
    result = describe_log_dirs_messages.Result(
        log_dir=client.door.path,
        topics=found,
        total_bytes=space.total_bytes,
        usable_bytes=space.usable_bytes,
    )
    return describe_log_dirs_messages.Response(results=(result,))


HANDLERS: Final = {
    3: handler(metadata_messages.Request, metadata_messages.Response, metadata),
    10: handler(
        find_coordinator_messages.Request, find_coordinator_messages.Response, find_coordinator
    ),
    35: handler(
        describe_log_dirs_messages.Request, describe_log_dirs_messages.Response, describe_log_dirs
    ),
    60: handler(
        describe_cluster_messages.Request, describe_cluster_messages.Response, describe_cluster
    ),
}
