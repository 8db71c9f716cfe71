"""A partition of a cluster as a log, to which others may append, too: the waist over brokers.

The partition is shared: any process and any Kafka client may append. Appends of this process go
through a ``PartitionWriter``. The fetcher brings everyone's records as they arrive, and the latest
are kept here. Older records are fetched when somebody reads them.

Readers see no records of open transactions (Kafka's last stable offset is both ``safe`` and
``stable``), so ``safe`` may stand still while ``done`` advances. A record is acknowledged when all
in-sync replicas have it; the topic's settings say how many these must be.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from logstore.cluster.fetch_session import Place
from logstore.cluster.fetcher import OUT_OF_RANGE, Fetcher
from logstore.cluster.offsets import EARLIEST, LARGEST_TIME, LATEST, Offsets
from logstore.cluster.tail import Tail
from logstore.cluster.waiters import WaitFor, wait_until_done, when
from logstore.cluster.writer import Identify, PartitionWriter, Writer
from logstore.errors import (
    CorruptBatch,
    LogFailed,
    LogstoreError,
    OffsetAboveEnd,
    OffsetBelowStart,
)
from logstore.kafka.fetch_codec import Got
from logstore.log import ABORTED_MAX, Aborted, Extent, Wake
from logstore.records.batch import Batch, split

TAIL_BYTES: Final = 4 << 20
EARLIER_BYTES: Final = 1 << 20  # of one fetch of what is not in the tail
EARLIER_MAX: Final = 4  # such stretches that are kept: each reader that is behind goes on in one
FRAME_SHARE: Final = 4  # records that are less of what they came in are copied out of it


class ClusterLog:
    """A ``Log`` over one partition. Created in the loop's thread."""

    notes = None

    def __init__(
        self,
        place: Place,
        writer: Writer,
        fetcher: Fetcher,
        offsets: Offsets,
        identify: Identify,
        wait_for: WaitFor,
        start: int,
        safe: int,
    ) -> None:
        """``start``, ``safe``: as ``offsets`` has found them."""
        self.place = place
        self.name = f"{place[0]}-{place[1]}"
        self.start = start
        self.safe = safe
        self._high = safe  # as far as anything is known to stand
        self._fetcher = fetcher
        self._offsets = offsets
        self._wait_for = wait_for
        self._failure: LogstoreError | None = None
        self._watchers: dict[object, Wake] = {}
        self._lock = threading.Lock()  # of what follows: readers may be in other threads
        self._tail = Tail(TAIL_BYTES, safe)
        self._earlier: OrderedDict[int, Tail] = OrderedDict()  # the last used is last
        self._asked: set[int] = set()
        self._writer = PartitionWriter(writer, *place, identify, self._acknowledged)
        self._view = fetcher.brokers.view
        self._id = self._topic_id()
        self._stop = fetcher.brokers.watch(self._look)
        fetcher.follow(self)

    def _topic_id(self) -> bytes | None:
        seen = self._view.topics.get(self.place[0])
        return None if seen is None else seen.id

    def _look(self) -> None:
        """The view has changed."""
        now = self._topic_id()
        if self._id is None:
            self._id = now
        elif now not in (None, self._id):
            self._fail(LogFailed(f"{self.name}: its topic was deleted, and is another one by now"))

    def __repr__(self) -> str:
        return f"<ClusterLog {self.name} {self.start}..{self.safe}..{self.end}>"

    # Where it stands

    @property
    def stable(self) -> int:
        """As Log.stable."""
        return self.safe

    @property
    def end(self) -> int:
        """As Log.end, as far as that is known."""
        return self._high + self._writer.next_mark - self._writer.done

    @property
    def done(self) -> int:
        """As Log.done."""
        return self._writer.done

    @property
    def synced(self) -> int:
        """As Log.synced, as far as replicas that are in sync do not all lose power at one time."""
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
            self._high = max(self._high, self._writer.offset_of(last) + 1)
        self._wake()

    def check_failure(self) -> None:
        """As Log.check_failure."""
        failure = self._failure or self._writer.failure
        if failure is not None:
            raise failure

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """As Log.sync_soon: what is appended is on its way already."""

    def show_soon(self) -> None:
        """As Log.show_soon: likewise."""

    def wait(self, upto: int) -> None:
        """As Log.wait. Not in the loop's thread."""
        wait_until_done(self, upto, self._wait_for)

    # What comes

    @property
    def position(self) -> int:
        """As Follower.position."""
        return self._tail.end

    def fetched(self, got: Got) -> None:
        """As Follower.fetched."""
        try:
            batches = list(split(_kept(got.records)))
        except CorruptBatch as error:
            self._fail(LogFailed(f"{self.name}: a broker sent data that is not a batch: {error}"))
            return
        with self._lock:
            self._tail.add(batches, got.aborted)
            self.start = max(self.start, got.log_start)
            if self._tail.end < self.start:  # trimmed meanwhile
                self._tail.reset(self.start)
            # What is shown is here: a reader that is up to date never waits for another fetch.
            safe = max(self.safe, min(got.last_stable, self._tail.end))
            moved = safe > self.safe or bool(batches)
            self.safe = safe
            self._high = max(self._high, got.high_watermark)
        if moved:
            self._wake()

    def refused(self, code: int) -> None:
        """As Follower.refused."""
        if code != OUT_OF_RANGE:
            self._fail(LogFailed(f"{self.name}: it can't be read, error {code}"))
            return
        self._fetcher.leave(self)
        self._at_time(EARLIEST, self._begins_at)

    def _at_time(self, timestamp_ms: int, then: Callable[[Any], None]) -> None:
        """As Offsets.at_time; of a failed log the error, since its topic may be another one."""
        if self._failure is not None:
            then(self._failure)
        else:
            self._offsets.at_time(self.place, timestamp_ms, then)

    def _has_failed(self, found: Any) -> bool:  # noqa: ANN401
        """Whether nothing more is fetched: because of this answer, or closed meanwhile."""
        if isinstance(found, LogstoreError):
            self._fail(found)
        return self._failure is not None

    def _begins_at(self, found: Any) -> None:  # noqa: ANN401
        """The next records were deleted, by retention or by somebody else."""
        if self._has_failed(found):
            return
        begins, _ = found
        if begins <= self.position:  # another node may lead by now, that has not trimmed so far
            self._at_time(LATEST, self._ends_at)
            return
        with self._lock:
            self._tail.reset(begins)
            self.start = max(self.start, begins)
            self.safe = max(self.safe, begins)
            self._high = max(self._high, begins)
        self._fetcher.follow(self)
        self._wake()

    def _ends_at(self, found: Any) -> None:  # noqa: ANN401
        if self._has_failed(found):
            return
        ends, _ = found
        if ends < self.position:
            self._fail(
                LogFailed(
                    f"{self.name}: the cluster has lost the records at {ends} to"
                    f" {self.position}, or the topic was created again: start again from its"
                    " beginning"
                )
            )
            return
        self._fetcher.follow(self)

    def _fail(self, why: LogstoreError) -> None:
        self._failure = self._failure or why
        self._stop()
        self._fetcher.leave(self)
        self._writer.fail(why)
        self._wake()

    # Reading

    def read(self, at: int, bytes_max: int) -> Sequence[Batch]:
        """As Log.read."""
        with self._lock:
            if at < self.start:
                raise OffsetBelowStart(f"{self.name}: offset {at} is below the start, {self.start}")
            if at > self.end:
                raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {self.end}")
            if at >= self.safe:
                return ()
            stretch = self._stretch(at)
            if stretch is not None:
                return stretch.read(at, bytes_max, self.safe)
            if at in self._asked:
                return ()
            self._asked.add(at)
        self._fetcher.soon(partial(self._ask_for, at))
        return ()

    def _stretch(self, at: int) -> Tail | None:
        """The stretch in memory with this offset, if any. With the lock held."""
        if self._tail.start <= at < self._tail.end:
            return self._tail
        for begins, it in self._earlier.items():
            if it.start <= at < it.end:
                self._earlier.move_to_end(begins)
                return it
        return None

    def _ask_for(self, at: int) -> None:
        if self._failure is not None:
            self._asked.discard(at)
            return
        self._fetcher.fetch(self.place, at, EARLIER_BYTES, partial(self._earlier_came, at))

    def _earlier_came(self, at: int, got: Any) -> None:  # noqa: ANN401
        self._asked.discard(at)
        if isinstance(got, Got) and not got.error_code and len(got.records):
            it = Tail(2**62, at)
            try:
                it.add(split(_kept(got.records)), got.aborted)
            except CorruptBatch as error:
                self._fail(
                    LogFailed(f"{self.name}: a broker sent data that is not a batch: {error}")
                )
                return
            with self._lock:
                self._earlier[at] = it
                while len(self._earlier) > EARLIER_MAX:
                    self._earlier.popitem(last=False)
        elif isinstance(got, Got) and got.error_code == OUT_OF_RANGE:
            with self._lock:
                self.start = max(self.start, got.log_start)
        self._wake()  # where nothing came, whoever reads asks again

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """As Log.extent: there is no file."""
        return None

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> Sequence[Aborted]:
        """As Log.aborted, of what is here."""
        with self._lock:
            stretch = self._stretch(at)
            return () if stretch is None else stretch.aborted(at, below, most)

    def where(self, offset: int) -> str:
        """As Log.where."""
        return f"the cluster's {self.name}"

    def following(self, at: int) -> int | None:
        """As Log.following: brokers keep what is whole."""
        return None

    # What may wait

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        offset, _ = self._wait_for(partial(self._at_time, timestamp_ms))
        return self.safe if offset < 0 else min(offset, self.safe)

    def catch_up(self) -> None:
        """Return once everything that exists now has been fetched. Raises as ``check_failure``."""
        self._wait_for(self.begin_catch_up)
        self.check_failure()

    def begin_catch_up(self, then: Callable[[LogstoreError | None], object]) -> None:
        """The same, where nothing waits: ``then`` is called; with why nobody can say what stands
        there. In the loop's thread.
        """

        def ends(found: Any) -> None:  # noqa: ANN401
            if isinstance(found, LogstoreError):
                then(found)
                return
            end, _ = found
            when(self, lambda: self.safe >= end, lambda: then(None))

        self._at_time(LATEST, ends)

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        _, timestamp = self._wait_for(partial(self._at_time, LARGEST_TIME))
        found: int = timestamp
        return found

    def trim(self, before: int) -> None:
        """As Log.trim."""
        if before > self.safe:
            raise OffsetAboveEnd(f"{self.name}: can't trim to {before}, above {self.safe}")
        if before <= self.start:
            return
        if self._failure is not None:
            raise self._failure
        start = self._wait_for(partial(self._offsets.delete_below, self.place, before))
        with self._lock:
            self.start = max(self.start, start)
            if self._tail.end < self.start:
                self._tail.reset(self.start)

    # News

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""
        key = object()
        self._watchers[key] = wake
        return lambda: self._watchers.pop(key, None) and None

    def _wake(self) -> None:
        for wake in list(self._watchers.values()):
            wake()

    def close(self, why: str = "it is closed") -> None:
        """Fetch and append nothing more."""
        self._fail(LogFailed(f"{self.name}: {why}"))


def _kept(records: memoryview) -> memoryview:
    """A copy, if keeping the view would keep much other data in memory."""
    whole = records.obj
    size = len(whole) if isinstance(whole, bytes | bytearray) else len(records)
    return memoryview(bytes(records)) if len(records) * FRAME_SHARE < size else records
