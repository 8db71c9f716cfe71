"""DescribeShareGroupOffsets (key 90), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string, uuid


@dataclass(slots=True)
class RequestTopic:
    topic_name: str = string()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class RequestGroup:
    group_id: str = string()
    topics: Sequence[RequestTopic] | None = array(RequestTopic, nullable=True)


@dataclass(slots=True)
class Request:
    groups: Sequence[RequestGroup] = array(RequestGroup)


@dataclass(slots=True)
class ResponsePartition:
    partition_index: int = int32()
    start_offset: int = int64()
    leader_epoch: int = int32()
    lag: int = int64(since=1, default=-1)
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class ResponseTopic:
    topic_name: str = string()
    topic_id: bytes = uuid()
    partitions: Sequence[ResponsePartition] = array(ResponsePartition)


@dataclass(slots=True)
class ResponseGroup:
    group_id: str = string()
    topics: Sequence[ResponseTopic] = array(ResponseTopic)
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    groups: Sequence[ResponseGroup] = array(ResponseGroup)
