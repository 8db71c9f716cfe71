"""Decodes a record batch v2. Every byte of it is untrusted, and every byte is checked.

``runs`` reads records of equal layout many at a time; ``reader`` reads any record, one after
another.
"""

from collections.abc import Iterable
from itertools import repeat
from typing import Final

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import DECOMPRESSED_BYTES_MAX, decompress
from logstore.records.reader import Reader
from logstore.records.record import Record
from logstore.records.runs import RUN_MIN, take_run
from logstore.records.varint import INT64_MAX, INT64_MIN, wrapped64

CUT_OFF: Final = "the records are cut off"
# Every field of a record takes a byte: length, attributes, two deltas, three lengths or counts.
_RECORD_BYTES_MIN = 7
# This many records are read one by one before a run is tried again; twice as many after each
# failure, so that a batch without runs costs little more.
_SINGLES_MIN = 32
_SINGLES_MAX = 1024


def decode(
    batch: Batch,
    topic: str = "",
    partition: int = 0,
    bytes_max: int = DECOMPRESSED_BYTES_MAX,
    *,
    check: bool = True,
) -> list[Record]:
    """The records, in order. ``check=False`` skips the CRC, if the caller has checked it.

    Raises CorruptBatch if the CRC differs, if the records decompress to more than ``bytes_max``
    bytes or not at all, and for any fault in them.
    """
    if check:
        batch.check()
    view = memoryview(batch.data)[HEADER_BYTES:]
    try:
        data = decompress(batch.compression, view, bytes_max) if batch.compression else bytes(view)
    except CorruptBatch as error:
        raise type(error)(f"batch at offset {batch.base_offset}: {error}") from None
    return opened(batch, data, topic, partition)


def opened(batch: Batch, data: bytes, topic: str, partition: int) -> list[Record]:
    """The batch's records, from their uncompressed bytes. Raises CorruptBatch."""
    count = batch.record_count
    reader = Reader(data, topic, partition, batch.base_offset, batch.base_timestamp_ms)
    try:
        if count * _RECORD_BYTES_MIN > len(data):
            raise CorruptBatch(f"{count} records do not fit into {len(data)} bytes")
        read(reader, count)
    except IndexError:
        fault = CUT_OFF
    except CorruptBatch as error:
        fault = str(error)
    else:
        fault = fault_at_end(batch, reader)
        if not fault:
            return restamped(batch, reader.records)
    raise CorruptBatch(f"batch at offset {batch.base_offset}: {fault}")


def keys(batch: Batch, bytes_max: int = DECOMPRESSED_BYTES_MAX) -> list[bytes | None]:
    """The records' keys, in order; the CRC is not checked. Raises CorruptBatch as
    ``decode`` does.
    """
    return [record.key for record in decode(batch, bytes_max=bytes_max, check=False)]


def fault_at_end(batch: Batch, reader: Reader) -> str:
    """The fault after the header's number of records was read; empty if there is none."""
    if reader.last_offset > batch.last_offset:
        return f"a record has offset {reader.last_offset}, the last is {batch.last_offset}"
    left = len(reader.data) - reader.at
    return f"{left} bytes follow the last record" if left else ""


def read(reader: Reader, count: int) -> None:
    """Read ``count`` records. Raises IndexError, CorruptBatch."""
    singles = _SINGLES_MIN
    while (left := count - len(reader.records)) > 0:
        if left >= RUN_MIN and take_run(reader, left):
            singles = _SINGLES_MIN
        else:
            reader.read(min(singles, left))
            singles = min(2 * singles, _SINGLES_MAX)


def restamped(batch: Batch, records: list[Record]) -> list[Record]:
    """The records with the timestamps that the batch's header gives them."""
    base = batch.base_timestamp_ms
    if batch.is_log_append_time:  # KIP-32: one for all
        timestamps: Iterable[int] = repeat(batch.max_timestamp_ms)
    elif INT64_MIN // 2 <= base <= INT64_MAX // 2:
        # No sum of such a base and a delta of two bytes overflows; wider ones were wrapped.
        return records
    else:
        timestamps = (wrapped64(record.timestamp_ms) for record in records)
    return [
        record._replace(timestamp_ms=timestamp_ms)
        for record, timestamp_ms in zip(records, timestamps, strict=False)
    ]
