"""ShareGroupHeartbeat (key 76), versions 1 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string, struct, uuid


@dataclass(slots=True)
class Request:
    group_id: str = string()
    member_id: str = string()
    member_epoch: int = int32()
    rack_id: str | None = string(nullable=True, default=None)
    subscribed_topic_names: Sequence[str] | None = array(string, nullable=True, default=None)


@dataclass(slots=True)
class TopicPartitions:
    topic_id: bytes = uuid()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Assignment:
    topic_partitions: Sequence[TopicPartitions] = array(TopicPartitions)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    member_id: str | None = string(nullable=True, default=None)
    member_epoch: int = int32()
    heartbeat_interval_ms: int = int32()
    assignment: Assignment | None = struct(Assignment, nullable=True, default=None)
