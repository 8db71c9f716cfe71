"""Consumers and channels as a queue sees them; doors and the library implement them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from logstore.broker.queues.message import Delivery
from logstore.broker.queues.unacked import Unacked
from logstore.broker.routing.arguments import Arguments


class Got(NamedTuple):
    """One message that was fetched (basic.get)."""

    tag: int  # within the channel
    delivery: Delivery
    ready: int  # how many messages are left


class Whose(NamedTuple):
    """The connection of a channel, to be shown to people."""

    connection: str  # as RabbitMQ names them: both ends
    number: int  # of the channel within it
    host: str
    port: int
    user: str  # as the client calls itself


class Channel(Protocol):
    """A channel within a connection, with its own delivery tags."""

    @property
    def name(self) -> str:
        """The channel's name, for people."""

    @property
    def whose(self) -> Whose | None:
        """The connection; None: the channel has none."""

    @property
    def unacked(self) -> Unacked[Any, Any]:
        """The unsettled deliveries with queues and subscriptions; None instead of a subscription:
        fetched.
        """

    def room(self) -> int:
        """Return how many more messages the channel may hold, by a prefetch count for all of it.

        Without such a count, this is a very large number.
        """


class Subscription(Protocol):
    """One consumer of one queue. Compared by identity."""

    @property
    def tag(self) -> bytes:
        """The consumer tag."""

    @property
    def channel(self) -> Channel: ...
    @property
    def no_ack(self) -> bool:
        """Whether messages are settled as soon as they are sent."""

    @property
    def exclusive(self) -> bool:
        """Whether it must be the queue's only consumer."""

    @property
    def priority(self) -> int:
        """Consumers of a higher priority are served first while they have room."""

    @property
    def prefetch(self) -> int:
        """The maximum number of unsettled messages; 0: any number."""

    @property
    def timeout_ms(self) -> int | None:
        """How long the consumer may hold a message (x-consumer-timeout); None: as the
        queue says.
        """

    @property
    def arguments(self) -> Arguments:
        """The other arguments of the consumer."""

    def can_take(self) -> int:
        """Return how many more messages its socket accepts now: 0 while the peer does not read."""

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """Deliver messages with consecutive tags from ``tag`` on, which are already noted as
        unsettled.
        """

    def cancelled(self) -> None:
        """Handle the end: the queue was deleted, or a message was held too long."""
