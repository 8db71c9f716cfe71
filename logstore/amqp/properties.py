"""The header of a message's content (4.2.6.1): the size of its body, and its properties.

The properties pass through a queue as received, flags and values, and are decoded only if one is
needed.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, NamedTuple

from logstore.amqp import fields
from logstore.amqp.replies import FRAME_ERROR, UNEXPECTED_FRAME, Refusal
from logstore.amqp.wires import LONGLONG, OCTET, SHORTSTR, TABLE

BASIC: Final = 60  # the class that all contents are of

HEAD: Final = Struct(">HHQ")  # class, weight, size of the body
NONE: Final = b"\0\0"  # no properties

# Each with the bit that says it is there, in the order of their values.
_LAYOUT: Final = tuple(
    (name, 1 << (15 - at), wire)
    for at, (name, wire) in enumerate((
        ("content_type", SHORTSTR), ("content_encoding", SHORTSTR), ("headers", TABLE),
        ("delivery_mode", OCTET), ("priority", OCTET), ("correlation_id", SHORTSTR),
        ("reply_to", SHORTSTR), ("expiration", SHORTSTR), ("message_id", SHORTSTR),
        ("timestamp", LONGLONG), ("type", SHORTSTR), ("user_id", SHORTSTR),
        ("app_id", SHORTSTR), ("cluster_id", SHORTSTR),
    ))
)  # fmt: skip
_FLAGS: Final = {name: bit for name, bit, _ in _LAYOUT}
_MORE: Final = 1  # further flags follow: of no property that there is


class Properties(NamedTuple):
    """The properties. None: absent."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None  # seconds
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


def flag(name: str) -> int:
    """The bit that says that there is this property."""
    return _FLAGS[name]


def flags_of(data: bytes) -> tuple[int, int]:
    """Which there are; where their values begin."""
    flags, at = fields.read_short(data, 0)
    more = flags
    while more & _MORE:
        more, at = fields.read_short(data, at)
        if more & ~_MORE:
            raise fields.broken("a content header has flags of properties that there are not")
    return flags, at


def read(data: bytes) -> Properties:
    """Of flags and values. Raises Refusal."""
    flags, at = flags_of(data)
    found: dict[str, Any] = {}
    for name, bit, wire in _LAYOUT:
        if flags & bit:
            found[name], at = wire.read(data, at)
    return Properties(**found)


def read_around(data: bytes) -> tuple[Properties, int, int]:
    """All but the headers, which may be long, and where their table stands; 0, 0: there is none.

    What is in the table is not looked at. Raises Refusal.
    """
    flags, at = flags_of(data)
    found: dict[str, Any] = {}
    begin = end = 0
    for name, bit, wire in _LAYOUT:
        if not flags & bit:
            continue
        if wire is not TABLE:
            found[name], at = wire.read(data, at)
            continue
        size, begin = fields.read_long(data, at)
        begin, at = at, begin + size
        end = at
        if end > len(data):
            raise fields.broken("a table or array is longer than what holds it")
    return Properties(**found), begin, end


def value_of(data: bytes, name: bytes) -> tuple[int, bytes] | None:
    """The type and the bytes of one header, as ``fields.find``, or None.

    ``name`` has at most 255 bytes. Raises Refusal for what are no properties.
    """
    flags, at = flags_of(data)
    if not flags & _FLAGS["headers"]:
        return None
    try:
        if flags & _FLAGS["content_type"]:
            at += 1 + data[at]
        if flags & _FLAGS["content_encoding"]:
            at += 1 + data[at]
    except IndexError:
        raise fields.broken("a string ends too early") from None
    return fields.find(data, at, name)


def with_header(data: bytes, name: str, value: Any) -> bytes:  # noqa: ANN401  what a table holds
    """The properties with one header more, or another value of it."""
    _, begin, end = read_around(data)
    framed = fields.shortstr(name)
    if begin == end or data.find(framed, begin, end) >= 0:
        found = read(data)
        return write(found._replace(headers={**(found.headers or {}), name: value}))
    entry = fields.table({name: value})[4:]
    size = fields.long(end - begin - 4 + len(entry))
    return b"".join((data[:begin], size, data[begin + 4 : end], entry, data[end:]))


def write(properties: Properties) -> bytes:
    """Raises ValueError, TypeError for a value that can't travel."""
    flags, parts = 0, []
    for (_, bit, wire), value in zip(_LAYOUT, properties, strict=True):
        if value is not None:
            flags |= bit
            parts.append(wire.write(value))
    return fields.short(flags) + b"".join(parts)


def read_header(payload: bytes) -> tuple[int, bytes]:
    """Size of the body; the properties, as they are. Raises Refusal."""
    try:
        class_id, _, size = HEAD.unpack_from(payload)
    except StructError:
        raise Refusal(FRAME_ERROR, "a content header ends too early") from None
    if class_id != BASIC:
        raise Refusal(
            UNEXPECTED_FRAME,
            f"expected content header for class {BASIC}, got one for class {class_id} instead",
        )
    return size, payload[HEAD.size :]


def header(size: int, properties: bytes) -> bytes:
    """What a header frame holds."""
    return HEAD.pack(BASIC, 0, size) + properties
