"""Long work in the sessions' thread: one slice a turn, so that no client waits long.

Work is a generator. It yields the number of units done since the last yield (a unit is a name, a
member, a partition: some microseconds), or a ``Wait``, whose result is the value of the yield.
Slices are bounded by units and, if they take longer than they should, by time; only one slice of
all work under way is done in a turn, so that a hundred connections delay others no longer than one.
Small work is done at once.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from logstore.errors import Failed, LogstoreError

AT_ONCE: Final = 100  # units of work that are done before anything is put off
UNITS: Final = 1000  # of a slice
AT_ONCE_S: Final = 0.02
SLICE_S: Final = 0.005  # half of what a connection may take (``server.TURNS_S``)

log: Final = logging.getLogger("logstore.slices")

GoOn = Callable[[Any], None]
# Called with what is to be called, in the sessions' thread, when the work can go on: with what it
# goes on with, or the LogstoreError that came instead, which is raised in it.
Wait = Callable[[GoOn], object]
Steps = Generator[int | Wait, Any, Any]
T = TypeVar("T")
Soon = Callable[[Callable[[], object]], object]  # as Turn.soon


def parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    for at in range(0, len(items), most):
        yield items[at : at + most]


def in_one_go(steps: Generator[Any, None, T]) -> T:
    """What they come to, of few that wait for nothing."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        found: T = end.value
        return found


class _Work:
    """One piece of work in progress."""

    __slots__ = ("done", "goes_on_with", "over", "running", "steps", "waits")

    def __init__(self, steps: Steps, done: GoOn) -> None:
        self.steps = steps
        self.done = done
        self.goes_on_with: Any = None
        self.over = self.running = self.waits = False


class Slices:
    """All such work in one thread."""

    def __init__(self, soon: Soon | None = None) -> None:
        """``soon``: has a call made when the turn ends; None: all is done at once."""
        self._soon = soon
        self._due: deque[_Work] = deque()
        self.longest = 0  # units of one slice so far

    def begin(self, steps: Steps, done: GoOn, at_once: int = AT_ONCE) -> bool:
        """``done`` gets what the generator returns, or its LogstoreError; whether it has already.

        ``done`` is called once. ``at_once``: units that are done before anything is put off.
        """
        work = _Work(steps, done)
        until = math.inf if self._soon is None else monotonic() + AT_ONCE_S
        self._run(work, at_once if self._soon is not None else None, until)
        return work.over

    def _run(self, work: _Work, units: int | None, until: float) -> None:
        """A slice of it."""
        used, work.running = 0, True
        try:
            while True:
                given, work.goes_on_with = work.goes_on_with, None
                throw = isinstance(given, LogstoreError)
                step = work.steps.throw(given) if throw else work.steps.send(given)
                if isinstance(step, int):
                    used += step
                    if units is not None and (used >= units or monotonic() > until):
                        self._put_off(work)
                        return
                else:
                    work.waits = True
                    step(partial(self._go_on, work))
                    if work.waits:
                        return
        except StopIteration as end:
            self._end(work, end.value)
        except LogstoreError as error:
            self._end(work, error)
        except Exception as error:
            log.exception("a bug in work that is done in slices")
            self._end(work, Failed(f"internal error: {error!r}"))
        finally:
            work.running = False
            self.longest = max(self.longest, used)

    @staticmethod
    def _end(work: _Work, result: Any) -> None:  # noqa: ANN401
        work.over = True
        work.done(result)

    def _go_on(self, work: _Work, given: Any) -> None:  # noqa: ANN401
        work.goes_on_with, work.waits = given, False
        if not work.running:
            if self._soon is None:
                self._run(work, None, math.inf)
            else:
                self._put_off(work)

    def _put_off(self, work: _Work) -> None:
        self._due.append(work)
        if len(self._due) == 1:
            assert self._soon is not None
            self._soon(self._slice)

    def _slice(self) -> None:
        """The turn's one."""
        work = self._due[0]
        try:
            self._run(work, UNITS, monotonic() + SLICE_S)
        finally:  # also where whoever is told has a bug: the others go on
            self._due.popleft()
            if self._due:
                assert self._soon is not None
                self._soon(self._slice)
