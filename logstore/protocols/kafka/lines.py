"""Queues of batches before logs: batches keep their order while one is checked in a worker."""

from collections import deque
from typing import Protocol

# A log, before it is opened, too: the id of its topic and its number there.
Place = tuple[str, int]


class Waiting(Protocol):
    """A batch that waits in a line."""

    @property
    def looked_into(self) -> bool:
        """Whether it may go on once it is the first."""

    def go(self) -> bool:
        """It is the first, and goes on. False: not yet, it has the line advanced when it can."""


class Lines:
    """The lines of all logs that have one; a line exists only while something waits in it."""

    def __init__(self) -> None:
        self._waiting: dict[Place, deque[Waiting]] = {}

    def stands_before(self, place: Place) -> bool:
        """Whether there is a line, so that who comes now must join it."""
        return place in self._waiting

    def join(self, place: Place, it: Waiting) -> None:
        """Stand behind those who came before."""
        self._waiting.setdefault(place, deque()).append(it)

    def advance(self, place: Place) -> None:
        """Let go on who can, from the first to the first that cannot."""
        line = self._waiting.get(place)
        while line and line[0].looked_into and line[0].go():
            line.popleft()
        if not line:
            self._waiting.pop(place, None)
