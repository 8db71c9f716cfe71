"""DeleteRecords (key 21), versions 0 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    offset: int = int64()


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    topics: Sequence[Topic] = array(Topic)
    timeout_ms: int = int32()


@dataclass(slots=True)
class PartitionResult:
    partition_index: int = int32()
    low_watermark: int = int64()
    error_code: int = int16()


@dataclass(slots=True)
class TopicResult:
    name: str = string()
    partitions: Sequence[PartitionResult] = array(PartitionResult)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    topics: Sequence[TopicResult] = array(TopicResult)
