"""The seat of a queue that another node serves: consumers here are consumers there.

It is the queue in channels' Unacked, so that acknowledgements reach the owner. Counts are those
that the owner sent last; callers that need present ones request them first (``when_open``).

Errors that the interface of ``Seat`` cannot report: a consumer that the owner refuses is cancelled,
because its client already considers it a consumer; a fetch during the loss of the link returns no
message.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from logstore.amqp.fields import text
from logstore.broker.policies import Policy
from logstore.broker.queues.away.consumer import FarConsumer, Wanted
from logstore.broker.queues.away.owner import Owner
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.queue import Then
from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.roaming.seat import Retrying
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.unacked import Delivered
from logstore.errors import ClusterBehind, ClusterUnreachable, LogstoreError, NotOwned
from logstore.log import Log
from logstore.relay.messages import Counts

LOOK_AGAIN_MS: Final = 1000  # how long counts are reused without asking

Group = Delivered[Any, Any]


class Sitting(Protocol):
    """The queue whose seat this is."""

    @property
    def id(self) -> int: ...
    @property
    def facts(self) -> QueueFacts: ...
    @property
    def gone(self) -> bool: ...
    @property
    def seat(self) -> object:
        """Its present seat."""

    def wake(self) -> None:
        """As Named.wake, at its present seat."""


def seat_at(
    queue: Sitting,
    vhost: bytes,
    owner: Owner,
    clock: Callable[[], int],
    elsewhere: Callable[[], object],
) -> "AwaySeat":
    """Return the queue's seat at this owner: the present one if it can stay, so that a queue that
    goes with its last consumer is not left by it.
    """
    present = queue.seat
    if isinstance(present, AwaySeat) and present.stays_at(owner):
        return present
    return AwaySeat(queue, vhost, owner, clock, elsewhere)


class AwaySeat:
    """A ``Seat`` at another node."""

    dropped = dying = 0
    failed: LogstoreError | None = None
    lanes: Sequence[Lane] = ()
    active: Subscription | None = None

    def __init__(
        self,
        of: Sitting,
        vhost: bytes,
        owner: Owner,
        clock: Callable[[], int],
        elsewhere: Callable[[], object],
    ) -> None:
        """``clock``: ms. ``elsewhere`` is called if the owner denies it or is asked too much, to
        find the owner later.
        """
        self._of = of
        self.not_in_transactions: LogstoreError | None = NotAmongNodes(
            of.facts.name, "transactions at a node that does not own the queue"
        )
        self._wanted = Wanted(vhost, of.facts.name, of.id)
        self._owner = owner
        self._link = owner.link
        self._clock = clock
        self._elsewhere = elsewhere
        self._consumers: dict[Subscription, FarConsumer] = {}
        self._vacated = False
        self._counts: Counts | None = None
        self._unknown: LogstoreError | None = self._unreached()  # why the last look had none
        self._looked_ms = 0  # when those were asked for
        self._looking: list[Callable[[], None]] | None = None  # who waits for them

    def __repr__(self) -> str:
        return f"<AwaySeat {self._wanted.queue!r} {self._wanted.number}>"

    def stays_at(self, owner: Owner) -> bool:
        """Whether it still is a seat at this owner: over the same link, with all its consumers."""
        same = owner is self._owner and owner.link is self._link
        return same and all(it.attached or it.over for it in self._consumers.values())

    # What there is

    @property
    def facts(self) -> QueueFacts:
        """The facts of the queue. Deliveries refer to this seat."""
        return self._of.facts

    @property
    def gone(self) -> bool:
        """Whether the queue is deleted."""
        return self._of.gone

    @property
    def ready(self) -> int:
        """As ``Seat.ready``; 0 as long as it is unknown."""
        return 0 if self._counts is None else self._counts.ready

    @property
    def out(self) -> int:
        """As Seat.out."""
        return 0 if self._counts is None else self._counts.out

    @property
    def not_known(self) -> LogstoreError | None:
        """As Seat.not_known."""
        return self._unknown

    @property
    def opened(self) -> bool:
        """As Seat.opened."""
        return self._counts is not None

    def is_open(self) -> bool:
        """As ``Seat.is_open``. Requests new counts if they are old, for the next caller."""
        if self._looking is None and self._clock() - self._looked_ms >= LOOK_AGAIN_MS:
            self._look()
        return self.opened

    def when_open(self, call: Callable[[], None]) -> None:
        """Call ``call`` once the owner has sent the queue's state, or cannot be asked."""
        if self._looking is None:
            self._look()
        if self._looking is None:
            call()
        else:
            self._looking.append(call)

    def when_known(self, call: Callable[[], None]) -> None:
        """As ``Named.when_known``: the owner tells the counts, if it is asked from now on."""
        if self._looking is None:
            self.when_open(call)
        else:
            self._looking.append(lambda: self.when_open(call))

    def _look(self) -> None:
        self._looking = []
        self._looked_ms = self._clock()
        self._owner.look(self._wanted, self._looked)

    def _looked(self, found: Counts | LogstoreError) -> None:
        if isinstance(found, Counts):
            self._counts, self._unknown = found, None
        else:
            self._unknown = found
        waiting, self._looking = self._looking or [], None
        for call in waiting:
            call()

    def logs(self) -> Sequence[Log]:
        """Return no logs: they are open at the owner."""
        return ()

    def heads(self) -> Sequence[tuple[Log, int]]:
        """Return no heads: the logs are open at the owner."""
        return ()

    def used(self) -> None:
        """Do nothing: the owner notes the use of the queue."""

    def govern(self, policy: Policy | None) -> None:
        """Do nothing: the owner applies the policies."""

    # Consumers

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """The subscriptions of this node."""
        return [it for it, consumer in self._consumers.items() if not consumer.over]

    def subscribe(self, subscription: Subscription) -> None:
        """As ``Seat.subscribe``. A consumer that the owner refuses is cancelled."""
        found: LogstoreError | None = None
        consumer: FarConsumer | None = None

        def told(error: LogstoreError | None) -> None:
            nonlocal found
            found = error
            if error is not None and consumer is not None:
                self._refused(consumer, error)

        consumer = self._owner.subscribe(self._wanted, self, subscription, told)
        self._consumers[subscription] = consumer
        if found is not None:
            self._refused(consumer, found)

    def _refused(self, consumer: FarConsumer, error: LogstoreError) -> None:
        subscription = consumer.subscription
        if self._consumers.get(subscription) is not consumer:
            return
        if isinstance(error, NotOwned | ClusterBehind):
            self._elsewhere()
        elif not isinstance(error, ClusterUnreachable):  # otherwise it waits for another link
            del self._consumers[subscription]
            subscription.cancelled()

    def unsubscribe(self, subscription: Subscription) -> None:
        """As Seat.unsubscribe."""
        consumer = self._consumers.pop(subscription, None)
        if consumer is not None:
            self._owner.unsubscribe(consumer)

    def wake(self) -> None:
        """As Seat.wake."""
        for subscription, consumer in list(self._consumers.items()):
            if consumer.over:
                del self._consumers[subscription]
            else:
                self._owner.wake(consumer)

    # Messages

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As Seat.get. Raises NotOwned."""
        self._check()

        def got(found: Got | LogstoreError | None) -> None:
            if not isinstance(found, LogstoreError):
                then(found)
            elif isinstance(found, NotOwned | ClusterUnreachable | ClusterBehind):
                self._get_elsewhere(then)
            else:
                then(None)

        self._owner.get(self._wanted, self, channel, no_ack, got)

    def _get_elsewhere(self, then: Then) -> None:
        """Let a fetch that the owner could not answer wait for the next seat."""
        if not isinstance(then, Retrying):
            then(None)
        elif self._vacated:  # that seat is there
            then.anew()
        else:
            then.retry()
            self._elsewhere()

    def purge(self, then: Callable[[int], None]) -> None:
        """As ``Seat.purge``; 0 if the link is closed meanwhile. Raises NotOwned."""
        self._check()
        self._owner.purge(
            self._wanted, lambda found: then(0 if isinstance(found, LogstoreError) else found)
        )

    def _check(self) -> None:
        """Check that the owner is reachable. Raises NotOwned."""
        if not self._owner.ready:
            raise self._unreached()

    def _unreached(self) -> NotOwned:
        return NotOwned(
            f"queue {text(self._wanted.queue)!r}: the node that serves it is not reached now; try "
            f"again"
        )

    def settle(self, delivered: Group) -> None:
        """As Named.settle."""
        self._owner.settle(delivered)
        self._made_room()

    def count_acked(self, delivered: Group) -> None:
        """Do nothing: the owner counts."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """As Named.release."""
        self._owner.release(delivered, failed=failed)
        self._made_room()

    def reject(self, delivered: Group) -> None:
        """As Named.reject."""
        self._owner.reject(delivered)
        self._made_room()

    def _made_room(self) -> None:
        """A consumer that is at another seat by now has room there, too."""
        if self._vacated:
            self._of.wake()

    # Its end

    def drop(self) -> None:
        """As Seat.drop."""
        for it in self.vacate():
            it.cancelled()

    def vacate(self) -> Sequence[Subscription]:
        """As Seat.vacate."""
        self._vacated = True
        self.not_in_transactions = None  # what it gave out cannot be settled any more
        found, consumers, self._consumers = self.subscriptions, self._consumers, {}
        for it in consumers.values():
            self._owner.unsubscribe(it)
        return found
