"""A log that this process only reads: up to the offset that its writer has published as safe."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from logstore import forks
from logstore.errors import (
    CorruptBatch,
    Forked,
    OffsetAboveEnd,
    OffsetBelowStart,
    ReadOnly,
    UnknownPartition,
)
from logstore.log import ABORTED_MAX, Aborted, Notes, Wake
from logstore.records.batch import Batch
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk import failure
from logstore.storage.segment import Segment, SegmentFacts

Mark = Callable[[], tuple[int, int] | None]  # (start, safe) as published now; None: log is gone
Watch = Callable[[Callable[[], int], Wake], Wake]


class FollowerLog:
    """A read-only ``Log``. ``end`` equals ``safe``, because nothing above is known here.

    While the writer still has to recover the log, ``end`` is the last value shown before.
    """

    def __init__(
        self,
        name: str,
        chain: Chain,
        mark: Mark,
        watch: Watch,
        state: Callable[[], LogState],
        shown: Callable[[], int] = lambda: 0,
        undecided: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``state()``: the present state in the catalogue. ``shown()``: the highest offset ever
        published as safe.

        ``undecided()``: the first offset of the earliest open transaction, as published now.
        """
        self.name = name
        self.notes: Notes | None = None
        self._state = state
        self.chain = chain
        self._mark = mark
        self._watch = watch
        self._shown = shown
        self._undecided = undecided
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked."""

        def mark() -> tuple[int, int] | None:
            raise error

        self._mark = mark

    def __repr__(self) -> str:
        return f"<FollowerLog {self.name}>"

    def _now(self) -> tuple[int, int]:
        mark = self._mark()
        if mark is None:
            raise UnknownPartition(f"{self.name}: its topic was deleted")
        return mark

    @property
    def start(self) -> int:
        return self._now()[0]

    @property
    def synced(self) -> int:
        """As Log.synced: this process appends nothing."""
        return self.safe

    @property
    def safe(self) -> int:
        return self._now()[1]

    @property
    def stable(self) -> int:
        """As Log.stable."""
        start, safe = self._now()  # first: what is decided when it is read was so below
        undecided = self._undecided()
        return safe if undecided is None else max(min(safe, undecided), start)

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> list[Aborted]:
        """As Log.aborted."""
        self.chain.refresh()
        known = self.chain.listed
        try:
            return self.chain.aborted(at, below, most, refresh=True)
        except FileNotFoundError:
            self.chain.refresh()
            if self.chain.listed != known:  # trimmed, merged, or compacted meanwhile
                return self.aborted(at, below, most)
            raise CorruptBatch(f"{self.name}: a file of aborted transactions is missing") from None
        except OSError as error:
            raise failure(error, "read what was aborted", self.chain.directory) from None

    @property
    def end(self) -> int:
        return max(self._now()[1], self._shown())

    def append(self, batch: Batch) -> int:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    @property
    def done(self) -> int:
        """As Log.done: nothing is ever appended here."""
        return 0

    def offset_of(self, mark: int) -> int:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def trim(self, before: int) -> None:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def wait(self, upto: int) -> None:
        """Nothing is ever written here, so there is nothing to wait for."""
        if self.safe < upto:
            raise ReadOnly(f"{self.name}: the store is open for reading")

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """Nothing is ever written here, so there is nothing to sync."""

    def show_soon(self) -> None:
        """Nothing is ever written here, so there is nothing to show."""

    def check_failure(self) -> None:
        """As Log.check_failure: only what is safe is known here."""
        self._now()

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        return max((segment.max_timestamp_ms for segment in self.segments()), default=-1)

    def read(self, at: int, bytes_max: int) -> list[Batch]:
        """As Log.read."""
        start, safe = self._now()
        if at < start:
            raise OffsetBelowStart(
                f"{self.name}: offset {at} is below the start, {start}: it was trimmed away"
            )
        if at > safe and at > self.end:
            raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {safe}")
        if at >= safe:
            return []
        bases, batches = self.chain.bases, self._read(at, bytes_max, safe)
        while not batches and self._changed(bases):  # rolled or trimmed since the last look
            bases, batches = self.chain.bases, self._read(at, bytes_max, safe)
        # A deleted topic's files may be another's by now: _now raises.
        if at < self._now()[0]:
            return self.read(at, bytes_max)
        if batches:  # the pair of what the writer's append asserts
            assert batches[0].last_offset >= at
            assert batches[-1].base_offset < safe
        else:
            self.chain.check_gap(at, safe)
        return batches

    def extent(self, at: int, bytes_max: int) -> None:
        """As Log.extent. Other processes may merge the files, so they are only read."""
        return

    def _changed(self, bases: list[int]) -> bool:
        """Whether the segments differ from these; another thread may have listed them before."""
        self.chain.refresh()
        return self.chain.bases != bases

    def _read(self, at: int, bytes_max: int, safe: int) -> list[Batch]:
        bases = self.chain.bases
        try:
            return self.chain.read(at, bytes_max, safe)
        except FileNotFoundError as error:
            if self._changed(bases):
                return self._read(at, bytes_max, safe)
            if at < self.start:
                return []
            raise CorruptBatch(f"{error.filename}: the file is missing") from None
        except CorruptBatch:
            if self._changed(bases):  # the look at the directory missed a segment
                return self._read(at, bytes_max, safe)
            raise
        except OSError as error:
            raise failure(error, f"read at offset {at}", self.chain.directory) from None

    def where(self, offset: int) -> str:
        """As Log.where."""
        return self.chain.path_of(offset)

    def following(self, at: int) -> int | None:
        """As Log.following: the next segment."""
        return next((base for base in self.chain.bases if at < base < self.safe), None)

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        start, safe = self._now()
        bases = self.chain.bases
        try:
            self.chain.refresh()
            found = self.chain.find(timestamp_ms, start, safe, damaged=damaged)
        except FileNotFoundError as error:
            if start < self._now()[0] or self._changed(bases):  # trimmed since
                return self.find(timestamp_ms, damaged=damaged)
            raise CorruptBatch(f"{error.filename}: the file is missing") from None
        except OSError as error:
            raise failure(error, f"find {timestamp_ms} ms", self.chain.directory) from None
        return safe if found is None else found

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""

        def safe() -> int:
            mark = self._mark()
            return -1 if mark is None else mark[1]

        return self._watch(safe, wake)

    def roll(self) -> None:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    @property
    def state(self) -> LogState:
        return self._state()

    def segment(self, base_offset: int) -> Segment:
        """One of its segments."""
        return self.chain.segment(base_offset)

    def secure(self) -> int:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def mark(self, **marks: int) -> None:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def sweep(self) -> None:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def swap(self, bases: Sequence[int], stem: str, aborts_gone: Sequence[int] = ()) -> bool:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def rebuild_index(self, base_offset: int) -> None:
        raise ReadOnly(f"{self.name}: the store is open for reading")

    def bases(self) -> list[int]:
        """The present base offsets of its segments. Raises OSError."""
        self.chain.refresh()
        return self.chain.bases

    def segments(self, *, timed: bool = True) -> list[SegmentFacts]:
        """The facts by which upkeep would decide. Raises Damaged, Failed."""
        try:
            self.chain.refresh()
            safe = self.safe
            facts = self.chain.facts(safe, timed=timed)
            if facts:  # without zeros written ahead
                size = self.chain.segment(facts[-1].base_offset).data_bytes(safe)
                facts[-1] = replace(facts[-1], bytes=size)
            return facts
        except FileNotFoundError:
            if self._changed(self.chain.bases):  # dropped meanwhile
                return self.segments(timed=timed)
            raise CorruptBatch(f"{self.name}: a segment's file is missing") from None
        except OSError as error:
            raise failure(error, "look at the segments", self.chain.directory) from None

    def timed(self, facts: SegmentFacts) -> SegmentFacts:
        """The facts with the largest timestamp. Raises Damaged, Failed."""
        try:
            return self.chain.timed(facts)
        except OSError as error:
            raise failure(error, "look at a segment", facts.path) from None

    def bytes(self) -> int:
        """The size of all safe batches, without zeros written ahead. Raises OSError."""
        self.chain.refresh()
        bases = self.chain.bases
        try:
            return self.chain.bytes(self.safe)
        except FileNotFoundError:
            if self._changed(bases):  # dropped meanwhile
                return self.bytes()
            raise
