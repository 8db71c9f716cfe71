"""The state of transactions at a start, and the steps to complete them.

The journal says which decisions may be missing in partitions, and which offsets groups may not
have; the logs say which transactions are open. Decisions are written to their partitions first.
Transactions that are still open then were never decided: they continue or are aborted
(``TransactionCoordinator.reopen``). Until all of this is done, nothing new begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from logstore.broker.ledger import producers_of
from logstore.broker.queues.journal import settlements_of
from logstore.broker.transacting.coordinator import Place, TransactionCoordinator, first_of
from logstore.broker.transactions.journaled import Journaled
from logstore.broker.transactions.operations import Decision, Part, decode_decision, pid_of
from logstore.broker.transactions.staged import Committed
from logstore.errors import CorruptStore, LogstoreError
from logstore.log import Log
from logstore.records.decode import decode
from logstore.records.record import Record
from logstore.slices import GoOn, Steps

RESUME_UNITS: Final = 5  # per decision or open transaction, plus one per partition


class Logs(Protocol):
    """The partitions of a store."""

    def log(self, place: Place) -> Log | None:
        """Return the log; None: its topic is deleted. May take long. Raises LogstoreError."""

    def undecided(self, *, recover: bool) -> Iterator[tuple[Place, Log]]:
        """Yield the logs that have an open transaction. May take long.

        ``recover``: also logs that must be recovered after a crash.
        """


class Resumed(NamedTuple):
    """A decision that may be missing in some partitions."""

    place: int
    decision: Decision
    logs: Mapping[Place, Log]
    failed: LogstoreError | None  # why it can't come to some partition in this process


@dataclass(slots=True)
class Open:
    """A producer's open transaction."""

    epoch: int
    logs: dict[Place, Log] = field(default_factory=dict)


class Loaded(NamedTuple):
    """The state found at a start."""

    journaled: Journaled
    resumed: list[Resumed]
    committed: dict[int, list[Committed]]  # that groups may not have, by place
    open: dict[int, Open]  # by producer


def load(journal: Log, journaled: Journaled, logs: Logs) -> Loaded:
    """Load the state of transactions beside the journal; may take long, in any thread.

    Meanwhile transactions must stand still, except that groups overtake or drop pending offsets.
    Raises SchemaTooNew, CorruptStore.
    """
    notes = settlements_of(journal)
    unfinished = journaled.unfinished()
    for decided in unfinished:
        if decided < journal.start:  # that is why it could be trimmed: the note is from before
            notes.ended(decided)
    there = [it for it in unfinished if it >= journal.start]
    resumed = [_resumed(*it, logs) for it in _decisions(journal, there)]
    found = {pid: Open(epoch) for pid, epoch, _ in journaled.staged.producers()}
    for place, its in logs.undecided(recover=bool(journaled)):
        known = producers_of(its)
        if known is None:
            continue
        epochs = {pid: it.epoch for pid, it in known.producers()}
        for pid in known.open:
            found.setdefault(pid, Open(epochs[pid])).logs[place] = its
    committed: dict[int, list[Committed]] = {}
    for at, it in journaled.committed():
        committed.setdefault(at, []).append(it)
    return Loaded(journaled, resumed, committed, found)


def _resumed(place: int, decision: Decision, logs: Logs) -> Resumed:
    found, failed = {}, None
    for part in decision.parts:
        where = part.topic_id, part.partition
        try:
            its = logs.log(where)
        except LogstoreError as error:
            failed = failed or error
        else:
            if its is not None:
                found[where] = its
    return Resumed(place, decision, found, failed)


def _decisions(journal: Log, places: Sequence[int]) -> Iterator[tuple[int, Decision]]:
    """Yield the decisions at these ascending places; a batch with many of them is read once."""
    found: dict[int, Record] = {}
    for place in places:
        if place not in found:
            batches = journal.read(place, 1)
            found = {it.offset: it for batch in batches for it in decode(batch)}
        what = f"the decision at {place} of the journal"
        record = found.get(place)
        if record is None:
            raise CorruptStore(f"{what} is missing: restore the store from a backup")
        yield place, decode_decision(record.value or b"", pid_of(record.key or b""), what)


def started(loaded: Loaded, coordinator: TransactionCoordinator) -> Steps:
    """Start the coordinator with the loaded state, in steps.

    Nothing new may begin before they end.
    """
    resuming = _Resuming()
    committed = dict(loaded.committed)
    decided: set[tuple[int, Part]] = set()
    for place, decision, logs, failed in loaded.resumed:
        decided.update((decision.pid, part) for part in decision.parts)
        resuming.one()
        theirs = committed.pop(place, ())
        coordinator.resume(place, decision, logs, theirs, failed, resuming.ended)
        yield RESUME_UNITS + len(decision.parts)
    for place, those in committed.items():
        coordinator.commit_again(place, those)
        yield RESUME_UNITS
    staged = {pid for pid, _, _ in loaded.journaled.staged.producers()}
    for pid, open_ in loaded.open.items():
        undecided = {
            place: its
            for place, its in open_.logs.items()
            if (first := first_of(its, pid)) is not None
            and (pid, Part(*place, first)) not in decided
        }
        if undecided or pid in staged:
            coordinator.reopen(pid, open_.epoch, undecided)
        yield RESUME_UNITS + len(open_.logs)
    yield resuming.over


class _Resuming:
    """Decisions on their way to their partitions."""

    def __init__(self) -> None:
        self._left = 0
        self._go_on: GoOn | None = None

    def one(self) -> None:
        """Count one more resumed transaction."""
        self._left += 1

    def ended(self) -> None:
        """Note that a resumed transaction has all its markers."""
        self._left -= 1
        if not self._left and self._go_on is not None:
            self._go_on(None)

    def over(self, go_on: GoOn) -> None:
        """Call ``go_on`` once all resumed transactions have ended; no more are added. This is a
        ``Wait``.
        """
        self._go_on = go_on
        if not self._left:
            go_on(None)
