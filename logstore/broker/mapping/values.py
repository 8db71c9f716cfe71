"""Values of AMQP tables as bytes that any client can read, and back.

A text becomes its bytes, a number its digits, and booleans the words true and false. Arrays and
tables become JSON. To restore the same value, its type is needed, too. It is a short text: AMQP's
letter for a single value (``fields.KINDS``), ``[`` and ``]`` around the types of an array's values,
``{`` and ``}`` around those of a table's values, in order.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from struct import Struct
from typing import Any, Final

from logstore.amqp import fields
from logstore.amqp.fields import KINDS, NESTED_MAX

DIGITS_MAX: Final = 20  # of 64 bits
# 11 digits at most, and 255 places: "0." and as many zeros. An exponent is shorter.
DECIMAL_TEXT_MAX: Final = 300
FLOAT_TEXT_MAX: Final = 40

_FLOAT32: Final = Struct(">f")
_OF_LETTER: Final[Mapping[str, type[Any]]] = {letter: kind for kind, letter in KINDS.items()}
_INTEGERS: Final[Mapping[str, tuple[int, int]]] = {  # what each letter holds
    "b": (-(1 << 7), (1 << 7) - 1), "B": (0, (1 << 8) - 1),
    "s": (-(1 << 15), (1 << 15) - 1), "u": (0, (1 << 16) - 1),
    "I": (-(1 << 31), (1 << 31) - 1), "i": (0, (1 << 32) - 1),
    "l": (-(1 << 63), (1 << 63) - 1), "L": (0, (1 << 64) - 1),
    "T": (0, (1 << 64) - 1),
}  # fmt: skip
_UNUSUAL: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class NoValue(ValueError):
    """Bytes that are not a value of the stated type."""


def is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def plain(data: bytes | None) -> Any:  # noqa: ANN401  what a table holds
    """Return bytes of unknown type as a text if they are UTF-8, else as bytes; None stays."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def is_plain(value: Any) -> bool:  # noqa: ANN401
    """Whether ``plain`` restores the value from its bytes."""
    if type(value) is str:
        return is_utf8(fields.data(value))
    if type(value) is bytes:
        return not is_utf8(value)
    return value is None


def is_written_plain(data: bytes | None, kind: str) -> bool:
    """Whether ``plain`` restores the value from what ``written`` returned."""
    if kind == "S":
        return data is not None and is_utf8(data)
    if kind == "x":
        return data is not None and not is_utf8(data)
    return data is None


def written(value: Any) -> tuple[bytes | None, str]:  # noqa: ANN401
    """Return a value's bytes and type."""
    kind = type(value)
    if kind is str:
        return fields.data(value), "S"
    if kind is list or kind is dict:
        types = "".join(_types(value))
        return json.dumps(_jsonable(value), separators=(",", ":")).encode(), types
    letter = KINDS[kind]
    if value is None:
        return None, letter
    if kind is bytes:
        return value, letter
    return _text(value).encode(), letter


def _text(value: Any) -> str:  # noqa: ANN401
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, float):
        text = float.__repr__(value)
        return _UNUSUAL.get(text, text)
    return str(value) if isinstance(value, Decimal) else int.__repr__(value)


def _types(value: Any) -> Iterator[str]:  # noqa: ANN401
    if type(value) is list:
        yield "["
        for it in value:
            yield from _types(it)
        yield "]"
    elif type(value) is dict:
        yield "{"
        for it in value.values():
            yield from _types(it)
        yield "}"
    else:
        yield KINDS[type(value)]


def _jsonable(value: Any) -> Any:  # noqa: ANN401
    kind = type(value)
    if kind is list:
        return [_jsonable(it) for it in value]
    if kind is dict:
        return {name: _jsonable(it) for name, it in value.items()}
    if kind is bytes:
        return b64encode(value).decode()
    if isinstance(value, float):
        return float(value) if isfinite(value) else _text(value)
    return str(value) if kind is Decimal else value


def read(data: bytes | None, types: str) -> Any:  # noqa: ANN401
    """Return the value of these bytes and this type. Raises NoValue."""
    if types[:1] in ("[", "{"):
        return _compound(data, types)
    if types not in _OF_LETTER:
        raise NoValue(f"no type {types[:20]!r}")
    if types == "V" or data is None:
        if types == "V" and data is None:
            return None
        raise NoValue(f"a null, and not of type {types!r}" if data is None else "not null")
    if types == "S":
        return fields.text(data)
    if types == "x":
        return data
    try:
        return _SCALARS[types](data.decode("ascii"))
    except UnicodeDecodeError:
        raise NoValue(f"no {types!r}") from None


