"""TxnOffsetCommit (key 28), versions 0 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32(since=2, default=-1)
    committed_metadata: str | None = string(nullable=True)


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    transactional_id: str = string()
    group_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    generation_id: int = int32(since=3, default=-1)
    member_id: str = string(since=3)
    group_instance_id: str | None = string(since=3, nullable=True, default=None)
    topics: Sequence[Topic] = array(Topic)


@dataclass(slots=True)
class ResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()


@dataclass(slots=True)
class ResponseTopic:
    name: str = string()
    partitions: Sequence[ResponsePartition] = array(ResponsePartition)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    topics: Sequence[ResponseTopic] = array(ResponseTopic)
