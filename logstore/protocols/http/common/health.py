"""Checks what keeps the process from acknowledging records: one check serves all callers."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

AGAIN_S: Final = 1.0  # a look writes to the disk, and anyone may ask
ANSWER_S: Final = 5.0  # that a look may take: a disk that hangs answers nobody
SILENT: Final = {"disk": f"the disk has not answered within {ANSWER_S:.0f} s"}

log: Final = logging.getLogger("logstore.http")

Wrong = Mapping[str, str]  # why, by what it is; nothing where all is well
Look = Callable[[Callable[[Wrong], None]], None]


class Health:
    """The health of one process. Used in the sessions' thread."""

    def __init__(self, look: Look, stopwatch: Callable[[], float]) -> None:
        """``look(then)``: ``then`` gets what is wrong, now or in a later turn."""
        self._look = look
        self._stopwatch = stopwatch
        self._found: Wrong = {}
        self._looked_at: float | None = None
        self._waiting: list[Callable[[Wrong], None]] = []

    def ask(self, then: Callable[[Wrong], None]) -> None:
        """``then`` gets what is wrong now, or was a moment ago."""
        if self._looked_at is not None and self._stopwatch() - self._looked_at < AGAIN_S:
            then(self._found)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._look(self._seen)

    def _seen(self, found: Wrong) -> None:
        if found != self._found:
            told = "; ".join(found.values())
            log.warning("not ready: %s", told) if found else log.warning("ready again")
        self._found, self._looked_at = found, self._stopwatch()
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(found)
