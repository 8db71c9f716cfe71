"""DescribeTopicPartitions (key 75), versions 0 to 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, string, struct, uuid


@dataclass(slots=True)
class TopicRequest:
    name: str = string()


@dataclass(slots=True)
class Cursor:
    topic_name: str = string()
    partition_index: int = int32()


@dataclass(slots=True)
class Request:
    topics: Sequence[TopicRequest] = array(TopicRequest)
    response_partition_limit: int = int32(default=2000)
    cursor: Cursor | None = struct(Cursor, nullable=True, default=None)


@dataclass(slots=True)
class Partition:
    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()
    leader_epoch: int = int32(default=-1)
    replica_nodes: Sequence[int] = array(int32)
    isr_nodes: Sequence[int] = array(int32)
    eligible_leader_replicas: Sequence[int] | None = array(int32, nullable=True, default=None)
    last_known_elr: Sequence[int] | None = array(int32, nullable=True, default=None)
    offline_replicas: Sequence[int] = array(int32)


@dataclass(slots=True)
class Topic:
    error_code: int = int16()
    name: str | None = string(nullable=True)
    topic_id: bytes = uuid()
    is_internal: bool = boolean()
    partitions: Sequence[Partition] = array(Partition)
    topic_authorized_operations: int = int32(default=-2147483648)


@dataclass(slots=True)
class ResponseCursor:
    topic_name: str = string()
    partition_index: int = int32()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    topics: Sequence[Topic] = array(Topic)
    next_cursor: ResponseCursor | None = struct(ResponseCursor, nullable=True, default=None)
