"""Writes settlements to a journal: at the end of a turn, one batch of records.

A large batch is divided into several, because logs bound the size of a batch, and a log on a
cluster takes only a few MiB. If a later batch is refused, the earlier ones are not written again.

No one waits for plain settlements; a caller that has committed a transaction (``holding.py``) waits
until it is safe. Entries that the journal refuses are written again until it accepts them.

A process that ends without closing the queues may have delivered messages that the journal does not
know of. So the first delivery writes to the journal that the queues are in use, in a record of the
number 0, which no queue has; ``close`` revokes it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from logstore.broker.queues.holding import BATCH_BYTES, Holding
from logstore.broker.queues.journal import SettlementNotes, queue_key, seen_key
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.transaction import Record
from logstore.errors import LogFailed, LogstoreError
from logstore.log import Log
from logstore.records.encode import encode

RETRY_MS: Final = 1000  # after which what the journal did not take is told again
IN_USE: Final = 0  # the number of no queue: what stands for the queues being in use

log: Final = logging.getLogger("logstore.queues")


class Stocked(Protocol):
    """A queue's messages as its journal sees them."""

    settled: Settled

    def flush(self) -> object:
        """Gather the settled messages in ``settled``."""


class Touched(Protocol):
    """A queue with new settlements."""

    @property
    def id(self) -> int: ...
    @property
    def facts(self) -> QueueFacts: ...
    @property
    def gone(self) -> bool: ...
    @property
    def stock(self) -> Stocked: ...


class _ToTell(NamedTuple):
    """One record, and the function to call once the journal has it."""

    record: Record
    taken: Callable[[], object]


