"""One description per message, for all its versions, and the codec that is made of it.

A message is a dataclass. The default of each field describes its encoding: its type, its first and
last version, whether it may be null, whether it is a tagged field (KIP-482), as in Kafka's own
message definitions. Handlers see only the dataclass, whichever version the client uses: a field
that a version lacks has its default when read, and is omitted when written.

``codec(Message, version, flexible)`` is built at its first use and kept.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Final

from logstore.errors import BrokenProtocol
from logstore.kafka import wire
from logstore.kafka.wire import Buffer, Read, Write

VERSION_MAX: Final = 32767
_WIRE: Final = "wire"

# (compact, nullable) -> how it is read and written
Primitive = Callable[[bool, bool], tuple[Read, Write]]


def _fixed(read: Read, write: Write) -> Primitive:
    return lambda compact, nullable: (read, write)


@dataclass(frozen=True, slots=True)
class Wire:
    """The encoding of a field."""

    primitive: Primitive | None  # None: a message, ``of``
    of: type | None
    repeated: bool
    since: int
    until: int
    nullable_since: int
    tag: int | None


def _field(
    primitive: Primitive | None,
    default: Any,  # noqa: ANN401
    *,
    of: type | None = None,
    repeated: bool = False,
    since: int = 0,
    until: int = VERSION_MAX,
    nullable: bool | int = False,
    tag: int | None = None,
) -> Any:  # noqa: ANN401  it stands where the field's value will be
    nullable_since = VERSION_MAX + 1 if nullable is False else 0 if nullable is True else nullable
    facts = Wire(primitive, of, repeated, since, until, nullable_since, tag)
    if of is not None and not repeated and default is not None:
        return dataclasses.field(default_factory=of, metadata={_WIRE: facts})
    return dataclasses.field(default=default, metadata={_WIRE: facts})


def _declaring(primitive: Primitive, zero: Any) -> Callable[..., Any]:  # noqa: ANN401
    def declare(default: Any = zero, **facts: Any) -> Any:  # noqa: ANN401
        return _field(primitive, default, **facts)

    _PRIMITIVES[declare] = primitive
    return declare


_PRIMITIVES: dict[Callable[..., Any], Primitive] = {}

boolean = _declaring(_fixed(*wire.number("?")), False)
int8 = _declaring(_fixed(*wire.number(">b")), 0)
int16 = _declaring(_fixed(wire.read_int16, wire.write_int16), 0)
uint16 = _declaring(_fixed(*wire.number(">H")), 0)
int32 = _declaring(_fixed(wire.read_int32, wire.write_int32), 0)
int64 = _declaring(_fixed(*wire.number(">q")), 0)
float64 = _declaring(_fixed(*wire.number(">d")), 0.0)
uuid = _declaring(_fixed(wire.read_uuid, wire.write_uuid), wire.NIL_UUID)
string = _declaring(wire.string, "")
blob = _declaring(wire.blob, b"")


def array(of: Any, default: Any = (), **facts: Any) -> Any:  # noqa: ANN401
    """Elements of a message class, or of one of the types above."""
    if isinstance(of, type):
        return _field(None, default, of=of, repeated=True, **facts)
    return _field(_PRIMITIVES[of], default, repeated=True, **facts)


def struct(of: type, default: Any = ..., **facts: Any) -> Any:  # noqa: ANN401
    """A message within a message."""
    return _field(None, default, of=of, **facts)


@dataclass(frozen=True, slots=True)
class Codec:
    """One message in one version."""

    read: Read
    write: Write


@cache
def codec(message: type, version: int, flexible: bool) -> Codec:
    """How this version of the message travels."""
    plain: list[tuple[str, Read, Write]] = []
    tagged: list[tuple[int, str, Read, Write, Any]] = []
    for field in dataclasses.fields(message):
        facts: Wire = field.metadata[_WIRE]
        if not facts.since <= version <= facts.until:
            continue
        read, write = _of(facts, version, flexible)
        if facts.tag is None:
            plain.append((field.name, read, write))
        elif flexible:
            make = field.default_factory
            default = field.default if make is dataclasses.MISSING else make()
            tagged.append((facts.tag, field.name, read, write, default))
    return Codec(
        _reader(message, plain, tagged, flexible),
        _writer(plain, sorted(tagged, key=lambda it: it[0]), flexible),
    )


def _of(facts: Wire, version: int, flexible: bool) -> tuple[Read, Write]:
    # A tagged field that is null is left out, so it has no null of its own.
    nullable = version >= facts.nullable_since and facts.tag is None
    if facts.primitive is not None:
        read, write = facts.primitive(flexible, nullable and not facts.repeated)
    else:
        assert facts.of is not None
        inner = codec(facts.of, version, flexible)
        read, write = inner.read, inner.write
        if nullable and not facts.repeated:
            read, write = _nullable(read, write)
    if facts.repeated:
        return wire.array(read, write, flexible, nullable)
    return read, write


def _nullable(read_it: Read, write_it: Write) -> tuple[Read, Write]:
    """A message that may be missing (KIP-893): a byte before it says whether it is there."""

    def read(data: Buffer, at: int) -> tuple[Any, int]:
        if at >= len(data):
            raise wire.cut_off()
        return (None, at + 1) if data[at] == 0xFF else read_it(data, at + 1)

    def write(out: bytearray, value: Any) -> None:  # noqa: ANN401
        if value is None:
            out.append(0xFF)
        else:
            out.append(1)
            write_it(out, value)

    return read, write


def _reader(
    message: type,
    plain: list[tuple[str, Read, Write]],
    tagged: list[tuple[int, str, Read, Write, Any]],
    flexible: bool,
) -> Read:
    fields = [(name, read) for name, read, _ in plain]
    by_tag = {tag: (name, read) for tag, name, read, _, _ in tagged}

    def read_tags(data: Buffer, at: int, values: dict[str, Any]) -> int:
        count, at = wire.read_uvarint(data, at)
        for _ in range(count):
            tag, at = wire.read_uvarint(data, at)
            size, at = wire.read_uvarint(data, at)
            end = at + size
            if end > len(data):
                raise wire.cut_off()
            if tag in by_tag:
                name, read_field = by_tag[tag]
                values[name], found_end = read_field(data[at:end], 0)
                if found_end != size:
                    raise BrokenProtocol(f"tagged field {tag} has bytes too many")
            at = end
        return at

    def read(data: Buffer, at: int) -> tuple[Any, int]:
        values: dict[str, Any] = {}
        for name, read_field in fields:
            values[name], at = read_field(data, at)
        if flexible:
            at = read_tags(data, at, values)
        return message(**values), at

    return read


def _writer(
    plain: list[tuple[str, Read, Write]],
    tagged: list[tuple[int, str, Read, Write, Any]],
    flexible: bool,
) -> Write:
    fields = [(attrgetter(name), write) for name, _, write in plain]
    tags = [(tag, attrgetter(name), write, default) for tag, name, _, write, default in tagged]

    def write_tags(out: bytearray, value: Any) -> None:  # noqa: ANN401
        given = [it for it in tags if (found := it[1](value)) != it[3] and (found or it[3] != ())]
        wire.write_uvarint(out, len(given))
        for tag, get, write_field, _ in given:
            body = bytearray()
            write_field(body, get(value))
            wire.write_uvarint(out, tag)
            wire.write_uvarint(out, len(body))
            out += body

    def write(out: bytearray, value: Any) -> None:  # noqa: ANN401
        for get, write_field in fields:
            write_field(out, get(value))
        if flexible:
            if tags:
                write_tags(out, value)
            else:
                out.append(0)

    return write
