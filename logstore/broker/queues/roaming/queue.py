"""One queue shared by several nodes, as each of them has it.

Messages published here are appended to its logs here, whichever node delivers them. Consumers and
fetches use its *seat* (``seat.py``), which changes when another node becomes the owner; consumers
follow without noticing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from logstore.amqp.fields import text
from logstore.broker.policies import Policy
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import NO_DEFINITION, Limits, QueueFacts, limits_of
from logstore.broker.queues.message import batch_of
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.publishing import in_batches, of
from logstore.broker.queues.queue import Queue, Then
from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.roaming.outlets import Taking
from logstore.broker.queues.roaming.seat import Seat
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.unacked import Delivered
from logstore.counts.queues import QueueCounts, QueueTotals
from logstore.errors import LogstoreError, NotOwned
from logstore.log import Log

Group = Delivered[Any, Any]

PATIENCE_MS: Final = 15_000  # of a get, while no node serves the queue
GETTERS_MAX: Final = 1000  # that wait


class _Getter:
    """A caller that fetches one message; to the seat, the function that receives it."""

    def __init__(
        self, of: "RoamingQueue", channel: Channel, no_ack: bool, then: Then, until_ms: int
    ) -> None:
        self.channel = channel
        self.no_ack = no_ack
        self.until_ms = until_ms
        self._of = of
        self._then = then

    def __call__(self, got: Got | None) -> None:
        """Pass on the message, or None if there is none."""
        self._then(got)

    def retry(self) -> None:
        """As Retrying.retry."""
        self._of.park(self)

    def anew(self) -> None:
        """As Retrying.anew."""
        self._of.get_anew(self)


class Roamers(Protocol):
    """All roaming queues of a process, as each of them sees these."""

    def clock(self) -> int:
        """Return the time in ms since 1970."""

    def alarm(self, queue: "RoamingQueue", at_ms: int) -> None:
        """Wake the queue at that time or earlier."""

    @property
    def totals(self) -> QueueTotals: ...
    def nowhere(self, queue: "RoamingQueue") -> Seat:
        """Return the seat of a queue that no known node serves."""

    def left(self, queue: "RoamingQueue") -> None:
        """Forget a deleted queue."""

    def delete_topic(
        self, queue: "RoamingQueue", then: Callable[[LogstoreError | None], None]
    ) -> None:
        """Delete the messages of the queue."""


def check(facts: QueueFacts, limits: Limits) -> None:
    """Check the arguments. Raises NotAmongNodes for those that a queue of several nodes cannot
    have.
    """
    if limits.rejects:
        raise NotAmongNodes(facts.name, "overflow reject-publish: no node knows how many there are")
    if limits.once is not None:
        raise NotAmongNodes(facts.name, "deduplication: any node takes messages for it")


class RoamingQueue:
    """A ``Named``, and also a ``Station``: it receives messages instead of a queue."""

    topic_name: str | None = None  # as Named.topic_name
    not_in_transactions: LogstoreError | None = None

    def __init__(
        self,
        number: int,
        facts: QueueFacts,
        roamers: Roamers,
        policy: Policy | None,
        outlets: Taking,
    ) -> None:
        """``outlets``: the logs for its messages. Raises InvalidQueueArgument."""
        self.id = number
        self.facts = facts
        self.policy = policy
        self.limits = _limits(facts, policy)
        # An exclusive queue belongs to a connection at another node, so no connection here owns it.
        self.owner: object | None = self if facts.exclusive else None
        self.kept: Pending | None = None
        self.gone = False
        self.counts = QueueCounts()
        self._roamers = roamers
        self._outlets = outlets
        self._getters: list[_Getter] = []  # gets that wait for a node to serve it
        self.seat: Seat = roamers.nowhere(self)

    def __repr__(self) -> str:
        return f"<RoamingQueue {self.facts.name!r} {self.id}>"

    def sit(self, seat: Seat) -> None:
        """Move the queue with its consumers to this seat, unless it is there; getters try again."""
        before, self.seat = self.seat, seat
        moving = () if seat is before else before.vacate()
        for it in moving:
            try:
                seat.subscribe(it)
            except LogstoreError:  # another has it for itself there
                it.cancelled()
        getters, self._getters = self._getters, []
        for getter in getters:
            self.get_anew(getter)

    def get_anew(self, getter: _Getter) -> None:
        """As ``Retrying.anew``."""
        if self.gone:
            getter(None)
            return
        try:
            self._get(getter)
        except LogstoreError:  # it has waited for long, or may not fetch there
            getter(None)

    def plain(self, act: str) -> Queue:
        """As Named.plain. Raises NotOwned."""
        if isinstance(self.seat, Queue):
            return self.seat
        raise NotOwned(
            f"queue {text(self.facts.name)!r}: its {act} is available only at the node that "
            "serves it"
        )

    # What comes

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        total = len(parcel.keys)
        if intake.held is not None:
            intake.held.refused = NotAmongNodes(self.facts.name, "messages of a transaction")
            return
        if self.kept is not None:
            intake.waiting.pending(self.kept)
        most = self.limits.max_priority or 0
        by_lane: dict[int, list[int]] = {}
        for number, framed in enumerate(parcel.framed):
            by_lane.setdefault(min(framed.priority, most), []).append(number)
        for lane, numbers in by_lane.items():
            self._append(lane, numbers, parcel, intake)
        published = total - len(intake.rejected)
        self.counts.published += published
        self._roamers.totals.published += published

    def _append(self, lane: int, numbers: Sequence[int], parcel: Parcel, intake: Intake) -> None:
        for some in in_batches(parcel.bodies, numbers):
            batch = batch_of(
                of(parcel.bodies, some), of(parcel.keys, some), of(parcel.framed, some),
                intake.now_ms,
            )  # fmt: skip
            try:
                self._outlets.append(lane, batch, intake.waiting)
            except LogstoreError as error:
                intake.refuse(some, error)

    # Its policy

    def govern(self, policy: Policy | None) -> None:
        """As Named.govern."""
        self.policy = policy
        self.limits = _limits(self.facts, policy)
        self.seat.govern(policy)

    def lifetimes(self) -> tuple[int, ...]:
        """As ``Named.lifetimes``, by its present arguments and policies."""
        return ()

    # What its seat says

    @property
    def ready(self) -> int:
        """As Named.ready."""
        return self.seat.ready

    @property
    def out(self) -> int:
        """As Named.out."""
        return self.seat.out

    @property
    def dropped(self) -> int:
        """As Named.dropped."""
        return self.seat.dropped

    @property
    def dying(self) -> int:
        """As Named.dying."""
        return self.seat.dying

    @property
    def failed(self) -> LogstoreError | None:
        """As Named.failed."""
        return self.seat.failed

    @property
    def not_known(self) -> LogstoreError | None:
        """As Named.not_known."""
        return self.seat.not_known

    @property
    def opened(self) -> bool:
        """As Named.opened."""
        return self.seat.opened

    def is_open(self) -> bool:
        """As Named.is_open."""
        return self.seat.is_open()

    def when_open(self, call: Callable[[], None]) -> None:
        """As Named.when_open."""
        self.seat.when_open(call)

    def when_known(self, call: Callable[[], None]) -> None:
        """As Named.when_known."""
        self.seat.when_known(call)

    def logs(self) -> Sequence[Log]:
        """As Named.logs."""
        return self.seat.logs()

    @property
    def lanes(self) -> Sequence[Lane]:
        """As Named.lanes."""
        return self.seat.lanes

    def heads(self) -> Sequence[tuple[Log, int]]:
        """As Named.heads."""
        return self.seat.heads()

    def used(self) -> None:
        """As Named.used."""
        self.seat.used()

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """As ``Named.subscriptions``: those of this node; of all nodes if the queue is
        served here.
        """
        return self.seat.subscriptions

    @property
    def active(self) -> Subscription | None:
        """As Named.active."""
        return self.seat.active

    def subscribe(self, subscription: Subscription) -> None:
        """As Named.subscribe."""
        self.seat.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """As Named.unsubscribe."""
        self.seat.unsubscribe(subscription)

    def wake(self) -> None:
        """As Named.wake."""
        self.seat.wake()
        if self._getters:
            self._give_up()

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As ``Named.get``. Waits for a while if no node serves the queue now."""
        self._get(_Getter(self, channel, no_ack, then, self._roamers.clock() + PATIENCE_MS))

    def _get(self, getter: _Getter) -> None:
        try:
            self.seat.get(getter.channel, getter.no_ack, getter)
        except NotOwned:
            if self._roamers.clock() >= getter.until_ms or len(self._getters) >= GETTERS_MAX:
                raise
            self.park(getter)

    def park(self, getter: "_Getter") -> None:
        """Let the getter wait until the queue has a new seat, within limits of time and number."""
        late = self._roamers.clock() >= getter.until_ms
        if self.gone or late or len(self._getters) >= GETTERS_MAX:
            getter(None)
        else:
            self._getters.append(getter)
            self._roamers.alarm(self, getter.until_ms)

    def _give_up(self) -> None:
        """Answer the getters that have waited too long: they get no message."""
        now_ms = self._roamers.clock()
        late = [it for it in self._getters if it.until_ms <= now_ms]
        self._getters = [it for it in self._getters if it.until_ms > now_ms]
        if self._getters:  # one alarm stands for all of them, until it comes
            self._roamers.alarm(self, min(it.until_ms for it in self._getters))
        for getter in late:
            getter(None)

    def purge(self, then: Callable[[int], None]) -> None:
        """As Named.purge."""
        self.seat.purge(then)

    # Deliveries belong to their seat; these have none any more.

    def settle(self, delivered: Group) -> None:
        """As Named.settle."""

    def count_acked(self, delivered: Group) -> None:
        """As Named.count_acked."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """As Named.release."""

    def reject(self, delivered: Group) -> None:
        """As Named.reject."""

    # Its end

    def drop(self) -> None:
        """As Named.drop."""
        if not self.gone:
            self.gone = True
            self.seat.drop()
            getters, self._getters = self._getters, []
            for getter in getters:
                getter(None)
            self._outlets.drop()
            self._roamers.left(self)

    def delete_topic(self, *, undone: bool) -> Pending:
        """Delete the messages of the deleted queue."""
        pending = Pending()
        self._roamers.delete_topic(self, pending.finish)
        return pending


def _limits(facts: QueueFacts, policy: Policy | None) -> Limits:
    return limits_of(facts, NO_DEFINITION if policy is None else policy.definition)
