"""The upkeep of one store: periodic jobs, and jobs requested by this process or by others.

Owns the jobs, their rhythm and the desk; ``jobs.py`` says what the jobs do.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from logstore.errors import Closed, LogstoreError
from logstore.kept.groups import KeptOffset
from logstore.log import TopicPartition
from logstore.storage.directory import LocalDirectory
from logstore.storage.ran import Ran, encode
from logstore.upkeep.child import worker_for
from logstore.upkeep.desk import Desk
from logstore.upkeep.doing import Doing
from logstore.upkeep.job import (
    NAMES,
    Job,
    Name,
    Outcome,
    Retained,
    Rewritten,
    Tell,
    silence,
    silent,
)
from logstore.upkeep.jobs import Jobs
from logstore.upkeep.ran import summed
from logstore.upkeep.recovering import Recovering
from logstore.upkeep.rhythm import Rhythm, Work
from logstore.upkeep.stirred import Stirred
from logstore.version import VERSION

_log = logging.getLogger("logstore.upkeep")

_Outcome = TypeVar("_Outcome", Retained, Rewritten)


class Upkeep:
    """The upkeep of one store. From any thread."""

    def __init__(self, directory: LocalDirectory, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._clock = clock
        self._jobs = Jobs(directory, clock, self._committed, partial(worker_for, directory))
        self._rhythm: Rhythm | None = None
        self.desk: Desk | None = None  # where others ask, if there can be one
        self._recovering: Recovering | None = None
        self._warned: set[tuple[str, str]] = set()

    @property
    def doing(self) -> Doing:
        """Running and recent runs."""
        return self._jobs.doing

    def begin(self) -> None:
        """Start periodic work, and accept jobs of other processes: in a writing process only."""
        directory = self._directory
        try:
            desk = Desk(directory.disk, directory.path, partial(facts_of, directory))
        except OSError as error:
            _log.warning("%s: nobody can ask this process: %s", directory.path, error.strerror)
            return
        self.desk = desk
        if not directory.writable().recovered:
            self._recovering = Recovering(directory.writable().recover_next)
        self._stirred = Stirred(directory.writable(), self._clock)
        settings = directory.config.store
        never = settings.upkeep_interval_ms < 0
        works = [] if never else [
            Work(self.do, settings.upkeep_interval_ms / 1000),
            Work(self.look, settings.log_cleaner_backoff_ms / 1000),
        ]  # fmt: skip
        self._rhythm = Rhythm(desk, works, self._jobs.run, directory.look)

    def do(self) -> None:
        """Run the periodic work of a writing process; logs a line for each failure.

        The results are stored in the catalogue.
        """
        began_ms, failure = self._clock(), ""
        outcomes: list[tuple[Name, Outcome]] = []
        expired: list[str] = []
        try:
            self._directory.tidy()
            for name in NAMES:
                outcomes += [(name, it) for it in self._jobs.run(Job(name), by_itself=True)]
            self._warn_of_silent([it for _, it in outcomes])
            expired = self._expire_offsets()
        except Closed:  # the store, while this was under way
            return
        except LogstoreError as error:
            failure = str(error)
        self._note(summed(began_ms, self._clock(), outcomes, expired, failure), outcomes)

    def _warn_of_silent(self, outcomes: Sequence[Outcome]) -> None:
        """Warn once of each group that keeps records although it has never committed."""
        keeps = {
            (it.topic, one.group)
            for it in outcomes if isinstance(it, Retained)
            for one in it.held
        }  # fmt: skip
        for topic, group in silent(outcomes):
            if (topic, group) in keeps and (topic, group) not in self._warned:
                self._warned.add((topic, group))
                _log.warning("%s", silence(topic, group))

    def look(self) -> None:
        """Compact logs with enough uncompacted records, among those that may have changed."""
        began_ms, places = self._clock(), self._stirred.take()
        if not places:
            return
        job = Job("compact")
        try:
            outcomes = [(job.name, it) for it in self._jobs.run(job, by_itself=True, places=places)]
        except Closed:
            return
        ran = summed(began_ms, self._clock(), outcomes)
        if ran.is_worth_telling:
            self._note(ran, outcomes)
        else:
            self._stirred.told(it for _, it in outcomes)

    def _note(self, ran: Ran, outcomes: Sequence[tuple[Name, Outcome]]) -> None:
        """Raises Failed."""
        self._stirred.told(it for _, it in outcomes)
        for failure in ran.failures:  # one log's failure must not hide another's
            _log.warning("%s", failure)
        if ran.failed > len(ran.failures):
            _log.warning("and %d more failures", ran.failed - len(ran.failures))
        self._directory.writable().note_upkeep(encode(ran))

    def retention(self, topics: Sequence[str], *, dry_run: bool, tell: Tell) -> Iterator[Retained]:
        """As Store.retention."""
        return self._of(Job("retention", _once(topics), dry_run), tell, Retained)

    def compaction(
        self, topics: Sequence[str], *, dry_run: bool, seal: bool, tell: Tell
    ) -> Iterator[Rewritten]:
        """As Store.compaction."""
        return self._of(Job("compact", _once(topics), dry_run, seal), tell, Rewritten)

    def recompression(
        self, topics: Sequence[str], *, dry_run: bool, seal: bool, tell: Tell
    ) -> Iterator[Rewritten]:
        """As Store.recompression."""
        return self._of(Job("recompress", _once(topics), dry_run, seal), tell, Rewritten)

    def _of(self, job: Job, tell: Tell, kind: type[_Outcome]) -> Iterator[_Outcome]:
        """Requested work runs as fast as possible."""
        for outcome in self._jobs.run(job, tell, bytes_per_second=-1):
            assert isinstance(outcome, kind)
            yield outcome

    def _expire_offsets(self) -> list[str]:
        """Delete expired offsets; returns the groups that end by that."""
        table = self._directory.groups
        assert table is not None, "a store that is written has a catalogue"
        return table.expire(self._directory.config.store.offsets_retention_minutes)

    def _committed(self, groups: Sequence[str]) -> dict[str, dict[TopicPartition, KeptOffset]]:
        table = self._directory.groups if groups else None
        return {group: {} if table is None else table.offsets.fetch(group) for group in groups}

    def close(self) -> None:
        """Stop the present work without leaving anything half done."""
        self._jobs.close()
        if self._recovering is not None:
            self._recovering.close()
        if self._rhythm is not None:
            self._rhythm.close()


def _once(topics: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(topics))


def facts_of(directory: LocalDirectory) -> dict[str, object]:
    """The facts about the process that writes this store, for callers."""
    owner = directory.writer()
    doors = {} if owner is None else owner.endpoints
    return {
        "version": VERSION,
        "process_id": os.getpid(),
        "command": "" if owner is None else owner.command,
        "since_ms": 0 if owner is None else owner.since_ms,
        "path": directory.path,
        "store_id": directory.store_id,
        "doors": {name: _door(address) for name, address in doors.items()},
    }


def _door(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"host": host, "port": int(port)}
