"""Takes each transaction that ends during a backup into the copy completely or not at all.

Logs are copied one after the other, and the journal last. A transaction that begins and ends
between the copies of two logs would be in only one of them. Therefore only transactions decided
before the backup began are kept: a later decision becomes an abort in the copy of the journal, and
no log is copied beyond the first marker of such a decision.

A transaction that was decided earlier already had all its data in the logs, and a marker that is
written later stands above the ends that the logs had a moment before.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Final, cast

from logstore.broker.ledger import Ledger
from logstore.errors import CorruptBatch, LogstoreError, OffsetBelowStart
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import rebatched
from logstore.records.keyed import keyed
from logstore.storage.catalog import Entry
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.kinds import JOURNAL, TOPIC

_READ_BYTES: Final = 1 << 20
_OUTCOME_AT: Final = 2  # in the value of a decision (``transactions/operations.py``)


class Before:
    """The transactions that were decided when this object was made."""

    def __init__(self, directory: LocalDirectory) -> None:
        """Opens all logs of topics; logs that cannot be opened are ignored."""
        self._ends: dict[bytes, int] = {}
        self._journal: SegmentedLog | None = None  # there is none yet, or it can't be opened
        self._upto = 0
        entries = directory.entries()
        for name, entry in entries:
            for partition in range(entry.partitions) if entry.kind == TOPIC.name else ():
                with suppress(LogstoreError, OSError):
                    log = directory.log(name, entry, partition)
                    self._ends[entry.log_key(partition)] = log.safe
        for name, entry in entries:  # behind them: what it decides later is not in them yet
            if entry.kind == JOURNAL.name:
                with suppress(LogstoreError, OSError):
                    self._journal = directory.log(name, entry, 0)
                    self._upto = self._journal.safe

    # Of a topic

    def ends_something(self, log: SegmentedLog, entry: Entry, partition: int) -> bool:
        """Whether a marker of a later decision was written to the log."""
        begin = self._ends.get(entry.log_key(partition), 0)
        return any(it.is_control for it in _batches(log, begin, log.safe))

    def end(
        self, log: SegmentedLog, entry: Entry, partition: int, known: int, ledger: Ledger
    ) -> int:
        """The offset up to which the log is copied. ``ledger``: as of the offset ``known``."""
        safe, begin = log.safe, self._ends.get(entry.log_key(partition), 0)
        for batch in _batches(log, max(known, log.start), begin):
            if batch.next_offset <= begin:
                ledger.appended(batch, batch.base_offset)
        begun, topic_id = dict(ledger.open), entry.log_key(partition)[:16]
        for batch in _batches(log, begin, safe):
            if not batch.is_transactional or batch.base_offset < begin:
                continue
            if not batch.is_control:
                begun.setdefault(batch.producer_id, batch.base_offset)
                continue
            first = begun.pop(batch.producer_id, None)
            place = topic_id, partition, batch.producer_id, first
            if first is not None and place not in self._decided:
                return batch.base_offset
        return safe

    @cached_property
    def _decided(self) -> set[tuple[bytes, int, int, int | None]]:
        """The partitions of all decisions that may lack a marker."""
        from logstore.broker.transactions.operations import DECIDED, decode_decision, pid_of

        found: set[tuple[bytes, int, int, int | None]] = set()
        if self._journal is None:
            return found
        for batch in _batches(self._journal, self._journal.start, self._upto):
            for record in decode(batch):
                key, value = record.key or b"", record.value or b""
                if key[:1] == DECIDED and record.offset < self._upto:
                    it = decode_decision(value, pid_of(key), "a decision in the journal")
                    found |= {(at.topic_id, at.partition, it.pid, at.first) for at in it.parts}
        return found

    # Of the journal

    def has(self, offset: int) -> bool:
        """Whether everything below this offset existed at that moment."""
        return offset <= self._upto

    def aborted(self, batch: Batch) -> Batch:
        """The journal's batch with later decisions as aborts. Raises CorruptBatch."""
        from logstore.broker.transactions.operations import DECIDED
        from logstore.broker.transactions.state import Outcome

        if self.has(batch.next_offset):
            return batch
        data: bytearray | None = None
        for place, record in enumerate(decode(batch)):
            key, value = record.key or b"", record.value or b""
            if key[:1] != DECIDED or record.offset < self._upto:
                continue
            if data is None:
                found = keyed(batch)
                starts, data = found.starts, bytearray(found.data)
            at = data.index(value, data.index(key, starts[place]) + len(key))
            data[at + _OUTCOME_AT] = Outcome.ABORT
        return batch if data is None else rebatched(batch, batch.record_count, bytes(data))


def ledger_of(notes: object) -> Ledger:
    """The ledger of a topic's log, which is its notes by the log's kind."""
    return cast("Ledger", notes)


def _batches(log: SegmentedLog, at: int, upto: int) -> Iterator[Batch]:
    """The batches from the one with this offset on. Unreadable ones are left out, as damaged."""
    while at < upto:
        try:
            batches = log.read(at, _READ_BYTES)
        except OffsetBelowStart:  # trimmed just now
            at = log.start
            continue
        except CorruptBatch:
            at = log.following(at) or upto
            continue
        yield from (it for it in batches if it.base_offset < upto)
        at = batches[-1].next_offset if batches else upto
