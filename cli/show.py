"""Aligned columns for people, JSON for machines: texts, nothing is printed.

Pure, but that a table is as wide as the terminal at most, where standard output is one.
"""

import base64
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

Cell = str | int | None
# Heads of columns of counts. Other numbers, such as offsets, may be typed again.
COUNTED = frozenset((
    "added", "appends", "bindings", "bytes", "changed", "consumers", "elements", "evicted",
    "exchanges", "expired", "expiring", "hits", "keys", "lag", "members", "messages", "misses",
    "offsets", "partitions", "queues", "ready", "records", "segments", "subscribers",
    "subscriptions", "there", "unacked", "waiting",
))  # fmt: skip
UNITS = ("KiB", "MiB", "GiB", "TiB")
COLUMN_MIN: Final = 10  # a column of texts is made no narrower, however small the terminal
BREAKS: Final = " .,:;/=-_"  # behind these a cell is continued on the next line, if it has some
_SPANS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The heads in capitals, then the rows; numbers are right-aligned, ``-`` is a missing value.

    On a terminal that is too narrow, long texts continue below, within their column. In columns of
    COUNTED, numbers have separators.
    """
    numeric = [
        bool(rows) and all(isinstance(row[n], int | None) for row in rows)
        for n in range(len(heads))
    ]
    counts = [head in COUNTED for head in heads]
    cells = [
        [head.upper() for head in heads],
        *([_cell(*it) for it in zip(row, counts, strict=True)] for row in rows),
    ]
    widths = [max(len(row[n]) for row in cells) for n in range(len(heads))]
    columns = _columns()
    if columns is not None:
        widths = narrowed(widths, numeric, columns - 2 * (len(heads) - 1))
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
        for line in zip_longest(*map(broken, row, widths), fillvalue="")
    )
    return "".join(line + "\n" for line in lines)


def _columns() -> int | None:
    """The width of the terminal; None if standard output is not one, or the width is unknown."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def narrowed(widths: Sequence[int], numeric: Sequence[bool], room: int) -> list[int]:
    """The widths, reduced to ``room`` if necessary by narrowing the widest columns of text.

    The narrowed columns are equally wide.
    """
    texts = [width for width, right in zip(widths, numeric, strict=True) if not right]
    level, spare = COLUMN_MIN, room - sum(widths) + sum(texts)
    for left, width in zip(range(len(texts), 0, -1), sorted(texts), strict=True):
        level = max(spare // left, COLUMN_MIN)
        if width > level:
            break
        spare -= width
        level = width
    return [
        width if right else min(width, level) for width, right in zip(widths, numeric, strict=True)
    ]


def broken(text: str, width: int) -> Iterator[str]:
    """The lines of a cell of this width."""
    while len(text) > width:
        at = max(text.rfind(it, 0, width + (it == " ")) for it in BREAKS) + 1
        at = at if at > width // 2 else width  # a short line would look like the end
        yield text[:at].rstrip()
        text = text[at:].lstrip()
    yield text


def facts(pairs: Sequence[tuple[str, Cell]]) -> str:
    """One ``name value`` per line; numbers as in a table."""
    width = max(len(name) for name, _ in pairs)
    return "".join(
        f"{name.ljust(width)}  {_cell(value, name in COUNTED)}\n" for name, value in pairs
    )


def names(texts: Sequence[str]) -> str:
    """One name per line."""
    return "".join(f"{_text(text)}\n" for text in texts)


def _cell(cell: Cell, counts: bool) -> str:
    return number(cell) if counts and isinstance(cell, int) else _text(cell)


def _text(cell: Cell) -> str:
    from logstore.printable import printable  # help does without the library

    return "-" if cell is None else printable(str(cell))


def size(count: int) -> str:
    """A number of bytes for people: ``1.5 MiB``."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(UNITS))
    return f"{count / 1024**power:.1f} {UNITS[power - 1]}"


def number(count: float) -> str:
    """A number for people, such as ``2,000``."""
    return f"{round(count):,}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 record``, ``2,000 records``."""
    return f"{number(count)} {noun if count == 1 else plural or f'{noun}s'}"


def span(seconds: float) -> str:
    """``3 d 4 h``, ``12 min``: the largest unit, with the next one if the first is small."""
    left = max(int(seconds), 0)
    for (unit, length), below in zip(_SPANS, (*_SPANS[1:], None), strict=True):
        if left >= length or below is None:
            whole, rest = divmod(left, length)
            more = rest // below[1] if below is not None and whole < 10 else 0
            return f"{whole} {unit}" + (f" {more} {below[0]}" if below and more else "")
    raise AssertionError("seconds have no unit below")


def text_or_base64(name: str, data: bytes | None) -> dict[str, object]:
    """Bytes as a JSON field: in base64 if they are not UTF-8, marked by ``*_encoding``."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: base64.b64encode(data).decode(), f"{name}_encoding": "base64"}


def as_json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def as_line(value: object) -> str:
    """One line of JSON, with unprintable characters escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_json_escaped, text))


def _json_escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
