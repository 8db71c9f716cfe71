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
        """Which one it is, for people."""

    @property
    def whose(self) -> Whose | None:
        """None: of nobody who has a connection."""

    @property
    def unacked(self) -> Unacked[Any, Any]:
        """Of queues and subscriptions; None in place of a subscription: it was fetched."""

    def room(self) -> int:
        """How many more it may have unacked, by a prefetch count for all of it; else very many."""


class Subscription(Protocol):
    """One consumer of one queue. Compared by identity."""

    @property
    def tag(self) -> bytes:
        """The consumer tag."""

    @property
    def channel(self) -> Channel: ...
    @property
    def no_ack(self) -> bool:
        """What it is sent is settled at once."""

    @property
    def exclusive(self) -> bool:
        """It is to be the queue's only consumer."""

    @property
    def priority(self) -> int:
        """Others of a higher one are served before it as long as they have room."""

    @property
    def prefetch(self) -> int:
        """How many it may have unacked; 0: any number."""

    @property
    def timeout_ms(self) -> int | None:
        """How long it may have a message (x-consumer-timeout); None: as the queue says."""

    @property
    def arguments(self) -> Arguments:
        """What else it asks for."""

    def can_take(self) -> int:
        """How many more it takes now, by its socket alone: 0 while its peer does not read."""

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """Their delivery tags follow each other from ``tag`` on, and are unacked already."""

    def cancelled(self) -> None:
        """Nothing more comes: the queue is gone, or it has had a message for too long."""
