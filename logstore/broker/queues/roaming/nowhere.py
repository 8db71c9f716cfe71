"""The seat of a queue without a known owner: consumers wait, and fetches are refused."""

from collections.abc import Callable, Sequence

from logstore.amqp.fields import text
from logstore.broker.policies import Policy
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.queue import Then
from logstore.broker.queues.subscription import Channel, Subscription
from logstore.errors import LogstoreError, NotOwned
from logstore.log import Log


class Nowhere:
    """The ``Seat`` of such a queue."""

    ready = out = dropped = dying = 0
    failed: LogstoreError | None = None
    opened = True
    lanes: Sequence[Lane] = ()
    active: Subscription | None = None

    def __init__(self, name: bytes) -> None:
        self.subscriptions: list[Subscription] = []
        self._name = name

    def _refusal(self) -> NotOwned:
        return NotOwned(f"queue {text(self._name)!r}: no node serves it for now; try again")

    @property
    def not_known(self) -> LogstoreError | None:
        """As Named.not_known."""
        return self._refusal()

    def is_open(self) -> bool:
        """True: there is nothing to load."""
        return True

    def when_open(self, call: Callable[[], None]) -> None:
        """Call ``call`` at once."""
        call()

    def when_known(self, call: Callable[[], None]) -> None:
        """Call ``call`` at once."""
        call()

    def logs(self) -> Sequence[Log]:
        """Return no logs."""
        return ()

    def heads(self) -> Sequence[tuple[Log, int]]:
        """Return no heads."""
        return ()

    def used(self) -> None:
        """Do nothing: this seat keeps no time of last use."""

    def govern(self, policy: Policy | None) -> None:
        """Do nothing: no messages expire or are dropped here."""

    def subscribe(self, subscription: Subscription) -> None:
        """Let the subscription wait."""
        self.subscriptions.append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a waiting subscription."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def wake(self) -> None:
        """Do nothing: there are no messages to deliver."""

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """Refuse. Raises NotOwned."""
        raise self._refusal()

    def purge(self, then: Callable[[int], None]) -> None:
        """Refuse. Raises NotOwned."""
        raise self._refusal()

    def drop(self) -> None:
        """Cancel the waiting subscriptions: the queue is deleted."""
        for it in self.vacate():
            it.cancelled()

    def vacate(self) -> Sequence[Subscription]:
        """As Seat.vacate."""
        found, self.subscriptions = self.subscriptions, []
        return found
