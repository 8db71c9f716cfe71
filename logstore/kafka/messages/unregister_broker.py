"""UnregisterBroker (key 64), versions 0 to 0."""

from dataclasses import dataclass

from logstore.kafka.schema import int16, int32, string


@dataclass(slots=True)
class Request:
    broker_id: int = int32()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
