"""CreateAcls (key 30), versions 1 to 3."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class AclCreation:
    resource_type: int = int8()
    resource_name: str = string()
    resource_pattern_type: int = int8(default=3)
    principal: str = string()
    host: str = string()
    operation: int = int8()
    permission_type: int = int8()


@dataclass(slots=True)
class Request:
    creations: Sequence[AclCreation] = array(AclCreation)


@dataclass(slots=True)
class AclCreationResult:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    results: Sequence[AclCreationResult] = array(AclCreationResult)
