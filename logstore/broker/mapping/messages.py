"""Records as messages: how a topic's record reaches an exchange or a stream's consumer.

    routing key  the key; empty where that is null or longer than 255 bytes
    body         the value; empty where that is null, with the header ``kafka.tombstone``
    properties   amqp.<property>, where its text is one; else a header as any other. Of a record
                 that was no message also timestamp, and the header ``timestamp_in_ms``; and
                 delivery_mode 2
    headers      text if it is UTF-8, else bytes; null is void; several of one name are an array;
                 where ``amqp.types`` says more, that
                 kafka.key: the key, where it is not the routing key

What does not fit is omitted: names of more than 255 bytes; the longest headers if all together
exceed HEADERS_BYTES_MAX; then kafka.key if they would exceed it with that.
"""

import json
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.broker.mapping import names, values
from logstore.records.record import Headers

REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 1024

SHORT_BYTES_MAX: Final = 255  # AMQP's short strings: names in tables, routing keys, properties
# A content header is one frame, of 128 KiB unless a client asks for less. The other properties, and
# what deaths and streams add, take the rest.
HEADERS_BYTES_MAX: Final = 120_000
EXPIRATION_MAX_MS: Final = 315_360_000_000  # ten years, as RabbitMQ's (``limits.TTL_MAX_MS``)
PERSISTENT: Final = 2

_NUMBERS: Final = {"delivery_mode": 0xFF, "priority": 0xFF, "timestamp": (1 << 64) - 1}
_TIMESTAMP_ENTRY: Final = fields.table({names.TIMESTAMP_MS: fields.Long(0)})[4:-8]
_BEFORE: Final = ("content_type", "content_encoding")
_AFTER: Final = ("delivery_mode", "priority", "correlation_id", "reply_to", "expiration")
_REST: Final = ("timestamp", "type", "user_id", "app_id", "cluster_id")
_KEY_NAME: Final = fields.shortstr(names.KEY)
_LONGLONG: Final = Struct(">Q").pack
_OCTETS: Final = [bytes((it,)) for it in range(256)]
_TOMBSTONE_ENTRY: Final = fields.table({names.TOMBSTONE: True})[4:]


class Content(NamedTuple):
    """A record as a message."""

    exchange: bytes  # the exchange to which the message was published
    key: bytes
    properties: bytes
    body: bytes


class Shape(NamedTuple):
    """The properties made from a record's headers, without the parts that vary by record."""

    exchange: bytes
    # What matters to queues: priority, expiration (ms), and the keys of CC and BCC.
    read: tuple[int, int | None, tuple[bytes, ...]]
    whole: bytes | None  # as they are, if there is nothing to be put in
    flags: int  # without the table's
    before: bytes  # the values before the table
    table: bytes  # its entries
    after: bytes  # the values between table and message id
    message_id: bytes  # as a short string; empty: there is none
    marked: bool  # the record's time goes into its headers
    timed: bool  # and into the property
    rest: bytes  # the values behind, but for the timestamp
    head: bytes  # of one that is marked, timed and given a message id: all before the first time


