"""Lets many tasks share one worker, a piece of each in turn, so that none occupies all workers."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from logstore.protocols.house import Work


class InTurn:
    """A ``Work`` that runs one piece at a time. Used in the sessions' thread."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._waiting: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._busy = False

    def __len__(self) -> int:
        """How many wait, without the one that is done now."""
        return len(self._waiting)

    def __call__(self, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have ``job`` done behind those that wait; ``then`` gets what it makes."""
        self._waiting.append((job, then))
        self._begin()

    def _begin(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            job, then = self._waiting.popleft()
            self._work(job, partial(self._done, then))

    def _done(self, then: Callable[[Any], None], found: Any) -> None:  # noqa: ANN401
        self._busy = False
        try:
            then(found)  # who goes on waits behind the others
        finally:
            self._begin()
