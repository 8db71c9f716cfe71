"""One transactional id as a value, and the effect of each request (KIP-98, 360, 588, 890). Pure.

A step returns another value, or the same one if there is nothing to do, or raises the client's
error. A *pending* value must not take effect until it is safe in the journal. Until then, all
requests for the id are refused as concurrent, before any other check, because its producer may have
the previous epoch or the next.

Each new producer raises the epoch, and, for clients with ``transaction.version`` 2, so does each
end of a transaction; so nothing that was sent in one transaction can become a part of the next. The
highest epoch, 32767, is used for markers only: after 32766, a new producer id is given.

It is stricter than Kafka in one point: a producer with an old epoch that requests a new one while a
transaction is open is fenced immediately. Kafka first aborts the transaction, which belongs to
another producer.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple

from logstore.broker.transactions.state import (
    COMPLETE,
    OUTCOME,
    PREPARE,
    PREPARING,
    Outcome,
    State,
    may_follow,
)
from logstore.errors import (
    ConcurrentTransactions,
    FencedProducer,
    InvalidTransactionState,
    LogstoreError,
    TransactionAbortable,
    UnknownProducer,
)

NO_PID: Final = -1
NO_EPOCH: Final = -1
NEVER: Final = -1  # a time
EPOCH_MAX: Final = 2**15 - 1  # of a marker
EXHAUSTED: Final = EPOCH_MAX - 1  # no producer has a higher one
NO_VERSION, TV1, TV2 = 0, 1, 2  # transaction.version, as the last end was asked for


class Producer(NamedTuple):
    """One producer of a transactional id. Only the latest is valid; all earlier ones are fenced."""

    pid: int
    epoch: int


class Missing(Enum):
    """What happens to a batch, or to offsets, whose producer has no open transaction (KIP-890).

    It depends on the version of the request, because older clients do not know all errors.
    """

    REFUSED = auto()
    ABORTABLE = auto()  # refused with an error after which the client goes on
    ADDED = auto()  # the batch, or the offsets, begin a transaction


def missing_in_produce(version: int) -> Missing:
    """Return how this version of Produce treats a batch without an open transaction."""
    return Missing.ADDED if version >= 12 else Missing.ABORTABLE if version == 11 else _REFUSED


def missing_in_offset_commit(version: int) -> Missing:
    """Return how this version of TxnOffsetCommit treats offsets without an open transaction."""
    return Missing.ADDED if version >= 5 else Missing.ABORTABLE if version == 4 else _REFUSED


_REFUSED: Final = Missing.REFUSED


class TransactionalId(NamedTuple):
    """One transactional id. Times are in ms of the wall clock."""

    name: str
    pid: int
    epoch: int
    timeout_ms: int  # of its transactions
    since_ms: int  # when its state has changed
    last_epoch: int = NO_EPOCH  # of the earlier producer, if it may repeat its request
    previous_pid: int = NO_PID  # the same, where the producer id has changed
    next_pid: int = NO_PID  # once the transaction is complete, as the epochs of this one are used
    version: int = NO_VERSION  # by which its last transaction was ended
    state: State = State.EMPTY
    began_ms: int = NEVER  # the open transaction
    pending: bool = False
    connection: int = 0  # the newest connection that has used it
    # Loaded at a start, and not heard of since. A transaction may have been open of which nothing
    # was written yet: its producer goes on as if it still were.
    restored: bool = False

    @property
    def producer(self) -> Producer:
        """The present producer."""
        return Producer(self.pid, self.epoch)

    @property
    def outcome(self) -> Outcome:
        """How the present or last transaction ends."""
        return OUTCOME[self.state]

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction, perhaps a decided one."""
        return self.state is State.ONGOING or self.state in PREPARING

    # A producer

    @classmethod
    def new(cls, name: str, pid: int, timeout_ms: int, now_ms: int) -> "TransactionalId":
        """Return an id with its first producer. Pending."""
        return cls(name, pid, 0, timeout_ms, now_ms, pending=True)

    def initialized(
        self, asked: Producer | None, timeout_ms: int, new_pid: Callable[[], int], now_ms: int
    ) -> "TransactionalId":
        """Return the id with another producer, or with the caller at another epoch.

        The same value: the caller asks again for what it has got. Aborting, pending: a transaction
        is open, and the caller must ask again once that is complete. Raises FencedProducer,
        ConcurrentTransactions, and the errors of ``new_pid``.
        """
        self._check_pending()
        if asked is not None and asked.pid != self.pid and not self._has_replaced(asked):
            raise self._fenced(asked)
        self._check_decided()
        if self.state is State.ONGOING:
            if asked is not None and asked != self.producer:
                raise self._fenced(asked)
            return self.fenced(new_pid, now_ms)
        if asked is not None and asked.epoch != self.epoch:
            if asked.epoch != self.last_epoch:
                raise self._fenced(asked)
            return self  # no other producer since: it would have no last epoch
        last_epoch = NO_EPOCH if asked is None else self.epoch
        pid, epoch, previous_pid = self.pid, self.epoch + 1, NO_PID
        if self.epoch >= EXHAUSTED:
            pid, epoch, previous_pid = new_pid(), 0, self.pid
        return self._before(
            self._replace(
                state=State.EMPTY,
                since_ms=now_ms,
                pid=pid,
                epoch=epoch,
                last_epoch=last_epoch,
                previous_pid=previous_pid,
                timeout_ms=timeout_ms,
                restored=False,
                pending=True,
            )
        )

    def kept(self) -> "TransactionalId":
        """Return the id as no longer pending: the journal has it safe."""
        assert self.pending
        return self._replace(pending=False)

    # A transaction

    def added(self, producer: Producer, now_ms: int) -> "TransactionalId":
        """Begin or continue the transaction (AddPartitionsToTxn, AddOffsetsToTxn).

        Raises ConcurrentTransactions, UnknownProducer, FencedProducer.
        """
        it = self._within(producer, now_ms)
        return it._replace(restored=False) if it.restored else it

    def admitted(self, producer: Producer, missing: Missing, now_ms: int) -> "TransactionalId":
        """Admit a batch, or offsets, of the producer's transaction.

        Raises ConcurrentTransactions, UnknownProducer, FencedProducer, InvalidTransactionState,
        TransactionAbortable.
        """
        if missing is Missing.ADDED or self.restored:
            return self._within(producer, now_ms)
        self._check(producer)
        self._check_decided()
        if self.state is State.ONGOING:
            return self
        refusal = TransactionAbortable if missing is Missing.ABORTABLE else InvalidTransactionState
        raise refusal(
            f"transactional id {self.name!r} has no open transaction: it is {self.state.wire_name}"
        )

    def _within(self, producer: Producer, now_ms: int) -> "TransactionalId":
        self._check(producer)
        self._check_decided()
        return self if self.state is State.ONGOING else self.begun(now_ms)

    def begun(self, now_ms: int) -> "TransactionalId":
        """Return the id with an open transaction."""
        began = self._replace(
            state=State.ONGOING, since_ms=now_ms, began_ms=now_ms, previous_pid=NO_PID
        )
        return self._before(began)

    def ended(
        self,
        producer: Producer,
        outcome: Outcome,
        version: int,
        new_pid: Callable[[], int],
        now_ms: int,
    ) -> "TransactionalId":
        """Commit or abort. ``version``: TV2 raises the epoch, TV1 does not.

        Returns the pending decision; or the same value, if the decision is made and complete.
        Raises ConcurrentTransactions, UnknownProducer, FencedProducer, InvalidTransactionState, and
        the errors of ``new_pid``.
        """
        self._check_pending()
        if version == TV1:
            return self._ended_plainly(producer, outcome, now_ms)
        again = self.epoch > 0 and producer == (self.pid, self.epoch - 1)
        rotated = self.epoch == 0 and self._has_replaced(producer)
        if not rotated:
            self._check_pid(producer)
        if self.state in PREPARING:
            if not again:
                raise self._fenced(producer)
            raise self._concurrent() if outcome is self.outcome else self._misfit(outcome)
        if producer == self.producer:
            if self.state is not State.ONGOING and outcome is Outcome.COMMIT:
                raise self._misfit(outcome)
            return self._decided(outcome, new_pid, now_ms)
        if not (again or rotated) or self.state in (State.ONGOING, State.EMPTY):
            raise self._fenced(producer)
        if outcome is not self.outcome:
            raise self._misfit(outcome)
        return self

    def _ended_plainly(
        self, producer: Producer, outcome: Outcome, now_ms: int
    ) -> "TransactionalId":
        """End the transaction for clients without transaction.version 2."""
        self._check(producer)
        if self.state is PREPARE[outcome]:
            raise self._concurrent()
        if self.state is COMPLETE[outcome]:
            return self
        it = self
        if self.restored and not self.is_open:
            it = self.begun(now_ms)
        if it.state is not State.ONGOING:
            raise self._misfit(outcome)
        decided = it._replace(
            state=PREPARE[outcome],
            since_ms=now_ms,
            version=TV1,
            restored=False,
            pending=True,
        )
        return it._before(decided)

    def fenced(self, new_pid: Callable[[], int], now_ms: int) -> "TransactionalId":
        """Abort the open transaction and fence its producer. Raises as ``new_pid``.

        It has timed out, another producer has started, or an operator has asked for it. The epoch
        is raised once, for the marker (KAFKA-19367).
        """
        assert self.state is State.ONGOING
        return self._decided(Outcome.ABORT, new_pid, now_ms)

    def _decided(
        self, outcome: Outcome, new_pid: Callable[[], int], now_ms: int
    ) -> "TransactionalId":
        return self._before(
            self._replace(
                state=PREPARE[outcome],
                since_ms=now_ms,
                version=TV2,
                epoch=self.epoch + 1,
                last_epoch=self.epoch,
                previous_pid=NO_PID,
                next_pid=new_pid() if self.epoch >= EXHAUSTED else NO_PID,
                began_ms=now_ms if self.began_ms == NEVER else self.began_ms,
                restored=False,
                pending=True,
            )
        )

    def completed(self) -> "TransactionalId":
        """Return the id after its decision has reached all partitions."""
        assert not self.pending
        it = self._replace(state=COMPLETE[self.outcome], began_ms=NEVER)
        if self.next_pid != NO_PID:
            it = it._replace(pid=self.next_pid, epoch=0, next_pid=NO_PID, previous_pid=self.pid)
        return self._before(it)

    def is_expired(self, now_ms: int, expiration_ms: int) -> bool:
        """Whether the id may be forgotten: it was not used for long, and nothing is open."""
        return not (self.pending or self.is_open) and self.since_ms + expiration_ms <= now_ms

    def _before(self, it: "TransactionalId") -> "TransactionalId":
        """Return the next value of the id, with its transition checked."""
        assert may_follow(it.state, self.state, bumps=it.version == TV2), (self, it)
        assert 0 <= it.epoch <= (EPOCH_MAX if it.state in PREPARING else EXHAUSTED), it
        return it

    # Checks, and what they raise

    def _check(self, producer: Producer) -> None:
        self._check_pending()
        self._check_pid(producer)
        if producer.epoch != self.epoch:
            raise self._fenced(producer)

    def _has_replaced(self, producer: Producer) -> bool:
        """Whether the former producer id had no epochs left, and ``producer`` was its last."""
        return self.previous_pid != NO_PID and producer == (self.previous_pid, EXHAUSTED)

    def _check_pending(self) -> None:
        if self.pending:
            raise self._concurrent()

    def _check_decided(self) -> None:
        if self.state in PREPARING:
            raise self._concurrent()

    def _check_pid(self, producer: Producer) -> None:
        if producer.pid != self.pid:
            # Its owner is not named, because no other client may learn a producer id.
            raise UnknownProducer(
                f"transactional id {self.name!r} has another producer id than {producer.pid}"
            )

    def _concurrent(self) -> LogstoreError:
        return ConcurrentTransactions(
            f"transactional id {self.name!r} is in the middle of a change: try again"
        )

    def _fenced(self, producer: Producer) -> LogstoreError:
        return FencedProducer(
            f"producer {producer.pid} of transactional id {self.name!r} has epoch "
            f"{producer.epoch}, and another one has taken its place"
        )

    def _misfit(self, outcome: Outcome) -> LogstoreError:
        return InvalidTransactionState(
            f"transactional id {self.name!r} can't {outcome.name.lower()}: it is "
            f"{self.state.wire_name}"
        )
