"""DeleteTopics (key 20), versions 1 to 6."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string, uuid


@dataclass(slots=True)
class DeleteTopicState:
    name: str | None = string(nullable=True, default=None)
    topic_id: bytes = uuid()


@dataclass(slots=True)
class Request:
    topics: Sequence[DeleteTopicState] = array(DeleteTopicState, since=6)
    topic_names: Sequence[str] = array(string, until=5)
    timeout_ms: int = int32()


@dataclass(slots=True)
class DeletableTopicResult:
    name: str | None = string(nullable=6)
    topic_id: bytes = uuid(since=6)
    error_code: int = int16()
    error_message: str | None = string(since=5, nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    responses: Sequence[DeletableTopicResult] = array(DeletableTopicResult)
