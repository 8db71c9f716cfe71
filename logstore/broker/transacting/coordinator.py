"""The transactions of a node, from a request to its answer (KIP-98, KIP-890).

A change of an id is answered once the journal has it safe. A decision goes the way that makes a
crash harmless at every step: what a transaction has written is synced before its commit is
*written*, the decision is synced before any marker is *written*, and the journal keeps it until the
markers are synced. Who has decided is answered once the markers stand; nobody waits for their sync.

Which logs a transaction has written to, their ledgers know; here only stands where to look.
Used in one thread.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, Protocol

from logstore.broker.ledger import producers_of
from logstore.broker.queues.pending import Waiting
from logstore.broker.transacting.telling import Telling
from logstore.broker.transactions.operations import (
    Decision,
    Offset,
    Offsets,
    Part,
    abandoned,
    decided_key,
    decision_of,
    encode_decision,
    encode_known,
    encode_staged,
    known_key,
    staged_key,
)
from logstore.broker.transactions.staged import Committed, Staged, size_of
from logstore.broker.transactions.state import PREPARING, Outcome, State
from logstore.broker.transactions.table import Now, Table
from logstore.broker.transactions.transactional_id import Missing, Producer, TransactionalId
from logstore.counts.transactions import TransactionCounts
from logstore.errors import (
    ConcurrentTransactions,
    InvalidTransactionState,
    LogstoreError,
    StorageFull,
    TransactionAbortable,
    UnknownPartition,
    UnknownProducer,
)
from logstore.log import Log
from logstore.records.control import marker

GATHERED_AT_ONCE: Final = 1000  # partitions, before others have their turn
MARKED_AT_ONCE: Final = 64  # likewise
ENDED_AT_ONCE: Final = 500  # offsets of groups, likewise
FENCED_AT_ONCE: Final = 100  # transactions that have taken too long, likewise
AGAIN_MS: Final = 1000  # after a partition, say, that was full
# Nobody waits for markers' sync but the journal's trimming. What comes next in their partitions is
# synced soon, and they with it: so a producer that goes on has two syncs a transaction, not three.
SYNCED_WITHIN_MS: Final = 10

log: Final = logging.getLogger("logstore.transactions")

Answer = Callable[[TransactionalId | LogstoreError], None]
Done = Callable[[LogstoreError | None], None]
Place = tuple[bytes, int]  # topic id, partition


class Around(Protocol):
    """What the coordinator has around it."""

    def new_pid(self) -> int:
        """A producer id that nobody had before. Raises Failed."""

    def now(self) -> Now:
        """The time."""

    def soon(self, call: Callable[[], None]) -> None:
        """Have it called in this thread, from any."""

    def alarm(self, ticks_ms: int) -> None:
        """Have ``look_at_times`` called then, or earlier."""

    def commit(self, committed: Sequence[Committed], place: int, done: Done) -> None:
        """Groups have these now, but for what they have of a later place; told when durable.

        Called more than once for a place with many.
        """

    def finished(self, place: int) -> None:
        """The journal needs the record at this place no more."""


@dataclass(slots=True)
class _Deciding:
    """A decision on its way to its partitions."""

    decision: Decision
    logs: deque[tuple[Part, Log]]  # that have no marker yet
    done: Callable[[], None]  # called once all have it
    place: int = -1
    waiting: Waiting = field(default_factory=lambda: Waiting(synced=True))  # for the markers
    offsets: int = 0  # commits of groups that are not durable
    failed: LogstoreError | None = None  # why it does not come to some partition in this process
    due_ms: int | None = None  # when its markers' sync is asked for; None: it is


class TransactionCoordinator:
    """Of one process that serves."""

    def __init__(self, table: Table, staged: Staged, telling: Telling, around: Around) -> None:
        self.table = table
        self.staged = staged
        self._telling = telling
        self._around = around
        self.counts = TransactionCounts()
        self._logs: dict[int, dict[Place, Log]] = {}  # by producer: where something of it may be
        self._staging_bytes = 0  # of offsets that the journal does not have safe yet
        self._ending: deque[_Deciding] = deque()  # with offsets that are pending still
        self._unmarked: deque[_Deciding] = deque()
        self._unsynced: deque[_Deciding] = deque()

    # Requests

    def initialize(
        self, name: str, timeout_ms: int, asked: Producer, connection: int, then: Answer
    ) -> None:
        """Another producer of an id (InitProducerId); what was open is aborted first."""
        try:
            it = self.table.initialize(
                name, timeout_ms, asked, self._around.new_pid, self._around.now(), connection
            )
        except LogstoreError as error:
            then(error)
            return
        if not it.pending:
            then(it)
        elif it.state is State.EMPTY:
            key, value = known_key(name), encode_known(it)
            self._telling.tell(key, value, partial(self._known, name, then))
        else:

            def aborted(found: TransactionalId | LogstoreError) -> None:
                if isinstance(found, LogstoreError):
                    then(found)
                else:
                    self.initialize(name, timeout_ms, asked, connection, then)

            self._decide(it, aborted)

    def _known(self, name: str, then: Answer, place: int | LogstoreError) -> None:
        if isinstance(place, LogstoreError):
            self.table.undone(name, self._around.now())
            then(place)
        else:
            then(self.table.kept(name))

    def add(self, name: str, producer: Producer, connection: int) -> None:
        """A transaction begins, or goes on (AddPartitionsToTxn, AddOffsetsToTxn): nothing is kept.

        Raises as Table.add.
        """
        self.table.add(name, producer, self._around.now(), connection)
        self._alarm()

    def admit(self, name: str, producer: Producer, missing: Missing) -> TransactionalId:
        """A batch of the producer may be appended now, and then ``wrote`` is told.

        Raises as Table.admit.
        """
        it = self.table.admit(name, producer, missing, self._around.now())
        self._alarm()
        return it

    def verify(self, name: str, producer: Producer, missing: Missing) -> None:
        """Whether a batch of the producer would be admitted. Raises as Table.admit."""
        self.table.verify(name, producer, missing, self._around.now())

    def wrote(self, pid: int, place: Place, log: Log) -> None:
        """A batch of the producer's transaction was appended there."""
        self._logs.setdefault(pid, {})[place] = log

    def stage(
        self,
        name: str,
        producer: Producer,
        missing: Missing,
        group: str,
        offsets: Sequence[Offset],
        done: Done,
    ) -> None:
        """Offsets that count once the transaction is committed (TxnOffsetCommit)."""
        size = size_of(offsets)
        try:
            it = self.table.admit(name, producer, missing, self._around.now())
            if not self.staged.has_room(self._staging_bytes + size):
                raise ConcurrentTransactions(
                    f"group {group!r}: as many offsets are pending in transactions as may be"
                )
        except LogstoreError as error:
            done(error)
            return
        self._alarm()
        staged = Offsets(it.epoch, self._around.now().ms, group, tuple(offsets))

        self._staging_bytes += size

        def told(place: int | LogstoreError) -> None:
            self._staging_bytes -= size
            if isinstance(place, LogstoreError):
                done(place)
            else:
                self.staged.stage(it.pid, staged, place)
                done(None)

        self._telling.tell(staged_key(it.pid), encode_staged(staged), told)

    def end(
        self,
        name: str,
        producer: Producer,
        outcome: Outcome,
        version: int,
        connection: int,
        then: Answer,
    ) -> None:
        """A commit or an abort (EndTxn); ``version``: as Table.end."""
        now = self._around.now()
        try:
            it = self.table.end(
                name, producer, outcome, version, self._around.new_pid, now, connection
            )
        except LogstoreError as error:
            then(error)
            return
        if it.pending:
            self._decide(it, then)
        else:
            then(it)

    def abort(self, name: str, then: Answer) -> None:
        """Somebody else than its producer, who is fenced, ends an open transaction."""
        it = self.table.get(name)
        if it is None:
            then(UnknownProducer(f"no transactional id {name!r}"))
        elif it.pending or it.state in PREPARING:
            then(
                ConcurrentTransactions(
                    f"transactional id {name!r}: its transaction is being ended already"
                )
            )
        elif it.state is not State.ONGOING:
            then(InvalidTransactionState(f"transactional id {name!r} has no open transaction"))
        else:
            self._abandon(name, then)

    def _abandon(self, name: str, then: Answer) -> None:
        try:
            it = self.table.fence(name, self._around.new_pid, self._around.now())
        except LogstoreError as error:  # there is no producer id, and the epochs are used
            then(error)
            return
        self.counts.abandoned += 1
        self._decide(it, then)

    def logs_of(self, pid: int) -> dict[Place, Log]:
        """Where the producer has written to, and may have a transaction open."""
        return dict(self._logs.get(pid, {}))

    def partitions(self, pid: int) -> int:
        """How many the producer's open transaction has written to."""
        return len(self._logs.get(pid, ()))

    def parts(self, pid: int) -> Iterable[tuple[Part, Log]]:
        """Where the producer's open transaction has data, and from which offset on."""
        return _parts(pid, self._logs.get(pid, {}))

    # Deciding

    def _decide(self, it: TransactionalId, then: Answer) -> None:
        logs = self._logs.pop(it.pid, {})
        waiting = Waiting(synced=True)
        parts: deque[tuple[Part, Log]] = deque()
        left = iter(logs.items())

        def gather() -> None:
            some = list(islice(left, GATHERED_AT_ONCE))
            for place, its in some:
                first = first_of(its, it.pid)
                if first is None:
                    continue
                parts.append((Part(*place, first), its))
                # Of what is aborted nothing has to be there.
                if it.outcome is Outcome.COMMIT and its.synced < its.end:
                    waiting.appended(its, its.end)
            if len(some) == GATHERED_AT_ONCE:
                self._around.soon(gather)
            else:
                self._when_safe(it, logs, parts, waiting, then)

        gather()

    def _when_safe(
        self,
        it: TransactionalId,
        logs: dict[Place, Log],
        parts: deque[tuple[Part, Log]],
        waiting: Waiting,
        then: Answer,
    ) -> None:
        told = False

        def look() -> None:
            nonlocal told
            if told or not waiting.settled():
                return
            told = True
            waiting.close()
            if waiting.failed is None:
                self._tell(it, logs, parts, then)
            else:
                self._undo(it, logs)
                then(
                    TransactionAbortable(
                        f"transactional id {it.name!r}: what it has written is not safe: "
                        f"{waiting.failed}"
                    )
                )

        waiting.watch(lambda: self._around.soon(look))
        look()

    def _undo(self, it: TransactionalId, logs: dict[Place, Log]) -> None:
        """Nothing is decided: the transaction goes on."""
        self.table.undone(it.name, self._around.now())
        self._logs[it.pid] = logs
        self._alarm()

    def _tell(
        self,
        it: TransactionalId,
        logs: dict[Place, Log],
        parts: deque[tuple[Part, Log]],
        then: Answer,
    ) -> None:
        decision = decision_of(it, [part for part, _ in parts])
        deciding = _Deciding(decision, parts, lambda: then(self.table.completed(it.name)))

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                self._undo(it, logs)
                then(place)
            else:
                self.table.kept(it.name)
                self._carry_out(deciding, place)

        self._telling.tell(decided_key(it.pid), encode_decision(decision), told)

    def _carry_out(self, deciding: _Deciding, place: int) -> None:
        """The journal has it safe: it is so, whatever comes."""
        if deciding.decision.outcome is Outcome.COMMIT:
            self.counts.committed += 1
        else:
            self.counts.aborted += 1
        deciding.place = place
        self._ending.append(deciding)
        if len(self._ending) == 1:
            self._end_some()

    def _end_some(self) -> None:
        """Some of the offsets that the first has; with the last of them it goes on."""
        deciding = self._ending[0]
        found, more = self.staged.end_some(deciding.decision, deciding.place, ENDED_AT_ONCE)
        self._commit(deciding, found)
        if not more:
            self._ending.popleft()
            self._mark(deciding)
        if self._ending:
            self._around.soon(self._end_some)

    def _commit(self, deciding: _Deciding, committed: Sequence[Committed]) -> None:
        if committed:
            deciding.offsets += 1
            self._around.commit(committed, deciding.place, partial(self._durable, deciding))

    def _durable(self, deciding: _Deciding, error: LogstoreError | None) -> None:
        deciding.offsets -= 1
        deciding.failed = deciding.failed or error
        self.tidy()

    def _mark(self, deciding: _Deciding) -> None:
        """A marker to some of its partitions. Once all have it that is told."""
        full = self._mark_some(deciding)
        if deciding.logs:
            self._unmarked.append(deciding)
            if full:
                self._around.alarm(self._around.now().ticks_ms + AGAIN_MS)
            else:
                self._around.soon(self._mark_on)
            return
        self._unsynced.append(deciding)
        deciding.due_ms = self._around.now().ticks_ms + SYNCED_WITHIN_MS
        self._around.alarm(deciding.due_ms)
        deciding.done()

    def _mark_some(self, deciding: _Deciding) -> bool:
        """Whether there is no room for one."""
        decision, now_ms = deciding.decision, self._around.now().ms
        for _ in range(min(len(deciding.logs), MARKED_AT_ONCE)):
            part, its = deciding.logs[0]
            # Else it stands there. Where a power cut has taken what was to be aborted, the marker
            # takes its place: no later transaction of the producer may begin there.
            if first_of(its, decision.pid) == part.first or its.end <= part.first:
                batch = marker(decision.outcome, decision.pid, decision.epoch, now_ms)
                try:
                    deciding.waiting.appended(its, its.append(batch) + 1)
                except UnknownPartition:
                    pass  # its topic was deleted
                except StorageFull as error:
                    log.warning("a marker can't be written, and is tried again: %s", error)
                    return True
                except LogstoreError as error:
                    deciding.failed = deciding.failed or error
            deciding.logs.popleft()
        return False

    def _mark_on(self) -> None:
        for _ in range(len(self._unmarked)):
            self._mark(self._unmarked.popleft())

    def _sync_markers(self) -> None:
        """Of those whose time has come."""
        ticks_ms = self._around.now().ticks_ms
        for it in self._unsynced:
            if it.due_ms is None:
                continue
            if it.due_ms > ticks_ms:
                self._around.alarm(it.due_ms)
                return
            it.due_ms = None
            if not it.waiting.settled():
                it.waiting.watch(lambda: self._around.soon(self.tidy))

    def tidy(self) -> None:
        """Let the journal know which are everywhere."""
        for _ in range(len(self._unsynced)):
            it = self._unsynced.popleft()
            if not it.waiting.settled() or it.offsets:
                self._unsynced.append(it)
                continue
            failed = it.failed or it.waiting.failed
            if failed is None:
                self._around.finished(it.place)
            else:
                log.error("a decision is not everywhere, and will be after a start: %s", failed)

    # At a start

    def resume(
        self,
        place: int,
        decision: Decision,
        logs: Mapping[Place, Log],
        committed: Sequence[Committed],
        failed: LogstoreError | None,
        then: Callable[[], None],
    ) -> None:
        """A decision of an earlier process, in the order of the journal.

        What some of ``logs``, those of its parts, lack they get, and then ``then`` is called.
        ``committed``: offsets that groups may not have. With ``failed`` there is a partition to
        which it can't come in this process, so the next one will try again.
        """
        parts = deque(
            (part, logs[part.topic_id, part.partition])
            for part in decision.parts
            if (part.topic_id, part.partition) in logs
        )
        deciding = _Deciding(decision, parts, then, place, failed=failed)
        self._commit(deciding, committed)
        self._mark(deciding)

    def commit_again(self, place: int, committed: Sequence[Committed]) -> None:
        """Groups may not have these, of an earlier process, and there is no more to it."""

        def durable(error: LogstoreError | None) -> None:
            if error is None:
                self._around.finished(place)
            else:
                log.error("offsets that were committed are kept by the journal only: %s", error)

        self._around.commit(committed, place, durable)

    def reopen(self, pid: int, epoch: int, logs: Mapping[Place, Log]) -> None:
        """A producer has a transaction open in these, or pending offsets, and nothing is decided.

        It goes on, if the producer is the one that its id has; else it is aborted.
        """
        if self.table.reopen(pid, epoch, self._around.now()):
            self._logs[pid] = dict(logs)
            self._alarm()
            return
        parts = deque(_parts(pid, logs))
        at_ms = self._around.now().ms
        decision = abandoned(pid, epoch, at_ms, [part for part, _ in parts])
        deciding = _Deciding(decision, parts, lambda: None)

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                log.error("what producer %d has left open can't be aborted: %s", pid, place)
            else:
                self._carry_out(deciding, place)

        self._telling.tell(decided_key(pid), encode_decision(decision), told)

    # Times

    def _alarm(self) -> None:
        due_ms = self.table.next_due_ms
        if due_ms is not None:
            self._around.alarm(due_ms)

    def look_at_times(self) -> None:
        """Abort what has taken too long, some of it; go on where there was no room."""
        self._mark_on()
        self._sync_markers()
        self.tidy()
        now = self._around.now()
        for _ in range(FENCED_AT_ONCE):
            name = self.table.due(now)
            if name is None:
                break
            it = self.table.get(name)
            if it is not None and it.state is State.ONGOING and not it.pending:
                self._abandon(name, partial(self._timed_out, name))
        self._alarm()

    def _timed_out(self, name: str, found: TransactionalId | LogstoreError) -> None:
        it = self.table.get(name)
        if isinstance(found, LogstoreError) and it is not None and it.state is State.ONGOING:
            log.warning("a transaction took too long, and is not aborted yet: %s", found)
            self.table.put_off(name, self._around.now())
            self._alarm()

    def expire(self, expiration_ms: int) -> None:
        """Forget ids that were not used for so long, some of them."""
        now = self._around.now()
        for _ in range(FENCED_AT_ONCE):
            name = self.table.expired(now, expiration_ms)
            if name is None:
                return
            self._telling.tell(known_key(name), b"", lambda _: None)


def first_of(its: Log, pid: int) -> int | None:
    """Where the producer's open transaction begins in a log."""
    known = producers_of(its)
    return None if known is None else known.open.get(pid)


def _parts(pid: int, logs: Mapping[Place, Log]) -> Iterator[tuple[Part, Log]]:
    """Those in which the producer has a transaction open, and where it begins."""
    found = ((place, its, first_of(its, pid)) for place, its in logs.items())
    return ((Part(*place, first), its) for place, its, first in found if first is not None)
