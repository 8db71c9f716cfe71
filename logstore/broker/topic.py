"""A topic: N partition logs, and the rules that a record must keep to get into them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress, islice
from typing import Final, NamedTuple, cast, overload

from logstore.broker.partitioner import Partitioner
from logstore.errors import InvalidRecord, InvalidTimestamp, RecordTooLarge, UnknownPartition
from logstore.log import Log
from logstore.records.batch import HEADER_BYTES, LOG_APPEND_TIME, Batch
from logstore.records.compression import Compression
from logstore.records.encode import (
    Columns,
    by_column,
    check_types,
    encode_columns,
    encoded_size_max,
)
from logstore.records.record import Headers, Message
from logstore.settings import FOREVER, TopicSettings

HeadersGiven = Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]

BATCH_BYTES: Final = 1 << 19  # of records before compression; larger batches compress no better
LZ4_FAST: Final = TopicSettings().compression_lz4_level  # the default, as Kafka takes it
LZ4_SLOW_MIN: Final = 3  # the library's slow compressor begins here, Kafka's at 1
RECORD_BYTES_EXTRA: Final = 40  # what encoded_size_max adds to a record without headers

# Value, key, headers, and a timestamp or None: a Message, or a plain tuple.
Unstamped = tuple[bytes | None, bytes | None, Headers, int | None]


class Position(NamedTuple):
    """Where a record was put."""

    partition: int
    offset: int
    timestamp_ms: int


def now_ms() -> int:
    """The wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


def uuid_of(topic_id: str) -> bytes:
    """A topic's id as 16 bytes."""
    return bytes.fromhex(topic_id.replace("-", ""))


