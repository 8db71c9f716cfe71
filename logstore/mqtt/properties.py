"""The properties of MQTT 5 (2.2.2): one row each; read from a packet, written to one."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from logstore.mqtt import fields
from logstore.mqtt.fields import Cursor
from logstore.mqtt.kinds import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NAMES,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from logstore.mqtt.reasons import malformed, not_allowed

WILL: Final = 0  # where properties of a will stand, in CONNECT: no packet has this number


class Wire(Enum):
    """One wire type."""

    BYTE = 1
    TWO = 2
    FOUR = 3
    VARINT = 4
    TEXT = 5
    BINARY = 6
    PAIR = 7  # two texts


class Properties(NamedTuple):
    """The properties of a packet. None, or an empty tuple: absent."""

    payload_format: int | None = None  # 1: the payload is UTF-8
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keep_alive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_s: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None
    wildcards_available: int | None = None
    subscription_ids_available: int | None = None
    shared_available: int | None = None


NONE: Final = Properties()


class Row(NamedTuple):
    """The row of one property."""

    id: int
    name: str  # of the field of Properties
    title: str  # the standard's name
    wire: Wire
    packets: frozenset[int]
    many: frozenset[int] = frozenset()  # packets that may have it more than once
    least: int = 0  # of a number
    most: int = 0xFFFFFFFF


_SAID: Final = frozenset({
    CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH,
})  # fmt: skip
_ALL: Final = _SAID | {CONNECT, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE}
_MESSAGE: Final = frozenset({PUBLISH, WILL})
_BOTH: Final = frozenset({CONNECT, CONNACK})
_CONNACK: Final = frozenset({CONNACK})
_AUTH: Final = _BOTH | {AUTH}

ROWS: Final = (
    Row(0x01, "payload_format", "Payload Format Indicator", Wire.BYTE, _MESSAGE, most=1),
    Row(0x02, "message_expiry_s", "Message Expiry Interval", Wire.FOUR, _MESSAGE),
    Row(0x03, "content_type", "Content Type", Wire.TEXT, _MESSAGE),
    Row(0x08, "response_topic", "Response Topic", Wire.TEXT, _MESSAGE),
    Row(0x09, "correlation_data", "Correlation Data", Wire.BINARY, _MESSAGE),
    Row(0x0B, "subscription_ids", "Subscription Identifier", Wire.VARINT,
        frozenset({PUBLISH, SUBSCRIBE}), frozenset({PUBLISH}), least=1),
    Row(0x11, "session_expiry_s", "Session Expiry Interval", Wire.FOUR, _BOTH | {DISCONNECT}),
    Row(0x12, "assigned_client_id", "Assigned Client Identifier", Wire.TEXT, _CONNACK),
    Row(0x13, "server_keep_alive_s", "Server Keep Alive", Wire.TWO, _CONNACK),
    Row(0x15, "authentication_method", "Authentication Method", Wire.TEXT, _AUTH),
    Row(0x16, "authentication_data", "Authentication Data", Wire.BINARY, _AUTH),
    Row(0x17, "request_problem_information", "Request Problem Information", Wire.BYTE,
        frozenset({CONNECT}), most=1),
    Row(0x18, "will_delay_s", "Will Delay Interval", Wire.FOUR, frozenset({WILL})),
    Row(0x19, "request_response_information", "Request Response Information", Wire.BYTE,
        frozenset({CONNECT}), most=1),
    Row(0x1A, "response_information", "Response Information", Wire.TEXT, _CONNACK),
    Row(0x1C, "server_reference", "Server Reference", Wire.TEXT, _CONNACK | {DISCONNECT}),
    Row(0x1F, "reason_string", "Reason String", Wire.TEXT, _SAID),
    Row(0x21, "receive_maximum", "Receive Maximum", Wire.TWO, _BOTH, least=1),
    Row(0x22, "topic_alias_maximum", "Topic Alias Maximum", Wire.TWO, _BOTH),
    Row(0x23, "topic_alias", "Topic Alias", Wire.TWO, frozenset({PUBLISH}), least=1),
    Row(0x24, "maximum_qos", "Maximum QoS", Wire.BYTE, _CONNACK, most=1),
    Row(0x25, "retain_available", "Retain Available", Wire.BYTE, _CONNACK, most=1),
    Row(0x26, "user_properties", "User Property", Wire.PAIR, _ALL, _ALL),
    Row(0x27, "maximum_packet_size", "Maximum Packet Size", Wire.FOUR, _BOTH, least=1),
    Row(0x28, "wildcards_available", "Wildcard Subscription Available", Wire.BYTE, _CONNACK,
        most=1),
    Row(0x29, "subscription_ids_available", "Subscription Identifiers Available", Wire.BYTE,
        _CONNACK, most=1),
    Row(0x2A, "shared_available", "Shared Subscription Available", Wire.BYTE, _CONNACK, most=1),
)  # fmt: skip

_BY_ID: Final[Mapping[int, Row]] = {row.id: row for row in ROWS}
_TUPLES: Final = frozenset({"subscription_ids", "user_properties"})

# A packet's properties come to some hundred bytes. Longer ones are read, but their number is
# bounded: a million user properties would be a million pairs of texts.
COUNT_MAX: Final = 1024

_READ: Final[Mapping[Wire, Callable[[Cursor], Any]]] = {
    Wire.BYTE: Cursor.byte, Wire.TWO: Cursor.two, Wire.FOUR: Cursor.four,
    Wire.VARINT: Cursor.varint, Wire.TEXT: Cursor.text, Wire.BINARY: Cursor.binary,
    Wire.PAIR: lambda cursor: (cursor.text(), cursor.text()),
}  # fmt: skip
_WRITE: Final[Mapping[Wire, Callable[[Any], bytes]]] = {
    Wire.BYTE: lambda it: it.to_bytes(1), Wire.TWO: lambda it: it.to_bytes(2),
    Wire.FOUR: lambda it: it.to_bytes(4), Wire.VARINT: fields.varint, Wire.TEXT: fields.text,
    Wire.BINARY: fields.data, Wire.PAIR: lambda it: fields.text(it[0]) + fields.text(it[1]),
}  # fmt: skip


def read(cursor: Cursor, packet: int) -> Properties:
    """Their length, and all of them; the cursor stands behind. Raises Broken."""
    size = cursor.varint()
    if not size:
        return NONE
    end = cursor.at + size
    if end > cursor.end:
        raise malformed(f"the properties of a {cursor.what} packet are longer than it")
    whole, cursor.end = cursor.end, end
    found = _read_all(cursor, packet)
    cursor.end = whole
    return found


def _read_all(cursor: Cursor, packet: int) -> Properties:
    found: dict[str, Any] = {}
    count = 0
    while cursor.at < cursor.end:
        count += 1
        if count > COUNT_MAX:
            raise not_allowed(f"a {cursor.what} packet has over {COUNT_MAX} properties")
        number = cursor.varint()
        row = _BY_ID.get(number)
        if row is None or packet not in row.packets:
            raise malformed(f"a {cursor.what} packet has the property {number:#04x}")
        value = _READ[row.wire](cursor)
        if row.name in found and packet not in row.many:
            raise not_allowed(f"a {cursor.what} packet has more than one {row.title}")
        if type(value) is int and not row.least <= value <= row.most:
            raise not_allowed(f"a {cursor.what} packet has the {row.title} {value}")
        if row.name in _TUPLES:
            found.setdefault(row.name, []).append(value)
        else:
            found[row.name] = value
    for name in _TUPLES & found.keys():
        found[name] = tuple(found[name])
    if "authentication_data" in found and "authentication_method" not in found:
        raise not_allowed(f"a {cursor.what} packet has Authentication Data without a method")
    return Properties(**found)


def of_publish(data: bytes) -> Properties:
    """Those of a PUBLISH, without their length: what ``reading`` gives as they came. Raises
    Broken.
    """
    return _read_all(Cursor(data, NAMES[PUBLISH]), PUBLISH)


def write(properties: Properties) -> bytes:
    """With their length. Raises ValueError for what cannot travel."""
    if properties is NONE:
        return b"\0"
    body = bare(properties)
    return fields.varint(len(body)) + body


def bare(properties: Properties) -> bytes:
    """Without their length, in the order of their numbers. Raises ValueError, OverflowError."""
    parts: list[bytes] = []
    for row in ROWS:
        value = getattr(properties, row.name)
        if value is None or value == ():
            continue
        encode = _WRITE[row.wire]
        for it in value if row.name in _TUPLES else (value,):
            parts += (bytes((row.id,)), encode(it))
    return b"".join(parts)
