"""DescribeQuorum (key 55), versions 0 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, int64, string, uint16, uuid


@dataclass(slots=True)
class PartitionData:
    partition_index: int = int32()


@dataclass(slots=True)
class TopicData:
    topic_name: str = string()
    partitions: Sequence[PartitionData] = array(PartitionData)


@dataclass(slots=True)
class Request:
    topics: Sequence[TopicData] = array(TopicData)


@dataclass(slots=True)
class ReplicaState:
    replica_id: int = int32()
    replica_directory_id: bytes = uuid(since=2)
    log_end_offset: int = int64()
    last_fetch_timestamp: int = int64(default=-1, since=1)
    last_caught_up_timestamp: int = int64(default=-1, since=1)


@dataclass(slots=True)
class ResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(since=2, nullable=True, default=None)
    leader_id: int = int32()
    leader_epoch: int = int32()
    high_watermark: int = int64()
    current_voters: Sequence[ReplicaState] = array(ReplicaState)
    observers: Sequence[ReplicaState] = array(ReplicaState)


@dataclass(slots=True)
class ResponseTopicData:
    topic_name: str = string()
    partitions: Sequence[ResponsePartitionData] = array(ResponsePartitionData)


@dataclass(slots=True)
class Listener:
    name: str = string(since=2)
    host: str = string(since=2)
    port: int = uint16(since=2)


@dataclass(slots=True)
class Node:
    node_id: int = int32(since=2)
    listeners: Sequence[Listener] = array(Listener, since=2)


@dataclass(slots=True)
class Response:
    error_code: int = int16()
    error_message: str | None = string(since=2, nullable=True, default=None)
    topics: Sequence[ResponseTopicData] = array(ResponseTopicData)
    nodes: Sequence[Node] = array(Node, since=2)
