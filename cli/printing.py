"""Records as lines of output: many at a time, or one large one in pieces.

A value of hundreds of megabytes is in memory once, as it was read: not a second time as a line.
"""

import base64
import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec

from logstore.records.record import Record

from .csv_lines import csv_head, csv_rows, is_csv, quoted
from .formats import renderer
from .output import Output

LARGE_BYTES: Final = 256 << 10  # of a key or a value: it is written in pieces from there on
PIECE_BYTES: Final = 3 << 16  # base64 takes three bytes at a time

_KEY, _VALUE = (itemgetter(Record._fields.index(name)) for name in ("key", "value"))


class Lines:
    """A format, and how records get out in it."""

    def __init__(self, format_: str) -> None:
        """Parse the format. Raises ValueError as ``renderer`` does."""
        self._format = format_
        self._csv = is_csv(format_)
        self._render = csv_rows(format_) if self._csv else renderer(format_)

    def begin(self, output: Output) -> None:
        """Write the head: for CSV, the row that names the columns."""
        if self._csv:
            output.write_whole(csv_head(self._format))

    def write(self, records: Sequence[Record], output: Output) -> int:
        """Write records; returns how many were written completely, as ``Output.write``."""
        if _largest(records) < LARGE_BYTES:
            return output.write(self._render(records))
        written = 0
        for large, some in groupby(records, lambda record: _largest([record]) >= LARGE_BYTES):
            group = list(some)
            if not large:
                done = output.write(self._render(group))
            else:
                done = 0
                while done < len(group) and all(map(output.write_whole, self.pieces(group[done]))):
                    done += 1
            written += done
            if done < len(group):
                break
        return written

    def pieces(self, record: Record) -> Iterator[bytes]:
        """The record's line, in pieces, so that large values are never rendered at once.

        The line is rendered with a short placeholder for each large value, which is then replaced.
        """
        large: dict[bytes, Callable[[], Iterator[bytes]]] = {}
        if record.key is not None and len(record.key) >= LARGE_BYTES:
            stand_in, shown, large[shown] = self._stand_in(record.key)
            record = record._replace(key=stand_in)
        if record.value is not None and len(record.value) >= LARGE_BYTES:
            stand_in, shown, large[shown] = self._stand_in(record.value)
            record = record._replace(value=stand_in)
        [line] = self._render([record])
        pattern = b"(" + b"|".join(map(re.escape, large)) + b")"
        for part in re.split(pattern, line) if large else (line,):
            if part in large:
                yield from large[part]()
            else:
                yield part

    def _stand_in(self, data: bytes) -> tuple[bytes, bytes, Callable[[], Iterator[bytes]]]:
        """A placeholder, its rendered form, and a function that renders the value itself."""
        import secrets  # 10 ms, for a rare case

        token = secrets.token_hex(12).encode()  # which occurs nowhere else in the line
        if self._format == "hex":
            return token, token.hex().encode(), lambda: (it.hex().encode() for it in _cut(data))
        if self._csv:
            to_quote = token + b","
            return to_quote, b'"' + to_quote + b'"', lambda: quoted(_cut(data))
        if self._format != "json":
            return token, token, lambda: _cut(data)
        if _is_text(data):
            return token, token, lambda: _as_json_text(data)
        no_text = b"\xff" + token + b"\xff\xff"
        return no_text, base64.b64encode(no_text), lambda: map(base64.b64encode, _cut(data))


def _largest(records: Sequence[Record]) -> int:
    """The size of the largest key or value; called for all printed records."""
    return max(_longest(_KEY, records), _longest(_VALUE, records))


def _longest(column: Callable[[Record], bytes | None], records: Sequence[Record]) -> int:
    try:
        return max(map(len, map(column, records)), default=0)  # type: ignore[arg-type]
    except TypeError:  # some are null
        return max(map(len, filter(None, map(column, records))), default=0)


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))


def _is_text(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in _cut(data):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _as_json_text(data: bytes) -> Iterator[bytes]:
    """The characters between the quotes."""
    decoder, encode = codecs.getincrementaldecoder("utf-8")(), msgspec.json.Encoder().encode
    for piece in _cut(data):
        yield encode(decoder.decode(piece))[1:-1]
