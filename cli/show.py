"""Aligned columns for people, JSON for machines. Pure: texts, nothing is printed."""

import base64
import json
from collections.abc import Sequence

Cell = str | int | None
UNITS = ("KiB", "MiB", "GiB", "TiB")


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The heads in capitals, then the rows; numbers to the right, ``-`` for what is not there."""
    numeric = [
        bool(rows) and all(isinstance(row[n], int | None) for row in rows)
        for n in range(len(heads))
    ]
    cells = [[head.upper() for head in heads], *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(heads))]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    )
    return "".join(line + "\n" for line in lines)


def facts(pairs: Sequence[tuple[str, Cell]]) -> str:
    """One ``name  value`` a line."""
    width = max(len(name) for name, _ in pairs)
    return "".join(f"{name.ljust(width)}  {_text(value)}\n" for name, value in pairs)


def names(texts: Sequence[str]) -> str:
    """One a line."""
    return "".join(f"{_text(text)}\n" for text in texts)


def _text(cell: Cell) -> str:
    from logstore.printable import printable  # help does without the library

    return "-" if cell is None else printable(str(cell))


def size(count: int) -> str:
    """A number of bytes for people: ``1.5 MiB``."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(UNITS))
    return f"{count / 1024**power:.1f} {UNITS[power - 1]}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 record``, ``2,000 records``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def text_or_base64(name: str, data: bytes | None) -> dict[str, object]:
    """Bytes under a name, for JSON: what is no UTF-8 goes as base64, and ``*_encoding`` says so."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: base64.b64encode(data).decode(), f"{name}_encoding": "base64"}


def as_json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def as_line(value: object) -> str:
    """One line of JSON; what is not printable is escaped, which means the same in JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_json_escaped, text))


def _json_escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
