"""What a start finds of transactions, and what it does about that.

The journal says which decisions may be missing somewhere, and which offsets groups may not have;
the logs say which transactions are open. What was decided comes to its partitions first, so that
what is open then was never decided: it goes on, or is aborted (``TransactionCoordinator.reopen``).
Until all that is there, nothing new begins.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from logstore.broker.ledger import producers_of
from logstore.broker.queues.journal import settlements_of
from logstore.broker.transacting.coordinator import Place, TransactionCoordinator, first_of
from logstore.broker.transactions.journaled import Journaled
from logstore.broker.transactions.operations import Decision, Part, decode_decision, pid_of
from logstore.broker.transactions.staged import Committed
from logstore.errors import CorruptStore, LogstoreError
from logstore.log import Log
from logstore.records.decode import decode


class Logs(Protocol):
    """The partitions of a store."""

    def log(self, place: Place) -> Log | None:
        """None: its topic is gone. May take long. Raises LogstoreError."""

    def undecided(self, *, recover: bool) -> Iterator[tuple[Place, Log]]:
        """Those that have a transaction open. May take long.

        ``recover``: also those that a crash has left to be recovered.
        """


class Resumed(NamedTuple):
    """A decision that may be missing somewhere."""

    place: int
    decision: Decision
    logs: Mapping[Place, Log]
    failed: LogstoreError | None  # why it can't come to some partition in this process


@dataclass(slots=True)
class Open:
    """What a producer has open."""

    epoch: int
    logs: dict[Place, Log] = field(default_factory=dict)


class Loaded(NamedTuple):
    """What a start finds."""

    journaled: Journaled
    resumed: list[Resumed]
    open: dict[int, Open]  # by producer


def load(journal: Log, journaled: Journaled, logs: Logs) -> Loaded:
    """What there is beside the journal, which has these; may take long, in any thread.

    Meanwhile nothing of transactions happens, but that groups overtake or drop what is pending.
    Raises SchemaTooNew, CorruptStore.
    """
    notes = settlements_of(journal)
    resumed = []
    for decided in journaled.unfinished():
        if decided < journal.start:  # that is why it could be trimmed: the note is from before
            notes.ended(decided)
        else:
            resumed.append(_resumed(decided, _decision(journal, decided), logs))
    found = {pid: Open(epoch) for pid, epoch, _ in journaled.staged.producers()}
    for place, its in logs.undecided(recover=bool(journaled)):
        known = producers_of(its)
        if known is None:
            continue
        epochs = {pid: it.epoch for pid, it in known.producers()}
        for pid in known.open:
            found.setdefault(pid, Open(epochs[pid])).logs[place] = its
    return Loaded(journaled, resumed, found)


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


def _decision(journal: Log, place: int) -> Decision:
    what = f"the decision at {place} of the journal"
    for batch in journal.read(place, 1):
        for record in decode(batch):
            if record.offset == place:
                return decode_decision(record.value or b"", pid_of(record.key or b""), what)
    raise CorruptStore(f"{what} is missing: restore the store from a backup")


def start(loaded: Loaded, coordinator: TransactionCoordinator, then: Callable[[], None]) -> None:
    """Do it; ``then`` is called once something new may begin."""
    left = 1 + len(loaded.resumed)

    def done() -> None:
        nonlocal left
        left -= 1
        if not left:
            then()

    committed: dict[int, list[Committed]] = {}
    for place, it in loaded.journaled.committed():
        committed.setdefault(place, []).append(it)
    decided: set[tuple[int, Part]] = set()
    for place, decision, logs, failed in loaded.resumed:
        decided.update((decision.pid, part) for part in decision.parts)
        coordinator.resume(place, decision, logs, committed.pop(place, ()), failed, done)
    for place, those in committed.items():
        coordinator.commit_again(place, those)
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
    done()
