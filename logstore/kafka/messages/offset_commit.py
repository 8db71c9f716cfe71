"""OffsetCommit (key 8), versions 2 to 10."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string, uuid


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32(since=6, default=-1)
    committed_metadata: str | None = string(nullable=True)


@dataclass(slots=True)
class Topic:
    topic_id: bytes = uuid(since=10)
    name: str = string(until=9)
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    group_id: str = string()
    generation_id_or_member_epoch: int = int32(default=-1)
    member_id: str = string()
    group_instance_id: str | None = string(since=7, nullable=True, default=None)
    retention_time_ms: int = int64(until=4, default=-1)
    topics: Sequence[Topic] = array(Topic)


@dataclass(slots=True)
class ResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()


@dataclass(slots=True)
class ResponseTopic:
    topic_id: bytes = uuid(since=10)
    name: str = string(until=9)
    partitions: Sequence[ResponsePartition] = array(ResponsePartition)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=3)
    topics: Sequence[ResponseTopic] = array(ResponseTopic)
