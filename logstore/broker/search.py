"""Searching the records of a topic, forward or back, a part at a time.

A search may be stopped at any moment, and continued later from where it was.

Partitions are searched side by side, in the order of their records' times, as far as each partition
is in that order. A hit of one partition waits until the others have come as far: so hits come in
the order of time, and at most HELD_MAX of them, or one of each partition, are held.
"""

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from logstore.broker.committed import CommittedLog
from logstore.broker.looking import LookedFor
from logstore.broker.reading import fetched, of_batches
from logstore.broker.topic import Topic
from logstore.errors import (
    CorruptBatch,
    Damaged,
    Failed,
    LogstoreError,
    OffsetBelowStart,
    Refused,
)
from logstore.log import Log, TopicPartition
from logstore.records.record import Record

READ_BYTES: Final = 1 << 18  # of one partition at a time
RECORD_BYTES_MAX: Final = 64 << 20  # a larger one, decompressed, is passed over
HELD_MAX: Final = 4096  # hits that wait for other partitions, all together
DAMAGES_MAX: Final = 100  # that are told of
# Backward: offsets that are read at once, at first and at the most; what they should take.
WINDOW_MIN: Final = 16
WINDOW_MAX: Final = 1 << 16
WINDOW_BYTES: Final = 1 << 19
WINDOW_GROWTH: Final = 8  # at the most, from one window to the next

T = TypeVar("T")

Place = Callable[[Log, int], int]  # where to begin or end in the log of this partition


class Hit(NamedTuple, Generic[T]):
    """A found record, as it will be shown."""

    partition: int
    offset: int
    row: T


class _Piece(NamedTuple):
    """The result of one read of a log: records that may match, or none for a batch without any."""

    records: list[Record]
    passed: int  # records that it stands for
    begin: int  # offsets
    end: int
    least_ms: float  # timestamps of the records left out
    most_ms: float
    bytes: int


class _Held(NamedTuple, Generic[T]):
    key: float  # of the order in which hits come
    hit: Hit[T]


class Counts:
    """How much was examined."""

    __slots__ = ("bytes", "damages", "damages_left_out", "records")

    def __init__(self) -> None:
        self.records = self.bytes = 0
        self.damages: list[tuple[int, str]] = []  # partition, what is wrong
        self.damages_left_out = 0

    def damaged(self, partition: int, error: LogstoreError) -> None:
        if len(self.damages) < DAMAGES_MAX:
            self.damages.append((partition, str(error)))
        else:
            self.damages_left_out += 1


class _Side(Protocol[T]):
    """One partition of a search."""

    number: int
    rows: deque[_Held[T]]
    bound: float  # what it finds from now on has no smaller key, as far as it is in order

    @property
    def done(self) -> bool: ...
    @property
    def position(self) -> int:
        """The offset at which to go on."""

    @property
    def span(self) -> int:
        """The number of offsets that are still to be looked at."""

    def scan(self, rows_max: int) -> Iterator[None]:
        """Look at some more records; ``rows`` must be empty before. Raises LogstoreError.

        It may be left for a while wherever it yields: a batch may hold millions of records.
        """


class _Onward(Generic[T]):
    """A search forward from ``at`` to ``end``."""

    def __init__(self, log: Log, place: TopicPartition, at: int, end: int, aim: "_Aim[T]") -> None:
        self.number = place[1]
        self.rows: deque[_Held[T]] = deque()
        self.bound = -inf
        self._log, self._place, self._aim = log, place, aim
        self._at, self._end = at, max(at, end)

    @property
    def done(self) -> bool:
        return self._at >= self._end

    @property
    def position(self) -> int:
        return self.rows[0].hit.offset if self.rows else self._at

    @property
    def span(self) -> int:
        return self._end - self._at

    def scan(self, rows_max: int) -> Iterator[None]:
        """As _Side.scan."""
        before = self._at
        self._at = max(before, self._log.start)
        for piece in _pieces(self._log, self._place, self._at, READ_BYTES, self._aim):
            self._aim.counts.bytes += piece.bytes
            if not piece.records:
                self._aim.counts.records += piece.passed
                self.bound = max(self.bound, piece.most_ms)
            for record in piece.records:
                if record.offset >= self._end:
                    self._at = self._end
                    return
                self._aim.counts.records += 1
                self.bound = max(self.bound, record.timestamp_ms)
                if self._aim.looked_for.matches(record):
                    self.rows.append(_Held(self.bound, self._aim.hit(record)))
                    if len(self.rows) >= rows_max:
                        self._at = record.offset + 1
                        return
            self._at = min(piece.end, self._end)
            if self.done:
                return
            yield
        if self._at == before:  # nothing can be read up to the end
            self._at = self._end


