"""The fields of a message of the link, as bytes. Pure.

    number    from 0 to 2**63 - 1: 7 bits a byte, the lowest first; the high bit says that more
              follow
    signed    the same, zigzag: 0, -1, 1, -2, ...
    optional  the number and 1; 0: there is none
    flag      a byte, 0 or 1
    data      its length, and so many bytes
    parts     how many; each as data
    runs      how many, at least 1; each as two numbers: what lies between it and the end of the run
              before, and its length less 1
    rest      all that is left: the last field of a message

Invalid bytes raise BrokenProtocol, and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from logstore.errors import BrokenProtocol

NUMBER_MAX: Final = 2**63 - 1
PARTS_MAX: Final = 16  # the facts of an error are a few
RUNS_MAX: Final = 512  # of one frame: to carry out one takes some 10 microseconds
RUN_MAX: Final = 1 << 16  # numbers of one run: to carry it out takes a millisecond

_NUMBER_BYTES_MAX = 9
_SHORT = [bytes((n,)) for n in range(128)]

Run = tuple[int, int]  # the first number, and how many follow each other
Read = Callable[["Source"], Any]
Write = Callable[[list[bytes], Any], None]


class Source:
    """Bytes that are read from start to end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        """Raises BrokenProtocol."""
        data, at = self._data, self._at
        number = shift = 0
        for position in range(at, min(at + _NUMBER_BYTES_MAX, len(data))):
            byte = data[position]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte and shift:
                    raise BrokenProtocol("a number of the link is not in its shortest form")
                self._at = position + 1
                return number
            shift += 7
        if len(data) - at < _NUMBER_BYTES_MAX:
            raise cut_off()
        raise BrokenProtocol("a number of the link has more than 63 bits")

    def data(self, size: int) -> bytes:
        """The next so many bytes. Raises BrokenProtocol."""
        at = self._at
        if size > len(self._data) - at:
            raise cut_off()
        self._at = at + size
        return bytes(self._data[at : at + size])

    def rest(self) -> memoryview:
        """All that is left; a view."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Raises BrokenProtocol where something is left."""
        left = len(self._data) - self._at
        if left:
            raise BrokenProtocol(f"a message of the link has {left} bytes too many")


def cut_off() -> BrokenProtocol:
    """What to raise where a field has fewer bytes than it says."""
    return BrokenProtocol("a message of the link ends in the middle of a field")


class Kind(NamedTuple):
    """One kind of field."""

    read: Read
    write: Write


def numbered(number: int) -> bytes:
    """As bytes; from 0 to ``NUMBER_MAX``."""
    if 0 <= number < 128:
        return _SHORT[number]
    assert 0 <= number <= NUMBER_MAX, number
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _write_number(out: list[bytes], value: int) -> None:
    out.append(numbered(value))


def _read_signed(source: Source) -> int:
    number = source.number()
    return number >> 1 ^ -(number & 1)


def _write_signed(out: list[bytes], value: int) -> None:
    out.append(numbered(2 * value if value >= 0 else -2 * value - 1))


def _read_optional(source: Source) -> int | None:
    number = source.number()
    return number - 1 if number else None


def _write_optional(out: list[bytes], value: int | None) -> None:
    out.append(numbered(0 if value is None else value + 1))


def _read_flag(source: Source) -> bool:
    byte = source.number()
    if byte > 1:
        raise BrokenProtocol(f"a flag of the link is {byte}")
    return bool(byte)


def _read_data(source: Source) -> bytes:
    return source.data(source.number())


def _write_data(out: list[bytes], value: bytes) -> None:
    out += (numbered(len(value)), value)


def _read_parts(source: Source) -> tuple[bytes, ...]:
    count = source.number()
    if count > PARTS_MAX:
        raise BrokenProtocol(f"a message of the link has {count} parts, more than {PARTS_MAX}")
    return tuple(_read_data(source) for _ in range(count))


def _write_parts(out: list[bytes], value: Sequence[bytes]) -> None:
    assert len(value) <= PARTS_MAX
    out.append(numbered(len(value)))
    for it in value:
        _write_data(out, it)


def _read_runs(source: Source) -> tuple[Run, ...]:
    count = source.number()
    if not 0 < count <= RUNS_MAX:
        raise BrokenProtocol(f"a message of the link has {count} runs, not 1 to {RUNS_MAX}")
    found, end = [], 0
    for _ in range(count):
        first = end + source.number()
        length = source.number() + 1
        end = first + length
        if length > RUN_MAX:
            raise BrokenProtocol(f"a run of the link has {length} numbers, more than {RUN_MAX}")
        if end > NUMBER_MAX:
            raise BrokenProtocol("a run of the link reaches beyond 63 bits")
        found.append((first, length))
    return tuple(found)


def _write_runs(out: list[bytes], value: Sequence[Run]) -> None:
    assert 0 < len(value) <= RUNS_MAX
    out.append(numbered(len(value)))
    end = 0
    for first, length in value:
        assert 0 < length <= RUN_MAX
        out += (numbered(first - end), numbered(length - 1))
        end = first + length


def _write_rest(out: list[bytes], value: bytes) -> None:
    """The last field, which stays a piece of its own."""
    out.append(value)


NUMBER: Final = Kind(Source.number, _write_number)
SIGNED: Final = Kind(_read_signed, _write_signed)
OPTIONAL: Final = Kind(_read_optional, _write_optional)
FLAG: Final = Kind(_read_flag, _write_number)
DATA: Final = Kind(_read_data, _write_data)
PARTS: Final = Kind(_read_parts, _write_parts)
RUNS: Final = Kind(_read_runs, _write_runs)
REST: Final = Kind(Source.rest, _write_rest)
