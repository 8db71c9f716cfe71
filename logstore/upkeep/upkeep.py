"""The upkeep of one store: jobs asked for here, those that come by themselves, those others bring.

Owns the jobs, their rhythm and the desk. What the jobs do is told by ``jobs.py``.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from logstore.errors import Closed
from logstore.log import TopicPartition
from logstore.storage.directory import LocalDirectory
from logstore.upkeep.child import worker_for
from logstore.upkeep.desk import Desk
from logstore.upkeep.jobs import (
    NAMES,
    Job,
    Jobs,
    Retained,
    Rewritten,
    Tell,
)
from logstore.upkeep.recovering import Recovering
from logstore.upkeep.rhythm import Rhythm

_log = logging.getLogger("logstore.upkeep")

_Outcome = TypeVar("_Outcome", Retained, Rewritten)


class Upkeep:
    """From any thread."""

    def __init__(self, directory: LocalDirectory, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._jobs = Jobs(directory, clock, self._committed, partial(worker_for, directory.disk))
        self._rhythm: Rhythm | None = None
        self._recovering: Recovering | None = None

    def begin(self) -> None:
        """Do it by itself from now on, and take jobs from other processes: only for who writes."""
        directory = self._directory
        try:
            desk = Desk(directory.disk, directory.path)
        except OSError as error:
            _log.warning("%s: takes no jobs from others: %s", directory.path, error.strerror)
            return
        if not directory.writable().recovered:
            self._recovering = Recovering(directory.writable().recover_next)
        interval_ms = directory.config.store.upkeep_interval_ms
        interval_s = None if interval_ms < 0 else interval_ms / 1000
        self._rhythm = Rhythm(desk, self.do, self._jobs.run, interval_s, directory.look)

    def do(self) -> None:
        """What a process that writes does by itself; a line of the log for each that fails."""
        try:
            self._directory.tidy()
            outcomes = [
                it for name in NAMES for it in self._jobs.run(Job(name), only_recovered=True)
            ]
            self._expire_offsets()
        except Closed:  # the store, while this was under way
            return
        for outcome in outcomes:  # one log's failure must not hide another's
            if outcome.broke is not None:
                _log.warning("%s", outcome.broke.error())

    def retention(self, topics: Sequence[str], *, dry_run: bool, tell: Tell) -> Iterator[Retained]:
        """As Store.retention."""
        return self._of(Job("retention", _once(topics), dry_run), tell, Retained)

    def compaction(
        self, topics: Sequence[str], *, dry_run: bool, tell: Tell
    ) -> Iterator[Rewritten]:
        """As Store.compaction."""
        return self._of(Job("compact", _once(topics), dry_run), tell, Rewritten)

    def recompression(
        self, topics: Sequence[str], *, dry_run: bool, tell: Tell
    ) -> Iterator[Rewritten]:
        """As Store.recompression."""
        return self._of(Job("recompress", _once(topics), dry_run), tell, Rewritten)

    def _of(self, job: Job, tell: Tell, kind: type[_Outcome]) -> Iterator[_Outcome]:
        """What is asked for is done as fast as it goes."""
        for outcome in self._jobs.run(job, tell, bytes_per_second=-1):
            assert isinstance(outcome, kind)
            yield outcome

    def _expire_offsets(self) -> None:
        table = self._directory.groups
        assert table is not None, "a store that is written has a catalogue"
        table.expire(self._directory.config.store.offsets_retention_minutes)

    def _committed(self, groups: Sequence[str]) -> dict[str, dict[TopicPartition, int]]:
        table = self._directory.groups if groups else None
        return {
            group: {} if table is None else
            {place: it.offset for place, it in table.offsets.fetch(group).items()}
            for group in groups
        }  # fmt: skip

    def close(self) -> None:
        """Give up what is under way; nothing of it is half done."""
        self._jobs.close()
        if self._recovering is not None:
            self._recovering.close()
        if self._rhythm is not None:
            self._rhythm.close()


def _once(topics: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(topics))
