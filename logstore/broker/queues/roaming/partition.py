"""One partition of the queues' journal that this node owns, and the queues that it serves for it.

Settlements of these queues are written to this partition; their state at the takeover is read from
it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, cast

from logstore.broker.queues.holding import Holding
from logstore.broker.queues.journaling import RETRY_MS, Journaling, Touched
from logstore.broker.queues.lane_logs import LaneLogs
from logstore.broker.queues.opening import Work
from logstore.broker.queues.pending import NO_TIME
from logstore.broker.queues.queue import Home, Queue
from logstore.broker.queues.roaming.queue import RoamingQueue
from logstore.broker.queues.roaming.served import ServedHome, ServedSeat, Standing
from logstore.broker.queues.transaction import Holder
from logstore.broker.queues.trimming import Trimming
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
        self._seats: dict[RoamingQueue, ServedSeat] = {}
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
        return isinstance(seat, ServedSeat) and self._seats.get(seat.of) is seat

    def seat(self, queue: RoamingQueue, home: Home, lanes: Sequence[int]) -> Queue:
        """Serve the queue here. ``lanes``: the priorities that have messages."""
        its = ServedHome(home, self._lane_logs, self._journaling.touched, queue, self._may_go)
        failed = partial(self._seat_failed, queue, home)
        seat = ServedSeat(queue, its, lanes, self._catch_up, self._standing, failed)
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

    def _journal(self, seats: Iterable["ServedSeat"]) -> None:
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