class Messaging:
    """Converts record headers to properties, and remembers recent results."""

    def __init__(self) -> None:
        self._known: dict[tuple[Headers, bool], Shape] = {}

    def content(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        *,
        routing_key: bytes | None = None,
        message_id: bytes = b"",
    ) -> Content:
        """Return a record as a message. Raises nothing.

        ``routing_key``: used instead of the record's key. ``message_id``: for a record without one.
        Both have at most 255 bytes.
        """
        if routing_key is None:
            routing_key = key if key is not None and len(key) <= SHORT_BYTES_MAX else b""
        shape, data = self.shaped(key, value, headers, timestamp_ms, routing_key, message_id)
        return Content(shape.exchange, routing_key, data, value or b"")

    def shaped(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        routing_key: bytes,
        message_id: bytes,
    ) -> tuple[Shape, bytes]:
        """Return the message's properties, and their shape."""
        if key == (routing_key or None) and value is not None:
            shape = self._known.get((headers, timestamp_ms >= 0))
            if shape is None:
                shape = self.shape(headers, timed=timestamp_ms >= 0)
            if shape.head and message_id:  # as most: of a client's own record, by a route
                seconds = _LONGLONG(timestamp_ms // 1000)
                size = _OCTETS[len(message_id)]
                return shape, b"".join(
                    (shape.head, _LONGLONG(timestamp_ms), shape.after, size, message_id, seconds,
                     shape.rest)
                )  # fmt: skip
            entries: Sequence[bytes] = ()
        else:
            entries = []
            is_other = key != (routing_key or None)
            if is_other:
                headers = _without(names.KEY, headers)
            if value is None:
                entries.append(_TOMBSTONE_ENTRY)
                headers = _without(names.TOMBSTONE, headers)
            shape = self.shape(headers, timed=timestamp_ms >= 0)
            if is_other and len(shape.table) + len(key or b"") <= HEADERS_BYTES_MAX:
                entries.append(_key_entry(key))
        data = shape.whole
        if data is None or entries or (message_id and not shape.message_id):
            data = _joined(shape, entries, timestamp_ms, message_id)
        return shape, data

    def shape(self, headers: Headers, *, timed: bool) -> Shape:
        """Return the shape of a record with or without a timestamp."""
        known = self._known.get((headers, timed))
        if known is not None:
            return known
        shape = _shape(headers, timed)
        if sum(len(name) + len(value or b"") for name, value in headers) <= REMEMBERED_BYTES_MAX:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[(headers, timed)] = shape
        return shape


def _without(name: str, headers: Headers) -> Headers:
    """Remove headers of this name, which were about an earlier record."""
    if any(it[0] == name for it in headers):
        return tuple(it for it in headers if it[0] != name)
    return headers


def _key_entry(key: bytes | None) -> bytes:
    if key is None:
        return _KEY_NAME + b"V"
    return b"".join((_KEY_NAME, b"S" if values.is_utf8(key) else b"x", fields.longstr(key)))


def _joined(shape: Shape, entries: Sequence[bytes], timestamp_ms: int, message_id: bytes) -> bytes:
    """Return the properties with the values of this record."""
    flags = shape.flags
    table = [shape.table, *entries]
    if shape.marked:
        table += (_TIMESTAMP_ENTRY, fields.longlong(timestamp_ms))
    parts = [shape.before]
    if any(table):
        flags |= properties.flag("headers")
        parts += (fields.long(sum(map(len, table))), *table)
    parts.append(shape.after)
    if shape.message_id:
        parts.append(shape.message_id)
    elif message_id:
        flags |= properties.flag("message_id")
        parts.append(bytes((len(message_id),)) + message_id)
    if shape.timed:
        parts.append(fields.longlong(timestamp_ms // 1000))
    parts.append(shape.rest)
    return fields.short(flags) + b"".join(parts)


def _shape(headers: Headers, timed: bool) -> Shape:
    given: dict[str, list[bytes | None]] = {}
    for name, data in headers:
        given.setdefault(name, []).append(data)
    came = _exchange(given)
    types = _types_of(given)
    found = _properties(given)
    own = _own(given, types)
    timed = timed and came is None
    if came is None:
        found.setdefault("delivery_mode", PERSISTENT)
    marked = timed and names.TIMESTAMP_MS not in own
    timed = timed and "timestamp" not in found
    every = Properties(**found)
    flags, _ = properties.flags_of(properties.write(every))
    if timed:
        flags |= properties.flag("timestamp")
    copies = tuple(
        fields.data(it) for name in ("CC", "BCC") for it in own.get(name, ()) if type(it) is str
    )
    expiration_ms = None if every.expiration is None else int(every.expiration)
    shape = Shape(
        came or b"", (every.priority or 0, expiration_ms, copies), None, flags,
        _written(every, _BEFORE), _entries(own), _written(every, _AFTER),
        b"" if every.message_id is None else fields.shortstr(every.message_id),
        marked, timed, _written(every, _REST), b"",
    )  # fmt: skip
    if not (marked or timed):
        return shape._replace(whole=_joined(shape, (), 0, b""))
    return shape._replace(head=_head(shape)) if marked and timed and not shape.message_id else shape


def _head(shape: Shape) -> bytes:
    """Return all bytes before the timestamp, where a message id can follow."""
    flags = shape.flags | properties.flag("headers") | properties.flag("message_id")
    size = len(shape.table) + len(_TIMESTAMP_ENTRY) + 8
    return b"".join(
        (fields.short(flags), shape.before, fields.long(size), shape.table, _TIMESTAMP_ENTRY)
    )


def _written(every: Properties, some: Sequence[str]) -> bytes:
    """Encode the values of these properties."""
    chosen = Properties(**{name: getattr(every, name) for name in some})
    return properties.write(chosen)[2:]


def _exchange(given: dict[str, list[bytes | None]]) -> bytes | None:
    data = given.get(names.EXCHANGE, [None])[-1]
    if data is None or len(data) > SHORT_BYTES_MAX:
        return None
    del given[names.EXCHANGE]
    return data


def _types_of(given: dict[str, list[bytes | None]]) -> Mapping[str, str]:
    """Parse ``amqp.types``; if it is illegal it counts as an ordinary header."""
    data = given.get(names.TYPES, [None])[-1]
    if data is None:
        return {}
    try:
        types = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if type(types) is not dict or not all(type(it) is str for it in types.values()):
        return {}
    del given[names.TYPES]
    return types


def _properties(given: dict[str, list[bytes | None]]) -> dict[str, Any]:
    """Remove and return the headers that are legal properties."""
    found: dict[str, Any] = {}
    for header in [it for it in given if it in names.PROPERTIES]:
        name = names.PROPERTIES[header]
        value = _property(name, given[header][-1])
        if value is not None:
            found[name] = value
            del given[header]
    return found


def _property(name: str, data: bytes | None) -> str | int | None:
    if data is None or len(data) > SHORT_BYTES_MAX:
        return None
    most = _NUMBERS.get(name, EXPIRATION_MAX_MS if name == "expiration" else None)
    if most is None:
        return fields.text(data)
    # Twenty digits are 64 bits. Python would read longer ones, and a few million as well.
    if not data.isdigit() or len(data) > values.DIGITS_MAX or int(data) > most:
        return None
    return fields.text(data) if name == "expiration" else int(data)


def _own(given: dict[str, list[bytes | None]], types: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers that are not properties."""
    own: dict[str, Any] = {}
    for header, those in given.items():
        if names.hidden(header) or len(fields.data(header)) > SHORT_BYTES_MAX:
            continue
        value = _value(those, types.get(header))
        name = names.of_message(header)
        if name in names.COPIES and type(value) is not list:
            value = [value]
        own[name] = value
    return own


def _value(those: Sequence[bytes | None], types: str | None) -> Any:  # noqa: ANN401
    if len(those) > 1:
        return [values.plain(it) for it in those]
    if types is not None:
        try:
            return values.read(those[0], types)
        except values.NoValue:
            pass  # the sender has changed only one of them
    return values.plain(those[0])


def _entries(own: Mapping[str, Any]) -> bytes:
    """Return the headers as table entries. If they exceed a frame, the longest are left out."""
    entries = [fields.table({name: value})[4:] for name, value in own.items()]
    size = sum(map(len, entries))
    for at in sorted(range(len(entries)), key=lambda it: -len(entries[it])):
        if size <= HEADERS_BYTES_MAX:
            break
        size -= len(entries[at])
        entries[at] = b""
    return b"".join(entries)
