"""CSV to messages: the first row names the columns, each later row becomes a JSON object. Pure."""

import csv
from collections import deque

import msgspec

from logstore.records.record import Message

from .ends import CommandFailed
from .lines import BadLine, Parsed, Wanted, there_are
from .times import CachedTimestamps

BOM = "\ufeff"  # spreadsheets write it in front of UTF-8
# A quote that is never closed makes one field of all that follows: notice it before it has filled
# the memory. Topics take 1 MiB by default.
FIELD_CHARACTERS_MAX = 4 << 20
OPEN_QUOTE = "a quote is not closed"
LONE_RETURN = "a carriage return without a line feed, outside quotes"


class CsvRows:
    """Rows as ``csv.reader`` understands them, strictly: quotes may hold commas and line ends.

    A stray quote makes one row of it and of good rows behind it. So of what is no row only the
    first line is bad, and reading goes on at the next. A row that is whole, but holds a bad
    timestamp, is bad with all of its lines.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._columns: list[str] = []
        self._position: dict[str, int] = {}
        self._timestamps = CachedTimestamps()
        self._encode = msgspec.json.Encoder().encode
        self._feed = _Feed()
        self._rows = csv.reader(self._feed, strict=True)
        csv.field_size_limit(FIELD_CHARACTERS_MAX)

    def receive(self, lines: list[bytes], first: int) -> Parsed:
        self._feed.add(lines, first)
        return self._parse(ended=False)

    def end(self) -> Parsed:
        return self._parse(ended=True)

    @property
    def warning(self) -> str | None:
        return self._timestamps.early

    def _parse(self, *, ended: bool) -> Parsed:
        numbers: list[int] = []
        raws: list[bytes] = []
        parsed, feed = Parsed([], numbers, raws, []), self._feed
        while feed.waiting:
            feed.begin_row()
            try:
                row = next(self._rows)
                if not row:
                    continue  # an empty line
                if not self._columns:
                    self._name_columns(row)
                    continue
                if len(row) != len(self._columns):
                    self._refuse_first_line(parsed, self._columns_wrong(row))
                    continue
                parsed.messages.append(self._message(row))
            except csv.Error as error:
                if feed.dry and not ended:
                    feed.take_back()  # the rest of the row is still to come
                    break
                self._refuse_first_line(parsed, f"not CSV: {self._reason(error)}")
            except UnicodeDecodeError:
                self._refuse_first_line(parsed, f"not UTF-8{feed.where()}")
            except ValueError as error:
                self._refuse(parsed, str(error))
            else:
                numbers.append(feed.number)
                raws.append(feed.raw())
        return parsed

    def _columns_wrong(self, row: list[str]) -> str:
        count = "1 column" if len(row) == 1 else f"{len(row)} columns"
        return f"{count}, but the first row names {len(self._columns)}{self._feed.where()}"

    def _reason(self, error: csv.Error) -> str:
        # Either the input or the room for one field has ended within quotes.
        text = str(error)
        if self._feed.dry or text.startswith("field larger"):
            return OPEN_QUOTE
        if text.startswith("new-line character"):  # the rest of it is advice about Python
            text = LONE_RETURN
        return f"{text}{self._feed.where()}"

    def _refuse_first_line(self, parsed: Parsed, reason: str) -> None:
        self._feed.take_back_all_but_first()
        self._refuse(parsed, reason)

    def _refuse(self, parsed: Parsed, reason: str) -> None:
        if not self._columns:  # without the first row, no other can be understood
            raise CommandFailed(f"line {self._feed.number}: {reason}")
        parsed.bad.append(BadLine(self._feed.number, reason, self._feed.raw()))

    def _name_columns(self, row: list[str]) -> None:
        columns = [row[0].removeprefix(BOM), *row[1:]]
        position = {name: n for n, name in enumerate(columns)}
        if len(position) < len(row):
            raise ValueError("the first row names a column twice")
        for name in self._wanted.fields:
            if name not in position:
                raise ValueError(f"no column {name!r} in the first row{there_are(columns)}")
        self._columns, self._position = columns, position

    def _message(self, row: list[str]) -> Message:
        """The message of a row. Raises ValueError with the reason."""
        wanted = self._wanted
        if wanted.value_field is None:
            value = self._encode(dict(zip(self._columns, row, strict=True)))
        else:
            value = self._cell(row, wanted.value_field)
        key = wanted.key if wanted.key_field is None else self._cell(row, wanted.key_field)
        headers = tuple((name, self._cell(row, name)) for name in wanted.header_fields)
        timestamp = None
        if wanted.timestamp_field is not None:
            timestamp = self._moment(row[self._position[wanted.timestamp_field]])
        return Message(value, key, wanted.headers + headers, timestamp)

    def _cell(self, row: list[str], name: str) -> bytes:
        return row[self._position[name]].encode()

    def _moment(self, cell: str) -> int:
        try:
            return self._timestamps[cell]
        except ValueError as error:
            raise ValueError(f"the column {self._wanted.timestamp_field!r}: {error}") from None


class _Feed:
    """Lines for csv.reader, which asks for as many as a row has; they can be taken back."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.number = 0  # of the first line of the current row
        self.dry = False  # the current row has asked for a line that is not there yet
        self._taken: list[bytes] = []
        self._next_number = 1

    def add(self, lines: list[bytes], first: int) -> None:
        if not self.waiting:
            self._next_number = first
        self.waiting.extend(lines)

    def begin_row(self) -> None:
        self.number, self.dry = self._next_number, False
        self._taken.clear()

    def take_back(self) -> None:
        self.waiting.extendleft(reversed(self._taken))
        self._next_number = self.number

    def take_back_all_but_first(self) -> None:
        self.waiting.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        self._next_number = self.number + 1

    def where(self) -> str:
        """The line in which the row ends, if it begins in another one."""
        return f" (at line {self._next_number - 1})" if len(self._taken) > 1 else ""

    def raw(self) -> bytes:
        return b"\n".join(self._taken)

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if not self.waiting:
            self.dry = True
            raise StopIteration
        line = self.waiting.popleft()
        self._taken.append(line)
        self._next_number += 1
        return line.decode() + "\n"
