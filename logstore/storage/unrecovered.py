"""The logs that still need recovery after a crash, and those whose recovery was tried.

A log is recovered at its first use, or in the background. When the store is closed, the rest is
noted in the catalogue, so that the next writer recovers no other logs.
"""

import threading
from collections import deque
from typing import NamedTuple

from logstore.storage.catalog import Entry


class LogPlace(NamedTuple):
    """One log, as named in the catalogue when the store was opened."""

    name: str
    entry: Entry
    partition: int


class Unrecovered:
    """The logs of one store. From any thread."""

    def __init__(self) -> None:
        self._tried: dict[bytes, bool] = {}  # by the log's key in the catalogue
        self._waiting: deque[tuple[bytes, LogPlace]] = deque()  # for the background
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tried)

    def __contains__(self, key: bytes) -> bool:
        return key in self._tried

    def found(self, key: bytes, place: LogPlace, *, tried: bool) -> None:
        """The store is being opened, and this log was not recovered since a crash."""
        with self._lock:
            self._tried[key] = tried
            self._waiting.append((key, place))

    def failed(self, key: bytes) -> None:
        """It could not be recovered, or not closed cleanly."""
        with self._lock:
            self._tried[key] = True

    def done(self, key: bytes) -> None:
        """It was recovered or deleted."""
        with self._lock:
            self._tried.pop(key, None)

    def next(self) -> LogPlace | None:
        """A log that nothing has used yet; None: none is left. Each is returned once."""
        with self._lock:
            while self._waiting:
                key, place = self._waiting.popleft()
                if key in self._tried:
                    return place
            return None

    def tried(self) -> dict[bytes, bool]:
        """The entries for the catalogue: each such log, and whether its recovery was tried."""
        with self._lock:
            return self._tried.copy()
