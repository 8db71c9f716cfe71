"""The rhythm of upkeep: a thread that does it every so often, while a store is open for writing."""

import logging
import threading
from collections.abc import Callable

from logstore.errors import LogstoreError

_log = logging.getLogger("logstore.upkeep")


class Rhythm:
    """Calls ``work`` again and again, the first time after a whole interval.

    What it raises on purpose is logged as a warning (logger ``logstore.upkeep``): nobody waits for
    it, and the next time may go better.
    """

    def __init__(self, work: Callable[[], None], interval_s: float) -> None:
        self._work = work
        self._interval_s = interval_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            try:
                self._work()
            except LogstoreError as error:
                _log.warning("%s", error)

    def close(self) -> None:
        """Do no more; what is under way is waited for."""
        self._over.set()
        self._thread.join()
