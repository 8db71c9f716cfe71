"""SyncGroup (key 14), versions 0 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, blob, int16, int32, string


@dataclass(slots=True)
class Assignment:
    member_id: str = string()
    assignment: bytes = blob()


@dataclass(slots=True)
class Request:
    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string(since=3, nullable=True, default=None)
    protocol_type: str | None = string(since=5, nullable=True, default=None)
    protocol_name: str | None = string(since=5, nullable=True, default=None)
    assignments: Sequence[Assignment] = array(Assignment)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=1)
    error_code: int = int16()
    protocol_type: str | None = string(since=5, nullable=True, default=None)
    protocol_name: str | None = string(since=5, nullable=True, default=None)
    assignment: bytes = blob()
