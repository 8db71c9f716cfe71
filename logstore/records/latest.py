"""The largest timestamp of a batch's records, if its header cannot be trusted.

A producer writes the header. Some leave the maximum at -1 (sarama up to 1.45), and a log that was
written before headers were compared with their records contains such batches. Then the records are
read instead of the header.
"""

from logstore.errors import CorruptBatch
from logstore.records.batch import LOG_APPEND_TIME, Batch
from logstore.records.check import look


def latest(batch: Batch) -> int:
    """The maximum timestamp: the header's if that is plausible, otherwise the records'.

    For unreadable records the base timestamp, which one of them should have.
    """
    claimed = batch.max_timestamp_ms
    if (claimed >= batch.base_timestamp_ms and claimed != -1) or batch.is_log_append_time:
        return claimed
    try:
        return recorded(batch)
    except CorruptBatch:  # reading it reports the error
        return max(claimed, batch.base_timestamp_ms)


def recorded(batch: Batch) -> int:
    """The maximum timestamp of the records, whatever the header says; checks each record.

    Raises CorruptBatch for any fault; the CRC is not checked.

    Under LogAppendTime (KIP-32) the header's timestamp is that of each record; and a batch from
    which compaction has removed records keeps its maximum, even if that record is removed.
    """
    facts = look(batch, dense=False)
    if batch.attributes & LOG_APPEND_TIME or not batch.record_count:
        return batch.max_timestamp_ms
    if batch.record_count <= batch.last_offset_delta:
        return max(batch.max_timestamp_ms, facts.max_timestamp_ms)
    return facts.max_timestamp_ms
