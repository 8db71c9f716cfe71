"""A log whose bytes are elsewhere, as over a cluster of brokers: others append to it, too."""

from bisect import bisect_right

from memory_log import MemoryLog

from logstore.errors import LogFailed, OffsetAboveEnd, OffsetBelowStart
from logstore.log import NOT_KNOWN


class FarLog:
    """What is appended and asked for is under way until a test says that it arrives.

    ``may_wait``: whether the caller's thread may spend time; what asks the network asserts it.
    """

    def __init__(self, name):
        self.name = name
        self.notes = None
        self.safe = self.done = 0
        self.may_wait = True
        self.asked = []  # offsets of reads that got nothing
        self.syncs = 0
        self._failure = None
        self._there = MemoryLog(name)
        self._under_way = []
        self._marks = []  # of each batch that has arrived
        self._bases = []  # likewise
        self._next_mark = 0
        self._here = set()  # offsets that a read gets something at
        self._watchers = {}

    @property
    def start(self):
        return self._there.start

    @property
    def end(self):
        return self.safe + self._next_mark - self.done

    @property
    def stable(self):
        return self.safe

    def aborted(self, at, below, most=0):
        return []

    def append(self, batch):
        self.check_failure()
        mark, self._next_mark = self._next_mark, self._next_mark + batch.record_count
        self._under_way.append((mark, batch.with_base_offset(0)))  # its buffer is used again
        return mark

    def append_elsewhere(self, batch):
        """Append by another process: visible here after ``arrive``."""
        return self._there.append(batch)

    def arrive(self):
        """Make appended batches safe, and requested ones available."""
        for mark, batch in self._under_way:
            self._marks.append(mark)
            self._bases.append(self._there.append(batch))
        self._under_way.clear()
        self.safe, self.done = self._there.end, self._next_mark
        self._here.update(self.asked)
        self.asked.clear()
        self._wake()

    def fail(self):
        self._failure = LogFailed(f"{self.name}: another node owns it")
        self._wake()

    def offset_of(self, mark):
        assert mark < self._next_mark
        if mark >= self.done:
            return NOT_KNOWN
        at = bisect_right(self._marks, mark) - 1
        return self._bases[at] + mark - self._marks[at]

    def read(self, at, bytes_max):
        if at < self.start:
            raise OffsetBelowStart(f"{self.name}: offset {at} is below the start, {self.start}")
        if at > self.end:
            raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {self.end}")
        if at >= self.safe:
            return []
        if at not in self._here:
            self.asked.append(at)
            return []
        found = self._there.read(at, bytes_max)
        return [batch for batch in found if batch.base_offset < self.safe]

    def extent(self, at, bytes_max):
        return None

    def find(self, timestamp_ms):
        assert self.may_wait
        return min(self._there.find(timestamp_ms), self.safe)

    def latest_timestamp(self):
        assert self.may_wait
        return self._there.latest_timestamp()

    def trim(self, before):
        assert self.may_wait
        if before > self.safe:
            raise OffsetAboveEnd(f"{self.name}: can't trim to {before}, above {self.safe}")
        self._there.trim(before)

    def wait(self, upto):
        assert self.may_wait
        if self.done < upto:
            self.check_failure()
            self.arrive()
        assert self.done >= upto

    def check_failure(self):
        if self._failure is not None:
            raise self._failure

    def sync_soon(self, *, hurry=True, always=False):
        self.syncs += 1

    def show_soon(self):
        self.sync_soon()

    def watch(self, wake):
        key = object()
        self._watchers[key] = wake
        return lambda: self._watchers.pop(key, None)

    @property
    def watched(self):
        return len(self._watchers)

    def _wake(self):
        for wake in list(self._watchers.values()):
            wake()
