"""The rewriting of one log: a compaction or a recompression.

Pure functions decide (``compaction.plan``, ``recompression.plan`` and ``runs``), a worker writes
the new segments, and the log swaps them in.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from logstore.broker.ledger import producers_of
from logstore.broker.producer_ids import OWN
from logstore.broker.rules import level_of
from logstore.errors import Damaged
from logstore.names import KEYS_EXPIRE, KEYS_TOPICS
from logstore.records.compression import Compression
from logstore.records.latest import latest
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.directory import SegmentedLog
from logstore.storage.disk import failure as why
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.segment import SegmentFacts
from logstore.upkeep import compaction, recompression, thinning
from logstore.upkeep.work import (
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
from logstore.upkeep.job import Job, Progress, Rewritten, Tell


class Rewrite:
    """Compaction or recompression of one log, then the merging of segments that became small."""

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
        """``lane``: the unsettled offsets of a queue's lane."""
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
        """Raises Damaged, Failed, UnknownPartition, ReadOnly, Closed; finished parts stay done."""
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
        """The same as a dry run: what would be removed, and what would be left."""
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
        """Roll the log if that is requested, or if the active segment has overdue records."""
        active = self._log.segments()[-1:]
        asked = job.seal and active[0].end_offset > active[0].base_offset
        if asked or (
            job.name == "compact"
            and compaction.is_overdue(self._oldest_ms(active, 0), self._now_ms, self._settings)
        ):
            self._log.roll()

    def _oldest_ms(self, segments: Sequence[SegmentFacts], clean_below: int) -> int:
        """The time of their first batches above ``clean_below``, by Kafka's rule; only if it
        matters.

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
        """Until when tombstones, and markers of removed transactions, stay that are found now."""
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
        """For each active producer, its last batch, or the epoch that it has then."""
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
        """``done`` is called for each rewritten segment, once it is swapped in."""
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
