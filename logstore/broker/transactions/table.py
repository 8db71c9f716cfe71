"""All transactional ids of a store, as the coordinator holds them.

Each request returns the id's new value. If the value is pending, it is written to the journal
(``operations.py``), and then ``kept`` is called, or ``undone`` if the journal refuses it. When a
kept decision has reached all partitions, ``completed`` is called; until then its id accepts no
other request.

Pure: the caller reads two clocks, the wall clock for stored and displayed times, and a monotonic
clock for the timeouts of transactions.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from logstore.broker.transactions.deadlines import Deadlines
from logstore.broker.transactions.state import Outcome, State
from logstore.broker.transactions.transactional_id import (
    NEVER,
    NO_EPOCH,
    NO_PID,
    Missing,
    Producer,
    TransactionalId,
)
from logstore.errors import (
    ConcurrentTransactions,
    InvalidTransactionTimeout,
    Refused,
    Superseded,
    UnknownProducer,
)

NAME_BYTES_MAX: Final = 1024  # those of Kafka Streams, Connect and Flink have some 100
TIMEOUT_MS_MAX: Final = 900_000  # transaction.max.timeout.ms
# Of a store: 100 MB at the most. Flink may use a new one for each checkpoint and subtask, and come
# to more within transactional.id.expiration.ms: those unused for longest are forgotten earlier.
IDS_MAX: Final = 100_000
_IDS_SPARE: Final = 1000  # beyond that, until they are
AGAIN_MS: Final = 1000  # after a journal that was full, say
OPEN_MAX: Final = 10_000  # transactions: each delays all readers of committed records


class Now(NamedTuple):
    """The present time by both clocks."""

    ms: int  # since 1970
    ticks_ms: int  # since whenever; never goes back


class _Entry:
    __slots__ = ("before", "deadline_ms", "it")

    def __init__(self, it: TransactionalId, before: TransactionalId | None) -> None:
        self.it = it
        self.before = before  # while it is pending; None: there was none
        self.deadline_ms = 0  # of the open transaction


class Table:
    """The ids of one store. Calls are made one at a time."""

    def __init__(
        self, ids: Iterable[TransactionalId] = (), timeout_ms_max: int = TIMEOUT_MS_MAX
    ) -> None:
        """``ids``: from the journal."""
        self.timeout_ms_max = timeout_ms_max
        # The most recently changed entry is last.
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._names: dict[int, str] = {}  # by producer id, the one before included
        self._open: set[str] = set()
        self._deadlines = Deadlines()
        for it in sorted(ids, key=lambda it: it.since_ms):
            self._put(_Entry(it._replace(restored=True), None))

    # What there is

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str) -> TransactionalId | None:
        """Return the id of this name, or None."""
        entry = self._entries.get(name)
        return None if entry is None else entry.it

    def of_pid(self, pid: int) -> TransactionalId | None:
        """Return the id that has this producer id, or had it just before."""
        name = self._names.get(pid)
        return None if name is None else self.get(name)

    def ids(self) -> list[TransactionalId]:
        """Return all ids."""
        return [it.it for it in self._entries.values()]

    def each(self) -> Iterator[TransactionalId]:
        """Yield all ids, from any thread, during changes."""
        twice: set[str] = set()  # those that have another producer id before are found by both
        for pid in list(self._names):
            it = self.of_pid(pid)
            if it is None or it.name in twice:
                continue
            if it.previous_pid != NO_PID:
                twice.add(it.name)
            yield it

    def open_ids(self) -> list[TransactionalId]:
        """Return the ids with an open transaction, sorted by name."""
        return [self._entries[name].it for name in sorted(self._open)]

    @property
    def open(self) -> int:
        """The number of ids with an open transaction."""
        return len(self._open)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest open transaction began; None: there is none."""
        began = (self._entries[name].it.began_ms for name in self._open)
        return min((it for it in began if it != NEVER), default=None)

    # Requests

    def initialize(
        self,
        name: str,
        timeout_ms: int,
        asked: Producer,
        new_pid: Callable[[], int],
        now: Now,
        connection: int = 0,
    ) -> TransactionalId:
        """Start another producer (InitProducerId). ``asked``: the caller; -1 and -1: a new one.

        Not pending: the caller has got this producer already. Pending and aborting: the caller must
        ask again after the abort. Raises Refused, InvalidTransactionTimeout, and as
        ``TransactionalId.initialized``; Superseded.
        """
        _check_name(name)
        if (asked.pid < 0) is not (asked.epoch < 0):
            raise Refused("a producer that asks for another epoch gives its id and its epoch")
        if not 0 < timeout_ms <= self.timeout_ms_max:
            raise InvalidTransactionTimeout(
                f"transactional id {name!r}: a transaction.timeout.ms of {timeout_ms} is not "
                f"within 1 to {self.timeout_ms_max} (transaction.max.timeout.ms)"
            )
        entry = self._entries.get(name)
        if entry is None:
            if len(self._entries) >= IDS_MAX + _IDS_SPARE:
                raise ConcurrentTransactions(
                    f"{len(self._entries)} transactional ids are known, more than {IDS_MAX}: the"
                    " least recently used ones are being forgotten; try again"
                )
            it = TransactionalId.new(name, new_pid(), timeout_ms, now.ms)
            self._put(_Entry(it._replace(connection=connection), None))
            return it
        _check_connection(entry, connection)
        producer = None if asked == (NO_PID, NO_EPOCH) else asked
        return self._become(
            entry, entry.it.initialized(producer, timeout_ms, new_pid, now.ms), now, connection
        )

    def add(self, name: str, producer: Producer, now: Now, connection: int = 0) -> TransactionalId:
        """Begin or continue a transaction (AddPartitionsToTxn, AddOffsetsToTxn).

        Raises as ``TransactionalId.added``; Superseded.
        """
        entry = self._entry(name, producer)
        _check_connection(entry, connection)
        it = entry.it.added(producer, now.ms)
        self._check_room(entry)
        return self._become(entry, it, now, connection)

    def admit(self, name: str, producer: Producer, missing: Missing, now: Now) -> TransactionalId:
        """Admit a batch, or offsets, of a transaction (Produce, TxnOffsetCommit).

        Clients send these on separate connections. Raises as ``TransactionalId.admitted``.
        """
        entry = self._entry(name, producer)
        it = entry.it.admitted(producer, missing, now.ms)
        self._check_room(entry)
        return self._become(entry, it, now)

    def verify(self, name: str, producer: Producer, missing: Missing, now: Now) -> None:
        """Check whether ``admit`` would succeed, and raise its errors; nothing begins."""
        self._entry(name, producer).it.admitted(producer, missing, now.ms)

    def end(
        self,
        name: str,
        producer: Producer,
        outcome: Outcome,
        version: int,
        new_pid: Callable[[], int],
        now: Now,
        connection: int = 0,
    ) -> TransactionalId:
        """Commit or abort (EndTxn). ``version``: TV1 up to v4 of the call, TV2 from v5 on.

        Not pending: it is done already, and the producer is told its present id and epoch. Raises
        as ``TransactionalId.ended``; Superseded.
        """
        entry = self._entry(name, producer)
        _check_connection(entry, connection)
        it = entry.it.ended(producer, outcome, version, new_pid, now.ms)
        return self._become(entry, it, now, connection)

    def fence(self, name: str, new_pid: Callable[[], int], now: Now) -> TransactionalId:
        """Abort an open, undecided transaction; its producer is fenced. The result is pending."""
        entry = self._entries[name]
        return self._become(entry, entry.it.fenced(new_pid, now.ms), now)

    def reopen(self, pid: int, epoch: int, now: Now) -> bool:
        """Resume, at a start, a transaction of this producer with data or offsets and no decision.

        Decided transactions must have reached all partitions before. False: the producer was
        fenced, or its id has expired; the caller must abort what is open.
        """
        name = self._names.get(pid)
        if name is None:
            return False
        entry = self._entries[name]
        if entry.it.producer != (pid, epoch):
            return False
        if entry.it.state is not State.ONGOING:
            self._become(entry, entry.it.begun(now.ms), now)
        return True

    # Results of pending changes

    def kept(self, name: str) -> TransactionalId:
        """Note that the journal has the change safe."""
        entry = self._entries[name]
        entry.before = None
        return self._set(entry, entry.it.kept())

    def undone(self, name: str, now: Now) -> None:
        """Undo the change: the journal has refused it."""
        entry = self._entries[name]
        assert entry.it.pending
        before, entry.before = entry.before, None
        if before is None:
            self._remove(name)
        else:
            # Had it taken too long, it is due again, but not for as long as this turn goes on.
            entry.deadline_ms = max(entry.deadline_ms, now.ticks_ms + AGAIN_MS)
            self._set(entry, before)

    def completed(self, name: str) -> TransactionalId:
        """Note that the decision has reached all partitions."""
        entry = self._entries[name]
        return self._set(entry, entry.it.completed())

    # Times

    @property
    def next_due_ms(self) -> int | None:
        """When ``due`` must be called next, by the clock that never goes back."""
        return self._deadlines.next

    def put_off(self, name: str, now: Now) -> None:
        """Postpone the deadline: the id was due, and cannot be fenced now."""
        entry = self._entries[name]
        entry.deadline_ms = now.ticks_ms + AGAIN_MS
        self._deadlines.set(name, entry.deadline_ms)

    def due(self, now: Now) -> str | None:
        """Return an id whose transaction has timed out, once: the caller must fence it. None: none
        has.
        """
        return self._deadlines.due(now.ticks_ms)

    def expire(self, now: Now, expiration_ms: int, most: int) -> list[str]:
        """Forget ids not used for ``expiration_ms``, or the least recently used if there are too
        many.

        Looks at up to ``most`` ids. Returns the forgotten ones, which must be journaled.
        """
        found: list[str] = []
        for _ in range(min(most, len(self._entries))):
            name, entry = next(iter(self._entries.items()))
            if entry.it.pending or entry.it.is_open:
                self._entries.move_to_end(name)  # its change is to come
            elif entry.it.is_expired(now.ms, expiration_ms) or len(self._entries) > IDS_MAX:
                self._remove(name)
                found.append(name)
            else:
                break
        return found

    # Changes

    def _entry(self, name: str, producer: Producer) -> _Entry:
        _check_name(name)
        entry = self._entries.get(name)
        if entry is None:
            raise UnknownProducer(
                f"transactional id {name!r} has no producer: it was never initialized, or is "
                f"expired"
            )
        if producer.pid < 0 or producer.epoch < 0:
            raise UnknownProducer(f"transactional id {name!r}: no producer was given")
        return entry

    def _become(
        self, entry: _Entry, it: TransactionalId, now: Now, connection: int = 0
    ) -> TransactionalId:
        before = entry.it
        if connection > it.connection:
            it = it._replace(connection=connection)
        if it is before:
            return it
        if it.pending:
            entry.before = before
        if it.state is State.ONGOING and before.state is not State.ONGOING:
            entry.deadline_ms = now.ticks_ms + it.timeout_ms
        return self._set(entry, it)

    def _check_room(self, entry: _Entry) -> None:
        if len(self._open) >= OPEN_MAX and not entry.it.is_open:
            raise ConcurrentTransactions(
                f"{OPEN_MAX} transactions are open, which is the maximum: try again"
            )

    def _set(self, entry: _Entry, it: TransactionalId) -> TransactionalId:
        """Replace the entry's id in one step, since other threads may list them."""
        before, entry.it = entry.it, it
        for pid in (before.pid, before.previous_pid):
            if pid not in (NO_PID, it.pid, it.previous_pid):
                del self._names[pid]
        if not it.is_open:
            self._open.discard(it.name)
        if it.state is not State.ONGOING:
            self._deadlines.drop(it.name)
        self._entries.move_to_end(it.name)
        self._put(entry)
        return it

    def _put(self, entry: _Entry) -> None:
        it = entry.it
        self._entries[it.name] = entry
        self._names[it.pid] = it.name
        if it.previous_pid != NO_PID:
            self._names[it.previous_pid] = it.name
        if it.is_open:
            self._open.add(it.name)
        if it.state is State.ONGOING:
            self._deadlines.set(it.name, entry.deadline_ms)

    def _remove(self, name: str) -> None:
        it = self._entries.pop(name).it
        del self._names[it.pid]
        if it.previous_pid != NO_PID:
            del self._names[it.previous_pid]
        self._open.discard(name)
        self._deadlines.drop(name)


def _check_name(name: str) -> None:
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
        raise Refused(
            f"a transactional id has 1 to {NAME_BYTES_MAX} bytes, {name[:60]!r} has "
            f"{len(name.encode())}"
        )


def _check_connection(entry: _Entry, connection: int) -> None:
    """Refuse a request of an older connection, which may be about an earlier transaction."""
    if connection < entry.it.connection:
        raise Superseded(
            f"a newer connection has spoken for transactional id {entry.it.name!r}: connect again"
        )
