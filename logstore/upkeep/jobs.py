"""The jobs: retention, compaction, recompression, of one topic or all; one at a time.

Each decides purely (``retention.judge``, ``compaction.plan``, ``recompression.plan`` and ``runs``),
has a worker write anew what has to be, and lets the log swap it in. What became of each log is a
plain fact that can be sent to whoever asked, in another process too.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from logstore.broker.ledger import producers_of
from logstore.broker.producer_ids import OWN
from logstore.broker.rules import level_of
from logstore.config import Config
from logstore.errors import Damaged, Failed, LogstoreError, ReadOnly, UnknownPartition
from logstore.kept import KeptOffset
from logstore.kept_queues import parse_lane
from logstore.log import TopicPartition
from logstore.names import KEYS_EXPIRE, KEYS_TOPICS
from logstore.records.compression import Compression
from logstore.records.latest import latest
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.catalog import Entry, LogState
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.disk import failure as why
from logstore.storage.disk import refusal
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.kinds import LANE, TOPIC
from logstore.storage.segment import SegmentFacts
from logstore.storage.unrecovered import LogPlace
from logstore.upkeep import compaction, recompression, thinning
from logstore.upkeep.doing import Asked, Did, Doing
from logstore.upkeep.lanes import among, as_there_is_room, drop_settled, judge_lane
from logstore.upkeep.retention import Held, Verdict, drop, held, judge
from logstore.upkeep.unsettled import Unsettled
from logstore.upkeep.work import (
    Broke,
    Cleaned,
    Compacting,
    LogFiles,
    Merging,
    Passed,
    Recompressing,
    SegmentPart,
    Thinning,
    Tried,
    Trying,
    Waiting,
    Went,
    Work,
    Worker,
)

if TYPE_CHECKING:  # imported where a store has queues
    from logstore.broker.queues.state import LaneState

Name = Literal["retention", "compact", "recompress"]
NAMES: Final[tuple[Name, ...]] = ("retention", "compact", "recompress")
assert set(NAMES) == TOPIC.jobs


class Job(msgspec.Struct, frozen=True):
    """What is asked for."""

    name: Name
    topics: tuple[str, ...] = ()  # none: all
    dry_run: bool = False  # only say what would be done
    seal: bool = False  # begin a new segment first, so that all there is can be rewritten


class Retained(msgspec.Struct, frozen=True, tag=True):
    """What retention made of one log."""

    topic: str
    partition: int
    verdicts: tuple[Verdict, ...] = ()
    broke: Broke | None = None  # nothing was decided
    held: tuple[Held, ...] = ()  # what retention.groups keeps, by group
    groups: tuple[str, ...] = ()  # of retention.groups
    silent: tuple[str, ...] = ()  # those of them that have committed nothing here

    @property
    def dropped(self) -> list[Verdict]:
        return [it for it in self.verdicts if it.goes]

    @property
    def held_back(self) -> tuple[int, int]:
        """Segments and bytes that retention.groups keeps."""
        # Every group's end at the same segment: the largest has what the others have.
        return max(((it.segments, it.bytes) for it in self.held), default=(0, 0))


class Rewritten(msgspec.Struct, frozen=True, tag=True):
    """What compaction or recompression made of one log."""

    topic: str
    partition: int
    due: bool = False  # there was something to do
    why: str = ""
    bytes_before: int = 0
    bytes_after: int = 0
    segments_before: int = 0
    segments_after: int = 0
    records_removed: int = 0
    passes: int = 0
    broke: Broke | None = None
    again_ms: int | None = None  # when time alone may make it due
    left_out: tuple[str, ...] = ()  # what was not looked at, and why
    # Of a dry run: whether what would be removed, and left, was counted: in all of it, or in some.
    tried: Literal["", "all", "some"] = ""
    tombstones_until_ms: int | None = None  # until when they stay, if a compaction found some


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How far a job is with one log."""

    topic: str
    partition: int
    bytes_done: int
    bytes_total: int


Outcome = Retained | Rewritten
Tell = Callable[[Progress], None]


class CommittedIn(Protocol):
    """What groups have committed: by group, then by log."""

    def __call__(
        self, groups: Sequence[str]
    ) -> Mapping[str, Mapping[TopicPartition, KeptOffset]]: ...


def untold(progress: Progress) -> None:
    """For who does not want to know."""


