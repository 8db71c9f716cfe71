"""Arguments of exchanges and bindings: AMQP's field tables, exactly as they were sent.

Two bindings whose arguments differ only in the width of an integer are different bindings
(rabbitmq-server#10590), so each value keeps its original type. Headers are compared by classes of
types instead: ``comparable`` converts the values of both sides to one form.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

# The classes that count as one when values are compared, by RabbitMQ's letters of field types.
# Texts ("S") and byte arrays ("x") are both bytes to it, and equal.
CLASS_OF_KIND: Final[Mapping[str, str]] = {
    **dict.fromkeys("bBsuIilL", "integer"),
    **dict.fromkeys("fd", "float"),
    **dict.fromkeys("Sx", "text"),
    "t": "boolean",
    "D": "decimal",
    "T": "timestamp",
    "V": "void",
    "A": "array",
    "F": "table",
}
VOID: Final = ("void", None)


class Field(NamedTuple):
    """One value with its type.

    ``kind`` is a key of ``CLASS_OF_KIND``. The value is hashable: bool, int, float; bytes (S, x);
    seconds (T); None (V); (scale, unscaled number) (D); a tuple of fields (A); ``Arguments`` (F).
    """

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Arguments:
    """A field table, sorted by name, because the order in which fields were sent has no meaning."""

    fields: tuple[tuple[bytes, Field], ...] = ()

    @classmethod
    def of(cls, fields: Mapping[bytes, Field] | Iterable[tuple[bytes, Field]]) -> "Arguments":
        """Return the arguments. If a name is given twice the first counts, as in RabbitMQ."""
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        return cls(tuple(sorted(pairs, key=lambda it: it[0])))

    def __iter__(self) -> Iterator[tuple[bytes, Field]]:
        return iter(self.fields)

    def get(self, name: bytes) -> Field | None:
        return next((field for own, field in self.fields if own == name), None)


NO_ARGUMENTS: Final = Arguments()


def comparable(value: object) -> Hashable:
    """Return (class, value), equal for equal AMQP values: 1 is neither 1.0, "1" nor true.

    Takes a ``Field`` or a header as decoded: bool, int, float, Decimal, str or bytes, datetime,
    None, list, dict. Containers may be nested as deep as the interpreter's stack allows: the
    decoder must bound the depth. Raises TypeError for any other type.
    """
    try:
        compared = _COMPARABLE[type(value)]
    except KeyError:
        raise TypeError(f"{type(value).__name__} is not a type of a header") from None
    return compared(value)


def _of_field(field: Field) -> Hashable:
    name = CLASS_OF_KIND[field.kind]
    if name in ("array", "table"):
        return comparable(field.value)
    return name, field.value


def _of_decimal(value: Decimal) -> Hashable:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)) or "0")
    # AMQP has no NaN or infinity among decimals: those are equal to themselves alone.
    return "decimal", (-exponent if isinstance(exponent, int) else exponent, (-1) ** sign * number)


def _of_table(items: Iterable[tuple[Any, Any]]) -> Hashable:
    named = ((_bytes(name), comparable(value)) for name, value in items)
    return "table", tuple(sorted(named, key=lambda it: it[0]))


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)


def _of_text(value: str | bytes) -> Hashable:
    return "text", _bytes(value)


def _of_array(values: Iterable[Any]) -> Hashable:
    return "array", tuple(map(comparable, values))


_COMPARABLE: Final[Mapping[type, Callable[[Any], Hashable]]] = {
    bool: lambda value: ("boolean", value),
    int: lambda value: ("integer", value),
    float: lambda value: ("float", value),
    str: _of_text,
    bytes: _of_text,
    bytearray: _of_text,
    memoryview: _of_text,
    Decimal: _of_decimal,
    datetime: lambda value: ("timestamp", int(value.timestamp())),
    type(None): lambda value: VOID,
    list: _of_array,
    tuple: _of_array,
    dict: lambda value: _of_table(value.items()),
    Arguments: _of_table,
    Field: _of_field,
}
