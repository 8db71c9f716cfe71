"""ListPartitionReassignments (key 46), versions 0 to 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string


@dataclass(slots=True)
class ListPartitionReassignmentsTopics:
    name: str = string()
    partition_indexes: Sequence[int] = array(int32)


@dataclass(slots=True)
class Request:
    timeout_ms: int = int32(default=60000)
    topics: Sequence[ListPartitionReassignmentsTopics] | None = array(
        ListPartitionReassignmentsTopics, nullable=True, default=None
    )


@dataclass(slots=True)
class OngoingPartitionReassignment:
    partition_index: int = int32()
    replicas: Sequence[int] = array(int32)
    adding_replicas: Sequence[int] = array(int32)
    removing_replicas: Sequence[int] = array(int32)


@dataclass(slots=True)
class OngoingTopicReassignment:
    name: str = string()
    partitions: Sequence[OngoingPartitionReassignment] = array(OngoingPartitionReassignment)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    topics: Sequence[OngoingTopicReassignment] = array(OngoingTopicReassignment)
