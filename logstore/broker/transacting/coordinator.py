"""The transactions of a node, from a request to its answer (KIP-98, KIP-890).

A change of an id is answered once it is safe in the journal. The steps of a decision make a crash
harmless at every point: a transaction's data is synced before its commit is *written*, the decision
is synced before any marker is *written*, and the journal keeps the decision until the markers are
synced. No one waits for the sync of the markers.

A commit or abort is answered once it is decided, and the markers are written directly after the
reply, before the client's next request. Others that wait for the end (a new producer of the id, an
administrator) are answered once the markers are written; so are clients that commit offsets, and
clients whose transaction must wait for its turn.

The logs' ledgers know which logs a transaction has written to; only the candidates are stored here.

Transactions may be large, and many may end at once, so the work on each is divided over turns, and
no transaction waits for all the work of another. Used in one thread.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, Protocol

from logstore.broker.ledger import producers_of
from logstore.broker.transacting.syncing import Syncing
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
    encode_parts,
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

# Of all transactions together, before others have their turn:
GATHERED_AT_ONCE: Final = 500  # partitions
MARKED_AT_ONCE: Final = 200  # likewise: each is a write
MARKED_OF_ONE: Final = 64  # of these, before the next transaction
AHEAD_AT_ONCE: Final = 8  # transactions whose answers go ahead of their markers
AHEAD_PARTS: Final = 24  # partitions that one of these may have
assert AHEAD_AT_ONCE * (1 + AHEAD_PARTS) <= MARKED_AT_ONCE  # in one go
ENDED_AT_ONCE: Final = 500  # offsets of groups
LOOKED_AT_ONCE: Final = 1000  # logs, whether they are synced
FENCED_AT_ONCE: Final = 100  # transactions that have taken too long
EXPIRED_AT_ONCE: Final = 1000  # ids checked for expiry
AGAIN_MS: Final = 1000  # after a partition, say, that was full
# Only the trimming of the journal waits for the sync of markers. What comes next in their
# partitions is synced soon, and they with it: so a producer that goes on has two syncs a
# transaction, not three.
SYNCED_WITHIN_MS: Final = 10

log: Final = logging.getLogger("logstore.transactions")

Answer = Callable[[TransactionalId | LogstoreError], None]
Done = Callable[[LogstoreError | None], None]
Place = tuple[bytes, int]  # topic id, partition


class Around(Protocol):
    """The surroundings of the coordinator."""

    def new_pid(self) -> int:
        """Return a producer id that was never used before. Raises Failed."""

    def now(self) -> Now:
        """Return the present time."""

    def soon(self, call: Callable[[], None]) -> None:
        """Schedule a call in this thread. From any thread."""

    def alarm(self, ticks_ms: int) -> None:
        """Schedule a call of ``look_at_times`` at that time or earlier."""

    def commit(self, committed: Sequence[Committed], place: int, done: Done) -> None:
        """Commit offsets of groups, except where a later place has committed; ``done`` when
        durable.

        It is called more than once for a place with many offsets.
        """

    def finished(self, place: int) -> None:
        """Note that the journal no longer needs the record at this place."""


@dataclass(slots=True)
class _Gathering:
    """The search for what a transaction has written, before it ends."""

    it: TransactionalId
    logs: dict[Place, Log]  # where it may have written
    then: Answer
    ahead: bool = False  # the answer may go ahead of the markers
    parts: deque[tuple[Part, Log]] = field(default_factory=deque)
    encoded: list[bytes] = field(default_factory=list)  # of those
    syncing: Syncing = field(default_factory=Syncing)  # what has to be there


@dataclass(slots=True)
class _Deciding:
    """A decision on its way to its partitions."""

    decision: Decision  # its parts may be left out
    logs: deque[tuple[Part, Log]]  # that have no marker yet
    done: Callable[[], object]  # called once all have it
    place: int = -1
    syncing: Syncing = field(default_factory=Syncing)  # the markers
    synced: bool = False  # they are, or never will be
    offsets: int = 0  # commits of groups that are not durable
    failed: LogstoreError | None = None  # why it does not come to some partition in this process
    due_ms: int = 0  # when its markers' sync is asked for


class TransactionCoordinator:
    """The transactions of one serving process."""

    def __init__(self, table: Table, staged: Staged, telling: Telling, around: Around) -> None:
        self.table = table
        self.staged = staged
        self._telling = telling
        self._around = around
        self.counts = TransactionCounts()
        self._logs: dict[int, dict[Place, Log]] = {}  # by producer: logs with its records
        self._staging_bytes = 0  # of offsets that the journal does not have safe yet
        # Decisions, as they go from one to the next:
        self._ending: deque[_Deciding] = deque()  # with offsets that are pending still
        self._unmarked: deque[_Deciding] = deque()
        self._unsynced: deque[_Deciding] = deque()  # until that is asked for
        self._syncing: deque[_Deciding] = deque()
        self._full: list[_Deciding] = []  # unmarked, and there was no room
        self._carried = False  # this turn's share is done

    # Requests

    def initialize(
        self, name: str, timeout_ms: int, asked: Producer, connection: int, then: Answer
    ) -> None:
        """Start a new producer of the id (InitProducerId); abort an open transaction first."""
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
        """Begin or continue a transaction (AddPartitionsToTxn, AddOffsetsToTxn). Stores nothing.

        Raises as ``Table.add``.
        """
        self.table.add(name, producer, self._around.now(), connection)
        self._alarm()

    def admit(self, name: str, producer: Producer, missing: Missing) -> TransactionalId:
        """Admit a batch of the producer; the caller appends it, then calls ``wrote``.

        Raises as ``Table.admit``.
        """
        it = self.table.admit(name, producer, missing, self._around.now())
        self._alarm()
        return it

    def verify(self, name: str, producer: Producer, missing: Missing) -> None:
        """Check that a batch of the producer would be admitted. Raises as ``Table.admit``."""
        self.table.verify(name, producer, missing, self._around.now())

    def wrote(self, pid: int, place: Place, log: Log) -> None:
        """Note that a batch of the producer's transaction was appended to this log."""
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
        """Stage offsets that take effect when the transaction commits (TxnOffsetCommit)."""
        size = size_of(offsets)
        try:
            it = self.table.admit(name, producer, missing, self._around.now())
            if not self.staged.has_room(self._staging_bytes + size):
                raise ConcurrentTransactions(
                    f"group {group!r}: too many offsets are pending in transactions: try again"
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
        """Commit or abort a transaction (EndTxn). ``version``: as in ``Table.end``."""
        now = self._around.now()
        try:
            it = self.table.end(
                name, producer, outcome, version, self._around.new_pid, now, connection
            )
        except LogstoreError as error:
            then(error)
            return
        if it.pending:
            self._decide(it, then, ahead=True)
        else:
            then(it)

    def abort(self, name: str, then: Answer) -> None:
        """Abort an open transaction on behalf of another client; its producer is fenced."""
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
        """Return the logs to which the producer has written in its open transaction."""
        return dict(self._logs.get(pid, {}))

    def partitions(self, pid: int) -> int:
        """Return how many partitions the producer's open transaction has written to."""
        return len(self._logs.get(pid, ()))

    def parts(self, pid: int) -> Iterable[tuple[Part, Log]]:
        """Return the parts of the producer's open transaction with their first offsets."""
        return _parts(pid, self._logs.get(pid, {}))

    # Deciding

    def _decide(self, it: TransactionalId, then: Answer, *, ahead: bool = False) -> None:
        gathering = _Gathering(it, self._logs.pop(it.pid, {}), then, ahead)
        left = iter(gathering.logs.items())

        def gather() -> None:
            some = list(islice(left, GATHERED_AT_ONCE))
            self._gather(gathering, some)
            if len(some) == GATHERED_AT_ONCE:
                self._around.soon(gather)
            else:
                self._once_safe(gathering)

        gather()

    @staticmethod
    def _gather(gathering: _Gathering, some: Iterable[tuple[Place, Log]]) -> None:
        it, found = gathering.it, list[Part]()
        for place, its in some:
            first = first_of(its, it.pid)
            if first is None:
                continue
            found.append(Part(*place, first))
            gathering.parts.append((found[-1], its))
            # Aborted records need not be synced.
            if it.outcome is Outcome.COMMIT and its.synced < its.end:
                gathering.syncing.add(its, its.end)
        gathering.encoded.append(encode_parts(found))
        gathering.syncing.ask(GATHERED_AT_ONCE)

    def _once_safe(self, gathering: _Gathering) -> None:
        syncing, it, over = gathering.syncing, gathering.it, False

        def look() -> None:
            nonlocal over
            if over:
                return
            looked = syncing.look(LOOKED_AT_ONCE, news)
            if not syncing.done:
                if looked == LOOKED_AT_ONCE:
                    self._around.soon(look)
                return
            over = True
            if syncing.failed is None:
                self._tell(gathering)
            else:
                self._undo(it, gathering.logs)
                gathering.then(
                    TransactionAbortable(
                        f"transactional id {it.name!r}: its records could not be synced:"
                        f" {syncing.failed}"
                    )
                )

        def news() -> None:
            self._around.soon(look)

        look()

    def _undo(self, it: TransactionalId, logs: dict[Place, Log]) -> None:
        """Continue the transaction: its end could not be decided."""
        self.table.undone(it.name, self._around.now())
        self._logs[it.pid] = logs
        self._alarm()

    def _tell(self, gathering: _Gathering) -> None:
        it, then = gathering.it, gathering.then
        decision = decision_of(it)

        def told(place: int | LogstoreError) -> None:
            if isinstance(place, LogstoreError):
                self._undo(it, gathering.logs)
                then(place)
                return
            kept = self.table.kept(it.name)
            done: Callable[[], object]
            if goes_ahead := self._goes_ahead(gathering):
                then(kept.completed())
                done = partial(self.table.completed, it.name)
            else:
                done = partial(self._complete, it.name, then)
            self._carry_out(_Deciding(decision, gathering.parts, done), place, later=goes_ahead)

        value = encode_decision(decision, gathering.encoded)
        self._telling.tell(decided_key(it.pid), value, told)

    def _goes_ahead(self, gathering: _Gathering) -> bool:
        """Whether all of it is done in the end of turn that also sends the answer."""
        line = len(self._ending) + len(self._unmarked)
        few = line < AHEAD_AT_ONCE and len(gathering.parts) <= AHEAD_PARTS
        return gathering.ahead and few and not self.staged.count(gathering.it.pid)

    def _complete(self, name: str, then: Answer) -> None:
        then(self.table.completed(name))

    def _carry_out(self, deciding: _Deciding, place: int, *, later: bool = False) -> None:
        """Carry out a decision that is safe in the journal, and therefore final.

        ``later``: in the next end of turn, behind earlier ones.
        """
        if deciding.decision.outcome is Outcome.COMMIT:
            self.counts.committed += 1
        else:
            self.counts.aborted += 1
        deciding.place = place
        self._ending.append(deciding)
        if later:
            self._around.soon(self._carry)
        else:
            self._carry()

    def _carry(self) -> None:
        """Go on with decided transactions, once in a turn."""
        if self._carried:
            return
        self._carried = True
        self._end_some()
        self._mark_some()
        self._around.soon(self._carry_on)

    def _carry_on(self) -> None:
        self._carried = False
        if self._ending or self._unmarked:
            self._carry()

    def _end_some(self) -> None:
        """Commit or drop some staged offsets of decided transactions, in order.

        A transaction goes on after the last of its offsets.
        """
        left = ENDED_AT_ONCE
        while self._ending and left > 0:
            deciding = self._ending[0]
            pid = deciding.decision.pid
            before = self.staged.count(pid)
            found, more = self.staged.end_some(deciding.decision, deciding.place, left)
            self._commit(deciding, found)
            left -= 1 + before - self.staged.count(pid)
            if more:
                return
            self._unmarked.append(self._ending.popleft())

    def _commit(self, deciding: _Deciding, committed: Sequence[Committed]) -> None:
        if committed:
            deciding.offsets += 1
            self._around.commit(committed, deciding.place, partial(self._durable, deciding))

    def _durable(self, deciding: _Deciding, error: LogstoreError | None) -> None:
        deciding.offsets -= 1
        deciding.failed = deciding.failed or error
        self._finish(deciding)

    def _mark_some(self) -> None:
        """Append markers to some partitions; complete a transaction that has all its markers."""
        left = MARKED_AT_ONCE
        while self._unmarked and left > 0:
            deciding = self._unmarked.popleft()
            before = len(deciding.logs)
            full = self._mark(deciding, min(left, MARKED_OF_ONE))
            left -= 1 + before - len(deciding.logs)
            if not deciding.logs:
                self._marked(deciding)
            elif full:
                self._full.append(deciding)
                self._around.alarm(self._around.now().ticks_ms + AGAIN_MS)
            else:
                self._unmarked.append(deciding)

    def _mark(self, deciding: _Deciding, most: int) -> bool:
        """Append up to ``most`` markers of a transaction; return whether the disk is full."""
        decision, now_ms = deciding.decision, self._around.now().ms
        for _ in range(min(len(deciding.logs), most)):
            part, its = deciding.logs[0]
            # Otherwise the marker is already there. If a power cut has lost the records to abort,
            # the marker takes their place: no later transaction of the producer may begin there.
            if first_of(its, decision.pid) == part.first or its.end <= part.first:
                batch = marker(decision.outcome, decision.pid, decision.epoch, now_ms)
                try:
                    deciding.syncing.add(its, its.append(batch) + 1)
                except UnknownPartition:
                    pass  # its topic was deleted
                except StorageFull as error:
                    log.warning("a marker can't be written, and is tried again: %s", error)
                    return True
                except LogstoreError as error:
                    deciding.failed = deciding.failed or error
            deciding.logs.popleft()
        return False

    def _marked(self, deciding: _Deciding) -> None:
        deciding.due_ms = self._around.now().ticks_ms + SYNCED_WITHIN_MS
        self._unsynced.append(deciding)
        if len(self._unsynced) == 1:
            self._around.alarm(deciding.due_ms)
        deciding.done()

    def _sync_some(self) -> None:
        """Sync some of the markers whose time has come."""
        left, ticks_ms = LOOKED_AT_ONCE, self._around.now().ticks_ms
        while self._unsynced and left > 0:
            deciding = self._unsynced[0]
            if deciding.due_ms > ticks_ms:
                break
            left -= 1 + deciding.syncing.ask(left)
            if deciding.syncing.asked:
                self._syncing.append(self._unsynced.popleft())
                if len(self._syncing) == 1:
                    self._around.soon(self._tidy)
        if self._unsynced:
            self._around.alarm(self._unsynced[0].due_ms)

    def _tidy(self) -> None:
        """Note in the journal which transactions are complete and synced, about in their order."""
        left = LOOKED_AT_ONCE
        while self._syncing and left > 0:
            deciding = self._syncing[0]
            looked = deciding.syncing.look(left, self._news)
            if deciding.syncing.done:
                deciding.synced = True
                self._syncing.popleft()
                self._finish(deciding)
            elif looked < left:
                return
            left -= 1 + looked
        if self._syncing:
            self._around.soon(self._tidy)

    def _news(self) -> None:
        """Schedule ``_tidy``. Called from any thread."""
        self._around.soon(self._tidy)

    def _finish(self, deciding: _Deciding) -> None:
        if not deciding.synced or deciding.offsets:
            return
        failed = deciding.failed or deciding.syncing.failed
        if failed is None:
            self._around.finished(deciding.place)
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
        """Resume a decision of an earlier process, in the order of the journal.

        Appends the markers that some of ``logs`` lack, then calls ``then``. ``committed``: offsets
        that may not be stored yet. ``failed``: a partition cannot get its marker in this process,
        so the next one tries again.
        """
        parts = deque(
            (part, logs[part.topic_id, part.partition])
            for part in decision.parts
            if (part.topic_id, part.partition) in logs
        )
        deciding = _Deciding(decision, parts, then, place, failed=failed)
        self._commit(deciding, committed)
        self._unmarked.append(deciding)
        self._carry()

    def commit_again(self, place: int, committed: Sequence[Committed]) -> None:
        """Commit offsets of an earlier process that may not be stored yet."""

        def durable(error: LogstoreError | None) -> None:
            if error is None:
                self._around.finished(place)
            else:
                log.error("offsets that were committed are kept by the journal only: %s", error)

        self._around.commit(committed, place, durable)

    def reopen(self, pid: int, epoch: int, logs: Mapping[Place, Log]) -> None:
        """Resume an undecided transaction that is open in these logs, or has pending offsets.

        It continues if the producer is the present one of its id; otherwise it is aborted.
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
        """Abort some transactions that have timed out; go on where the disk was full."""
        self._unmarked += self._full
        self._full.clear()
        if self._unmarked:
            self._carry()
        self._sync_some()
        now, written = self._around.now(), 0
        for _ in range(FENCED_AT_ONCE):
            name = self.table.due(now) if written < GATHERED_AT_ONCE else None
            if name is None:
                break
            it = self.table.get(name)
            if it is not None and it.state is State.ONGOING and not it.pending:
                written += self.partitions(it.pid)
                self._abandon(name, partial(self._timed_out, name))
        self._alarm()

    def _timed_out(self, name: str, found: TransactionalId | LogstoreError) -> None:
        it = self.table.get(name)
        if isinstance(found, LogstoreError) and it is not None and it.state is State.ONGOING:
            log.warning("a transaction took too long, and is not aborted yet: %s", found)
            self.table.put_off(name, self._around.now())
            self._alarm()

    def expire(self, expiration_ms: int) -> bool:
        """Forget some ids not used for ``expiration_ms``; return whether there may be more."""
        names = self.table.expire(self._around.now(), expiration_ms, EXPIRED_AT_ONCE)
        for name in names:
            self._telling.tell(known_key(name), b"", lambda _: None)
        return bool(names)


def first_of(its: Log, pid: int) -> int | None:
    """Return the first offset of the producer's open transaction in a log, or None."""
    known = producers_of(its)
    return None if known is None else known.open.get(pid)


def _parts(pid: int, logs: Mapping[Place, Log]) -> Iterator[tuple[Part, Log]]:
    """Yield the parts of the producer's open transaction with their first offsets."""
    found = ((place, its, first_of(its, pid)) for place, its in logs.items())
    return ((Part(*place, first), its) for place, its, first in found if first is not None)
