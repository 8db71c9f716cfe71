"""ListOffsets (key 2), versions 1 to 11."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, int64, string


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    current_leader_epoch: int = int32(since=4, default=-1)
    timestamp: int = int64()


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    replica_id: int = int32()
    isolation_level: int = int8(since=2)
    topics: Sequence[Topic] = array(Topic)
    timeout_ms: int = int32(since=10)


@dataclass(slots=True)
class PartitionResponse:
    partition_index: int = int32()
    error_code: int = int16()
    timestamp: int = int64(default=-1)
    offset: int = int64(default=-1)
    leader_epoch: int = int32(since=4, default=-1)


@dataclass(slots=True)
class TopicResponse:
    name: str = string()
    partitions: Sequence[PartitionResponse] = array(PartitionResponse)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=2)
    topics: Sequence[TopicResponse] = array(TopicResponse)
