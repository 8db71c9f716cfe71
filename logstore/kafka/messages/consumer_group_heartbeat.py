"""ConsumerGroupHeartbeat (key 68), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string, struct, uuid


@dataclass(slots=True)
class TopicPartitions:
    topic_id: bytes = uuid()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Request:
    group_id: str = string()
    member_id: str = string()
    member_epoch: int = int32()
    instance_id: str | None = string(nullable=True, default=None)
    rack_id: str | None = string(nullable=True, default=None)
    rebalance_timeout_ms: int = int32(default=-1)
    subscribed_topic_names: Sequence[str] | None = array(string, nullable=True, default=None)
    subscribed_topic_regex: str | None = string(since=1, nullable=True, default=None)
    server_assignor: str | None = string(nullable=True, default=None)
    topic_partitions: Sequence[TopicPartitions] | None = array(TopicPartitions, nullable=True)


@dataclass(slots=True)
class ResponseTopicPartitions:
    topic_id: bytes = uuid()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Assignment:
    topic_partitions: Sequence[ResponseTopicPartitions] = array(ResponseTopicPartitions)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    member_id: str | None = string(nullable=True, default=None)
    member_epoch: int = int32()
    heartbeat_interval_ms: int = int32()
    assignment: Assignment | None = struct(Assignment, nullable=True, default=None)
