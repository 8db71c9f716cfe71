"""ShareFetch (key 78), versions 1 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.messages.share_acknowledge import (
    AcknowledgementBatch,
    LeaderIdAndEpoch,
    NodeEndpoint,
)
from logstore.kafka.schema import (
    array,
    blob,
    boolean,
    int8,
    int16,
    int32,
    int64,
    string,
    struct,
    uuid,
)


@dataclass(slots=True)
class FetchPartition:
    partition_index: int = int32()
    acknowledgement_batches: Sequence[AcknowledgementBatch] = array(AcknowledgementBatch)


@dataclass(slots=True)
class FetchTopic:
    topic_id: bytes = uuid()
    partitions: Sequence[FetchPartition] = array(FetchPartition)


@dataclass(slots=True)
class ForgottenTopic:
    topic_id: bytes = uuid()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Request:
    group_id: str | None = string(nullable=True, default=None)
    member_id: str | None = string(nullable=True)
    share_session_epoch: int = int32()
    max_wait_ms: int = int32()
    min_bytes: int = int32()
    max_bytes: int = int32(2147483647)
    max_records: int = int32()
    batch_size: int = int32()
    share_acquire_mode: int = int8(since=2)
    is_renew_ack: bool = boolean(since=2)
    topics: Sequence[FetchTopic] = array(FetchTopic)
    forgotten_topics_data: Sequence[ForgottenTopic] = array(ForgottenTopic)


@dataclass(slots=True)
class AcquiredRecords:
    first_offset: int = int64()
    last_offset: int = int64()
    delivery_count: int = int16()


@dataclass(slots=True)
class PartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    acknowledge_error_code: int = int16()
    acknowledge_error_message: str | None = string(nullable=True, default=None)
    current_leader: LeaderIdAndEpoch = struct(LeaderIdAndEpoch)
    records: bytes = blob()
    acquired_records: Sequence[AcquiredRecords] = array(AcquiredRecords)


@dataclass(slots=True)
class ResponseTopic:
    topic_id: bytes = uuid()
    partitions: Sequence[PartitionData] = array(PartitionData)


@dataclass(slots=True)
class Response:
    """As a client reads it; ``share_codec.py`` writes it, with records as they stand in logs."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    acquisition_lock_timeout_ms: int = int32()
    responses: Sequence[ResponseTopic] = array(ResponseTopic)
    node_endpoints: Sequence[NodeEndpoint] = array(NodeEndpoint)
