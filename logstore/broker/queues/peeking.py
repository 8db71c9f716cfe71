"""Reads the messages in a queue without taking them; consumers do not notice.

``places`` returns, in the sessions' thread, the places of messages; ``read`` fetches them in any
thread that may wait for the disk. A message that is settled meanwhile is still shown, or omitted if
it was trimmed.

Messages are in the order of delivery: by priority, highest first, then by offset. Delivered
messages are included at their own places.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from logstore.broker.queues.lane import READ_BYTES, Lane
from logstore.broker.queues.message import Showing, Shown
from logstore.broker.queues.pending import NO_TIME
from logstore.broker.queues.queue import Queue
from logstore.broker.reading import fetched
from logstore.errors import CorruptBatch, OffsetOutOfRange, Refused
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.record import Record

READY, UNACKED = "ready", "unacked"
PLACES_MAX: Final = 500  # at once: each may be in a batch of its own
# Of batches that are read at once, beside the last: a message may have 128 MiB.
SCANNED_BYTES_MAX: Final = 8 << 20


class Spot(NamedTuple):
    """The position of a message in its queue, comparable in the order of delivery."""

    priority: int
    offset: int

    def __str__(self) -> str:
        return f"{self.priority}:{self.offset}" if self.priority else str(self.offset)


def spot_of(text: str) -> Spot:
    """Parse a position: ``17``, or ``4:17`` for priority 4. Raises Refused."""
    priority, colon, offset = text.rpartition(":")
    numbers = (priority, offset) if colon else ("0", offset)
    if not all(it.isascii() and it.isdigit() and len(it) <= 19 for it in numbers):
        raise Refused(
            f"{text[:30]!r} is not the position of a message: use an offset, such as 17, or"
            f" 4:17 with a priority"
        )
    return Spot(int(numbers[0]), int(numbers[1]))


class Place(NamedTuple):
    """One message that is in the queue."""

    spot: Spot
    log: Log
    state: str
    failures: int  # how often it came back, having failed
    redelivered: bool  # it may have been given out before


class Places(NamedTuple):
    """Some messages of a queue."""

    found: Sequence[Place]
    following: Spot | None  # where to go on; None: these are the last


class Peeked(NamedTuple):
    """A message as it is in its queue."""

    place: Place
    record: Record
    shown: Shown
    expires_ms: int | None  # when; None: never


class Peek(NamedTuple):
    """The result of one read."""

    messages: Sequence[Peeked]
    damaged: Sequence[Spot]  # what stands there can't be read
    following: Spot | None


def places(queue: Queue, begin: Spot | None, most: int) -> Places:
    """Return up to ``most`` messages from ``begin``, or from the first; the queue must be open."""
    lanes = [it for it in queue.stock.order if it.log is not None]
    if begin is not None:
        lanes = [it for it in lanes if it.number <= begin.priority]
    found: list[Place] = []
    for lane in lanes:
        at = begin.offset if begin is not None and begin.priority == lane.number else 0
        found += islice(_of_lane(lane, at), most + 1 - len(found))
        if len(found) > most:
            return Places(found[:-1], found[-1].spot)
    return Places(found, None)


def place(queue: Queue, spot: Spot) -> Place | None:
    """Return one message; None: there is no unsettled one at this position."""
    found = places(queue, spot, 1).found
    return found[0] if found and found[0].spot == spot else None


def _of_lane(lane: Lane, first: int) -> Iterator[Place]:
    settlement, log = lane.settlement, lane.log
    assert log is not None
    for offset, back in settlement.unsettled(first):
        state = READY if back else UNACKED
        spot = Spot(lane.number, offset)
        yield Place(spot, log, state, settlement.failures(offset), redelivered=back)
    for offset in range(max(first, settlement.cursor), log.safe):
        again = offset < settlement.delivered_below
        yield Place(Spot(lane.number, offset), log, READY, 0, redelivered=again)


def read(wanted: Places, ttl_ms: int | None, bytes_max: int = SCANNED_BYTES_MAX) -> Peek:
    """Read these messages, or the first of them within bounds. ``ttl_ms``: of the queue.

    Called in a thread that may block. Raises UnknownPartition if the queue was deleted.
    """
    showing = Showing()
    messages: list[Peeked] = []
    damaged: list[Spot] = []
    window = _Window()
    for number, it in enumerate(wanted.found):
        if number and bytes_max <= 0 and not window.has(it):
            return Peek(messages, damaged, it.spot)
        try:
            bytes_max -= window.move(it)
        except CorruptBatch:
            damaged.append(it.spot)
            continue
        record = window.records.get(it.spot.offset)
        if record is not None:  # otherwise it was compacted or trimmed
            shown = showing.shown(record.headers)
            messages.append(Peeked(it, record, shown, _expires(record, shown, ttl_ms)))
    return Peek(messages, damaged, wanted.following)


class _Window:
    """The batches that were read last."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self._log: Log | None = None
        self._first = self._upto = 0

    def has(self, it: Place) -> bool:
        return it.log is self._log and self._first <= it.spot.offset < self._upto

    def move(self, to: Place) -> int:
        """Read around this place, unless that was done; return the bytes read. Raises
        CorruptBatch.
        """
        if self.has(to):
            return 0
        self.records, self._log = {}, to.log
        self._first, self._upto = to.spot.offset, to.spot.offset + 1
        try:
            batches = fetched(to.log, to.spot.offset, READ_BYTES)
        except OffsetOutOfRange:  # trimmed, since it was settled
            return 0
        for number, batch in enumerate(batches):
            if not self._add(batch, first=not number):
                break
        return sum(len(it.data) for it in batches)

    def _add(self, batch: Batch, *, first: bool) -> bool:
        """Add a batch; return whether it is intact. Raises CorruptBatch if the first one is not."""
        try:
            self.records.update({it.offset: it for it in decode(batch)})
        except CorruptBatch:
            if first:
                raise
            return False
        self._first = min(self._first, batch.base_offset)
        self._upto = batch.next_offset
        return True


def _expires(record: Record, shown: Shown, ttl_ms: int | None) -> int | None:
    ttl = min(NO_TIME if it is None else it for it in (shown.expiration_ms, ttl_ms))
    return None if ttl == NO_TIME else record.timestamp_ms + ttl
