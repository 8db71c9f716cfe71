"""Records to rows of CSV (RFC 4180). Pure.

A cell is quoted where it has to be. A null key or value is an empty cell, an empty one is ``""``.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from logstore.config import nearest
from logstore.records.record import Record

from .formats import COLUMNS, Column, Renderer

NAME: Final = "csv"
DEFAULT: Final = ("topic", "partition", "offset", "timestamp", "key", "value", "headers")
_TO_QUOTE: Final = re.compile(rb'[",\r\n]')
# CSV distinguishes null from an empty value; templates print both as nothing.
_OWN: Final[dict[str, Column]] = {
    "key": lambda records: [record.key for record in records],
    "value": lambda records: [record.value for record in records],
}


def is_csv(format_: str) -> bool:
    """Whether a format is ``csv``, or ``csv:FIELD,...``."""
    return format_ == NAME or format_.startswith(f"{NAME}:")


def csv_head(format_: str) -> bytes:
    """The first row, which names the columns. Raises ValueError."""
    return ",".join(_fields(format_)).encode() + b"\n"


def csv_rows(format_: str) -> Renderer:
    """A renderer of the other rows, one for each record. Raises ValueError."""
    columns: list[Callable[[Sequence[Record]], Iterable[object]]] = [
        _OWN.get(name) or COLUMNS[name][1] for name in _fields(format_)
    ]
    alone = len(columns) == 1  # a row of one empty cell would be an empty line, which is no row

    def render(records: Sequence[Record]) -> list[bytes]:
        rows = zip(*(map(_cell, column(records)) for column in columns), strict=True)
        lines = [b",".join(row) + b"\n" for row in rows]
        return [b'""\n' if line == b"\n" else line for line in lines] if alone else lines

    return render


def quoted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes as a quoted cell, in pieces."""
    yield b'"'
    for piece in pieces:
        yield piece.replace(b'"', b'""')
    yield b'"'


def _cell(value: object) -> bytes:
    if isinstance(value, bytes):
        return b"".join(quoted([value])) if not value or _TO_QUOTE.search(value) else value
    return b"" if value is None else str(value).encode()


def _fields(format_: str) -> Sequence[str]:
    _, colon, text = format_.partition(":")
    if not colon:
        return DEFAULT
    names = text.split(",")
    for name in names:
        if name not in COLUMNS:
            raise ValueError(
                f"no field {name!r} in {format_!r}{nearest(name, COLUMNS)};"
                f" there are {', '.join(COLUMNS)}"
            )
    return names
