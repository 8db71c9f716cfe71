"""A queue's past: all its messages on disk, including settled ones. Reading takes none of them.

In the sessions' thread, ``cuts`` returns where each lane begins and ends, and ``spans`` the states
of consecutive offsets; ``read`` fetches their messages in any thread that may wait for the disk. A
reader alternates between the two, with a ``Track`` of how far each lane was read. Purged messages
are not included; a message that is settled meanwhile may be shown in its earlier state.

In order of time, lanes are merged by publishing time; within a lane, the order is that of the
offsets. In order of position, messages come in the order of delivery: by priority, highest first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits
from logstore.broker.queues.counts import ByCount
from logstore.broker.queues.lane import Lane
from logstore.broker.queues.message import Showing, Shown
from logstore.broker.queues.peeking import Spot, spot_of
from logstore.broker.queues.queue import Queue
from logstore.broker.reading import Skip, chunks
from logstore.errors import CorruptBatch, OffsetBelowStart, Refused
from logstore.log import Log
from logstore.records.record import Record

READY, OUT, SETTLED = "ready", "out", "settled"
# What may be asked for, as the states that are meant.
STATES: Final[Mapping[str, frozenset[str]]] = {
    "all": frozenset({READY, OUT, SETTLED}), "unsettled": frozenset({READY, OUT}),
    SETTLED: frozenset({SETTLED}), READY: frozenset({READY}), OUT: frozenset({OUT}),
}  # fmt: skip

SPAN_MAX: Final = 16_384  # offsets that are asked about at once: 64 blocks, 50 us
SPAN_MIN: Final = 256  # and of one lane among many
SCANNED_BYTES_MAX: Final = 16 << 20  # of bodies that are passed over by one read, beside the last
LANES_MAX: Final = 256  # of a queue: one for each priority

Order = Literal["time", "position"]
Bound = int | Spot | None  # ms since 1970, or a place


class Wanted(NamedTuple):
    """The requested messages."""

    states: frozenset[str] = STATES["all"]
    from_ms: int | None = None  # published then or later
    to_ms: int | None = None  # published before
    headers: Sequence[tuple[str, str]] = ()  # each has one of this name with this value


class Cut(NamedTuple):
    """Where a lane begins and ends now."""

    lane: int
    log: Log
    start: int
    end: int


class Span(NamedTuple):
    """The states of consecutive offsets of a lane."""

    lane: int
    log: Log
    first: int
    upto: int
    more: bool  # of the lane, as far as it is to be read
    left: Sequence[tuple[int, int]]  # ranges that no purge has removed
    cursor: int
    held: Bits
    back: Bits
    failures: ByCount

    def state(self, offset: int) -> str:
        """Return the state of a message that was not removed."""
        block, bit = offset >> BLOCK_SHIFT, offset & BIT
        if offset >= self.cursor or self.back.get(block, 0) >> bit & 1:
            return READY
        return OUT if self.held.get(block, 0) >> bit & 1 else SETTLED

    def failed(self, offset: int) -> int:
        """Return how often an unsettled message was returned as failed."""
        block, bit = offset >> BLOCK_SHIFT, offset & BIT
        return next((n for n, it in self.failures.items() if it.get(block, 0) >> bit & 1), 0)


class Found(NamedTuple):
    """A message on disk."""

    lane: int
    state: str
    record: Record
    shown: Shown
    failures: int

    @property
    def spot(self) -> Spot:
        return Spot(self.lane, self.record.offset)


class Track(dict[int, tuple[int, int]]):
    """How far each unfinished lane was read: its next offset, and its end."""

    def __str__(self) -> str:
        return ",".join(f"{lane}:{at}..{end}" for lane, (at, end) in sorted(self.items()))

    def moved(self, lane: int, at: int) -> None:
        """Note that the lane was read up to this offset."""
        end = self[lane][1]
        if at < end:
            self[lane] = at, end
        else:
            del self[lane]

    def back(self, found: "Sequence[Found]") -> None:
        """Move back so that these messages, the last ones read, are read again."""
        for it in reversed(found):
            end = self.get(it.lane, (0, it.record.offset + 1))[1]
            self[it.lane] = it.record.offset, end


def track_of(text: str) -> Track:
    """Parse what ``str`` of a track returned. Raises Refused."""
    track, parts = Track(), text.split(",", LANES_MAX) if text else ()
    for part in parts:
        begin, dots, end = part.partition("..")
        upto = end if dots and end.isascii() and end.isdigit() and len(end) <= 19 else ""
        if not upto or ":" not in begin or len(parts) > LANES_MAX:
            raise Refused(
                f"{text[:40]!r} is not a place to continue from: use that of the last page"
            )
        spot = spot_of(begin)
        if spot.offset < int(upto):
            track[spot.priority] = spot.offset, int(upto)
    return track


class Page(NamedTuple):
    """The result of one read."""

    found: Sequence[Found]
    track: Track  # where to go on; empty: nowhere
    next_ms: int | None = None  # when the next message was published, if that is known

    @property
    def following(self) -> Spot | None:
        """The next position, in the order of positions."""
        if not self.track:
            return None
        lane = max(self.track)
        return Spot(lane, self.track[lane][0])


# In the sessions' thread


def cuts(queue: Queue) -> list[Cut]:
    """Return the ranges of all lanes, highest first; the queue must be open. Raises ``failed``."""
    if queue.failed is not None:
        raise queue.failed
    return [
        Cut(it.number, it.log, it.log.start, it.log.safe)
        for it in queue.stock.order if it.log is not None
    ]  # fmt: skip


def spans(queue: Queue, track: Track, order: Order = "time") -> list[Span]:
    """Return the ranges to read next; the queue must be open. Raises ``failed``."""
    if queue.failed is not None:
        raise queue.failed
    left = SPAN_MAX
    each = left if order == "position" else max(SPAN_MIN, left // max(1, len(track)))
    found: list[Span] = []
    for number in sorted(track, reverse=True):
        lane = queue.stock.lanes.get(number)
        at, end = track[number]
        if lane is None or lane.log is None or max(at, lane.log.start) >= min(end, lane.log.safe):
            track.moved(number, end)
        elif left > 0:
            found.append(_span(lane, lane.log, at, end, min(each, left)))
            left -= found[-1].upto - found[-1].first if order == "position" else 0
    return found


def _span(lane: Lane, log: Log, at: int, end: int, most: int) -> Span:
    settlement = lane.settlement
    first, end = max(at, log.start), min(end, log.safe)
    upto = min(end, first + most)
    held, back = settlement.standing(first, upto)
    return Span(
        lane.number, log, first, upto, upto < end, list(settlement.removed.left(first, upto)),
        settlement.cursor, held, back, settlement.failures_of(held),
    )  # fmt: skip


# In a thread that may wait


def begin(found: Sequence[Cut], first: Bound, upto: Spot | None, order: Order = "time") -> Track:
    """Return where to begin and to end. Raises Refused, LogFailed, Damaged, Failed.

    In the order of time, a position limits the read to its own priority. In the order of positions,
    it is one among all messages.
    """
    places = [it for it in (first, upto) if isinstance(it, Spot)]
    if order == "time" and len({it.priority for it in places}) > 1:
        raise Refused(
            f"from {places[0]} to {places[1]}: offsets of different priorities cannot be"
            " compared; use times, or read one priority at a time"
        )
    track = Track()
    for lane, log, start, end in found:
        if order == "time" and places and lane != places[0].priority:
            continue
        if isinstance(first, Spot):
            start = max(start, first.offset) if lane == first.priority else start
            end = start if lane > first.priority else end
        elif first is not None:
            start = max(start, log.find(first, damaged=True))
        if isinstance(upto, Spot):
            end = min(end, upto.offset) if lane == upto.priority else end
            end = start if lane < upto.priority else end
        if start < end:
            track[lane] = start, end
    return track


def read(
    of: Sequence[Span],
    track: Track,
    wanted: Wanted,
    most: int,
    bytes_max: int,
    *,
    order: Order = "time",
    before_ms: int | None = None,
    skip: Skip | None = None,
) -> Page:
    """Return the first ``most`` messages of these spans, or fewer within ``bytes_max``; at least
    one.

    The page may be empty although there are more: ``track`` always says where to go on.
    ``before_ms``: stop before the first message published at or after this time. ``skip``: called
    with unreadable batches, which are then skipped. Raises CorruptBatch, LogFailed, Damaged,
    Failed.
    """
    reading = _Reading(track, most, bytes_max, before_ms)
    matches = _Matching(wanted)
    try:
        if order == "position":
            for span in sorted(of, key=lambda it: -it.lane):
                side = _Side(span, matches, skip, reading)
                if not reading.take([side]) or span.more:
                    break
        else:
            reading.take([_Side(it, matches, skip, reading) for it in of])
    except CorruptBatch:
        if not reading.found:
            raise
    return Page(reading.found, track, reading.next_ms)


class _Matching:
    """Whether messages match the request, by the content of their records."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.showing = Showing()
        self._low = 0 if wanted.from_ms is None else wanted.from_ms
        self._timed = wanted.from_ms is not None or wanted.to_ms is not None
        self._known: dict[int, tuple[Shown, bool]] = {}

    def of(self, span: Span, records: Sequence[Record]) -> list[Found]:
        """Return the matching records."""
        wanted = self.wanted
        if not span.held and span.cursor >= span.upto and len(span.left) == 1:
            first, upto = span.left[0]
            if SETTLED not in wanted.states or not records:
                return []
            if records[0].offset < first or records[-1].offset >= upto:
                records = [it for it in records if first <= it.offset < upto]
            found = self._all_settled(span.lane, records)
        else:
            found = list(self._by_state(span, records))
        if self._timed:
            upto_ms = float("inf") if wanted.to_ms is None else wanted.to_ms
            found = [it for it in found if self._low <= it.record.timestamp_ms < upto_ms]
        if wanted.headers:
            found = [it for it in found if self._has(it.shown)]
        return found

    def _all_settled(self, lane: int, records: Sequence[Record]) -> list[Found]:
        """Return the matching records of a span that is all settled.

        This takes half the time of asking for each state.
        """
        found: list[Found] = []
        append, new, last = found.append, tuple.__new__, None
        for record in records:
            headers = record[-1]
            if headers is not last:  # a batch has one object for all that are alike
                last, shown = headers, self.showing.shown(headers)
            append(new(Found, (lane, SETTLED, record, shown, 0)))
        return found

    def _by_state(self, span: Span, records: Sequence[Record]) -> Iterator[Found]:
        left = iter(span.left)
        first, upto = next(left, (span.upto, span.upto))
        for record in records:
            offset = record.offset
            while offset >= upto and first < span.upto:
                first, upto = next(left, (span.upto, span.upto))
            if first <= offset < upto:
                state = span.state(offset)
                if state in self.wanted.states:
                    failures = span.failed(offset) if span.failures else 0
                    yield Found(
                        span.lane, state, record, self.showing.shown(record.headers), failures
                    )

    def _has(self, shown: Shown) -> bool:
        known = self._known.get(id(shown))
        if known is not None and known[0] is shown:
            return known[1]
        given = _headers(shown)
        has = all(
            name in given and value in _texts(given[name]) for name, value in self.wanted.headers
        )
        if len(self._known) >= 1000:
            self._known.clear()
        self._known[id(shown)] = shown, has
        return has


