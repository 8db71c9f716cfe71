"""Records of the simplest layouts and of any size, one by one, with few steps for each.

These have no headers; an offset delta of two bytes and a timestamp delta of one or two, the same in
all records; and a key of up to 63 bytes, or none. In most, the record's length and the value's
length take two bytes: ``struct`` extracts the numbers of such a record at once, and a table has the
values that follow from its length: 160 ns, where the loop in ``check`` takes 430. Nothing is raised
and nothing is assumed: a record that does not fit ends the stretch.
"""

from struct import Struct, error
from typing import Final

from logstore.records.stretch import Stretch
from logstore.records.varint import NULL

FIRST_DELTA: Final = 64  # offset deltas of two bytes: from the first to below the end
END_DELTA: Final = 8192

_AT_ONCE: Final = 512  # records of a stretch: their deltas are copied out of the table
_LENGTH_BYTES: Final = 2
_NOT_COMMON: Final = ~0x3FFE  # as in ``check``
# Attributes, two bytes of offset delta, the key's length, the count of headers.
_FIXED: Final = 1 + 2 + 1 + 1
# Numbers of two bytes are compared in their stored form, as one number, low byte first.
_DELTAS: Final = [0] * FIRST_DELTA + [
    (delta << 1 & 0x7F | 0x80) | delta >> 6 << 8 for delta in range(FIRST_DELTA, END_DELTA)
]
# length, timestamp delta, offset delta, the key's length; and the value's, where there is no key
_KEYED: Final = {1: Struct("<HxBHB"), 2: Struct("<HxHHB")}
_KEYLESS: Final = {1: Struct("<HxBHBH"), 2: Struct("<HxHHBH")}


class _Sizes(dict[int, int]):
    """For a two-byte number: the bytes that it and its content take; 0 if impossible."""

    def __missing__(self, raw: int) -> int:
        zigzag = raw & 0x7F | raw >> 8 << 7
        if raw & 0x8080 != 0x80 or zigzag & 1:
            return 0
        size = self[raw] = _LENGTH_BYTES + (zigzag >> 1)
        return size


class _Whole(dict[int, tuple[int, int]]):
    """For a record's encoded length: its size, and its value's encoded length."""

    def __init__(self, time_bytes: int) -> None:
        super().__init__()
        self._fixed = _LENGTH_BYTES + _FIXED + time_bytes

    def __missing__(self, raw: int) -> tuple[int, int]:
        size = _SIZES[raw]
        value = size - self._fixed - 2
        if value < 64:  # its length takes a byte: not for here
            return 0, -1
        found = self[raw] = size, (value << 1 & 0x7F | 0x80) | value >> 6 << 8
        return found


_SIZES: Final = _Sizes()
_WHOLE: Final = {1: _Whole(1), 2: _Whole(2)}


def stretch(data: bytes, at: int, left: int, delta: int) -> Stretch | None:
    """The plain records from ``at`` on, up to ``left``; None if there are none.

    ``delta``: the offset delta of the first record, which the others follow.
    """
    stop = min(delta + left, delta + _AT_ONCE, END_DELTA)
    if not FIRST_DELTA <= delta < stop or at + 8 > len(data):
        return None
    width = 1 if data[at + 3] < 0x80 else 2
    deltas = _DELTAS[delta:stop]
    keyless = data[at + 3 + width + 2] == NULL
    read, end, times = (_keyless if keyless else _keyed)(data, at, deltas, width)
    if not read:
        return None
    if not any(map((1).__and__, times)):  # none is negative: they are in the order of their bytes
        times = [min(times), max(times)]
    numbers = [_number(it, width) for it in times]
    return Stretch(read, end, min(numbers), max(numbers), keyless)


def _keyless(data: bytes, at: int, deltas: list[int], width: int) -> tuple[int, int, list[int]]:
    """The number of whole records, where they end, and each timestamp delta that differs from the
    last.
    """
    unpack, whole = _KEYLESS[width].unpack_from, _WHOLE[width]
    goes_on = 0x80 if width == 2 else 0
    last, times, read = -1, list[int](), 0
    try:
        for read, wanted in enumerate(deltas):
            length, time, delta, key, value = unpack(data, at)
            size, value_wanted = whole[length]
            end = at + size
            if delta != wanted or key != NULL or value != value_wanted or data[end - 1]:
                end, time = _narrow(data, at, wanted, width, keyless=True)
                if not end:
                    return read, at, times
            if time != last:
                if time & 0x8080 != goes_on:
                    return read, at, times
                last = time
                times.append(time)
            at = end
    except (error, IndexError):  # the bytes end
        return read, at, times
    return len(deltas), at, times


def _keyed(data: bytes, at: int, deltas: list[int], width: int) -> tuple[int, int, list[int]]:
    """As ``_keyless``."""
    unpack, sizes = _KEYED[width].unpack_from, _SIZES
    goes_on, key_at = (0x80 if width == 2 else 0), _LENGTH_BYTES + _FIXED - 1 + width
    last, times, read = -1, list[int](), 0
    try:
        for read, wanted in enumerate(deltas):
            length, time, delta, key = unpack(data, at)
            place = at + key_at + (key >> 1)
            end = at + sizes[length]
            value_bytes = sizes[data[place] | data[place + 1] << 8]
            if (
                delta != wanted
                or key & 0x81
                or not value_bytes
                or place + value_bytes + 1 != end
                or data[end - 1]
            ):
                end, time = _narrow(data, at, wanted, width, keyless=False)
                if not end:
                    return read, at, times
            if time != last:
                if time & 0x8080 != goes_on:
                    return read, at, times
                last = time
                times.append(time)
            at = end
    except (error, IndexError):  # the bytes end
        return read, at, times
    return len(deltas), at, times


def _narrow(data: bytes, at: int, wanted: int, width: int, *, keyless: bool) -> tuple[int, int]:
    """Where a plain record ends, and its timestamp delta, for lengths of any width.

    An end of 0 means that the record is not plain. Raises IndexError.
    """
    length = data[at]
    at += 1
    if length > 127:
        length += (data[at] << 7) - 128
        at += 1
    end = at + (length >> 1)
    time = data[at + 1] if width == 1 else data[at + 1] | data[at + 2] << 8
    at += 1 + width
    key = data[at + 2]
    if data[at] | data[at + 1] << 8 != wanted or length & _NOT_COMMON or (key == NULL) != keyless:
        return 0, 0
    at += 3
    if not keyless:
        if key & 0x81:
            return 0, 0
        at += key >> 1
    value = data[at]
    at += 1
    if value > 127:
        value += (data[at] << 7) - 128
        at += 1
    at += value >> 1
    if value & _NOT_COMMON or at + 1 != end or data[at]:
        return 0, 0
    return end, time


def _number(raw: int, width: int) -> int:
    zigzag = raw if width == 1 else raw & 0x7F | raw >> 8 << 7
    return zigzag >> 1 ^ -(zigzag & 1)
