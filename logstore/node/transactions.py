"""The transactions of a node: their coordinator, its surroundings, and its timers.

A worker reads the stored transactions: at the start if there is a journal, otherwise at the first
request. Until then, and until earlier decisions have reached all partitions, clients are told to
try again; a request for a producer id, with which a client begins, waits for a while instead.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from logstore.broker.coordinator.undecided import Unread
from logstore.broker.topic import uuid_of
from logstore.clock import now_ms
from logstore.errors import CoordinatorLoading, LogstoreError
from logstore.internals import Internals
from logstore.log import Log
from logstore.node.groups import Alarm, Groups
from logstore.node.journal import NodeJournal
from logstore.node.queues import NodeQueues
from logstore.protocols.house import Work
from logstore.slices import Slices
from logstore.storage.kinds import TOPIC
from logstore.turn import Turn

if TYPE_CHECKING:  # few stores have any
    from logstore.broker.transacting.coordinator import Done, TransactionCoordinator
    from logstore.broker.transacting.group_offsets import GroupOffsets
    from logstore.broker.transacting.loading import Loaded
    from logstore.broker.transacting.telling import Telling
    from logstore.broker.transactions.journaled import Journaled
    from logstore.broker.transactions.staged import Committed
    from logstore.broker.transactions.table import Now, Table

PIDS: Final = 100  # claimed ahead: claiming some may take a sync
EXPIRY_EVERY_MS: Final = 60_000
EXPIRY_NEXT_MS: Final = 10  # until there are no more
TRIM_EVERY_MS: Final = 1000  # a trim is a commit of the catalogue
LATER_S: Final = 1.0  # what the disk did not take is tried again
# How long a client waits for a producer while the journal is read, before it must ask again.
# Reading a new store takes some milliseconds, and clients ask again after a second.
OPEN_WAIT_MS: Final = 5000

log: Final = logging.getLogger("logstore.transactions")


Then = Callable[["TransactionCoordinator | LogstoreError"], None]


class NodeTransactions:
    """The ``TransactionsOf`` of a server, and its coordinator's surroundings. For the sessions'
    thread.

    Once the journal is read, groups know their pending offsets; until then they are not served.
    """

    def __init__(
        self,
        turn: Turn,
        store: Internals,
        journal: NodeJournal,
        queues: NodeQueues,
        work: Work,
        groups: Groups,
    ) -> None:
        self._groups = groups
        self._offsets: GroupOffsets | None = None
        self._journaled: Journaled | None = None  # as it was read at the start
        self._turn = turn
        self._store = store
        self._journal = journal
        self._queues = queues
        self._work = work
        self._alarm = Alarm(turn, partial(turn.when_heard, self._look))
        self._alarm_expiry = Alarm(turn, self._expire)
        self._alarm_trim = Alarm(turn, self._trim)
        self._trimming = False
        self._pids: deque[int] = deque()
        self._claiming = False  # more of them
        self._loading = False
        self._error: LogstoreError | None = None  # why it can't be read
        self._waiting: deque[tuple[int, Then]] = deque()  # until it is read, or this time
        self._alarm_waiting = Alarm(turn, self._wait_no_more)
        self._ended: Callable[[int], None] = lambda _: None
        self._making: TransactionCoordinator | None = None  # or made, and not open yet
        self._coordinator: TransactionCoordinator | None = None
        self._over = False

    # As TransactionsOf

    @property
    def opened(self) -> "TransactionCoordinator | None":
        """As TransactionsOf.opened."""
        return self._coordinator

    def coordinator(self) -> "TransactionCoordinator":
        """As TransactionsOf.coordinator."""
        if self._coordinator is not None:
            return self._coordinator
        error, self._error = self._error, None  # the next attempt may succeed
        self._load()
        raise error or _loading()

    def when_open(self, then: Then) -> None:
        """As TransactionsOf.when_open."""
        try:
            found = self.coordinator()
        except CoordinatorLoading:
            self._waiting.append((self._ticks_ms + OPEN_WAIT_MS, then))
            self._alarm_waiting.set(self._waiting[0][0])
        except LogstoreError as error:
            then(error)
        else:
            then(found)

    def _wait_no_more(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._ticks_ms:
            self._waiting.popleft()[1](_loading())
        if self._waiting:
            self._alarm_waiting.set(self._waiting[0][0])

    def _tell(self, found: "TransactionCoordinator | LogstoreError") -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, then in waiting:
            then(found)

    # Its start

    def start(self) -> None:
        """Continue with the transactions of the previous process."""
        if self._journal.is_there:
            self._groups.coordinator.undecided = Unread()
            self._load()

    def _load(self) -> None:
        if not self._loading and not self._over:
            self._loading = True
            self._journal.when_open(self._journal_opened)

    def _journal_opened(self, telling: "Telling | LogstoreError") -> None:
        if isinstance(telling, LogstoreError):
            self._failed(telling)
        elif self._journaled is not None:  # only the logs could not be read
            self._load_from(telling, self._journaled)
        else:
            self._work(partial(_read_journal, telling), partial(self._journal_read, telling))

    def _journal_read(self, telling: "Telling", found: "_Read | LogstoreError") -> None:
        if self._over:
            return
        if isinstance(found, LogstoreError):
            self._failed(found)
            return
        from logstore.broker.queues.journal import settlements_of

        self._ended = settlements_of(telling.journal).ended
        self._journaled = found.journaled
        self._offsets = self._groups.let_transactions_commit(
            found.journaled.staged, found.newest, telling, self.finished, self._call_later
        )
        self._queues.tell_decided(self._offsets.overtaken)
        self._load_from(telling, found.journaled)

    def _load_from(self, telling: "Telling", found: "Journaled") -> None:
        self._work(partial(self._read, telling, found), partial(self._was_read, telling))

    def _read(self, telling: "Telling", journaled: "Journaled") -> "_Known | LogstoreError":
        from logstore.broker.transacting.loading import load
        from logstore.broker.transactions.table import Table

        settings = self._store.directory.config.store
        try:
            self._pids += self._claimed()
            loaded = load(telling.journal, journaled, _Partitions(self._store))
        except LogstoreError as error:
            return error
        table = Table(journaled.ids(), settings.transaction_max_timeout_ms)
        return _Known(loaded, table)

    def _failed(self, error: LogstoreError) -> None:
        self._loading = False
        self._error = error
        log.error("transactions are not served: %s", error)
        self._tell(error)

    def _was_read(self, telling: "Telling", known: "_Known | LogstoreError") -> None:
        if self._over:
            return
        if isinstance(known, LogstoreError):
            self._failed(known)
            return
        from logstore.broker.transacting.coordinator import TransactionCoordinator
        from logstore.broker.transacting.loading import started

        loaded, table = known
        self._making = TransactionCoordinator(table, loaded.journaled.staged, telling, self)
        Slices(self._turn.soon).begin(started(loaded, self._making), self._open)

    def _open(self, error: LogstoreError | None) -> None:
        if self._over:
            return
        if error is not None:  # a bug; it was logged
            self._failed(error)
            return
        assert self._making is not None, "it was begun with"
        self._coordinator = self._making
        self._expire()
        self._tell(self._coordinator)

    # As Around

    def new_pid(self) -> int:
        """As Around.new_pid."""
        if len(self._pids) <= PIDS // 2 and not self._claiming:
            self._claiming = True
            self._work(self._claim, self._claim_done)
        return self._pids.popleft() if self._pids else self._store.topics.new_producer_id()

    def _claimed(self) -> list[int]:
        """New producer ids. Called from any thread. Raises Failed."""
        return [self._store.topics.new_producer_id() for _ in range(PIDS)]

    def _claim(self) -> None:
        try:
            self._pids += self._claimed()
        except LogstoreError as error:  # reported when an id is needed and none is left
            log.warning("no producer ids are claimed ahead: %s", error)

    def _claim_done(self, _: object) -> None:
        self._claiming = False

    def now(self) -> "Now":
        """As Around.now."""
        from logstore.broker.transactions.table import Now

        return Now(now_ms(), self._ticks_ms)

    @property
    def _ticks_ms(self) -> int:
        return int(self._turn.now() * 1000)  # as for groups: stands still while the loop does

    def soon(self, call: Callable[[], None]) -> None:
        """As Around.soon."""
        self._turn.soon(call)

    def alarm(self, ticks_ms: int) -> None:
        """As Around.alarm."""
        self._alarm.set(ticks_ms)

    def finished(self, place: int) -> None:
        """As Around.finished."""
        self._ended(place)
        self._trim_soon()

    def commit(self, committed: "Sequence[Committed]", place: int, done: "Done") -> None:
        """As Around.commit."""
        assert self._offsets is not None, "the journal was read before anything could end"
        self._offsets.commit(committed, place, done)

    def _call_later(self, call: Callable[[], None]) -> None:
        self._turn.call_at(self._turn.now() + LATER_S, lambda: None if self._over else call())

    # Its timers

    def _look(self) -> None:
        if self._making is not None and not self._over:
            self._making.look_at_times()

    def _expire(self) -> None:
        if self._coordinator is not None and not self._over:
            expiration_ms = self._store.directory.config.store.transactional_id_expiration_ms
            more = self._coordinator.expire(expiration_ms)
            self._alarm_expiry.set(self._ticks_ms + (EXPIRY_NEXT_MS if more else EXPIRY_EVERY_MS))

    def _trim_soon(self) -> None:
        if not self._trimming and not self._over:
            self._trimming = True
            self._alarm_trim.set(self._ticks_ms + TRIM_EVERY_MS)

    def _trim(self) -> None:
        self._work(self._journal.trim, self._trim_done)

    def _trim_done(self, _: object) -> None:
        self._trimming = False

    def close(self) -> None:
        """Close; open transactions remain open for the next process."""
        self._over = True
        self._coordinator = None
        self._waiting.clear()
        for it in (self._alarm, self._alarm_expiry, self._alarm_trim, self._alarm_waiting):
            it.stop()


def _loading() -> CoordinatorLoading:
    return CoordinatorLoading("transactions are being read: try again")


class _Read(NamedTuple):
    """The transactions found in the journal."""

    journaled: "Journaled"
    newest: "Sequence[tuple[int, Committed]]"


class _Known(NamedTuple):
    """The transactions found in the journal and the logs."""

    loaded: "Loaded"
    table: "Table"


def _read_journal(telling: "Telling") -> _Read | LogstoreError:
    from logstore.broker.queues.journal import settlements_of

    try:
        journaled = settlements_of(telling.journal).transactions()
    except LogstoreError as error:
        return error
    return _Read(journaled, journaled.newest())


class _Partitions:
    """The ``Logs`` at a start, for a worker."""

    def __init__(self, store: Internals) -> None:
        self._topics = store.topics
        self._directory = store.directory.writable()

    def log(self, place: tuple[bytes, int]) -> Log | None:
        """As Logs.log."""
        topic_id, partition = place
        topic = self._topics.by_uuid(topic_id)
        if topic is None or partition >= len(topic.partitions):
            return None
        return topic.partition(partition)

    def undecided(self, *, recover: bool) -> Iterator[tuple[tuple[bytes, int], Log]]:
        """As Logs.undecided. One that can't be opened keeps no other from it."""
        for name, entry in self._directory.entries():
            if entry.kind != TOPIC.name:
                continue
            for partition in range(entry.partitions):
                if not recover and not self._directory.is_recovered(entry, partition):
                    continue
                place = uuid_of(entry.id), partition
                try:
                    if self._directory.undecided(name, entry, partition) is not None:
                        log_ = self.log(place)
                        if log_ is not None:
                            yield place, log_
                except LogstoreError as error:
                    log.warning("its transactions stay as they are: %s", error)
