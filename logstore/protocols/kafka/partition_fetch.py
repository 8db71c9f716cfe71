"""The partitions of a fetch: each has the log that is read, or the reason why there is none."""

import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

from logstore.access.resources import READ
from logstore.broker.topic import Topic
from logstore.errors import LogstoreError
from logstore.kafka.fetch_codec import Asked, Given
from logstore.log import Aborted, Log
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import LEADER_EPOCH
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.session import Buffer
from logstore.records.batch import Batch
from logstore.records.encode import encode

# Batches without records, which only repeat others, are skipped: librdkafka takes some answers
# without any record for messages that exceed its limit. If no record follows within this many bytes
# of them, a control batch moves the client on, which all clients skip: a commit (KIP-98: version
# and type; version and epoch) of no producer.
EMPTY_BYTES_MAX: Final = 65_536
EVERYTHING: Final = 2**63 - 1  # an offset above all
FEW_BYTES: Final = 64 << 10
ABORTED_TOLD: Final = 1000  # transactions that an answer names for a partition, or few batches
_MARKER: Final = struct.pack(">hh", 0, 1), struct.pack(">hi", 0, 0)


class PartitionFetch:
    """A requested partition: its log, or the reason why it cannot be read."""

    __slots__ = (
        "_begin", "_bytes", "_committed", "_counts", "_empty", "_empty_bytes", "_may_be_empty",
        "_topic", "_upto", "asked", "cold", "error_code", "given", "log",
    )  # fmt: skip

    def __init__(self, asked: Asked, topic: Topic | None, code: int, *, committed: bool) -> None:
        """``code``: the reason why the topic cannot be read; NONE if it can.

        ``committed``: records of open transactions are left out (KIP-98).
        """
        self.asked = asked
        self._committed = committed
        self._bytes, self._upto = 0, asked.offset  # counted so far
        self.cold = False  # there is something, and it has to be fetched first
        self.given = 0  # records that were read last, as far as offsets tell
        self.log: Log | None = None
        self._topic: Topic | None = None
        # For a queue's topic any record suffices: counting would require decoding.
        self._counts = topic is None or not topic.read_only
        self._may_be_empty = topic is not None and bool(topic.settings.deduplication_header)
        self._begin = asked.offset  # all before it, as far as it was looked at, has no records
        self._empty: Batch | None = None  # the last of those
        self._empty_bytes = 0
        self.error_code = code
        if topic is None or code:
            return
        if asked.leader_epoch > LEADER_EPOCH:
            self.error_code = errors.UNKNOWN_LEADER_EPOCH
            return
        try:
            self.log = topic.at_hand(asked.partition)
        except LogstoreError as error:
            self.error_code = code_of(error)
        else:
            self._topic = topic

    def refuse(self) -> None:
        """Return no more records of this partition: the client may no longer read it."""
        self.log = self._topic = None
        self.error_code = errors.TOPIC_AUTHORIZATION_FAILED

    @property
    def opens(self) -> bool:
        """Whether the log must be opened first."""
        return self.log is None and self._topic is not None

    def open(self) -> None:
        """Open the log, which may be slow."""
        topic, self._topic = self._topic, None
        assert topic is not None
        try:
            self.log = topic.partition(self.asked.partition)
        except LogstoreError as error:
            self.error_code = code_of(error)

    def available(self, bytes_max: int) -> int:
        """The number of readable bytes, counted up to ``bytes_max``; at least 1 if there
        are any.
        """
        log, offset = self.log, self.asked.offset
        if log is None:
            return bytes_max
        try:
            if log.start <= offset and self._end(log) <= offset <= log.end:
                log.check_failure()
                return 0
            if self._may_be_empty and not self._pass_over(log):
                return int(self._begin < log.safe)  # records may not be in memory yet
            if bytes_max <= 1:
                return 1
            if offset < log.start or not self._counts:
                return bytes_max
            return self._count(log, min(bytes_max, self.asked.bytes_max))
        except LogstoreError:
            return bytes_max  # the client is to be told

    def _end(self, log: Log) -> int:
        """The offset from which on nothing is returned."""
        return log.stable if self._committed else log.safe

    def _count(self, log: Log, bytes_max: int) -> int:
        """Bytes of whole available batches, counted up to ``bytes_max``.

        Counting reads batches, and resumes where it stopped: otherwise each piece of news would
        cost a read of all available batches, for each client that waits for many bytes. The result
        is never zero if a batch exists, even one that is not in memory yet.
        """
        self._upto = max(self._upto, self._begin)
        end = self._end(log)
        while self._bytes < bytes_max and self._upto < end:
            batches = _below(log.read(self._upto, bytes_max - self._bytes), end)
            if not batches:
                break
            self._bytes += sum(batch.size for batch in batches)
            self._upto = batches[-1].next_offset
        return max(self._bytes, 1)

    def _pass_over(self, log: Log) -> bool:
        """Skip batches without records; returns whether any batch with records follows."""
        while self._empty_bytes < EMPTY_BYTES_MAX:
            batches = log.read(self._begin, EMPTY_BYTES_MAX)
            if not batches:
                return False
            for batch in batches:
                if batch.record_count:
                    return True
                self._begin, self._empty = batch.next_offset, batch
                self._empty_bytes += batch.size
        return True

    def read(self, bytes_max: int, *, first: bool) -> Given:
        """Read up to this many bytes; at least one batch if no other partition has returned any."""
        asked = self.asked
        given = Given(asked.topic, asked.partition, self.error_code)
        log, self.cold = self.log, False  # the last result is void, even on an error
        if log is None:
            return given
        try:
            given.log_start = log.start
            bytes_max = min(bytes_max, asked.bytes_max)
            if bytes_max > 0 or first:
                self._take(log, given, bytes_max, first)
        except LogstoreError as error:
            given.error_code = code_of(error)
            if given.error_code == errors.OFFSET_OUT_OF_RANGE:
                given.high_watermark = -1
                return given
        # After the read: the records returned are below them.
        given.last_stable, given.high_watermark = log.stable, log.safe
        return given

    def _take(self, log: Log, given: Given, bytes_max: int, first: bool) -> None:
        """Read the records to return into ``given``. Raises LogstoreError."""
        if not self._committed:
            given.records = self._records(log, bytes_max, first, EVERYTHING)
            return
        end = log.stable
        if log.start <= self._begin <= log.end and end <= self._begin:
            log.check_failure()
            return
        given.records = self._records(log, bytes_max, first, end)
        if given.records:
            found = log.aborted(self._begin, self._begin + self.given, ABORTED_TOLD)
            if len(found) == ABORTED_TOLD:
                found = self._fewer(log, given)
            given.aborted = [(it.producer_id, it.first) for it in found]

    def _fewer(self, log: Log, given: Given) -> Sequence[Aborted]:
        """Return fewer batches, so that fewer aborted transactions are listed. Raises
        LogstoreError.
        """
        release(given.records)
        batches = log.read(self._begin, FEW_BYTES)
        while True:
            self.given = batches[-1].next_offset - self._begin
            found = log.aborted(self._begin, self._begin + self.given, ABORTED_TOLD)
            if len(found) < ABORTED_TOLD or len(batches) == 1:
                break
            batches = batches[: len(batches) // 2]
        given.records = [it.data for it in batches]
        if len(batches) == 1:  # as many as were open at once
            found = log.aborted(self._begin, self._begin + self.given)
        return found

    def _records(self, log: Log, bytes_max: int, first: bool, end: int) -> Sequence[Buffer]:
        """Batches that end at ``end`` or earlier."""
        if self._may_be_empty and self.asked.offset >= log.start:
            follow = self._pass_over(log) and self._empty_bytes < EMPTY_BYTES_MAX
            if self._empty is not None and not follow:
                self.given = 0
                return (_in_place_of(self._empty),)
        at = self._begin
        extent = log.extent(at, bytes_max)
        if extent is not None:
            if extent.following <= end:
                self.given = extent.following - at
                return (extent,)
            extent.release()
        batches = _below(log.read(at, bytes_max), end)
        self.cold = not batches and at < min(log.safe, end)
        if batches and (first or batches[0].size <= bytes_max):
            self.given = batches[-1].next_offset - at
            return [batch.data for batch in batches]
        if not batches and not self.cold:
            log.check_failure()  # otherwise a waiting client would be answered at once, for ever
        return ()


def release(buffers: Sequence[Any]) -> None:
    """Release the files of buffers that are not sent."""
    for it in buffers:
        if not isinstance(it, (bytes, bytearray, memoryview)):
            it.release()


def _below(batches: Sequence[Batch], end: int) -> Sequence[Batch]:
    """The batches that end at or before this offset, which is a boundary between batches."""
    if not batches or batches[-1].next_offset <= end:
        return batches
    return list(takewhile(lambda it: it.next_offset <= end, batches))


def _in_place_of(empty: Batch) -> Buffer:
    """A batch that moves the client past an empty one."""
    key, value = _MARKER
    row = value, key, (), max(empty.max_timestamp_ms, 0)
    return encode([row], base_offset=empty.last_offset, control=True).data


def readable(client: KafkaClient, asked: str | bytes) -> tuple[Topic | None, int]:
    """The topic of this name or id, or the error code that says why it cannot be read."""
    if isinstance(asked, str):
        name, topic = asked, client.door.topics.get(asked)
    else:
        topic = client.door.topics.by_uuid(asked)
        if topic is None:
            return None, errors.UNKNOWN_TOPIC_ID
        name = topic.name
    if not client.may_topic(READ, name):  # the client may not learn whether it exists
        return None, errors.TOPIC_AUTHORIZATION_FAILED
    return topic, errors.UNKNOWN_TOPIC_OR_PARTITION if topic is None else errors.NONE


def fetches_of(
    client: KafkaClient, asked: Sequence[Asked], *, committed: bool
) -> list[PartitionFetch]:
    """One fetch for each partition; consecutive partitions of a topic share one look-up and
    check.
    """
    found: list[PartitionFetch] = []
    last: str | bytes | None = None
    topic: Topic | None = None
    code = errors.NONE
    for it in asked:
        if it.topic != last:
            last = it.topic
            topic, code = readable(client, it.topic)
        found.append(PartitionFetch(it, topic, code, committed=committed))
    return found


def ask_again(client: KafkaClient, fetches: Sequence[PartitionFetch]) -> bool:
    """Refuse partitions that changed rules no longer allow; returns whether there are any."""
    last, allowed, refused = None, True, False
    for fetch in fetches:
        if fetch.asked.topic != last:
            last = fetch.asked.topic
            _, code = readable(client, last)
            allowed = code != errors.TOPIC_AUTHORIZATION_FAILED
        if not allowed and fetch.error_code != errors.TOPIC_AUTHORIZATION_FAILED:
            fetch.refuse()
            refused = True
    return refused


def open_all(fetches: Sequence[PartitionFetch]) -> bool:
    for fetch in fetches:
        fetch.open()
    return True
