"""Requests that create, delete, grow and describe topics. Changes are durable when answered."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logstore.access import audit
from logstore.access.resources import ALTER, CREATE, DELETE, DESCRIBE, DESCRIBE_CONFIGS
from logstore.broker.topic import Topic
from logstore.broker.topics import INTERNAL_TOPICS, METADATA_TOPIC
from logstore.config import text_of
from logstore.errors import LogstoreError, Refused
from logstore.kafka.messages import (
    create_partitions as create_partitions_messages,
)
from logstore.kafka.messages import (
    create_topics as create_topics_messages,
)
from logstore.kafka.messages import (
    delete_topics as delete_topics_messages,
)
from logstore.kafka.messages import (
    describe_topic_partitions as describe_messages,
)
from logstore.names import is_servers
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import NO_TOPIC
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.configs import given_settings, source_of
from logstore.protocols.kafka.door import LEADER_EPOCH, NODE_ID, KafkaDoor
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.operations import on_topic
from logstore.settings import STORE_SETTINGS

DEFAULT: Final = -1  # a number of partitions or copies that the broker is to choose
COPIES: Final = 1
PARTITIONS_OF_TOPIC_MAX: Final[int] = STORE_SETTINGS["num.partitions"].metadata["high"]
PARTITIONS_MAX: Final = 2000  # of one answer to DescribeTopicPartitions, as Kafka's


class _Unfit(Refused):
    """A request that is refused with a code of its own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Unauthorized(_Unfit):
    """A topic for which the client lacks the right, whether it exists or not."""

    def __init__(self) -> None:
        super().__init__(errors.TOPIC_AUTHORIZATION_FAILED, NO_TOPIC)


def _attempt(work: Callable[[], None]) -> tuple[int, str | None]:
    """Run ``work``; returns the code and message of its error, if any."""
    try:
        work()
    except _Unfit as error:
        return error.code, str(error)
    except LogstoreError as error:
        return code_of(error), str(error)
    return errors.NONE, None


# CreateTopics


def create(
    client: KafkaClient, version: int, request: create_topics_messages.Request
) -> create_topics_messages.Response:
    """Key 19."""
    times = Counter(it.name for it in request.topics)
    return create_topics_messages.Response(
        topics=[
            _created(client, it, times[it.name], request.validate_only)
            for it in {it.name: it for it in request.topics}.values()
        ]
    )


def _created(
    client: KafkaClient,
    asked: create_topics_messages.CreatableTopic,
    times: int,
    validate_only: bool,
) -> create_topics_messages.CreatableTopicResult:
    door = client.door
    result = create_topics_messages.CreatableTopicResult(asked.name, configs=None)

    def work() -> None:
        if not (client.sees_cluster(CREATE) or client.may_topic(CREATE, asked.name)):
            raise _Unauthorized
        if times > 1:
            raise _Unfit(errors.INVALID_REQUEST, f"topic {asked.name!r} is in the request twice")
        if asked.name == METADATA_TOPIC:
            raise _Unfit(
                errors.TOPIC_AUTHORIZATION_FAILED,
                f"topic {asked.name!r}: the name is reserved for Kafka's metadata",
            )
        if is_servers(asked.name):  # even for a client that may create any topic
            raise _Unauthorized
        settings = given_settings(asked.configs)
        count = _count(asked)
        _check_count(count)
        if validate_only:
            number = door.topics.check_new(asked.name, count, settings)
            described = door.topics.describe_new(settings)
        else:
            topic = door.topics.create(asked.name, count, settings)
            number, result.topic_id = len(topic.partitions), topic.uuid
            described = door.topics.describe(asked.name)
        if not client.sees_topic(DESCRIBE_CONFIGS, asked.name):
            result.topic_config_error_code, result.configs = errors.TOPIC_AUTHORIZATION_FAILED, ()
            return
        result.num_partitions, result.replication_factor = number, COPIES
        # Never null in a success: Kafka's Java client fails on it, as no broker sends it.
        result.configs = [
            create_topics_messages.CreatableTopicConfigs(
                it.name, text_of(it.value), config_source=source_of(it)
            )
            for it in described
        ]

    result.error_code, result.error_message = _attempt(work)
    return result