def _headers(shown: Shown) -> Mapping[str, Any]:
    try:
        return properties.read(shown.deliver).headers or {}
    except Refusal:  # a record that no door has written
        return {}


def _texts(value: Any) -> Sequence[str]:  # noqa: ANN401  what a table holds
    """Return a header's value as texts: one for each value of an array."""
    if isinstance(value, list):
        return [text for it in value for text in _texts(it)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, bytes):
        return [fields.text(value)]
    return [] if value is None or isinstance(value, dict) else [str(value)]


class _Side:
    """One lane that is read, with its next messages."""

    def __init__(
        self, span: Span, matches: _Matching, skip: Skip | None, reading: "_Reading"
    ) -> None:
        self.lane, self.more = span.lane, span.more
        self.found: list[Found] = []
        self.place = 0  # of the next one among these
        self._span, self._matches, self._reading = span, matches, reading
        self._scan = self._scanned(skip)
        self._at = span.first
        self._begun = False  # each is read at least once, so that there is always progress

    def head(self) -> Found | None:
        """Return the next message; None: the span has none left, or too much was scanned."""
        while self.place == len(self.found):
            self._reading.passed(self.lane, self._at)
            if self._begun and self._reading.scanned_bytes >= SCANNED_BYTES_MAX:
                return None
            self._begun = True
            more = next(self._scan, None)
            if more is None:
                return None
            self.found, self._at = more
            self.place = 0
        return self.found[self.place]

    @property
    def ended(self) -> bool:
        """Whether nothing is left, also behind the span."""
        return not self.more and self._at >= self._span.upto

    def _scanned(self, skip: Skip | None) -> Iterator[tuple[list[Found], int]]:
        """Yield runs of matching messages, each with the offset up to which it goes."""
        log, upto, at = self._span.log, self._span.upto, self._span.first
        while at < upto:
            before = at
            try:
                for chunk in chunks(log, (log.name, 0), at, skip, wait=True):
                    records = chunk.records
                    if records and records[-1].offset >= upto:
                        records = [it for it in records if it.offset < upto]
                    at = min(chunk.end, upto)
                    found = self._matches.of(self._span, records)
                    if len(found) < len(records):
                        self._reading.scanned_bytes += _bytes(records) - _bytes(
                            [it.record for it in found]
                        )
                    yield found, at
                    if at >= upto:
                        return
            except OffsetBelowStart:  # trimmed meanwhile
                at = min(upto, log.start)
                yield [], at
            if at == before:
                return


