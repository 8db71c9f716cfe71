"""Compaction: the latest record of each key stays, and no offset changes.

The log is read from its newest sealed segment to its oldest. The first record of a key is the
latest, and stays; every further record of the key is older, and goes. So memory holds only a set of
keys. When the set reaches its bound, older segments are still cleaned of the keys in it, and
another pass begins with an empty set at the position where it became full. Kafka's cleaner maps
keys to offsets from old to new, which needs twice the memory.

A record that stays keeps its bytes: deltas count from the batch's base, which does not change
either. Only the header fields with the number of records change. Records without a key stay. The
last batch of each active producer stays, even if it becomes empty, because the sequence numbers
continue from it. Records of aborted transactions go, and their keys are ignored; records above the
start of an open transaction are not examined. Control batches are examined last (``markers.py``).

A tombstone (a key without a value) stays until one complete compaction has included it, so that no
older record of its key is left, and then for ``delete.retention.ms``: a reader that starts at the
beginning meanwhile learns that the key was deleted. The same holds for an expired record of Redis's
keys.
"""

from array import array
from collections.abc import Container, Generator, Iterator, Mapping, Sequence, Set
from itertools import count
from typing import cast

from logstore.aborted import AbortedBatches
from logstore.records.batch import Batch
from logstore.records.check import whole
from logstore.records.decode import decode
from logstore.records.keyed import Keyed, keyed, thinned
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.markers import outlived
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.work import Cleaned, Compacting, Passed, SegmentPart, Step, Went

KEY_BYTES = 110  # what a key takes in the set beside its own bytes: the object, and its slot


