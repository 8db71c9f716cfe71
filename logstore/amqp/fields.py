"""Fields of AMQP 0-9-1 and its tables (4.2.5, with the types of RabbitMQ's errata).

Each wire type of a table's values has one Python type, so that reading and writing lose nothing::

    t  bool     I  int      b B s u i l L  Octet and so on    d  float    f  Float
    S  str      x  bytes    D  Decimal     A  list            F  dict     T  Timestamp    V  None

Strings are usually UTF-8; other bytes are kept by ``surrogateescape``. A plain ``int`` that does
not fit ``I`` is written as ``l`` or ``L``.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
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


class SignedOctet(int):
    __slots__ = ()


class Octet(int):
    __slots__ = ()


class SignedShort(int):
    __slots__ = ()


class Short(int):
    __slots__ = ()


class UnsignedLong(int):
    __slots__ = ()


class Long(int):
    """A signed 64-bit integer: ``l``."""

    __slots__ = ()


class UnsignedLongLong(int):
    __slots__ = ()


class Float(float):
    """A 32-bit float: ``f``."""

    __slots__ = ()


class Timestamp(int):
    """Seconds since 1970."""

    __slots__ = ()


# Of each number: its letter, how it is laid out, and what it is here.
_LETTERS: Final[dict[str, tuple[Struct, type[Any]]]] = {
    "b": (Struct(">b"), SignedOctet), "B": (_OCTET, Octet), "s": (Struct(">h"), SignedShort),
    "u": (_SHORT, Short), "I": (_SIGNED_LONG, int), "i": (_LONG, UnsignedLong),
    "l": (_SIGNED_LONGLONG, Long), "L": (_LONGLONG, UnsignedLongLong),
    "f": (Struct(">f"), Float), "d": (_DOUBLE, float), "T": (_LONGLONG, Timestamp),
}  # fmt: skip
# What always takes as many bytes: how it is unpacked, the bytes with its letter, what it is made to
# (None: unpacking gives it). A table of 128 KiB may have 60,000 of them.
_FIXED: Final[dict[int, tuple[Callable[[bytes, int], tuple[Any, ...]], int, type[Any] | None]]] = {
    **{
        ord(letter): (it.unpack_from, 1 + it.size, None if kind in (int, float) else kind)
        for letter, (it, kind) in _LETTERS.items()
    },
    ord("t"): (Struct(">?").unpack_from, 2, None),
    ord("V"): (lambda of, at: (None,), 1, None),
}
_TEXT: Final = ord("S")
_SCALED: Final = ord("D")

# The letter of each type's values.
KINDS: Final[dict[type[Any], str]] = {
    **{kind: letter for letter, (_, kind) in _LETTERS.items()},
    bool: "t", str: "S", bytes: "x", Decimal: "D", list: "A", dict: "F", type(None): "V",
}  # fmt: skip


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
    fixed = _FIXED
    try:
        while at < end:
            upto = at + 1 + of[at]
            kind = of[upto]  # it has to be there, so the name is, too
            name = of[at + 1 : upto].decode(errors="surrogateescape")
            if kind in fixed:
                unpack, size, made = fixed[kind]
                (value,) = unpack(of, upto + 1)
                table[name] = value if made is None else made(value)
                at = upto + size
            elif kind == _TEXT:  # as most are
                begin = upto + 5
                at = begin + _LONG.unpack_from(of, upto + 1)[0]
                if at > end:
                    raise broken("a string ends too early")
                table[name] = of[begin:at].decode(errors="surrogateescape")
            else:
                table[name], at = _read_longer(kind, of, upto + 1, deep)
    except (IndexError, StructError):
        raise broken("a field ends too early") from None
    if at != end:
        raise broken("a table's last entry is longer than the table")
    return table, at


def find(of: bytes, at: int, name: bytes) -> tuple[int, bytes] | None:
    """The type of one entry of the table that begins here, and its value as it is; None: there is
    no such entry. The later of two of one name counts. What is in other entries is not looked at.
    """
    end, at = _end(of, at, 0)
    found = None
    size = len(name)
    try:
        while at < end:
            upto = at + 1 + of[at]
            kind, begin = of[upto], upto + 1
            fixed = _FIXED.get(kind)
            if fixed is not None:
                after = upto + fixed[1]
            elif kind == _SCALED:
                after = begin + 5
            elif kind in _OTHERS:
                after = begin + 4 + _LONG.unpack_from(of, begin)[0]
            else:
                raise broken(f"a field of unknown type {kind:#04x}")
            if after > end:
                raise broken("a table's last entry is longer than the table")
            if upto - at - 1 == size and of[at + 1 : upto] == name:
                found = kind, of[begin:after]
            at = after
    except (IndexError, StructError):
        raise broken("a field ends too early") from None
    return found


def number(kind: int, data: bytes) -> int:
    """An integer of this type that ``find`` has found."""
    return int(_FIXED[kind][0](data, 0)[0])


def _read_array(of: bytes, at: int, deep: int) -> tuple[list[Value], int]:
    end, at = _end(of, at, deep)
    values: list[Value] = []
    fixed, append = _FIXED, values.append
    try:
        while at < end:
            kind = of[at]
            if kind in fixed:
                unpack, size, made = fixed[kind]
                (value,) = unpack(of, at + 1)
                append(value if made is None else made(value))
                at += size
            else:
                value, at = _read_longer(kind, of, at + 1, deep)
                append(value)
    except (IndexError, StructError):
        raise broken("a field ends too early") from None
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


def _read_longer(kind: int, of: bytes, at: int, deep: int) -> tuple[Value, int]:
    """A value whose type does not tell how long it is, or an unusual one."""
    read = _OTHERS.get(kind)
    if read is None:
        raise broken(f"a field of unknown type {kind:#04x}")
    return cast("tuple[Value, int]", read(of, at, deep + 1))


def _read_text(of: bytes, at: int, _: int) -> tuple[str, int]:
    value, at = read_longstr(of, at)
    return text(value), at


def _read_bytes(of: bytes, at: int, _: int) -> tuple[bytes, int]:
    return read_longstr(of, at)


def _read_decimal(of: bytes, at: int, _: int) -> tuple[Decimal, int]:
    scale, at = read_octet(of, at)
    value, at = read_long(of, at)
    return Decimal((0, tuple(map(int, str(value))), -scale)), at


_OTHERS: Final = {
    ord("S"): _read_text, ord("x"): _read_bytes, ord("D"): _read_decimal,
    ord("A"): _read_array, ord("F"): read_table,
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


def _number_of(letter: bytes, layout: Struct, value: Any) -> bytes:  # noqa: ANN401
    try:
        return letter + layout.pack(value)
    except (StructError, OverflowError):
        raise ValueError(f"{value} does not fit a field of type {letter.decode()}") from None


def _integer(value: int) -> bytes:
    if value in _INT32:
        return b"I" + _SIGNED_LONG.pack(value)
    if value in _INT64:
        return b"l" + _SIGNED_LONGLONG.pack(value)
    return _number_of(b"L", _LONGLONG, value)


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if sign or not isinstance(exponent, int) or exponent > 0 or exponent < -255:
        raise ValueError(f"{value} is not a decimal of AMQP: 0 or more, at most 255 digits behind")
    number = int("".join(map(str, digits)))
    if number >> 32:
        raise ValueError(f"{value} has more digits than 32 bits hold")
    return b"D" + _DECIMAL.pack(-exponent, number)


_WRITERS: Final[dict[type[Any], Callable[[Any], bytes]]] = {
    **{
        kind: partial(_number_of, letter.encode(), layout)
        for letter, (layout, kind) in _LETTERS.items()
    },
    bool: lambda it: b"t\1" if it else b"t\0",
    int: _integer,
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
