"""The keys of a batch's records and where each record stands: what compaction looks at.

A third of the work of decoding. Trusts no byte: whoever compacts damaged records would give them a
good checksum.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.check import whole
from logstore.records.compression import decompress
from logstore.records.encode import rebatched
from logstore.records.varint import NULL, decoded

# Records of one layout are read together, from so many on; where there are none, so many are read
# one by one before that is tried again, twice as many after each failure.
_RUN_MIN = 16
_SINGLES_MIN, _SINGLES_MAX = 32, 1024
_GOES_ON = bytes(byte >> 7 for byte in range(256))  # whether a varint has a byte after this one


class Keyed(NamedTuple):
    """The records of one batch, undecoded but for their keys."""

    data: bytes  # all of them, decompressed
    starts: "array[int]"  # where each begins in ``data``, and where the last ends
    keys: list[bytes | None]
    tombstones: list[int]  # places of records that have a key and no value

    def spans(self, places: Sequence[int]) -> "array[int]":
        """Where the records at these places begin and end in ``data``, one after the other."""
        spans = array("I", bytes(8 * len(places)))
        if places:
            spans[0::2] = array("I", map(self.starts.__getitem__, places))
            spans[1::2] = array("I", map(self.starts.__getitem__, map((1).__add__, places)))
        return spans


def keyed(batch: Batch) -> Keyed:
    """Checks the CRC. Raises CorruptBatch."""
    batch.check()
    data = whole(batch)
    starts, keys, tombstones = array("I"), list[bytes | None](), list[int]()
    try:
        end = _read(data, batch.record_count, starts, keys, tombstones)
    except IndexError:
        raise CorruptBatch(f"batch at offset {batch.base_offset}: records are cut off") from None
    if end != len(data):
        sentence = f"{len(data) - end} bytes follow the last record"
        raise CorruptBatch(f"batch at offset {batch.base_offset}: {sentence}")
    starts.append(end)
    return Keyed(data, starts, keys, tombstones)


def _read(
    data: bytes,
    count: int,
    starts: "array[int]",
    keys: list[bytes | None],
    tombstones: list[int],
) -> int:
    """Fill the lists; where the last record ends. Raises IndexError, CorruptBatch."""
    at, singles = 0, _SINGLES_MIN
    while (left := count - len(keys)) > 0:
        ran = _take_run(data, at, left, starts, keys, tombstones) if left >= _RUN_MIN else at
        if ran > at:
            at, singles = ran, _SINGLES_MIN
        else:
            at = _read_each(data, at, min(left, singles), starts, keys, tombstones)
            singles = min(2 * singles, _SINGLES_MAX)
    return at


def _take_run(
    data: bytes,
    at: int,
    left: int,
    starts: "array[int]",
    keys: list[bytes | None],
    tombstones: list[int],
) -> int:
    """Read as many records as are laid out like the one at ``at``; where they end.

    ``at`` itself where they are few, or the first is no common one. Raises IndexError.
    """
    same: list[int] = []  # positions in the record whose bytes must be alike in all
    ends: list[int] = []  # those of varints that may differ, but must be as long
    place = at
    length = data[place]
    if length > 127:
        same.append(0)
        place += 1
        length += (data[place] << 7) - 128
    same.append(place - at)
    stride = place + 1 - at + (length >> 1)
    if length > 16383 or length & 1:
        return at
    place += 2  # past the attributes
    for _ in range(2):  # timestamp delta, offset delta
        while data[place] > 127:
            ends.append(place - at)
            place += 1
        ends.append(place - at)
        place += 1
    size = data[place]
    same.append(place - at)
    key_at = place + 1 - at
    value_at = key_at + (size >> 1)
    if size > 127 or size & 1 or value_at >= stride:
        return at
    count = min(left, (len(data) - at) // stride)
    for position in same + ends:
        column = data[at + position : at + count * stride : stride]
        if position in ends:
            column = column.translate(_GOES_ON)
        count -= len(column.lstrip(column[:1]))
    if count < _RUN_MIN:
        return at
    first, end = len(keys), at + count * stride
    starts.extend(range(at, end, stride))
    keys += [data[it : it + (size >> 1)] for it in range(at + key_at, end, stride)]
    nulls = data[at + value_at : end : stride]
    if NULL in nulls:
        tombstones += [first + it for it, byte in enumerate(nulls) if byte == NULL]
    return end


def _read_each(
    data: bytes,
    at: int,
    count: int,
    starts: "array[int]",
    keys: list[bytes | None],
    tombstones: list[int],
) -> int:
    """Read ``count`` records, whatever their layout; where the last ends."""
    note_start, note_key = starts.append, keys.append
    for place in range(len(keys), len(keys) + count):
        note_start(at)
        length = data[at]
        at += 1
        if length > 127:
            length += (data[at] << 7) - 128
            at += 1
            if length > 16383:  # three bytes or more
                length, at = decoded(data, at - 2)
        end = at + (length >> 1)
        at += 1  # attributes: reserved (KIP-98)
        while data[at] > 127:  # timestamp delta
            at += 1
        at += 1
        if data[at] > 127:  # offset delta
            at += 1
            while data[at] > 127:
                at += 1
        size = data[at + 1]
        at += 2
        if size > 127:
            size, at = decoded(data, at - 1)
        if not size & 1:
            note_key(data[at : (at := at + (size >> 1))])
            if data[at] == NULL:
                tombstones.append(place)
        elif size == NULL:
            note_key(None)
        else:
            at = end  # a negative length
        if at >= end or length & 1:
            raise CorruptBatch(f"record {place} of a batch does not fit into its own length")
        at = end
    return at


def thinned(batch: Batch, spans: "array[int]") -> Batch:
    """The batch with these of its records alone; offsets and timestamps are what they were.

    ``spans`` as ``Keyed.spans`` of this batch gave them. Raises CorruptBatch.
    """
    batch.check()
    data = decompress(batch.compression, memoryview(batch.data)[HEADER_BYTES:])
    pairs = zip(spans[0::2], spans[1::2], strict=True)
    kept = b"".join([data[start:end] for start, end in pairs])
    return rebatched(batch, len(spans) // 2, kept)
