"""Recompresses sealed segments with another codec, in larger batches; merges small segments.

Neither changes a record: key, value, headers, offset and timestamp stay as they are. If a producer
sent batches of a few records, uncompressed or compressed one by one, the records take a fraction of
the bytes once a thousand of them are compressed together.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.merge import Merge
from logstore.settings import TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.compaction import in_active
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.work import Cleaned, Merging, Recompressing, SegmentPart, Step, Went

# Twice as large ones save 1 % more, and whoever reads one record decompresses a whole batch.
BATCH_BYTES: Final = 1 << 20
NEW_LEVEL: Final = TopicSettings().compression_zstd_level  # where a topic says nothing
LEVEL: Final = 9  # of zstd: above it a percent costs as much time as all before
# Of segment.bytes: what is larger is not small. So no byte is merged more than a few times.
SMALL_PART: Final = 2


def plan(
    segments: Sequence[SegmentFacts], state: LogState, secure: int, settings: TopicSettings
) -> tuple[list[SegmentFacts], str]:
    """The segments to recompress (none: not now), and why. Pure."""
    if settings.compression_sealed == "producer":
        return [], "compression.sealed is not set"
    chosen = [
        it
        for it in segments
        if it.end_offset <= secure
        and it.end_offset > state.recompressed_below
        and not it.active
        and it.max_timestamp_ms != NO_TIMESTAMP
    ]
    if not chosen:
        return [], "everything sealed is recompressed"
    return chosen, f"compression.sealed={settings.compression_sealed}"


def left_out(segments: Sequence[SegmentFacts]) -> tuple[str, ...]:
    """What recompression excludes, and why, in sentences. Pure."""
    active = in_active(segments)
    return () if active is None else (f"{active}, which is recompressed once it is sealed",)


def runs(
    segments: Sequence[SegmentFacts], secure: int, settings: TopicSettings
) -> list[list[SegmentFacts]]:
    """Runs of small adjacent segments that fit into one. Pure.

    Only for logs whose segments become small. If retention is by age, no run spans more than
    segment.ms, because records would otherwise stay longer.
    """
    if "compact" not in settings.cleanup_policy and settings.compression_sealed == "producer":
        return []
    by_age = "delete" in settings.cleanup_policy and settings.retention_ms >= 0
    return adjacent(segments, secure, settings, by_age=by_age)


def adjacent(
    segments: Sequence[SegmentFacts],
    secure: int,
    settings: TopicSettings,
    *,
    by_age: bool = False,
) -> list[list[SegmentFacts]]:
    """The same for any log; ``by_age``: no run spans more than segment.ms. Pure."""
    found: list[list[SegmentFacts]] = []
    run: list[SegmentFacts] = []
    for segment in segments:
        if segment.active or segment.end_offset > secure:
            break
        if run and not _fits(run, segment, settings, by_age=by_age):
            found.append(run)
            run = []
        if segment.bytes * SMALL_PART <= settings.segment_bytes:
            run.append(segment)
    return [it for it in [*found, run] if len(it) > 1]


def _fits(
    run: Sequence[SegmentFacts], segment: SegmentFacts, settings: TopicSettings, *, by_age: bool
) -> bool:
    if run[-1].end_offset != segment.base_offset:
        return False
    if sum(it.bytes for it in run) + segment.bytes > settings.segment_bytes:
        return False
    if segment.end_offset - run[0].base_offset > 2**31 - 1:  # an index holds 31 bits
        return False
    if not by_age:
        return True
    times = [it.max_timestamp_ms for it in [*run, segment] if it.max_timestamp_ms != NO_TIMESTAMP]
    return not times or max(times) - min(times) <= settings.segment_ms


def recompressed(work: Recompressing, sealed: Sealed) -> Iterator[Step]:
    """Rewrite each segment. Raises CorruptBatch, OSError."""
    for part in work.parts:
        small = (it for _, it in sealed.walk(part))
        batches = in_larger_batches(small, work.batch_bytes, work.level)
        with sealed.named(part):
            stem = sealed.write(part.base_offset, batches)
        yield Went(part.bytes)
        yield Cleaned((part.base_offset,), stem)


def level(settings: TopicSettings) -> int:
    """The level of zstd in sealed segments: the topic's own, unless that is the default for new
    batches.
    """
    chosen = settings.compression_zstd_level
    return LEVEL if chosen == NEW_LEVEL else chosen


def in_larger_batches(
    batches: Iterable[Batch], batch_bytes: int, zstd_level: int = LEVEL
) -> Iterator[Batch]:
    """The same records under zstd, in batches of at least this many uncompressed bytes.

    Batches that cannot be merged stay separate; empty batches and markers stay as they are. Raises
    CorruptBatch.
    """
    merge: Merge | None = None
    for batch in batches:
        if merge is not None and merge.bytes < batch_bytes and merge.takes(batch):
            merge.add(batch)
            continue
        if merge is not None:
            yield from _smaller(merge, zstd_level)
        merge = Merge(batch)
    if merge is not None:
        yield from _smaller(merge, zstd_level)


def _smaller(merge: Merge, zstd_level: int) -> Sequence[Batch]:
    """The batches merged into one, if that is smaller."""
    if not merge.batches[0].record_count or merge.batches[0].is_control:
        return merge.batches
    one = merge.result(Compression.ZSTD, zstd_level)
    return [one] if one.size < sum(it.size for it in merge.batches) else merge.batches


def merged_runs(work: Merging, sealed: Sealed) -> Iterator[Step]:
    """Write one segment for each run. Raises CorruptBatch, OSError."""
    for run in work.runs:
        stem = sealed.write(run[0].base_offset, _checked(sealed, run))
        yield Went(sum(part.bytes for part in run))
        yield Cleaned(tuple(part.base_offset for part in run), stem)


def _checked(sealed: Sealed, run: Sequence[SegmentPart]) -> Iterator[Batch]:
    for part in run:
        for _, batch in sealed.walk(part):
            with sealed.named(part):
                batch.check()
            yield batch
