"""The rhythm of upkeep: a thread of a process that writes. It does upkeep every so often, and jobs
that other processes bring to the desk, one thing at a time.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from logstore.errors import LogstoreError
from logstore.upkeep.desk import Desk
from logstore.upkeep.jobs import Job, Outcome, Tell

_log = logging.getLogger("logstore.upkeep")


LOOK_S: Final = 0.5


class Rhythm:
    """Calls ``work`` again and again, the first time after a whole interval.

    What it raises on purpose is logged as a warning (logger ``logstore.upkeep``): nobody waits for
    it, and the next time may go better.
    """

    def __init__(
        self,
        desk: Desk,
        work: Callable[[], None],
        run: Callable[[Job, Tell], Iterator[Outcome]],
        interval_s: float | None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """``run(job, tell)`` does a job for another process. ``interval_s`` None: no ``work``.

        ``look`` is called every ``LOOK_S`` seconds, unless something else is under way.
        """
        self._look = look
        self._desk = desk
        self._work = work
        self._run_job = run
        self._interval_s = interval_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due_s = self._next()
        while not self._over.is_set():
            left_s = LOOK_S if due_s is None else max(due_s - time.monotonic(), 0)
            request = self._desk.wait(min(left_s, LOOK_S))
            if self._over.is_set():
                return
            self._look()
            if request is not None:
                request.serve(self._run_job)
            elif due_s is not None and time.monotonic() >= due_s:
                try:
                    self._work()
                except LogstoreError as error:
                    _log.warning("%s", error)
                due_s = self._next()

    def _next(self) -> float | None:
        return None if self._interval_s is None else time.monotonic() + self._interval_s

    def close(self) -> None:
        """Do no more; what is under way is waited for."""
        self._over.set()
        self._desk.close()
        self._thread.join()
        self._desk.remove()
