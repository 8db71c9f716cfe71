"""OffsetFetch (key 9), versions 1 to 10."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, int64, string, uuid


@dataclass(slots=True)
class Topics:
    topic_id: bytes = uuid(since=10)
    name: str = string(until=9)
    partition_indexes: Sequence[int] = array(int32)


@dataclass(slots=True)
class Group:
    group_id: str = string()
    member_id: str | None = string(since=9, nullable=True, default=None)
    member_epoch: int = int32(since=9, default=-1)
    topics: Sequence[Topics] | None = array(Topics, nullable=True)


@dataclass(slots=True)
class Topic:
    name: str = string(until=7)
    partition_indexes: Sequence[int] = array(int32, until=7)


@dataclass(slots=True)
class Request:
    groups: Sequence[Group] = array(Group, since=8)
    group_id: str = string(until=7)
    topics: Sequence[Topic] | None = array(Topic, until=7, nullable=2)
    require_stable: bool = boolean(since=7)


@dataclass(slots=True)
class Partitions:
    partition_index: int = int32()
    committed_offset: int = int64()
    committed_leader_epoch: int = int32(default=-1)
    metadata: str | None = string(nullable=True)
    error_code: int = int16()


@dataclass(slots=True)
class ResponseTopics:
    topic_id: bytes = uuid(since=10)
    name: str = string(until=9)
    partitions: Sequence[Partitions] = array(Partitions)


@dataclass(slots=True)
class ResponseGroup:
    group_id: str = string()
    topics: Sequence[ResponseTopics] = array(ResponseTopics)
    error_code: int = int16()


@dataclass(slots=True)
class Partition:
    partition_index: int = int32(until=7)
    committed_offset: int = int64(until=7)
    committed_leader_epoch: int = int32(since=5, until=7, default=-1)
    metadata: str | None = string(until=7, nullable=True)
    error_code: int = int16(until=7)


@dataclass(slots=True)
class ResponseTopic:
    name: str = string(until=7)
    partitions: Sequence[Partition] = array(Partition, until=7)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=3)
    groups: Sequence[ResponseGroup] = array(ResponseGroup, since=8)
    topics: Sequence[ResponseTopic] = array(ResponseTopic, until=7)
    error_code: int = int16(since=2, until=7)
