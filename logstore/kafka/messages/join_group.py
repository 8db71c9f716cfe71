"""JoinGroup (key 11), versions 0 to 9."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, blob, boolean, int16, int32, string


@dataclass(slots=True)
class Protocol:
    name: str = string()
    metadata: bytes = blob()


@dataclass(slots=True)
class Request:
    group_id: str = string()
    session_timeout_ms: int = int32()
    rebalance_timeout_ms: int = int32(since=1, default=-1)
    member_id: str = string()
    group_instance_id: str | None = string(since=5, nullable=True, default=None)
    protocol_type: str = string()
    protocols: Sequence[Protocol] = array(Protocol)
    reason: str | None = string(since=8, nullable=True, default=None)


@dataclass(slots=True)
class Member:
    member_id: str = string()
    group_instance_id: str | None = string(since=5, nullable=True, default=None)
    metadata: bytes = blob()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=2)
    error_code: int = int16()
    generation_id: int = int32(default=-1)
    protocol_type: str | None = string(since=7, nullable=True, default=None)
    protocol_name: str | None = string(nullable=7)
    leader: str = string()
    skip_assignment: bool = boolean(since=9)
    member_id: str = string()
    members: Sequence[Member] = array(Member)
