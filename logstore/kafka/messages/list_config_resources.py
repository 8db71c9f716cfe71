"""ListConfigResources (key 74; ListClientMetricsResources until Kafka 4.1), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class Request:
    resource_types: Sequence[int] = array(int8, since=1)


@dataclass(slots=True)
class ConfigResource:
    resource_name: str = string()
    resource_type: int = int8(since=1, default=16)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    config_resources: Sequence[ConfigResource] = array(ConfigResource)
