"""Counters of the recovery of logs after a crash."""

import threading


class Recoveries:
    """The counters of one process. From any thread."""

    __slots__ = ("_lock", "failed", "logs", "seconds")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.logs = 0  # recovered logs
        self.failed = 0  # logs that are damaged or could not be opened
        self.seconds = 0.0  # total duration

    def add(self, seconds: float, *, failed: bool) -> None:
        """One more."""
        with self._lock:
            self.logs += 1
            self.failed += failed
            self.seconds += seconds
