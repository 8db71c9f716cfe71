"""Fields of AMQP 0-9-1, and its tables (4.2.5, with the types that RabbitMQ's errata give).

Of a table's values each wire type has one type here, so that nothing is lost between reading and
writing but the width of an integer::

    t boolean   bool     b B s u i I l L integers   int        f d   float
    S string    str      x bytes                    bytes      D     Decimal
    A array     list     F table                    dict       T     Timestamp
    V void      None

Strings are UTF-8 as a rule; what is not is kept by ``surrogateescape``. An integer is written as
``I`` where it fits, else as ``l``; ``Long`` always as ``l``.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, cast

from logstore.amqp.replies import SYNTAX_ERROR, Refusal

NESTED_MAX: Final = 128  # tables and arrays within each other: more than anybody means

Value = Any  # one of the types above
Table = Mapping[str, Value]

_OCTET, _SHORT, _LONG, _LONGLONG = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q")
_SIGNED_LONG, _SIGNED_LONGLONG, _DOUBLE = Struct(">i"), Struct(">q"), Struct(">d")
_DECIMAL = Struct(">BI")
_INT32, _INT64 = range(-(1 << 31), 1 << 31), range(-(1 << 63), 1 << 63)

# Of each type that has a fixed size: how it is read.
_NUMBERS: Final = {
    ord("b"): Struct(">b"), ord("B"): _OCTET, ord("s"): Struct(">h"), ord("u"): _SHORT,
    ord("I"): _SIGNED_LONG, ord("i"): _LONG, ord("l"): _SIGNED_LONGLONG, ord("L"): _LONGLONG,
    ord("f"): Struct(">f"), ord("d"): _DOUBLE,
}  # fmt: skip


class Timestamp(int):
    """Seconds since 1970."""

    __slots__ = ()


class Long(int):
    """An integer that travels in 64 bits whatever it is."""

    __slots__ = ()


def text(data: bytes) -> str:
    """What a string says; lossless."""
    return data.decode(errors="surrogateescape")


def data(text: str) -> bytes:
    """The reverse of ``text``."""
    return text.encode(errors="surrogateescape")


def broken(what: str) -> Refusal:
    return Refusal(SYNTAX_ERROR, what)


# Read: each takes the bytes and where it begins in them, and gives the value and where it ends.


def read_octet(of: bytes, at: int) -> tuple[int, int]:
    return _number(_OCTET, of, at)


def read_short(of: bytes, at: int) -> tuple[int, int]:
    return _number(_SHORT, of, at)


def read_long(of: bytes, at: int) -> tuple[int, int]:
    return _number(_LONG, of, at)


def read_longlong(of: bytes, at: int) -> tuple[int, int]:
    return _number(_LONGLONG, of, at)


def _number(layout: Struct, of: bytes, at: int) -> tuple[Any, int]:
    try:
        return layout.unpack_from(of, at)[0], at + layout.size
    except StructError:
        raise broken("a field ends too early") from None


def read_shortstr(of: bytes, at: int) -> tuple[str, int]:
    size, at = read_octet(of, at)
    return text(_bytes(of, at, size)), at + size


def read_longstr(of: bytes, at: int) -> tuple[bytes, int]:
    """As bytes: what is in it depends on what it is for."""
    size, at = read_long(of, at)
    return _bytes(of, at, size), at + size


def _bytes(of: bytes, at: int, size: int) -> bytes:
    if at + size > len(of):
        raise broken("a string ends too early")
    return of[at : at + size]


def read_table(of: bytes, at: int, deep: int = 0) -> tuple[dict[str, Value], int]:
    """The later of two entries of one name counts."""
    end, at = _end(of, at, deep)
    table: dict[str, Value] = {}
    while at < end:
        name, at = read_shortstr(of, at)
        table[name], at = _read_value(of, at, deep)
    if at != end:
        raise broken("a table's last entry is longer than the table")
    return table, at


def _read_array(of: bytes, at: int, deep: int) -> tuple[list[Value], int]:
    end, at = _end(of, at, deep)
    values = []
    while at < end:
        value, at = _read_value(of, at, deep)
        values.append(value)
    if at != end:
        raise broken("an array's last value is longer than the array")
    return values, at


def _end(of: bytes, at: int, deep: int) -> tuple[int, int]:
    if deep > NESTED_MAX:
        raise broken(f"tables nested more than {NESTED_MAX} deep")
    size, at = read_long(of, at)
    if at + size > len(of):
        raise broken("a table or array is longer than what holds it")
    return at + size, at


def _read_value(of: bytes, at: int, deep: int) -> tuple[Value, int]:
    kind, at = read_octet(of, at)
    layout = _NUMBERS.get(kind)
    if layout is not None:
        return _number(layout, of, at)
    read = _OTHERS.get(kind)
    if read is None:
        raise broken(f"a field of unknown type {kind:#04x}")
    return cast("tuple[Value, int]", read(of, at, deep + 1))


def _read_text(of: bytes, at: int, _: int) -> tuple[str, int]:
    value, at = read_longstr(of, at)
    return text(value), at


def _read_bytes(of: bytes, at: int, _: int) -> tuple[bytes, int]:
    return read_longstr(of, at)


def _read_boolean(of: bytes, at: int, _: int) -> tuple[bool, int]:
    value, at = read_octet(of, at)
    return value != 0, at


def _read_decimal(of: bytes, at: int, _: int) -> tuple[Decimal, int]:
    scale, at = read_octet(of, at)
    value, at = read_long(of, at)
    return Decimal((0, tuple(map(int, str(value))), -scale)), at


def _read_timestamp(of: bytes, at: int, _: int) -> tuple[Timestamp, int]:
    value, at = read_longlong(of, at)
    return Timestamp(value), at


def _read_void(_of: bytes, at: int, _: int) -> tuple[None, int]:
    return None, at


_OTHERS: Final = {
    ord("S"): _read_text, ord("x"): _read_bytes, ord("t"): _read_boolean,
    ord("D"): _read_decimal, ord("T"): _read_timestamp, ord("A"): _read_array,
    ord("F"): read_table, ord("V"): _read_void,
}  # fmt: skip


# Written


def octet(value: int) -> bytes:
    return _OCTET.pack(value)


def short(value: int) -> bytes:
    return _SHORT.pack(value)


def long(value: int) -> bytes:
    return _LONG.pack(value)


def longlong(value: int) -> bytes:
    return _LONGLONG.pack(value)


def shortstr(value: str) -> bytes:
    """Raises ValueError for one of more than 255 bytes."""
    encoded = data(value)
    return bytes((len(encoded),)) + encoded


def longstr(value: bytes) -> bytes:
    return _LONG.pack(len(value)) + value


def table(value: Table) -> bytes:
    """Raises ValueError, TypeError where a value is none that a table can hold."""
    return longstr(b"".join([shortstr(name) + _value(it) for name, it in value.items()]))


def _array(values: Sequence[Value]) -> bytes:
    return longstr(b"".join(map(_value, values)))


def _integer(value: int) -> bytes:
    if value in _INT32:
        return b"I" + _SIGNED_LONG.pack(value)
    if value in _INT64:
        return b"l" + _SIGNED_LONGLONG.pack(value)
    return b"L" + _longlong_checked(value)


def _longlong_checked(value: int) -> bytes:
    try:
        return _LONGLONG.pack(value)
    except StructError:
        raise ValueError(f"{value} does not fit 64 bits") from None


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if sign or not isinstance(exponent, int) or exponent > 0 or exponent < -255:
        raise ValueError(f"{value} is no decimal of AMQP: 0 or more, at most 255 digits behind")
    number = int("".join(map(str, digits)))
    if number >> 32:
        raise ValueError(f"{value} has more digits than 32 bits hold")
    return b"D" + _DECIMAL.pack(-exponent, number)


_WRITERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    bool: lambda it: b"t\1" if it else b"t\0",
    int: _integer,
    Long: lambda it: b"l" + _SIGNED_LONGLONG.pack(it),
    Timestamp: lambda it: b"T" + _LONGLONG.pack(it),
    float: lambda it: b"d" + _DOUBLE.pack(it),
    str: lambda it: b"S" + longstr(data(it)),
    bytes: lambda it: b"x" + longstr(it),
    Decimal: _decimal,
    list: lambda it: b"A" + _array(it),
    tuple: lambda it: b"A" + _array(it),
    dict: lambda it: b"F" + table(it),
    type(None): lambda it: b"V",
}


def _value(value: Value) -> bytes:
    write = _WRITERS.get(type(value))
    if write is None:
        raise TypeError(f"a table can't hold a {type(value).__name__}")
    return write(value)
