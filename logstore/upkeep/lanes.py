"""Retention of a queue's lane: segments go in which all is settled, once they are old enough.

As for topics, the oldest go first, and none after one that stays; the age is that of the segment,
and not of what was settled in it. ``queue.retention.ms`` 0: what is settled is not retained.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from logstore.settings import TopicSettings
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.segment import SegmentFacts
from logstore.upkeep.retention import Verdict, drop, judge

# Of the room below which nobody may publish any more: what is settled goes before.
ROOM_TIMES: Final = 4


def as_there_is_room(directory: LocalDirectory, settings: TopicSettings) -> TopicSettings:
    """Of lanes: where the disk is nearly full, nothing is retained that is settled."""
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
) -> list[Verdict]:
    """A verdict for each segment, oldest first. Pure. ``floor``: below, all is settled."""
    settled = [it for it in segments if it.end_offset <= floor]
    if settings.retention_ms:
        verdicts = judge(settled, now_ms, settings, {}, timed)
    else:
        verdicts = [_at_once(it) for it in settled]
    why = f"holds messages from offset {floor} on that are not settled"
    return verdicts + [Verdict(it, False, why) for it in segments[len(settled) :]]


def _at_once(segment: SegmentFacts) -> Verdict:
    if segment.active and segment.end_offset == segment.base_offset:
        return Verdict(segment, False, "empty, and appended to")
    return Verdict(segment, True, "all of it is settled")


def drop_settled(log: SegmentedLog, verdicts: Sequence[Verdict]) -> None:
    """Drop what goes, as ``retain``."""
    ends = [it.segment.end_offset for it in verdicts if it.goes]
    if ends:
        keep_notes(log, ends[-1])
    drop(log, verdicts)


def keep_notes(log: SegmentedLog, before: int) -> None:
    """What is kept beside the lane is of all its batches: save it, before any go unread."""
    if log.notes is not None and before > log.state.recovery_offset:
        log.secure()


def retain(log: SegmentedLog, floor: int, now_ms: int, settings: TopicSettings) -> None:
    """Drop what goes. Raises StorageFull, LogFailed, Damaged, Failed, UnknownPartition."""
    bases = log.bases()
    if floor < log.end and (len(bases) == 1 or bases[1] > floor):
        return  # no segment is settled as a whole
    verdicts = judge_lane(log.segments(timed=False), floor, now_ms, settings, log.timed)
    drop_settled(log, verdicts)
