"""Infrequent packets: their contents, parsed and written.

PUBLISH and its acknowledgements are read in ``reading.py`` and written in ``writing.py`` as well,
many at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from logstore.mqtt import fields, kinds, properties, reasons
from logstore.mqtt.fields import Cursor, data, is_text, text, varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.properties import NONE, WILL, Properties
from logstore.mqtt.reasons import Broken, malformed, not_allowed

NAMES_OF_LEVELS: Final = {3: b"MQIsdp", 4: b"MQTT", 5: b"MQTT"}
FILTERS_MAX: Final = 4096  # of one packet, at a microsecond each before anything comes of it


class Will(NamedTuple):
    """The message to publish if the client is lost."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = NONE


class Connect(NamedTuple):
    """The first packet of a client."""

    level: int
    clean_start: bool
    keep_alive_s: int  # 0: never
    client_id: str
    will: Will | None = None
    user: bytes | None = None
    password: bytes | None = None
    properties: Properties = NONE

    def __repr__(self) -> str:
        """Without what nobody is to see."""
        return f"Connect({self.client_id!r}, level {self.level})"


class Connack(NamedTuple):
    """The reply to a CONNECT."""

    session_present: bool
    reason: int  # of version 3.1.1: a return code
    properties: Properties = NONE


class Publish(NamedTuple):
    """One message."""

    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    pid: int = 0  # 0: none, of QoS 0
    properties: Properties = NONE


class Ack(NamedTuple):
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""

    kind: int
    pid: int
    reason: int = 0
    properties: Properties = NONE


class Options(NamedTuple):
    """The options of one filter in a SUBSCRIBE (3.8.3.1)."""

    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0  # 0: send retained; 1: only of a new subscription; 2: never


class Subscribe(NamedTuple):
    """The filters to subscribe to."""

    pid: int
    filters: Sequence[tuple[bytes, Options]]
    properties: Properties = NONE


class Unsubscribe(NamedTuple):
    """The filters to unsubscribe from."""

    pid: int
    filters: Sequence[bytes]
    properties: Properties = NONE


class Answers(NamedTuple):
    """SUBACK, UNSUBACK: one reason code for each filter (none in an UNSUBACK of 3.1.1)."""

    kind: int
    pid: int
    reasons: bytes
    properties: Properties = NONE


class Ping(NamedTuple):
    """PINGREQ, PINGRESP."""

    kind: int


class Disconnect(NamedTuple):
    """The last packet of either end."""

    reason: int = 0
    properties: Properties = NONE


class Auth(NamedTuple):
    """A step of an authentication."""

    reason: int = 0
    properties: Properties = NONE


Packet = (
    Connect | Connack | Publish | Ack | Subscribe | Unsubscribe | Answers | Ping | Disconnect | Auth
)


# CONNECT


class Level(NamedTuple):
    """The beginning of a CONNECT."""

    name: bytes
    level: int

    @property
    def is_known(self) -> bool:
        """Whether it is a version that is spoken here."""
        return self.name == b"MQTT" and self.level in (kinds.V311, V5)


def level_of(body: bytes) -> Level | None:
    """What the body of a CONNECT begins with; None: it is not all there yet.

    Of a name that no version has only as much as these have.
    """
    if len(body) < 2:
        return None
    size = int.from_bytes(body[:2])
    if size not in (4, 6):
        return Level(body[2:8], -1)
    return Level(body[2 : 2 + size], body[2 + size]) if len(body) > 2 + size else None


_USER, _PASSWORD, _WILL_RETAIN, _WILL, _CLEAN, _RESERVED = 0x80, 0x40, 0x20, 4, 2, 1


def _connect(cursor: Cursor, _: int) -> Connect:
    name, level = cursor.binary(), cursor.byte()
    if NAMES_OF_LEVELS.get(level) != name:
        raise Broken(
            reasons.UNSUPPORTED_VERSION, f"a CONNECT of the protocol {name[:8]!r}, level {level}"
        )
    flags = cursor.byte()
    _check_flags(flags, level)
    keep_alive_s = cursor.two()
    found = properties.read(cursor, kinds.CONNECT) if level == V5 else NONE
    client_id = cursor.text()
    will = _will(cursor, flags, level) if flags & _WILL else None
    user = cursor.utf8() if flags & _USER else None
    password = cursor.binary() if flags & _PASSWORD else None
    cursor.done()
    return Connect(
        level, bool(flags & _CLEAN), keep_alive_s, client_id, will, user, password, found
    )


