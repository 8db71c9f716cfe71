"""A topic: N partition logs, and the rules that a record must keep to get into them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Final, NamedTuple, cast

from logstore.broker.partitioner import Partitioner
from logstore.config import FOREVER, TopicSettings
from logstore.errors import InvalidRecord, InvalidTimestamp, RecordTooLarge, UnknownPartition
from logstore.log import Log
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import Compression
from logstore.records.encode import Stamped, encode, encoded_size_max
from logstore.records.record import Headers, Message

HeadersGiven = Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]

BATCH_BYTES: Final = 1 << 19  # of records before compression; larger batches compress no better
RECORD_BYTES_EXTRA: Final = 40  # what encoded_size_max adds to a record without headers

_value, _key, _headers, _timestamp = map(itemgetter, range(4))


class Position(NamedTuple):
    """Where a record was put."""

    partition: int
    offset: int
    timestamp_ms: int


def now_ms() -> int:
    """The wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


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
        self._partitioner = Partitioner(len(partitions))

    def __repr__(self) -> str:
        return f"<Topic {self.name} {len(self.partitions)} partitions>"

    def partition(self, number: int) -> Log:
        """Raises UnknownPartition."""
        if not 0 <= number < len(self.partitions):
            raise UnknownPartition(
                f"topic {self.name!r} has no partition {number}, "
                f"only 0 to {len(self.partitions) - 1}"
            )
        return self.partitions[number]

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
        message = Message(value, key, as_headers(headers), timestamp_ms)
        stamped = self.stamp([message])
        if partition is None:
            partition = self._partitioner.partition(key)
        log = self.partition(partition)
        offset = log.append(self.encode(stamped)[0])
        if key is None:
            self._partitioner.batch_full()
        log.wait(offset + 1)
        return Position(partition, offset, stamped[0][3])

    def append_many(
        self, messages: Iterable[Message], partition: int | None = None
    ) -> list[Position]:
        """Append all, batch by batch; they are synced when this returns.

        The positions are in the order of ``messages``. A message that the topic does not take
        raises before anything is appended. Raises as ``append``.
        """
        stamped = self.stamp(list(messages))
        if not stamped:
            return []
        if partition is None:
            numbers = self.partition_numbers(stamped)
        else:
            self.partition(partition)
            numbers = [partition] * len(stamped)
        groups = grouped(stamped, numbers)
        batches = {number: self.encode(group) for number, group in groups.items()}
        offsets: dict[int, list[int]] = {}
        for number, encoded in batches.items():
            log, taken = self.partitions[number], offsets.setdefault(number, [])
            for batch in encoded:
                base_offset = log.append(batch)
                taken.extend(range(base_offset, base_offset + batch.record_count))
        for number, taken in offsets.items():
            self.partitions[number].wait(taken[-1] + 1)
        return _positions(stamped, numbers, offsets)

    # What a record must be, and where it goes

    def stamp(self, messages: Sequence[Message]) -> list[Stamped]:
        """The messages with their timestamps, each one that this topic takes.

        Raises InvalidRecord, whose ``index`` says which message; UnknownPartition.
        """
        now = self._clock()
        stamped = cast("list[Stamped]", messages)
        timestamps = set(map(_timestamp, messages))
        if self.settings.message_timestamp_type == "LogAppendTime":
            stamped = [(m[0], m[1], m[2], now) for m in messages]
            timestamps = set()
        elif None in timestamps:
            timestamps.discard(None)
            stamped = [m if m[3] is not None else (m[0], m[1], m[2], now) for m in stamped]
        self._check(stamped, cast("set[int]", timestamps), now)
        return stamped

    def _check(self, messages: list[Stamped], timestamps: set[int], now: int) -> None:
        settings = self.settings
        low, high = _between(settings, now)
        if timestamps and not low <= min(timestamps) <= max(timestamps) <= high:
            for index, message in enumerate(messages):
                if not low <= message[3] <= high:
                    raise InvalidTimestamp(
                        f"topic {self.name!r}: timestamp {message[3]} ms is outside "
                        f"message.timestamp.before.max.ms and after.max.ms: {low} to {high}",
                        index,
                    )
        if "compact" in settings.cleanup_policy and None in set(map(_key, messages)):
            index = next(i for i, message in enumerate(messages) if message[1] is None)
            raise InvalidRecord(f"topic {self.name!r} is compacted: a record needs a key", index)
        self._check_sizes(messages)

    def _check_sizes(self, messages: list[Stamped]) -> None:
        bytes_max = self.settings.max_message_bytes
        largest = max(map(len, filter(None, map(_value, messages))), default=0)
        largest += max(map(len, filter(None, map(_key, messages))), default=0)
        if largest + RECORD_BYTES_EXTRA + HEADER_BYTES <= bytes_max and not any(
            map(_headers, messages)
        ):
            return
        for index, message in enumerate(messages):
            if encoded_size_max(*message[:3]) + HEADER_BYTES > bytes_max:
                batch = encode([message], compression=self.compression)
                if batch.size > bytes_max:
                    raise RecordTooLarge(
                        f"topic {self.name!r}: a record of {batch.size} bytes is over "
                        f"max.message.bytes, {bytes_max}",
                        index,
                    )

    @property
    def compression(self) -> Compression:
        """The codec of batches that are made here."""
        return COMPRESSION_BY_NAME[self.settings.compression_type]

    def partition_numbers(self, messages: Sequence[Stamped]) -> list[int]:
        """A partition for each message: by key; those without one share one."""
        if len(self.partitions) == 1:
            return [0] * len(messages)
        numbers = self._partitioner.partitions(list(map(_key, messages)))
        self._partitioner.batch_full()
        return numbers

    def encode(
        self, messages: Sequence[Stamped], compression: Compression | None = None
    ) -> list[Batch]:
        """Batches of at most max.message.bytes: one, unless the messages are too many for it.

        Raises RecordTooLarge.
        """
        codec = self.compression if compression is None else compression
        batch = encode(
            messages,
            compression=codec,
            log_append_time=self.settings.message_timestamp_type == "LogAppendTime",
        )
        if batch.size <= self.settings.max_message_bytes:
            return [batch]
        if len(messages) == 1:
            raise RecordTooLarge(
                f"topic {self.name!r}: a record of {batch.size} bytes is over "
                f"max.message.bytes, {self.settings.max_message_bytes}",
                0,
            )
        half = len(messages) // 2
        return self.encode(messages[:half], codec) + self.encode(messages[half:], codec)


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


