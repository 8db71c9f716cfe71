"""ShareGroupDescribe (key 77), versions 1 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, string, struct, uuid


@dataclass(slots=True)
class Request:
    group_ids: Sequence[str] = array(string)
    include_authorized_operations: bool = boolean()


@dataclass(slots=True)
class TopicPartitions:
    topic_id: bytes = uuid()
    topic_name: str = string()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Assignment:
    topic_partitions: Sequence[TopicPartitions] = array(TopicPartitions)


@dataclass(slots=True)
class Member:
    member_id: str = string()
    rack_id: str | None = string(nullable=True, default=None)
    member_epoch: int = int32()
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: Sequence[str] = array(string)
    assignment: Assignment = struct(Assignment)


@dataclass(slots=True)
class DescribedGroup:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    group_id: str = string()
    group_state: str = string()
    group_epoch: int = int32()
    assignment_epoch: int = int32()
    assignor_name: str = string()
    members: Sequence[Member] = array(Member)
    authorized_operations: int = int32(default=-2147483648)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    groups: Sequence[DescribedGroup] = array(DescribedGroup)
