"""A partition of a cluster as the log of its owner: own appends, shared reading.

The identity of an append fences earlier owners (``identity.py``), so each ownership has its own
marks and failures, and appends of one are never confused with those of another. Reading is the same
for all: one fetch serves all readers.
"""

from collections.abc import Sequence

from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.waiters import WaitFor, wait_until_done
from logstore.cluster.writer import Identify, PartitionWriter, Writer
from logstore.errors import FencedProducer, OffsetAboveEnd
from logstore.log import ABORTED_MAX, Aborted, Extent, Wake
from logstore.records.batch import Batch


class OwnedLog:
    """A ``Log`` of one ownership. Created in the loop's thread."""

    notes = None

    def __init__(
        self, reading: ClusterLog, writer: Writer, identify: Identify, wait_for: WaitFor
    ) -> None:
        self.name = reading.name
        self._reading = reading
        self._wait_for = wait_for
        self._high = 0  # after the last that was acknowledged
        self._watchers: dict[object, Wake] = {}
        self._writer = PartitionWriter(writer, *reading.place, identify, self._acknowledged)
        self._stop = reading.watch(self._wake)

    def __repr__(self) -> str:
        return f"<OwnedLog {self.name} {self.start}..{self.safe}..{self.end}>"

    # Where it stands

    @property
    def start(self) -> int:
        """As Log.start."""
        return self._reading.start

    @property
    def safe(self) -> int:
        """As Log.safe."""
        return self._reading.safe

    @property
    def stable(self) -> int:
        """As Log.stable."""
        return self._reading.stable

    @property
    def end(self) -> int:
        """As Log.end, as far as that is known."""
        high = self._high or self._reading.end  # what is fetched may not be acknowledged yet
        return high + self._writer.next_mark - self._writer.done

    @property
    def done(self) -> int:
        """As Log.done."""
        return self._writer.done

    @property
    def synced(self) -> int:
        """As ClusterLog.synced."""
        return self._writer.done

    # Appending

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises ClusterBehind, LogFailed, FencedProducer."""
        self.check_failure()
        return self._writer.append(batch)

    def offset_of(self, mark: int) -> int:
        """As Log.offset_of."""
        return self._writer.offset_of(mark)

    def _acknowledged(self) -> None:
        last = self._writer.done - 1
        if last >= 0:
            self._high = self._writer.offset_of(last) + 1
        self._wake()

    def check_failure(self) -> None:
        """As Log.check_failure. Raises FencedProducer, too."""
        if self._writer.failure is not None:
            raise self._writer.failure
        self._reading.check_failure()

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """As Log.sync_soon: what is appended is on its way already."""

    def show_soon(self) -> None:
        """As Log.show_soon: likewise."""

    def wait(self, upto: int) -> None:
        """As Log.wait. Not in the loop's thread."""
        wait_until_done(self, upto, self._wait_for)

    # Reading

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As Log.read."""
        if at > self.end:
            raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {self.end}")
        if self.start <= at >= self.safe:  # acknowledged here before it was fetched
            return ()
        return self._reading.read(at, bytes_max)

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """As Log.extent."""
        return self._reading.extent(at, bytes_max)

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """As Log.aborted."""
        return self._reading.aborted(at, below, most)

    def where(self, offset: int) -> str:
        """As Log.where."""
        return self._reading.where(offset)

    def following(self, at: int) -> int | None:
        """As Log.following."""
        return self._reading.following(at)

    # What may wait

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        return self._reading.find(timestamp_ms, damaged=damaged)

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        return self._reading.latest_timestamp()

    def trim(self, before: int) -> None:
        """As Log.trim. Only to where a word of the owner stands (``claims.py``)."""
        self._reading.trim(before)

    # News

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""
        key = object()
        self._watchers[key] = wake
        return lambda: self._watchers.pop(key, None) and None

    def _wake(self) -> None:
        for wake in list(self._watchers.values()):
            wake()

    def close(self) -> None:
        """Send nothing more of it; other readers continue."""
        self._stop()
        self._writer.fail(FencedProducer(f"{self.name}: this node no longer owns it"))
