"""Records of the plainest layouts and of any size, one by one, but with the fewest steps for each.

No headers, attributes of 0, a length of one or two bytes, the rest as wide in each record as in the
first: the timestamp delta (one or two bytes), the offset delta (one to three), the key (up to 63
bytes, or none). ``struct`` takes the numbers out of a record at once, its length together with the
byte before, which is the count of headers of the record before: 130 ns where ``plain`` takes 200.
What ``plain`` has beyond: both deltas of two bytes, and keys of many lengths. Nothing is raised and
nothing is assumed: what is not as it must be ends the stretch.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from struct import Struct, error
from typing import Final, NamedTuple

from logstore.records.varint import NULL

END_DELTA: Final = 1 << 20  # an offset delta of four bytes
QUICK_MIN: Final = 16  # fewer cost more this way than in the loop

_AT_ONCE: Final = 512  # records of a stretch
_WIDTH_ENDS: Final = (1 << 6, 1 << 13, END_DELTA)  # where an offset delta takes a byte more
# Formats that extract the timestamp delta, the offset delta and the key's length, by the widths of
# the first two. Numbers keep their stored form, low byte first. ``struct`` has no three-byte
# number; with one byte of the timestamp delta or the key's length they become four.
_MIDDLES: Final = {(1, 1): "BH", (2, 1): "HH", (1, 2): "I", (1, 3): "BI", (2, 3): "HI"}
# Header count, length, attributes, the key's length: of a record that begins a byte earlier.
_FIXED: Final = 1 + 2 + 1 + 1
_VALUE_MAX: Final = 8191

_LONG: Final = 0x8000  # the length goes on in a second byte
_Unpack = Callable[[bytes, int], tuple[int, ...]]

# Records, their end, timestamp deltas, starts, places of those with a length of one byte.
Taken = tuple[int, int, list[int], list[int], list[int]]


class Quick(NamedTuple):
    """Records that were found whole, one after the other."""

    records: int
    end: int  # where the last of them ends
    least: int  # timestamp deltas
    most: int
    keyless: bool  # all of them, or none
    starts: list[int]  # of each, if they are asked for
    short: list[int]  # places of those whose length takes one byte
    key_at: int  # in each of the others: in these a byte before
    key_bytes: int


def quick(data: bytes, at: int, left: int, delta: int, *, starts: bool) -> Quick | None:
    """The records from ``at`` on, up to ``left``; None if there are too few.

    ``delta``: the offset delta of the first record, which the others follow.
    """
    if (
        not at
        or data[at - 1]
        or left < QUICK_MIN
        or not 0 <= delta < END_DELTA
        or at + 12 > len(data)
    ):
        return None
    length_bytes = 2 if data[at] & 0x80 else 1
    time_bytes = 1 if data[at + length_bytes + 1] < 0x80 else 2
    delta_bytes = 1 if delta < _WIDTH_ENDS[0] else 2 if delta < _WIDTH_ENDS[1] else 3
    key = data[at + length_bytes + 1 + time_bytes + delta_bytes]
    middle = _MIDDLES.get((time_bytes, delta_bytes))
    if middle is None or (key != NULL and key & 0x81):
        return None
    key_bytes = 0 if key == NULL else key >> 1
    count = min(left, _AT_ONCE, _WIDTH_ENDS[delta_bytes - 1] - delta)
    fixed = _FIXED + time_bytes + delta_bytes + key_bytes
    unpack = _fields("I" + middle, key_bytes).unpack_from
    short = _fields("Hx" + middle, key_bytes).unpack_from
    go = _one_number if middle == "I" else _two_numbers
    wanted = _wanted(delta, count, delta_bytes, key)
    read, end, times, found, narrow = go(
        data, at - 1, wanted, unpack, short, fixed, time_bytes, starts
    )
    if read < QUICK_MIN:
        return None
    if not any(map((1).__and__, times)):  # none is negative: they are in the order of their bytes
        times = [min(times), max(times)]
    numbers = [_number(it, time_bytes) for it in times]
    return Quick(
        read, end, min(numbers), max(numbers), key == NULL,
        found, [it for it in narrow if it < read], 4 + time_bytes + delta_bytes, key_bytes,
    )  # fmt: skip


def _one_number(
    data: bytes,
    at: int,
    wanted: list[int],
    unpack: _Unpack,
    short: _Unpack,
    fixed: int,
    _: int,
    noted: bool,
) -> Taken:
    """As ``quick``, with all compared fields in one number, whose lowest byte is the timestamp
    delta.
    """
    sizes, raws, starts, narrow = _sizes(), _raws(), list[int](), list[int]()
    last, times, read, size, note = -1, list[int](), 0, 0, starts.append
    try:
        for want in wanted:
            head, middle, value = unpack(data, at)
            if head & _LONG:
                size = sizes[head]
                raw = raws[size - fixed]
            else:
                head, middle, value = short(data, at)
                size = sizes[head]
                raw = raws[size - fixed + 1]
                narrow.append(read)
            if value != raw and value & 0xFF != raw:
                break
            time = middle - want
            if time != last:
                if not 0 <= time < 0x80:
                    break
                last = time
                times.append(time)
            if noted:
                note(at + 1)
            read += 1
            at += size
    except (error, KeyError):  # the bytes end, or the length is not common
        pass
    read, end = _without_the_last(data, at, read, size, starts)
    return read, end, times, starts, narrow


def _two_numbers(
    data: bytes,
    at: int,
    wanted: list[int],
    unpack: _Unpack,
    short: _Unpack,
    fixed: int,
    time_bytes: int,
    noted: bool,
) -> Taken:
    """As ``quick``, with the timestamp delta in one number and the other fields in another."""
    sizes, raws, starts, narrow = _sizes(), _raws(), list[int](), list[int]()
    more, goes_on = (0x80, 0) if time_bytes == 1 else (0x8080, 0x80)
    last, times, read, size, note = -1, list[int](), 0, 0, starts.append
    try:
        for want in wanted:
            head, time, middle, value = unpack(data, at)
            if head & _LONG:
                size = sizes[head]
                raw = raws[size - fixed]
            else:
                head, time, middle, value = short(data, at)
                size = sizes[head]
                raw = raws[size - fixed + 1]
                narrow.append(read)
            if middle != want or (value != raw and value & 0xFF != raw):
                break
            if time != last:
                if time & more != goes_on:
                    break
                last = time
                times.append(time)
            if noted:
                note(at + 1)
            read += 1
            at += size
    except (error, KeyError):  # the bytes end, or the length is not common
        pass
    read, end = _without_the_last(data, at, read, size, starts)
    return read, end, times, starts, narrow


def _without_the_last(
    data: bytes, at: int, read: int, size: int, starts: list[int]
) -> tuple[int, int]:
    """The number of accepted records, and where they end.

    ``at`` is the last byte of the last record, the count of its headers.

    The count of each other record was checked with the record after it. If this count is not 0, the
    record after it was not found in the table, so that ``size`` is still this record's.
    """
    if read and (at >= len(data) or data[at]):
        read -= 1
        at -= size
        del starts[read:]
    return read, at + 1


@lru_cache(8)
def _fields(first: str, key_bytes: int) -> Struct:
    return Struct(f"<{first}{key_bytes}xH")


@cache
def _sizes() -> dict[int, int]:
    """The size of a record by its length, with a byte of 0 before it and one after it."""
    short = {it << 1 << 8: 1 + it for it in range(64)}
    lengths = range(64, _VALUE_MAX + 1)
    return short | {(it << 1 & 0x7F | 0x80) << 8 | it >> 6 << 16: 2 + it for it in lengths}


@cache
def _raws() -> list[int]:
    """The length of a value in its encoded form, by the bytes that the value and its length take.

    A length of one byte is compared with the lower byte. -1 means none; the last entries are for
    negative numbers.
    """
    narrow = [value << 1 for value in range(64)]
    wide = [(value << 1 & 0x7F | 0x80) | value >> 6 << 8 for value in range(64, _VALUE_MAX + 1)]
    return [-1, *narrow, -1, *wide, *[-1] * 128]


def _wanted(delta: int, count: int, delta_bytes: int, key: int) -> list[int]:
    if delta_bytes == 3:
        begin = delta & 0x1FFF
        above = delta >> 13 << 16 | key << 24
        low = _low_bytes()[begin : begin + count]
        return [above + it for it in low]  # up to where the third byte changes
    return _table(delta_bytes, key)[delta : delta + count]


@lru_cache(4)
def _table(delta_bytes: int, key: int) -> list[int]:
    if delta_bytes == 1:
        return [delta << 1 | key << 8 for delta in range(_WIDTH_ENDS[0])]
    above = key << 24
    return [above | (it << 8 & 0x7FFFFF) for it in _low_bytes()]


@cache
def _low_bytes() -> list[int]:
    """The lower two bytes of numbers of three bytes."""
    deltas = range(_WIDTH_ENDS[1])
    return [(it << 1 & 0x7F | 0x80) | (it >> 6 | 0x80) << 8 for it in deltas]


def _number(raw: int, width: int) -> int:
    zigzag = raw if width == 1 else raw & 0x7F | raw >> 8 << 7
    return zigzag >> 1 ^ -(zigzag & 1)
