"""ElectLeaders (key 43), versions 0 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class TopicPartitions:
    topic: str = string()
    partitions: Sequence[int] = array(int32)


@dataclass(slots=True)
class Request:
    election_type: int = int8(since=1)
    topic_partitions: Sequence[TopicPartitions] | None = array(TopicPartitions, nullable=True)
    timeout_ms: int = int32(default=60000)


@dataclass(slots=True)
class PartitionResult:
    partition_id: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class ReplicaElectionResult:
    topic: str = string()
    partition_result: Sequence[PartitionResult] = array(PartitionResult)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16(since=1)
    replica_election_results: Sequence[ReplicaElectionResult] = array(ReplicaElectionResult)
