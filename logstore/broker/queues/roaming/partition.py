"""One partition of the queues' journal that this node owns, and the queues that it serves for it.

Settlements of these queues are written to this partition; their state at the takeover is read from
it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, cast

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.queues.deaths import DeadLetter
from logstore.broker.queues.dying import Sent
from logstore.broker.queues.holding import Holding
from logstore.broker.queues.journaling import RETRY_MS, Journaling, Touched
from logstore.broker.queues.lane import Lane, Windows
from logstore.broker.queues.lane_logs import LaneLogs
from logstore.broker.queues.message import Showing
from logstore.broker.queues.opening import Logs, Work
from logstore.broker.queues.pending import NO_TIME
from logstore.broker.queues.queue import Home, Queue, Then
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.roaming.seat import Retrying
from logstore.broker.queues.subscription import Channel, Got, Subscription
from logstore.broker.queues.transaction import Holder, Transaction
from logstore.broker.queues.trimming import Trimming
from logstore.counts.queues import QueueTotals
from logstore.errors import LogstoreError
from logstore.kept.queues import QueueLogs
from logstore.log import Log

log: Final = logging.getLogger("logstore.queues")


class SharedLogs(QueueLogs, Protocol):
    """The source of the logs, to which other nodes append, too."""

    def catch_up(self, log: Log) -> None:
        """Fetch all that the log holds now. May take long. Raises LogstoreError."""

    def begin_catch_up(self, log: Log, then: Callable[[], object]) -> None:
        """Call ``then`` in this thread once all is fetched, or cannot be."""


class Around(NamedTuple):
    """The surroundings of a partition."""

    clock: Callable[[], int]
    soon: Callable[[Callable[[], object]], object]
    alarm: Callable[["Alarmed", int], None]  # has its ``wake`` called then, at the latest
    work: Work
    logs: SharedLogs


class Alarmed(Protocol):
    """Something with a deadline."""

    def wake(self) -> object:
        """Handle an alarm."""


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


class JournalPartition:
    """One partition. In the sessions' thread, except what workers do."""

    def __init__(self, number: int, journal: Log, around: Around, standing: Standing) -> None:
        """``journal``: the log, which this node alone writes, with notes of all its records.

        Raises SchemaTooNew, CorruptStore.
        """
        self.number = number
        self._around = around
        self._standing = standing
        self._journaling = Journaling(journal, self, alone=False)
        self._lane_logs = LaneLogs(
            around.logs, self._journaling, around.clock, around.soon, around.work,
            around.logs.catch_up,
        )  # fmt: skip
        self._trimming = Trimming()
        self._seats: dict[RoamingQueue, _Seat] = {}
        # Those that have a log which has failed, or could not be opened: when they are seated anew.
        self._failed: dict[RoamingQueue, tuple[int, Home]] = {}
        self._leaving = self._lost = False

    @property
    def holding(self) -> Holding:
        """The held transactions of the partition."""
        return self._journaling.holding

    # Its queues

    def has(self, seat: Holder) -> bool:
        """Whether this is the current seat of a queue."""
        return isinstance(seat, _Seat) and self._seats.get(seat.of) is seat

    def seat(self, queue: RoamingQueue, home: Home, lanes: Sequence[int]) -> Queue:
        """Serve the queue here. ``lanes``: the priorities that have messages."""
        its = _Home(home, self._lane_logs, self._journaling.touched, queue, self._may_go)
        failed = partial(self._seat_failed, queue, home)
        seat = _Seat(queue, its, lanes, self._catch_up, self._standing, failed)
        self._seats[queue] = seat
        seat.used()
        return seat

    def _may_go(self, call: Callable[[], object]) -> None:
        """Call ``call`` if this node may delete queues without consumers.

        Its consumers may be at another node that owns the partition.
        """
        if self._leaving:
            return
        if self._standing.sure:
            call()
        else:
            self._standing.ask(call)

    def leave(self) -> None:
        """Prepare to give up the partition: its consumers go to the next owner."""
        self._leaving = True

    def _catch_up(self, logs: Sequence[Log], then: Callable[[], None]) -> None:
        """Call ``then`` once these logs are fetched up to their present ends, or cannot be.

        No worker waits for this: if the cluster stalls, a blocked worker would delay others.
        """
        left = len(logs)

        def one() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.soon(then)

        if not logs:
            then()
        for it in logs:
            self._around.logs.begin_catch_up(it, one)

    def _seat_failed(self, queue: RoamingQueue, home: Home) -> None:
        """Schedule a new seat for a queue: one of its logs has failed, or could not be opened."""
        if queue in self._seats and queue not in self._failed:
            self._failed[queue] = self.clock() + RETRY_MS, home
            self._around.alarm(self, self.clock() + RETRY_MS)

    def _seat_anew(self) -> None:
        """Replace the seats with a failed log; their unsettled messages are delivered again."""
        now_ms = self.clock()
        due = {it: home for it, (at, home) in self._failed.items() if at <= now_ms}
        self._journal(self._seats[queue] for queue in due)
        if self._journaling.failing:
            self._around.alarm(self, now_ms + RETRY_MS)
            return
        for queue, home in due.items():
            del self._failed[queue]
            before = self._seats[queue]
            log.warning("queue %d: it is served anew, since a log of it has failed", queue.id)
            self._trimming.gone(before)
            queue.sit(self.seat(queue, home, before.stock.names()))

    def lanes_came(self, number: int, lanes: Sequence[int]) -> None:
        """Note that the queue of this number, if it is here, has messages of these priorities."""
        for queue, seat in self._seats.items():
            if queue.id == number:
                seat.found(lanes)
                return

    def unseat(self, queue: RoamingQueue) -> None:
        """Remove a deleted queue."""
        seat = self._seats.pop(queue, None)
        self._failed.pop(queue, None)
        if seat is None:
            return
        self._journaling.leave_out(seat)
        self._trimming.gone(seat)
        seat.when_left(lambda: self._journaling.forget((queue.id,)))

    def forget_all_but(self, known: Sequence[int]) -> None:
        """Forget queues that were deleted without a note in the journal."""
        kept = {*known}
        self._journaling.forget(it for it in self._journaling.notes.queues() if it not in kept)

    @property
    def crowded(self) -> bool:
        """Whether too much waits for lanes or for the journal."""
        return self._lane_logs.crowded

    def wait(self) -> None:
        """Wait until all journaled settlements are safe. From any thread. Raises LogFailed."""
        self._journaling.wait()

    def close(self) -> None:
        """Journal all settlements: the partition goes to another node, or to none."""
        self._lost = True
        self._lane_logs.close()
        self._journal(self._seats.values())

    def _journal(self, seats: Iterable["_Seat"]) -> None:
        """Journal all settlements of these seats, including those of this turn."""
        for seat in seats:
            if seat.stock.flush():
                self._journaling.touched(seat)
        self._journaling.end_turn()

    def lose(self) -> None:
        """Close without journaling: another node owns the partition."""
        self._lost = True
        self._lane_logs.close()

    # As Around of Journaling

    def clock(self) -> int:
        """Return the time in ms since 1970."""
        return self._around.clock()

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call at the end of the turn. From any thread."""
        self._around.soon(call)

    def settled(self, queues: Sequence[Touched]) -> None:
        """Note that the journal has settlements of these queues."""
        if queues and self._trimming.touched(cast("Sequence[Holder]", queues), self.clock()):
            self._around.alarm(self, self._trimming.due_ms)

    def try_again(self) -> None:
        """Schedule a retry: the journal has refused an entry."""
        self._around.alarm(self, self.clock() + RETRY_MS)

    # Its times

    def wake(self) -> None:
        """As Alarmed.wake."""
        if self._lost:
            return
        self._journaling.retry()
        if self._trimming.due_ms <= self.clock():
            self._trim()
        if any(at <= self.clock() for at, _ in self._failed.values()):
            self._seat_anew()
        self._wait_on()

    def _wait_on(self) -> None:
        """Set an alarm for the next deadline: a single alarm serves all of them."""
        now_ms = self.clock()
        times = (self._trimming.due_ms, *(at for at, _ in self._failed.values()))
        next_ms = min((it for it in times if it > now_ms), default=NO_TIME)
        if next_ms != NO_TIME:
            self._around.alarm(self, next_ms)

    def _trim(self) -> None:
        found, now_ms, logs = self._trimming.look(), self.clock(), self._around.logs

        def trim() -> LogstoreError | None:
            failed = None
            for it in found:
                try:
                    logs.trim(it.lanes, now_ms)
                except LogstoreError as error:
                    failed = error
            return failed

        def trimmed(error: LogstoreError | None) -> None:
            if error is not None:
                log.warning("what is settled of queues takes room still: %s", error)
            self._trimming.done(self.clock())
            if self._trimming.due_ms != NO_TIME and not self._lost:
                self._around.alarm(self, self._trimming.due_ms)

        self._around.work(trim, trimmed)


class _Seat(Queue):
    """A queue served here: it delivers only while the node is sure of its ownership."""

    def __init__(
        self,
        queue: RoamingQueue,
        home: "_Home",
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
                super(_Seat, self).get(channel, no_ack, last)

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
            self._catch_up(self.logs(), lambda: super(_Seat, self).when_open(call))

        self.when_open(opened)

    def purge(self, then: Callable[[int], None]) -> None:
        """As Queue.purge."""
        self.when_known(lambda: super(_Seat, self).purge(then))

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


class _Home:
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
