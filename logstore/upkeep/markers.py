"""Decides which transaction markers compaction removes: those of transactions without a batch.

This follows Kafka's cleaner (KIP-534). The log is read from its oldest segment to its newest, after
superseded and aborted records have been removed. A marker stays while any batch of its transaction
exists, even an empty one: without the marker, the transaction would seem open forever, or aborted
records would become visible. After that the marker's batch is stamped with a deadline,
``delete.retention.ms`` from now, and removed when it passes. So a reader that has read a part of
the transaction still learns how it ended. The last marker of an active producer stays if nothing
else contains the producer's epoch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from logstore.records.batch import Batch
from logstore.records.control import ABORT, outcome_of, with_delete_horizon
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.work import Cleaned, Compacting, SegmentPart, Step, Waiting, Went


@dataclass(slots=True)
class _Seen:
    """The decisions about the markers of one segment."""

    changes: bool = False
    aborts_gone: list[int] = field(default_factory=list)  # offsets
    waiting: int = 0


def outlived(work: Compacting, sealed: Sealed) -> Iterator[Step]:
    """Rewrite the segments in which a marker changes. Raises CorruptBatch, OSError."""
    begun, waiting = set[int](), 0
    for part in work.parts:
        seen, before = _Seen(), begun.copy()
        with sealed.named(part):
            for _ in _judged(work, part, _batches(sealed, part), begun, seen):
                pass
        waiting += seen.waiting
        yield Went(part.bytes)
        if seen.changes:
            with sealed.named(part):
                kept = _judged(work, part, _batches(sealed, part), before, _Seen())
                stem = sealed.write(part.base_offset, _checked(kept))
            yield Cleaned((part.base_offset,), stem, aborts_gone=tuple(seen.aborts_gone))
    yield Waiting(waiting)


def _batches(sealed: Sealed, part: SegmentPart) -> Iterator[Batch]:
    return (batch for _, batch in sealed.walk(part))


def _checked(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        batch.check()
        yield batch


def _judged(
    work: Compacting, part: SegmentPart, batches: Iterable[Batch], begun: set[int], seen: _Seen
) -> Iterator[Batch]:
    """The batches for the rewritten segment.

    ``begun``: the producers with a transaction that began below and did not end below. Raises
    CorruptBatch.
    """
    end = work.parts[-1].end_offset if work.keeps_end else None
    for batch in batches:
        if not batch.is_control:
            if batch.is_transactional:
                begun.add(batch.producer_id)
            yield batch
            continue
        outcome = outcome_of(batch)
        if outcome is None and batch.record_count:
            yield batch  # whatever it says, it ends no transaction
            continue
        if batch.producer_id in begun:
            begun.discard(batch.producer_id)
            yield batch
            continue
        horizon_ms = batch.delete_horizon_ms
        if horizon_ms is None and batch.record_count:
            seen.changes = True
            seen.waiting += 1
            yield with_delete_horizon(batch, work.markers_until_ms)
        elif horizon_ms is not None and horizon_ms > work.now_ms:
            seen.waiting += 1
            yield batch
        elif work.epochs.get(batch.producer_id) == batch.producer_epoch or batch.next_offset == end:
            yield batch
        else:
            seen.changes = True
            if outcome == ABORT:
                seen.aborts_gone.append(batch.base_offset)
