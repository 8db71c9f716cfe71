"""InitProducerId (key 22), versions 0 to 5."""

from dataclasses import dataclass

from logstore.kafka.schema import int16, int32, int64, string


@dataclass(slots=True)
class Request:
    transactional_id: str | None = string(nullable=True)
    transaction_timeout_ms: int = int32()
    producer_id: int = int64(since=3, default=-1)
    producer_epoch: int = int16(since=3, default=-1)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id: int = int64(default=-1)
    producer_epoch: int = int16()
