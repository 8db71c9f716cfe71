"""The seat of a queue that this node serves: it delivers only while the node surely owns it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.queues.deaths import DeadLetter
from logstore.broker.queues.dying import Sent
from logstore.broker.queues.lane import Lane, Windows
from logstore.broker.queues.message import Showing
from logstore.broker.queues.opening import Logs
from logstore.broker.queues.queue import Home, Queue, Then
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.roaming.seat import Retrying
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.transaction import Transaction
from logstore.counts.queues import QueueTotals
from logstore.log import Log


class Standing(Protocol):
    """Whether the owning node may still deliver from its queues."""

    @property
    def sure(self) -> bool:
        """Whether this node owns the partition, as far as is known here."""

    def ask(self, then: Callable[[], object]) -> None:
        """Call ``then`` once this node certainly owns the partition."""


class Unquestioned:
    """A ``Standing`` without doubt: no other node can own the partition."""

    sure = True

    def ask(self, then: Callable[[], object]) -> None:
        """As Standing.ask."""
        then()


class ServedHome:
    """The home of a seat: that of its queue, except the journal and the logs."""

    commit = None

    def __init__(
        self,
        home: Home,
        logs: Logs,
        touched: Callable[[Queue], None],
        queue: RoamingQueue,
        may_go: Callable[[Callable[[], object]], None],
    ) -> None:
        self.logs = logs
        self.touched = touched
        self.windows: Windows = home.windows
        self.showing: Showing = home.showing
        self.totals: QueueTotals = home.totals
        self.deduplication: Deduplication = home.deduplication
        self.clock, self.soon, self.alarm = home.clock, home.soon, home.alarm
        self._home = home
        self._queue = queue
        self._may_go = may_go

    @property
    def gone(self) -> bool:
        """As Home.gone."""
        return self._home.gone

    def used(self) -> None:
        """Do nothing: unsettled messages of a dead node come again, whatever the journal says."""

    def send(self, letters: Sequence[DeadLetter], held: Transaction | None = None) -> Sent:
        """As Home.send."""
        return self._home.send(letters, held)

    def goes(self, queue: Queue) -> None:
        """As ``Home.goes``: the queue is deleted at all nodes."""
        self._may_go(partial(self._goes, queue))

    def _goes(self, queue: Queue) -> None:
        if not queue.gone and not queue.subscriptions:
            self._home.goes(self._queue)  # type: ignore[arg-type]


class ServedSeat(Queue):
    """A queue served here: it delivers only while the node is sure of its ownership."""

    def __init__(
        self,
        queue: RoamingQueue,
        home: ServedHome,
        lanes: Sequence[int],
        catch_up: Callable[[Sequence[Log], Callable[[], None]], None],
        standing: Standing,
        failed: Callable[[], None],
    ) -> None:
        """``failed`` is called when one of the queue's logs has failed."""
        super().__init__(queue.id, queue.facts, home, None, lanes, queue.policy)
        self.counts = queue.counts
        self.of = queue
        self._catch_up = catch_up
        self._standing = standing
        self._told_failed = failed

    def look(self) -> None:
        """As Queue.look."""
        if not self.gone and any(map(_has_failed, self.stock.order)):
            self._told_failed()
        if self.gone or self._is_sure():
            super().look()

    def _serve(self) -> None:
        """As Queue._serve."""
        if self._is_sure():
            super()._serve()

    def _pass_on(self, now_ms: int, left: int) -> int:
        """As Queue._pass_on."""
        return super()._pass_on(now_ms, left) if self._is_sure() else left

    def _is_sure(self) -> bool:
        sure = self._standing.sure
        if not sure:
            self._standing.ask(self._wake)
        return sure

    def subscribe(self, subscription: Subscription) -> None:
        """As Queue.subscribe."""
        super().subscribe(subscription)
        self._open_all()

    def get(self, channel: Channel, no_ack: bool, then: Then) -> None:
        """As ``Queue.get``. Before it returns none, it fetches the logs up to their present ends.

        A message that was confirmed by another node is thus found.
        """
        self._open_all()

        def first(found: Got | None) -> None:
            if found is None and not self.gone and self.failed is None:
                self._catch_up(self.logs(), read)
            else:
                last(found)

        def read() -> None:
            if self.gone:
                last(None)
            else:
                super(ServedSeat, self).get(channel, no_ack, last)

        def last(found: Got | None) -> None:
            if found is not None or not isinstance(then, Retrying):
                then(found)
            elif self.gone:
                then.anew()
            elif self.failed is not None:
                then.retry()
            else:
                then(None)

        super().get(channel, no_ack, first)

    def _check_use(self) -> None:
        """As ``Queue._check_use``: if a log has failed, the next seat will have another one."""

    def when_known(self, call: Callable[[], None]) -> None:
        """As Named.when_known."""
        self._open_all()

        def opened() -> None:
            self._catch_up(self.logs(), lambda: super(ServedSeat, self).when_open(call))

        self.when_open(opened)

    def purge(self, then: Callable[[int], None]) -> None:
        """As Queue.purge."""
        self.when_known(lambda: super(ServedSeat, self).purge(then))

    def settled_late(self) -> None:
        """As Queue.settled_late: the consumer may be at another seat by now, and has room there."""
        self.of.wake()

    def _open_all(self) -> None:
        """Open the lanes of all priorities: other nodes send any of them, without notice of a first
        one.
        """
        for number in range(self.limits.max_priority or 0, -1, -1):
            self.stock.lane(number)

    def found(self, lanes: Sequence[int]) -> None:
        """Note that there are messages of these priorities."""
        for number in lanes:
            self.stock.lane(number)
        self.wake()


def _has_failed(lane: Lane) -> bool:
    return lane.failed is not None or (lane.log is not None and lane.broken)
