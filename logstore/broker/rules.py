"""A topic's requirements for its records, by its settings, and the batches made of them.

Knows no log: a topic of this store and one of a cluster have the same rules.
"""

from collections.abc import Callable, Sequence, Sized
from typing import Final, cast

from logstore.clock import now_ms
from logstore.errors import InvalidRecord, InvalidTimestamp, RecordTooLarge, UnknownPartition
from logstore.records.batch import HEADER_BYTES, LOG_APPEND_TIME, Batch
from logstore.records.compression import Compression
from logstore.records.encode import (
    Columns,
    by_column,
    check_types,
    distinct,
    encode_columns,
    encoded_size_max,
)
from logstore.records.record import Headers
from logstore.settings import FOREVER, TopicSettings

BATCH_BYTES: Final = 1 << 19  # of records before compression; larger batches compress no better
LZ4_FAST: Final = TopicSettings().compression_lz4_level  # the default, as Kafka takes it
LZ4_SLOW_MIN: Final = 3  # the library's slow compressor begins here, Kafka's at 1
RECORD_BYTES_EXTRA: Final = 40  # what encoded_size_max adds to a record without headers

# Value, key, headers, and a timestamp or None: a Message, or a plain tuple.
Unstamped = tuple[bytes | None, bytes | None, Headers, int | None]

COMPRESSION_BY_NAME: Final = {
    "producer": Compression.NONE,
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}


def level_of(settings: TopicSettings, codec: Compression) -> int | None:
    """As ``Rules.level``."""
    if codec is Compression.GZIP:
        return None if settings.compression_gzip_level < 0 else settings.compression_gzip_level
    if codec is Compression.ZSTD:
        return settings.compression_zstd_level
    if codec is Compression.LZ4 and settings.compression_lz4_level != LZ4_FAST:
        return max(settings.compression_lz4_level, LZ4_SLOW_MIN)
    return None


class Rules:
    """The rules of one topic by its present settings. Changed settings create new rules."""

    __slots__ = ("_clock", "settings", "topic")

    def __init__(
        self, topic: str, settings: TopicSettings, clock: Callable[[], int] = now_ms
    ) -> None:
        self.topic = topic  # its name
        self.settings = settings
        self._clock = clock

    def changed(self, settings: TopicSettings) -> "Rules":
        """The rules of the same topic with other settings."""
        return Rules(self.topic, settings, self._clock)

    def columns(
        self, messages: Sequence[Unstamped], compression: Compression | None = None
    ) -> Columns:
        """The messages by column, with timestamps, each one that this topic takes.

        Raises InvalidRecord, whose ``index`` says which message; TypeError, ValueError.
        """
        now = self._clock()
        values, keys, headers, given = by_column(messages)
        unstamped = given.count(None)
        stamped = [it for it in given if it is not None] if unstamped else given
        check_types(values, keys, headers, stamped)
        timestamps = [now] * len(given)
        if stamped and self.settings.message_timestamp_type == "CreateTime":
            timestamps = [now if it is None else it for it in given] if unstamped else given
            self._check_timestamps(timestamps, now)
        if "compact" in self.settings.cleanup_policy and None in keys:
            raise InvalidRecord(
                f"topic {self.topic!r} is compacted: a record needs a key", keys.index(None)
            )
        columns = Columns(values, keys, headers, timestamps)
        largest = _longest(values) + _longest(keys) + HEADER_BYTES
        largest += max(
            [encoded_size_max(None, None, it) for it in distinct(headers)],
            default=RECORD_BYTES_EXTRA,
        )
        if largest > self.settings.max_message_bytes:
            self._check_sizes(columns, compression)
        return columns

    def _check_timestamps(self, timestamps: Sequence[int], now: int) -> None:
        low, high = self.between(now)
        if low <= min(timestamps) and max(timestamps) <= high:
            return
        index = next(at for at, it in enumerate(timestamps) if not low <= it <= high)
        raise InvalidTimestamp(
            f"topic {self.topic!r}: timestamp {timestamps[index]} ms is outside {low} to {high}: "
            f"see message.timestamp.before.max.ms and message.timestamp.after.max.ms",
            index,
        )

    def _check_sizes(self, columns: Columns, compression: Compression | None) -> None:
        bytes_max = self.settings.max_message_bytes
        for index, (value, key, headers, _) in enumerate(zip(*columns, strict=True)):
            if encoded_size_max(value, key, headers) + HEADER_BYTES > bytes_max:
                try:
                    self.encode(columns.part(index, index + 1), compression)
                except RecordTooLarge as error:
                    error.index = index
                    raise

    @property
    def compression(self) -> Compression:
        """The codec of batches that are made here."""
        return COMPRESSION_BY_NAME[self.settings.compression_type]

    def level(self, codec: Compression) -> int | None:
        """The level at which batches are compressed here; None: the codec's default (KIP-390)."""
        return level_of(self.settings, codec)

    def between(self, now: int) -> tuple[int, int]:
        """The lowest and the highest timestamp of a record that is taken at this time, in ms."""
        before, after = (
            self.settings.message_timestamp_before_max_ms,
            self.settings.message_timestamp_after_max_ms,
        )
        return max(now - before, -FOREVER), min(now + after, FOREVER)  # a batch holds 64 bits

    def encode(self, columns: Columns, compression: Compression | None = None) -> list[Batch]:
        """Return batches of at most max.message.bytes: one, unless the messages are too large for
        it.

        A record that fits only as it is goes uncompressed. Raises RecordTooLarge.
        """
        codec = self.compression if compression is None else compression
        stamped_here = self.settings.message_timestamp_type == "LogAppendTime"
        attributes = codec | LOG_APPEND_TIME if stamped_here else codec
        batch = encode_columns(columns, attributes, self.level(codec))
        if batch.size <= self.settings.max_message_bytes:
            return [batch]
        if columns.messages == 1:
            if codec != Compression.NONE:
                return self.encode(columns, Compression.NONE)
            raise RecordTooLarge(
                f"topic {self.topic!r}: a record of {batch.size} bytes is over max.message.bytes, "
                f"{self.settings.max_message_bytes}"
            )
        half = columns.messages // 2
        first, second = columns.part(0, half), columns.part(half, columns.messages)
        return self.encode(first, codec) + self.encode(second, codec)


def check_partition(topic: str, partitions: Sized, number: int) -> None:
    """Check the number of a partition. Raises UnknownPartition."""
    if not 0 <= number < len(partitions):
        raise UnknownPartition(
            f"topic {topic!r} has no partition {number}, only 0 to {len(partitions) - 1}"
        )


def _longest(column: Sequence[bytes | None]) -> int:
    try:
        return max(map(len, cast("Sequence[bytes]", column)))
    except TypeError:  # a null
        return max(map(len, filter(None, column)), default=0)
