"""Compaction: of each key the latest record stays, and no offset changes.

The log is gone over from its newest sealed segment to its oldest. A key met for the first time is
the latest of its kind; met again, an older record of it goes. So a set of keys is all that is kept
in memory. When the set has grown to its bound, what is older is still cleaned of the keys in it,
and a further pass begins, with an empty set, where it was full. Kafka's cleaner maps keys to
offsets from old to new; the set needs half of the memory.

A record that stays keeps its bytes: deltas count from the batch's own base, which stays too. Only
header fields that say how many records there are change. Control batches stay, records without a
key stay, and of each producer the last batch does, if only as an empty one (its sequence numbers go
on from there).

A tombstone (a key without a value) stays until one whole compaction has gone over it, so that no
older record of its key is left, and ``delete.retention.ms`` after that: who reads from the start
meanwhile learns that the key is gone.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from logstore.config import TopicSettings
from logstore.errors import LogstoreError
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import decompress
from logstore.records.decode import decode
from logstore.records.encode import rebatched
from logstore.records.record import Record
from logstore.records.varint import decoded
from logstore.storage.catalog import LogState
from logstore.storage.directory import SegmentedLog
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import Segment, SegmentFacts

_KEY = attrgetter("key")

KEY_BYTES = 110  # what a key takes in the set beside its own bytes: the object, and its slot


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one run has done to a log."""

    bytes_before: int
    bytes_after: int
    records_removed: int = 0
    passes: int = 0
    why: str = ""
    due: bool = True


@dataclass(frozen=True, slots=True)
class Compaction:
    """What became of one partition."""

    topic: str
    partition: int
    done: Compacted | None
    error: LogstoreError | None = None


class _Keys:
    """Keys met, up to a bound."""

    def __init__(self, bytes_max: int) -> None:
        self.seen: set[bytes] = set()
        self._bytes_left = bytes_max

    @property
    def full(self) -> bool:
        return self._bytes_left <= 0

    def add(self, fresh: set[bytes]) -> None:
        self.seen |= fresh
        self._bytes_left -= sum(map(len, fresh)) + KEY_BYTES * len(fresh)


def plan(
    segments: Sequence[SegmentFacts],
    state: LogState,
    secure: int,
    now_ms: int,
    settings: TopicSettings,
) -> tuple[list[SegmentFacts], str]:
    """The segments to go over (none: not now), and why. Pure.

    Those that are sealed and secured, and whose records are all older than min.compaction.lag.ms.
    """
    if "compact" not in settings.cleanup_policy:
        return [], "cleanup.policy is not compact"
    chosen: list[SegmentFacts] = []
    for segment in segments:
        if segment.active or segment.end_offset > secure:
            break
        if settings.min_compaction_lag_ms and (
            now_ms - segment.max_timestamp_ms < settings.min_compaction_lag_ms
        ):
            break
        chosen.append(segment)
    dirty = [it for it in chosen if it.end_offset > state.clean_below]
    if not dirty:
        tombstones = state.tombstones_below and state.tombstones_until_ms <= now_ms
        return (chosen, "tombstones are due") if tombstones else ([], "everything is compacted")
    total, unclean = sum(it.bytes for it in chosen), sum(it.bytes for it in dirty)
    ratio = unclean / total if total else 0.0
    if ratio >= settings.min_cleanable_dirty_ratio:
        return chosen, f"{ratio:.0%} of it is not compacted"
    oldest = min(it.max_timestamp_ms for it in dirty)
    if now_ms - oldest > settings.max_compaction_lag_ms:
        return (
            chosen,
            f"records are older than max.compaction.lag.ms={settings.max_compaction_lag_ms}",
        )
    return [], f"only {ratio:.0%} of it is not compacted: min.cleanable.dirty.ratio"


def compact(
    log: SegmentedLog,
    settings: TopicSettings,
    now_ms: int,
    memory_bytes: int,
    *,
    dry_run: bool = False,
) -> Compacted:
    """Compact a log, if it is time; with ``dry_run`` only say whether.

    Raises Damaged, Failed, ReadOnly; what was done by then stays done.
    """
    secure = None if dry_run else log.secure()
    segments, state = log.segments(), log.state
    if secure is None:
        secure = segments[-1].base_offset
    chosen, why = plan(segments, state, secure, now_ms, settings)
    before = sum(it.bytes for it in segments)
    if not chosen or dry_run:
        return Compacted(before, before, why=why, due=bool(chosen))
    upto, due = chosen[-1].end_offset, state.tombstones_until_ms <= now_ms
    log.compacting(upto)
    # Readers go on to the log's end: a record must be left that leads there.
    keeps_end = segments[-1].max_timestamp_ms == NO_TIMESTAMP
    run = _Run(log, chosen, state.tombstones_below if due else 0, keeps_end=keeps_end)
    passes = run.all_passes(memory_bytes)
    marks = {"clean_below": upto}
    if due:
        marks |= {
            "tombstones_below": upto,
            "tombstones_until_ms": now_ms + settings.delete_retention_ms,
        }
    log.compacted(replace(log.state, **marks))
    after = sum(it.bytes for it in log.segments())
    return Compacted(before, after, run.removed, passes, why)


