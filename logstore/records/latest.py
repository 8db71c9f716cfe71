"""The largest timestamp of a batch's records, if its header cannot be trusted.

A producer writes the header. Some leave the maximum at -1 (sarama up to 1.45), and a log that was
written before headers were compared with their records contains such batches. Then the records are
read instead of the header.
"""

from logstore.errors import CorruptBatch
from logstore.records.batch import LOG_APPEND_TIME, Batch
from logstore.records.check import look


def latest(batch: Batch) -> int:
    """By the header if that can be right, else by the records.

    Of records that can't be read: the base timestamp, which one of them should have.
    """
    claimed = batch.max_timestamp_ms
    if (claimed >= batch.base_timestamp_ms and claimed != -1) or batch.is_log_append_time:
        return claimed
    try:
        return recorded(batch)
    except CorruptBatch:  # whoever reads it is told
        return max(claimed, batch.base_timestamp_ms)


def recorded(batch: Batch) -> int:
    """By the records, whatever the header says; each of them is looked at.

    Raises CorruptBatch for any that is not as it should be; the CRC is left out.

    Under LogAppendTime (KIP-32) the header's is that of each record; and a batch that compaction
    has taken records from keeps its maximum, though that record may be gone.
    """
    facts = look(batch, dense=False)
    if batch.attributes & LOG_APPEND_TIME or not batch.record_count:
        return batch.max_timestamp_ms
    if batch.record_count <= batch.last_offset_delta:
        return max(batch.max_timestamp_ms, facts.max_timestamp_ms)
    return facts.max_timestamp_ms
