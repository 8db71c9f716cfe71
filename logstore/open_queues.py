"""The logs of queues on disk: connects the models with lanes, the journal and volatile logs.

A lane is identified by its queue's number and its priority, as is its directory, ``queues/7.0-0``.
Opening or creating a durable lane may take long, so a worker's thread does it. All other calls are
for the one thread that has the queues.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from logstore.broker.queues.journal import settlements_of
from logstore.errors import LogstoreError, UnknownTopic
from logstore.kept.queues import JOURNAL_NAME, Lane, LaneTrim, QueueKeeper, parse_lane
from logstore.log import Log
from logstore.storage.catalog import Entry
from logstore.storage.directory import SegmentedLog, WritableDirectory
from logstore.storage.disk import failure
from logstore.storage.disk_log import DiskLog
from logstore.storage.kinds import JOURNAL, LANE, TOPIC
from logstore.upkeep.lanes import among, as_there_is_room, keep_notes, retain


def journal_there(directory: WritableDirectory) -> Log | None:
    """The journal, opened, if there is one. May take long. Raises SchemaTooNew, Damaged, Failed."""
    for name, entry in directory.entries():
        if entry.kind == JOURNAL.name and name == JOURNAL_NAME:
            return directory.log(name, entry, 0)
    return None


class OpenQueues:
    """The queues' logs of one data directory, in the process that writes it."""

    def __init__(self, directory: WritableDirectory, keeper: QueueKeeper) -> None:
        self.keeper = keeper
        self._directory = directory
        self._entries: dict[Lane, Entry] = {}
        self._journal: Entry | None = None
        self._damaged = directory.damaged_entries()
        for name, entry in directory.entries():
            if entry.kind == LANE.name and (lane := parse_lane(name)) is not None:
                self._entries[lane] = entry
            elif entry.kind == JOURNAL.name and name == JOURNAL_NAME:
                self._journal = entry

    @property
    def used(self) -> bool:
        """Whether there is anything of queues; a journal may be there for others."""
        damaged = any(kind in (LANE.name, JOURNAL.name) for kind, _ in self._damaged)
        return bool(self._entries) or damaged or self.keeper.used()

    @property
    def has_journal(self) -> bool:
        """Whether there is one, be it damaged."""
        return self._journal is not None or any(kind == JOURNAL.name for kind, _ in self._damaged)

    @property
    def topics_damaged(self) -> bool:
        """As QueueLogs.topics_damaged."""
        return any(kind == TOPIC.name for kind, _ in self._damaged)

    def lanes(self) -> dict[int, list[int]]:
        """The priorities of which each queue has a lane, ascending."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for lane in sorted(self._entries):
            found[lane.queue].append(lane.priority)
        return dict(found)

    def journal(self) -> Log:
        """What is settled; made where there is none. Raises SchemaTooNew, Damaged, StorageFull."""
        if self._journal is None:
            self._journal = self._directory.create(JOURNAL.name, JOURNAL_NAME, 1, {})
        log = self._directory.log(JOURNAL_NAME, self._journal, 0)
        self._directory.pin.make()
        return log

    def open(self, lane: Lane, settings: Mapping[str, str]) -> Log:
        """As QueueLogs.open. From any thread; may take long.

        Raises StorageFull, Damaged, Failed.
        """
        entry = self._entries.get(lane)
        if entry is None:
            entry = self._directory.create(LANE.name, str(lane), 1, settings)
            self._entries[lane] = entry
        else:
            self.alter(lane, settings)
        return self._directory.log(str(lane), self._entries[lane], 0)

    def alter(self, lane: Lane, settings: Mapping[str, str]) -> None:
        """As QueueLogs.alter. From any thread; may take long. Raises StorageFull, Failed."""
        entry = self._entries.get(lane)
        if entry is None or entry.settings == settings:
            return
        with suppress(UnknownTopic):  # deleted meanwhile
            self._entries[lane] = self._directory.change(LANE.name, str(lane), settings)

    def delete(self, lanes: Iterable[Lane]) -> None:
        """These lanes and their files. From any thread; may take long. Raises StorageFull, Failed.

        Those that are not there are gone already.
        """
        for lane in lanes:
            if self._entries.pop(lane, None) is not None:
                self._directory.delete(LANE.name, str(lane))

    def trim(self, lanes: Sequence[LaneTrim], now_ms: int) -> None:
        """As QueueLogs.trim: segments that are settled as a whole.

        Those stay that retention keeps: upkeep comes for them. A lane that can't be trimmed keeps
        no other one from it. From any thread. Raises StorageFull, LogFailed, Damaged, Failed,
        UnknownPartition: the first of them, once all were tried.
        """
        floors = [(cast("DiskLog", it.log), it.floor) for it in lanes]
        failed: LogstoreError | None = None
        for it in lanes:
            try:
                self._trim_lane(it, floors, now_ms)
            except LogstoreError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _trim_lane(self, it: LaneTrim, floors: Sequence[tuple[DiskLog, int]], now_ms: int) -> None:
        lane = cast("DiskLog", it.log)
        settings = as_there_is_room(self._directory, lane.settings)
        if not settings.retention_ms:
            if it.drained:
                lane.roll()  # what was appended since the caller looked is kept
            self._trim(lane, it.floor)
            return
        try:
            if len(floors) > 1:
                settings = among(lane, floors, settings)
            retain(lane, it.floor, now_ms, settings, it.shown)
        except OSError as error:
            raise failure(error, "look at its segments", lane.name) from None

    def trim_journal(self) -> None:
        """Remove the segments of the journal that no recovery reads: its notes have them.

        But those stay that have commits which may be missing in some lane. Not while the store is
        copied: it is done later. From any thread. Raises StorageFull, LogFailed, Failed.
        """
        assert self._journal is not None
        log = self._directory.log(JOURNAL_NAME, self._journal, 0)
        notes = settlements_of(log)
        self._directory.pin.unless_shared(
            lambda: self._trim(log, notes.needed_from(log.state.recovery_base))
        )

    @staticmethod
    def _trim(log: SegmentedLog, before: int) -> None:
        """By whole segments: a trim is a commit of the catalogue."""
        base = max((it for it in log.chain.bases if it <= before), default=0)
        if base > log.start:
            keep_notes(log, base)
            log.trim(base)

    def bytes(self, log: Log) -> int:
        """Of the files of one that was opened here. Raises Failed."""
        try:
            return cast(SegmentedLog, log).bytes()
        except OSError as error:
            raise failure(error, "look at its size", log.name) from None

    def make_volatile(self, lane: Lane) -> Log:
        """A lane that is never synced. Raises StorageFull, Failed."""
        return self._directory.make_volatile(str(lane))

    def drop_volatile(self, lane: Lane) -> None:
        """It is not needed any more. Raises Failed."""
        self._directory.drop_volatile(str(lane))
