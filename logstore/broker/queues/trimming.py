"""Deletes settled messages from the logs of queues: about a second later, in a worker's thread.

A lane is trimmed below its first unsettled message. An empty lane that received nothing between two
checks begins a new segment, so that all its old segments can be deleted: an idle queue has one
empty segment. Messages that are retained for a while are left to upkeep. The journal is trimmed,
too, below its recovery point.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from logstore.broker.queues.pending import NO_TIME
from logstore.broker.queues.settlement import Settlement
from logstore.broker.queues.transaction import Holder
from logstore.kept.queues import LaneTrim
from logstore.log import Log

EVERY_MS: Final = 1000  # a trim is a commit of the catalogue
QUEUES_MAX: Final = 1000  # that are looked at in one turn


class Trim(NamedTuple):
    """What one queue may delete."""

    queue: Holder
    lanes: Sequence[LaneTrim]


class Trimming:
    """The trimming of all queues of a process."""

    def __init__(self) -> None:
        self.due_ms = NO_TIME  # of the next look
        self._queues: dict[Holder, None] = {}  # that something was settled of
        self._ends: dict[Log, int] = {}  # at the last look, of lanes that were drained
        self.at_work = False

    def touched(self, queues: Iterable[Holder], now_ms: int) -> bool:
        """Note that messages were settled, or the queues opened; return whether
        ``due_ms`` is new.
        """
        self._queues.update(dict.fromkeys(queues))
        return self._arm(now_ms)

    def gone(self, queue: Holder) -> None:
        """Forget a deleted queue."""
        self._queues.pop(queue, None)
        for lane in queue.stock.order:
            if lane.log is not None:
                self._ends.pop(lane.log, None)

    def _arm(self, now_ms: int) -> bool:
        if not self._queues or self.at_work or self.due_ms != NO_TIME:
            return False
        self.due_ms = now_ms + EVERY_MS
        return True

    def look(self, *, short: bool = False) -> list[Trim]:
        """Return what is to be trimmed now; ``done`` must be called afterwards.

        ``short``: the disk is short, so that drained lanes are trimmed without waiting for more
        messages.
        """
        self.due_ms, self.at_work = NO_TIME, True
        found: list[Trim] = []
        for queue in list(self._queues)[:QUEUES_MAX]:
            del self._queues[queue]
            lanes = [
                self._of(queue, lane.log, lane.settlement, short=short)
                for lane in queue.stock.order if lane.log is not None
            ]  # fmt: skip
            if lanes:
                found.append(Trim(queue, lanes))
        return found

    def _of(self, queue: Holder, log: Log, settlement: Settlement, *, short: bool) -> LaneTrim:
        floor = settlement.floor
        shown = next(settlement.removed.left(log.start, floor), (floor, floor))[0]
        drained = False
        if floor < log.end:
            self._ends.pop(log, None)
        elif self._ends.pop(log, None) == floor or short:
            drained = True
        else:
            self._ends[log] = floor
            self._queues[queue] = None  # once more, to see whether anything comes
        return LaneTrim(log, floor, shown, drained)

    def done(self, now_ms: int) -> bool:
        """Note that trimming was tried; return whether ``due_ms`` is new."""
        self.at_work = False
        return self._arm(now_ms)
