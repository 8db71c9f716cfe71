"""The models as JSON: names as texts, tables as objects, large numbers as texts.

A number that JavaScript would round is a text; offsets always are, so that nobody counts on less.
"""

from base64 import b64encode
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from logstore.amqp import fields
from logstore.broker.queues.tables import table_of
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding

SAFE_INTEGER: Final = 2**53 - 1  # beyond it JavaScript rounds


def arguments(given: Arguments) -> dict[str, Any]:
    """A field table."""
    return {name: value(it) for name, it in table_of(given).items()}


def value(given: Any) -> Any:  # noqa: ANN401  what a table holds
    """One value of a table: bytes as base64, decimals as texts, times as seconds since 1970."""
    if isinstance(given, dict):
        return {name: value(it) for name, it in given.items()}
    if isinstance(given, list | tuple):
        return [value(it) for it in given]
    if isinstance(given, bytes | bytearray):
        return {"base64": b64encode(given).decode()}
    if isinstance(given, bool) or given is None:
        return given
    if isinstance(given, int):
        return int(given) if abs(given) <= SAFE_INTEGER else str(int(given))
    if isinstance(given, float):
        return float(given) if isfinite(given) else str(float(given))
    return str(given) if isinstance(given, Decimal) else str.__str__(given)


def binding(given: Binding) -> dict[str, Any]:
    """By which messages of an exchange go to a queue or another exchange."""
    return {
        "source": fields.text(given.source),
        "destination": fields.text(given.destination),
        "kind": given.kind,  # of the destination
        "key": fields.text(given.key),
        "arguments": arguments(given.arguments),
    }
