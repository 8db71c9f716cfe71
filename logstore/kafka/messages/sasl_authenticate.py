"""SaslAuthenticate (key 36), versions 0 to 2."""

from dataclasses import dataclass

from logstore.kafka.schema import blob, int16, int64, string


@dataclass(slots=True)
class Request:
    auth_bytes: bytes = blob()


@dataclass(slots=True)
class Response:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    auth_bytes: bytes = blob()
    session_lifetime_ms: int = int64(since=1)
