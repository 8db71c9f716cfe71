"""EndTxn (key 26), versions 0 to 5."""

from dataclasses import dataclass

from logstore.kafka.schema import boolean, int16, int32, int64, string


@dataclass(slots=True)
class Request:
    transactional_id: str = string()
    producer_id: int = int64()
    producer_epoch: int = int16()
    committed: bool = boolean()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    producer_id: int = int64(since=5, default=-1)
    producer_epoch: int = int16(since=5, default=-1)
