"""Records to lines of output. Pure.

``renderer`` turns the name or template of a format into a function from records to lines, one for
each record, newline included. Templates are filled column by column, so that the loops run in C.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from logstore.config import nearest
from logstore.records.record import Headers, Record

from .show import text_or_base64
from .times import CachedIso, iso

Renderer = Callable[[Sequence[Record]], list[bytes]]
Column = Callable[[Sequence[Record]], Iterable[object]]
# name -> how bytes.__mod__ prints it, and the column of what it prints
Columns = Mapping[str, tuple[bytes, Callable[[Any], Iterable[object]]]]


def renderer(format_: str) -> Renderer:
    """A renderer for ``raw``, ``hex``, ``json`` or a template. Raises ValueError for other text.

    ``csv_lines`` renders CSV.
    """
    if format_ in NAMED:
        return NAMED[format_]
    if "{" not in format_:
        names = (*NAMED, "csv")
        raise ValueError(
            f"{format_!r} is neither {', '.join(names)} nor a template"
            " like '{partition} {offset} {key} {value}'" + nearest(format_, names)
        )
    return template(format_)


# By name ---------------------------------------------------------------------------------------


def raw_lines(records: Sequence[Record]) -> list[bytes]:
    """Only the values; a null value is an empty line."""
    return [(record.value or b"") + b"\n" for record in records]


def hex_lines(records: Sequence[Record]) -> list[bytes]:
    """Only the values, with two hexadecimal digits per byte."""
    return [(record.value or b"").hex().encode() + b"\n" for record in records]


def json_lines(records: Sequence[Record]) -> list[bytes]:
    """One JSON object per line."""
    encode = msgspec.json.Encoder().encode
    return [encode(as_object(record)) + b"\n" for record in records]


def as_object(record: Record) -> dict[str, object]:
    """The record as a JSON object; bytes that are not UTF-8 are in base64 and marked so."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": iso(record.timestamp_ms),
        "timestamp_ms": record.timestamp_ms,
        **text_or_base64("key", record.key),
        **text_or_base64("value", record.value),
        "headers": [
            {**text_or_base64("name", header_name(name)), **text_or_base64("value", value)}
            for name, value in record.headers
        ],
    }


def header_name(name: str) -> bytes:
    """The name in its stored form: bytes that are not UTF-8 were decoded to surrogates."""
    return name.encode("utf-8", "surrogateescape")


NAMED: dict[str, Renderer] = {"raw": raw_lines, "json": json_lines, "hex": hex_lines}


# Templates -------------------------------------------------------------------------------------


def _timestamps(records: Sequence[Record]) -> Iterable[object]:
    return map(_ISO.__getitem__, map(attrgetter("timestamp_ms"), records))


def headers_text(headers: Headers) -> bytes:
    """``name=value,name=value``; a null value leaves only the name."""
    return b",".join(
        header_name(name) + (b"" if value is None else b"=" + value) for name, value in headers
    )


_ISO = CachedIso()

COLUMNS: dict[str, tuple[bytes, Column]] = {
    "topic": (b"%b", lambda records: [record.topic.encode() for record in records]),
    "partition": (b"%d", lambda records: map(attrgetter("partition"), records)),
    "offset": (b"%d", lambda records: map(attrgetter("offset"), records)),
    "timestamp": (b"%b", _timestamps),
    "timestamp_ms": (b"%d", lambda records: map(attrgetter("timestamp_ms"), records)),
    "key": (b"%b", lambda records: [record.key or b"" for record in records]),
    "value": (b"%b", lambda records: [record.value or b"" for record in records]),
    "headers": (b"%b", lambda records: [headers_text(record.headers) for record in records]),
}

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|\\[tn0\\]")
_ESCAPES = {"{{": b"{", "}}": b"}", "\\t": b"\t", "\\n": b"\n", "\\0": b"\0", "\\\\": b"\\"}


def template(text: str, known: Columns = COLUMNS) -> Callable[[Sequence[Any]], list[bytes]]:
    r"""A line of ``text`` for each record, with its ``{fields}`` filled in.

    ``{{`` and ``}}`` are braces; ``\t``, ``\n``, ``\0`` and ``\\`` are what they are in C. A null
    key or value is printed as nothing. Raises ValueError for an unknown field or a lone brace.
    """
    line, columns = _parse(text, known)

    def render(records: Sequence[Any]) -> list[bytes]:
        if not columns:
            return [line % ()] * len(records)
        cells = zip(*(column(records) for column in columns), strict=True)
        return list(map(line.__mod__, cells))

    return render


def _parse(text: str, known: Columns) -> tuple[bytes, list[Callable[[Any], Iterable[object]]]]:
    line, columns, at = b"", [], 0
    for part in _PART.finditer(text):
        line += _literal(text[at : part.start()])
        at = part.end()
        if part[0] in _ESCAPES:
            line += _ESCAPES[part[0]]
        elif part[1] in known:
            placeholder, column = known[part[1]]
            line += placeholder
            columns.append(column)
        elif part[1] is None:
            raise ValueError(f"{text!r} has a lone {part[0]!r}: write {part[0] * 2!r} for a brace")
        else:
            raise ValueError(
                f"no field {part[0]} in a template{nearest(part[1], known)};"
                f" there are {' '.join(f'{{{name}}}' for name in known)}"
            )
    return line + _literal(text[at:]) + b"\n", columns


def _literal(text: str) -> bytes:
    # surrogateescape: the command line's bytes, whatever they are
    return text.encode("utf-8", "surrogateescape").replace(b"%", b"%%")
