"""Lets tasks wait until their appends are safe: one check of each log serves all of them."""

import asyncio
import heapq
from collections.abc import Iterable
from itertools import count
from typing import Final

from logstore.aio.bell import CALLS_MAX, Bell
from logstore.errors import Closed, LogstoreError
from logstore.log import Log

LINES_MAX: Final = 256  # logs: beyond this, those without waiting tasks are forgotten


class Safety:
    """The waits of one loop, called in it."""

    def __init__(self, bell: Bell, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = bell
        self._loop = loop
        self._lines: dict[Log, _Line] = {}
        self._numbers = count()

    async def safe(self, log: Log, upto: int) -> None:
        """Return once ``log.done >= upto``, a mark; requests a sync.

        Raises LogFailed if that is impossible, UnknownPartition if the topic was deleted, Closed if
        the store was closed before the result was known.
        """
        if log.done < upto:
            await self._wait(log, upto)

    async def all_safe(self, marks: Iterable[tuple[Log, int]]) -> None:
        """As ``safe``, for several marks."""
        for error in await self.failures(marks):
            raise error

    async def failures(self, marks: Iterable[tuple[Log, int]]) -> list[LogstoreError]:
        """As ``all_safe``, but returns the errors of marks that will never be safe."""
        found: list[LogstoreError] = []
        for wait in [self._wait(log, upto) for log, upto in marks if log.done < upto]:
            try:
                await wait
            except LogstoreError as error:  # the others are waited for, whatever is with this one
                found.append(error)
        return found

    def _wait(self, log: Log, upto: int) -> "asyncio.Future[None]":
        line = self._lines.get(log)
        if line is None:
            if len(self._lines) >= LINES_MAX:
                self._forget_empty()
            line = self._lines[log] = _Line(log, self._bell)
        future = self._loop.create_future()
        heapq.heappush(line.waiting, (upto, next(self._numbers), future))
        if not line.asked:
            line.asked = True
            self._loop.call_soon(self._sync, line)  # once for all that is appended meanwhile
        return future

    def _sync(self, line: "_Line") -> None:
        line.asked = False
        line.log.sync_soon()
        line.look()  # it may have become safe before it was watched

    def _forget_empty(self) -> None:
        for log in [log for log, line in self._lines.items() if not line.waiting]:
            self._lines.pop(log).stop()

    def close(self, why: Closed) -> None:
        """Fail all waiting tasks with ``why``."""
        for line in self._lines.values():
            line.close(why)
        self._lines.clear()


_Waiting = tuple[int, int, "asyncio.Future[None]"]
TOLD_MAX: Final = CALLS_MAX  # in one iteration of the loop: each task goes on in the next one


class _Line:
    """The tasks that wait for one log."""

    __slots__ = ("_bell", "asked", "log", "stop", "waiting")

    def __init__(self, log: Log, bell: Bell) -> None:
        self.log = log
        self.waiting: list[_Waiting] = []  # a heap: the next one is the first
        self.asked = False  # whether it is about to be synced
        self._bell = bell
        self.stop = log.watch(self._news)

    def _news(self) -> None:
        """Have the log looked at. Called from any thread."""
        if self.waiting:
            self._bell.ring(self.look)

    def look(self) -> None:
        """Wake the tasks whose marks are safe, or all of them if the log has failed."""
        done, waiting = self.log.done, self.waiting
        for _ in range(TOLD_MAX):
            if not waiting or waiting[0][0] > done:
                break
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)
        else:
            self._bell.ring(self.look)
        if waiting and waiting[0][0] > done:
            try:
                self.log.check_failure()
            except LogstoreError as error:
                self.fail(error)

    def fail(self, error: LogstoreError) -> None:
        """Fail all waiting tasks."""
        waiting, self.waiting = self.waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def close(self, why: Closed) -> None:
        self.stop()
        self.fail(why)
