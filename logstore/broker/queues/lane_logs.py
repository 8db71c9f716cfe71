"""Opens and deletes the logs of lanes.

It counts the bytes parked for lanes that are being opened, and makes the calls left for later
turns. Workers open and delete; everything else is in the sessions' thread.
"""

import logging
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from logstore.broker.here import read_when_here
from logstore.broker.queues.journal import queue_key
from logstore.broker.queues.journaling import Journaling
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.opening import APPENDS_MAX, Opened, Part, Work
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.settled import Settled, reopened
from logstore.broker.queues.settlement import Settlement
from logstore.broker.queues.state import LaneState
from logstore.errors import Closed, CorruptBatch, LogstoreError
from logstore.kept.queues import Lane, QueueLogs
from logstore.log import Log
from logstore.records.decode import decode
from logstore.records.encode import encode

# Of batches that wait for lanes which are being opened: doors stop reading publishes then.
PARKED_BYTES_MAX: Final = 16 << 20
SIZED_BYTES: Final = 1 << 20  # that are read at once where bodies are counted
PART_BYTES: Final = 262_144  # where queues are in use: some thousand messages, looked at in 1 ms

log: Final = logging.getLogger("logstore.queues")


class LaneLogs:
    """The ``Logs`` of all queues of a process."""

    def __init__(
        self,
        logs: QueueLogs,
        journaling: Journaling,
        clock: Callable[[], int],
        soon: Callable[[Callable[[], object]], object],
        work: Work,
        catch_up: Callable[[Log], object] = lambda log: None,
    ) -> None:
        """``soon``, ``work``: as in Queues.

        ``catch_up`` returns once all records of a log are here that other processes append to as
        well.
        """
        self.parked_bytes = 0
        self._logs = logs
        self._journal = journaling.log
        self._notes = journaling.notes
        self._holding = journaling.holding
        self._clean = journaling.clean
        self._clock = clock
        self._soon = soon
        self._work = work
        self._catch_up = catch_up
        self._put_off: deque[Callable[[], int]] = deque()  # appends to many queues
        self._unneeded: list[Lane] = []  # volatile lanes of queues that are gone
        self._closed = False
        # Lanes of queues whose logs are to have other settings, and what says which.
        self._altered: dict[int, tuple[Sequence[int], Callable[[], Mapping[str, str]]]] = {}
        self._altering = False

    @property
    def crowded(self) -> bool:
        """Whether too much waits for lanes that are being opened."""
        return self.parked_bytes > PARKED_BYTES_MAX

    def parked(self, size: int) -> None:
        """As Logs.parked."""
        self.parked_bytes += size

    def later(self, call: Callable[[], int]) -> None:
        """As Logs.later."""
        self._put_off.append(call)
        if len(self._put_off) == 1:
            self._soon(self._go_on)

    def _go_on(self) -> None:
        left = APPENDS_MAX
        while self._put_off and left > 0:
            left -= self._put_off.popleft()()
        if self._put_off:
            self._soon(self._go_on)

    def finish(self) -> None:
        """Make all postponed calls."""
        while self._put_off:
            self._go_on()

    def close(self) -> None:
        """Stop opening logs."""
        self._closed = True
        self.finish()

    def make_volatile(self, queue: int, lane: int) -> Log:
        """As ``Logs.make_volatile``. Raises Closed at the end, when no one needs one."""
        if self._closed:
            raise Closed("the queues are closed")
        return self._logs.make_volatile(Lane(queue, lane))

    def sizes(
        self, log: Log, at: int, upto: int, then: Callable[[Part | LogstoreError], None]
    ) -> None:
        """As Logs.sizes."""

        def work() -> Part | LogstoreError:
            try:
                return body_sizes(log, at, upto)
            except LogstoreError as error:
                return error

        self._work(work, then)

    def open_lane(
        self,
        queue: int,
        lane: int,
        then: Callable[[Opened | LogstoreError], None],
        *,
        sized: bool,
        settings: Mapping[str, str],
    ) -> None:
        """As Logs.open_lane."""

        def work() -> tuple[Opened, Settled] | LogstoreError:
            try:
                return self._open(Lane(queue, lane), sized, settings)
            except LogstoreError as error:
                return error

        def opened(found: tuple[Opened, Settled] | LogstoreError) -> None:
            if isinstance(found, LogstoreError):
                log.error("queue %d: a lane can't be opened: %s", queue, found)
                then(found)
            else:
                notes = found[0].log.notes
                if isinstance(notes, LaneNotes):
                    self._holding.seen(notes.last)
                self._clipped(queue, *found, then)

        self._work(work, opened)

    def alter(
        self, queue: int, lanes: Sequence[int], settings: Callable[[], Mapping[str, str]]
    ) -> None:
        """As ``Logs.alter``: one worker alters all logs, one after the other."""
        before, _ = self._altered.get(queue, ((), settings))
        self._altered[queue] = sorted({*before, *lanes}), settings
        if not self._altering:
            self._alter()

    def _alter(self) -> None:
        altered, self._altered = self._altered, {}
        self._altering = True

        def alter() -> list[LogstoreError]:
            errors = []
            for queue, (lanes, settings) in altered.items():
                try:
                    for lane in lanes:
                        self._logs.alter(Lane(queue, lane), settings())
                except LogstoreError as error:
                    errors.append(error)
            return errors

        def done(errors: list[LogstoreError]) -> None:
            self._altering = False
            for error in errors[:1]:  # it is tried again when the lane is opened
                log.warning("the retention of %d queues can't be kept: %s", len(errors), error)
            if self._altered and not self._closed:
                self._alter()

        self._work(alter, done)

    def _open(self, lane: Lane, sized: bool, settings: Mapping[str, str]) -> tuple[Opened, Settled]:
        """Open the log of a lane. Runs in another thread."""
        found = self._logs.open(lane, settings)
        self._catch_up(found)  # records of other nodes must not count as lost
        kept = self._notes.state(lane.queue)
        state = LaneState() if kept is None else kept.lanes.get(lane.priority, LaneState())
        settled = Settled()
        before = 0 if self._clean else found.end
        settlement = reopened(lane.priority, state, found.start, found.end, before, settled)
        size, out = body_bytes(found, settlement) if sized else (0, {})
        return Opened(found, settlement, size, out), settled

    def _clipped(
        self,
        queue: int,
        opened: Opened,
        settled: Settled,
        then: Callable[[Opened | LogstoreError], None],
    ) -> None:
        """Journal what the log has lost, and wait until that is safe before any append."""
        if not settled:
            then(opened)
            return
        waiting = Waiting()
        try:
            batch = encode([(settled.encode(), queue_key(queue), (), self._clock())])
            waiting.appended(self._journal, self._journal.append(batch) + 1)
        except LogstoreError as error:
            then(error)
            return

        told = False

        def look() -> None:
            nonlocal told
            if not told and waiting.settled():
                told = True
                then(opened if waiting.failed is None else waiting.failed)

        def news() -> None:
            self._soon(look)

        look()
        if not told:
            waiting.watch(news)
            look()

    def drop_volatile(self, lanes: Sequence[Lane]) -> None:
        """Drop volatile lanes of a deleted queue, together with others of this turn."""
        if lanes and not self._unneeded:
            self._soon(self._drop_volatile)
        self._unneeded += lanes

    def _drop_volatile(self) -> None:
        """Drop the lanes in a worker: a connection may have had a thousand exclusive queues."""
        lanes, self._unneeded = self._unneeded, []

        def drop() -> list[LogstoreError]:
            errors: list[LogstoreError] = []
            for lane in lanes:
                try:
                    self._logs.drop_volatile(lane)
                except LogstoreError as error:
                    errors.append(error)
            return errors

        def dropped(errors: list[LogstoreError]) -> None:
            for error in errors:  # they are wiped at the next start
                log.warning("a deleted queue has left a folder: %s", error)

        self._work(drop, dropped)

    def delete(self, lanes: Sequence[Lane]) -> None:
        """Delete lasting lanes of deleted queues."""

        def delete() -> LogstoreError | None:
            try:
                self._logs.delete(lanes)
            except LogstoreError as error:
                return error
            return None

        def deleted(error: LogstoreError | None) -> None:
            if error is not None:  # it is tried again at the next start
                log.warning("logs of deleted queues are left: %s", error)

        self._work(delete, deleted)


