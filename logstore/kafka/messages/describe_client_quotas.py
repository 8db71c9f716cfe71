"""DescribeClientQuotas (key 48), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, boolean, float64, int8, int16, int32, string


@dataclass(slots=True)
class ComponentData:
    entity_type: str = string()
    match_type: int = int8()
    match: str | None = string(nullable=True)


@dataclass(slots=True)
class Request:
    components: Sequence[ComponentData] = array(ComponentData)
    strict: bool = boolean()


@dataclass(slots=True)
class EntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable=True)


@dataclass(slots=True)
class ValueData:
    key: str = string()
    value: float = float64()


@dataclass(slots=True)
class EntryData:
    entity: Sequence[EntityData] = array(EntityData)
    values: Sequence[ValueData] = array(ValueData)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    entries: Sequence[EntryData] | None = array(EntryData, nullable=True)