def _check_flags(flags: int, level: int) -> None:
    if flags & _RESERVED:  # [MQTT-3.1.2-3]
        raise malformed("a CONNECT has its reserved flag set")
    if flags >> 3 & 3 == 3:  # [MQTT-3.1.2-12]
        raise malformed("a CONNECT has a will of QoS 3")
    if not flags & _WILL and flags & (_WILL_RETAIN | 0x18):  # [MQTT-3.1.2-11, -13]
        raise malformed("a CONNECT without a will has flags of a will")
    if level < V5 and flags & _PASSWORD and not flags & _USER:  # 3.1.1: [MQTT-3.1.2-22]
        raise malformed("a CONNECT has a password without a user name")


def _will(cursor: Cursor, flags: int, level: int) -> Will:
    found = properties.read(cursor, WILL) if level == V5 else NONE
    topic, payload = cursor.utf8(), cursor.binary()
    return Will(topic, payload, flags >> 3 & 3, bool(flags & _WILL_RETAIN), found)


def _write_connect(it: Connect, _: int) -> tuple[int, bytes]:
    will = it.will
    flags = it.clean_start * _CLEAN
    flags |= (it.user is not None) * _USER | (it.password is not None) * _PASSWORD
    parts = [text(it.client_id)]
    if will is not None:
        flags |= _WILL | will.qos << 3 | will.retain * _WILL_RETAIN
        if it.level == V5:
            parts.append(properties.write(will.properties))
        parts += (data(will.topic), data(will.payload))
    parts += [data(value) for value in (it.user, it.password) if value is not None]
    head = data(NAMES_OF_LEVELS[it.level]) + bytes((it.level, flags)) + it.keep_alive_s.to_bytes(2)
    if it.level == V5:
        head += properties.write(it.properties)
    return kinds.CONNECT, head + b"".join(parts)


# What answers it


def _connack(cursor: Cursor, version: int) -> Connack:
    flags, reason = cursor.byte(), cursor.byte()
    if flags > 1:
        raise malformed("a CONNACK has a reserved flag set")
    found = properties.read(cursor, kinds.CONNACK) if version == V5 else NONE
    cursor.done()
    return Connack(bool(flags), _reason(reason, kinds.CONNACK, version), found)


def _write_connack(it: Connack, version: int) -> tuple[int, bytes]:
    body = bytes((it.session_present, it.reason))
    return kinds.CONNACK, body + (properties.write(it.properties) if version == V5 else b"")


# PUBLISH, one by one


def _write_publish(it: Publish, version: int) -> tuple[int, bytes]:
    body = data(it.topic) + (it.pid.to_bytes(2) if it.qos else b"")
    return kinds.PUBLISH, b"".join(
        (body, properties.write(it.properties) if version == V5 else b"", it.payload)
    )


def _publish(cursor: Cursor, version: int, flags: int) -> Publish:
    qos, dup = flags >> 1 & 3, bool(flags & kinds.DUP)
    if qos == 3 or (dup and not qos):
        raise malformed(f"a PUBLISH has the flags {flags:#x}")
    topic = cursor.utf8()
    pid = cursor.pid() if qos else 0
    found = properties.read(cursor, kinds.PUBLISH) if version == V5 else NONE
    payload = cursor.data[cursor.at : cursor.end]
    return Publish(topic, payload, qos, bool(flags & kinds.RETAIN), dup, pid, found)


def _ack(kind: int) -> Callable[[Cursor, int], Ack]:
    def read(cursor: Cursor, version: int) -> Ack:
        pid = cursor.pid()
        if version != V5 or not cursor.left:
            cursor.done()
            return Ack(kind, pid)
        reason = _reason(cursor.byte(), kind, version)
        found = properties.read(cursor, kind) if cursor.left else NONE
        cursor.done()
        return Ack(kind, pid, reason, found)

    return read


def _write_ack(it: Ack, version: int) -> tuple[int, bytes]:
    return it.kind, it.pid.to_bytes(2) + _last(it.reason, it.properties, version)


