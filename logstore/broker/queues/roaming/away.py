"""The seat of a queue that another node owns: its consumers are that one's, by the link to it.

While there is no link, or the owner does not know yet that it owns the queue, consumers wait, and
are subscribed again after a while.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from logstore.amqp.fields import text
from logstore.broker.policies import Policy
from logstore.broker.queues.away.consumer import FarConsumer, Wanted
from logstore.broker.queues.away.owner import Owner
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import Limits, QueueFacts
from logstore.broker.queues.queue import Then
from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.unacked import Delivered
from logstore.counts.queues import QueueCounts
from logstore.errors import Failed, LogstoreError, NotOwned
from logstore.log import Log
from logstore.relay.messages import Counts

log: Final = logging.getLogger("logstore.queues")

Group = Delivered[Any, Any]


class Away:
    """A ``Seat``; and what stands for the queue in the channels of its consumers."""

    dropped = dying = 0
    failed: LogstoreError | None = None
    lanes: Sequence[Lane] = ()
    active: Subscription | None = None
    topic_name: str | None = None

    def __init__(
        self,
        wanted: Wanted,
        owner: Owner,
        facts: QueueFacts,
        limits: Limits,
        counts: QueueCounts,
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        """``later`` has something called in a while."""
        self.id = wanted.number
        self.facts = facts
        self.limits = limits
        self.counts = counts
        self.gone = False
        self.not_in_transactions = NotAmongNodes(
            facts.name, "transactions at a node that does not own the queue"
        )
        self._wanted = wanted
        self._owner = owner
        self._later = later
        self._found: Counts | None = None  # as the owner has told last
        self._there: dict[Subscription, FarConsumer | None] = {}  # None: it waits
        self._trying = False  # again, in a while

    def __repr__(self) -> str:
        return f"<Away {self.facts.name!r}>"

    # What there is

    @property
    def ready(self) -> int:
        """As the owner has told last."""
        return 0 if self._found is None else self._found.ready

    @property
    def out(self) -> int:
        """Likewise."""
        return 0 if self._found is None else self._found.out

    @property
    def opened(self) -> bool:
        """Whether it has told that."""
        return self._found is not None

    def is_open(self) -> bool:
        """The same; else it is asked."""
        if self._found is None:
            self.when_open(_nothing)
        return self._found is not None

    def when_open(self, call: Callable[[], None]) -> None:
        """Call it once the owner has told what there is now, or does not."""

        def told(found: Counts | LogstoreError) -> None:
            if isinstance(found, Counts):
                self._found = found
            call()

        self._owner.look(self._wanted, told)

    def logs(self) -> Sequence[Log]:
        """None: they are the owner's to read."""
        return ()

    def heads(self) -> Sequence[tuple[Log, int]]:
        """Likewise."""
        return ()

    def used(self) -> None:
        """The owner knows who has used it."""

    def govern(self, policy: Policy | None) -> None:
        """The owner has the same policies."""

    # Consumers

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """Those of this node."""
        return list(self._there)

    def subscribe(self, subscription: Subscription) -> None:
        """Have it served by the owner. Where that refuses it, it is cancelled."""
        self._there[subscription] = None
        self._subscribe(subscription)

    def _subscribe(self, subscription: Subscription) -> None:
        if not self._owner.ready:
            self._try_again()
            return

        def told(error: LogstoreError | None) -> None:
            if error is None or subscription not in self._there:
                return
            if isinstance(error, NotOwned | Failed):
                self._there[subscription] = None
                self._try_again()
                return
            del self._there[subscription]
            log.info("a consumer of queue %r: %s", text(self.facts.name), error)
            subscription.cancelled()

        self._there[subscription] = self._owner.subscribe(self._wanted, self, subscription, told)

    def lost(self, consumer: FarConsumer) -> None:
        """The owner gives it nothing any more: it is one no longer, or can't be reached."""
        if self._there.get(consumer.subscription) is consumer:
            self._there[consumer.subscription] = None
            self._try_again()

    def _try_again(self) -> None:
        if not self._trying and not self.gone:
            self._trying = True
            self._later(self._again)

    def _again(self) -> None:
        self._trying = False
        if not self.gone:
            for it in [it for it, consumer in self._there.items() if consumer is None]:
                self._subscribe(it)

    def unsubscribe(self, subscription: Subscription) -> None:
        """As Seat.unsubscribe."""
        consumer = self._there.pop(subscription, None)
        if consumer is not None:
            self._owner.unsubscribe(consumer)

    def wake(self) -> None:
        """As Seat.wake."""
        for consumer in self._there.values():
            if consumer is not None:
                self._owner.wake(consumer)

    # Messages

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As Seat.get; nothing where the owner can't be asked."""

        def got(found: Got | LogstoreError | None) -> None:
            if isinstance(found, LogstoreError):
                log.info("queue %r can't be fetched from: %s", text(self.facts.name), found)
                found = None
            then(found)

        self._owner.get(self._wanted, self, channel, no_ack, got)

    def purge(self, then: Callable[[int], None]) -> None:
        """As Seat.purge; nothing where the owner can't be asked."""

        def purged(total: int | LogstoreError) -> None:
            if isinstance(total, LogstoreError):
                log.info("queue %r can't be purged: %s", text(self.facts.name), total)
                total = 0
            then(total)

        self._owner.purge(self._wanted, purged)

    # As the queue of what was delivered

    def settle(self, delivered: Group) -> None:
        """As Named.settle."""
        self._owner.settle(delivered)

    def count_acked(self, delivered: Group) -> None:
        """The owner counts."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """As Named.release."""
        self._owner.release(delivered, failed=failed)

    def reject(self, delivered: Group) -> None:
        """As Named.reject."""
        self._owner.reject(delivered)

    def reject_with(self, delivered: Group, held: Transaction) -> bool:
        """As Queue.reject_with: never a part of a transaction."""
        return False

    # Its end

    def drop(self) -> None:
        """As Seat.drop."""
        for it in self.vacate():
            it.cancelled()

    def vacate(self) -> Sequence[Subscription]:
        """As Seat.vacate. What is out is settled with the owner still, as long as it is one."""
        self.gone = True
        there, self._there = self._there, {}
        for consumer in there.values():
            if consumer is not None:
                self._owner.unsubscribe(consumer)
        return list(there)


def _nothing() -> None:
    """What is told is kept here."""
