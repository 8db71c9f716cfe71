"""Retention: which segments of a log are deleted, and why. ``judge`` decides, ``drop`` deletes.

The oldest segments go first, and none goes after one that stays. A segment's age counts from the
later of its largest timestamp and its last write: records of a past year that were loaded yesterday
are not deleted today. A time in the future, which only a wrong clock can cause, is ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from logstore.kept.groups import KeptOffset
from logstore.settings import TopicSettings
from logstore.storage.directory import SegmentedLog
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts

# Of a segment by now: milliseconds, and what was assumed.
Aged = Callable[[SegmentFacts, int], tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one segment."""

    segment: SegmentFacts
    goes: bool
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """Segments that a group of retention.groups has not read and so keeps: to ``end_offset``."""

    group: str
    at: int | None  # where the group will read on; None: it has committed nothing here
    commit_ms: int | None  # when it said so last
    base_offset: int
    end_offset: int
    segments: int
    bytes: int


def held(
    segments: Sequence[SegmentFacts],
    now_ms: int,
    settings: TopicSettings,
    readers: Mapping[str, KeptOffset | None],
    timed: Callable[[SegmentFacts], SegmentFacts] = lambda facts: facts,
) -> list[Held]:
    """The segments that would be deleted without these groups, by group. Pure."""
    if not readers:
        return []
    offsets = {group: None if it is None else it.offset for group, it in readers.items()}
    alone = judge(segments, now_ms, settings, {}, timed)
    judged = judge(segments, now_ms, settings, offsets, timed)
    stay = [it.segment for it, one in zip(judged, alone, strict=True) if one.goes and not it.goes]
    found = []
    for group, reader in readers.items():
        at = offsets[group]
        its = [it for it in stay if at is None or at < it.end_offset]
        if its:
            commit_ms = None if reader is None else reader.commit_ms
            size = sum(it.bytes for it in its)
            ends = its[0].base_offset, its[-1].end_offset
            found.append(Held(group, at, commit_ms, *ends, len(its), size))
    return found


def drop(log: SegmentedLog, verdicts: Sequence[Verdict]) -> None:
    """Delete expired segments. Newer appends stay. Raises Failed, ReadOnly."""
    going = [it.segment for it in verdicts if it.goes]
    if not going:
        return
    if going[-1].active:
        log.wait(going[-1].end_offset)
        log.roll()
    log.trim(going[-1].end_offset)


def judge(
    segments: Sequence[SegmentFacts],
    now_ms: int,
    settings: TopicSettings,
    readers: Mapping[str, int | None],
    timed: Callable[[SegmentFacts], SegmentFacts] = lambda facts: facts,
    aged: Aged | None = None,
) -> list[Verdict]:
    """A verdict for each segment, oldest first.

    ``readers``: the next offsets of the groups in ``retention.groups``; None: nothing was read yet.
    The active segment goes only because of its age (it is rolled first), never because of the log's
    size. ``timed(facts)`` adds the timestamp to facts without it: called up to the first segment
    that stays. ``aged``: computes the age instead of ``_age``.
    """
    if "delete" not in settings.cleanup_policy:
        policy = ",".join(settings.cleanup_policy)
        return [Verdict(it, False, f"cleanup.policy={policy}: nothing expires") for it in segments]
    left = sum(it.bytes for it in segments)
    verdicts: list[Verdict] = []
    for segment in segments:
        if verdicts and not verdicts[-1].goes:
            verdicts.append(Verdict(segment, False, "follows one that stays"))
            continue
        segment = timed(segment)
        age_ms, assumed = (aged or _age)(segment, now_ms)
        goes, why = _by_age_and_size(segment, age_ms, left, settings)
        if goes:
            goes, why = _unless_unread(segment, age_ms, why, settings, readers)
        if goes and segment.active:
            why += "; it is the active one: rolled first"
        verdicts.append(Verdict(segment, goes, why + assumed))
        left -= segment.bytes
    return verdicts


def stamped_age(segment: SegmentFacts, now_ms: int) -> tuple[int, str]:
    """The milliseconds since its largest timestamp, and the assumption that was made, if any.

    If that timestamp is in the future, or missing, the last write counts.
    """
    if NO_TIMESTAMP < segment.max_timestamp_ms <= now_ms:
        return now_ms - segment.max_timestamp_ms, ""
    return _age(segment, now_ms)


def _age(segment: SegmentFacts, now_ms: int) -> tuple[int, str]:
    """The milliseconds since the later of its largest timestamp and its last write, and the
    assumption that was made, if any.
    """
    stamped, written = segment.max_timestamp_ms, segment.written_ms
    past = [it for it in (stamped, written) if it <= now_ms]
    if not past:
        return 0, " (stamped and written in the future: taken as new)"
    if stamped > now_ms:
        return now_ms - written, f" (stamped {stamped} ms, in the future: its last write counts)"
    if written > now_ms:
        return now_ms - stamped, f" (written {written} ms, in the future: its timestamps count)"
    return now_ms - max(past), ""


def _by_age_and_size(
    segment: SegmentFacts, age_ms: int, left: int, settings: TopicSettings
) -> tuple[bool, str]:
    if segment.max_timestamp_ms == NO_TIMESTAMP:
        return (False, "empty, and appended to") if segment.active else (True, "empty")
    if 0 <= settings.retention_ms < age_ms:
        return True, f"{duration(age_ms)} old, over retention.ms={settings.retention_ms}"
    over = left - settings.retention_bytes
    if settings.retention_bytes >= 0 and over >= segment.bytes and not segment.active:
        return True, f"the log is {over} bytes over retention.bytes={settings.retention_bytes}"
    return False, f"{duration(age_ms)} old"


def _unless_unread(
    segment: SegmentFacts,
    age_ms: int,
    why: str,
    settings: TopicSettings,
    readers: Mapping[str, int | None],
) -> tuple[bool, str]:
    unread = [name for name, at in readers.items() if at is None or at < segment.end_offset]
    if not unread:
        return True, why
    names, wait_ms = ", ".join(unread), settings.retention_groups_max_ms
    if 0 <= wait_ms < age_ms:
        limit = f"retention.groups.max.ms={wait_ms}"
        return True, f"{why}; group {names} has not read it, but it is over {limit}"
    return False, f"{why}; but group {names} has not read it"


def duration(ms: int) -> str:
    """A duration for people: ``3.5 d``."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms"
