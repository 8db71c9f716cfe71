"""A control batch: the marker with which a transaction ends in a partition (KIP-98).

One batch of one record, 78 bytes, byte for byte as Kafka writes it (EndTransactionMarker,
ControlRecordType)::

    key    int16 version 0, int16 type: 0 abort, 1 commit
    value  int16 version 0, int32 coordinator epoch

Readers skip unknown types. Compaction stamps a marker with the time after which it may be removed
(KIP-534); then the batch is longer, because its timestamp counts from that time. Kafka's compaction
leaves an empty batch of some markers.
"""

from struct import Struct
from typing import Final

from logstore.errors import CorruptBatch
from logstore.records.batch import CONTROL, DELETE_HORIZON, HEADER_BYTES, TRANSACTIONAL, Batch
from logstore.records.check import whole
from logstore.records.encode import assembled
from logstore.records.merge import shifted
from logstore.records.varint import decoded, signed

ABORT: Final = 0
COMMIT: Final = 1
MARKER_BYTES: Final = 78

# Length, attributes, both deltas, the key's length and version; type, the value's length, version.
_RECORD: Final = Struct(">B3xBhhBhiB")
_LENGTH: Final = 32  # zigzag of 16
_KEY_LENGTH: Final = 8
_VALUE_LENGTH: Final = 12
_KEY_END: Final = HEADER_BYTES + 32  # the varints before a key take 25 bytes at the most
_TYPE: Final = Struct(">2xh")  # of a key

assert HEADER_BYTES + _RECORD.size == MARKER_BYTES


def marker(
    outcome: int, producer_id: int, epoch: int, now_ms: int, coordinator_epoch: int = 0
) -> Batch:
    """The batch that ends the producer's open transaction: ABORT or COMMIT."""
    record = _RECORD.pack(
        _LENGTH, _KEY_LENGTH, 0, outcome, _VALUE_LENGTH, 0, coordinator_epoch, 0
    )  # fmt: skip
    attributes = TRANSACTIONAL | CONTROL
    return assembled((0, 0, attributes, 0, now_ms, now_ms, producer_id, epoch, -1, 1), record)


def outcome_of(batch: Batch) -> int | None:
    """ABORT or COMMIT of a control batch; None for another type or a batch without records.

    Raises CorruptBatch if the record is invalid.
    """
    if not batch.record_count:
        return None
    record = bytes(memoryview(batch.data)[HEADER_BYTES:_KEY_END])
    try:
        _, at = decoded(record, 0)
        _, at = decoded(record, at + 1, 10)  # behind the attributes
        _, at = decoded(record, at)
        key_bytes, at = decoded(record, at)
    except (CorruptBatch, IndexError):
        key_bytes = at = 0
    if batch.compression or signed(key_bytes) < _TYPE.size or at + _TYPE.size > len(record):
        raise CorruptBatch(f"control batch at offset {batch.base_offset} has no marker")
    [kind] = _TYPE.unpack_from(record, at)
    return kind if kind in (ABORT, COMMIT) else None


def with_delete_horizon(batch: Batch, horizon_ms: int) -> Batch:
    """The same batch, to be deleted from this time on; timestamps stay. Raises CorruptBatch."""
    batch.check()
    records = shifted(whole(batch), batch.record_count, 0, batch.base_timestamp_ms - horizon_ms)
    fields = (
        batch.base_offset, batch.leader_epoch, batch.attributes | DELETE_HORIZON,
        batch.last_offset_delta, horizon_ms, batch.max_timestamp_ms,
        batch.producer_id, batch.producer_epoch, batch.base_sequence, batch.record_count,
    )  # fmt: skip
    return assembled(fields, b"".join(records))
