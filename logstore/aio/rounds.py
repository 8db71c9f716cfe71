"""Chores of consumers, done in rounds: one timer and one worker for all chores of a name.

So a thousand group members need no threads of their own. The cost of a round determines when the
next one begins: at most a twentieth of the time is spent on rounds.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from logstore.aio.bell import Bell
from logstore.aio.workers import Workers
from logstore.broker.chores import Chore

PACE: Final = 20  # pause after a round, in multiples of its duration

log: Final = logging.getLogger("logstore.aio")


class Rounds:
    """The rounds of one loop. Created in it; used from any thread."""

    def __init__(self, bell: Bell, loop: asyncio.AbstractEventLoop, workers: Workers) -> None:
        """``workers``: separate ones, so that no other work delays a group's members."""
        self._bell = bell
        self._loop = loop
        self._workers = workers
        self._mutex = threading.Lock()
        self._rounds: dict[str, _Round] = {}

    def alarm(self) -> "Alarm":
        """An alarm on which one consumer waits."""
        return Alarm(self._bell, self._loop)

    def begin(self, every_s: float, act: Callable[[], bool], name: str) -> Chore:
        """As Chores.begin."""
        with self._mutex:
            found = self._rounds.get(name)
            if found is None:
                found = self._rounds[name] = _Round(self._bell, self._loop, self._workers)
        return found.add(every_s, act)

    def close(self) -> None:
        """Start no more rounds; called in the loop."""
        with self._mutex:
            rounds = list(self._rounds.values())
        for it in rounds:
            it.close()


class Alarm:
    """An ``Awake`` that a task waits on. From any thread, except ``rung``."""

    __slots__ = ("_bell", "_is_set", "_loop", "_waiting")

    def __init__(self, bell: Bell, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = bell
        self._loop = loop
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """As Awake.set."""
        self._is_set = True
        if self._waiting:  # otherwise a later wait sees that it is set
            self._bell.ring(self._ring)

    def clear(self) -> None:
        """As Awake.clear."""
        self._is_set = False

    def is_set(self) -> bool:
        """As Awake.is_set."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """As Awake.wait, without waiting: ``rung`` does."""
        return self._is_set

    def _ring(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def rung(self, timeout_s: float | None = None) -> None:
        """Return once the alarm is set, or at the timeout; called in the loop."""
        future = self._loop.create_future()
        self._waiting.append(future)
        if self._is_set:
            self._ring()
        timer = None
        if timeout_s is not None and timeout_s < threading.TIMEOUT_MAX:
            timer = self._loop.call_later(timeout_s, self._over, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)

    @staticmethod
    def _over(future: "asyncio.Future[None]") -> None:
        if not future.done():
            future.set_result(None)


class _Round:
    """All chores of one name."""

    def __init__(self, bell: Bell, loop: asyncio.AbstractEventLoop, workers: Workers) -> None:
        self._bell = bell
        self._loop = loop
        self._workers = workers
        self._mutex = threading.Lock()
        self._chores: set[_RoundChore] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._going = self._closed = False

    def add(self, every_s: float, act: Callable[[], bool]) -> "_RoundChore":
        chore = _RoundChore(every_s, act, self)
        with self._mutex:
            self._chores.add(chore)
        self.plan_soon()
        return chore

    def plan_soon(self) -> None:
        self._bell.ring(self._plan)

    def _due(self) -> "tuple[float | None, list[_RoundChore]]":
        """When the next chore is due, and the chores that are due now."""
        at = monotonic()
        with self._mutex:
            self._chores = {it for it in self._chores if not it.over}
            chores = list(self._chores)
        due = [(0.0 if it.hurried else it.due, it) for it in chores]
        return min((it for it, _ in due), default=None), [it for at_s, it in due if at_s <= at]

    def _plan(self) -> None:
        """Plan the next round; called in the loop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._going or self._closed:
            return
        due, now = self._due()
        if now:
            self._going = True
            self._workers.start(lambda: _go(now)).add_done_callback(self._gone)
        elif due is not None:
            self._timer = self._loop.call_later(max(due - monotonic(), 0), self._plan)

    def _gone(self, done: "asyncio.Future[None]") -> None:
        self._going = False
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("a bug in a round", exc_info=error)
        self.plan_soon()

    def close(self) -> None:
        self._closed = True
        self._plan()


class _RoundChore:
    """A ``Chore`` of a round."""

    def __init__(self, every_s: float, act: Callable[[], bool], home: _Round) -> None:
        self.every_s = every_s
        self.due = monotonic() + every_s
        self.hurried = self.over = False
        self._act = act
        self._home = home
        self._lock = threading.RLock()  # held while the chore runs

    def do(self) -> None:
        """Do the chore; called in a worker."""
        with self._lock:
            self.hurried = False  # first, so that a later hurry counts
            if self.over:
                return
            try:
                self.over = not self._act()
            except Exception:  # the other chores of the round go on
                log.exception("a bug in a chore of a consumer")
                self.over = True

    def hurry(self) -> None:
        """As Chore.hurry."""
        self.hurried = True
        self._home.plan_soon()

    def join(self) -> None:
        """As Chore.join."""
        with self._lock:
            self.over = True
        self._home.plan_soon()


def _go(chores: list[_RoundChore]) -> None:
    """Do these chores; called in a worker."""
    began = monotonic()
    for it in chores:
        it.do()
    at = monotonic()
    for it in chores:
        it.due = max(began + it.every_s, at + min(at - began, it.every_s) * PACE)
