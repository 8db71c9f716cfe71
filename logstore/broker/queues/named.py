"""The object behind a queue's name, a queue or a stream, with the operations that doors need.

A queue's messages are settled, a stream's stay; code that declares, consumes, lists or deletes them
need not know the difference. Code that needs lanes and settlements asks for the ``Queue``
(``plain``).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from logstore.broker.policies import Policy
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.limits import Limits, QueueFacts
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.queue import Queue, Then
from logstore.broker.queues.subscription import Channel, Subscription
from logstore.broker.queues.unacked import Delivered
from logstore.counts.queues import QueueCounts
from logstore.errors import LogstoreError
from logstore.log import Log

Group = Delivered[Any, Any]


class Named(Protocol):
    """A queue or a stream. Used in the sessions' thread."""

    @property
    def id(self) -> int: ...
    @property
    def facts(self) -> QueueFacts: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def counts(self) -> QueueCounts: ...
    @property
    def owner(self) -> object | None:
        """The connection with which the object is deleted."""

    @property
    def kept(self) -> Pending | None:
        """The change that is not durable yet, if any."""

    @property
    def topic_name(self) -> str | None:
        """The topic of a stream."""

    @property
    def gone(self) -> bool: ...
    @property
    def not_in_transactions(self) -> LogstoreError | None:
        """Why its messages cannot be settled in a transaction; None: they can."""

    # Its policy

    @property
    def policy(self) -> Policy | None:
        """The policy that applies."""

    def govern(self, policy: Policy | None) -> None:
        """Apply another policy, or none."""

    def lifetimes(self) -> tuple[int, ...]:
        """The lifetimes of its messages, as stored."""

    # What there is

    @property
    def ready(self) -> int:
        """The number of ready messages. Correct once it is open (``when_open``)."""

    @property
    def out(self) -> int:
        """The number of delivered, unsettled messages."""

    @property
    def dropped(self) -> int:
        """The number of dead letters without a destination."""

    @property
    def failed(self) -> LogstoreError | None:
        """Why it cannot be used, only deleted."""

    @property
    def not_known(self) -> LogstoreError | None:
        """Why its counts are not known, although ``when_known`` has called; None: they are."""

    @property
    def opened(self) -> bool:
        """Whether its counts are known; opens nothing."""

    def is_open(self) -> bool:
        """Whether its counts are known or it has failed; otherwise starts opening it."""

    def when_open(self, call: Callable[[], None]) -> None:
        """Call this once the counts are known, or it has failed."""

    def when_known(self, call: Callable[[], None]) -> None:
        """Call ``call`` once all messages confirmed by now are counted.

        If other nodes bring messages too, ``when_open`` may not count all of them.
        """

    def logs(self) -> Sequence[Log]:
        """Return the open logs of the queue."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes, highest priority first; a stream has none."""

    def heads(self) -> Sequence[tuple[Log, int]]:
        """The position of the first ready message in each of its logs."""

    @property
    def dying(self) -> int:
        """The number of dead letters that are not safe at their destination yet."""

    def used(self) -> None:
        """Note a use: a client has declared the queue or looked it up."""

    # Its consumers

    @property
    def subscriptions(self) -> Sequence[Subscription]: ...
    @property
    def active(self) -> Subscription | None:
        """The consumer that is served, if only one is."""

    def subscribe(self, subscription: Subscription) -> None:
        """Serve this consumer from the end of the turn on. Raises QueueRefused, and ``failed``."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a consumer; no effect if it is not one."""

    def wake(self) -> None:
        """Look at the end of the turn: a consumer may have room."""

    # Messages

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As Queue.get. Raises NotOfStreams, too."""

    def purge(self, then: Callable[[int], None]) -> None:
        """As Queue.purge. Raises NotOfStreams."""

    def settle(self, delivered: Group) -> None:
        """Settle these messages."""

    def count_acked(self, delivered: Group) -> None:
        """Count messages that a transaction has settled."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """Return these messages, which their holder does not want now."""

    def reject(self, delivered: Group) -> None:
        """Reject these messages."""

    def plain(self, act: str) -> Queue:
        """The queue itself, for operations of queues only, at the node that delivers from it.

        Raises NotOfStreams, because streams do not have ``act``; NotOwned.
        """

    def drop(self) -> None:
        """Delete the queue: consumers are told, and no call waits for it any more."""