def body_bytes(log: Log, settlement: Settlement) -> tuple[int, dict[int, int]]:
    """Return the bytes of all ready bodies, and of each unacknowledged body by its offset.

    Reads the log, and waits for it. Damaged records are passed over, as in delivery. Raises
    LogFailed, Damaged, Failed.
    """
    total, at = 0, settlement.floor
    out: dict[int, int] = {}
    while at < log.safe:
        try:
            batches = read_when_here(log, at, SIZED_BYTES)
        except CorruptBatch:
            following = log.following(at)
            if following is None:
                break
            at = following
            continue
        for batch in batches:
            with suppress(CorruptBatch):
                for it in decode(batch):
                    if it.offset < at or settlement.is_settled(it.offset):
                        continue
                    if settlement.is_out(it.offset):
                        out[it.offset] = len(it.value or b"")
                    else:
                        total += len(it.value or b"")
        at = batches[-1].next_offset
    return total, out


def body_sizes(log: Log, at: int, upto: int) -> Part:
    """Return the body sizes from ``at`` up to ``upto``, once they are safe.

    Raises LogFailed, Damaged, Failed.
    """
    if log.safe < upto:
        log.wait(upto)
    offsets, sizes = array("q"), array("q")
    try:
        batches = read_when_here(log, at, PART_BYTES)
    except CorruptBatch:
        following = log.following(at)
        return Part(offsets, sizes, upto if following is None else following)
    for batch in batches:
        with suppress(CorruptBatch):
            for record in decode(batch):
                if at <= record.offset < upto:
                    offsets.append(record.offset)
                    sizes.append(len(record.value or b""))
    return Part(offsets, sizes, batches[-1].next_offset if batches else upto)
