"""CreatePartitions (key 37), versions 0 to 3."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int16, int32, string


@dataclass(slots=True)
class Assignment:
    broker_ids: Sequence[int] = array(int32)


@dataclass(slots=True)
class Topic:
    name: str = string()
    count: int = int32()
    assignments: Sequence[Assignment] | None = array(Assignment, nullable=True)


@dataclass(slots=True)
class Request:
    topics: Sequence[Topic] = array(Topic)
    timeout_ms: int = int32()
    validate_only: bool = boolean()


@dataclass(slots=True)
class TopicResult:
    name: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    results: Sequence[TopicResult] = array(TopicResult)