def grouped(messages: Sequence[Stamped], numbers: Sequence[int]) -> dict[int, list[Stamped]]:
    """The messages of each partition, in their order."""
    distinct = set(numbers)
    if len(distinct) == 1:
        return {numbers[0]: list(messages)}
    groups: dict[int, list[Stamped]] = {number: [] for number in sorted(distinct)}
    for message, number in zip(messages, numbers, strict=True):
        groups[number].append(message)
    return groups


def _between(settings: TopicSettings, now: int) -> tuple[int, int]:
    before, after = (
        settings.message_timestamp_before_max_ms,
        settings.message_timestamp_after_max_ms,
    )
    return (-FOREVER if before == FOREVER else now - before), now + after


_new_position = partial(tuple.__new__, Position)


def _positions(
    messages: Sequence[Stamped], numbers: Sequence[int], offsets: Mapping[int, Sequence[int]]
) -> list[Position]:
    """In the order of ``messages``; ``offsets`` of each partition in the order of its own."""
    timestamps = map(_timestamp, messages)
    if len(offsets) == 1:
        rows = zip(numbers, offsets[numbers[0]], timestamps, strict=True)
        return list(map(_new_position, rows))
    following = {number: iter(taken) for number, taken in offsets.items()}
    ordered = [next(following[number]) for number in numbers]
    return list(map(_new_position, zip(numbers, ordered, timestamps, strict=True)))