class _Run:
    """One run over the segments of a log."""

    def __init__(
        self,
        log: SegmentedLog,
        segments: Sequence[SegmentFacts],
        tombstones_below: int,
        *,
        keeps_end: bool,
    ) -> None:
        self._log = log
        self._segments = segments
        self._tombstones_below = tombstones_below
        self._keeps_end = keeps_end
        self._producers: set[int] = set()
        self.removed = 0

    def all_passes(self, memory_bytes: int) -> int:
        """How many there were."""
        below: int | None = self._segments[-1].end_offset
        passes = 0
        while below is not None:
            below = self._pass(below, memory_bytes)
            passes += 1
        return passes

    def _pass(self, below: int, memory_bytes: int) -> int | None:
        """From this offset down. Where the keys were as many as fit; None when they all did."""
        keys, full_at = _Keys(memory_bytes), None
        for facts in reversed(self._segments):
            if facts.base_offset >= below:
                continue
            full_at = self._segment(facts, below, keys, full_at)
        return full_at

    def _segment(
        self, facts: SegmentFacts, below: int, keys: _Keys, full_at: int | None
    ) -> int | None:
        segment = self._log.segment(facts.base_offset)
        kept: dict[int, list[int]] = {}  # of batches that lose some, by position: which stay
        empty: set[int] = set()  # positions of batches that stay even without records
        keeps_last = self._keeps_end and facts is self._segments[-1]
        for position, batch in segment.backwards():
            if batch.producer_id >= 0 and batch.producer_id not in self._producers:
                self._producers.add(batch.producer_id)
                empty.add(position)
            if batch.base_offset >= below:
                continue
            stays = self._stays(batch, keys, keeps_last=keeps_last)
            keeps_last = False
            if keys.full and full_at is None:
                full_at = batch.base_offset
            if stays is not None:
                kept[position] = stays
                self.removed += batch.record_count - len(stays)
        if kept:
            self._log.rewrite(facts.base_offset, _filtered(segment, kept, empty))
        return full_at

    def _stays(self, batch: Batch, keys: _Keys, *, keeps_last: bool) -> list[int] | None:
        """Which of its records stay, by place; None: all."""
        if batch.is_control or not batch.record_count:
            return None
        batch.check()  # what is damaged must not get a good checksum
        records = decode(batch, check=False)
        column = list(map(_KEY, records))
        last = dict(zip(column, range(len(column)), strict=True))
        places: list[int] = []
        if last.pop(None, None) is not None:
            places = [place for place, key in enumerate(column) if key is None]
        fresh = last.keys() - keys.seen
        found = map(last.__getitem__, fresh)
        if batch.base_offset < self._tombstones_below:
            places += [place for place in found if not self._is_due(records[place])]
        else:
            places += found
        if not keys.full:
            keys.add(fresh)
        if keeps_last and len(records) - 1 not in places:
            places.append(len(records) - 1)
        if len(places) == len(records):
            return None
        return sorted(places)

    def _is_due(self, record: Record) -> bool:
        """Whether it is a tombstone whose time has come."""
        return record.value is None and record.offset < self._tombstones_below


def _filtered(
    segment: Segment, kept: Mapping[int, Sequence[int]], empty: Container[int]
) -> Iterator[Batch]:
    for position, batch in segment.walk():
        stays = kept.get(position)
        if stays is None:
            yield batch
        elif stays or position in empty:
            yield with_records(batch, stays)


def with_records(batch: Batch, places: Sequence[int]) -> Batch:
    """The batch with these of its records alone; offsets and timestamps are what they were."""
    data = decompress(batch.compression, memoryview(batch.data)[HEADER_BYTES:])
    starts, at = [0], 0
    for _ in range(batch.record_count):  # lengths of one and two bytes without a call
        low = data[at]
        if low < 0x80:
            at += 1 + (low >> 1)
        elif data[at + 1] < 0x80:
            at += 2 + ((low & 0x7F | data[at + 1] << 7) >> 1)
        else:
            zigzag, body = decoded(data, at)
            at = body + (zigzag >> 1)
        starts.append(at)
    kept = b"".join([data[starts[place] : starts[place + 1]] for place in places])
    return rebatched(batch, len(places), kept)
