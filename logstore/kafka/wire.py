"""The bytes below every message: numbers, strings, arrays, tagged fields.

Reading takes the buffer and a position, and returns the value and the position after it; invalid
bytes raise BrokenProtocol. Writing appends to a bytearray. The compact forms (KIP-482) are used in
flexible versions.
"""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final

from logstore.errors import BrokenProtocol

Buffer = bytes | bytearray | memoryview
Read = Callable[[Buffer, int], tuple[Any, int]]
Write = Callable[[bytearray, Any], None]

UVARINT_BYTES_MAX: Final = 5  # 32 bits
ELEMENTS_MAX: Final = 200_000  # of one array: each is an object or several
NIL_UUID: Final = bytes(16)

_INT16, _INT32 = Struct(">h"), Struct(">i")
_NULL_STRING, _NULL_BYTES = _INT16.pack(-1), _INT32.pack(-1)


def cut_off() -> BrokenProtocol:
    return BrokenProtocol("a request ends in the middle of a field")


def number(layout: str) -> tuple[Read, Write]:
    """A number of one of ``struct``'s formats, or a boolean."""
    struct = Struct(layout)
    unpack, pack, size = struct.unpack_from, struct.pack, struct.size

    def read(data: Buffer, at: int) -> tuple[Any, int]:
        try:
            return unpack(data, at)[0], at + size
        except StructError:
            raise cut_off() from None

    def write(out: bytearray, value: Any) -> None:  # noqa: ANN401
        out += pack(value)

    return read, write


read_int16, write_int16 = number(">h")
read_int32, write_int32 = number(">i")


def read_uvarint(data: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        for _ in range(UVARINT_BYTES_MAX):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
    except IndexError:
        raise cut_off() from None
    raise BrokenProtocol("a variable-length number has more than 32 bits")


def write_uvarint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _size_rigid(of: Struct) -> Callable[[Buffer, int], tuple[int, int]]:
    unpack, size = of.unpack_from, of.size

    def read(data: Buffer, at: int) -> tuple[int, int]:
        try:
            return unpack(data, at)[0], at + size
        except StructError:
            raise cut_off() from None

    return read


def _size_compact(data: Buffer, at: int) -> tuple[int, int]:
    value, at = read_uvarint(data, at)
    return value - 1, at


_string_size, _bytes_size = _size_rigid(_INT16), _size_rigid(_INT32)


def string(compact: bool, nullable: bool) -> tuple[Read, Write]:
    """UTF-8, at most 32,767 bytes."""
    read_size = _size_compact if compact else _string_size

    def read(data: Buffer, at: int) -> tuple[str | None, int]:
        size, at = read_size(data, at)
        if size < 0:
            if nullable and size == -1:
                return None, at
            raise BrokenProtocol(f"a string has {size} bytes")
        end = at + size
        if end > len(data):
            raise cut_off()
        try:
            return str(data[at:end], "utf-8"), end
        except UnicodeDecodeError:
            raise BrokenProtocol("a string is not UTF-8") from None

    def write(out: bytearray, value: str | None) -> None:
        if value is None:
            assert nullable
            out += b"\0" if compact else _NULL_STRING
            return
        text = value.encode()
        if compact:
            write_uvarint(out, len(text) + 1)
        else:
            out += _INT16.pack(len(text))
        out += text

    return read, write


def blob(compact: bool, nullable: bool) -> tuple[Read, Write]:
    """Bytes; read as a copy, for the buffer is the connection's."""
    read_size = _size_compact if compact else _bytes_size

    def read(data: Buffer, at: int) -> tuple[bytes | None, int]:
        size, at = read_size(data, at)
        if size < 0:
            if nullable and size == -1:
                return None, at
            raise BrokenProtocol(f"a field has {size} bytes")
        if at + size > len(data):
            raise cut_off()
        return bytes(data[at : at + size]), at + size

    def write(out: bytearray, value: bytes | None) -> None:
        if value is None:
            assert nullable
            out += b"\0" if compact else _NULL_BYTES
            return
        if compact:
            write_uvarint(out, len(value) + 1)
        else:
            out += _INT32.pack(len(value))
        out += value

    return read, write


def read_uuid(data: Buffer, at: int) -> tuple[bytes, int]:
    if at + 16 > len(data):
        raise cut_off()
    return bytes(data[at : at + 16]), at + 16


def write_uuid(out: bytearray, value: bytes) -> None:
    out += value


def read_count(data: Buffer, at: int, compact: bool) -> tuple[int, int]:
    """How many elements an array has; -1: it is null."""
    count, at = _size_compact(data, at) if compact else _bytes_size(data, at)
    # An element has a byte at least: a larger count is a lie, and would cost its memory.
    if not -1 <= count <= len(data) - at:
        raise BrokenProtocol(f"an array has {count} elements, {len(data) - at} bytes are left")
    if count > ELEMENTS_MAX:
        raise BrokenProtocol(f"an array has {count} elements; the maximum is {ELEMENTS_MAX}")
    return count, at


def write_count(out: bytearray, count: int, compact: bool) -> None:
    if compact:
        write_uvarint(out, count + 1)
    else:
        out += _INT32.pack(count)


def read_size(data: Buffer, at: int, compact: bool) -> tuple[int, int]:
    """How many bytes of records follow, all of which are there; -1: null."""
    size, at = _size_compact(data, at) if compact else _bytes_size(data, at)
    if not -1 <= size <= len(data) - at:
        raise BrokenProtocol(f"records of {size} bytes, {len(data) - at} bytes are left")
    return size, at


def array(read_one: Read, write_one: Write, compact: bool, nullable: bool) -> tuple[Read, Write]:
    """Any number of elements, as a list."""

    def read(data: Buffer, at: int) -> tuple[list[Any] | None, int]:
        count, at = read_count(data, at, compact)
        if count < 0:
            if nullable:
                return None, at
            raise BrokenProtocol("an array is null")
        found = []
        for _ in range(count):
            value, at = read_one(data, at)
            found.append(value)
        return found, at

    def write(out: bytearray, values: Any) -> None:  # noqa: ANN401
        if values is None:
            assert nullable
            out += b"\0" if compact else _NULL_BYTES
            return
        if compact:
            write_uvarint(out, len(values) + 1)
        else:
            out += _INT32.pack(len(values))
        for value in values:
            write_one(out, value)

    return read, write


def skip_tags(data: Buffer, at: int) -> int:
    """Step over tagged fields that nobody knows here."""
    if at < len(data) and data[at] == 0:
        return at + 1
    count, at = read_uvarint(data, at)
    for _ in range(count):
        _, at = read_uvarint(data, at)
        size, at = read_uvarint(data, at)
        at += size
        if at > len(data):
            raise cut_off()
    return at
