"""OffsetDelete (key 47), versions 0 to 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()


@dataclass(slots=True)
class Topic:
    name: str = string()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    group_id: str = string()
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
    error_code: int = int16()
    throttle_time_ms: int = int32()
    topics: Sequence[ResponseTopic] = array(ResponseTopic)
