"""Counts the bytes of bodies in a queue that did not count them before.

A policy may limit the bytes of a queue that is in use. A worker reads its lanes, a part at a time,
while messages come and go: offsets that are not counted yet are excluded from all sums, and added
with their part.
"""

from collections.abc import Callable, Sequence

from logstore.broker.queues.lane import Lane
from logstore.broker.queues.opening import Logs, Part
from logstore.errors import LogstoreError


class Sizing:
    """The counting for one queue whose lanes are open. ``then`` is called when everything is
    counted.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        logs: Logs,
        found: Callable[[Lane, Part], None],
        then: Callable[[], None],
    ) -> None:
        """``found`` is called with each part, in this thread."""
        self._logs = logs
        self._found = found
        self._then = then
        self._given_up = False
        # What is not counted yet, by lanes: offsets from the one to below the other.
        self.left: dict[int, tuple[int, int]] = {}
        self._lanes = [it for it in lanes if it.log is not None]
        for lane in self._lanes:
            self.left[lane.number] = lane.settlement.floor, lane.end

    def begin(self) -> None:
        self._go_on()

    def give_up(self) -> None:
        """Stop: the result is no longer needed."""
        self._given_up = True

    def leaves_out(self, lane: int, offset: int) -> bool:
        """Return whether the message at this offset is not counted yet."""
        left = self.left.get(lane)
        return left is not None and left[0] <= offset < left[1]

    def _go_on(self) -> None:
        while self._lanes:
            lane = self._lanes[-1]
            at, upto = self.left[lane.number]
            if at >= upto or lane.log is None:
                self._done(lane)
                continue
            self._logs.sizes(lane.log, at, upto, self._read)
            return
        self._then()

    def _done(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        del self.left[lane.number]

    def _read(self, found: Part | LogstoreError) -> None:
        if self._given_up:
            return
        lane = self._lanes[-1]
        if isinstance(found, LogstoreError):  # nor can it be given out
            self._done(lane)
        else:
            _, upto = self.left[lane.number]
            self.left[lane.number] = min(found.upto, upto), upto
            self._found(lane, found)
        self._go_on()
