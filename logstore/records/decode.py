"""A record batch v2 to its records. Every byte of it is untrusted, and every byte is checked.

``runs`` takes records of equal layout many at a time, ``reader`` any record, one after the other.
"""

from collections.abc import Iterable
from itertools import repeat

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import DECOMPRESSED_BYTES_MAX, decompress
from logstore.records.reader import Reader
from logstore.records.record import Record
from logstore.records.runs import RUN_MIN, take_run
from logstore.records.varint import INT64_MAX, INT64_MIN, wrapped64

# Every field of a record takes a byte: length, attributes, two deltas, three lengths or counts.
_RECORD_BYTES_MIN = 7
# So many records are read one by one before a run is tried again; twice as many after each
# failure, so that a batch without runs hardly pays for the tries.
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
    """The records, in order. ``check=False`` leaves the CRC out, for who has compared it before.

    Raises CorruptBatch when the CRC differs, when the records decompress to more than
    ``bytes_max`` bytes or not at all, and for anything in them that is not as it should be.
    """
    if check:
        batch.check()
    view = memoryview(batch.data)[HEADER_BYTES:]
    count = batch.record_count
    try:
        data = decompress(batch.compression, view, bytes_max) if batch.compression else bytes(view)
        if count * _RECORD_BYTES_MIN > len(data):
            raise CorruptBatch(f"{count} records do not fit into {len(data)} bytes")
        reader = Reader(data, topic, partition, batch.base_offset, batch.base_timestamp_ms)
        _read(reader, count)
    except IndexError:
        fault = "the records are cut off"
    except CorruptBatch as error:
        fault = str(error)
    else:
        if reader.at == len(data) and reader.last_offset <= batch.last_offset:
            return _restamped(batch, reader.records)
        fault = f"{len(data) - reader.at} bytes follow the last record"
        if reader.last_offset > batch.last_offset:
            fault = f"a record has offset {reader.last_offset}, the last is {batch.last_offset}"
    raise CorruptBatch(f"batch at offset {batch.base_offset}: {fault}")


def keys(batch: Batch, bytes_max: int = DECOMPRESSED_BYTES_MAX) -> list[bytes | None]:
    """The records' keys, in order; the CRC is left out. Raises CorruptBatch as ``decode`` does."""
    return [record.key for record in decode(batch, bytes_max=bytes_max, check=False)]


def _read(reader: Reader, count: int) -> None:
    singles = _SINGLES_MIN
    while (left := count - len(reader.records)) > 0:
        if left >= RUN_MIN and take_run(reader, left):
            singles = _SINGLES_MIN
        else:
            reader.read(min(singles, left))
            singles = min(2 * singles, _SINGLES_MAX)


def _restamped(batch: Batch, records: list[Record]) -> list[Record]:
    """The records with the timestamps they have by the batch's header."""
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
