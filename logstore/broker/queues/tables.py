"""Field tables in two forms: as ``amqp/fields.py`` reads and writes them, and as arguments.

The first form is used in storage and in a message's headers; the second is hashable, so that
bindings can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final

from logstore.amqp import fields
from logstore.broker.routing.arguments import Arguments, Field

_TYPES: Final = {letter: kind for kind, letter in fields.KINDS.items()}
_NAME: Final = itemgetter(0)


def field_of(value: Any) -> Field:  # noqa: ANN401  what a table holds
    """Return a value of a table as a field. Raises TypeError for an unsupported type."""
    kind = type(value)
    if kind in _PLAIN:
        return tuple.__new__(Field, (_PLAIN[kind], value))  # half the time: there may be 60,000
    make = _MADE.get(kind)
    if make is None:
        raise TypeError(f"a table can't hold a {kind.__name__}")
    return make(value)


def _decimal(value: Decimal) -> Field:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return Field("D", (-exponent, int("".join(map(str, digits)) or "0")))


def _array(values: Sequence[Any]) -> Field:
    return Field("A", tuple(map(field_of, values)))


def value_of(field: Field) -> Any:  # noqa: ANN401
    """Return the value of a field."""
    letter, value = field
    if letter == "S":
        return fields.text(value)
    if letter == "A":
        return [value_of(it) for it in value]
    if letter == "F":
        return table_of(value)
    if letter == "D":
        scale, number = value
        return Decimal((0, tuple(map(int, str(number))), -scale))
    if letter == "V":
        return None
    return _TYPES[letter](value)


def arguments_of(table: Mapping[str, Any]) -> Arguments:
    """Return a table as arguments."""
    named = [(fields.data(name), field_of(value)) for name, value in table.items()]
    named.sort(key=_NAME)
    return Arguments(tuple(named))


def table_of(arguments: Arguments) -> dict[str, Any]:
    """Return arguments as a table."""
    return {fields.text(name): value_of(field) for name, field in arguments}


_TRUE, _FALSE, _VOID = Field("t", True), Field("t", False), Field("V", None)
_MADE: Final[dict[type[Any], Callable[[Any], Field]]] = {
    str: lambda it: Field("S", fields.data(it)),
    list: _array,
    tuple: _array,
    dict: lambda it: Field("F", arguments_of(it)),
    Decimal: _decimal,
    bool: lambda it: _TRUE if it else _FALSE,
    type(None): lambda it: _VOID,
}
_PLAIN: Final = {kind: letter for kind, letter in fields.KINDS.items() if kind not in _MADE}
