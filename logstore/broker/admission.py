"""What a batch must be that a client has made, to get into a topic as it is.

Checked by the header and the checksum; no record is decoded. Only two settings make it necessary to
look inside: a compacted topic needs keys, and a topic with a codec of its own needs batches in it
(``must_be_opened``, ``opened``), which may take long.
"""

from logstore.broker.topic import COMPRESSION_BY_NAME, Topic, between
from logstore.errors import CorruptBatch, InvalidRecord, InvalidTimestamp, RecordTooLarge
from logstore.records.batch import MAGIC, Batch, Buffer, batch_size, restamp
from logstore.records.compression import Compression
from logstore.records.decode import keys
from logstore.records.encode import recode

MAGIC_AT = 16


def admit(topic: Topic, data: Buffer, now_ms: int) -> Batch:
    """The one batch that ``data`` is, if the topic takes it.

    Raises CorruptBatch, InvalidRecord, RecordTooLarge, InvalidTimestamp.
    """
    settings = topic.settings
    if len(data) > settings.max_message_bytes:
        raise RecordTooLarge(
            f"topic {topic.name!r}: a batch of {len(data)} bytes is over max.message.bytes, "
            f"{settings.max_message_bytes}"
        )
    try:
        batch = Batch(data)
    except CorruptBatch as error:
        raise _refusal(data, error) from None
    batch.check()
    if batch.record_count != batch.last_offset_delta + 1 or batch.base_offset != 0:
        raise InvalidRecord(
            f"a batch of {batch.record_count} records has offsets {batch.base_offset} to "
            f"{batch.last_offset}, expected 0 to {batch.record_count - 1}"
        )
    if batch.is_control:
        raise InvalidRecord("a client must not write control batches")
    if batch.producer_id >= 0 and (batch.producer_epoch < 0 or batch.base_sequence < 0):
        raise InvalidRecord(
            f"a batch of producer {batch.producer_id} has epoch {batch.producer_epoch} and "
            f"sequence {batch.base_sequence}, expected 0 or more"
        )
    if settings.message_timestamp_type == "CreateTime":
        _check_timestamps(topic, batch, now_ms)
        return batch
    return restamp(batch, now_ms)


def _refusal(data: Buffer, error: CorruptBatch) -> CorruptBatch | InvalidRecord:
    """Which of the faults it is that a client can do something about."""
    if len(data) > MAGIC_AT and data[MAGIC_AT] != MAGIC:
        return InvalidRecord(
            f"the records have format version {data[MAGIC_AT]}, expected {MAGIC}: "
            f"see the client's api.version or message format settings"
        )
    try:
        size = batch_size(data, 0)
    except CorruptBatch as worse:
        return worse
    if size is not None and size < len(data):
        return InvalidRecord("more than one batch for a partition in one request")
    return error


def _check_timestamps(topic: Topic, batch: Batch, now_ms: int) -> None:
    low, high = between(topic.settings, now_ms)
    if low <= batch.base_timestamp_ms and batch.max_timestamp_ms <= high:
        return
    raise InvalidTimestamp(
        f"topic {topic.name!r}: timestamps {batch.base_timestamp_ms} to "
        f"{batch.max_timestamp_ms} ms are not within {low} to {high}: "
        f"see message.timestamp.before.max.ms and message.timestamp.after.max.ms"
    )


def must_be_opened(topic: Topic, batch: Batch) -> bool:
    """Whether the topic's settings ask for what only the records tell."""
    settings = topic.settings
    return "compact" in settings.cleanup_policy or (
        settings.compression_type != "producer" and _codec(topic) != batch.compression
    )


def _codec(topic: Topic) -> Compression:
    return COMPRESSION_BY_NAME[topic.settings.compression_type]


def opened(topic: Topic, batch: Batch) -> Batch:
    """The batch, every record with its key, in the topic's codec. Raises InvalidRecord, Damaged."""
    if "compact" in topic.settings.cleanup_policy and None in keys(batch):
        raise InvalidRecord(f"topic {topic.name!r} is compacted: a record needs a key")
    if topic.settings.compression_type != "producer" and _codec(topic) != batch.compression:
        return recode(batch, _codec(topic), topic.level(_codec(topic)))
    return batch
