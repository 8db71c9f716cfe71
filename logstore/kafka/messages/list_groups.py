"""ListGroups (key 16), versions 0 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string


@dataclass(slots=True)
class Request:
    states_filter: Sequence[str] = array(string, since=4)
    types_filter: Sequence[str] = array(string, since=5)


@dataclass(slots=True)
class ListedGroup:
    group_id: str = string()
    protocol_type: str = string()
    group_state: str = string(since=4)
    group_type: str = string(since=5)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32(since=1)
    error_code: int = int16()
    groups: Sequence[ListedGroup] = array(ListedGroup)
