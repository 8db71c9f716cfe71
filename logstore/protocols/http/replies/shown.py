"""The models as JSON: names as texts, tables as objects, large numbers as texts.

A number that JavaScript would round is a text. Offsets are always texts, so that clients handle
every size.
"""

from base64 import b64encode
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any, Final

from logstore.amqp import fields
from logstore.amqp.properties import read as read_properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.tables import table_of
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding

SAFE_INTEGER: Final = 2**53 - 1  # beyond it JavaScript rounds
BINDING_ID_BYTES: Final = 8


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
        "id": binding_id(given),
        "source": fields.text(given.source),
        "destination": fields.text(given.destination),
        "kind": given.kind,  # of the destination
        "key": fields.text(given.key),
        "arguments": arguments(given.arguments),
    }


def binding_id(given: Binding) -> str:
    """Tells apart bindings between the same two ends, whose arguments may look alike in JSON."""
    digest = blake2b(digest_size=BINDING_ID_BYTES)
    digest.update(repr((given.key, given.arguments.fields)).encode())
    return digest.hexdigest()


def properties(given: bytes) -> dict[str, Any]:
    """Of a message: those that it has. ``timestamp``: seconds since 1970, as it was sent."""
    try:
        found = read_properties(given)
    except Refusal:  # a record that no door has written
        return {}
    return {
        name: value(it) for name, it in zip(found._fields, found, strict=True) if it is not None
    }


def repeats(it: object) -> dict[str, int] | None:
    """What keeps repeats out of a log, a queue or an exchange; None: nothing does."""
    if it is None:
        return None
    return {name: getattr(it, name) for name in ("ids", "kept_out", "forgotten")}
