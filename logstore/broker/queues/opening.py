"""Opens the lanes of one queue: by workers, or in a later turn if there are many.

Knows which lanes are not open yet, and which callers wait for them; messages for a lane that is not
open are parked in it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from logstore.broker.queues.lane import Lane
from logstore.broker.queues.settlement import Settlement
from logstore.errors import LogstoreError
from logstore.log import Log

# Batches in one turn, of 50 us each: a queue beyond has its copy in a later turn.
APPENDS_MAX: Final = 200
OPEN_COST: Final = 3  # that to hand a lane to a worker costs, in appends of some 50 us
MAKE_COST: Final = 20  # that to make a volatile lane costs


# Runs the first in another thread, then the second, with what it gave, in this one.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], None]


class Opened(NamedTuple):
    """A lane that was opened in another thread."""

    log: Log
    settlement: Settlement
    body_bytes: int  # of ready messages; 0 if not asked for
    out_bytes: Mapping[int, int] = MappingProxyType({})  # the same of each offset that is out


class Part(NamedTuple):
    """Counts over some offsets of a lane."""

    offsets: Sequence[int]  # ascending
    sizes: Sequence[int]
    upto: int  # of all below it is known now


class Logs(Protocol):
    """The source of lanes' logs."""

    def open_lane(
        self,
        queue: int,
        lane: int,
        then: Callable[[Opened | LogstoreError], None],
        *,
        sized: bool,
        settings: Mapping[str, str],
    ) -> None:
        """Open the lane's log, or create it; ``then`` is called in this thread, now or later."""

    def alter(
        self, queue: int, lanes: Sequence[int], settings: Callable[[], Mapping[str, str]]
    ) -> None:
        """Apply the wanted settings to the lanes' logs. Called from any thread."""

    def make_volatile(self, queue: int, lane: int) -> Log:
        """Create the log of a volatile lane. Raises StorageFull, Failed."""

    def sizes(
        self, log: Log, at: int, upto: int, then: Callable[[Part | LogstoreError], None]
    ) -> None:
        """Read the body sizes of these offsets, or the first of them, in a worker."""

    def parked(self, size: int) -> None:
        """Change the count of bytes that wait for logs being opened by ``size``, which may be
        negative.
        """

    def later(self, call: Callable[[], int]) -> None:
        """Make the call in this turn or a later one, in order; it returns its cost."""


class Counted(Protocol):
    """The queue's counts, to which an opened lane adds."""

    ready_bytes: int
    expiring: bool
    retention: Mapping[str, str]  # settings of the logs of its lanes
    came: Callable[[Lane], object] | None  # is told of each lane that has its log now

    def is_out(self, lane: int, sizes: Mapping[int, int]) -> None:
        """Note that these offsets of the lane are unacknowledged, with their sizes in bytes."""


class Opening:
    """The opening of one queue."""

    __slots__ = (
        "_dropped", "_lasts", "_logs", "_queue", "_stock", "_wake", "_when_open", "sized",
        "under_way", "unopened",
    )  # fmt: skip

    def __init__(
        self,
        stock: Counted,
        queue: int,
        logs: Logs,
        wake: Callable[[], None],
        lanes: Iterable[int],
        *,
        lasts: bool,
        sized: bool,
    ) -> None:
        """As ``Stock``."""
        self.unopened = set(lanes)  # and not begun to be
        self.under_way = 0  # lanes that are being opened, or were put off
        self._stock = stock
        self._queue = queue
        self._logs = logs
        self._wake = wake
        self._lasts = lasts
        self.sized = sized  # whether the bytes of bodies are counted in what is opened
        self._when_open: list[Callable[[], None]] = []
        self._dropped = False

    def when_still(self, call: Callable[[], None]) -> None:
        """Call ``call`` once no lane is being opened, perhaps at once."""
        if self.under_way:
            self._when_open.append(call)
        else:
            call()

    def open_volatile(self, lane: Lane) -> None:
        """Open a volatile lane at once. Raises StorageFull, Failed."""
        lane.opened(self._logs.make_volatile(self._queue, lane.number), Settlement(), self._wake)

    def begin(self, lane: Lane) -> None:
        """Open the lane's log, or create it, in a worker."""
        self.unopened.discard(lane.number)
        self.under_way += 1
        self._open(lane)

    def put_off(self, lane: Lane) -> None:
        """Open the lane, or append its parked batches, in a later turn."""
        self.unopened.discard(lane.number)
        self.under_way += 1
        self._logs.later(lambda: self._go_on(lane))

    def drop(self) -> None:
        """Give up lanes that are still being opened: the queue is deleted."""
        self._dropped = True

    def _go_on(self, lane: Lane) -> int:
        """Do postponed work; return its cost, in appends."""
        if self._dropped:
            self._logs.parked(-lane.give_up(None))
        elif lane.log is not None:
            self._unpark(lane)
        elif self._lasts:
            self._open(lane)
            return OPEN_COST
        else:
            try:
                log = self._logs.make_volatile(self._queue, lane.number)
            except LogstoreError as error:
                self._opened(lane, error)
            else:
                self._opened(lane, Opened(log, Settlement(), 0))
            return MAKE_COST
        self._one_less()
        return 1

    def _open(self, lane: Lane) -> None:
        settings = self._stock.retention

        def opened(found: Opened | LogstoreError) -> None:
            self._opened(lane, found)
            if self._stock.retention != settings and not self._dropped:  # changed meanwhile
                self._logs.alter(self._queue, (lane.number,), lambda: self._stock.retention)

        self._logs.open_lane(self._queue, lane.number, opened, sized=self.sized, settings=settings)

    def _opened(self, lane: Lane, opened: Opened | LogstoreError) -> None:
        if self._dropped:
            self._logs.parked(-lane.give_up(None))
        elif isinstance(opened, LogstoreError):
            self._logs.parked(-lane.give_up(opened))
        else:
            lane.opened(opened.log, opened.settlement, self._wake)
            self._stock.ready_bytes += opened.body_bytes
            self._stock.is_out(lane.number, opened.out_bytes)
            there = lane.settlement.ready(lane.end)
            self._stock.expiring = self._stock.expiring or there > 0
            self._unpark(lane)
            if self._stock.came is not None:
                self._stock.came(lane)
        self._one_less()

    def _unpark(self, lane: Lane) -> None:
        freed, unneeded = lane.unpark()
        self._logs.parked(-freed)
        self._stock.ready_bytes -= unneeded

    def _one_less(self) -> None:
        """Note that a lane is open or has failed."""
        self.under_way -= 1
        if not self.under_way:
            calls, self._when_open = self._when_open, []
            for call in calls:
                call()
            if not self._dropped:
                self._wake()
