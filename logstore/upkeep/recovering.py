"""The thread that recovers what a crash has left of the logs that nobody uses yet.

It takes its time: as long as it was at work it leaves the processor and the disk to others.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

REST_S_MAX: Final = 0.1  # after a log that took long


class Recovering:
    """Calls ``recover_next`` until it says that nothing is left."""

    def __init__(self, recover_next: Callable[[], bool]) -> None:
        self._recover_next = recover_next
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            begun_s = time.monotonic()
            if not self._recover_next():
                return
            self._over.wait(min(time.monotonic() - begun_s, REST_S_MAX))

    def wait(self) -> None:
        """Until nothing is left, or ``close`` was called."""
        self._thread.join()

    def close(self) -> None:
        """Begin no other log; the one that is under way is waited for."""
        self._over.set()
        self._thread.join()