def _last(reason: int, found: Properties, version: int) -> bytes:
    """A reason and properties at the end of a packet: as much as there is to say (3.4.2.1)."""
    if version != V5 or (not reason and found == NONE):
        return b""
    said = bytes((reason,))
    return said if found == NONE else said + properties.write(found)


# SUBSCRIBE, UNSUBSCRIBE


def _subscribe(cursor: Cursor, version: int) -> Subscribe:
    pid = cursor.pid()
    found = properties.read(cursor, kinds.SUBSCRIBE) if version == V5 else NONE
    known: dict[int, Options] = {}
    filters: list[tuple[bytes, Options]] = []
    for name, byte in _filters(cursor, 1):
        options = known.get(byte)
        if options is None:
            options = known[byte] = _options(byte, version)
        filters.append((name, options))
    if not filters:  # [MQTT-3.8.3-2]
        raise not_allowed("a SUBSCRIBE has no topic filter")
    return Subscribe(pid, filters, found)


def _filters(cursor: Cursor, behind: int) -> Iterator[tuple[bytes, int]]:
    """All that are left, each with the byte behind it if there is one. Raises Broken."""
    data, at, end, count = cursor.data, cursor.at, cursor.end, 0
    while at < end:
        count += 1
        if count > FILTERS_MAX:
            raise Broken(
                reasons.QUOTA, f"a {cursor.what} packet has over {FILTERS_MAX} topic filters"
            )
        begin = at + 2
        stop = begin + int.from_bytes(data[at:begin])
        at = stop + behind
        if at > end or stop < begin:
            raise malformed(f"a {cursor.what} packet ends within a field")
        name = data[begin:stop]
        if not is_text(name):
            raise malformed(f"a topic filter in a {cursor.what} packet is not UTF-8, or has a NUL")
        yield name, data[stop] if behind else 0
    cursor.at = at


def _options(byte: int, version: int) -> Options:
    qos = byte & 3
    if byte & (0xC0 if version == V5 else 0xFC):  # [MQTT-3.8.3-5]; 3.1.1: [MQTT-3-8.3-4]
        raise malformed(f"the options of a SUBSCRIBE are {byte:#04x}")
    if qos == 3:
        raise not_allowed("a SUBSCRIBE asks for QoS 3")
    handling = byte >> 4 & 3
    if handling == 3:
        raise not_allowed("a SUBSCRIBE has the Retain Handling 3")
    return Options(qos, bool(byte & 4), bool(byte & 8), handling)


def _unsubscribe(cursor: Cursor, version: int) -> Unsubscribe:
    pid = cursor.pid()
    found = properties.read(cursor, kinds.UNSUBSCRIBE) if version == V5 else NONE
    filters = [name for name, _ in _filters(cursor, 0)]
    if not filters:  # [MQTT-3.10.3-2]
        raise not_allowed("an UNSUBSCRIBE has no topic filter")
    return Unsubscribe(pid, filters, found)


def _write_subscribe(it: Subscribe, version: int) -> tuple[int, bytes]:
    parts = [it.pid.to_bytes(2), properties.write(it.properties) if version == V5 else b""]
    for named, options in it.filters:
        byte = options.qos | options.no_local << 2 | options.retain_as_published << 3
        parts += (data(named), bytes((byte | options.retain_handling << 4,)))
    return kinds.SUBSCRIBE, b"".join(parts)


def _write_unsubscribe(it: Unsubscribe, version: int) -> tuple[int, bytes]:
    head = it.pid.to_bytes(2) + (properties.write(it.properties) if version == V5 else b"")
    return kinds.UNSUBSCRIBE, head + b"".join(map(data, it.filters))


def _answers(kind: int) -> Callable[[Cursor, int], Answers]:
    def read(cursor: Cursor, version: int) -> Answers:
        pid = cursor.pid()
        found = properties.read(cursor, kind) if version == V5 else NONE
        said = cursor.data[cursor.at : cursor.end]
        if version == V5 and not reasons.OF[kind].issuperset(said):
            raise not_allowed(f"a {cursor.what} says a reason that it may not")
        return Answers(kind, pid, said, found)

    return read


def _write_answers(it: Answers, version: int) -> tuple[int, bytes]:
    found = properties.write(it.properties) if version == V5 else b""
    return it.kind, b"".join((it.pid.to_bytes(2), found, it.reasons))


