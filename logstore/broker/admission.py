"""The checks that a client's batch must pass before it is appended unchanged. Pure.

The batch's own claims are not trusted. ``admit`` looks at its header and its checksum;
``glance`` and ``inspect`` look at its records, whatever their compression: how many there are,
their offset deltas, their timestamps, their keys, and that each byte belongs to one of them
(Kafka: LogValidator). ``glance`` does so within a bound on its work; ``inspect`` has none, names
the records that are at fault, and gives the batch the codec of its topic.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from logstore.broker.rules import COMPRESSION_BY_NAME, Rules
from logstore.errors import (
    CorruptBatch,
    InvalidRecord,
    InvalidTimestamp,
    OpensTooLarge,
    RecordTooLarge,
)
from logstore.records.batch import (
    CRC_AT,
    CRC_COVERS_FROM,
    HEADER_BYTES,
    MAGIC,
    Batch,
    Buffer,
    batch_size,
    restamp,
    with_max_timestamp,
)
from logstore.records.check import Facts, Walk, look
from logstore.records.compression import (
    DECOMPRESSED_BYTES_MAX,
    Compression,
    decompressed,
)
from logstore.records.crc import crc32c
from logstore.records.encode import recode

MAGIC_AT = 16
NO_TIMESTAMP: Final = -1  # a record without a timestamp (KIP-32): no limit applies

# What a glance may cost, in records of the slow kind (0.5 us): 12 ms, in which others wait.
GLANCE_MAX: Final = 24_576
GLANCE_BYTES_MAX: Final = 1 << 20  # of records, opened
_OF_A_BATCH: Final = 16  # what each costs beside its records
_BYTES_OF_A_RECORD: Final = 100  # so many are opened, gzipped, in the time of a record
_SLOW_MAX: Final = 1000  # records that no client makes, so many at most are looked at here
_COST_OF_SLOW: Final = 10
_COST_OF_ID: Final = 10  # beside each record: its headers are read, its id is made and looked up
_FEW_RECORDS: Final = _SLOW_MAX  # of a batch that is looked into in one go
_CHUNKS_MAX: Final = 64  # a megabyte in blocks of 16 KiB; of crafted ones there may be 100,000

_FAULTS_WITH_REASON_MAX: Final = 1000  # others are named by their places alone


class Glance(NamedTuple):
    """The result of a bounded look at a batch."""

    batch: Batch | None  # as it goes into the log; None: it must be inspected
    cost: int


def admit(rules: Rules, data: Buffer) -> Batch:
    """The single batch in ``data``, if the topic accepts its header.

    Raises CorruptBatch, InvalidRecord, RecordTooLarge.
    """
    settings = rules.settings
    if len(data) > settings.max_message_bytes:
        raise _too_large(rules, len(data))
    try:
        batch = Batch(data)
    except CorruptBatch as error:
        raise _refusal(data, error) from None
    batch.check()
    count = batch.record_count
    if not count or count != batch.last_offset_delta + 1 or batch.base_offset != 0:
        raise InvalidRecord(
            f"a batch of {count} records has offsets {batch.base_offset} to "
            f"{batch.last_offset}, expected 0 to {count - 1}"
            if count
            else "a batch without records"
        )
    if batch.is_control:
        raise InvalidRecord("a client must not write control batches")
    if batch.producer_id < -1:
        raise InvalidRecord(f"a batch of producer {batch.producer_id}, expected 0 or more, or -1")
    if batch.producer_id >= 0 and (batch.producer_epoch < 0 or batch.base_sequence < 0):
        raise InvalidRecord(
            f"a batch of producer {batch.producer_id} has epoch {batch.producer_epoch} and "
            f"sequence {batch.base_sequence}, expected 0 or more"
        )
    if batch.is_transactional:
        check_transactional(rules)
    if batch.is_log_append_time and settings.message_timestamp_type == "LogAppendTime":
        raise InvalidTimestamp(
            f"topic {rules.topic!r} has message.timestamp.type LogAppendTime, which a client must "
            f"not claim for its batches"
        )
    return batch


def check_transactional(rules: Rules) -> None:
    """Check that the topic accepts transactional batches. Raises InvalidRecord."""
    if rules.settings.deduplication_header:
        raise InvalidRecord(
            f"topic {rules.topic!r} has deduplication.header, so it accepts no transactional"
            " batches: a repeated record is recognized at its append, not at the commit"
        )


def _too_large(rules: Rules, size: int, how: str = "") -> RecordTooLarge:
    return RecordTooLarge(
        f"topic {rules.topic!r}: a batch of {size} bytes{how} is over max.message.bytes, "
        f"{rules.settings.max_message_bytes}"
    )


def _refusal(data: Buffer, error: CorruptBatch) -> CorruptBatch | InvalidRecord:
    """The kind of fault: a client sends a corrupt batch again, and no other."""
    if not len(data):
        return InvalidRecord("no records for a partition of the request")
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
    return InvalidRecord(str(error)) if size == len(data) and _came_as_sent(data) else error


def _came_as_sent(data: Buffer) -> bool:
    view = memoryview(data)
    crc = int.from_bytes(view[CRC_AT:CRC_COVERS_FROM], "big")
    return crc32c(view[CRC_COVERS_FROM:]) == crc


def glance(rules: Rules, batch: Batch, now_ms: int, cost_max: int) -> Glance:
    """The batch as it will be appended, if that is found out within ``cost_max``.

    Raises InvalidRecord for incomplete records.
    """
    cost = _OF_A_BATCH + batch.record_count
    if rules.settings.deduplication_header:
        if batch.compression:  # the rest may have to be compressed again
            return Glance(None, _OF_A_BATCH)
        cost += _COST_OF_ID * batch.record_count
    size = batch.size - HEADER_BYTES
    if cost > cost_max or size > GLANCE_BYTES_MAX or _recodes(rules, batch):
        return Glance(None, _OF_A_BATCH)
    walk, opened = Walk(batch, dense=True), 0
    view = memoryview(batch.data)[HEADER_BYTES:]
    try:
        if not batch.compression and batch.record_count <= _FEW_RECORDS:
            walk.feed_few(bytes(view))
        else:
            bytes_max = GLANCE_BYTES_MAX
            if batch.compression:
                bytes_max = min(bytes_max, _BYTES_OF_A_RECORD * (cost_max - cost))
            for chunk in decompressed(batch.compression, view, bytes_max, _CHUNKS_MAX):
                opened += len(chunk)
                for _ in walk.feed(chunk):
                    if walk.slow > _SLOW_MAX:
                        return Glance(None, cost + _COST_OF_SLOW * walk.slow)
        facts = walk.end()
    except OpensTooLarge:
        return Glance(None, cost + bytes_max // _BYTES_OF_A_RECORD)
    except CorruptBatch as error:
        raise InvalidRecord(f"batch at offset {batch.base_offset}: {error}") from None
    cost += _COST_OF_SLOW * walk.slow
    if batch.compression:
        cost += opened // _BYTES_OF_A_RECORD
    if not _all_fit(rules, facts, now_ms):
        return Glance(None, cost)
    return Glance(_stamped(rules, batch, facts, now_ms), cost)


def inspect(rules: Rules, batch: Batch, now_ms: int) -> Batch:
    """The batch as it will be appended, however long the check takes.

    Raises InvalidRecord, whose ``faults`` name records; InvalidTimestamp, RecordTooLarge.
    """
    facts = _facts(rules, batch, None)
    if not _all_fit(rules, facts, now_ms):
        faults = _Faults(rules, now_ms)
        _facts(rules, batch, faults.note)
        if (refusal := faults.refusal(batch.record_count)) is not None:
            raise refusal
    batch = _stamped(rules, batch, facts, now_ms)
    if _recodes(rules, batch):
        batch = recode(batch, _codec(rules), rules.level(_codec(rules)))
        if batch.size > rules.settings.max_message_bytes:
            raise _too_large(rules, batch.size, f" as {rules.settings.compression_type}")
    return batch


def kept(rules: Rules, batch: Batch) -> Batch:
    """Return a batch of another log as it is appended to this topic, with its original timestamps.

    It may have been compacted. Raises InvalidRecord; CorruptBatch if it is damaged.
    """
    batch.check()
    facts = look(batch, dense=False)
    if facts.keyless and "compact" in rules.settings.cleanup_policy:
        raise InvalidRecord(f"topic {rules.topic!r} is compacted: a record needs a key")
    most, said = facts.max_timestamp_ms, batch.max_timestamp_ms
    # Compaction keeps the largest timestamp, though its record may be gone.
    compacted = facts.records < batch.last_offset_delta + 1
    if facts.records and most != said and not (compacted and most < said):
        batch = batch if batch.is_log_append_time else with_max_timestamp(batch, most)
    if _recodes(rules, batch):
        batch = recode(batch, _codec(rules), rules.level(_codec(rules)))
    return batch


def _facts(rules: Rules, batch: Batch, note: Callable[[int, int, bool], None] | None) -> Facts:
    bytes_max = DECOMPRESSED_BYTES_MAX
    if _recodes(rules, batch) and _codec(rules) is Compression.NONE:
        bytes_max = rules.settings.max_message_bytes - HEADER_BYTES
    try:
        return look(batch, dense=True, bytes_max=bytes_max, note=note)
    except OpensTooLarge as error:
        raise RecordTooLarge(f"topic {rules.topic!r}: {error}: see max.message.bytes") from None
    except CorruptBatch as error:
        raise InvalidRecord(str(error)) from None


def _recodes(rules: Rules, batch: Batch) -> bool:
    return rules.settings.compression_type != "producer" and _codec(rules) != batch.compression


def _codec(rules: Rules) -> Compression:
    return COMPRESSION_BY_NAME[rules.settings.compression_type]


def _all_fit(rules: Rules, facts: Facts, now_ms: int) -> bool:
    """Whether no record is at fault, as far as all together tell; else each must be looked at."""
    settings = rules.settings
    if facts.keyless and "compact" in settings.cleanup_policy:
        return False
    if settings.message_timestamp_type != "CreateTime":
        return True
    low, high = rules.between(now_ms)
    least, most = facts.least_timestamp_ms, facts.max_timestamp_ms
    return least == most == NO_TIMESTAMP or (low <= least and most <= high)


def _stamped(rules: Rules, batch: Batch, facts: Facts, now_ms: int) -> Batch:
    """The batch, its header saying what its records do; the same one if it did."""
    if rules.settings.message_timestamp_type != "CreateTime":
        return restamp(batch, now_ms)
    if facts.max_timestamp_ms == batch.max_timestamp_ms and not batch.is_log_append_time:
        return batch
    return with_max_timestamp(batch, facts.max_timestamp_ms)


class _Faults:
    """The records of a batch that its topic does not accept."""

    def __init__(self, rules: Rules, now_ms: int) -> None:
        settings = rules.settings
        self._name = rules.topic
        self._needs_keys = "compact" in settings.cleanup_policy
        self._has_limits = settings.message_timestamp_type == "CreateTime"
        self._low, self._high = rules.between(now_ms)
        self._places: list[tuple[int, str | None]] = []
        self._times = 0  # of them, for their timestamps

    def note(self, place: int, timestamp_ms: int, keyless: bool) -> None:
        """As ``check.Note``."""
        if keyless and self._needs_keys:
            why = "a record of a compacted topic needs a key"
        elif (
            self._has_limits
            and timestamp_ms != NO_TIMESTAMP
            and not self._low <= timestamp_ms <= self._high
        ):
            self._times += 1
            why = f"timestamp {timestamp_ms} ms is not within {self._low} to {self._high}"
        else:
            return
        few = len(self._places) < _FAULTS_WITH_REASON_MAX
        self._places.append((place, why if few else None))

    def refusal(self, count: int) -> InvalidRecord | None:
        """Return the error for the faults found; None: there are none."""
        if not self._places:
            return None
        kind: type[InvalidRecord] = InvalidRecord
        place, why = self._places[0]
        message = (
            f"topic {self._name!r}: {len(self._places)} of {count} records are refused, the first "
            f"at {place}: {why}"
        )
        if self._times:
            kind = InvalidTimestamp
            message += ": see message.timestamp.before.max.ms and message.timestamp.after.max.ms"
        return kind(message, place, self._places)
