"""The keys of a batch's records and where each record stands: what compaction looks at.

A third of the work of decoding. Trusts no byte: whoever compacts damaged records would give them a
good checksum.
"""

from array import array
from typing import NamedTuple

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import decompress
from logstore.records.encode import rebatched
from logstore.records.varint import NULL, decoded


class Keyed(NamedTuple):
    """The records of one batch, undecoded but for their keys."""

    data: bytes  # all of them, decompressed
    starts: "array[int]"  # where each begins in ``data``, and where the last ends
    keys: list[bytes | None]
    tombstones: list[int]  # places of records that have a key and no value


def keyed(batch: Batch) -> Keyed:
    """Checks the CRC. Raises CorruptBatch."""
    batch.check()
    data = decompress(batch.compression, memoryview(batch.data)[HEADER_BYTES:])
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
    at, note_start, note_key = 0, starts.append, keys.append
    for place in range(count):
        note_start(at)
        length = data[at]
        at += 1
        if length > 127:
            length, at = decoded(data, at - 1)
        end = at + (length >> 1)
        at += 1  # attributes: reserved (KIP-98)
        while data[at] > 127:  # timestamp delta
            at += 1
        at += 1
        while data[at] > 127:  # offset delta
            at += 1
        at += 1
        size = data[at]
        at += 1
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


def thinned(batch: Batch, places: "array[int]") -> Batch:
    """The batch with the records at these places alone; offsets and timestamps are what they were.

    Raises CorruptBatch.
    """
    data, starts, _, _ = keyed(batch)
    return rebatched(
        batch, len(places), b"".join([data[starts[at] : starts[at + 1]] for at in places])
    )
