"""Turns of queues without a loop: each calling thread is the sessions' thread during its call.

One thread at a time uses the model, under one lock. Work left for the end of the turn is done
before that thread continues. A waiting thread does the work that other threads have left meanwhile
(the flusher, the committer, workers), and checks the clock. So there is no thread that only waits;
between calls nothing happens, which no one could notice.

A caller that must not block calls ``at_once``, and is told when to call it again.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from time import monotonic
from typing import Any, Final, TypeVar

from logstore.broker.queues.queues import Queues
from logstore.broker.queues.served_turn import NotNow
from logstore.errors import Closed, Failed, LogstoreError

_T = TypeVar("_T")

# Turns in a row for one call: a queue of which a million messages expire keeps no other thread
# waiting. What is left is done by the next that calls or waits.
TURNS_MAX: Final = 16
AT_ONCE_S: Final = 0.005  # of a turn in a thread that has others to serve
ARRIVE_S: Final = 10.0  # at a close, for messages of topics; a disk that hangs holds it no longer
WORKERS: Final = 2  # that open lanes, as many as the model opens at once by itself

log: Final = logging.getLogger("logstore.queues")


def _nothing() -> None:
    pass


class OwnTurn:
    """The turns of one process that alone has the queues of a store. From any thread."""

    def __init__(
        self, clock: Callable[[], int], watchers: Sequence[Callable[[], None]] = ()
    ) -> None:
        """``watchers``: called, from any thread, when a turn must be ended.

        The collection may grow. A watcher must look at ``due_s`` too.
        """
        self._clock = clock
        self._watchers = watchers
        self._model = threading.RLock()  # held by the thread in the model
        self._news = threading.Condition()  # held for no longer than it takes to leave a call
        self._calls: dict[Callable[[], object], None] = {}
        self._turns = 0  # that were ended
        self._workers = ThreadPoolExecutor(WORKERS, "queue-worker")
        self._working = 0
        self._queues: Queues | None = None
        self._error: LogstoreError | None = None  # why there are no more turns
        self._inside: int | None = None  # the thread that is in the model, and will end its turn

    def begin(self, queues: Queues) -> None:
        """Set the queues that are called from now on."""
        self._queues = queues

    def forked(self, error: LogstoreError) -> None:
        """As Forkable.forked."""
        self._model, self._news = threading.RLock(), threading.Condition()
        self._error = error

    # What the model is given

    def soon(self, call: Callable[[], object]) -> None:
        """Schedule a call at the end of the turn, once for equal ones. From any thread."""
        if self._inside == get_ident():  # which ends its turn, and tells all then
            with self._news:
                self._calls[call] = None
            return
        with self._news:
            self._calls[call] = None
            self._news.notify_all()
        self._tell()

    def _tell(self) -> None:
        for told in self._watchers:
            told()

    def work(self, first: Callable[[], Any], second: Callable[[Any], None]) -> None:
        """Run the first in another thread, then the second with its result in a turn."""
        self._working += 1

        def run() -> None:
            try:
                found = first()
            except Exception as error:
                log.exception("a bug in a worker")
                found = Failed(f"internal error: {error!r}")
            self.soon(lambda: done(found))

        def done(found: object) -> None:
            self._working -= 1
            second(found)

        self._workers.submit(run)

    # What callers use

    def do(self, call: Callable[[], _T]) -> _T:
        """Make the call in the model, and end the turn. Raises its errors; Closed, Forked."""
        with self._model:
            return self._turn(call, TURNS_MAX)

    def at_once(self, call: Callable[[], _T]) -> _T:
        """Make the call in one turn, unless another thread is in the model.

        Raises as ``do``, and NotNow.
        """
        if not self._model.acquire(blocking=False):
            raise NotNow
        try:
            return self._turn(call, 1, monotonic() + AT_ONCE_S)
        finally:
            self._model.release()

    def _turn(self, call: Callable[[], _T], turns: int, until_s: float | None = None) -> _T:
        self._check()
        outside, self._inside = self._inside, get_ident()
        try:
            self._tick(turns, until_s)
            try:
                return call()
            finally:
                self._end(turns, until_s)
        finally:
            self._inside = outside

    def alarmed(self, at_ms: int | None) -> None:
        """Note a new deadline, as ``alarmed`` of Queues."""
        self._tell()

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """End turns until ``ready`` returns true; return whether it did, if there is a timeout.

        ``ready`` is called in the model. Raises Closed, Forked.
        """
        until = None if timeout_s is None else monotonic() + timeout_s
        while True:
            with self._model:
                self._turn(_nothing, TURNS_MAX)
                if ready():
                    return True
                seen, due_s = self._turns, self.due_s()
            left_s = None if until is None else until - monotonic()
            if left_s is not None and left_s <= 0:
                return False
            times = [it for it in (left_s, due_s) if it is not None]
            with self._news:
                if not self._calls and self._turns == seen:
                    self._news.wait(min(times) if times else None)

    def poke(self) -> None:
        """As ``Desk.poke``: waiting calls look again after each turn in any case."""

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _tick(self, turns: int, until_s: float | None) -> None:
        assert self._queues is not None, "nothing is called before there is a model"
        due_ms = self._queues.deadline_ms()
        if due_ms is not None and due_ms <= (now_ms := self._clock()):
            self._queues.tick(now_ms)
            self._end(turns, until_s)  # expired messages go before any caller looks

    def due_s(self) -> float | None:
        """Return the seconds until the next deadline, or None. Within the model."""
        assert self._queues is not None
        due_ms = self._queues.deadline_ms()
        return None if due_ms is None else max(0, due_ms - self._clock()) / 1000

    def _end(self, turns: int, until_s: float | None = None) -> None:
        """End up to ``turns`` turns. ``until_s``: calls that have not begun by then are left for
        later.
        """
        for _ in range(turns):
            if not self._calls:
                break
            with self._news:
                calls, self._calls = self._calls, {}
            left = iter(calls)
            for call in left:
                try:
                    call()
                except Exception:
                    log.exception("a bug in what was to be done at the end of a turn")
                if until_s is not None and monotonic() > until_s:
                    with self._news:
                        self._calls = dict.fromkeys(left) | self._calls
            with self._news:
                self._turns += 1
                self._news.notify_all()
        else:
            if self._calls:
                self._tell()

    # The end

    def _moving(self) -> bool:
        assert self._queues is not None
        return any(
            queue.dead_letters.moving
            for vhost in self._queues.vhosts.values()
            for queue in vhost.with_lanes()
        )

    def close(self, why: Closed, keep: Callable[[], None]) -> None:
        """Close. ``keep`` is called once, at the end; other callers get the error ``why``."""
        if self._error is not None:
            return
        assert self._queues is not None
        queues = self._queues
        self.do(queues.halt)
        self.wait(lambda: not queues.on_the_way, ARRIVE_S)
        self.wait(lambda: not self._working and not self._moving())
        self._workers.shutdown()
        with self._model:
            self._error = why
            try:
                queues.close()
                self._end(TURNS_MAX)
                keep()
                self._end(TURNS_MAX)
            finally:
                with self._news:
                    self._turns += 1
                    self._news.notify_all()
