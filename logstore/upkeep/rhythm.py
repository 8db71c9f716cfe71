"""The upkeep thread of a writing process: periodic work and jobs from the desk, one at a time."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from logstore.errors import LogstoreError
from logstore.upkeep.desk import Desk
from logstore.upkeep.job import Job, Outcome, Tell

_log = logging.getLogger("logstore.upkeep")


LOOK_S: Final = 0.5


@dataclass(slots=True)
class Work:
    """A periodic task."""

    do: Callable[[], None]
    interval_s: float
    due_s: float = 0.0

    def put_off(self) -> None:
        """Wait for a whole interval again."""
        self.due_s = time.monotonic() + self.interval_s


class Rhythm:
    """Runs each of ``works`` periodically, for the first time after one interval.

    An error of logstore's own is logged as a warning (logger ``logstore.upkeep``), because no
    caller waits for the result and the next run may succeed.
    """

    def __init__(
        self,
        desk: Desk,
        works: Sequence[Work],
        run: Callable[[Job, Tell], Iterator[Outcome]],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """``run(job, tell)`` does a job for another process.

        ``look`` is called every ``LOOK_S`` seconds, unless something else is under way.
        """
        self._look = look
        self._desk = desk
        self._works = works
        self._run_job = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for work in self._works:
            work.put_off()
        while not self._over.is_set():
            first_s = min((it.due_s for it in self._works), default=math.inf)
            left_s = max(first_s - time.monotonic(), 0)
            request = self._desk.wait(min(left_s, LOOK_S))
            if self._over.is_set():
                return
            self._look()
            if request is not None:
                request.serve(self._run_job)
                continue
            for work in self._works:
                if time.monotonic() >= work.due_s and not self._over.is_set():
                    self._do(work)

    def _do(self, work: Work) -> None:
        try:
            work.do()
        except LogstoreError as error:
            _log.warning("%s", error)
        work.put_off()

    def close(self) -> None:
        """Start nothing more, and wait for the present work."""
        self._over.set()
        self._desk.close()
        self._thread.join()
        self._desk.remove()
