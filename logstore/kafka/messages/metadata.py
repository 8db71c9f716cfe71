"""Metadata (key 3), versions 0 to 13."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, string, uuid


@dataclass(slots=True)
class Topic:
    topic_id: bytes = uuid(since=10)
    name: str | None = string(nullable=10)


@dataclass(slots=True)
class Request:
    topics: Sequence[Topic] | None = array(Topic, nullable=1)
    allow_auto_topic_creation: bool = boolean(since=4, default=True)
    include_cluster_authorized_operations: bool = boolean(since=8, until=10)
    include_topic_authorized_operations: bool = boolean(since=8)


@dataclass(slots=True)
class Broker:
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(since=1, nullable=True, default=None)


@dataclass(slots=True)
class Partition:
    error_code: int = int16()
    partition_index: int = int32()
    leader_id: int = int32()
    leader_epoch: int = int32(since=7, default=-1)
    replica_nodes: Sequence[int] = array(int32)
    isr_nodes: Sequence[int] = array(int32)
    offline_replicas: Sequence[int] = array(int32, since=5)


@dataclass(slots=True)
class ResponseTopic:
    error_code: int = int16()
    name: str | None = string(nullable=12)
    topic_id: bytes = uuid(since=10)
    is_internal: bool = boolean(since=1)
    partitions: Sequence[Partition] = array(Partition)
    topic_authorized_operations: int = int32(since=8, default=-2147483648)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=3)
    brokers: Sequence[Broker] = array(Broker)
    cluster_id: str | None = string(since=2, nullable=True, default=None)
    controller_id: int = int32(since=1, default=-1)
    topics: Sequence[ResponseTopic] = array(ResponseTopic)
    error_code: int = int16(since=13)
    cluster_authorized_operations: int = int32(since=8, until=10, default=-2147483648)
