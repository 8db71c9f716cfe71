"""The thread that recovers, after a crash, the logs that nothing uses yet.

It does not hurry: after each log it pauses for as long as that log took, at most 0.1 s, and leaves
processor and disk to others.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

REST_S_MAX: Final = 0.1  # after a log that took long


class Recovering:
    """Calls ``recover_next`` until that reports that nothing is left."""

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
        """Begin no other log, and wait for the present one."""
        self._over.set()
        self._thread.join()