class _Back(Generic[T]):
    """A search backward from below ``upto`` to ``low``: a window of offsets at a time, read
    forward.
    """

    def __init__(
        self, log: Log, place: TopicPartition, low: int, upto: int, aim: "_Aim[T]", window: int
    ) -> None:
        self.number = place[1]
        self.rows: deque[_Held[T]] = deque()
        self.bound = -inf
        self._log, self._place, self._aim = log, place, aim
        self._low, self._upto = min(low, upto), upto
        self._window = window

    @property
    def done(self) -> bool:
        return self._upto <= self._low

    @property
    def position(self) -> int:
        return self.rows[0].hit.offset + 1 if self.rows else self._upto

    @property
    def span(self) -> int:
        return self._upto - self._low

    def scan(self, rows_max: int) -> Iterator[None]:
        """As _Side.scan."""
        low = max(self._low, self._log.start)
        if low >= self._upto:  # trimmed meanwhile
            self._upto = self._low
            return
        begin = at = max(low, self._upto - self._window)
        kept: deque[tuple[Hit[T], int]] = deque(maxlen=rows_max)
        found, least_ms, per_offset = 0, inf, 0.0
        while at < self._upto:
            before = at
            for piece in _pieces(self._log, self._place, at, READ_BYTES, self._aim, low):
                if at == before == begin:  # a whole batch, for it is decoded as a whole
                    begin = max(low, min(begin, piece.begin))
                self._aim.counts.bytes += piece.bytes
                per_offset = max(per_offset, piece.bytes / max(piece.end - piece.begin, 1))
                if not piece.records:
                    self._aim.counts.records += piece.passed
                    least_ms = min(least_ms, piece.least_ms)
                for record in piece.records:
                    if record.offset >= self._upto:
                        break
                    self._aim.counts.records += 1
                    least_ms = min(least_ms, record.timestamp_ms)
                    if self._aim.looked_for.matches(record):
                        found += 1
                        kept.append((self._aim.hit(record), record.timestamp_ms))
                at = max(at, piece.end)
                if at >= self._upto:
                    break
                yield
            if at == before:
                break
        for hit, timestamp_ms in reversed(kept):
            self.bound = max(self.bound, -timestamp_ms)
            self.rows.append(_Held(self.bound, hit))
        if found > len(kept):  # the older ones of this window come again
            self._upto = kept[0][0].offset
        else:
            self.bound = max(self.bound, -least_ms)
            self._upto = begin
        fit = int(WINDOW_BYTES / per_offset) if per_offset else WINDOW_MAX
        self._window = max(1, min(fit, WINDOW_GROWTH * self._window, WINDOW_MAX))


class _Aim(NamedTuple, Generic[T]):
    """What all partitions of a search have in common."""

    looked_for: LookedFor
    show: Callable[[Record], T]
    counts: Counts

    def hit(self, record: Record) -> Hit[T]:
        return Hit(record.partition, record.offset, self.show(record))


def _pieces(
    log: Log, place: TopicPartition, at: int, bytes_max: int, aim: _Aim[T], low: int | None = None
) -> Iterator[_Piece]:
    """Yield the batches of one read from ``at``; with ``low`` the first batch begins there.

    Damaged batches are left out, and counted. Raises Failed, UnknownPartition.
    """

    def skip(error: CorruptBatch) -> None:
        aim.counts.damaged(place[1], error)

    try:
        batches = fetched(log, at, bytes_max)
    except OffsetBelowStart:  # trimmed just now
        yield _Piece([], 0, at, max(log.start, at + 1), inf, -inf, 0)
        return
    except CorruptBatch as error:
        skip(error)
        following = log.following(at)
        yield _Piece([], 0, at, log.safe if following is None else following, inf, -inf, 0)
        return
    first = at if low is None else low
    for batch in batches:
        begin, end = batch.base_offset, batch.next_offset
        if not aim.looked_for.may_match(batch):
            least_ms = min(batch.base_timestamp_ms, batch.max_timestamp_ms)
            most_ms = batch.max_timestamp_ms
            yield _Piece([], batch.record_count, begin, end, least_ms, most_ms, batch.size)
            continue
        size = batch.size
        for chunk in of_batches(log, place, [batch], first, skip, RECORD_BYTES_MAX):
            upto = chunk.end if chunk.more else end
            yield _Piece(chunk.records, 0, begin, upto, inf, -inf, size)
            size = 0