def _count(asked: create_topics_messages.CreatableTopic) -> int | None:
    """The requested number of partitions; None for the default."""
    if asked.assignments:
        return _assigned(asked)
    if asked.replication_factor not in (DEFAULT, COPIES):
        raise _Unfit(
            errors.INVALID_REPLICATION_FACTOR,
            f"replication factor {asked.replication_factor}: must be 1, because there is one node",
        )
    if asked.num_partitions == DEFAULT:
        return None
    if asked.num_partitions < 1:
        raise _Unfit(errors.INVALID_PARTITIONS, f"{asked.num_partitions} partitions")
    return asked.num_partitions


def _check_count(partitions: int | None) -> None:
    if partitions is not None and partitions > PARTITIONS_OF_TOPIC_MAX:
        raise _Unfit(
            errors.INVALID_PARTITIONS,
            f"{partitions} partitions: a topic has {PARTITIONS_OF_TOPIC_MAX} at most",
        )


def _assigned(asked: create_topics_messages.CreatableTopic) -> int:
    numbers = sorted(it.partition_index for it in asked.assignments)
    nodes = {node for it in asked.assignments for node in it.broker_ids}
    if numbers != list(range(len(numbers))) or nodes != {NODE_ID}:
        raise _Unfit(
            errors.INVALID_REPLICA_ASSIGNMENT,
            f"partitions must be numbered from 0 and assigned to node {NODE_ID}, the only one",
        )
    return len(numbers)


# DeleteTopics


def delete(
    client: KafkaClient, version: int, request: delete_topics_messages.Request
) -> delete_topics_messages.Response:
    """Key 20."""
    asked = request.topics or [
        delete_topics_messages.DeleteTopicState(name) for name in request.topic_names
    ]
    return delete_topics_messages.Response(responses=[_deleted(client, it) for it in asked])


def _deleted(
    client: KafkaClient, asked: delete_topics_messages.DeleteTopicState
) -> delete_topics_messages.DeletableTopicResult:
    door = client.door
    topic = door.topics.get(asked.name) if asked.name else door.topics.by_uuid(asked.topic_id)
    result = delete_topics_messages.DeletableTopicResult(asked.name, asked.topic_id)
    if topic is not None or asked.name:
        name = asked.name if topic is None else topic.name
        assert name is not None, "it is asked for by name, or was found"
        if not _may_delete(client, name):
            if not asked.name and client.sees_topic(DESCRIBE, name):
                result.name = name
            result.error_code, result.error_message = errors.TOPIC_AUTHORIZATION_FAILED, NO_TOPIC
            return result
    if topic is None:
        unknown = errors.UNKNOWN_TOPIC_OR_PARTITION if asked.name else errors.UNKNOWN_TOPIC_ID
        result.error_code, result.error_message = unknown, "no such topic"
        return result
    result.name, result.topic_id = topic.name, topic.uuid
    result.error_code, result.error_message = _attempt(lambda: door.topics.delete(topic.name))
    if result.error_code == errors.NONE:
        client.did(audit.TOPIC, f"deleted {topic.name}")
    return result


def _may_delete(client: KafkaClient, name: str) -> bool:
    """Whether the client may delete the topic; one that may not see it does not learn if it
    exists.
    """
    return (not is_servers(name) and client.sees_cluster(DELETE)) or (
        client.may_topic(DESCRIBE, name) and client.may_topic(DELETE, name)
    )


# CreatePartitions


def create_partitions(
    client: KafkaClient, version: int, request: create_partitions_messages.Request
) -> create_partitions_messages.Response:
    """Key 37."""
    times = Counter(it.name for it in request.topics)

    def grow(it: create_partitions_messages.Topic) -> None:
        if not client.may_topic(ALTER, it.name):
            raise _Unauthorized
        if times[it.name] > 1:
            raise _Unfit(errors.INVALID_REQUEST, f"topic {it.name!r} is in the request twice")
        _grow(client.door, it, request.validate_only)

    return create_partitions_messages.Response(
        results=[
            create_partitions_messages.TopicResult(
                name,
                *_attempt(lambda it=it: grow(it)),  # type: ignore[misc]
            )
            for name, it in {it.name: it for it in request.topics}.items()
        ]
    )


