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
        """The connection that it goes with."""

    @property
    def kept(self) -> Pending | None:
        """Until it is durable, if it is to be."""

    @property
    def topic_name(self) -> str | None:
        """The topic that a stream is."""

    @property
    def gone(self) -> bool: ...
    @property
    def not_in_transactions(self) -> LogstoreError | None:
        """Why what was delivered of it can't be settled in one; None: it can."""

    # Its policy

    @property
    def policy(self) -> Policy | None:
        """The one that counts."""

    def govern(self, policy: Policy | None) -> None:
        """Another one counts, or none."""

    def lifetimes(self) -> tuple[int, ...]:
        """How long its messages live, as it is kept."""

    # What there is

    @property
    def ready(self) -> int:
        """Messages that can be given out. Right once it is open (``when_open``)."""

    @property
    def out(self) -> int:
        """Messages that are given out, and nobody else gets."""

    @property
    def dropped(self) -> int:
        """Dead letters that went nowhere."""

    @property
    def failed(self) -> LogstoreError | None:
        """Why it can't be used, but deleted."""

    @property
    def opened(self) -> bool:
        """Whether its counts are known; nothing is opened for that."""

    def is_open(self) -> bool:
        """The same, or it has failed; else it is being opened from now on."""

    def when_open(self, call: Callable[[], None]) -> None:
        """Call it once the counts are known, or it has failed."""

    def when_known(self, call: Callable[[], None]) -> None:
        """The same with counts of all that was confirmed by now, to whomever: where other nodes
        bring messages, too, ``when_open`` may not have all of that.
        """

    def logs(self) -> Sequence[Log]:
        """Those of its logs that are open."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The highest priority first; a stream has none."""

    def heads(self) -> Sequence[tuple[Log, int]]:
        """Where each of its logs has the first message that can be given out, if it has one."""

    @property
    def dying(self) -> int:
        """Dead letters that are not safe elsewhere yet."""

    def used(self) -> None:
        """Somebody has declared it, or looked for it."""

    # Its consumers

    @property
    def subscriptions(self) -> Sequence[Subscription]: ...
    @property
    def active(self) -> Subscription | None:
        """The one that is served, if it is a single one."""

    def subscribe(self, subscription: Subscription) -> None:
        """Serve it from the end of this turn on. Raises QueueRefused, and what ``failed`` is."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Without effect where it is none of its consumers."""

    def wake(self) -> None:
        """A consumer may take more: look at the end of the turn."""

    # Messages

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As Queue.get. Raises NotOfStreams, too."""

    def purge(self, then: Callable[[int], None]) -> None:
        """As Queue.purge. Raises NotOfStreams."""

    def settle(self, delivered: Group) -> None:
        """It is done with."""

    def count_acked(self, delivered: Group) -> None:
        """It is settled, by a transaction."""

    def release(self, delivered: Group, *, failed: bool = True) -> None:
        """Whoever had it does not want it now."""

    def reject(self, delivered: Group) -> None:
        """Nobody wants it."""

    def plain(self, act: str) -> Queue:
        """The queue, for what only queues do, and only where they are given out.

        Raises NotOfStreams: it has no ``act``; NotOwned.
        """

    def drop(self) -> None:
        """It is gone: consumers are told, and nobody waits for it any more."""
