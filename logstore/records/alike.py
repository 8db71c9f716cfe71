"""Neighbouring records of equal layout, compared many at a time.

If records have the same length, and each number in them the same width, the n-th byte of every
record is one slice with a stride. So a thousand records are compared in a dozen C calls: their
lengths, the lengths within them, those of their headers, and the offset deltas with their required
values. Nothing is raised and nothing is assumed: if a byte differs, the run is shorter.
"""

from functools import lru_cache
from operator import lt
from sys import byteorder
from typing import NamedTuple

from logstore.errors import CorruptBatch
from logstore.records.varint import NULL, decoded

NO_KEY = -1
ALIKE_MIN = 16  # fewer cost more this way than one by one

_HEADERS_MAX = 32  # of records with more the columns would cost more than the loop
_TIME_BYTES_MAX = 5
# Offset deltas as varints, cut into columns: one byte up to 63, then two up to 8191, then three.
_NARROW = bytes(range(0, 128, 2))
_LOW = bytes(delta << 1 & 0x7F | 0x80 for delta in range(64 * 128))
_MIDDLE = bytes(delta >> 6 & 0x7F for delta in range(64 * 128))
_MIDDLE_OF_THREE = bytes(it | 0x80 for it in _MIDDLE)
_WIDTH_ENDS = (0, 1 << 6, 1 << 13, 1 << 20)  # where an offset delta takes a byte more

_GOES_ON = bytes(byte >> 7 for byte in range(256))  # whether a varint has a byte after this one
# Bytes of an integer's lane for a varint of this width, whose top bit is then 0.
_LANE_BYTES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8}
_NEGATIVE = bytes(byte & 1 for byte in range(256))  # by a zigzag number's first byte


class Alike(NamedTuple):
    """A run of records that were found intact."""

    records: int
    end: int  # where the last of them ends
    least: int  # timestamp deltas
    most: int
    delta: int  # the offset delta of the last
    layout: "Layout"  # of each of them


class Layout(NamedTuple):
    """The layout of one record; positions count from its first byte."""

    same: list[int]  # of bytes that must be alike in all: lengths and counts
    time_at: int
    delta_at: int
    time_end: int
    delta_end: int
    size: int
    delta: int
    key_at: int
    key_bytes: int  # NO_KEY: null
    valueless: bool  # null, which is not an empty value


