"""FindCoordinator (key 10), versions 0 to 6."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class Request:
    key: str = string(until=3)
    key_type: int = int8(since=1)
    coordinator_keys: Sequence[str] = array(string, since=4)


@dataclass(slots=True)
class Coordinator:
    key: str = string()
    node_id: int = int32()
    host: str = string()
    port: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=1)
    coordinators: Sequence[Coordinator] = array(Coordinator, since=4)
    error_code: int = int16(until=3)
    error_message: str | None = string(since=1, until=3, nullable=True, default=None)
    node_id: int = int32(until=3)
    host: str = string(until=3)
    port: int = int32(until=3)
