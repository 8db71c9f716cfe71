"""AlterShareGroupOffsets (key 91), versions 0 to 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string, uuid


@dataclass(slots=True)
class RequestPartition:
    partition_index: int = int32()
    start_offset: int = int64()


@dataclass(slots=True)
class RequestTopic:
    topic_name: str = string()
    partitions: Sequence[RequestPartition] = array(RequestPartition)


@dataclass(slots=True)
class Request:
    group_id: str = string()
    topics: Sequence[RequestTopic] = array(RequestTopic)


@dataclass(slots=True)
class ResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class ResponseTopic:
    topic_name: str = string()
    topic_id: bytes = uuid()
    partitions: Sequence[ResponsePartition] = array(ResponsePartition)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    responses: Sequence[ResponseTopic] = array(ResponseTopic)