def _bytes(records: Sequence[Record]) -> int:
    return sum([len(it.value or b"") for it in records])


class _Reading:
    """One page while it is read."""

    def __init__(self, track: Track, most: int, bytes_max: int, before_ms: int | None) -> None:
        self.found: list[Found] = []
        self.scanned_bytes = 0  # of records that do not match
        self.next_ms: int | None = None
        self._track = track
        self._most, self._bytes = most, bytes_max
        self._before_ms = before_ms

    def passed(self, lane: int, at: int) -> None:
        """Note that all of the lane below ``at`` was taken or does not match."""
        if lane in self._track and at > self._track[lane][0]:
            self._track.moved(lane, at)

    def take(self, sides: Sequence[_Side]) -> bool:
        """Take messages in order while there is room; return whether all of these sides are
        exhausted.
        """
        while sides:
            heads = [(side.head(), side) for side in sides]
            if any(head is None and not side.ended for head, side in heads):
                return False  # what comes next of it is not known
            there = [(it.record.timestamp_ms, -side.lane, side) for it, side in heads if it]
            if not there:
                return True
            there.sort(key=lambda it: it[:2])
            at_ms, _, side = there[0]
            if self._before_ms is not None and at_ms >= self._before_ms:
                self.next_ms = at_ms
                return False
            if not self._take(side, there[1][:2] if len(there) > 1 else None):
                return False
            sides = [it for _, _, it in there]
        return True

    def _take(self, side: _Side, before: tuple[int, int] | None) -> bool:
        """Take messages of this side up to the first of another; return whether there is room for
        more.
        """
        found, place, lane = side.found, side.place, side.lane
        if before is None and self._before_ms is None and self._has_room(found, place):
            self.found += found[place:] if place else found
            side.place = len(found)
            self.passed(lane, found[-1].record.offset + 1)
            return True
        while place < len(found):
            it = found[place]
            at_ms = it.record.timestamp_ms
            if before is not None and (at_ms, -lane) > before:
                break
            if self._before_ms is not None and at_ms >= self._before_ms:
                break
            if self.found and (len(self.found) >= self._most or self._bytes <= 0):
                self._stop(side, place, at_ms)
                return False
            self.found.append(it)
            self._bytes -= len(it.record.value or b"") + len(it.shown.properties)
            place += 1
        side.place = place
        if place:
            self.passed(lane, found[place - 1].record.offset + 1)
        return True

    def _has_room(self, found: Sequence[Found], place: int) -> bool:
        """Return whether all messages from ``place`` on fit; if so their bytes are counted."""
        if len(self.found) + len(found) - place > self._most:
            return False
        size = sum([len(it[2].value or b"") + len(it[3].properties) for it in found[place:]])
        if size > self._bytes:
            return False
        self._bytes -= size
        return True

    def _stop(self, side: _Side, place: int, at_ms: int) -> None:
        side.place = place
        if place:
            self.passed(side.lane, side.found[place - 1].record.offset + 1)
        self.next_ms = at_ms
