"""Translates STOMP headers to AMQP (a queue's arguments, a message's properties) and back. Pure.

It follows RabbitMQ's tables, with one difference: headers of the frame itself (``receipt``,
``transaction``, ``content-length``) do not become headers of the message, because a receiver has no
use for them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from logstore.amqp import properties
from logstore.amqp.fields import Timestamp
from logstore.amqp.properties import Properties
from logstore.amqp.replies import Refusal
from logstore.stomp.destinations import PREFIXES, REPLY_PREFIX, Destination, Kind
from logstore.stomp.faults import StompFault, invalid_header
from logstore.stomp.frames import Headers, data, shown

SHORT_BYTES_MAX: Final = 255  # of AMQP's short strings: names, and most properties
LONGLONG_MAX: Final = (1 << 64) - 1
PERSISTENT: Final = 2  # a delivery mode

_BOOLEANS: Final = {"true": True, "True": True, "false": False, "False": False}

# Headers of text properties, with the properties' names.
_TEXTS: Final = {
    "content-type": "content_type", "content-encoding": "content_encoding",
    "correlation-id": "correlation_id", "reply-to": "reply_to", "expiration": "expiration",
    "amqp-message-id": "message_id", "type": "type", "user-id": "user_id", "app-id": "app_id",
}  # fmt: skip
_NUMBERS: Final = {"priority": 0xFF, "timestamp": LONGLONG_MAX}
_OF_PROPERTIES: Final = frozenset({*_TEXTS, *_NUMBERS, "persistent"})
_OF_FRAMES: Final = frozenset({"destination", "content-length", "receipt", "transaction"})
# The MESSAGE's own headers, which no sender's header replaces.
_OF_DELIVERIES: Final = frozenset({
    "subscription", "destination", "message-id", "redelivered", "ack", "content-length",
})  # fmt: skip

# Arguments of queues, with what their values are.
_ARGUMENTS: Final[Mapping[str, type[int] | type[str]]] = {
    "x-dead-letter-exchange": str, "x-dead-letter-routing-key": str, "x-expires": int,
    "x-max-age": str, "x-max-length": int, "x-max-length-bytes": int, "x-max-priority": int,
    "x-message-ttl": int, "x-queue-type": str, "x-stream-filter-size-bytes": int,
    "x-stream-max-segment-size-bytes": int,
}  # fmt: skip


def flag(headers: Headers, name: str) -> bool | None:
    """The boolean in a header; None if it is missing or has another value."""
    return _BOOLEANS.get(headers.get(name, ""))


def is_durable(headers: Headers) -> bool:
    """Whether the subscription is to outlive its connection."""
    return bool(flag(headers, "durable") or flag(headers, "persistent"))


def number(headers: Headers, name: str) -> int | None:
    """The number in a header; None if it is missing or not a number."""
    return _number(headers.get(name, ""))


def _number(given: str) -> int | None:
    given = given.strip()
    digits = given[1:] if given[:1] in ("-", "+") else given
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 20:
        return None
    return int(given)


def arguments(headers: Headers) -> dict[str, Any]:
    """The arguments of the queue's declaration. Raises StompFault."""
    found: dict[str, Any] = {}
    for name, kind in _ARGUMENTS.items():
        given = headers.get(name)
        if given is None:
            continue
        value = given.strip() if kind is str else _number(given)
        if value is None or (isinstance(value, int) and abs(value) > LONGLONG_MAX >> 1):
            raise invalid_header(f"{name} takes a whole number, not '{shown(given)}'")
        found[name] = value
    return found


# Defaults of queues for each kind of destination.
_DEFAULTS: Final[Mapping[Kind, Mapping[str, bool]]] = {
    Kind.QUEUE: {"durable": True},
    Kind.EXCHANGE: {"exclusive": True, "auto-delete": True},
    Kind.TOPIC: {"exclusive": False, "auto-delete": True},
}


def declared(destination: Destination, headers: Headers) -> tuple[bool, bool, bool]:
    """Whether the queue is durable, exclusive, and deleted with its last consumer.

    A queue that is not durable is both others, unless its headers or its kind say otherwise.
    """
    given = dict(_DEFAULTS[destination.kind])
    for name, header in (
        ("durable", "persistent"), ("durable", "durable"), ("exclusive", "exclusive"),
        ("auto-delete", "auto-delete"),
    ):  # fmt: skip
        value = flag(headers, header)
        if value is not None:
            given[name] = value
    durable = given.get("durable", False)
    return durable, given.get("exclusive", not durable), given.get("auto-delete", not durable)


