"""The offsets of each lane that are not settled yet, according to the journal, for upkeep.

The writing process uses the notes beside the journal, and only synced ones, because removed
messages cannot come back. Other processes use the notes in the catalogue and the batches after
them.
"""

from typing import TYPE_CHECKING, Final

from logstore.errors import CorruptBatch, Failed, LogstoreError, OffsetBelowStart
from logstore.kept.queues import JOURNAL_NAME, parse_lane
from logstore.storage.catalog import Entry
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.kinds import JOURNAL

if TYPE_CHECKING:  # imported where a store has queues
    from logstore.broker.queues.journal import SettlementNotes
    from logstore.broker.queues.state import LaneState

_READ_BYTES: Final = 1 << 20


class Unsettled:
    """The unsettled offsets of one data directory, read at the first question, or, in the writing
    process, at each.
    """

    def __init__(self, directory: LocalDirectory) -> None:
        self._directory = directory
        self._notes: SettlementNotes | None = None

    def of(self, name: str) -> "LaneState":
        """The unsettled offsets of the lane with this name. Raises Failed if the journal cannot be
        read.
        """
        from logstore.broker.queues.state import LaneState

        lane = parse_lane(name)
        try:
            notes = self._journal()
            state = None if notes is None or lane is None else notes.state(lane.queue)
            if self._directory.writes and (log := journal_of(self._directory)) is not None:
                log.wait(log.end)  # all that it says is synced
        except LogstoreError as error:
            raise Failed(f"what is settled of queues is not known: {error}") from error
        if state is None or lane is None:
            return LaneState()
        return state.lanes.get(lane.priority, LaneState())

    def _journal(self) -> "SettlementNotes | None":
        if self._notes is None:
            self._notes = settlements(self._directory)
        return self._notes


def journal_of(directory: LocalDirectory) -> SegmentedLog | None:
    """The journal's log; None: no queues were ever used. Raises Damaged, Failed."""
    entry = _entry(directory)
    return None if entry is None else directory.log(JOURNAL_NAME, entry, 0)


def _entry(directory: LocalDirectory) -> Entry | None:
    found = [
        entry for name, entry in directory.entries()
        if entry.kind == JOURNAL.name and name == JOURNAL_NAME
    ]  # fmt: skip
    return found[0] if found else None


def settlements(directory: LocalDirectory) -> "SettlementNotes | None":
    """The settlements of all queues; None: no queues were ever used.

    Raises Damaged, Failed, SchemaTooNew.
    """
    from logstore.broker.queues.journal import SettlementNotes

    entry = _entry(directory)
    if entry is None:
        return None
    log = directory.log(JOURNAL_NAME, entry, 0)
    if isinstance(log.notes, SettlementNotes):
        return log.notes
    while True:
        try:
            return _replayed(directory, entry, log)
        except OffsetBelowStart:  # trimmed meanwhile: the catalogue knows more by now
            continue


def _replayed(directory: LocalDirectory, entry: Entry, log: SegmentedLog) -> "SettlementNotes":
    """Raises OffsetBelowStart, CorruptBatch, Failed, SchemaTooNew."""
    from logstore.broker.queues.journal import SettlementNotes

    state, note = directory.standing(entry, 0)
    notes = SettlementNotes()
    notes.load(note)
    at, safe = state.recovery_offset, log.safe
    while at < safe:
        batches = log.read(at, _READ_BYTES)
        if not batches:
            raise CorruptBatch(f"{log.name}: nothing can be read at offset {at}")
        for batch in batches:
            notes.appended(batch, batch.base_offset)
        at = batches[-1].next_offset
    notes.freeze()
    return notes
