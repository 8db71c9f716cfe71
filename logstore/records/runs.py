"""Runs of neighbouring records with equal layout, read many at a time.

If records have the same length, and each number in them the same width, the n-th byte of every
record is one slice with a stride. So the framing of a thousand records is compared in a dozen C
calls, and ``struct`` extracts keys and values. Large headers of few records are compared as a
whole, by one C call for each record. Records that are not in a run, and damaged ones, are left to
the loop in ``decode``: this module accepts a record only if each byte of its framing is as
required, and raises nothing of its own.
"""

import struct
from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

from logstore.records.reader import Reader
from logstore.records.record import Headers, Record
from logstore.records.varint import NULL, SIGNED14, decoded

RUN_MIN = 16  # a shorter run costs more than the loop
SECTION_MAX = 256  # bytes of headers
COLUMN = 8  # the record count at which a column costs as much as comparing sections

# Offset deltas as varints, cut into columns: one byte up to 63, then two up to 8191.
_ONE_BYTE = bytes(range(0, 128, 2))
_LOW_BYTES = bytes(delta << 1 & 0x7F | 0x80 for delta in range(8192))
_HIGH_BYTES = bytes(delta >> 6 for delta in range(8192))

_LAST_OF_VARINT = bytes(range(128))
_MORE_OF_VARINT = bytes(range(128, 256))


class _Layout(NamedTuple):
    """The positions of a record's fields, counted from its first byte."""

    timestamp_at: int
    offset_at: int
    key_length_at: int
    key_at: int
    value_length_at: int
    value_at: int
    headers_at: int
    size: int
    offset_delta: int
    has_key: bool
    has_value: bool


def take_run(reader: Reader, left: int) -> bool:
    """Read the next run, of up to ``left`` records; False if there is none.

    Raises IndexError or CorruptBatch if the next record is damaged.
    """
    data, at = reader.data, reader.at
    layout = _layout(data, at)
    if layout is None or reader.base_offset + layout.offset_delta <= reader.last_offset:
        return False
    size = layout.size
    # The offset delta gets wider at 64 and at 8192.
    wider = 64 if layout.key_length_at - layout.offset_at == 1 else 8192
    count = min(left, (len(data) - at) // size, wider - layout.offset_delta)
    # The record's length, which most often differs, comes first.
    for start, end in (
        (0, layout.timestamp_at),
        (layout.key_length_at, layout.key_at),
        (layout.value_length_at, layout.value_at),
        (layout.headers_at, size),
    ):
        count = _alike(data, at + start, end - start, count, size)
        if count < RUN_MIN:
            return False
    timestamps = _timestamps(reader, count, layout)
    count = len(timestamps)
    if count < RUN_MIN or not _offsets_follow(data, at, count, layout):
        return False
    headers = reader.headers_of(data[at + layout.headers_at : at + size])
    reader.records += _records(reader, count, layout, timestamps, headers)
    reader.at = at + count * size
    reader.last_offset = reader.records[-1].offset
    return True


def _layout(data: bytes, at: int) -> _Layout | None:
    """The first record's layout; None for a record that the loop must read."""
    zigzag, start = decoded(data, at)
    end = start + (zigzag >> 1)
    _, offset_at = decoded(data, start + 1, 10)
    offset_delta, key_length_at = decoded(data, offset_at)
    key_length, key_at = decoded(data, key_length_at)
    value_length_at = key_at if key_length == NULL else key_at + (key_length >> 1)
    value_length, value_at = decoded(data, value_length_at)
    headers_at = value_at if value_length == NULL else value_at + (value_length >> 1)
    if (
        (zigzag | offset_delta) & 1
        or end > len(data)
        or not 0 < end - headers_at <= SECTION_MAX
        or offset_at - (start + 1) > 2
        or key_length_at - offset_at > 2
        or (key_length & 1 and key_length != NULL)
        or (value_length & 1 and value_length != NULL)
    ):
        return None
    return _Layout(
        timestamp_at=start + 1 - at,
        offset_at=offset_at - at,
        key_length_at=key_length_at - at,
        key_at=key_at - at,
        value_length_at=value_length_at - at,
        value_at=value_at - at,
        headers_at=headers_at - at,
        size=end - at,
        offset_delta=offset_delta >> 1,
        has_key=key_length != NULL,
        has_value=value_length != NULL,
    )


def _alike(data: bytes, at: int, width: int, count: int, size: int) -> int:
    """How many records, up to ``count``, have the same bytes here as the first: at least one."""
    if width * COLUMN > count:
        same = map(
            data.startswith, repeat(data[at : at + width]), range(at, at + count * size, size)
        )
        return [*same, False].index(False)
    for byte_at in range(at, at + width):
        column = _column(data, byte_at, count, size)
        count -= len(column.lstrip(column[:1]))
    return count


def _column(data: bytes, at: int, count: int, size: int) -> bytes:
    """One byte of each record."""
    return data[at : at + (count - 1) * size + 1 : size]


def _timestamps(reader: Reader, count: int, layout: _Layout) -> list[int]:
    """The timestamps of the records, up to ``count``, whose deltas are equally wide."""
    base = reader.base_timestamp_ms
    at = reader.at + layout.timestamp_at
    low = _column(reader.data, at, count, layout.size)
    if layout.offset_at - layout.timestamp_at == 1:
        low = low[: count - len(low.lstrip(_LAST_OF_VARINT))]
        return [base + SIGNED14[zigzag] for zigzag in low]
    high = _column(reader.data, at + 1, count, layout.size)
    count -= max(len(low.lstrip(_MORE_OF_VARINT)), len(high.lstrip(_LAST_OF_VARINT)))
    pairs = zip(low[:count], high, strict=False)
    return [base + SIGNED14[(more << 7) + less - 128] for less, more in pairs]


def _offsets_follow(data: bytes, at: int, count: int, layout: _Layout) -> bool:
    """Whether each offset delta is one more than the one before; a compacted batch has gaps."""
    at += layout.offset_at
    first, end = layout.offset_delta, layout.offset_delta + count
    low = _column(data, at, count, layout.size)
    if layout.key_length_at - layout.offset_at == 1:
        return low == _ONE_BYTE[first:end]
    high = _column(data, at + 1, count, layout.size)
    return low == _LOW_BYTES[first:end] and high == _HIGH_BYTES[first:end]


def _records(
    reader: Reader, count: int, layout: _Layout, timestamps: list[int], headers: Headers
) -> Iterator[Record]:
    key_bytes = layout.value_length_at - layout.key_at
    gap = layout.value_at - layout.value_length_at
    value_bytes = layout.headers_at - layout.value_at
    fields = struct.iter_unpack(
        f"{layout.key_at}x{key_bytes}s{gap}x{value_bytes}s{layout.size - layout.headers_at}x",
        memoryview(reader.data)[reader.at : reader.at + count * layout.size],
    )
    flat: list[bytes] = list(chain.from_iterable(fields))
    first = reader.base_offset + layout.offset_delta
    columns = zip(
        repeat(reader.topic),
        repeat(reader.partition),
        range(first, first + count),
        timestamps,
        flat[0::2] if layout.has_key else repeat(None),
        flat[1::2] if layout.has_value else repeat(None),
        repeat(headers),
        strict=False,
    )
    # Record(...) runs Python code, 60 ns more for each.
    return map(tuple.__new__, repeat(Record), columns)
