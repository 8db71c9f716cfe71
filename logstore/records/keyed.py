"""The keys of a batch's records, and the position of each record, for compaction.

This takes a quarter of the work of decoding. No byte is trusted, because compacting damaged records
would give them a correct checksum. So the walk that checks the records also notes their keys.
"""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.check import whole
from logstore.records.compression import decompress
from logstore.records.encode import rebatched
from logstore.records.framing import Framing


class Keyed(NamedTuple):
    """The records of one batch, undecoded except for their keys."""

    data: bytes  # all of them, decompressed
    starts: "array[int]"  # where each begins in ``data``, and where the last ends
    keys: list[bytes | None]
    tombstones: list[int]  # places of records that have a key and no value

    def spans(self, places: Sequence[int]) -> "array[int]":
        """Where the records at these places begin and end in ``data``, alternately."""
        spans = array("I", bytes(8 * len(places)))
        if places:
            spans[0::2] = array("I", map(self.starts.__getitem__, places))
            spans[1::2] = array("I", map(self.starts.__getitem__, map((1).__add__, places)))
        return spans


def keyed(batch: Batch) -> Keyed:
    """The records with their keys, after checking the CRC and each record. Raises CorruptBatch."""
    batch.check()
    framing = Framing()
    data = whole(batch, framing)
    framing.starts.append(len(data))
    return Keyed(data, framing.starts, framing.keys, framing.tombstones)


def thinned(batch: Batch, spans: "array[int]", level: int | None = None) -> Batch:
    """The batch with only these of its records; offsets and timestamps stay.

    ``spans`` from ``Keyed.spans`` of this batch; ``level``: of its codec.

    Raises CorruptBatch.
    """
    batch.check()
    data = decompress(batch.compression, memoryview(batch.data)[HEADER_BYTES:])
    pairs = zip(spans[0::2], spans[1::2], strict=True)
    kept = b"".join([data[start:end] for start, end in pairs])
    return rebatched(batch, len(spans) // 2, kept, level)
