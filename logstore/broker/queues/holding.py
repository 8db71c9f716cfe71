"""The held transactions of a process, from their beginning until everything is done.

A transaction is begun and written to the journal. Once it is safe there, its settlements take
effect, its messages are appended to their lanes, and its waiting callers are notified. Transactions
are executed in the journal's order, so that each lane gets its bodies by their numbers. If a lane
cannot take a body now, it gets the body later, perhaps in another process: the journal keeps the
record until everything is synced at its destination.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.opening import APPENDS_MAX
from logstore.broker.queues.partitions import Partitions
from logstore.broker.queues.pending import Pending, Waiting
from logstore.broker.queues.transaction import Ahead, Effect, Record, Transaction
from logstore.errors import LogstoreError
from logstore.log import Log, Wake

# Of bodies in one batch of the journal, beside the first transaction, and of what else it is told:
# the note reads a batch whole.
BATCH_BYTES: Final = 1 << 20
# Of bodies that are begun and not appended to their lanes: doors stop reading publishes then.
BYTES_MAX: Final = 64 << 20
# Of those whose lanes may be synced by now, in one turn: there may be many, and they wait for none.
LOOKED_AT_MAX: Final = 100
# Of these, so many whose lanes are not: what comes a thousand times a second is synced with others.
NOT_YET_MAX: Final = 4

log: Final = logging.getLogger("logstore.queues")

Then = Callable[[LogstoreError | None], None]


class _Opening(NamedTuple):
    transaction: Transaction
    then: Then
    waiting: Waiting  # for partitions


class _Begun(NamedTuple):
    transaction: Transaction
    then: Then


class _Told(NamedTuple):
    first: int  # the mark of the transaction's first record; until it is told, within its batch
    upto: int  # the mark after the journal's batch
    transaction: Transaction
    effects: list[Effect]
    then: Then


class _Done(NamedTuple):
    first: int
    waiting: Waiting  # until all is synced


class _Ahead:
    """Effects of a transaction that happen before the journal's record, until they are safe."""

    def __init__(
        self,
        calls: Sequence[Ahead],
        soon: Callable[[Callable[[], object]], object],
        then: Then,
    ) -> None:
        self._calls = calls
        self._soon = soon
        self._then: Then | None = then
        self._waiting = Waiting(synced=True)

    def begin(self) -> None:
        for call in self._calls:
            call(self._waiting)
        self._waiting.watch(self._wake)
        self._look()

    def _wake(self) -> None:
        """Schedule a look. Called from any thread."""
        self._soon(self._look)

    def _look(self) -> None:
        if self._then is not None and self._waiting.settled():
            then, self._then = self._then, None
            failed = self._waiting.failed
            self._waiting.close()
            then(failed)


