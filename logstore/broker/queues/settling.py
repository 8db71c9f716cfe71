"""The common part of transactions at all doors to the queues, and in the library."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from logstore.broker.queues.message import Message
from logstore.broker.queues.named import Named
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.station import Route
from logstore.broker.queues.transaction import Transaction as Held
from logstore.broker.queues.unacked import Delivered
from logstore.errors import LogFailed, LogstoreError

Outgoing = tuple[Route, Message]  # a message, and where it goes
Group = Delivered[Named, Any]  # delivered messages of one queue
Verdict = Callable[[Group], None]  # what becomes of them

SETTLEMENT_BYTES: Final = 128  # of one that is held back
MESSAGE_BYTES: Final = 256  # of a message that waits, beside what it holds
# Of bodies, unless it is one message: they are one record of the journal.
BODIES_BYTES_MAX: Final = 16 << 20


def settled(it: Group) -> None:
    """Settle the messages."""
    it.queue.settle(it)


def released(it: Group) -> None:
    """Return the messages to their places in the queue."""
    it.queue.release(it)


def rejected(it: Group) -> None:
    """Reject the messages."""
    it.queue.reject(it)


def bytes_of(run: Sequence[Outgoing]) -> int:
    """Return the memory that the messages take, in bytes."""
    return sum(len(it.body) + len(it.properties) + len(it.key) + MESSAGE_BYTES for _, it in run)


class Settling:
    """The settlements in one transaction: added to ``held``, and completed after it happened."""

    __slots__ = ("_acked", "_after", "_ended")

    def __init__(self, verdicts: Iterable[tuple[Verdict, Group]], held: Held) -> None:
        self._acked: list[Group] = []
        self._ended: list[Group] = []
        self._after: list[tuple[Verdict, Group]] = []
        for verdict, group in verdicts:
            if group.queue.gone:
                self._after.append((verdict, group))
            elif group.queue.not_in_transactions is not None:
                held.refused = group.queue.not_in_transactions
                self._ended.append(group)
            elif not isinstance(group.queue, Queue):  # of a stream nothing is kept
                self._after.append((verdict, group))
            elif verdict is settled:
                held.settle(group.queue, group.lane, group.first, group.bits)
                self._ended.append(group)
                self._acked.append(group)
            elif verdict is rejected and group.queue.reject_with(group, held):
                self._ended.append(group)
            else:
                self._after.append((verdict, group))

    def done(self, error: LogstoreError | None) -> None:
        """Note the result of the transaction."""
        if error is None:
            for group in self._acked:
                group.queue.count_acked(group)
            for verdict, group in self._after:
                verdict(group)
        elif not isinstance(error, LogFailed):  # otherwise unknown until the next start
            for group in [*self._ended, *(it for _, it in self._after)]:
                group.queue.release(group, failed=False)
