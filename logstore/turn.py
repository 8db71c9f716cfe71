"""The sessions' thread, the end of its loop's turn, and its clock.

All sessions run in one thread, and a turn is what its loop does between two waits for its sockets.
Any thread may leave a call for the sessions' thread: it is made when the turn ends, after all input
of the turn's sockets. Equal calls are made once: a connection that three logs have woken is handled
once, and messages that all clients publish in a turn are delivered together.

The sessions' clock stops while no peer can be heard: in a turn of more than a second, or while the
process is stopped (SIGSTOP, a suspended machine). All deadlines of peers are measured by it
(sessions of group members, rebalances, idle connections), so a peer that sent its heartbeat
meanwhile is not late. Ages of data are measured by another clock.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from logstore.log_facts import about
from logstore.turns import Turns

GAP_S: Final = 1.0  # longer than this without a look at the clock: nobody was heard
END_S: Final = 0.02  # of the end of a turn: a crowd may be woken at once
TICK_S: Final = 0.25  # so often it is looked at, if nobody else does
TOLD_S: Final = 0.5  # a turn that is longer is told of in the log; a busy machine has some of 0.1 s
TOLD_EVERY_S: Final = 10.0

log: Final = logging.getLogger("logstore.turn")


class Turn:
    """The turns of one loop; created in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turns = Turns()
        self._loop = loop
        self._thread = threading.get_ident()
        self._mutex = threading.Lock()
        self._calls: dict[Callable[[], object], None] = {}
        # The turn that is measured: the loop's time in it, and how long its parts took.
        self._at = loop.time()
        self._length = 0.0
        self._told_at = -TOLD_EVERY_S
        self._seen = self._at  # when the clock was looked at
        self._lost = 0.0  # seconds that the sessions' clock stood still
        self._listen: Callable[[], None] = self.all_heard
        self._unheard: dict[Callable[[], object], None] | None = None  # None: all are heard
        self._ticker = loop.call_later(TICK_S, self._tick)

    def soon(self, call: Callable[[], object]) -> None:
        """Have it called in the sessions' thread when the turn ends, in order. From any thread.

        Once, if it is left several times till then: calls that are equal are one. A call that is
        left while the turn is ended belongs to the next one. Without effect once the loop is
        closed: there are no sessions any more.
        """
        with self._mutex:
            first = not self._calls
            self._calls[call] = None
        if first:
            here = threading.get_ident() == self._thread  # then nobody has to be woken from a wait
            end_soon = self._loop.call_soon if here else self._loop.call_soon_threadsafe
            try:
                end_soon(self._end)
            except RuntimeError:  # closed
                with self._mutex:
                    self._calls.clear()

    def _end(self) -> None:
        """The one place where a turn ends."""
        began = monotonic()
        with self._mutex:
            calls, self._calls = self._calls, {}
        left = iter(calls)
        for call in left:
            try:
                call()
            except Exception:
                log.exception("a bug in what was to be done at the end of a turn")
            if monotonic() > began + END_S:
                self._put_back(left)
        self._length += monotonic() - began
        self._measure()

    def _put_back(self, calls: Iterator[Callable[[], object]]) -> None:
        """Those of a crowd that are left belong to the next turn, before all others of it."""
        left = dict.fromkeys(calls)
        with self._mutex:
            first = bool(left) and not self._calls
            self._calls = left | self._calls
        if first:
            self._loop.call_soon(self._end)

    # How long turns are

    def spent(self, began: float) -> None:
        """A part of a turn is over that began then, by ``monotonic``."""
        at = self._loop.time()
        if at != self._at:  # the loop has been at its sockets since
            self._measure()
            self._at = at
        self._length += monotonic() - began

    def _measure(self) -> None:
        length, self._length = self._length, 0.0
        if not length:
            return
        self.turns.add(length)
        if length > TOLD_S and monotonic() > self._told_at + TOLD_EVERY_S:
            self._told_at = monotonic()
            facts = about(seconds=round(length, 3))
            log.warning("one turn took %.1f s: nobody was answered meanwhile", length, extra=facts)

    @staticmethod
    def stopwatch() -> float:
        """Seconds, as turns are measured by."""
        return monotonic()

    # The sessions' clock

    def now(self) -> float:
        """Seconds; it only goes forward."""
        at = self._loop.time()
        if at - self._seen > GAP_S:
            self._gap(at - self._seen)
        self._seen = at
        return at - self._lost

    def call_at(self, at: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Have it called at that time of the sessions' clock; too early, if it stands still."""
        return self._loop.call_at(at + self._lost, call)

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self.now()
        self._measure()

    def stop(self) -> None:
        """The clock is not needed any more."""
        self._ticker.cancel()

    def _gap(self, length_s: float) -> None:
        self._lost += length_s
        self.turns.add_gap(length_s)
        facts = about(seconds=round(length_s, 3))
        log.warning(
            "nobody was heard for %.1f s: clients are given as much more time",
            length_s,
            extra=facts,
        )
        if self._unheard is None:
            self._unheard = {}
            self.soon(self._listen)

    def listener(self, listen: Callable[[], None]) -> None:
        """After a gap ``listen`` is called: it hears what all have sent, and then ``all_heard``."""
        self._listen = listen

    def all_heard(self) -> None:
        """What was sent in a gap was taken: who is silent now may be given up."""
        calls, self._unheard = self._unheard, None
        for call in calls or ():
            self.soon(call)

    def when_heard(self, call: Callable[[], object]) -> None:
        """Call it now; after a gap when all have been heard: for who gives up silent peers."""
        self.now()  # whoever comes first after a gap finds it
        if self._unheard is None:
            call()
        else:
            self._unheard[call] = None