def alike(data: bytes, at: int, left: int, delta: int, *, dense: bool = True) -> Alike | None:
    """The run that begins at ``at``, of up to ``left`` records; None if it is too short.

    ``delta``: the offset delta of the first record, which the others follow. If not ``dense``: its
    minimum, and the others rise.
    """
    # Most records that are not alike are not equally long.
    try:
        length = data[at]
        second = at + 1 + (length >> 1)
        if length > 127:
            second = at + 2 + ((length & 127 | data[at + 1] << 7) >> 1)
            if data[at + 1] != data[second + 1]:
                return None
        if data[second] != length:
            return None
        layout = _layout(data, at)
    except (IndexError, CorruptBatch):
        return None  # reading record by record reports the fault
    if layout is None or layout.delta < delta or (dense and layout.delta > delta):
        return None
    delta = layout.delta
    size = layout.size
    width = layout.delta_end - layout.delta_at
    count = min(left, (len(data) - at) // size, 1 << 13)
    for place in layout.same:
        if count < ALIKE_MIN:
            return None
        column = data[at + place : at + count * size : size]
        if column != column[:1] * count:
            count -= len(column.lstrip(column[:1]))
    follow = min(count, _WIDTH_ENDS[width] - delta)
    follow = _following(data, at + layout.delta_at, size, width, follow, delta)
    if not follow and not dense:
        follow = _rising(data, at + layout.delta_at, size, width, count)
    count = follow
    columns = []
    for place in range(layout.time_at, layout.time_end):
        if count < ALIKE_MIN:
            return None
        column = data[at + place : at + count * size : size]
        if column != column[:1] * count:
            wide = column.translate(_GOES_ON)
            count -= len(wide.lstrip(wide[:1]))
        columns.append(column)
    if count < ALIKE_MIN:
        return None
    least, most = extremes([column[:count] for column in columns])
    last, _ = decoded(data, at + (count - 1) * size + layout.delta_at)
    return Alike(count, at + count * size, least, most, last >> 1, layout)


def _layout(data: bytes, at: int) -> Layout | None:
    """The positions of the fields of the record at ``at``; None if the record is not common.

    Raises IndexError, CorruptBatch.
    """
    zigzag, place = decoded(data, at)
    end = place + (zigzag >> 1)
    same = list(range(at, place))
    time_at = place + 1  # after the attributes: reserved (KIP-98)
    _, time_end = decoded(data, time_at, _TIME_BYTES_MAX)
    found, delta_end = decoded(data, time_end)
    width = delta_end - time_end
    delta = found >> 1
    if found & 1 or not _width_fits(width, delta) or zigzag & 1 or end > len(data):
        return None
    key, place = decoded(data, delta_end)
    same += range(delta_end, place)
    sizes = [key]
    key_at = place - at
    place += key >> 1 if key != NULL else 0
    begin = place
    value, place = decoded(data, place)
    same += range(begin, place)
    sizes.append(value)
    place += value >> 1 if value != NULL else 0
    begin = place
    headers, place = decoded(data, place)
    same += range(begin, place)
    if headers & 1 or headers >> 1 > _HEADERS_MAX:
        return None
    for nth in range(headers):  # zigzag: twice as many, a key and a value of each
        begin = place
        size, place = decoded(data, place)
        same += range(begin, place)
        if size == NULL and not nth & 1:
            return None
        sizes.append(size)
        place += size >> 1 if size != NULL else 0
    if place != end or any(size & 1 and size != NULL for size in sizes):
        return None
    return Layout(
        [it - at for it in same],
        time_at - at,
        time_end - at,
        time_end - at,
        delta_end - at,
        end - at,
        delta,
        key_at,
        key >> 1 if key != NULL else NO_KEY,
        value == NULL,
    )


def _width_fits(width: int, delta: int) -> bool:
    """Whether the shortest form of an offset delta has this many bytes."""
    return width < len(_WIDTH_ENDS) and _WIDTH_ENDS[width - 1] <= delta < _WIDTH_ENDS[width]


def _following(data: bytes, at: int, size: int, width: int, count: int, delta: int) -> int:
    """The number of offset deltas, from the first on, that each exceed the one before by one."""
    if count < ALIKE_MIN:
        return 0
    stop = at + (count - 1) * size + 1
    if width == 1:
        return count if data[at:stop:size] == _NARROW[delta : delta + count] else 0
    low, high = data[at:stop:size], data[at + 1 : stop + 1 : size]
    if width == 2:
        fits = low == _LOW[delta : delta + count] and high == _MIDDLE[delta : delta + count]
        return count if fits else 0
    # Three bytes: up to the next multiple of 8192 the third stays the same.
    begin = delta & 0x1FFF
    count = min(count, (1 << 13) - begin)
    third = data[at + 2 : stop + 2 : size][:count]
    fits = (
        low[:count] == _LOW[begin : begin + count]
        and high[:count] == _MIDDLE_OF_THREE[begin : begin + count]
        and third == bytes((delta >> 13,)) * count
    )
    return count if fits else 0


def _rising(data: bytes, at: int, size: int, width: int, count: int) -> int:
    """The number of offset deltas of this width; 0 if they do not rise."""
    if count < ALIKE_MIN:
        return 0
    columns = [data[at + nth : at + nth + (count - 1) * size + 1 : size] for nth in range(width)]
    for column in columns:
        wide = column.translate(_GOES_ON)
        count -= len(wide.lstrip(wide[:1]))
        if count < ALIKE_MIN:
            return 0
    if 1 in columns[0].translate(_NEGATIVE):
        return 0
    numbers = _ordered([column[:count] for column in columns])
    return count if all(map(lt, numbers, numbers[1:])) else 0


def _ordered(columns: list[bytes]) -> list[int]:
    """Varints of equal width as numbers of the same order, if none is negative."""
    together = bytearray(4 * len(columns[0]))
    for nth, column in enumerate(columns):
        together[nth if byteorder == "little" else 3 - nth :: 4] = column
    return memoryview(together).cast("I").tolist()


def extremes(columns: list[bytes]) -> tuple[int, int]:
    """The minimum and maximum of varints of equal width, by column.

    They are lanes of one integer, compared all at once, so that no object per record is created.
    """
    count, width = len(columns[0]), len(columns)
    first = bytes(column[0] for column in columns)
    if all(column == column[:1] * count for column in columns):
        return _number(first), _number(first)
    lane = _LANE_BYTES[width]
    together = bytearray(lane * count)
    for nth, column in enumerate(columns):
        together[nth::lane] = column
    numbers, tops = int.from_bytes(together, "little"), _tops(count, lane)
    ones = tops >> 8 * lane - 1
    below = (1 << 8 * lane - 1) - 1  # every bit of a lane but its top one
    if not (odd := numbers & ones):
        if _rise(numbers, count, lane):  # most often they do
            return _number(first), _number(bytes(column[-1] for column in columns))
        least = _largest(numbers ^ below * ones, count, lane) ^ below
        most = _largest(numbers, count, lane)
    elif odd == ones:  # all are negative, and the more so the larger they are
        least = _largest(numbers, count, lane)
        most = _largest(numbers ^ below * ones, count, lane) ^ below
    else:
        least = _largest(numbers & odd * below, count, lane)
        most = _largest(numbers & ~(odd * below), count, lane)
    return _number(least.to_bytes(lane, "little")), _number(most.to_bytes(lane, "little"))


def _rise(numbers: int, count: int, lane: int) -> bool:
    """Whether no lane is less than the lane before. As ``_largest``."""
    bits = 8 * lane
    tops = _tops(count, lane) >> bits
    before = numbers & (1 << (count - 1) * bits) - 1
    return (numbers >> bits | tops) - before & tops == tops


def _largest(numbers: int, count: int, lane: int) -> int:
    """The largest lane of an integer, whose lanes have this many bytes and a top bit of 0.

    One half is compared with the other, lane by lane, then the half of the rest.
    """
    bits = 8 * lane
    tops = _tops(count, lane)
    while count > 1:
        half = (count + 1) // 2
        upper = numbers >> (count - half) * bits  # an odd one is in both
        lower = numbers & (1 << half * bits) - 1
        tops >>= (count - half) * bits
        larger = (upper | tops) - lower & tops  # a lane's top bit is left where upper >= lower
        larger -= larger >> bits - 1
        numbers = lower ^ (lower ^ upper) & larger
        count = half
    return numbers


@lru_cache(8)
def _tops(count: int, lane: int) -> int:
    """The top bit of each lane."""
    return int.from_bytes((bytes(lane - 1) + b"\x80") * count, "little")


def _number(row: bytes) -> int:
    zigzag = sum((byte & 0x7F) << 7 * nth for nth, byte in enumerate(row))
    return zigzag >> 1 ^ -(zigzag & 1)