def plan(
    segments: Sequence[SegmentFacts],
    state: LogState,
    secure: int,
    now_ms: int,
    settings: TopicSettings,
    oldest_ms: int | None = None,
    *,
    at_once: bool = False,
) -> tuple[list[SegmentFacts], str]:
    """The segments to compact (none: not now), and why. Pure.

    Candidates are sealed and secured segments whose records are all older than
    min.compaction.lag.ms. ``oldest_ms``: the oldest sealed and uncompacted record; needed for
    max.compaction.lag.ms. ``at_once``: however little is uncompacted. ``left_out`` names what is
    excluded.
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
        if state.tombstones_below and state.tombstones_until_ms <= now_ms:
            return chosen, "tombstones or markers are due"
        rest = left_out(segments, state, now_ms, settings)
        return [], f"everything {'else ' if rest else ''}is compacted"
    total, unclean = sum(it.bytes for it in chosen), sum(it.bytes for it in dirty)
    ratio = unclean / total if total else 0.0
    if at_once or ratio >= settings.min_cleanable_dirty_ratio:
        return chosen, f"{ratio:.0%} of it is not compacted"
    if oldest_ms is not None and is_overdue(oldest_ms, now_ms, settings):
        limit = f"max.compaction.lag.ms={settings.max_compaction_lag_ms}"
        return chosen, f"records are older than {limit}"
    return [], f"only {ratio:.0%} of it is not compacted: min.cleanable.dirty.ratio"


def left_out(
    segments: Sequence[SegmentFacts], state: LogState, now_ms: int, settings: TopicSettings
) -> tuple[str, ...]:
    """What compaction excludes, and why, in sentences. Pure."""
    lag_ms, sentences = settings.min_compaction_lag_ms, []
    dirty = [it for it in segments if not it.active and it.end_offset > state.clean_below]
    young = [it for it in dirty if lag_ms and now_ms - it.max_timestamp_ms < lag_ms]
    if young:  # nothing after it is looked at either
        first = max(young[0].base_offset, state.clean_below)
        offsets = f"offsets {first} to {dirty[-1].end_offset - 1}"
        sentences.append(f"{offsets} are left for min.compaction.lag.ms={lag_ms}")
    if (active := in_active(segments)) is not None:
        sentences.append(f"{active}, which is compacted once it is sealed")
    return tuple(sentences)


def in_active(segments: Sequence[SegmentFacts]) -> str | None:
    """The content of the active segment in words; None if it is empty. Pure."""
    count = sum(it.end_offset - it.base_offset for it in segments if it.active)
    if not count:
        return None
    return (
        "1 record is in the active segment"
        if count == 1
        else (f"{count:,} records are in the active segment")
    )


def is_overdue(oldest_ms: int, now_ms: int, settings: TopicSettings) -> bool:
    """Whether a record of this time must not stay uncompacted (KIP-354)."""
    return oldest_ms != NO_TIMESTAMP and now_ms - oldest_ms > settings.max_compaction_lag_ms


def again_ms(
    segments: Sequence[SegmentFacts],
    state: LogState,
    now_ms: int,
    settings: TopicSettings,
    oldest_ms: int,
) -> int | None:
    """When compaction may become due without an append; None: never. Pure.

    ``oldest_ms``: the oldest uncompacted record, for max.compaction.lag.ms. Without one, the
    present time counts, because the arrival of the first record is not reported.
    """
    times: list[int] = []
    if state.tombstones_below:
        times.append(state.tombstones_until_ms)
    if settings.min_compaction_lag_ms:
        dirty = [it for it in segments if not it.active and it.end_offset > state.clean_below]
        ripe = [it.max_timestamp_ms + settings.min_compaction_lag_ms for it in dirty]
        times += [at for at in ripe if at > now_ms][:1]
    if settings.max_compaction_lag_ms != FOREVER:
        is_none = oldest_ms == NO_TIMESTAMP
        times.append(now_ms if is_none else oldest_ms + settings.max_compaction_lag_ms + 1)
    return min(times, default=None)


class _Keys:
    """The keys found so far, up to a bound."""

    def __init__(self, bytes_max: int) -> None:
        self.seen: set[bytes] = set()
        self._bytes_left = bytes_max

    @property
    def full(self) -> bool:
        return self._bytes_left <= 0

    def add(self, fresh: Set[bytes]) -> None:
        self.seen |= fresh
        self._bytes_left -= sum(map(len, fresh)) + KEY_BYTES * len(fresh)


def compacted(work: Compacting, sealed: Sealed) -> Iterator[Step]:
    """Rewrite the segments that lose records, in as many passes as the memory for keys requires.

    Raises CorruptBatch, OSError.
    """
    run = _Run(work, sealed)
    below: int | None = work.parts[-1].end_offset
    while below is not None:
        below = yield from run.one_pass(below)
        yield Passed(run.tombstones)
    if run.has_markers:
        yield from outlived(work, sealed)


def first_pass(work: Compacting, sealed: Sealed) -> Generator[Step, None, bool]:
    """Only the first pass, and whether it is the last one. Raises CorruptBatch, OSError."""
    full_at = yield from _Run(work, sealed).one_pass(work.parts[-1].end_offset)
    return full_at is None


class _Run:
    """One run over the segments of a log."""

    def __init__(self, work: Compacting, sealed: Sealed) -> None:
        self._work = work
        self._sealed = sealed
        self.has_markers = False
        self._own_last: dict[int, int] = {}  # offsets
        self._aborted = AbortedBatches(work.aborted)
        self._removed = 0  # from the segment at hand
        self.tombstones = 0  # that stay, of batches that are not gone over again
        self._tombstones = 0  # of the batch at hand

    def one_pass(self, below: int) -> Generator[Step, None, int | None]:
        """One pass from this offset down. Returns where the keys reached their bound; None if they
        did not.
        """
        keys, full_at = _Keys(self._work.memory_bytes), None
        for part in reversed(self._work.parts):
            if part.base_offset >= below:
                continue
            with self._sealed.named(part):
                kept, empty, full_at = self._look(part, below, keys, full_at)
            yield Went(part.bytes)
            if kept:
                batches = _filtered(self._sealed.walk(part), kept, empty, self._work.levels)
                with self._sealed.named(part):
                    stem = self._sealed.write(part.base_offset, batches)
                yield Cleaned((part.base_offset,), stem, self._removed)
        return full_at

    def _look(
        self, part: SegmentPart, below: int, keys: _Keys, full_at: int | None
    ) -> tuple[dict[int, "array[int]"], set[int], int | None]:
        """For batches that lose records, by position, the records that stay; positions of batches
        that stay although empty; and where the keys reached their bound.
        """
        kept: dict[int, array[int]] = {}
        empty: set[int] = set()
        keeps_last = self._work.keeps_end and part is self._work.parts[-1]
        self._removed = 0
        for position, batch in self._sealed.backwards(part):
            if batch.is_control:
                self.has_markers = True
            elif self._is_last_of_its_producer(batch):
                empty.add(position)
            if batch.base_offset >= below:
                continue
            self._tombstones = 0
            stays = self._stays(batch, keys, keeps_last=keeps_last)
            keeps_last = False
            if full_at is None:  # else the next pass looks at it again
                self.tombstones += self._tombstones
            if keys.full and full_at is None:
                full_at = batch.base_offset
            if stays is not None and (batch.record_count or position not in empty):
                kept[position] = stays
                self._removed += batch.record_count - len(stays) // 2
        return kept, empty, full_at

    def _is_last_of_its_producer(self, batch: Batch) -> bool:
        if batch.producer_id in self._work.own:
            last = self._own_last.setdefault(batch.producer_id, batch.base_offset)
            return batch.base_offset == last
        last = self._work.last_written.get(batch.producer_id, -1)
        return batch.base_offset <= last < batch.next_offset

    def _stays(self, batch: Batch, keys: _Keys, *, keeps_last: bool) -> "array[int] | None":
        """The positions of the records that stay (``keyed.thinned``); None: all stay."""
        if batch.is_control or not batch.record_count:
            batch.check()
            whole(batch)
            return None if batch.is_control or keeps_last else array("I")
        if batch in self._aborted:
            batch.check()
            return array("I")
        records = keyed(batch)
        # Of each key the last place in the batch.
        last = dict(zip(records.keys, count(), strict=False))
        places: list[int] = []
        if None in last:
            del last[None]
            places = [place for place, key in enumerate(records.keys) if key is None]
        fresh = set(last).difference(keys.seen)  # `last.keys() - keys.seen` goes over all seen
        found = map(last.__getitem__, fresh)
        void = {*records.tombstones, *self._expired(batch, records)}
        if batch.base_offset < self._work.tombstones_below:  # a segment's border, never in a batch
            places += [place for place in found if place not in void]
        else:
            places += found
        if void:
            self._tombstones = len(void.intersection(places))
        if not keys.full:
            keys.add(cast("Set[bytes]", fresh))
        if keeps_last and batch.record_count - 1 not in places:
            places.append(batch.record_count - 1)
        if len(places) == batch.record_count:
            return None
        return records.spans(sorted(places))

    def _expired(self, batch: Batch, records: Keyed) -> Iterator[int]:
        """The places of expired records."""
        name = self._work.expires
        if not name or name.encode() not in records.data:
            return
        for place, record in enumerate(decode(batch, check=False)):
            for header, value in record.headers:
                if (
                    header == name
                    and (value or b"").isdigit()
                    and int(value or b"") < self._work.now_ms
                ):
                    yield place


def _filtered(
    walk: Iterator[tuple[int, Batch]],
    kept: "Mapping[int, array[int]]",
    empty: Container[int],
    levels: Mapping[int, int | None],
) -> Iterator[Batch]:
    for position, batch in walk:
        stays = kept.get(position)
        if stays is None:
            yield batch
        elif stays or position in empty:
            yield thinned(batch, stays, levels.get(batch.compression))
