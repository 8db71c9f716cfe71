"""Merges several batches into one: fewer headers, and better compression.

Keys, values, headers, offsets and timestamps stay byte for byte as they are. Offset and timestamp
deltas now count from the first batch's base, so these two fields of each record are rewritten.
"""

from logstore.errors import CorruptBatch
from logstore.records.batch import COMPRESSION_MASK, DELETE_HORIZON, NUMBERED_PRODUCER, Batch
from logstore.records.check import whole
from logstore.records.compression import Compression
from logstore.records.encode import assembled
from logstore.records.latest import latest
from logstore.records.varint import decoded, encoded, signed, wrapped64

_DELTA_MAX = 2**31 - 1
_SEQUENCES = 2**31  # KIP-98: after 2**31 - 1 comes 0


def follows(before: Batch, after: Batch) -> bool:
    """Whether the two batches can be merged into one."""
    if not (before.record_count and after.record_count) or before.is_control or after.is_control:
        return False  # an empty one is there for its producer's sake
    if (before.attributes ^ after.attributes) & ~COMPRESSION_MASK:
        return False
    if before.attributes & DELETE_HORIZON or before.leader_epoch != after.leader_epoch:
        return False
    if before.is_log_append_time and before.max_timestamp_ms != after.max_timestamp_ms:
        return False
    before_producer = before.producer_id, before.producer_epoch
    if before_producer != (after.producer_id, after.producer_epoch):
        return False
    if before.producer_id < 0:
        return True
    if before.producer_id == NUMBERED_PRODUCER:
        return False  # the last number would be lost
    following = (before.base_sequence + before.last_offset_delta + 1) % _SEQUENCES
    return before.next_offset == after.base_offset and following == after.base_sequence


class Merge:
    """Batches that are being merged."""

    def __init__(self, first: Batch) -> None:
        """Raises CorruptBatch."""
        self.batches: list[Batch] = []
        self.bytes = 0  # of the records, uncompressed
        self._parts: list[bytes] = []
        self.add(first)

    def takes(self, batch: Batch) -> bool:
        """Whether this batch can come next."""
        delta = batch.last_offset - self.batches[0].base_offset
        return follows(self.batches[-1], batch) and delta <= _DELTA_MAX

    def add(self, batch: Batch) -> None:
        """Add a batch. Raises CorruptBatch, also for a wrong CRC."""
        batch.check()
        data = whole(batch)
        first = self.batches[0] if self.batches else batch
        offsets = batch.base_offset - first.base_offset
        times = batch.base_timestamp_ms - first.base_timestamp_ms
        try:
            self._parts += shifted(data, batch.record_count, offsets, times)
        except IndexError:
            sentence = f"batch at offset {batch.base_offset}: records are cut off"
            raise CorruptBatch(sentence) from None
        self.batches.append(batch)
        self.bytes += len(data)

    def result(self, compression: Compression, level: int | None = None) -> Batch:
        """The merged batch."""
        first, last = self.batches[0], self.batches[-1]
        return assembled(
            (
                first.base_offset, first.leader_epoch,
                first.attributes & ~COMPRESSION_MASK | compression,
                last.last_offset - first.base_offset,
                first.base_timestamp_ms, max(map(latest, self.batches)),
                first.producer_id, first.producer_epoch, first.base_sequence,
                sum(it.record_count for it in self.batches),
            ),
            b"".join(self._parts),
            level,
        )  # fmt: skip


def shifted(data: bytes, count: int, offsets: int, times: int) -> list[bytes]:
    """The records with these amounts added to their deltas. Raises CorruptBatch, IndexError."""
    if not offsets and not times:
        return [data]
    at, parts = 0, list[bytes]()
    for _ in range(count):
        length, at = decoded(data, at)
        end = at + (length >> 1)
        attributes = data[at : at + 1]
        time, at = decoded(data, at + 1, 10)
        offset, at = decoded(data, at)
        deltas = encoded(wrapped64(signed(time) + times)) + encoded(signed(offset) + offsets)
        parts += (encoded(1 + len(deltas) + end - at), attributes, deltas, data[at:end])
        at = end
    return parts
