"""DeleteAcls (key 31), versions 1 to 3."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class Filter:
    resource_type_filter: int = int8()
    resource_name_filter: str | None = string(nullable=True)
    pattern_type_filter: int = int8(default=3)
    principal_filter: str | None = string(nullable=True)
    host_filter: str | None = string(nullable=True)
    operation: int = int8()
    permission_type: int = int8()


@dataclass(slots=True)
class Request:
    filters: Sequence[Filter] = array(Filter)


@dataclass(slots=True)
class MatchingAcl:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    resource_type: int = int8()
    resource_name: str = string()
    pattern_type: int = int8(default=3)
    principal: str = string()
    host: str = string()
    operation: int = int8()
    permission_type: int = int8()


@dataclass(slots=True)
class FilterResult:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    matching_acls: Sequence[MatchingAcl] = array(MatchingAcl)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    filter_results: Sequence[FilterResult] = array(FilterResult)
