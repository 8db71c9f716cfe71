"""All roaming queues of a process: the journal's partition of each, and the node that serves it.

A queue's number determines its partition. If this node owns the partition, the queue's seat is
here; if another node does, it is there; otherwise it has none, and its consumers wait.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from logstore.broker.policies import Policy
from logstore.broker.queues.holding import Holding
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.named import Named
from logstore.broker.queues.queue import Home
from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.roaming.nowhere import Nowhere
from logstore.broker.queues.roaming.outlets import Outlets
from logstore.broker.queues.roaming.partition import Around, JournalPartition
from logstore.broker.queues.roaming.queue import RoamingQueue, check
from logstore.broker.queues.roaming.seat import Seat
from logstore.broker.queues.roaming.served import Standing, Unquestioned
from logstore.broker.queues.transaction import Transaction
from logstore.counts.queues import QueueTotals
from logstore.errors import LogstoreError
from logstore.kept.queues import Lane
from logstore.log import Log

PARKED_BYTES_MAX: Final = 16 << 20  # of messages that wait for logs which are being opened

log: Final = logging.getLogger("logstore.queues")


class Elsewhere(Protocol):
    """What is known about other nodes."""

    def seat(self, queue: RoamingQueue, partition: int, home: Home) -> Seat | None:
        """Return the queue's seat at the node that owns the partition; None: no other node is known
        to.
        """


class Lanes(Protocol):
    """What is known about the logs of queues."""

    def lanes_of(self, queue: int) -> Sequence[int]:
        """Return the priorities of the existing lanes of the queue."""

    def delete_all(self, queue: int) -> None:
        """Delete the messages of the queue. May take long. Raises LogstoreError."""

    @property
    def crowded(self) -> bool:
        """Whether the cluster is behind with appended records."""


def _lasts(transaction: Transaction) -> bool:
    """Whether the transaction publishes to a queue that outlives the process."""
    return any(it.facts.lasts for part in transaction.parts for it, _ in part.targets)


class Roamers:
    """The roaming queues. In the sessions' thread, except what workers do."""

    def __init__(
        self, around: Around, lanes: Lanes, elsewhere: Elsewhere, partitions: int,
        totals: QueueTotals,
    ) -> None:  # fmt: skip
        """``partitions``: how many the journal has."""
        self.totals = totals
        self._around = around
        self._lanes = lanes
        self._elsewhere = elsewhere
        self._partitions = partitions
        self._owned: dict[int, JournalPartition] = {}
        self._homes: dict[RoamingQueue, Home] = {}
        self._parked = 0
        self._opening: dict[Lane, list[Callable[[Log | LogstoreError], None]]] = {}

    def clock(self) -> int:
        """As ``Roamers.clock`` of queue.py."""
        return self._around.clock()

    def alarm(self, queue: RoamingQueue, at_ms: int) -> None:
        """As ``Roamers.alarm`` of queue.py."""
        self._around.alarm(queue, at_ms)

    def partition_of(self, queue: int) -> int:
        """Return the partition of the journal for this queue number."""
        return queue % self._partitions

    def is_of(self, number: int, queue: Named) -> bool:
        """Return whether it is a roaming queue, and of this partition."""
        return queue in self._homes and self.partition_of(queue.id) == number

    def make(
        self, number: int, facts: QueueFacts, home: Home, policy: Policy | None
    ) -> RoamingQueue:
        """Create a queue that is new here, with a seat. Raises InvalidQueueArgument,
        NotAmongNodes.
        """
        queue = RoamingQueue(number, facts, self, policy, Outlets(number, self))
        check(facts, queue.limits)
        self._homes[queue] = home
        self._seat(queue)
        return queue

    def queues(self) -> Sequence[RoamingQueue]:
        """Return all queues."""
        return list(self._homes)

    # Ownership of partitions

    @property
    def owned(self) -> Mapping[int, JournalPartition]:
        """The partitions that this node owns, by number."""
        return self._owned

    def own(self, number: int, journal: Log, standing: Standing | None = None) -> None:
        """Take over a partition. Raises SchemaTooNew, CorruptStore.

        ``standing``: tells whether this node still owns it; None: no other node can own it.
        """
        self._owned[number] = partition = JournalPartition(
            number, journal, self._around, standing or Unquestioned()
        )
        partition.forget_all_but([it.id for it in self._homes])
        self._seat_all(number)

    def leave(self, number: int) -> None:
        """Prepare to give up a partition: its consumers move on, which does not count as leaving a
        queue.
        """
        partition = self._owned.get(number)
        if partition is not None:
            partition.leave()

    def lose(self, number: int, *, told: bool = False) -> None:
        """Give up a partition. ``told``: settlements can still be journaled."""
        partition = self._owned.pop(number, None)
        if partition is None:
            return
        if told:
            partition.close()
        self._seat_all(number)
        if not told:
            partition.lose()

    def moved(self, number: int) -> None:
        """Handle a change of the partition's owner, or of the connection to it."""
        if number not in self._owned:
            self._seat_all(number)

    def _seat_all(self, number: int) -> None:
        for queue in list(self._homes):
            if self.partition_of(queue.id) == number:
                self._seat(queue)

    def _seat(self, queue: RoamingQueue) -> None:
        number, home = self.partition_of(queue.id), self._homes[queue]
        partition = self._owned.get(number)
        if partition is not None:
            queue.sit(partition.seat(queue, home, self._lanes.lanes_of(queue.id)))
            return
        queue.sit(self._elsewhere.seat(queue, number, home) or Nowhere(queue.facts.name))

    def lanes_came(self, numbers: Collection[int]) -> None:
        """Note that these queues have new logs."""
        for number in numbers:
            its = self._owned.get(self.partition_of(number))
            if its is not None:
                its.lanes_came(number, self._lanes.lanes_of(number))

    def holding_of(self, transaction: Transaction) -> Holding | None:
        """Return the held transactions of the one partition that this transaction is in; None: it
        is in none.

        A transaction in several partitions, or with lasting messages, is refused.
        """
        partitions: dict[JournalPartition | None, bytes] = {}
        for queue in {it.queue: None for it in transaction.endings}:
            if queue.facts.lasts:
                its = self._owned.get(self.partition_of(queue.id))
                partitions[its if its is not None and its.has(queue) else None] = queue.facts.name
        found = next(iter(partitions), None)
        if found is None and len(partitions) < 2:
            return None
        brings = transaction.entries or transaction.commits or transaction.ahead
        if len(partitions) > 1 or brings or _lasts(transaction):
            name = next(name for its, name in partitions.items() if its is not None)
            transaction.refused = NotAmongNodes(
                name, "transactions with more than acknowledgements of queues of one partition"
            )
        return found.holding if found is not None else None

    # What queues ask

    def nowhere(self, queue: RoamingQueue) -> Seat:
        """As ``Roamers.nowhere`` of queue.py."""
        return Nowhere(queue.facts.name)

    def left(self, queue: RoamingQueue) -> None:
        """As ``Roamers.left`` of queue.py."""
        self._homes.pop(queue, None)
        partition = self._owned.get(self.partition_of(queue.id))
        if partition is not None:
            partition.unseat(queue)

    def delete_topic(
        self, queue: RoamingQueue, then: Callable[[LogstoreError | None], None]
    ) -> None:
        """As ``Roamers.delete_topic`` of queue.py."""
        self._delete_all(queue.id, then)

    def _delete_all(self, queue: int, then: Callable[[LogstoreError | None], None]) -> None:
        def delete() -> LogstoreError | None:
            try:
                self._lanes.delete_all(queue)
            except LogstoreError as error:
                return error
            return None

        self._around.work(delete, then)

    # As Opener

    @property
    def crowded(self) -> bool:
        """Whether too much waits, so that no more publishes are to be read now."""
        return (
            self._parked > PARKED_BYTES_MAX
            or self._lanes.crowded
            or any(it.crowded for it in self._owned.values())
        )

    def unmake(self, queue: int) -> None:
        """As Opener.unmake."""

        def deleted(error: LogstoreError | None) -> None:
            if error is not None:
                log.warning("what queue %d had, which is deleted, is left: %s", queue, error)

        self._delete_all(queue, deleted)

    def parked(self, size: int) -> None:
        """As Opener.parked."""
        self._parked += size

    def open(self, queue: int, lane: int, then: Callable[[Log | LogstoreError], None]) -> None:
        """As ``Opener.open``: one worker for each lane, for all callers meanwhile."""
        its = Lane(queue, lane)
        waiting = self._opening.setdefault(its, [])
        waiting.append(then)
        if len(waiting) > 1:
            return

        def work() -> Log | LogstoreError:
            try:
                return self._around.logs.open(its, {})
            except LogstoreError as error:
                return error

        def opened(found: Log | LogstoreError) -> None:
            for call in self._opening.pop(its):
                call(found)

        self._around.work(work, opened)

    # Its end

    def close(self) -> None:
        """Journal all settlements and wait until they are safe. Consumers must be
        cancelled before.
        """
        for partition in self._owned.values():
            partition.close()
        for partition in self._owned.values():
            try:
                partition.wait()
            except LogstoreError as error:
                log.warning("what was settled may come again: %s", error)
        self._owned.clear()
