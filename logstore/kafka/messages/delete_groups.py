"""DeleteGroups (key 42), versions 0 to 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, int32, string


@dataclass(slots=True)
class Request:
    groups_names: Sequence[str] = array(string)


@dataclass(slots=True)
class DeletableGroupResult:
    group_id: str = string()
    error_code: int = int16()


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    results: Sequence[DeletableGroupResult] = array(DeletableGroupResult)
