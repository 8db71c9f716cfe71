"""Wire types of fields outside tables: of methods, and of a content's header."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from logstore.amqp import fields


class Wire(NamedTuple):
    """One wire type."""

    read: Callable[[bytes, int], tuple[Any, int]]
    write: Callable[[Any], bytes]


OCTET: Final = Wire(fields.read_octet, fields.octet)
SHORT: Final = Wire(fields.read_short, fields.short)
LONG: Final = Wire(fields.read_long, fields.long)
LONGLONG: Final = Wire(fields.read_longlong, fields.longlong)
SHORTSTR: Final = Wire(fields.read_shortstr, fields.shortstr)
LONGSTR: Final = Wire(fields.read_longstr, fields.longstr)
TABLE: Final = Wire(fields.read_table, fields.table)
BIT: Final = None  # by those beside it
