"""Heartbeat (key 12), versions 0 to 4."""

from dataclasses import dataclass

from logstore.kafka.schema import int16, int32, string


@dataclass(slots=True)
class Request:
    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string(since=3, nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=1)
    error_code: int = int16()
