"""AMQP tables in RabbitMQ's JSON form, in both directions.

As in RabbitMQ, a number without a fraction becomes a signed 64-bit integer, and bytes become texts.
JSON has no infinite numbers, so these become null.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from logstore.amqp import fields
from logstore.broker.queues.tables import table_of
from logstore.broker.routing.arguments import Arguments
from logstore.errors import Refused

DEEP_MAX: Final = 32  # tables in each other: no client means more
NAME_BYTES_MAX: Final = 255  # of a field: a short string
_INT64: Final = range(-(1 << 63), 1 << 63)


class InvalidTable(Refused):
    """A value that a table cannot hold. ``reason``: in RabbitMQ's words, a text or a list."""

    def __init__(self, reason: Any) -> None:  # noqa: ANN401
        said = ": ".join(map(str, reason)) if isinstance(reason, list) else str(reason)
        super().__init__(f"arguments: {said}")
        self.reason = reason


def arguments(given: Arguments) -> dict[str, Any]:
    """Of an exchange, a queue or a binding."""
    return table(table_of(given)) if given.fields else {}


def table(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value(it) for name, it in given.items()}


def value(given: Any) -> Any:  # noqa: ANN401  what a table holds
    if isinstance(given, Mapping):
        return table(given)
    if isinstance(given, list | tuple):
        return [value(it) for it in given]
    if isinstance(given, bytes | bytearray):
        return fields.text(bytes(given))
    if given is None or isinstance(given, bool):
        return given
    if isinstance(given, int):
        return int(given)
    if isinstance(given, float):
        return float(given) if isfinite(given) else None
    return float(given) if isinstance(given, Decimal) else str.__str__(given)


def table_given(given: Any) -> dict[str, Any]:  # noqa: ANN401  what JSON holds
    """Raises InvalidTable. An empty list is an empty table: some languages know no difference."""
    if given is None or given == []:
        return {}
    if not isinstance(given, dict):
        raise InvalidTable(["not_a_table", str(given)[:60]])
    found = _given(given, 0)
    assert isinstance(found, dict)
    return found


def _given(given: Any, deep: int) -> Any:  # noqa: ANN401
    if deep > DEEP_MAX:
        raise InvalidTable(f"tables are nested more than {DEEP_MAX} deep")
    if isinstance(given, dict):
        return {_name(name): _given(it, deep + 1) for name, it in given.items()}
    if isinstance(given, list):
        return [_given(it, deep + 1) for it in given]
    if given is None:
        raise InvalidTable("null_not_allowed")
    if isinstance(given, bool | float | str):
        return given
    if given not in _INT64:
        raise InvalidTable(["not_int64", str(given)[:60]])
    return fields.Long(given)


def _name(name: str) -> str:
    if len(fields.data(name)) > NAME_BYTES_MAX:
        raise InvalidTable(
            f"a name in a table has at most {NAME_BYTES_MAX} bytes: {name[:20]!r}..."
        )
    return name
