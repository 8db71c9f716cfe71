"""A producer: gathers records into batches, and fills a batch while the previous one is synced."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Final, Self, cast

from logstore.broker.partitioner import Partitioner
from logstore.broker.rules import BATCH_BYTES, COMPRESSION_BY_NAME, RECORD_BYTES_EXTRA
from logstore.broker.topic import HeadersGiven, Topic, as_headers
from logstore.errors import Closed, Forked, InvalidSetting, UnknownPartition, UnknownTopic
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.encode import Columns
from logstore.records.record import Message

_Made = list[Batch] | Future[list[Batch]]

PARTS_AHEAD: Final = 2  # of a partition, being compressed while more messages come


class Producer:
    """Appends many records to one topic. ``send`` returns before the sync, ``flush`` after it.

    A batch is closed when its records reach ``batch_bytes``. Leaving the ``with`` block flushes,
    even with an exception: sent records are kept. Thread-safe; a consumer of the same store flushes
    the producer before each commit.
    """

    def __init__(
        self,
        topic: Topic,
        batch_bytes: int = BATCH_BYTES,
        compression: str | None = None,
        closed: Callable[["Producer", BaseException | None], None] = lambda *_: None,
    ) -> None:
        """``compression``: a codec's name; the topic's own setting wins unless it is "producer".

        ``closed(self, error)`` is called at the end of ``close``, with what kept it from flushing.
        """
        self._topic = topic
        self._lock = threading.Lock()  # a consumer's committer flushes while others send
        self._batch_bytes = batch_bytes
        self._compression = compression
        _codec(topic, compression)
        self._partitions = topic.partitions
        self._partitioner = Partitioner(len(topic.partitions))
        self._gathered: dict[int, _Gathered] = {}
        self._fullest = 0  # bytes: no partition has gathered more
        self._made: dict[int, deque[_Made]] = {}  # and not appended yet
        self._maker: ThreadPoolExecutor | None = None
        self._unacknowledged: deque[tuple[Log, int, int]] = deque()  # log, mark after it, records
        self._acknowledged = 0
        self._closed = False
        self._forked: Forked | None = None
        self._when_closed = closed
        self.sent = 0  # records taken

    def forked(self, error: Forked) -> None:
        """As ``Forkable.forked``: gathered records are the parent's to send."""
        self._lock = threading.Lock()
        self._closed, self._forked = True, error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def acknowledged(self) -> int:
        """The number of sent records that are synced."""
        with self._lock:
            self._settle()
            return self._acknowledged

    def _settle(self) -> None:
        waiting = self._unacknowledged
        while waiting and waiting[0][0].done >= waiting[0][1]:
            self._acknowledged += waiting.popleft()[2]

    def send(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: HeadersGiven | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Send one record. Raises InvalidRecord, TypeError: the record was not accepted.

        Also raises StorageFull, LogFailed: the record was accepted, and ``flush`` tries to write it
        again.
        """
        self.send_many([Message(value, key, as_headers(headers), timestamp_ms)], partition)

    def send_many(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """Send all of these records or none; ``index`` of InvalidRecord is the place of the faulty
        one.
        """
        with self._lock:
            self._check_open()
            if messages:
                self._gather(messages, partition)

    def _check_open(self) -> None:
        if self._closed:
            raise self._forked or Closed(f"the producer of topic {self._topic.name!r} is closed")

    def take(self, messages: Sequence[Message], partition: int | None, size: int) -> bool:
        """As ``send_many`` if neither a write nor a wait is needed; otherwise returns False and
        sends nothing.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._check_open()
            if self._fullest + size >= self._batch_bytes or not self._at_hand(partition):
                return False
            if messages:
                self._gather(messages, partition)
            return True
        finally:
            self._lock.release()

    def _at_hand(self, partition: int | None) -> bool:
        """Whether no log would have to be opened, which may take long."""
        if partition is None and len(self._topic.partitions) > 1:
            return True
        return self._topic.at_hand(partition or 0) is not None

    def _gather(self, messages: Sequence[Message], partition: int | None) -> None:
        if self._partitions is not self._topic.partitions:  # there are more: keys go elsewhere now
            self._partitions = self._topic.partitions
            self._partitioner = Partitioner(len(self._partitions))
        codec = _codec(self._topic, self._compression)
        portions = self._topic.portions(messages, self._partitioner, partition, codec)
        self.sent += len(messages)
        for portion in portions:
            gathered = self._gathered.setdefault(portion.partition, _Gathered())
            gathered.add(portion.columns)
            self._fullest = max(self._fullest, gathered.bytes)
        for portion in portions:
            if self._gathered[portion.partition].bytes >= self._batch_bytes:
                self._close_batches(portion.partition)
                self._partitioner.batch_full()

    def _close_batches(self, number: int) -> None:
        """Append what was gathered for a partition, in batches of about ``batch_bytes``."""
        made = self._made.setdefault(number, deque())
        gathered = self._gathered.pop(number, None)
        self._fullest = max((it.bytes for it in self._gathered.values()), default=0)
        if gathered is not None:
            made.extend(map(self._make, gathered.parts(self._batch_bytes)))
        self._append(number, ahead=PARTS_AHEAD)

    def _make(self, part: Columns) -> _Made:
        """Encode a part: in a thread if it is compressed, because compression does not hold the
        interpreter lock.
        """
        codec = _codec(self._topic, self._compression)
        if codec == Compression.NONE or self._closed:
            return self._topic.rules.encode(part, codec)
        if self._maker is None:
            self._maker = ThreadPoolExecutor(1, "producer")
        return self._maker.submit(self._topic.rules.encode, part, codec)

    def _append(self, number: int, ahead: int) -> None:
        """Append a partition's batches while ``ahead`` of the parts may still be encoded."""
        made, log = self._made[number], self._topic.partitions[number]
        appended = False
        while made:
            part = made[0]
            if isinstance(part, list):
                batches = part
            elif len(made) > ahead or part.done():
                batches = part.result()
            else:
                break
            while batches:  # what a full disk refuses stays, and is tried again
                upto = log.append(batches[0]) + batches[0].record_count
                self._unacknowledged.append((log, upto, batches.pop(0).record_count))
            made.popleft()
            appended = True
        if appended:
            log.sync_soon()
        self._settle()

    def push(self) -> None:
        """Write everything sent, and start its sync, without waiting for a full batch.

        Raises StorageFull, LogFailed; UnknownPartition if the topic was deleted.
        """
        with self._lock:
            self._push()

    def _push(self) -> None:
        if self._forked is not None:
            raise self._forked
        for number in sorted(self._gathered):
            self._close_batches(number)
        for number in sorted(self._made):
            self._append(number, ahead=0)

    def flush(self) -> None:
        """Wait until everything sent so far is synced. Raises as ``push``.

        Records that another thread sends meanwhile are not waited for.
        """
        sent, marks = self.pushed()
        for log, upto in marks.items():
            log.wait(upto)
        assert self.acknowledged >= sent

    def pushed(self) -> tuple[int, dict[Log, int]]:
        """As ``push``; returns the total number of records, and the marks below which they are
        safe.
        """
        with self._lock:
            self._push()
            return self.sent, {log: upto for log, upto, _ in self._unacknowledged}

    def behind(self, batches: int) -> tuple[Log, int] | None:
        """The mark up to which a log must be safe so that at most this many batches are not."""
        with self._lock:
            self._settle()
            if len(self._unacknowledged) <= batches:
                return None
            log, upto, _ = self._unacknowledged[-batches - 1]
            return log, upto

    def close(self) -> None:
        """Flush, and accept no more records. Raises as ``push``: records that could not be written
        are lost.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        lost: BaseException | None = None
        try:
            self.flush()
        except BaseException as error:
            lost = error
            raise
        finally:
            if self._maker is not None:
                self._maker.shutdown()
            self._when_closed(self, lost)


def flush_all(producers: Iterable[Producer]) -> None:
    """Wait until everything sent to these producers is synced. Raises StorageFull, LogFailed,
    Forked.

    Records for a deleted topic are dropped and delay no one.
    """
    there = [it for it in producers if _is_there(it.push)]
    for producer in there:
        _is_there(producer.flush)


def _is_there(write: Callable[[], None]) -> bool:
    """Write the record; False if the topic was deleted."""
    try:
        write()
    except (UnknownTopic, UnknownPartition):
        return False
    return True


def _codec(topic: Topic, compression: str | None) -> Compression:
    if topic.settings.compression_type != "producer" or compression is None:
        return topic.rules.compression
    codec = COMPRESSION_BY_NAME.get(compression)
    if codec is None:
        names = ", ".join(name for name in COMPRESSION_BY_NAME if name != "producer")
        raise InvalidSetting(f"compression {compression!r}: must be one of {names}")
    return codec


class _Gathered:
    """Messages of one partition that wait for more messages."""

    __slots__ = ("_parts", "bytes")

    def __init__(self) -> None:
        self._parts: list[Columns] = []
        self.bytes = 0  # about what they take in a batch, uncompressed

    def add(self, columns: Columns) -> None:
        self._parts.append(columns)
        self.bytes += _bytes(columns.values) + _bytes(columns.keys)
        self.bytes += RECORD_BYTES_EXTRA * columns.messages
        if any(columns.headers):
            pairs = chain.from_iterable(columns.headers)
            self.bytes += sum(len(name) + len(value or b"") for name, value in pairs)

    def parts(self, bytes_max: int) -> Iterator[Columns]:
        """All messages in parts of about ``bytes_max``, each with at least one message."""
        columns = self._parts[0]
        if len(self._parts) > 1:
            columns = Columns(*(list(chain(*column)) for column in zip(*self._parts, strict=True)))
        count = columns.messages
        step = max(count * bytes_max // max(self.bytes, 1), 1)
        if step * 3 >= count * 2:  # a last part below half a step is merged
            step = count
        for begin in range(0, count, step):
            yield columns.part(begin, min(begin + step, count)) if step < count else columns


def _bytes(column: Sequence[bytes | None]) -> int:
    try:
        return sum(map(len, cast("Sequence[bytes]", column)))
    except TypeError:  # a null
        return sum(map(len, filter(None, column)))