def _grow(door: KafkaDoor, asked: create_partitions_messages.Topic, validate_only: bool) -> None:
    topic = door.topics.get(asked.name)
    if topic is None:
        raise _Unfit(errors.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {asked.name!r}")
    added = asked.count - len(topic.partitions)
    if added <= 0:
        raise _Unfit(
            errors.INVALID_PARTITIONS,
            f"topic {asked.name!r} has {len(topic.partitions)} partitions, {asked.count} asked for",
        )
    _check_count(asked.count)
    assigned = asked.assignments
    if assigned is not None and (
        len(assigned) != added or any(list(it.broker_ids) != [NODE_ID] for it in assigned)
    ):
        raise _Unfit(
            errors.INVALID_REPLICA_ASSIGNMENT,
            f"{added} partitions must be assigned to node {NODE_ID}, the only one",
        )
    if validate_only:
        door.topics.check_growth(asked.name, asked.count)
    else:
        door.topics.grow(asked.name, asked.count)


# DescribeTopicPartitions (KIP-966)


def describe_partitions(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response:
    """Key 75: topics ordered by name, a limited number of partitions per answer."""
    topics = client.door.topics
    named = sorted({it.name for it in request.topics})
    names: Sequence[str] = named or [
        name for name in topics.names() if client.sees_topic(DESCRIBE, name)
    ]
    first = 0
    if request.cursor is not None:
        names = [name for name in names if name >= request.cursor.topic_name]
        if names[:1] == [request.cursor.topic_name]:
            first = max(request.cursor.partition_index, 0)
    left = min(max(request.response_partition_limit, 1), PARTITIONS_MAX)
    answer, described = describe_messages.Response(), []
    for name in names:
        if left <= 0:
            answer.next_cursor = describe_messages.ResponseCursor(name, 0)
            break
        if named and not client.may_topic(DESCRIBE, name):
            described.append(describe_messages.Topic(errors.TOPIC_AUTHORIZATION_FAILED, name))
            continue
        topic = topics.get(name)
        if topic is None:
            unknown = errors.UNKNOWN_TOPIC_OR_PARTITION
            described.append(describe_messages.Topic(unknown, name))
            continue
        shown = list(_partitions(topic, first, left))
        described.append(
            describe_messages.Topic(
                name=name,
                topic_id=topic.uuid,
                is_internal=name in INTERNAL_TOPICS,
                topic_authorized_operations=on_topic(client, name),
                partitions=shown,
            )
        )
        left -= len(shown)
        following, first = first + len(shown), 0
        if following < len(topic.partitions):
            answer.next_cursor = describe_messages.ResponseCursor(name, following)
            break
    answer.topics = described
    return answer


def _partitions(topic: Topic, first: int, count: int) -> Iterator[describe_messages.Partition]:
    node: Sequence[int] = (NODE_ID,)
    for number in range(first, min(first + count, len(topic.partitions))):
        yield describe_messages.Partition(
            partition_index=number,
            leader_id=NODE_ID,
            leader_epoch=LEADER_EPOCH,
            replica_nodes=node,
            isr_nodes=node,
            # Empty, not null: Kafka's Java client fails on null, as no broker sends it.
            eligible_leader_replicas=(),
            last_known_elr=(),
        )


HANDLERS: Final = {
    19: handler(create_topics_messages.Request, create_topics_messages.Response, create),
    20: handler(delete_topics_messages.Request, delete_topics_messages.Response, delete),
    37: handler(
        create_partitions_messages.Request, create_partitions_messages.Response, create_partitions
    ),
    75: handler(describe_messages.Request, describe_messages.Response, describe_partitions),
}
