"""Runs jobs (retention, compaction, recompression), one log at a time."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from logstore.config import Config
from logstore.errors import Damaged, Failed, LogstoreError, ReadOnly, UnknownPartition
from logstore.kept.groups import KeptOffset
from logstore.kept.queues import parse_lane
from logstore.log import TopicPartition
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.catalog import Entry
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.disk import failure as why
from logstore.storage.disk import refusal
from logstore.storage.kinds import LANE
from logstore.storage.unrecovered import LogPlace
from logstore.upkeep.doing import Asked, Did, Doing
from logstore.upkeep.lanes import among, as_there_is_room, drop_settled, judge_lane
from logstore.upkeep.retention import drop, held, judge
from logstore.upkeep.unsettled import Unsettled
from logstore.upkeep.work import (
    Broke,
    Worker,
)

if TYPE_CHECKING:  # imported where a store has queues
    from logstore.broker.queues.state import LaneState
from logstore.upkeep.job import Job, Name, Outcome, Progress, Retained, Rewritten, Tell, untold
from logstore.upkeep.rewrite import Rewrite


class CommittedIn(Protocol):
    """Offsets that groups have committed: by group, then by log."""

    def __call__(
        self, groups: Sequence[str]
    ) -> Mapping[str, Mapping[TopicPartition, KeptOffset]]: ...


class Jobs:
    """Runs jobs in the process that writes the store, and dry runs in any process."""

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
        """Stop the present work without leaving anything half done. From any thread."""
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
        """Run a job; returns the outcome for each log.

        ``by_itself``: a periodic run. It skips logs that must still be recovered after a crash, and
        unused logs without work. ``places``: only these logs. ``bytes_per_second``: defaults to
        upkeep.bytes.per.second. A damaged log is left as it is, and its outcome says so. Raises
        UnknownTopic, ReadOnly, Closed.
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
    """The logs that the job names. Raises UnknownTopic, before any log is processed."""
    if job.topics:
        entries = [(name, directory.topic(name)) for name in job.topics]
    else:
        entries = directory.entries()
    return (LogPlace(name, it, number) for name, it in entries for number in range(it.partitions))


def _did(outcome: Outcome) -> Did:
    """The same as numbers."""
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
        """Whether a periodic run skips this log."""
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
        """Process one log. Raises ReadOnly, Closed."""
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
        """The lanes by queue."""
        found: dict[int, list[tuple[str, Entry]]] = {}
        for name, entry in self._directory.entries():
            if entry.kind == LANE.name and (lane := parse_lane(name)) is not None:
                found.setdefault(lane.queue, []).append((name, entry))
        return found

    def _with_others(
        self, log: SegmentedLog, name: str, lane: "LaneState", settings: TopicSettings
    ) -> TopicSettings:
        """For a queue with several lanes: retention.bytes applies to all of them together."""
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
    """The error, with the name of the log and the work."""
    if log in str(error) and job == "retention":
        return error
    return type(error)(f"{log}: {job}: {error}")


def _settle_times(log: SegmentedLog) -> None:
    """Correct time indexes that were made when headers were trusted. Raises Failed."""
    below = log.state.times_doubtful_below
    try:
        for base in log.bases():
            if base < below and log.segment(base).settle_times():
                with suppress(ValueError):  # trimmed just now
                    log.rebuild_index(base)
    except OSError as error:
        raise refusal(error, "look at a segment", error.filename or log.name) from None
    log.mark(times_doubtful_below=0)
