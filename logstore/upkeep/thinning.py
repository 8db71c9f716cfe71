"""Compaction of a queue's lane: settled messages go, the others keep their offsets.

Retention deletes what lies below the first unsettled message. If one old message is never settled,
this removes the settled messages after it from sealed segments, if they are more than half of a
segment and older than ``queue.retention.ms``, or were purged. A segment with only settled messages
is rewritten without being read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.keyed import keyed, thinned
from logstore.settings import TopicSettings
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.retention import stamped_age
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.work import Cleaned, SegmentPart, Step, Thinning, Went

if TYPE_CHECKING:  # imported where a store has queues
    from logstore.broker.queues.bits import Bits
    from logstore.broker.queues.state import LaneState


def plan(
    segments: Sequence[SegmentFacts],
    lane: "LaneState",
    secure: int,
    now_ms: int,
    settings: TopicSettings,
) -> tuple[list[SegmentFacts], str]:
    """The segments to rewrite (none: not now), and why. Pure.

    Candidates are segments that no recovery reads, above the first unsettled message and below the
    last delivered one. If no record follows the last candidate, it stays, because readers need a
    record to reach the end of the log.
    """
    upto = min(secure, lane.cursor)
    if segments and segments[-1].end_offset == segments[-1].base_offset:
        upto = min(upto, segments[-1].end_offset - 1)
    ripe = [
        it for it in segments if lane.floor < it.end_offset <= upto and not it.active and it.bytes
    ]  # fmt: skip
    chosen = [
        it for it in ripe
        if lane.removed.covers(it.base_offset, it.end_offset)
        or (_is_old(it, now_ms, settings) and _is_settled_for_the_most(it, lane))
    ]  # fmt: skip
    if not chosen:
        return [], "no old segment is settled for the most part"
    return chosen, f"messages from offset {lane.floor} on are not settled, and more behind it are"


def _is_old(segment: SegmentFacts, now_ms: int, settings: TopicSettings) -> bool:
    return not settings.retention_ms or stamped_age(segment, now_ms)[0] > settings.retention_ms


def _is_settled_for_the_most(segment: SegmentFacts, lane: "LaneState") -> bool:
    """Whether most offsets are settled; existing records are counted when it is read."""
    total = segment.end_offset - segment.base_offset
    return 2 * lane.unsettled(segment.base_offset, segment.end_offset) < total


def held_of(segments: Sequence[SegmentFacts], lane: "LaneState") -> tuple[bytes, ...]:
    """The unsettled offsets of each segment, as ``bits.encode`` writes them."""
    from logstore.broker.queues.bits import encode, within

    return tuple(
        encode({
            block: bits for block, mask in within(lane.held, it.base_offset, it.end_offset)
            if (bits := lane.held[block] & mask)
        })
        for it in segments
    )  # fmt: skip


def thinned_out(work: Thinning, sealed: Sealed) -> Iterator[Step]:
    """Rewrite the segments that lose records. Raises CorruptBatch, OSError."""
    for part, kept in zip(work.parts, work.held, strict=True):
        held = _decoded(part, kept)
        if not held:
            stem = sealed.write(part.base_offset, ())
            yield Went(part.bytes)
            yield Cleaned((part.base_offset,), stem, part.end_offset - part.base_offset)
            continue
        unsettled, total = sum(map(int.bit_count, held.values())), 0
        for _, batch in sealed.walk(part):
            total += batch.record_count
        yield Went(part.bytes)
        if 2 * unsettled >= total:
            continue  # most of what was settled has gone before
        batches = (batch for _, batch in sealed.walk(part))
        with sealed.named(part):
            stem = sealed.write(part.base_offset, _filtered(batches, held, work.levels))
        yield Cleaned((part.base_offset,), stem, total - unsettled)


def _decoded(part: SegmentPart, kept: bytes) -> "Bits":
    from logstore.broker.packed import Packed
    from logstore.broker.queues.bits import decode_set

    return decode_set(Packed(kept, "what is not settled"), part.end_offset)


def _filtered(
    batches: Iterator[Batch], held: "Bits", levels: Mapping[int, int | None]
) -> Iterator[Batch]:
    for batch in batches:
        places = _places(batch, held)
        if len(places) == batch.record_count:
            batch.check()
            yield batch
        elif places:
            yield thinned(batch, keyed(batch).spans(places), levels.get(batch.compression))


def _places(batch: Batch, held: "Bits") -> list[int]:
    """The places of its unsettled records."""
    from logstore.broker.queues.bits import within

    first, upto = batch.base_offset, batch.next_offset
    blocks = {block: held[block] & mask for block, mask in within(held, first, upto)}
    if not any(blocks.values()):
        return []
    return [
        place for place, record in enumerate(decode(batch))
        if blocks.get(record.offset >> 8, 0) >> (record.offset & 255) & 1
    ]  # fmt: skip
