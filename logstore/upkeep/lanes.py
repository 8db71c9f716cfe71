"""Retention of a queue's lanes: deletes segments whose messages are all settled and old enough.

As for topics, the oldest segments go first, and none goes after one that stays. Age counts from the
timestamps of the messages, not from the time at which they were settled. With
``queue.retention.ms`` 0, settled messages are not retained. Purged messages are never retained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from logstore.kept.queues import ROOM_TIMES
from logstore.settings import TopicSettings
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.retention import Verdict, drop, judge, stamped_age

_Lane = TypeVar("_Lane")


def as_there_is_room(directory: LocalDirectory, settings: TopicSettings) -> TopicSettings:
    """The lanes' settings; if the disk is nearly full, settled messages are not retained."""
    wanted_bytes = ROOM_TIMES * directory.config.store.queue_disk_free_bytes
    if not wanted_bytes or not settings.retention_ms:
        return settings
    try:
        total_bytes, free_bytes = directory.disk.space(directory.path)
    except OSError:
        return settings
    if total_bytes and free_bytes < wanted_bytes:  # some file systems count nothing
        return replace(settings, retention_ms=0)
    return settings


def judge_lane(
    segments: Sequence[SegmentFacts],
    floor: int,
    now_ms: int,
    settings: TopicSettings,
    timed: Callable[[SegmentFacts], SegmentFacts] = lambda facts: facts,
    shown: int = 0,
) -> list[Verdict]:
    """A verdict for each segment, oldest first. Pure.

    ``floor``: everything below is settled. ``shown``: everything below was purged.
    """
    at_once = floor if not settings.retention_ms else min(shown, floor)
    gone = [it for it in segments if it.end_offset <= at_once]
    settled = [it for it in segments[len(gone) :] if it.end_offset <= floor]
    verdicts = [_at_once(it) for it in gone]
    verdicts += judge(settled, now_ms, settings, {}, timed, stamped_age)
    why = f"holds messages from offset {floor} on that are not settled"
    return verdicts + [Verdict(it, False, why) for it in segments[len(verdicts) :]]


def _at_once(segment: SegmentFacts) -> Verdict:
    if segment.active and segment.end_offset == segment.base_offset:
        return Verdict(segment, False, "empty, and appended to")
    return Verdict(segment, True, "all of it is settled")


def shares(lanes: Mapping[_Lane, Sequence[SegmentFacts]], bytes_max: int) -> Mapping[_Lane, int]:
    """How many bytes of each lane's segments may stay, if this many may stay in total. Pure.

    Segments with the oldest messages go first. ``lanes``: the settled segments of each lane, oldest
    first.
    """
    left = {lane: sum(it.bytes for it in segments) for lane, segments in lanes.items()}
    over = sum(left.values()) - bytes_max
    firsts = dict.fromkeys(lanes, 0)
    while over > 0:
        found = [
            (lane, lanes[lane][first]) for lane, first in firsts.items()
            if first < len(lanes[lane]) and over >= lanes[lane][first].bytes
            and not lanes[lane][first].active
        ]  # fmt: skip
        if not found:
            break
        lane, oldest = min(found, key=lambda it: it[1].max_timestamp_ms)
        firsts[lane] += 1
        left[lane] -= oldest.bytes
        over -= oldest.bytes
    return left


def among(
    log: SegmentedLog, lanes: Sequence[tuple[SegmentedLog, int]], settings: TopicSettings
) -> TopicSettings:
    """The settings of one of a queue's lanes, each given with its floor.

    ``retention.bytes`` applies to all lanes together. Raises OSError, UnknownPartition.
    """
    most = settings.retention_bytes
    if most < 0 or not settings.retention_ms or sum(it.bytes() for it, _ in lanes) <= most:
        return settings
    settled = {
        it: [it.timed(one) for one in it.segments(timed=False) if one.end_offset <= below]
        for it, below in lanes
    }
    return replace(settings, retention_bytes=shares(settled, most)[log])


def drop_settled(log: SegmentedLog, verdicts: Sequence[Verdict]) -> None:
    """Delete expired segments, as ``retain`` does."""
    ends = [it.segment.end_offset for it in verdicts if it.goes]
    if ends:
        keep_notes(log, ends[-1])
    drop(log, verdicts)


def keep_notes(log: SegmentedLog, before: int) -> None:
    """Save the notes beside the lane before any batch is deleted: they cover all batches."""
    if log.notes is not None and before > log.state.recovery_offset:
        log.secure()


def retain(
    log: SegmentedLog, floor: int, now_ms: int, settings: TopicSettings, shown: int = 0
) -> None:
    """Delete expired segments. Raises StorageFull, LogFailed, Damaged, Failed, UnknownPartition."""
    bases = log.bases()
    if floor < log.end and (len(bases) == 1 or bases[1] > floor):
        return  # no segment is settled as a whole
    verdicts = judge_lane(log.segments(timed=False), floor, now_ms, settings, log.timed, shown)
    drop_settled(log, verdicts)