class Around(Protocol):
    """The surroundings."""

    def clock(self) -> int:
        """Return the time in ms since 1970."""

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call in this thread at the end of its turn, once for equal ones."""

    def settled(self, queues: Sequence[Touched]) -> None:
        """Note that settlements of these queues are about to be journaled, or that they do not
        last.
        """

    def try_again(self) -> None:
        """Schedule a call of ``retry``."""


class Journaling:
    """The writing to one journal. In the sessions' thread."""

    def __init__(self, journal: Log, around: Around, *, alone: bool = True) -> None:
        """``alone``: no other process ever delivers messages of these queues.

        Raises SchemaTooNew, CorruptStore.
        """
        self.log = journal
        notes = journal.notes
        assert isinstance(notes, SettlementNotes)
        self.notes = notes
        self.holding = Holding(journal, notes, around.soon, self.end_soon)
        # The last process has closed the queues.
        self.clean = alone and notes.state(IN_USE) is None
        self.failing = False
        self._around = around
        self._touched: dict[Touched, None] = {}
        self._forgotten: dict[int, None] = {}  # queues whose end is to be told
        self._unseen: dict[int, None] = {}  # exchanges whose ids it may forget
        self._in_use = not self.clean
        self._to_mark = False
        self._ending = False
        self._upto = journal.done  # the mark below which is what it was told

    # Entries to write

    def touched(self, queue: Touched) -> None:
        """Note that messages of the queue were settled."""
        self._touched[queue] = None
        if not self._ending:
            self.end_soon()

    def leave_out(self, queue: Touched) -> None:
        """Journal no more settlements of this queue."""
        self._touched.pop(queue, None)

    def forget(self, queues: Iterable[int]) -> None:
        """Note that these queues are deleted."""
        self._forgotten.update(dict.fromkeys(queues))
        if self._forgotten:
            self.end_soon()

    def forget_seen(self, exchanges: Iterable[int]) -> None:
        """Forget the ids of these deleted exchanges."""
        self._unseen.update(dict.fromkeys(exchanges))
        if self._unseen:
            self.end_soon()

    def used(self) -> None:
        """Note that a lasting message was delivered."""
        if not self._in_use:
            self._in_use = self._to_mark = True
            self.end_soon()

    # The end of a turn

    def end_soon(self) -> None:
        """Schedule ``end_turn``."""
        if not self._ending:
            self._ending = True
            self._around.soon(self.end_turn)

    def end_turn(self) -> None:
        """Journal the settlements of this turn."""
        self._ending = False
        now_ms = self._around.clock()
        to_tell = self._to_tell(now_ms)
        begin = 0
        while begin < len(to_tell) or self.holding.has_begun:
            upto = _batch_end(to_tell, begin)
            records = [it.record for it in to_tell[begin:upto]]
            try:
                if upto == len(to_tell):
                    records = self.holding.fill(records, now_ms)
                batch = encode(records)
                self._upto = self.log.append(batch) + batch.record_count
            except LogstoreError as error:
                self.holding.refused(error)
                self._untold(error)
                return
            # Callers that have committed wait for it; no one waits for plain settlements.
            self.log.sync_soon(hurry=self.holding.told(self._upto))
            for it in to_tell[begin:upto]:
                it.taken()
            begin = upto
        self.failing = False
        self._touched.clear()

    def _to_tell(self, now_ms: int) -> list[_ToTell]:
        """Return the entries to write.

        "In use" comes first, and "no longer in use" behind all settlements: a crash may leave only
        the first batches.
        """
        touched = [it for it in self._touched if not it.gone]
        settled: list[_ToTell] = []
        told: list[Touched] = []
        for queue in touched:
            queue.stock.flush()
            if queue.stock.settled:
                told.append(queue)
                record = (queue.stock.settled.encode(), queue_key(queue.id), (), now_ms)
                settled.append(_ToTell(record, partial(self._has_settled, queue)))
        self._around.settled([*told, *(it for it in touched if not it.facts.lasts)])
        found: list[_ToTell] = []
        if self._to_mark:
            mark = Settled()
            mark.given_out(0, 1)
            record = (mark.encode(), queue_key(IN_USE), (), now_ms)
            found.append(_ToTell(record, self._has_mark))
        found += settled
        gone = Settled()
        gone.gone()
        for number in self._forgotten:
            record = (gone.encode(), queue_key(number), (), now_ms)
            found.append(_ToTell(record, partial(self._forgotten.pop, number)))
        for number in self._unseen:
            record = (b"", seen_key(number), (), now_ms)
            found.append(_ToTell(record, partial(self._unseen.pop, number)))
        return found

    def _has_settled(self, queue: Touched) -> None:
        queue.stock.settled = Settled()
        self._touched.pop(queue, None)

    def _has_mark(self) -> None:
        self._to_mark = False

    def _untold(self, error: LogstoreError) -> None:
        """Note a failed write: messages settled by it come again after a restart, unless a retry
        succeeds.
        """
        if not self.failing:
            log.error("what was settled can't be kept: %s", error)
        self.failing = True
        if not isinstance(error, LogFailed):
            self._around.try_again()

    def retry(self) -> None:
        """Write again what the journal has refused."""
        if self.failing:
            self.end_soon()

    # The end

    def wait(self) -> None:
        """Wait until all that was journaled is safe. From any thread. Raises LogFailed."""
        self.log.wait(self._upto)

    def close(self, queues: Iterable[Touched], *, known: bool) -> None:
        """Journal the settlements of these queues, and that they are no longer in use.

        ``known``: all deliveries are settled or returned. Raises LogFailed.
        """
        self._touched.update(dict.fromkeys(queues))
        if self._in_use and known:
            self._forgotten[IN_USE] = None  # behind all that is settled
            self._to_mark = False
        self.end_turn()
        if not self.failing:
            self.wait()


def _batch_end(to_tell: Sequence[_ToTell], begin: int) -> int:
    """Return the end of the entries that fit into one batch: at least one."""
    size, at = 0, begin
    while at < len(to_tell) and size < BATCH_BYTES:
        size += len(to_tell[at].record[0])
        at += 1
    return at
