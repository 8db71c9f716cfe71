"""A control batch: the marker with which a transaction ends in a partition (KIP-98).

One batch of one record, 78 bytes, byte for byte as Kafka writes it (EndTransactionMarker,
ControlRecordType)::

    key    int16 version 0, int16 type: 0 abort, 1 commit
    value  int16 version 0, int32 coordinator epoch

Readers pass over types that they do not know.
"""

from struct import Struct
from typing import Final

from logstore.errors import CorruptBatch
from logstore.records.batch import CONTROL, HEADER_BYTES, TRANSACTIONAL, Batch
from logstore.records.encode import assembled

ABORT: Final = 0
COMMIT: Final = 1
MARKER_BYTES: Final = 78

# Length, attributes, both deltas, the key's length and version; type, the value's length, version.
_RECORD: Final = Struct(">B3xBhhBhiB")
_LENGTH: Final = 32  # zigzag of 16
_KEY_LENGTH: Final = 8
_VALUE_LENGTH: Final = 12
_TYPE_AT: Final = HEADER_BYTES + 7

assert HEADER_BYTES + _RECORD.size == MARKER_BYTES


def marker(
    outcome: int, producer_id: int, epoch: int, now_ms: int, coordinator_epoch: int = 0
) -> Batch:
    """The batch that says how the producer's open transaction has ended: ABORT or COMMIT."""
    record = _RECORD.pack(
        _LENGTH, _KEY_LENGTH, 0, outcome, _VALUE_LENGTH, 0, coordinator_epoch, 0
    )  # fmt: skip
    attributes = TRANSACTIONAL | CONTROL
    return assembled((0, 0, attributes, 0, now_ms, now_ms, producer_id, epoch, -1, 1), record)


def outcome_of(batch: Batch) -> int | None:
    """ABORT or COMMIT, of a control batch; None for a type that ends no transaction.

    Raises CorruptBatch where it has no such record.
    """
    if batch.compression or len(batch.data) < _TYPE_AT + 2:
        raise CorruptBatch(f"control batch at offset {batch.base_offset} has no marker")
    kind = int.from_bytes(memoryview(batch.data)[_TYPE_AT : _TYPE_AT + 2], "big")
    return kind if kind in (ABORT, COMMIT) else None
