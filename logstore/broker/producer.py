"""A producer: gathers records into batches, and lets the sync of one run while the next is made."""

from collections import deque
from collections.abc import Sequence
from itertools import accumulate, chain
from operator import itemgetter
from types import TracebackType
from typing import Self

from logstore.broker.partitioner import Partitioner
from logstore.broker.topic import (
    BATCH_BYTES,
    COMPRESSION_BY_NAME,
    RECORD_BYTES_EXTRA,
    HeadersGiven,
    Topic,
    as_headers,
    grouped,
)
from logstore.errors import Closed, InvalidSetting
from logstore.log import Log
from logstore.records.compression import Compression
from logstore.records.encode import Stamped
from logstore.records.record import Message

_value, _key = itemgetter(0), itemgetter(1)


class Producer:
    """Many records into one topic. ``send`` returns before the sync, ``flush`` after it.

    A batch is closed when its records reach ``batch_bytes``. Leaving the ``with`` block flushes,
    also when an exception leaves it: what was sent is kept.
    """

    def __init__(
        self, topic: Topic, batch_bytes: int = BATCH_BYTES, compression: str | None = None
    ) -> None:
        """``compression``: a codec's name; the topic's own setting wins unless it is "producer"."""
        self._topic = topic
        self._batch_bytes = batch_bytes
        self._codec = _codec(topic, compression)
        self._partitioner = Partitioner(len(topic.partitions))
        self._gathered: dict[int, list[Stamped]] = {}
        self._gathered_bytes: dict[int, int] = {}
        self._unacknowledged: deque[tuple[Log, int, int]] = deque()  # log, end, records
        self._acknowledged = 0
        self._closed = False
        self.sent = 0  # records taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def acknowledged(self) -> int:
        """How many of the records sent are synced."""
        waiting = self._unacknowledged
        while waiting and waiting[0][0].safe >= waiting[0][1]:
            self._acknowledged += waiting.popleft()[2]
        return self._acknowledged

    def send(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Take one record. Raises InvalidRecord (it is not taken), StorageFull, LogFailed."""
        self.send_many([Message(value, key, as_headers(headers), timestamp_ms)], partition)

    def send_many(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """Take all of them, or raise InvalidRecord (its ``index`` says which one) and take none."""
        if self._closed:
            raise Closed(f"the producer of topic {self._topic.name!r} is closed")
        if not messages:
            return
        stamped = self._topic.stamp(messages)
        if partition is None:
            groups = grouped(stamped, self._partitioner.partitions(list(map(_key, stamped))))
        else:
            self._topic.partition(partition)
            groups = {partition: stamped}
        self.sent += len(stamped)
        for number, group in groups.items():
            self._gather(number, group)

    def _gather(self, number: int, group: Sequence[Stamped]) -> None:
        gathered = self._gathered.setdefault(number, [])
        gathered.extend(group)
        size = self._gathered_bytes.get(number, 0) + _bytes(group)
        if size >= self._batch_bytes:
            self._close_batches(number)
            self._partitioner.batch_full()
            size = 0
        self._gathered_bytes[number] = size

    def _close_batches(self, number: int) -> None:
        """Append what was gathered for a partition, in batches of about ``batch_bytes``."""
        gathered, self._gathered[number] = self._gathered[number], []
        log = self._topic.partitions[number]
        for part in _parts(gathered, self._batch_bytes):
            for batch in self._topic.encode(part, self._codec):
                end = log.append(batch) + batch.record_count
                self._unacknowledged.append((log, end, batch.record_count))
        log.sync_soon()

    def flush(self) -> None:
        """Everything sent is synced when this returns. Raises StorageFull, LogFailed."""
        for number, gathered in self._gathered.items():
            if gathered:
                self._close_batches(number)
                self._gathered_bytes[number] = 0
        for log, end, _ in self._unacknowledged:
            log.wait(end)
        assert self.acknowledged == self.sent

    def close(self) -> None:
        """Flush, and take no more."""
        if not self._closed:
            self._closed = True
            self.flush()


def _codec(topic: Topic, compression: str | None) -> Compression:
    if topic.settings.compression_type != "producer" or compression is None:
        return topic.compression
    codec = COMPRESSION_BY_NAME.get(compression)
    if codec is None:
        names = ", ".join(name for name in COMPRESSION_BY_NAME if name != "producer")
        raise InvalidSetting(f"compression {compression!r}: takes one of {names}")
    return codec


def _sizes(messages: Sequence[Stamped]) -> list[int]:
    """Bytes of value and key of each, and something for the rest; headers are not counted."""
    return [
        RECORD_BYTES_EXTRA + len(value or b"") + len(key or b"") for value, key, _, _ in messages
    ]


def _bytes(messages: Sequence[Stamped]) -> int:
    data = chain(map(_value, messages), map(_key, messages))
    return sum(map(len, filter(None, data))) + RECORD_BYTES_EXTRA * len(messages)


def _parts(messages: list[Stamped], bytes_max: int) -> list[list[Stamped]]:
    """The same messages in parts of about ``bytes_max``, of one message at least."""
    total = _bytes(messages)
    if total < 2 * bytes_max:
        return [messages]
    ends = list(accumulate(_sizes(messages)))
    parts, begin, taken = [], 0, 0
    for at, end in enumerate(ends, 1):
        if end - taken >= bytes_max:
            parts.append(messages[begin:at])
            begin, taken = at, end
    if begin < len(messages):
        parts.append(messages[begin:])
    return parts