class Holding:
    """The held transactions of one process that has the queues."""

    def __init__(
        self,
        journal: Log,
        notes: SettlementNotes,
        soon: Callable[[Callable[[], object]], object],
        end_soon: Callable[[], None],
    ) -> None:
        """``end_soon``: schedules the end of turn, which calls ``fill``."""
        self.partitions: Partitions | None = None  # in a process that has topics
        self.bytes = 0  # of bodies that are not where they go
        self._journal = journal
        self._notes = notes
        self._soon = soon
        self._end_soon = end_soon
        self._next_number = notes.next_number
        self._opening: deque[_Opening] = deque()
        self._last: Transaction | None = None  # that came into the journal's line
        self._begun: deque[_Begun] = deque()
        self._waiting = 0  # for declarations
        self._telling: list[_Told] = []  # in a batch that is being appended
        self._records = 0  # in that batch
        self._told: deque[_Told] = deque()
        self._done: deque[_Done] = deque()
        self._stop: Wake | None = None

    @property
    def crowded(self) -> bool:
        """Whether too much is on its way."""
        return self.bytes > BYTES_MAX

    # Beginning

    def begin(self, transaction: Transaction, then: Then) -> bool:
        """Begin the transaction; ``then`` is called in this thread, now or later, with the result.

        If it fails nothing of it has happened or will, except what goes ahead of it. Returns
        whether it is already in the journal's order: a later transaction then happens only if this
        one does. If not, it waits for something first, or has failed.
        """
        self.bytes += transaction.body_bytes
        self._last = None
        if transaction.refused is not None:
            self._fail(transaction, then, transaction.refused)
        else:
            self._begin_opening(transaction, then)
        return self._last is transaction

    def _begin_opening(self, transaction: Transaction, then: Then) -> None:
        if not transaction.entries:
            self._begin_ahead(transaction, then)
            return
        assert self.partitions is not None
        waiting = Waiting()
        self.partitions.open({it.place for it in transaction.entries}, waiting)
        if not self._opening and waiting.settled():  # as nearly always
            self._opened(transaction, then, waiting)
            return
        self._opening.append(_Opening(transaction, then, waiting))
        waiting.watch(self._look_at_opening_soon)
        self._look_at_opening()

    def _look_at_opening_soon(self) -> None:
        self._soon(self._look_at_opening)

    def _look_at_opening(self) -> None:
        """Begin the transactions whose partitions are open, in order.

        A transaction waits behind earlier ones, even if these wait for other partitions.
        """
        while self._opening and self._opening[0].waiting.settled():
            self._opened(*self._opening.popleft())

    def _opened(self, transaction: Transaction, then: Then, waiting: Waiting) -> None:
        waiting.close()
        if waiting.failed is None:
            self._begin_ahead(transaction, then)
        else:
            self._fail(transaction, then, waiting.failed)

    def _begin_ahead(self, transaction: Transaction, then: Then) -> None:
        if transaction.ahead:
            went = partial(self._went, transaction, then)
            _Ahead(transaction.ahead, self._soon, went).begin()
        else:
            self._begin_kept(transaction, then)

    def _went(self, transaction: Transaction, then: Then, error: LogstoreError | None) -> None:
        """Begin the transaction once the part that goes ahead is safe, or fail it."""
        if error is None:
            self._begin_kept(transaction, then)
        else:
            self._fail(transaction, then, error)

    def _begin_kept(self, transaction: Transaction, then: Then) -> None:
        """Begin the transaction once the declarations that it depends on are stored."""
        unkept = transaction.unkept()
        if not unkept:
            self._begin(transaction, then)
            return
        left, failed = len(unkept), None

        def kept(pending: Pending) -> None:
            nonlocal left, failed
            left, failed = left - 1, failed or pending.error
            if left:
                return
            self._waiting -= 1
            if failed is None:
                self._begin(transaction, then)
            else:
                self._fail(transaction, then, failed)

        self._waiting += 1
        for pending in unkept:
            pending.then(kept)

    def _begin(self, transaction: Transaction, then: Then) -> None:
        self._last = transaction
        if transaction.lasts:
            self._begun.append(_Begun(transaction, then))
            self._end_soon()
        else:
            _, effects, _ = transaction.tell(self._next_number, 0)
            self._do(transaction, effects, then)

    def _fail(self, transaction: Transaction, then: Then, error: LogstoreError) -> None:
        self.bytes -= transaction.body_bytes
        for part in transaction.parts:
            transaction.failed(part, error)
        for it in transaction.remembered:
            it.came(error)
        for of_group in transaction.commits:
            of_group.failed(error)
        then(error)

    # Telling the journal

    @property
    def has_begun(self) -> bool:
        """Whether there are transactions that the journal was not told of."""
        return bool(self._begun)

    def fill(self, records: list[Record], now_ms: int) -> list[Record]:
        """Return records of begun transactions, behind other records of a batch; some may be left.

        ``told`` or ``refused`` must be called next.
        """
        size = 0
        while self._begun and size < BATCH_BYTES:
            transaction, then = self._begun.popleft()
            more, effects, self._next_number = transaction.tell(self._next_number, now_ms)
            self._telling.append(_Told(len(records), 0, transaction, effects, then))
            records = records + more
            size += transaction.body_bytes
        self._records = len(records)
        return records

    def told(self, upto: int) -> bool:
        """Note that the batch was appended, and that the journal now ends at ``upto``.

        Returns whether a caller waits for that to be safe and does not sync it itself.
        """
        if not self._telling:
            return False
        base = upto - self._records
        self._told += [it._replace(first=base + it.first, upto=upto) for it in self._telling]
        hurry = not all(it.transaction.in_hand for it in self._telling)
        self._telling = []
        if self._stop is None:
            self._stop = self._journal.watch(self._wake)
        if self._journal.done >= upto:  # its news came before it was watched
            self._wake()
        return hurry

    def _wake(self) -> None:
        """Schedule ``look``. Called from any thread."""
        self._soon(self.look)

    def refused(self, error: LogstoreError) -> None:
        """Fail the begun transactions: the journal has refused the batch."""
        refused = [_Begun(it.transaction, it.then) for it in self._telling] + [*self._begun]
        self._telling = []
        self._begun.clear()
        for transaction, then in refused:
            self._fail(transaction, then, error)

    # Doing it

    def look(self) -> None:
        """Carry out the transactions that are safe in the journal."""
        safe, before = self._journal.done, len(self._done)
        while self._told and self._told[0].upto <= safe:
            it = self._told.popleft()
            self._happened(it)
            self._do(it.transaction, it.effects, it.then)
        if self._told:
            try:
                self._journal.check_failure()
            except LogstoreError as error:
                self._lose(error)
        self.tidy(len(self._done) - before + LOOKED_AT_MAX)

    def _lose(self, error: LogstoreError) -> None:
        """Fail the told transactions here: the next start finds out whether the journal
        has them.
        """
        told, self._told = self._told, deque()
        for it in told:
            # The messages that they settle stay out: otherwise settled ones could be delivered
            # again.
            it.transaction.endings.clear()
            self._fail(it.transaction, it.then, error)

    def _happened(self, it: _Told) -> None:
        at = it.first + it.transaction.commits_at
        for n, of_group in enumerate(it.transaction.commits):
            of_group.happened(self._journal.offset_of(at + n))

    def _do(self, transaction: Transaction, effects: Sequence[Effect], then: Then) -> None:
        waiting = Waiting(synced=True)
        for part, effect in zip(transaction.parts, effects, strict=True):
            transaction.came(part)
            self._append(effect, waiting)
        for entry in transaction.entries:
            assert self.partitions is not None
            self.partitions.append(entry, waiting)
        self.bytes -= transaction.body_bytes
        for queue, lane, first, bits in transaction.endings:
            if not queue.gone:
                queue.stock.settle_told(lane, first, bits)
                queue.wake()
        for it in transaction.remembered:
            it.came(None)
        if transaction.entries or any(it.lasts for it in effects):
            self._done.append(_Done(transaction.first, waiting))
        then(None)

    @staticmethod
    def _append(effect: Effect, waiting: Waiting) -> None:
        for n, (queue, lane) in enumerate(effect.targets):
            if not queue.gone:
                # Volatile messages are never synced, and no one waits for them.
                its = waiting if queue.facts.lasts else Waiting()
                queue.stock.append_held(
                    lane, effect.batch, effect.body_bytes, its,
                    expires=effect.expires, later=n >= APPENDS_MAX,
                )  # fmt: skip
                queue.counts.published += effect.batch.record_count
                queue.totals.published += effect.batch.record_count

    # After that

    def again(self, first: int, waiting: Waiting) -> None:
        """Note a transaction of an earlier process whose messages are on their way to the lanes."""
        self._done.append(_Done(first, waiting))

    def seen(self, number: int) -> None:
        """Note that a lane has the body with this number.

        The journal has no higher one, unless it has lost records: a number that is used twice would
        hide a body.
        """
        self._next_number = max(self._next_number, number + 1)

    def tidy(self, most: int = LOOKED_AT_MAX, not_yet: int = NOT_YET_MAX) -> None:
        """Note finished transactions, until ``most`` were looked at or ``not_yet`` are unfinished.

        One with a lane that has failed in this process stays unfinished.
        """
        for _ in range(min(most, len(self._done))):
            it = self._done.popleft()
            if not it.waiting.settled():
                self._done.append(it)
                not_yet -= 1
                if not not_yet:
                    return
            elif it.waiting.failed is None:
                self._notes.finished(it.first)
            else:
                log.error(
                    "what was committed is not where it goes, and will be after the next start: %s",
                    it.waiting.failed,
                )

    def finish(self) -> None:
        """Wait, at a close, until all that was done is synced, as far as that is possible."""
        for it in self._done:
            if it.waiting.parked:
                continue  # its lane is not open: the next process does it
            with suppress(LogstoreError):  # it is told below
                it.waiting.wait()
        self.tidy(len(self._done), len(self._done))
