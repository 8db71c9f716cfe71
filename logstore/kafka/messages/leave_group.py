"""LeaveGroup (key 13), versions 0 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string


@dataclass(slots=True)
class MemberIdentity:
    member_id: str = string()
    group_instance_id: str | None = string(nullable=True, default=None)
    reason: str | None = string(since=5, nullable=True, default=None)


@dataclass(slots=True)
class Request:
    group_id: str = string()
    members: Sequence[MemberIdentity] = array(MemberIdentity, since=3)
    member_id: str = string(until=2)


@dataclass(slots=True)
class MemberResponse:
    member_id: str = string()
    group_instance_id: str | None = string(nullable=True)
    error_code: int = int16()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=1)
    error_code: int = int16()
    members: Sequence[MemberResponse] = array(MemberResponse, since=3)
