"""Queues of batches before logs: batches keep their order while one is checked in a worker."""

from collections import deque
from typing import Protocol

# A log, before it is opened, too: the id of its topic and its number there.
Place = tuple[str, int]


class Waiting(Protocol):
    """A batch that waits in a line."""

    @property
    def looked_into(self) -> bool:
        """Whether the work may continue once it is first in line."""

    def go(self) -> bool:
        """Continue, as the first in line; False if not yet, after which it advances the line itself
        later.
        """


class Lines:
    """The lines of all logs that have one; a line exists only while something waits in it."""

    def __init__(self) -> None:
        self._waiting: dict[Place, deque[Waiting]] = {}

    def stands_before(self, place: Place) -> bool:
        """Whether a line exists, which new work must join."""
        return place in self._waiting

    def join(self, place: Place, it: Waiting) -> None:
        """Append work to the line."""
        self._waiting.setdefault(place, deque()).append(it)

    def advance(self, place: Place) -> None:
        """Run the work in line, up to the first that cannot run yet."""
        line = self._waiting.get(place)
        while line and line[0].looked_into and line[0].go():
            line.popleft()
        if not line:
            self._waiting.pop(place, None)