# The rest


def _ping(kind: int) -> Callable[[Cursor, int], Ping]:
    def read(cursor: Cursor, _: int) -> Ping:
        cursor.done()
        return Ping(kind)

    return read


def _disconnect(cursor: Cursor, version: int) -> Disconnect:
    if version != V5:
        cursor.done()
    if not cursor.left:
        return Disconnect()
    reason = _reason(cursor.byte(), kinds.DISCONNECT, version)
    found = properties.read(cursor, kinds.DISCONNECT) if cursor.left else NONE
    cursor.done()
    return Disconnect(reason, found)


def _auth(cursor: Cursor, version: int) -> Auth:
    if version != V5:
        raise malformed("a packet of the reserved kind 15")
    if not cursor.left:
        return Auth()
    reason = _reason(cursor.byte(), kinds.AUTH, version)
    found = properties.read(cursor, kinds.AUTH) if cursor.left else NONE
    cursor.done()
    return Auth(reason, found)


def _write_disconnect(it: Disconnect, version: int) -> tuple[int, bytes]:
    return kinds.DISCONNECT, _last(it.reason, it.properties, version)


def _write_auth(it: Auth, version: int) -> tuple[int, bytes]:
    return kinds.AUTH, _last(it.reason, it.properties, version)


def _write_ping(it: Ping, _: int) -> tuple[int, bytes]:
    return it.kind, b""


def _reason(code: int, kind: int, version: int) -> int:
    if version == V5 and code not in reasons.OF[kind]:
        raise not_allowed(f"a {kinds.NAMES[kind]} says the reason {code:#04x}")
    return code


_READ: Final[Mapping[int, Callable[[Cursor, int], Packet]]] = {
    kinds.CONNECT: _connect,
    kinds.CONNACK: _connack,
    kinds.PUBACK: _ack(kinds.PUBACK),
    kinds.PUBREC: _ack(kinds.PUBREC),
    kinds.PUBREL: _ack(kinds.PUBREL),
    kinds.PUBCOMP: _ack(kinds.PUBCOMP),
    kinds.SUBSCRIBE: _subscribe,
    kinds.SUBACK: _answers(kinds.SUBACK),
    kinds.UNSUBSCRIBE: _unsubscribe,
    kinds.UNSUBACK: _answers(kinds.UNSUBACK),
    kinds.PINGREQ: _ping(kinds.PINGREQ),
    kinds.PINGRESP: _ping(kinds.PINGRESP),
    kinds.DISCONNECT: _disconnect,
    kinds.AUTH: _auth,
}
_WRITE: Final[Mapping[type, Callable[[Any, int], tuple[int, bytes]]]] = {
    Connect: _write_connect,
    Connack: _write_connack,
    Publish: _write_publish,
    Ack: _write_ack,
    Subscribe: _write_subscribe,
    Unsubscribe: _write_unsubscribe,
    Answers: _write_answers,
    Ping: _write_ping,
    Disconnect: _write_disconnect,
    Auth: _write_auth,
}


def read(first: int, body: bytes, version: int) -> Packet:
    """The packet with this first byte and this body. Raises Broken."""
    kind = first >> 4
    if kind == kinds.PUBLISH:
        return _publish(Cursor(body, "PUBLISH"), version, first & 15)
    if kinds.FIRST.get(kind) != first:
        raise bad_first(first)
    return _READ[kind](Cursor(body, kinds.NAMES[kind]), version)


def bad_first(first: int) -> Broken:
    """Of a first byte that no packet has (2.1.3)."""
    return malformed(f"no packet begins with {first:#04x}")


def write(packet: Packet, version: int) -> bytes:
    """Raises ValueError, OverflowError for what cannot travel."""
    kind, body = _WRITE[type(packet)](packet, version)
    first = kinds.FIRST[kind]
    if isinstance(packet, Publish):
        first |= packet.qos << 1 | packet.retain | packet.dup << 3
    return bytes((first,)) + varint(len(body)) + body


def size_of(packet: bytes) -> int:
    """Bytes of a whole packet by its beginning; 0: that cannot be told yet. Raises Broken."""
    found = fields.read_varint(packet, 1, min(len(packet), 5))
    return 0 if found is None else sum(found)