class Search(Generic[T]):
    """One search. From any thread that may wait for the disk, one at a time."""

    def __init__(
        self,
        topic: Topic,
        partitions: Sequence[int],
        looked_for: LookedFor,
        show: Callable[[Record], T],
        limit: int,
        *,
        begin: Place,
        end: Place,
        back: bool = False,
    ) -> None:
        """Search these partitions between ``begin`` and ``end``, both within the present log.

        ``back``: the newest records first. ``limit``: the number of hits, at least 1.
        """
        self.counts = Counts()
        self.left = limit
        self.newest: dict[int, int] = {}  # where each partition ended when it was opened
        self._topic = topic
        self._aim = _Aim(looked_for, show, self.counts)
        self._begin, self._end, self._back = begin, end, back
        self._unopened = deque(partitions)
        self._sides: dict[int, _Side[T]] = {}
        self._due: list[tuple[float, int]] = []  # sides that have more to be looked at, as a heap
        self._holding: list[tuple[float, int]] = []  # those that hold hits
        self._at_work: tuple[_Side[T], Iterator[None]] | None = None  # left in the middle
        self._rows_max = max(1, min(limit, HELD_MAX // max(len(partitions), 1)))
        self._spans = 0  # offsets to be looked at, in all

    # How far it is

    @property
    def opened(self) -> bool:
        """Whether all partitions are open. Before that the search cannot be continued later."""
        return not self._unopened

    @property
    def over(self) -> bool:
        """Whether the search is complete."""
        return not self.left or (self.opened and not self.more)

    @property
    def more(self) -> bool:
        """Whether a continued search would find anything to do."""
        return bool(self._due or self._holding or self._at_work)

    @property
    def halfway(self) -> bool:
        """Whether the search is in the middle of a batch; if it ends there it may never get on."""
        return self._at_work is not None

    @property
    def share(self) -> float:
        """The share that is done, from 0 to 1, by offsets."""
        if not self.opened:
            return 0.0
        left = sum(self._sides[number].span for _, number in self._due)
        if self._at_work is not None:
            left += self._at_work[0].span
        return 1 - left / self._spans if self._spans else 1.0

    def positions(self) -> dict[int, int]:
        """Return where to go on in each partition; hits that were not returned are found again."""
        return {number: side.position for number, side in self._sides.items()}

    # Looking

    def step(self, go_on: Callable[[], bool], *, last: bool = False) -> list[Hit[T]]:
        """Search as long as ``go_on()`` is true, and at least one step; return the hits in order.

        ``last``: only finish a batch that is halfway.

        Raises UnknownPartition if the topic was deleted. Unreadable batches are skipped, and listed
        in ``counts``.
        """
        found: list[Hit[T]] = []
        while not self.over and (self._at_work is not None or not last):
            if self._unopened:
                self._open(self._unopened.popleft())
            elif self._scan(go_on):
                self._give(found, self._due[0][0] if self._due else inf)
            else:
                break
            if not go_on():
                break
        return found

    def rest(self) -> list[Hit[T]]:
        """Return the hits that were found and not returned, for a caller that does not go on."""
        found: list[Hit[T]] = []
        self._give(found, inf)
        return found

    def _open(self, number: int) -> None:
        try:
            log = CommittedLog(self._topic.partition(number))
            low = log.start
            high = self.newest[number] = log.safe
            begin = min(max(self._begin(log, number), low), high)
            end = min(max(self._end(log, number), low), high)
        except (Damaged, Failed) as error:
            self.counts.damaged(number, error)
            return
        place = (self._topic.name, number)
        side: _Side[T]
        if self._back:
            window = max(1, min(WINDOW_MIN, self._rows_max))
            side = _Back(log, place, begin, end, self._aim, window)
        else:
            side = _Onward(log, place, begin, end, self._aim)
        self._sides[number] = side
        self._spans += side.span
        if not side.done:
            heapq.heappush(self._due, (side.bound, number))

    def _scan(self, go_on: Callable[[], bool]) -> bool:
        """Look at more of the partition that is furthest behind; return whether all is done."""
        if self._at_work is None:
            if not self._due:
                return True
            _, number = heapq.heappop(self._due)
            side = self._sides[number]
            steps = side.scan(self._rows_max)
        else:
            side, steps = self._at_work
            self._at_work = None
        try:
            for _ in steps:
                if not go_on():
                    self._at_work = side, steps
                    return False
        except (Damaged, Failed) as error:
            self.counts.damaged(side.number, error)
        else:
            if not side.done:
                heapq.heappush(self._due, (side.bound, side.number))
        if side.rows:
            heapq.heappush(self._holding, (side.rows[0].key, side.number))
        return True

    def _give(self, found: list[Hit[T]], bound: float) -> None:
        """Add the hits that come before any that may still be found."""
        while self.left and self._holding and self._holding[0][0] <= bound:
            _, number = heapq.heappop(self._holding)
            rows = self._sides[number].rows
            found.append(rows.popleft().hit)
            self.left -= 1
            if rows:
                heapq.heappush(self._holding, (rows[0].key, number))


# Where a search is, as a text

FORWARD: Final = ">"
BACKWARD: Final = "<"
_CURSOR: Final = re.compile(r"[<>](\d{1,9}:\d{1,19}(,\d{1,9}:\d{1,19})*)?", re.ASCII)


def cursor(positions: Mapping[int, int], *, back: bool) -> str:
    """Return a cursor such as ``>0:123,1:45``.

    ``>``: forward from offset 123 of partition 0; ``<``: backward from below it.
    """
    places = ",".join(f"{number}:{offset}" for number, offset in positions.items())
    return f"{BACKWARD if back else FORWARD}{places}"


def parsed_cursor(text: str) -> tuple[dict[int, int], bool]:
    """Parse a cursor: return positions, and whether it goes backward. Raises Refused."""
    if not _CURSOR.fullmatch(text):
        raise Refused(f"cursor {text[:40]!r}: use one that a search has given")
    pairs = (it.split(":") for it in text[1:].split(",") if it)
    return {int(number): int(offset) for number, offset in pairs}, text[0] == BACKWARD