class Jobs:
    """Does jobs in the process that writes the store; dry runs in any."""

    def __init__(
        self,
        directory: LocalDirectory,
        clock: Callable[[], int],
        committed: CommittedIn,
        worker: Callable[[], Worker],
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._committed = committed
        self._make_worker = worker
        self._one = threading.RLock()  # one log at a time, whoever asks
        self._workers: set[Worker] = set()
        self._closed = False
        self.doing = Doing(clock)

    @property
    def _config(self) -> Config:
        return self._directory.config

    def close(self) -> None:
        """Give up what is under way; nothing of it is half done. From any thread."""
        self._closed = True
        for worker in list(self._workers):
            worker.stop()

    def run(
        self,
        job: Job,
        tell: Tell = untold,
        *,
        bytes_per_second: int | None = None,
        by_itself: bool = False,
        places: Iterable[LogPlace] | None = None,
    ) -> Iterator[Outcome]:
        """What became of each log that the job is about.

        ``by_itself``: nobody asked for it. It leaves those alone that are still to be recovered
        after a crash, and those that nobody uses and that have nothing to work on. ``places``: only
        these logs.
        ``bytes_per_second``: else what upkeep.bytes.per.second says. A log that is damaged is left
        as it is, and its outcome says so. Raises UnknownTopic, ReadOnly, Closed.
        """
        directory = self._directory
        if places is None:
            places = _places(directory, job)
        pace = bytes_per_second
        doing = self.doing.begin(Asked(job.name, job.topics, job.dry_run, by_itself))

        def told(progress: Progress) -> None:
            doing.progress(progress.bytes_done, progress.bytes_total)
            tell(progress)

        run = _Run(
            directory, self._clock, self._committed, self._make_worker(), told, job,
            self._config.store.upkeep_bytes_per_second if pace is None else pace,
        )  # fmt: skip
        self._workers.add(run.worker)
        error = ""
        try:
            for place in places:
                if self._closed:
                    return
                if not run.concerns(place.entry) or (by_itself and run.spares(place)):
                    continue
                with self._one:
                    doing.at(place.name, place.partition)
                    outcome = run.one(*place)
                doing.add(_did(outcome))
                yield outcome
        except LogstoreError as failed:
            error = str(failed)
            raise
        finally:
            self.doing.end(doing, error)
            self._workers.discard(run.worker)
            run.worker.close()


def _places(directory: LocalDirectory, job: Job) -> Iterator[LogPlace]:
    """The logs that the job names. Raises UnknownTopic: each is looked for before the first."""
    if job.topics:
        entries = [(name, directory.topic(name)) for name in job.topics]
    else:
        entries = directory.entries()
    return (LogPlace(name, it, number) for name, it in entries for number in range(it.partitions))


def _did(outcome: Outcome) -> Did:
    """The same in figures."""
    if outcome.broke is not None:
        return Did(failure=outcome.broke.text)
    if isinstance(outcome, Retained):
        dropped = outcome.dropped
        return Did(bool(dropped), len(dropped), bytes=sum(it.segment.bytes for it in dropped))
    saved = outcome.bytes_before - outcome.bytes_after
    return Did(outcome.due, records=outcome.records_removed, bytes=saved)


class _Run:
    """One run of a job."""

    def __init__(
        self,
        directory: LocalDirectory,
        clock: Callable[[], int],
        committed: CommittedIn,
        worker: Worker,
        tell: Tell,
        job: Job,
        bytes_per_second: int,
    ) -> None:
        self.worker = worker
        self._directory = directory
        self._clock = clock
        self._committed = committed
        self._tell = tell
        self._job = job
        self._bytes_per_second = bytes_per_second
        self._unsettled = Unsettled(directory)

    def concerns(self, entry: Entry) -> bool:
        if self._job.name not in self._directory.kinds[entry.kind].jobs:
            return False
        if entry.kind == LANE.name:
            return True
        settings = self._directory.settings(entry)
        return {
            "retention": True,
            "compact": "compact" in settings.cleanup_policy,
            "recompress": settings.compression_sealed != "producer",
        }[self._job.name]

    def spares(self, place: LogPlace) -> bool:
        """Whether to leave this one alone where nobody asked for it."""
        directory = self._directory.writable()
        if not directory.is_recovered(place.entry, place.partition):
            return True
        lag_ms = self._directory.settings(place.entry).max_compaction_lag_ms
        if self._job.name == "compact" and lag_ms != FOREVER:
            return False  # an active segment may be overdue
        try:
            return not directory.is_worth_opening(*place)
        except OSError:
            return False  # whoever opens it is told

    def one(self, name: str, entry: Entry, partition: int) -> Outcome:
        """One log. Raises ReadOnly, Closed."""
        is_retention = self._job.name == "retention"
        topic = self._directory.kinds[entry.kind].path(name)
        try:
            log = self._directory.log(name, entry, partition)
            settings = self._directory.settings(entry)
            lane = None
            if entry.kind == LANE.name:
                lane = self._unsettled.of(name)
                settings = as_there_is_room(self._directory, settings)
            if is_retention and lane is not None:
                settings = self._with_others(log, name, lane, settings)
                return self._retain_lane(log, topic, settings, lane)
            if is_retention:
                return self._retain(log, topic, partition, settings)
            return Rewrite(
                log, topic, partition, settings,
                self._directory.config.store.compaction_memory_bytes, self.worker, self._tell,
                self._bytes_per_second, self._clock(), lane,
            ).run(self._job)  # fmt: skip
        except (Damaged, Failed, UnknownPartition, ReadOnly) as error:
            if isinstance(error, ReadOnly) and not self._directory.writes:
                raise  # not this log alone
            broke = Broke.by(_of_log(error, f"{topic}-{partition}", self._job.name))
            if is_retention:
                return Retained(topic, partition, broke=broke)
            return Rewritten(topic, partition, broke=broke)

    @cached_property
    def _lanes(self) -> Mapping[int, Sequence[tuple[str, Entry]]]:
        """By queue."""
        found: dict[int, list[tuple[str, Entry]]] = {}
        for name, entry in self._directory.entries():
            if entry.kind == LANE.name and (lane := parse_lane(name)) is not None:
                found.setdefault(lane.queue, []).append((name, entry))
        return found

    def _with_others(
        self, log: SegmentedLog, name: str, lane: "LaneState", settings: TopicSettings
    ) -> TopicSettings:
        """Of a queue with more lanes: retention.bytes is of all of them together."""
        known = parse_lane(name)
        lanes = () if known is None else self._lanes.get(known.queue, ())
        if len(lanes) < 2 or settings.retention_bytes < 0 or not settings.retention_ms:
            return settings
        floors = [(log, min(lane.floor, log.end))]
        for other, entry in lanes:
            if other == name:
                continue
            with suppress(UnknownPartition):  # deleted meanwhile
                found = self._directory.log(other, entry, 0)
                floors.append((found, min(self._unsettled.of(other).floor, found.end)))
        try:
            return among(log, floors, settings)
        except OSError as error:
            raise why(error, "look at a segment", error.filename or log.name) from None

    def _retain_lane(
        self, log: SegmentedLog, name: str, settings: TopicSettings, lane: "LaneState"
    ) -> Retained:
        floor, segments = min(lane.floor, log.end), log.segments(timed=False)
        shown = next(lane.removed.left(log.start, floor), (floor, floor))[0]
        verdicts = judge_lane(segments, floor, self._clock(), settings, log.timed, shown)
        if not self._job.dry_run:
            drop_settled(log, verdicts)
        return Retained(name, 0, tuple(verdicts))

    def _retain(
        self, log: SegmentedLog, topic: str, partition: int, settings: TopicSettings
    ) -> Retained:
        if not self._job.dry_run and log.state.times_doubtful_below:
            _settle_times(log)
        expires = "delete" in settings.cleanup_policy
        committed = self._committed(settings.retention_groups if expires else ())
        readers = {group: at.get((topic, partition)) for group, at in committed.items()}
        offsets = {group: None if it is None else it.offset for group, it in readers.items()}
        segments, now_ms = log.segments(timed=False), self._clock()
        verdicts = judge(segments, now_ms, settings, offsets, log.timed)
        kept = held(segments, now_ms, settings, readers, log.timed)
        if not self._job.dry_run:
            drop(log, verdicts)
        return Retained(
            topic, partition, tuple(verdicts), held=tuple(kept), groups=tuple(readers),
            silent=tuple(group for group, it in readers.items() if it is None),
        )  # fmt: skip


def _of_log(error: LogstoreError, log: str, job: Name) -> LogstoreError:
    """The error, naming the log and what was being done to it."""
    if log in str(error) and job == "retention":
        return error
    return type(error)(f"{log}: {job}: {error}")


def _settle_times(log: SegmentedLog) -> None:
    """Make time indexes right that were made when headers were believed. Raises Failed."""
    below = log.state.times_doubtful_below
    try:
        for base in log.bases():
            if base < below and log.segment(base).settle_times():
                with suppress(ValueError):  # trimmed just now
                    log.rebuild_index(base)
    except OSError as error:
        raise refusal(error, "look at a segment", error.filename or log.name) from None
    log.mark(times_doubtful_below=0)


class Rewrite:
    """Compaction or recompression of one log, and then the merging of what became small."""

    def __init__(
        self,
        log: SegmentedLog,
        topic: str,
        partition: int,
        settings: TopicSettings,
        memory_bytes: int,
        worker: Worker,
        tell: Tell,
        bytes_per_second: int,
        now_ms: int,
        lane: "LaneState | None" = None,
    ) -> None:
        """``lane``: what is not settled, of a queue's."""
        self._lane = lane
        self._log, self._topic, self._partition = log, topic, partition
        self._settings, self._worker, self._tell = settings, worker, tell
        self._memory_bytes = memory_bytes
        self._bytes_per_second = bytes_per_second
        self._now_ms = now_ms
        self._records_removed = self._passes = self._tombstones = self._markers = 0
        self._bytes_done = self._bytes_total = 0
        self._tried: Tried | None = None

    def run(self, job: Job) -> Rewritten:
        """Raises Damaged, Failed, UnknownPartition, ReadOnly, Closed; what was done stays done."""
        log = self._log
        if not job.dry_run:
            self._roll(job)
        before = log.segments()
        if job.dry_run and job.seal:
            before = [replace(it, active=False) for it in before]
        last = before[-1]
        sealed = last.base_offset if last.active else last.end_offset
        chosen, why = self._plan(job, before, min(sealed, log.stable))
        to_merge = self._runs(before, sealed)
        if not job.dry_run and (chosen or to_merge):  # else the disk is left in peace
            secure = log.secure()
            before = log.segments()
            chosen, why = self._plan(job, before, min(secure, log.stable))
            self._bytes_total = sum(it.bytes for it in chosen)
            try:
                if chosen and self._lane is not None:
                    self._thin(chosen, self._lane)
                elif chosen:
                    rewrite = self._compact if job.name == "compact" else self._recompress
                    rewrite(chosen, before, log.state)
                self._merge(secure)
            except BaseException:
                log.sweep()
                raise
        after = before if job.dry_run else log.segments()
        result = Rewritten(
            self._topic, self._partition, self._was_due(job, chosen), why,
            sum(it.bytes for it in before), sum(it.bytes for it in after), len(before), len(after),
            self._records_removed, self._passes, again_ms=self._again_ms(job, after),
            left_out=self._left_out(job, before), tombstones_until_ms=self._tombstones_until_ms(job)
        )  # fmt: skip
        return self._try(job, result, chosen, before) if job.dry_run and chosen else result

    def _try(
        self,
        job: Job,
        result: Rewritten,
        chosen: Sequence[SegmentFacts],
        before: Sequence[SegmentFacts],
    ) -> Rewritten:
        """The same with what would be removed, and left."""
        if self._lane is not None:
            return result
        # No check that the file ends there: one that is being appended to does not.
        parts = tuple(
            msgspec.structs.replace(it, merged=True) for it in _parts(chosen, self._log.state)
        )
        if job.name == "compact":
            work: Compacting | Recompressing = self._compacting(chosen, before, parts)
        else:
            work = self._recompressing(parts)
        self._bytes_total = sum(it.bytes for it in chosen)
        try:
            self._do(Trying(work))
        except Damaged:
            if list(map(_extent, self._log.segments())) == list(map(_extent, before)):
                raise
            return result  # whoever writes the log has rewritten them meanwhile
        tried = self._tried
        assert tried is not None
        saved = tried.bytes_before - tried.bytes_after
        if job.name != "compact" and tried.bytes_before:  # the rest is taken to be like it
            saved = saved * self._bytes_total // tried.bytes_before
        return msgspec.structs.replace(
            result,
            bytes_after=result.bytes_before - saved,
            records_removed=tried.records_removed,
            tried="all" if tried.whole else "some",
        )

    def _tombstones_until_ms(self, job: Job) -> int | None:
        state = self._log.state
        return (
            state.tombstones_until_ms if job.name == "compact" and state.tombstones_below else None
        )

    def _was_due(self, job: Job, chosen: Sequence[SegmentFacts]) -> bool:
        if self._lane is not None and not job.dry_run:  # the worker saw how much there was to it
            return self._records_removed > 0
        return bool(chosen)

    def _plan(
        self, job: Job, segments: Sequence[SegmentFacts], secure: int
    ) -> tuple[list[SegmentFacts], str]:
        state, settings = self._log.state, self._settings
        if self._lane is not None:
            return thinning.plan(segments, self._lane, secure, self._now_ms, settings)
        if job.name != "compact":
            return recompression.plan(segments, state, secure, settings)
        sealed = [it for it in segments if not it.active]
        oldest_ms = self._oldest_ms(sealed, state.clean_below)
        return compaction.plan(
            segments, state, secure, self._now_ms, settings, oldest_ms, at_once=job.seal
        )

    def _left_out(self, job: Job, segments: Sequence[SegmentFacts]) -> tuple[str, ...]:
        if self._lane is not None:
            return ()
        if job.name == "compact":
            state = self._log.state
            return compaction.left_out(segments, state, self._now_ms, self._settings)
        return recompression.left_out(segments)

    def _again_ms(self, job: Job, segments: Sequence[SegmentFacts]) -> int | None:
        if job.name != "compact":
            return None
        state = self._log.state
        oldest_ms = self._oldest_ms(segments, state.clean_below)
        return compaction.again_ms(segments, state, self._now_ms, self._settings, oldest_ms)

    def _roll(self, job: Job) -> None:
        """Where it is asked for, or what is in the active segment is overdue."""
        active = self._log.segments()[-1:]
        asked = job.seal and active[0].end_offset > active[0].base_offset
        if asked or (
            job.name == "compact"
            and compaction.is_overdue(self._oldest_ms(active, 0), self._now_ms, self._settings)
        ):
            self._log.roll()

    def _oldest_ms(self, segments: Sequence[SegmentFacts], clean_below: int) -> int:
        """Of their first batches above ``clean_below``, by Kafka's rule; only where it counts.

        Raises Damaged, Failed.
        """
        if self._settings.max_compaction_lag_ms == FOREVER:
            return NO_TIMESTAMP
        dirty = [it for it in segments if it.end_offset > clean_below]
        firsts = [self._log.segment(it.base_offset).walk(0, it.end_offset) for it in dirty]
        try:
            times = [latest(batch) for walk in firsts for _, batch in islice(walk, 1)]
        except OSError as error:
            raise why(error, "look at a segment", error.filename or self._log.name) from None
        return min(times, default=NO_TIMESTAMP)

    def _compact(
        self, chosen: Sequence[SegmentFacts], before: Sequence[SegmentFacts], state: LogState
    ) -> None:
        upto, due = chosen[-1].end_offset, state.tombstones_until_ms <= self._now_ms
        self._log.mark(gaps_below=max(upto, state.gaps_below))
        self._do(self._compacting(chosen, before, _parts(chosen, self._log.state)))
        self._log.mark(clean_below=upto)
        if due and (self._tombstones or self._markers):
            self._log.mark(tombstones_below=upto, tombstones_until_ms=self._until_ms)
        elif due:  # there is nothing to come back for
            self._log.mark(tombstones_below=0, tombstones_until_ms=0)

    @property
    def _until_ms(self) -> int:
        """When tombstones, and markers of transactions that are gone, may go that are seen now."""
        return min(self._now_ms + self._settings.delete_retention_ms, FOREVER)

    def _compacting(
        self,
        chosen: Sequence[SegmentFacts],
        before: Sequence[SegmentFacts],
        parts: tuple[SegmentPart, ...],
    ) -> Compacting:
        upto, state = chosen[-1].end_offset, self._log.state
        last_written, epochs = self._producers()
        return Compacting(
            self._place, parts, self._memory_bytes,
            state.tombstones_below if state.tombstones_until_ms <= self._now_ms else 0,
            # The last segment is empty, or the next one will be.
            keeps_end=before[-1].max_timestamp_ms == NO_TIMESTAMP or not before[-1].active,
            levels=self._levels,
            expires=KEYS_EXPIRE if self._topic in KEYS_TOPICS else "", now_ms=self._now_ms,
            aborted=tuple(self._log.aborted(chosen[0].base_offset, upto)),
            last_written=last_written, epochs=epochs, own=tuple(OWN),
            markers_until_ms=self._until_ms,
        )  # fmt: skip

    def _producers(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of those that are active: where each has written last, or the epoch that it has then."""
        ledger = producers_of(self._log)
        found = [] if ledger is None else list(ledger.producers())
        return (
            {pid: it.sent[-1].base_offset for pid, it in found if it.sent},
            {pid: it.epoch for pid, it in found if not it.sent},
        )

    def _thin(self, chosen: Sequence[SegmentFacts], lane: "LaneState") -> None:
        upto, state = chosen[-1].end_offset, self._log.state
        if upto > state.gaps_below:
            self._log.mark(gaps_below=upto)
        held = thinning.held_of(chosen, lane)
        self._do(Thinning(self._place, _parts(chosen, state), held, self._levels))

    @property
    def _levels(self) -> dict[int, int | None]:
        return {int(it): level_of(self._settings, it) for it in Compression}

    def _recompress(
        self, chosen: Sequence[SegmentFacts], before: Sequence[SegmentFacts], state: LogState
    ) -> None:
        ends = {it.base_offset: it.end_offset for it in chosen}

        def done(step: Cleaned) -> None:  # if a later one is damaged, this is not done again
            self._log.mark(recompressed_below=ends[step.bases[0]])

        self._do(self._recompressing(_parts(chosen, self._log.state)), done)

    def _recompressing(self, parts: tuple[SegmentPart, ...]) -> Recompressing:
        level = recompression.level(self._settings)
        return Recompressing(self._place, parts, recompression.BATCH_BYTES, level)

    def _runs(self, segments: Sequence[SegmentFacts], secure: int) -> list[list[SegmentFacts]]:
        if self._lane is None:
            return recompression.runs(segments, secure, self._settings)
        above = [it for it in segments if it.end_offset > self._lane.floor]  # the others go soon
        return recompression.adjacent(above, min(secure, self._lane.cursor), self._settings)

    def _merge(self, secure: int) -> None:
        runs = self._runs(self._log.segments(), secure)
        if runs:
            self._bytes_total += sum(it.bytes for run in runs for it in run)
            state = self._log.state
            self._do(Merging(self._place, tuple(_parts(run, state) for run in runs)))

    @property
    def _place(self) -> LogFiles:
        chain = self._log.chain
        return LogFiles(chain.directory, chain.interval, self._bytes_per_second)

    def _do(self, work: Work, done: Callable[[Cleaned], None] = lambda step: None) -> None:
        """``done`` is told of each segment that was written anew, once it is swapped in."""
        for step in self._worker.steps(work):
            match step:
                case Cleaned():
                    if self._log.swap(step.bases, step.stem, step.aborts_gone):
                        self._records_removed += step.records_removed
                    done(step)
                case Went():
                    self._bytes_done += step.bytes
                case Passed():
                    self._passes += 1
                    self._tombstones = step.tombstones
                case Waiting():
                    self._markers = step.markers
                case Tried():
                    self._tried = step
            self._tell(
                Progress(
                    self._topic, self._partition, min(self._bytes_done, self._bytes_total),
                    self._bytes_total,
                )
            )  # fmt: skip


def _extent(segment: SegmentFacts) -> tuple[int, int, int]:
    return segment.base_offset, segment.end_offset, segment.bytes


def _parts(segments: Sequence[SegmentFacts], state: LogState) -> tuple[SegmentPart, ...]:
    return tuple(
        SegmentPart(
            it.base_offset, it.end_offset, it.bytes,
            merged=it.base_offset == state.merged_base and it.end_offset < state.merged_below,
        )
        for it in segments
    )  # fmt: skip


def silent(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Topics and the groups of their retention.groups that have no offset in them.

    None was committed, or it has expired.
    """
    retained = [it for it in outcomes if isinstance(it, Retained) and it.broke is None]
    heard = {(it.topic, group) for it in retained for group in _heard(it)}
    named = {(it.topic, group): None for it in retained for group in it.silent}
    return [it for it in named if it not in heard]


def silence(topic: str, group: str) -> str:
    """What to say of one of them."""
    return (
        f"topic {topic}: group {group!r} of retention.groups has no offset in this topic:"
        " records that it has not read are not deleted"
    )


def _heard(retained: Retained) -> set[str]:
    return set(retained.groups).difference(retained.silent)


def failure(outcomes: Sequence[Outcome]) -> LogstoreError | None:
    """The first thing that went wrong."""
    return next((it.broke.error() for it in outcomes if it.broke is not None), None)
