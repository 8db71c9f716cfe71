"""DescribeConfigs (key 32), versions 1 to 4."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, int8, int16, int32, string


@dataclass(slots=True)
class Resource:
    resource_type: int = int8()
    resource_name: str = string()
    configuration_keys: Sequence[str] | None = array(string, nullable=True)


@dataclass(slots=True)
class Request:
    resources: Sequence[Resource] = array(Resource)
    include_synonyms: bool = boolean()
    include_documentation: bool = boolean(since=3)


@dataclass(slots=True)
class Synonym:
    name: str = string()
    value: str | None = string(nullable=True)
    source: int = int8()


@dataclass(slots=True)
class ResourceResult:
    name: str = string()
    value: str | None = string(nullable=True)
    read_only: bool = boolean()
    config_source: int = int8(default=-1)
    is_sensitive: bool = boolean()
    synonyms: Sequence[Synonym] = array(Synonym)
    config_type: int = int8(since=3)
    documentation: str | None = string(since=3, nullable=True)


@dataclass(slots=True)
class Result:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    resource_type: int = int8()
    resource_name: str = string()
    configs: Sequence[ResourceResult] = array(ResourceResult)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    results: Sequence[Result] = array(Result)