def consumer_arguments(headers: Headers) -> dict[str, Any]:
    """The arguments of the consumer. Raises StompFault."""
    found: dict[str, Any] = {}
    offset = headers.get("x-stream-offset", "")
    if offset in ("first", "last", "next"):
        found["x-stream-offset"] = offset
    else:
        kind, equals, given = offset.partition("=")
        made: Callable[[int], int] | None = {"offset": int, "timestamp": Timestamp}.get(kind)
        if made is not None and equals:
            value = _number(given)
            if value is None or not 0 <= value <= LONGLONG_MAX >> 1:
                raise invalid_header(f"x-stream-offset takes no '{shown(offset)}'")
            found["x-stream-offset"] = made(value)
    if "x-stream-filter" in headers:
        found["x-stream-filter"] = headers["x-stream-filter"].split(",")
    unfiltered = flag(headers, "x-stream-match-unfiltered")
    if unfiltered is not None:
        found["x-stream-match-unfiltered"] = unfiltered
    return found


def properties_of(headers: Headers, reply_to: str | None) -> bytes:
    """The message's properties in AMQP's form. Raises StompFault."""
    found: dict[str, Any] = {}
    for header, name in _TEXTS.items():
        value = reply_to if header == "reply-to" else headers.get(header)
        if value is not None:
            found[name] = _short(header, value)
    for name, most in _NUMBERS.items():
        many = number(headers, name)
        if many is not None:
            if not 0 <= many <= most:
                raise invalid_header(f"{name} takes a number from 0 to {most}, not {many}")
            found[name] = many
    if flag(headers, "persistent"):
        found["delivery_mode"] = PERSISTENT
    others = {
        _short("the name of a header", name): value for name, value in headers.items()
        if name not in _OF_PROPERTIES and name not in _OF_FRAMES
    }  # fmt: skip
    return properties.write(Properties(headers=others or None, **found))


def _short(what: str, value: str) -> str:
    if len(value) * 4 > SHORT_BYTES_MAX and len(data(value)) > SHORT_BYTES_MAX:
        raise invalid_header(f"{what} takes at most {SHORT_BYTES_MAX} bytes: '{shown(value)}...'")
    return value


def headers_of(props: bytes) -> list[tuple[str, str]]:
    """The headers of a MESSAGE for its properties; none if they cannot be decoded."""
    try:
        found = properties.read(props)
    except Refusal:  # a record that no door has written
        return []
    headers: dict[str, str] = {}
    for header, name in _TEXTS.items():
        value = getattr(found, name)
        if value is not None:
            headers[header] = value
    for header in _NUMBERS:
        value = getattr(found, header)
        if value is not None:
            headers[header] = str(int(value))
    if found.delivery_mode is not None:
        mode = found.delivery_mode
        headers["persistent"] = "true" if mode == PERSISTENT else str(mode)
    reply = headers.get("reply-to")
    if reply is not None and not reply.startswith(PREFIXES):
        headers["reply-to"] = REPLY_PREFIX + reply
    for header, value in (found.headers or {}).items():
        said = _said(value)
        if said is not None and header not in headers and header not in _OF_DELIVERIES:
            headers[header] = said
    return list(headers.items())


def _said(value: Any) -> str | None:  # noqa: ANN401  what a table holds
    """The value as a header's text; None if it has no text form, such as a nested table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, int) else None


def check_names(destination: Destination) -> None:
    """Check that AMQP permits the destination's names. Raises StompFault."""
    for name in (destination.name, destination.key or b""):
        if len(name) > SHORT_BYTES_MAX:
            raise StompFault(
                "Invalid destination",
                f"a name of {len(name)} bytes: at most {SHORT_BYTES_MAX}",
            )
        if b"\r" in name or b"\n" in name:
            raise StompFault("Invalid destination", "a line end in a name")
    if not destination.name:
        raise StompFault("Invalid destination", "Destination cannot be blank")
