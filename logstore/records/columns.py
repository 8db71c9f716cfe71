"""Neighbouring records of one layout and of any size, compared many at a time.

The part before a record's value (its head) has the same length in each of them, except that the
length field takes one byte or two. So the heads are cut out and concatenated, and the n-th byte of
every head is one slice with a stride, as in ``alike``. Numbers of two bytes are compared as one
integer with many lanes of 16 bits: a record's length with its value's length. Only the step from
one record to the next goes byte by byte: 175 ns a record, where ``quick`` takes 200 for its
layouts, and ``plain`` 440 for others. Nothing is raised and nothing is assumed: records that do not
fit are left to other modules.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from logstore.records.alike import extremes
from logstore.records.quick import END_DELTA, Quick
from logstore.records.varint import NULL

COLUMNS_MIN: Final = 32  # fewer cost more this way than one by one

_WIDTH_ENDS: Final = (1 << 6, 1 << 13, END_DELTA)  # where an offset delta takes a byte more
_TIME_BYTES_MAX: Final = 3  # of a timestamp delta: 17 minutes
_NOWHERE: Final = 1 << 40  # an impossible size, beyond the end of the bytes
# Distance to the next record by the first byte of its length, and the addition by the second.
_SIZES: Final = [
    _NOWHERE if it & 1 else 1 + (it >> 1) if it < 0x80 else 2 + (it >> 1 & 0x3F)
    for it in range(256)
]
_MORE: Final = [it << 6 if it < 0x80 else _NOWHERE for it in range(256)]
_WIDE: Final = bytes(0xFF if it & 0x80 else 0 for it in range(256))  # whether a byte follows
# Offset deltas as varints, by column: the lower two bytes; the second one where a third follows.
_LOW: Final = bytes(it << 1 & 0x7F | 0x80 for it in range(_WIDTH_ENDS[1]))
_SECOND: Final = bytes(it >> 6 for it in range(_WIDTH_ENDS[1]))
_MIDDLE: Final = bytes(it >> 6 | 0x80 for it in range(_WIDTH_ENDS[1]))


class _Head(NamedTuple):
    """The part that all records have in common."""

    time_bytes: int
    delta_bytes: int
    key: int  # its encoded length: one byte
    key_bytes: int

    @property
    def fixed(self) -> int:
        """The bytes of a record other than its value: attributes, both deltas, the key and its
        length, a value length of one byte, the count of headers.
        """
        return 1 + self.time_bytes + self.delta_bytes + 1 + self.key_bytes + 1 + 1


def columns(data: bytes, at: int, left: int, delta: int, *, starts: bool) -> Quick | None:
    """The records from ``at`` on, up to ``left``; None if there are too few. As ``quick``."""
    if at < 2 or left < COLUMNS_MIN or not 0 <= delta < END_DELTA:
        return None
    try:
        head = _head(data, at, delta)
    except IndexError:
        return None
    if head is None:
        return None
    count = min(left, _WIDTH_ENDS[head.delta_bytes - 1] - delta)
    if head.delta_bytes == 3:
        count = min(count, _WIDTH_ENDS[1] - delta % _WIDTH_ENDS[1])  # while the third is the same
    found, end, narrow = _steps(data, at, count, head)
    if len(found) < COLUMNS_MIN:
        return None
    cut = head.fixed + 3  # two bytes of the length, the fixed part and the value's length
    heads = b"".join([data[it : it + cut] for it in found])
    same = _equally_wide([heads[4 + nth :: cut] for nth in range(head.time_bytes)])
    if same < len(found):
        if same < COLUMNS_MIN:
            return None
        found, end, narrow = _steps(data, at, same, head)
        heads = heads[: same * cut]
    return _compared(data, found, end, heads, head, delta, narrow, starts)


def _head(data: bytes, at: int, delta: int) -> _Head | None:
    """The head of the record at ``at``; None for a record of another kind. Raises IndexError."""
    begin = at
    at += 2 if data[at] & 0x80 else 1
    end = begin + _SIZES[data[begin]] + (_MORE[data[begin + 1]] if data[begin] & 0x80 else 0)
    time_at = at + 1
    delta_at = time_at + 1
    while data[delta_at - 1] & 0x80:
        delta_at += 1
    delta_bytes = 1 if delta < _WIDTH_ENDS[0] else 2 if delta < _WIDTH_ENDS[1] else 3
    key = data[delta_at + delta_bytes]
    key_bytes = 0 if key == NULL else key >> 1
    if delta_at - time_at > _TIME_BYTES_MAX or (key != NULL and key & 0x81):
        return None
    at = delta_at + delta_bytes + 1 + key_bytes
    value = data[at] if data[at] < 0x80 else data[at] & 0x7F | data[at + 1] << 7
    if value & 1 or at + (1 if data[at] < 0x80 else 2) + (value >> 1) + 1 != end:
        return None  # it has headers, or no value
    return _Head(delta_at - time_at, delta_bytes, key, key_bytes)


def _steps(data: bytes, at: int, count: int, head: _Head) -> tuple[list[int], int, int]:
    """Positions three bytes before each record's body, found by the records' lengths.

    Also returns where the last record ends, and how many have a length of one byte.
    """
    places: list[int] = []
    note, sizes, more = places.append, _SIZES, _MORE
    narrow, begun = 0, at
    try:
        for _ in range(count):
            begun = at
            first = data[at]
            if first < 0x80:
                at += sizes[first]
                note(begun - 2)
                narrow += 1
            else:
                at += sizes[first] + more[data[at + 1]]
                note(begun - 1)
    except IndexError:
        at = begun  # there is no record, or it is cut off
    last = len(data) - head.fixed - 3  # from there on a whole head could not be cut out
    while places and (at > len(data) or places[-1] > last):
        place = places.pop()
        short = data[place + 1] < 0x80
        at = place + 2 if short else place + 1
        narrow -= short
    return places, at, narrow


def _compared(
    data: bytes,
    found: list[int],
    end: int,
    heads: bytes,
    head: _Head,
    delta: int,
    narrow: int,
    noted: bool,
) -> Quick | None:
    cut, count = head.fixed + 3, len(found)
    body = [heads[at::cut] for at in range(3, 4 + head.time_bytes + head.delta_bytes + 1)]
    times = body[1 : 1 + head.time_bytes]
    key_at = 1 + head.time_bytes + head.delta_bytes
    value_at = 3 + key_at + 1 + head.key_bytes
    if (
        data[end - 1]  # the count of headers of the last one; that of each other is before the next
        or body[0].strip(b"\0")  # attributes: reserved (KIP-98)
        or body[key_at].count(head.key) != count
        or body[1 + head.time_bytes : key_at] != _deltas(delta, count, head.delta_bytes)
        or not _sizes_fit(
            heads[1::cut], heads[2::cut], heads[value_at::cut], heads[value_at + 1 :: cut],
            heads[0::cut], narrow, head.fixed,
        )
    ):  # fmt: skip
        return None
    least, most = extremes(times)
    starts, short = list[int](), list[int]()
    if noted:
        is_short = [it < 0x80 for it in heads[1::cut]]
        starts = [it + 1 + narrow for it, narrow in zip(found, is_short, strict=True)]
        short = [nth for nth, narrow in enumerate(is_short) if narrow]
    key_place = 4 + head.time_bytes + head.delta_bytes
    return Quick(
        count, end, least, most, head.key == NULL, starts, short, key_place, head.key_bytes
    )


def _sizes_fit(
    first: bytes, second: bytes, low: bytes, high: bytes, before: bytes, narrow: int, fixed: int
) -> bool:
    """Whether each record's length is that of its value, ``low`` and ``high``, plus ``fixed``.

    A length of one byte is in ``second``; ``first`` is then the header count of the record before,
    which is otherwise in ``before``. ``narrow``: how many lengths are known to have one byte.
    """
    count = len(first)
    ones = _ones(count)
    sizes, values = _lanes(first, second), _lanes(low, high)
    wide = sizes >> 7 & ones
    goes_on = values >> 7 & ones
    if wide.bit_count() != count - narrow or (sizes & wide << 15) or (values & goes_on << 15):
        return False  # there are headers, or numbers of three bytes
    alone = ones ^ wide
    if sizes & alone * 0xFF or _lanes(before, before) & wide * 0xFF:
        return False  # there are headers
    sizes = sizes & wide * 0x7F | (sizes & wide * 0x7F00) >> 1 | (sizes & alone * 0x7F00) >> 8
    values = values & ones * 0x7F | (values & goes_on * 0x7F00) >> 1
    if values & ones:  # negative, or null
        return False
    return sizes == values + 2 * goes_on + 2 * fixed * ones


def _lanes(low: bytes, high: bytes) -> int:
    """Numbers of two bytes each, in lanes of 16 bits."""
    both = bytearray(2 * len(low))
    both[0::2], both[1::2] = low, high
    return int.from_bytes(both, "little")


@lru_cache(64)
def _ones(count: int) -> int:
    """The number 1 in each lane of 16 bits."""
    return int.from_bytes(b"\1\0" * count, "little")


def _equally_wide(times: list[bytes]) -> int:
    """How many numbers, from the first on, have as many bytes as there are columns."""
    *more, last = times
    same = len(last)
    for column, goes_on in ((last, 0), *((it, 0xFF) for it in more)):
        wide = column.translate(_WIDE)
        same = min(same, len(wide) - len(wide.lstrip(bytes([goes_on]))))
    return same


def _deltas(delta: int, count: int, width: int) -> list[bytes]:
    """The bytes of consecutive offset deltas from this one on, by column."""
    upto = delta + count
    if width == 1:
        return [bytes(range(2 * delta, 2 * upto, 2))]
    if width == 2:
        return [_LOW[delta:upto], _SECOND[delta:upto]]
    begin, above = delta % _WIDTH_ENDS[1], delta // _WIDTH_ENDS[1]
    return [
        _LOW[begin : begin + count],
        _MIDDLE[begin : begin + count],
        bytes([above]) * count,
    ]
