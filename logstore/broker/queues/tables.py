"""Field tables in their two forms: as ``amqp/fields.py`` reads and writes them, and as arguments.

The first is what is kept and what a message's headers are; the second is hashable, and so makes
bindings that can be compared.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from logstore.amqp import fields
from logstore.broker.routing.arguments import Arguments, Field

_TYPES: Final = {letter: kind for kind, letter in fields.KINDS.items()}


def field_of(value: Any) -> Field:  # noqa: ANN401  what a table holds
    """One value of a table as a field. Raises TypeError for what no table holds."""
    kind = type(value)
    letter = "A" if kind is tuple else fields.KINDS.get(kind)
    if letter is None:
        raise TypeError(f"a table can't hold a {kind.__name__}")
    if letter == "S":
        return Field(letter, fields.data(value))
    if letter == "A":
        return Field(letter, tuple(map(field_of, value)))
    if letter == "F":
        return Field(letter, arguments_of(value))
    if letter == "D":
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        return Field(letter, (-exponent, int("".join(map(str, digits)) or "0")))
    return Field(letter, value)


def value_of(field: Field) -> Any:  # noqa: ANN401
    """The reverse of ``field_of``."""
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
    """A table as arguments."""
    return Arguments.of((fields.data(name), field_of(value)) for name, value in table.items())


def table_of(arguments: Arguments) -> dict[str, Any]:
    """Arguments as a table."""
    return {fields.text(name): value_of(field) for name, field in arguments}