class Topic:
    """Appends to partitions. What it returns is synced (or as safe as the settings ask for)."""

    def __init__(
        self,
        name: str,
        topic_id: str,
        partitions: Sequence[Log],
        settings: TopicSettings,
        created_ms: int,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.name = name
        self.id = topic_id
        self.partitions = partitions
        self.settings = settings
        self.created_ms = created_ms
        self._clock = clock
        self._opened: dict[int, Log] = {}
        self._partitioner = Partitioner(len(partitions))

    def __repr__(self) -> str:
        return f"<Topic {self.name} {len(self.partitions)} partitions>"

    @cached_property
    def uuid(self) -> bytes:
        """The id as 16 bytes; none of a topic without one."""
        return uuid_of(self.id)

    def partition(self, number: int) -> Log:
        """Its log, opened at the first use, which may take long.

        Raises UnknownPartition; Damaged, Failed where it can't be opened.
        """
        log = self.at_hand(number)
        if log is None:
            log = self._opened[number] = self.partitions[number]
        return log

    def at_hand(self, number: int) -> Log | None:
        """The same without waiting; None: nobody has asked for it yet. Raises UnknownPartition."""
        log = self._opened.get(number)
        if log is None and not 0 <= number < len(self.partitions):
            raise UnknownPartition(
                f"topic {self.name!r} has no partition {number}, "
                f"only 0 to {len(self.partitions) - 1}"
            )
        return log

    def grow(self, partitions: Sequence[Log]) -> None:
        """The topic has more partitions now: these."""
        self.partitions = partitions
        self._partitioner = Partitioner(len(partitions))

    # Appending

    def append(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> Position:
        """Append one record; it is synced when this returns.

        ``headers``: a mapping, or pairs where names repeat. Without a timestamp: now. Without a
        partition: by the key, as every Kafka client does it, or any where there is no key.
        Raises InvalidRecord, UnknownPartition, StorageFull, LogFailed, ReadOnly.
        """
        columns = self.columns([(value, key, as_headers(headers), timestamp_ms)])
        if partition is None:
            partition = self._partitioner.partition(key)
        log = self.partition(partition)
        mark = log.append(self.encode(columns)[0])
        if key is None:
            self._partitioner.batch_full()
        log.wait(mark + 1)
        return Position(partition, log.offset_of(mark), columns.timestamps[0])

    def append_many(
        self, messages: Iterable[Message], partition: int | None = None
    ) -> "Sequence[Position]":
        """Append all, batch by batch; they are synced when this returns.

        The positions are in the order of ``messages``. A message that the topic does not take
        raises before anything is appended. A disk that fills up midway keeps the batches before.
        Raises as ``append``.
        """
        listed = list(messages)
        if not listed:
            return []
        portions = self.portions(listed, self._partitioner, partition)
        self._partitioner.batch_full()
        encoded = [(portion, self.encode(portion.columns)) for portion in portions]
        logs = [self.partitions[portion.partition] for portion in portions]  # one may not open
        appended = [
            [(log.append(batch), batch.record_count) for batch in batches]
            for log, (_, batches) in zip(logs, encoded, strict=True)
        ]
        for log, marks in zip(logs, appended, strict=True):
            log.wait(sum(marks[-1]))
        return Positions(portions, list(map(_offsets, logs, appended)))

    # What a record must be, and where it goes

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
                f"topic {self.name!r} is compacted: a record needs a key", keys.index(None)
            )
        columns = Columns(values, keys, headers, timestamps)
        largest = _longest(values) + _longest(keys) + RECORD_BYTES_EXTRA + HEADER_BYTES
        if largest > self.settings.max_message_bytes or any(headers):
            self._check_sizes(columns, compression)
        return columns

    def _check_timestamps(self, timestamps: Sequence[int], now: int) -> None:
        low, high = between(self.settings, now)
        if low <= min(timestamps) and max(timestamps) <= high:
            return
        index = next(at for at, it in enumerate(timestamps) if not low <= it <= high)
        raise InvalidTimestamp(
            f"topic {self.name!r}: timestamp {timestamps[index]} ms is outside {low} to {high}: "
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
        settings = self.settings
        if codec is Compression.GZIP:
            return None if settings.compression_gzip_level < 0 else settings.compression_gzip_level
        if codec is Compression.ZSTD:
            return settings.compression_zstd_level
        if codec is Compression.LZ4 and settings.compression_lz4_level != LZ4_FAST:
            return max(settings.compression_lz4_level, LZ4_SLOW_MIN)
        return None

    def portions(
        self,
        messages: Sequence[Unstamped],
        partitioner: Partitioner,
        partition: int | None,
        compression: Compression | None = None,
    ) -> list["Portion"]:
        """The messages by partition (all in one, where it is given), in their order.

        Raises InvalidRecord, UnknownPartition.
        """
        if partition is not None or len(self.partitions) == 1:
            self.partition(partition or 0)
            columns = self.columns(messages, compression)
            return [Portion(partition or 0, columns, None)]
        numbers = partitioner.partitions([message[1] for message in messages])
        portions = []
        for number in sorted(set(numbers)):
            chosen = list(compress(messages, map(number.__eq__, numbers)))
            try:
                portions.append(Portion(number, self.columns(chosen, compression), numbers))
            except InvalidRecord as error:
                of_these = (at for at, it in enumerate(numbers) if it == number)
                error.index = next(islice(of_these, error.index, None))
                raise
        return portions

    def encode(self, columns: Columns, compression: Compression | None = None) -> list[Batch]:
        """Batches of at most max.message.bytes: one, unless the messages are too many for it.

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
                f"topic {self.name!r}: a record of {batch.size} bytes is over max.message.bytes, "
                f"{self.settings.max_message_bytes}"
            )
        half = columns.messages // 2
        first, second = columns.part(0, half), columns.part(half, columns.messages)
        return self.encode(first, codec) + self.encode(second, codec)


class Portion(NamedTuple):
    """The messages of one call that go to one partition."""

    partition: int
    columns: Columns
    numbers: Sequence[int] | None  # the partition of each message of the call; None: this one

    @property
    def indexes(self) -> Sequence[int]:
        """Where its messages stand among those of the call."""
        if self.numbers is None:
            return range(self.columns.messages)
        return [index for index, it in enumerate(self.numbers) if it == self.partition]


class Positions(Sequence[Position]):
    """Where each message of one call was put, in the order of the call. Made as it is looked at."""

    def __init__(self, portions: Sequence[Portion], offsets: Sequence[Sequence[int]]) -> None:
        self._portions = portions
        self._offsets = offsets

    @cached_property
    def _positions(self) -> list[Position]:
        placed: list[Position] = [Position(0, 0, 0)] * len(self)
        for portion, offsets in zip(self._portions, self._offsets, strict=True):
            rows = zip(portion.indexes, offsets, portion.columns.timestamps, strict=True)
            for index, offset, timestamp_ms in rows:
                placed[index] = Position(portion.partition, offset, timestamp_ms)
        return placed

    def __len__(self) -> int:
        return sum(map(len, self._offsets))

    @overload
    def __getitem__(self, at: int) -> Position: ...
    @overload
    def __getitem__(self, at: slice) -> list[Position]: ...
    def __getitem__(self, at: int | slice) -> Position | list[Position]:
        return self._positions[at]

    def __repr__(self) -> str:
        return repr(self._positions)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list: equal to other sequences


COMPRESSION_BY_NAME: Final = {
    "producer": Compression.NONE,
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}


def as_headers(headers: HeadersGiven | None) -> Headers:
    """Pairs of name and value; names may repeat."""
    if not headers:
        return ()
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def _offsets(log: Log, appended: Sequence[tuple[int, int]]) -> Sequence[int]:
    """Where the records of batches stand that are safe; each batch by its mark and its records."""
    bases = [(log.offset_of(mark), records) for mark, records in appended]
    ranges = [range(base, base + records) for base, records in bases]
    return ranges[0] if len(ranges) == 1 else list(chain(*ranges))


def _longest(column: Sequence[bytes | None]) -> int:
    try:
        return max(map(len, cast("Sequence[bytes]", column)))
    except TypeError:  # a null
        return max(map(len, filter(None, column)), default=0)


def between(settings: TopicSettings, now: int) -> tuple[int, int]:
    before, after = (
        settings.message_timestamp_before_max_ms,
        settings.message_timestamp_after_max_ms,
    )
    return max(now - before, -FOREVER), min(now + after, FOREVER)  # a batch holds 64 bits
