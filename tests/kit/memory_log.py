"""A log in memory, for tests of what stands above logs; ``test_log_model`` checks it."""

import threading
from bisect import bisect_right

from logstore.errors import OffsetAboveEnd, OffsetBelowStart
from logstore.log import ABORTED_MAX, Aborted, Notes, Wake
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.latest import latest


class MemoryLog:
    """Log over a list."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: Notes | None = None
        self.start = self.end = 0
        self._aborted: list[Aborted] = []
        self._batches: list[Batch] = []
        self._ends: list[int] = []  # offset after each batch
        self._lock = threading.Lock()
        self._watchers: dict[object, Wake] = {}

    @property
    def safe(self) -> int:
        """The end: every record is safe at once."""
        return self.end

    @property
    def stable(self) -> int:
        """As Log.stable."""
        undecided = getattr(self.notes, "undecided", None)
        return self.safe if undecided is None else min(self.safe, undecided)

    @property
    def done(self) -> int:
        """As Log.done: a mark is the offset here."""
        return self.safe

    def offset_of(self, mark: int) -> int:
        """As Log.offset_of."""
        assert mark < self.end
        return mark

    def append(self, batch: Batch) -> int:
        """As Log.append."""
        with self._lock:
            base_offset = self.end
            stamped = batch.with_base_offset(base_offset)
            self._batches.append(stamped)
            self._ends.append(stamped.next_offset)
            self.end = stamped.next_offset
            if self.notes is not None:
                aborted = self.notes.appended(stamped, base_offset)
                if aborted is not None:
                    self._aborted.append(aborted)
        for wake in list(self._watchers.values()):
            wake()
        return base_offset

    def _let_go(self, before: int) -> None:
        self.start = max(self.start, before)
        gone = bisect_right(self._ends, self.start)
        del self._batches[:gone], self._ends[:gone]

    def read(self, at: int, bytes_max: int) -> list[Batch]:
        """As Log.read."""
        with self._lock:
            if at < self.start:
                raise OffsetBelowStart(f"{self.name}: offset {at} is below the start, {self.start}")
            if at > self.end:
                raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {self.end}")
            found: list[Batch] = []
            total = 0
            for place in range(bisect_right(self._ends, at), len(self._batches)):
                batch = self._batches[place]
                total += batch.size
                if found and total > bytes_max:
                    break
                found.append(batch)
            return found

    def extent(self, at, bytes_max):
        return None

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> list[Aborted]:
        """As Log.aborted."""
        return [it for it in self._aborted if it.last >= at and it.first < below][:most]

    def where(self, offset: int) -> str:
        """As Log.where."""
        return "memory"

    def following(self, at: int) -> int | None:
        """As Log.following."""
        return None

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        with self._lock:
            batches, start, end = list(self._batches), self.start, self.end
        for batch in batches:
            if latest(batch) >= timestamp_ms:
                for record in decode(batch):
                    if record.timestamp_ms >= timestamp_ms and record.offset >= start:
                        return record.offset
        return end

    def trim(self, before: int) -> None:
        """As Log.trim."""
        with self._lock:
            if before > self.end:
                raise OffsetAboveEnd(f"{self.name}: can't trim to {before}, above {self.end}")
            self._let_go(before)
        for wake in list(self._watchers.values()):
            wake()

    def wait(self, upto: int) -> None:
        """Do nothing: every record is safe at once."""
        assert upto <= self.end

    def check_failure(self) -> None:
        """Do nothing: a log in memory cannot fail."""

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        with self._lock:
            return max((latest(batch) for batch in self._batches), default=-1)

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """Do nothing: a log in memory has no sync."""

    def show_soon(self) -> None:
        """As Log.show_soon."""
        self.sync_soon()

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""
        key = object()
        self._watchers[key] = wake

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop
