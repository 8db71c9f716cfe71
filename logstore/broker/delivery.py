"""Scheduled records of a partition, which are moved to another partition when they are due.

Clients append the waiting records to a log like any other. An index by their times is kept in
batches, each with the log's *mark*: after a start, the log is read again from this mark on. The
moved records become one batch of the target. Before a move, the end of the target and the records
to be moved are noted; the note and the index entries of the moved records are removed together. So
after a crash the target shows if the batch was written, and each record is moved exactly once.

One thread moves records; ``cancel`` and ``waiting`` may be called from any thread.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from logstore.broker.here import read_when_here, records_at
from logstore.broker.producer_ids import DELIVERIES
from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits, exclude, include
from logstore.broker.rules import BATCH_BYTES, Rules
from logstore.broker.schedules.delays import DELAY, DELIVER_AT, due_of, says_nothing
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import CorruptBatch, LogFailed, LogstoreError
from logstore.kept.schedules import Entry, Moving
from logstore.log import Log
from logstore.records.batch import LOG_APPEND_TIME, Batch
from logstore.records.decode import decode
from logstore.records.encode import Columns, encode_columns, encoded_size_max
from logstore.records.record import Record

INDEXED_BYTES: Final = 1 << 20  # that are looked at before the index is told
MOVED_MAX: Final = 1000  # records of one batch
READ_FIRST: Final = 8  # that are read at once: each may be as large as a record can be
READ_MORE: Final = 4
PAGE: Final = 4096  # entries that are read at once where all are
SEQUENCE_MASK: Final = (1 << 31) - 1

log: Final = logging.getLogger("logstore.delivery")


class Waits(Protocol):
    """The index. All calls may take long; changes are durable on return."""

    def mark(self, log: bytes) -> int: ...
    def page(self, log: bytes, first: Entry, most: int) -> tuple[Sequence[Entry], bool]: ...
    def moving(self, log: bytes) -> Moving | None: ...
    def index(self, log: bytes, put: Sequence[Entry], mark: int) -> None:
        """Add entries, and set a new mark."""

    def moved(self, log: bytes, gone: Sequence[Entry], moving: Moving | None) -> None:
        """Remove entries, and set the move that is in progress."""

    def drop(self, log: bytes, gone: Sequence[Entry]) -> None:
        """Remove entries."""

    def clip(self, log: bytes, gone: Sequence[Entry], mark: int) -> None:
        """Remove entries, and lower the mark."""


class Waiting(NamedTuple):
    """One record that will be moved."""

    entry: Entry
    record: Record


def entry_of(record: Record) -> tuple[Entry, bool]:
    """Return when the record is due, and whether that is at once because a header is illegal."""
    delay, deliver_at = None, None
    for name, value in record.headers:  # the last of a name counts, as in Kafka's clients
        if name == DELAY:
            delay = value
        elif name == DELIVER_AT:
            deliver_at = value
    due_ms = due_of(delay, deliver_at, record.timestamp_ms)
    entry = Entry(max(0, record.timestamp_ms if due_ms is None else due_ms), record.offset)
    return entry, due_ms is None and says_nothing(delay, deliver_at)


class Mover:
    """Moves the records of one partition to another one."""

    def __init__(
        self,
        key: bytes,
        source: Log,
        target: Log,
        rules: Callable[[], Rules],
        waits: Waits,
        counted: ScheduleCounts,
    ) -> None:
        """``rules``: returns the present rules of the target."""
        self.failed: LogstoreError | None = None  # why it goes no further
        self.source = source
        self._key = key
        self._target = target
        self._rules = rules
        self._waits = waits
        self._counted = counted
        self._mark = 0
        self._bits: Bits = {}  # the offsets that wait, below the mark
        self._unreadable: set[int] = set()
        self._trimmed = source.start
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """The number of waiting records, as far as the log was looked at."""
        return sum(it.bit_count() for it in list(self._bits.values()))

    # Opening

    def open(self) -> None:
        """Load the waiting entries, and finish an interrupted move. Raises LogstoreError."""
        self._mark = min(self._waits.mark(self._key), self.source.end)
        self._finish()
        lost: list[Entry] = []
        first, more = Entry(0, 0), True
        while more:
            entries, more = self._waits.page(self._key, first, PAGE)
            for entry in entries:
                # If the log has lost its end, these offsets may be missing or hold other records.
                if self.source.start <= entry.offset < self._mark:
                    include(self._bits, entry.offset, 1)
                else:
                    lost.append(entry)
            if entries:
                first = Entry(entries[-1].due_ms, entries[-1].offset + 1)
        if lost or self._mark < self._waits.mark(self._key):
            self._waits.clip(self._key, lost, self._mark)

    def _finish(self) -> None:
        """Finish a move that an earlier process has begun."""
        moving = self._waits.moving(self._key)
        if moving is not None:
            gone = moving.entries if self._has(moving) else ()
            self._waits.moved(self._key, gone, None)

    def _has(self, moving: Moving) -> bool:
        at = max(moving.end, self._target.start)
        while at < self._target.safe:
            batches = read_when_here(self._target, at, INDEXED_BYTES)
            for batch in batches:
                if (batch.producer_id, batch.base_sequence) == (DELIVERIES, moving.number):
                    return True
            if not batches:
                return False
            at = batches[-1].next_offset
        return False

    # Looking at what came

    def look(self) -> bool:
        """Look at some new records of the log; return whether there are more. Raises
        LogstoreError.
        """
        at = max(self._mark, self.source.start)
        if at >= self.source.safe:
            return False
        try:
            batches = read_when_here(self.source, at, INDEXED_BYTES)
        except CorruptBatch as error:
            following = self.source.following(at)
            if following is None:
                raise
            log.error("what waits from offset %d on can't be read: %s", at, error)  # noqa: TRY400
            self._waits.index(self._key, (), following)
            self._mark = following
            return True
        put: list[Entry] = []
        upto = at
        for batch in batches:
            try:
                records = [] if batch.is_control else decode(batch)
            except CorruptBatch as error:
                log.error("records that wait can't be read: %s", error)  # noqa: TRY400
                records = []
            upto = batch.next_offset
            put += [self._entry(it) for it in records if it.offset >= at]
        with self._lock:  # what is listed can be cancelled
            self._waits.index(self._key, put, upto)
            self._mark = upto
            for entry in put:
                include(self._bits, entry.offset, 1)
        return upto < self.source.safe

    def _entry(self, record: Record) -> Entry:
        entry, meaningless = entry_of(record)
        if meaningless:
            self._counted.meaningless += 1
            if self._counted.meaningless == 1:
                log.warning(
                    "%s: the record at offset %d has an x-delay or x-deliver-at that is not a "
                    "time; such records are delivered at once",
                    self.source.name, record.offset,
                )  # fmt: skip
        return entry

    # Moving

    def next_ms(self) -> int | None:
        """Return when the next record is due; None: none waits. Raises Failed."""
        entries, _ = self._waits.page(self._key, Entry(0, 0), 1 + len(self._unreadable))
        good = (it.due_ms for it in entries if it.offset not in self._unreadable)
        return next(good, None)

    def move(self, now_ms: int) -> int:
        """Move due records, at most one batch; return how many. Raises LogstoreError."""
        if self.failed is not None:
            raise self.failed
        with self._lock:
            records, gone = self._due(now_ms)
            if not records and not gone:
                return 0
            if records:
                self._append(records, gone, now_ms)
            else:
                self._waits.moved(self._key, gone, None)
            self._forget([*(it.entry for it in records), *gone])
            self._counted.delivered += len(records)
            return len(records)

    def _due(self, now_ms: int) -> tuple[list[Waiting], list[Entry]]:
        """Return the records to move now, in order, and the entries whose records are gone."""
        page, _ = self._waits.page(self._key, Entry(0, 0), MOVED_MAX + len(self._unreadable))
        due = [it for it in page if it.due_ms <= now_ms and it.offset not in self._unreadable]
        bytes_max = min(BATCH_BYTES, self._rules().settings.max_message_bytes)
        good: list[Waiting] = []
        gone: list[Entry] = []
        size, at_once = 0, READ_FIRST
        while due:
            some, due = due[:at_once], due[at_once:]
            found = records_at(self.source, [it.offset for it in some])
            for entry in some:
                if entry.offset not in found:
                    gone.append(entry)  # it was deleted
                    continue
                record = found[entry.offset]
                if record is None:
                    self._unreadable.add(entry.offset)
                    continue
                size += encoded_size_max(record.value, record.key, record.headers)
                if good and size > bytes_max:
                    return good, gone
                good.append(Waiting(entry, record))
            if size * READ_MORE < bytes_max:  # they are small: several of a batch are one reading
                at_once *= READ_MORE
        return good, gone

    def _append(self, records: Sequence[Waiting], gone: Sequence[Entry], now_ms: int) -> None:
        """Append the records as one batch.

        The move is noted before, so that after a crash it is known whether the batch was appended.
        """
        number = now_ms & SEQUENCE_MASK
        batch = self._batch([it.record for it in records], number, now_ms)
        moving = Moving(self._target.end, number, [it.entry for it in records])
        self._waits.moved(self._key, gone, moving)
        mark = self._target.append(batch)
        try:
            self._target.wait(mark + batch.record_count)
        except LogFailed as error:
            self.failed = error  # whether it is there is known at the next start
            raise
        self._waits.moved(self._key, moving.entries, None)

    def _batch(self, records: Sequence[Record], number: int, now_ms: int) -> Batch:
        rules = self._rules()
        codec = rules.compression
        stamped = rules.settings.message_timestamp_type == "LogAppendTime"
        columns = Columns(
            [it.value for it in records], [it.key for it in records],
            [it.headers for it in records], [now_ms] * len(records),
        )  # fmt: skip
        attributes = codec | LOG_APPEND_TIME if stamped else codec
        return encode_columns(
            columns, attributes, rules.level(codec), producer=(DELIVERIES, 0, number)
        )

    def _forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            exclude(self._bits, entry.offset, entry.offset + 1)

    # What others ask

    def cancel(self, entry: Entry) -> bool:
        """Cancel a waiting record; False: it no longer waits. Raises LogstoreError."""
        with self._lock:
            block, bit = entry.offset >> BLOCK_SHIFT, 1 << (entry.offset & BIT)
            if not self._bits.get(block, 0) & bit:
                return False
            self._waits.drop(self._key, [entry])
            self._forget([entry])
            self._counted.cancelled += 1
            return True

    def trim(self) -> bool:
        """Delete the records before the first one that waits. Raises LogstoreError."""
        with self._lock:
            floor = self._mark
            if self._bits:
                block = min(self._bits)
                mask = self._bits[block]
                floor = (block << BLOCK_SHIFT) + (mask & -mask).bit_length() - 1
        if floor <= max(self._trimmed, self.source.start):
            return False
        self.source.trim(floor)
        self._trimmed = floor
        return True
