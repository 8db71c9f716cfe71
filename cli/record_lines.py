"""Lines that ``consume --format json`` has printed to messages: what it shows of a record. Pure."""

import base64
import binascii
from typing import Literal

import msgspec

from logstore.records.record import Message

from .fields import BOM, reason_of
from .lines import BadLine, Parsed, Wanted
from .times import timestamp_ms

_NO_TIME_MS = -1  # as a record without a timestamp has it

Encoding = Literal["base64"] | None


class _Header(msgspec.Struct, gc=False):
    name: str
    value: str | None
    name_encoding: Encoding = None
    value_encoding: Encoding = None


class _Line(msgspec.Struct, gc=False):
    value: str | None
    key: str | None = None
    value_encoding: Encoding = None
    key_encoding: Encoding = None
    headers: tuple[_Header, ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None
    timestamp: str | None = None


class RecordLines:
    """Each line is a record; topic and offset, which it gets anew, are left out."""

    def __init__(self, wanted: Wanted) -> None:
        self._headers = wanted.headers
        self._decode = msgspec.json.Decoder(_Line).decode

    def receive(self, lines: list[bytes], first: int) -> Parsed:
        parsed = Parsed([], [], [], [], [])
        numbers, raws, partitions = [], [], []
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            try:
                it = self._read(line.removeprefix(BOM) if number == 1 else line)
                message = self._message(it)
            except ValueError as error:
                parsed.bad.append(BadLine(number, str(error), line))
                continue
            parsed.messages.append(message)
            partitions.append(it.partition)
            numbers.append(number)
            raws.append(line)
        return parsed._replace(numbers=numbers, raws=raws, partitions=partitions)

    def end(self) -> Parsed:
        return Parsed([], (), (), [])

    @property
    def warning(self) -> str | None:
        return None

    def _read(self, line: bytes) -> _Line:
        """Decode a line. Raises ValueError with the reason."""
        try:
            return self._decode(line)
        except RecursionError:
            raise ValueError("JSON that is nested too deeply") from None
        except msgspec.ValidationError as error:
            raise ValueError(f"not a record as consume --format json prints it: {error}") from None
        except ValueError as error:
            raise ValueError(f"not JSON: {reason_of(error, line)}") from None

    def _message(self, it: _Line) -> Message:
        """The message of a decoded line. Raises ValueError with the reason."""
        moment = it.timestamp_ms
        if moment is None and it.timestamp is not None:
            moment = timestamp_ms(it.timestamp)
        return Message(
            _bytes("value", it.value, it.value_encoding),
            _bytes("key", it.key, it.key_encoding),
            self._headers + tuple(map(_header, it.headers)) if it.headers else self._headers,
            None if moment == _NO_TIME_MS else moment,
        )


def _header(it: _Header) -> tuple[str, bytes | None]:
    name = it.name
    if it.name_encoding is not None:  # no UTF-8, as the codec has it
        decoded = _bytes("name", name, it.name_encoding)
        assert decoded is not None
        name = decoded.decode("utf-8", "surrogateescape")
    return name, _bytes("value", it.value, it.value_encoding)


def _bytes(field: str, text: str | None, encoding: Encoding) -> bytes | None:
    if text is None:
        return None
    if encoding is None:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the {field!r} is not base64, though {field}_encoding says so") from None
