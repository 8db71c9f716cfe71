"""The consumer of one queue on behalf of a session."""

from collections.abc import Callable, Sequence
from typing import Protocol

from logstore.broker.mqtt.grants import Granted
from logstore.broker.queues.message import Delivery
from logstore.broker.queues.queue import Queue
from logstore.broker.queues.subscription import Channel
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments


class Way(Channel, Protocol):
    """The common way of messages from all of a session's queues to its client."""

    def can_take(self) -> int:
        """As Subscription.can_take."""

    def push(self, outlet: "Outlet", tag: int, deliveries: Sequence[Delivery]) -> None:
        """As ``Subscription.push``, for one outlet."""


class Outlet:
    """A ``Subscription`` of a queue: the session's own, or one that it shares with others."""

    __slots__ = ("channel", "granted", "lost", "queue", "shared")

    no_ack = False
    exclusive = False
    priority = 0
    prefetch = 0  # the window of its channel counts
    timeout_ms: int | None = 0  # a client may have a message for as long as it likes
    arguments: Arguments = NO_ARGUMENTS

    def __init__(
        self,
        channel: Way,
        queue: Queue,
        granted: Callable[[bytes], Granted | None],
        lost: Callable[["Outlet"], None],
        *,
        shared: bool = False,
    ) -> None:
        """``granted`` returns the grant for a topic's messages, or None if the session lacks one.

        ``lost`` is called when the queue is gone. ``shared``: other sessions consume the queue too.
        """
        self.channel = channel
        self.queue = queue
        self.granted = granted
        self.lost = lost
        self.shared = shared

    @property
    def tag(self) -> bytes:
        """As Subscription.tag."""
        return self.channel.name.encode()

    def can_take(self) -> int:
        """As Subscription.can_take."""
        return self.channel.can_take()

    def push(self, tag: int, deliveries: Sequence[Delivery]) -> None:
        """As Subscription.push."""
        self.channel.push(self, tag, deliveries)

    def cancelled(self) -> None:
        """As Subscription.cancelled."""
        self.lost(self)
