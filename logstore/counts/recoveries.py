"""What is counted of logs that a crash has left to be recovered."""

import threading


class Recoveries:
    """Of one process; from any thread."""

    __slots__ = ("_lock", "failed", "logs", "seconds")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.logs = 0  # that were looked at, each before its first use
        self.failed = 0  # of these: damaged, or they could not be opened
        self.seconds = 0.0  # how long that took, all together

    def add(self, seconds: float, *, failed: bool) -> None:
        """One more."""
        with self._lock:
            self.logs += 1
            self.failed += failed
            self.seconds += seconds
