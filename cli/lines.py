"""Input bytes to messages, whatever the pieces they come in. Pure.

``LineInput`` splits and numbers the lines; the parser of a format (raw lines here, JSON in
``fields``, CSV in ``rows``) makes messages of them. A line that cannot become a message is a
``BadLine``: what is to be done about it is decided elsewhere.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, Protocol, cast

from logstore.records.record import Headers, Message

# Far over what topics take (max.message.bytes: 1 MiB by default); a file without line ends must
# not end up in memory.
LINE_BYTES_MAX = 64 << 20
# Names shown for a line with a missing field: enough to recognize the line.
NAMES_SHOWN, NAME_CHARACTERS_SHOWN = 30, 60


class BadLine(NamedTuple):
    """A line that is no message."""

    number: int  # 1-based
    reason: str
    raw: bytes

    @property
    def lines(self) -> int:
        """The number of input lines: a row of CSV may have several."""
        return self.raw.count(b"\n") + 1


class Parsed(NamedTuple):
    """What some lines came to."""

    messages: list[Message]
    numbers: Sequence[int]  # messages[i] came from the line numbers[i], whose bytes are raws[i]
    raws: Sequence[bytes]
    bad: list[BadLine]
    partitions: Sequence[int | None] = ()  # messages[i] asks for partitions[i], where they ask

    def then(self, other: "Parsed") -> "Parsed":
        """The results of these lines followed by ``other``."""
        return Parsed(
            self.messages + other.messages,
            (*self.numbers, *other.numbers),
            (*self.raws, *other.raws),
            self.bad + other.bad,
            (*self.partitions, *other.partitions),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of each line goes where. A field that is named here must be in every line."""

    key_field: str | None = None
    timestamp_field: str | None = None
    value_field: str | None = None  # None: the whole line
    header_fields: tuple[str, ...] = ()
    key: bytes | None = None  # the same for all
    headers: Headers = ()  # the same for all, before those of header_fields

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields, each once."""
        named = (self.key_field, self.timestamp_field, self.value_field, *self.header_fields)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def there_are(names: Iterable[str]) -> str:
    """A list of existing names to append to "the field 'k' is missing", limited in length."""
    every = list(names)
    shown = [it[:NAME_CHARACTERS_SHOWN] for it in every[:NAMES_SHOWN]]
    more = f" and {len(every) - len(shown)} more" if len(every) > len(shown) else ""
    if not every:
        return "; the line has no fields"
    return f"; there {'is' if len(every) == 1 else 'are'} {', '.join(shown)}{more}"


class Parser(Protocol):
    """Lines to messages; may hold back lines that only make sense with the next."""

    def receive(self, lines: list[bytes], first: int) -> Parsed:
        """Parse ``lines`` without line ends; the first has the number ``first``."""

    def end(self) -> Parsed:
        """Return the messages that were held back."""

    @property
    def warning(self) -> str | None:
        """A warning about the input so far, although it was accepted."""


class RawLines:
    """Each line is a value as it stands."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def receive(self, lines: list[bytes], first: int) -> Parsed:
        wanted = self._wanted
        return Parsed(
            messages(lines, repeat(wanted.key), repeat(wanted.headers), repeat(None)),
            range(first, first + len(lines)),
            lines,
            [],
        )

    def end(self) -> Parsed:
        return Parsed([], (), (), [])

    @property
    def warning(self) -> str | None:
        return None


def messages(
    values: Iterable[bytes | None],
    keys: Iterable[bytes | None],
    headers: Iterable[Headers],
    timestamps: Iterable[int | None],
) -> list[Message]:
    """Make messages from four columns, without a Python call for each.

    Plain tuples in the fields' order stand in for messages: they take a third of the time to
    create, and the garbage collector stops tracking them.
    """
    # No strict=True: constant columns are repeated without end.
    return cast("list[Message]", list(zip(values, keys, headers, timestamps)))  # noqa: B905


class LineInput:
    """Bytes in, messages out; the format may be left open until the first line is there."""

    def __init__(
        self, choose: Callable[[bytes], Parser], line_bytes_max: int = LINE_BYTES_MAX
    ) -> None:
        """``choose`` is called with the first line and returns the parser for all lines."""
        self._choose = choose
        self._splitter = LineSplitter(line_bytes_max)
        self._parser: Parser | None = None

    @property
    def warning(self) -> str | None:
        """As Parser.warning."""
        return None if self._parser is None else self._parser.warning

    def receive(self, data: bytes) -> Parsed:
        """The results of all complete lines."""
        return self._parse(self._splitter.receive(data))

    def end(self) -> Parsed:
        """The results of a last line without a line end, and those that the parser held back."""
        parsed = self._parse(self._splitter.end())
        if self._parser is None:
            return parsed
        return parsed.then(self._parser.end())

    def _parse(self, lines: list[bytes]) -> Parsed:
        if not lines:
            return Parsed([], (), (), [])
        if self._parser is None:
            self._parser = self._choose(lines[0])
        first = self._splitter.number - len(lines)
        if not self._splitter.cut:
            return self._parser.receive(lines, first)
        # Only the first line of a call can have begun long ago, so only that one can be too long.
        # What is held back can't go on over it.
        self._splitter.cut = False
        reason = f"longer than {self._splitter.line_bytes_max} bytes"
        bad = Parsed([], (), (), [BadLine(first, reason, lines[0])])
        parsed = self._parser.end().then(bad)
        return parsed.then(self._parser.receive(lines[1:], first + 1))


class LineSplitter:
    """Bytes to lines, ended by a newline each."""

    __slots__ = ("_pieces", "_size", "cut", "line_bytes_max", "number")

    def __init__(self, line_bytes_max: int) -> None:
        self.line_bytes_max = line_bytes_max
        self.number = 1  # of the next line to be returned
        self.cut = False  # the first line returned last was longer than the maximum
        self._pieces: list[bytes] = []  # of a line whose end is still to come
        self._size = 0

    def receive(self, data: bytes) -> list[bytes]:
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._size:
                self._keep(lines[0])
                lines[0] = self._joined()
            self.number += len(lines)
        self._keep(rest)
        return lines

    def end(self) -> list[bytes]:
        if not self._size:
            return []
        self.number += 1
        return [self._joined()]

    def _keep(self, piece: bytes) -> None:
        room = self.line_bytes_max - min(self._size, self.line_bytes_max)
        if piece and room:
            self._pieces.append(piece[:room])
        self._size += len(piece)

    def _joined(self) -> bytes:
        line = b"".join(self._pieces)
        self.cut = self._size > self.line_bytes_max
        self._pieces, self._size = [], 0
        return line
