"""JSON lines to messages: the value is the line itself, fields are only looked up. Pure.

Two decoders do the looking up. The fast one knows fields that are texts, whole numbers or null and
takes a whole chunk of lines at once; the careful one takes any line and finds out what is wrong
with it. A chunk goes to the careful one only when the fast one has refused it.
"""

import re
from collections.abc import Callable, Iterable
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from logstore.records.record import Headers, Message

from .lines import BadLine, Parsed, Wanted, messages, there_are
from .times import CachedTimestamps

Row = Any  # a struct with the attributes f0, f1, ... for the fields that are wanted
QUICK = str | int | None
BOM = b"\xef\xbb\xbf"  # some editors write it in front of UTF-8
_TRUNCATED = "Input data was truncated"
# Successive escapes: a whole surrogate pair, a half without the other (the group), anything else.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_PLAIN = re.compile(rb"-?\d{1,19}\.\d{1,18}")


class JsonLines:
    """Each line is a JSON object."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._attribute = {name: f"f{n}" for n, name in enumerate(wanted.fields)}
        self._quick = self._decoder(QUICK)
        self._careful = self._decoder(msgspec.Raw)
        self._timestamps = CachedTimestamps()

    def _decoder(self, type_: Any) -> Callable[[bytes], Row]:  # noqa: ANN401
        # Only the wanted fields: the decoder steps over all others without making objects.
        # gc=False: no cycle can run through a text or a number.
        kind = msgspec.defstruct(
            "Row",
            [(attribute, type_) for attribute in self._attribute.values()],
            rename={attribute: name for name, attribute in self._attribute.items()},
            gc=False,
        )
        return msgspec.json.Decoder(kind).decode

    def receive(self, lines: list[bytes], first: int) -> Parsed:
        if first == 1 and lines and lines[0].startswith(BOM):
            lines = [lines[0].removeprefix(BOM), *lines[1:]]
        try:
            rows = list(map(self._quick, lines))
            made = self._messages(lines, rows)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return self._one_by_one(lines, first)
        return Parsed(made, range(first, first + len(lines)), lines, [])

    def end(self) -> Parsed:
        return Parsed([], (), (), [])

    @property
    def warning(self) -> str | None:
        return self._timestamps.early

    # A whole chunk, column by column ------------------------------------------------------------

    def _messages(self, lines: list[bytes], rows: list[Row]) -> list[Message]:
        wanted = self._wanted
        value_field, key_field = wanted.value_field, wanted.key_field
        return messages(
            lines if value_field is None else self._texts(rows, value_field),
            repeat(wanted.key) if key_field is None else self._texts(rows, key_field),
            self._headers(rows),
            repeat(None) if wanted.timestamp_field is None else self._moments(rows),
        )

    def _column(self, rows: list[Row], name: str) -> "map[Any]":
        return map(attrgetter(self._attribute[name]), rows)

    def _texts(self, rows: list[Row], name: str) -> list[bytes | None]:
        return [
            value.encode() if value.__class__ is str else None if value is None else b"%d" % value
            for value in self._column(rows, name)
        ]

    def _moments(self, rows: list[Row]) -> list[int]:
        name = self._wanted.timestamp_field
        assert name is not None
        return list(map(self._timestamps.__getitem__, self._column(rows, name)))

    def _headers(self, rows: list[Row]) -> Iterable[Headers]:
        names, constant = self._wanted.header_fields, self._wanted.headers
        if not names:
            return repeat(constant)
        columns = [[(name, text) for text in self._texts(rows, name)] for name in names]
        if not constant:
            return zip(*columns, strict=True)
        return [constant + headers for headers in zip(*columns, strict=True)]

    # Line by line -------------------------------------------------------------------------------

    def _one_by_one(self, lines: list[bytes], first: int) -> Parsed:
        parsed = Parsed([], [], [], [])
        numbers, raws = [], []
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue  # it holds nothing that could get lost
            try:
                parsed.messages.append(self._message(line))
            except ValueError as error:
                parsed.bad.append(BadLine(number, str(error), line))
            else:
                numbers.append(number)
                raws.append(line)
        return parsed._replace(numbers=numbers, raws=raws)

    def _message(self, line: bytes) -> Message:
        """The message of a line. Raises ValueError with the reason."""
        wanted, row = self._wanted, self._row(line)

        def raw(name: str) -> bytes:
            return bytes(getattr(row, self._attribute[name]))

        key, timestamp = wanted.key, None
        value: bytes | None = line
        if wanted.key_field is not None:
            key = scalar(raw(wanted.key_field), wanted.key_field)
        if wanted.value_field is not None:
            value = text(raw(wanted.value_field), wanted.value_field)
        if wanted.timestamp_field is not None:
            timestamp = self._moment(raw(wanted.timestamp_field), wanted.timestamp_field)
        headers = tuple((name, text(raw(name), name)) for name in wanted.header_fields)
        return Message(value, key, wanted.headers + headers, timestamp)

    def _row(self, line: bytes) -> Row:
        try:
            return self._careful(line)
        except RecursionError:
            raise ValueError("JSON that is nested too deeply") from None
        except msgspec.ValidationError:  # well-formed so far, but of another type
            raise ValueError(self._missing(line) or "not a JSON object") from None
        except ValueError as error:
            raise ValueError(f"not JSON: {reason_of(error, line)}") from None

    def _missing(self, line: bytes) -> str | None:
        try:
            names = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except ValueError:
            return None
        missing = next((name for name in self._attribute if name not in names), None)
        return None if missing is None else f"the field {missing!r} is missing{there_are(names)}"

    def _moment(self, raw: bytes, name: str) -> int:
        value = _decoded(raw, name)
        if isinstance(value, float) and _PLAIN.fullmatch(raw):
            value = raw.decode()  # all of its digits
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(  # noqa: TRY004  the input is wrong, not the caller
                f"the field {name!r} is {_shown(raw)}, not a timestamp"
            )
        try:
            return self._timestamps[value]
        except ValueError as error:
            raise ValueError(f"the field {name!r}: {error}") from None


def text(raw: bytes, name: str) -> bytes | None:
    """A JSON value as bytes: a string's UTF-8, None for null, any other value's JSON unchanged."""
    if raw[0] == ord('"'):
        value: str = _decoded(raw, name)
        return value.encode()
    return None if raw == b"null" else raw


def scalar(raw: bytes, name: str) -> bytes | None:
    """As ``text``, without objects and lists, whose JSON has several forms."""
    if raw[0] in b"[{":
        raise ValueError(
            f"the field {name!r} is {_shown(raw)}: a key must be a string, a number or null"
        )
    return text(raw, name)


def _decoded(raw: bytes, name: str) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(raw)
    except ValueError as error:
        raise ValueError(f"the field {name!r} is not JSON: {reason_of(error, raw)}") from None


def reason_of(error: ValueError, raw: bytes) -> str:
    """A short reason why the text is not valid JSON."""
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    # The decoder calls half a pair an end that came too early, or a wrong escape.
    half = next(filter(None, (it[1] for it in _ESCAPE.finditer(raw))), None)
    if half is not None:
        return f"the text contains half of a surrogate pair, \\{half.decode()}"
    reason = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if reason.startswith(_TRUNCATED) else reason


def _shown(raw: bytes, characters_max: int = 40) -> str:
    shown = raw.decode("utf-8", "replace")
    return shown if len(shown) <= characters_max else shown[:characters_max] + "..."
