"""ShareAcknowledge (key 79), versions 1 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int8, int16, int32, int64, string, struct, uuid


@dataclass(slots=True)
class AcknowledgementBatch:
    first_offset: int = int64()
    last_offset: int = int64()
    acknowledge_types: Sequence[int] = array(int8)


@dataclass(slots=True)
class Partition:
    partition_index: int = int32()
    acknowledgement_batches: Sequence[AcknowledgementBatch] = array(AcknowledgementBatch)


@dataclass(slots=True)
class Topic:
    topic_id: bytes = uuid()
    partitions: Sequence[Partition] = array(Partition)


@dataclass(slots=True)
class Request:
    group_id: str | None = string(nullable=True, default=None)
    member_id: str | None = string(nullable=True)
    share_session_epoch: int = int32()
    is_renew_ack: bool = boolean(since=2)
    topics: Sequence[Topic] = array(Topic)


@dataclass(slots=True)
class LeaderIdAndEpoch:
    leader_id: int = int32()
    leader_epoch: int = int32()


@dataclass(slots=True)
class ResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    current_leader: LeaderIdAndEpoch = struct(LeaderIdAndEpoch)


@dataclass(slots=True)
class ResponseTopic:
    topic_id: bytes = uuid()
    partitions: Sequence[ResponsePartition] = array(ResponsePartition)


@dataclass(slots=True)
class NodeEndpoint:
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    rack: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    acquisition_lock_timeout_ms: int = int32(since=2)
    responses: Sequence[ResponseTopic] = array(ResponseTopic)
    node_endpoints: Sequence[NodeEndpoint] = array(NodeEndpoint)