def _integer_of(letter: str) -> Callable[[str], Any]:
    kind, (low, high) = _OF_LETTER[letter], _INTEGERS[letter]

    def integer(text: str) -> Any:  # noqa: ANN401
        digits = text[1:] if text[:1] == "-" else text
        if not digits.isdecimal() or len(digits) > DIGITS_MAX or not low <= int(text) <= high:
            raise NoValue(f"{text[:DIGITS_MAX]!r} is no {letter!r}: {low} to {high}")
        return int(text) if kind is int else kind(int(text))

    return integer


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise NoValue(f"{text[:20]!r}: true or false")
    return text == "true"


def _float(text: str) -> float:
    try:
        if len(text) > FLOAT_TEXT_MAX:
            raise ValueError
        return float(text)
    except ValueError:
        raise NoValue(f"{text[:20]!r} is not a number") from None


def _float32(text: str) -> fields.Float:
    try:
        return fields.Float(_FLOAT32.unpack(_FLOAT32.pack(_float(text)))[0])
    except OverflowError:
        raise NoValue(f"{text[:20]!r} does not fit 32 bits") from None


def _decimal(text: str) -> Decimal:
    try:
        if len(text) > DECIMAL_TEXT_MAX:
            raise ValueError
        value = Decimal(text)
        fields.table({"": value})  # whether it fits
    except (ValueError, InvalidOperation):
        raise NoValue(f"{text[:20]!r} is not a decimal of AMQP") from None
    return value


_SCALARS: Final[Mapping[str, Callable[[str], Any]]] = {
    **{letter: _integer_of(letter) for letter in _INTEGERS},
    "t": _boolean, "d": _float, "f": _float32, "D": _decimal,
}  # fmt: skip


def _compound(data: bytes | None, types: str) -> Any:  # noqa: ANN401
    try:
        given = json.loads((data or b"").decode())
    except (ValueError, RecursionError):
        raise NoValue("no JSON") from None
    rest = iter(types)
    try:
        value = _of_json(given, next(rest), rest, 1)
    except StopIteration:
        raise NoValue(f"the type {types[:20]!r} ends too early") from None
    if next(rest, None) is not None:
        raise NoValue(f"the type {types[:20]!r} goes on")
    return value


def _of_json(given: Any, letter: str, rest: Iterator[str], deep: int) -> Any:  # noqa: ANN401
    if letter in "[{" and deep > NESTED_MAX:
        raise NoValue(f"nested more than {NESTED_MAX} deep")
    if letter == "[" and type(given) is list:
        values = [_of_json(it, next(rest), rest, deep + 1) for it in given]
        _ends(rest, "]")
        return values
    if letter == "{" and type(given) is dict:
        table = {_name(n): _of_json(it, next(rest), rest, deep + 1) for n, it in given.items()}
        _ends(rest, "}")
        return table
    return _scalar_of_json(given, letter)


def _ends(rest: Iterator[str], mark: str) -> None:
    if next(rest) != mark:
        raise NoValue("more types than values")


def _name(text: str) -> str:
    _data(text)
    if len(fields.data(text)) > 255:
        raise NoValue(f"a name of more than 255 bytes: {text[:20]!r}")
    return text


def _data(text: str) -> bytes:
    try:
        return fields.data(text)
    except UnicodeEncodeError:  # half a character, as JSON may escape one
        raise NoValue(f"no text: {text[:20]!r}") from None


def _scalar_of_json(given: Any, letter: str) -> Any:  # noqa: ANN401
    if letter == "V" and given is None:
        return None
    if letter == "t" and type(given) is bool:
        return given
    if letter in _INTEGERS and type(given) is int:
        low, high = _INTEGERS[letter]
        if low <= given <= high:
            kind = _OF_LETTER[letter]
            return given if kind is int else kind(given)
    elif letter in ("d", "f") and type(given) in (int, float, str):
        return _SCALARS[letter](given if type(given) is str else repr(given))
    elif type(given) is str:
        if letter == "S":
            _data(given)
            return given
        if letter == "D":
            return _decimal(given)
        if letter == "x":
            try:
                return b64decode(given, validate=True)
            except ValueError:
                raise NoValue(f"no base64: {given[:20]!r}") from None
    raise NoValue(f"no {letter!r}: a {type(given).__name__} of JSON")  # however deep it is nested
