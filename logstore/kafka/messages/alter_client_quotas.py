"""AlterClientQuotas (key 49), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, float64, int16, int32, string


@dataclass(slots=True)
class EntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable=True)


@dataclass(slots=True)
class OpData:
    key: str = string()
    value: float = float64()
    remove: bool = boolean()


@dataclass(slots=True)
class EntryData:
    entity: Sequence[EntityData] = array(EntityData)
    ops: Sequence[OpData] = array(OpData)


@dataclass(slots=True)
class Request:
    entries: Sequence[EntryData] = array(EntryData)
    validate_only: bool = boolean()


@dataclass(slots=True)
class ResponseEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable=True)


@dataclass(slots=True)
class ResponseEntryData:
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    entity: Sequence[ResponseEntityData] = array(ResponseEntityData)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    entries: Sequence[ResponseEntryData] = array(ResponseEntryData)
