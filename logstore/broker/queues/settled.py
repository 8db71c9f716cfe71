"""The settlements of one queue in one turn, as the value of one journal record.

A value is a sequence of operations, each with a letter, a lane (a byte) and its fields::

    E lane end                   clip: the lane's log ended here when it was opened
    P lane (first | count)       settled: consecutive offsets
    S lane set                   settled: any offsets
    D lane (first | count)       purged: consecutive offsets, no longer part of the past
    M lane set                   purged: any offsets
    B lane start                 the lane's log begins here: purged offsets below are forgotten
    C lane cursor                all offsets below were delivered
    R lane count set             these offsets have failed this many times
    X                            the queue was deleted; no lane, and nothing follows

A delivery is not an operation: only the cursor and the settled offsets below it are written. Each
operation states what holds from then on, not a difference, so a replay may begin too early. Numbers
are as in ``broker/packed.py``, sets as in ``bits.py``.
"""

from dataclasses import dataclass, field
from typing import Final

from logstore.broker.packed import NUMBER_MAX, Packed, packed
from logstore.broker.queues.bits import BLOCK_SHIFT, Bits, decode, encode, include, parts
from logstore.broker.queues.counts import ByCount
from logstore.broker.queues.settlement import Purged, Settlement
from logstore.broker.queues.state import LANE_MAX, DoesNotFit, LaneState, QueueState
from logstore.errors import SchemaTooNew

CLIP, RUN, SET, CURSOR, FAILED, GONE = b"E", b"P", b"S", b"C", b"R", b"X"
REMOVED_RUN, REMOVED_SET, START = b"D", b"M", b"B"

# In a row: so many are an operation of their own, so that no set has to be made of them.
LONG_RUN: Final = 16_384


@dataclass(slots=True)
class _Lane:
    """The unwritten changes of one lane."""

    clip: int | None = None
    runs: list[tuple[int, int, bytes]] = field(default_factory=list)  # each with its operation
    settled: Bits = field(default_factory=dict)
    removed: Bits = field(default_factory=dict)
    start: int | None = None
    cursor: int | None = None
    failed: ByCount = field(default_factory=dict)

    def encode(self, lane: bytes) -> list[bytes]:
        """Return the operations, in the order that needs the least memory when they are applied."""
        out: list[bytes] = []
        if self.clip is not None:
            out += (CLIP, lane, packed(self.clip))
        for first, count, operation in sorted(self.runs):
            out += (operation, lane, packed(first), packed(count))
        if self.settled:
            out += (SET, lane, encode(self.settled))
        if self.removed:
            out += (REMOVED_SET, lane, encode(self.removed))
        if self.start is not None:
            out += (START, lane, packed(self.start))
        if self.cursor is not None:
            out += (CURSOR, lane, packed(self.cursor))
        for count, those in sorted(self.failed.items()):
            out += (FAILED, lane, packed(count), encode(those))
        return out


class Settled:
    """Gathers the changes of one queue until they are written. Their order does not matter."""

    __slots__ = ("_gone", "_lanes")

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._gone = False

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return self._gone or bool(self._lanes)

    def _lane(self, lane: int) -> _Lane:
        assert 0 <= lane <= LANE_MAX
        known = self._lanes.get(lane)
        if known is None:
            known = self._lanes[lane] = _Lane()
        return known

    def settle(self, lane: int, first: int, count: int = 1) -> None:
        """Settle consecutive offsets, delivered or not."""
        if count <= 0:
            return
        if count > LONG_RUN:
            self.settle_run(lane, first, count)
        else:
            include(self._lane(lane).settled, first, count)

    def settle_run(self, lane: int, first: int, count: int) -> None:
        """Settle consecutive offsets, written as a run, however short."""
        if count > 0:
            self._lane(lane).runs.append((first, count, RUN))

    def settle_bits(self, lane: int, first: int, bits: int) -> None:
        """Settle the offsets ``first + n``, for each bit n of ``bits``."""
        if bits:
            settled = self._lane(lane).settled
            for block, mask in parts(first, bits):
                settled[block] = settled.get(block, 0) | mask

    def settle_set(self, lane: int, bits: Bits) -> None:
        """Settle a set of offsets."""
        if bits:
            settled = self._lane(lane).settled
            for block, mask in bits.items():
                settled[block] = settled.get(block, 0) | mask

    def remove(self, lane: int, purged: Purged, start: int) -> None:
        """Note what a purge has settled, of a log that begins at ``start``."""
        if not purged.total:
            return
        it = self._lane(lane)
        it.start = start
        for block, mask in purged.back.items():
            it.removed[block] = it.removed.get(block, 0) | mask
        if purged.length:
            it.runs.append((purged.first, purged.length, REMOVED_RUN))

    def failed(self, lane: int, by_count: ByCount) -> None:
        """Note how often these offsets have failed by now (``Settlement.failures_of``)."""
        if not by_count:
            return
        told = self._lane(lane).failed
        for count, those in by_count.items():
            for block, mask in those.items():
                for other in told.values():  # it may have failed before in this turn
                    if left := other.get(block, 0) & ~mask:
                        other[block] = left
                    else:
                        other.pop(block, None)
                known = told.setdefault(count, {})
                known[block] = known.get(block, 0) | mask
        for count in [count for count, those in told.items() if not those]:
            del told[count]

    def given_out(self, lane: int, cursor: int) -> None:
        """Note that all below has been delivered. Only needed at a close."""
        it = self._lane(lane)
        it.cursor = max(cursor, it.cursor or 0)

    def clip(self, lane: int, end: int) -> None:
        """Note that the log ends here, below settled offsets. Must be safe before any append."""
        it = self._lane(lane)
        assert it == _Lane(), "a lane is clipped before anything else happens to it"
        it.clip = end

    def gone(self) -> None:
        """Note that the queue is deleted, which overrides all else."""
        self._gone = True

    def encode(self) -> bytes:
        """Return the value of the record."""
        if self._gone:
            return GONE
        out: list[bytes] = []
        for number, lane in sorted(self._lanes.items()):
            out += lane.encode(bytes((number,)))
        return b"".join(out)


def reopened(
    lane: int, state: LaneState, start: int, end: int, delivered_below: int, settled: Settled
) -> Settlement:
    """Return the settlement of a lane from the journal, for a log with these offsets.

    ``delivered_below``: as in Settlement; the log's end, unless the last writer has closed the
    store. What the log has lost is put into ``settled``. If its end is below settled offsets, that
    must be safe before any append; otherwise new records would count as settled at the next start.
    """
    it = Settlement.restored(state, end, delivered_below)
    if state.cursor > end:
        settled.clip(lane, end)
    gone = it.purge(start)
    settled.settle_set(lane, gone.back)
    settled.settle(lane, gone.first, gone.length)
    it.removed.forget(start)
    return it


def apply(value: bytes, state: QueueState, what: str = "a record of the journal") -> bool:
    """Apply the operations to the state; return whether the queue still exists.

    Raises SchemaTooNew for an unknown operation, CorruptStore for illegal bytes; the state must not
    be used after that. ``what``: names the value in the message.
    """
    data = Packed(value, what)
    while data:
        letter = data.byte()
        if letter == ord(GONE):
            if data:
                raise data.damaged("goes on behind the end of its queue")
            return False
        operation = _OPERATIONS.get(letter)
        if operation is None:
            raise SchemaTooNew(
                f"{what} has an operation {bytes((letter,))!r}, which this logstore does not know: "
                f"open the store with the one that wrote it"
            )
        lane = state.lane(data.byte())
        try:
            operation(lane, data)
        except DoesNotFit as error:
            raise data.damaged(f"makes no sense: {error}") from None
    return True


def _clip(lane: LaneState, data: Packed) -> None:
    lane.clip(data.number())


def _run(lane: LaneState, data: Packed) -> None:
    first, count = data.number(), data.number()
    if not 0 < count <= NUMBER_MAX - first:
        raise data.damaged(f"settles {count} offsets from {first} on")
    lane.settle_run(first, count)


def _set(lane: LaneState, data: Packed) -> None:
    for first, count, mask in decode(data):
        if mask:
            lane.settle_block(first >> BLOCK_SHIFT, mask)
        else:
            lane.settle_run(first, count)


def _removed_run(lane: LaneState, data: Packed) -> None:
    first, count = data.number(), data.number()
    if not 0 < count <= NUMBER_MAX - first:
        raise data.damaged(f"removes {count} offsets from {first} on")
    lane.settle_run(first, count)
    lane.removed.add(first, first + count)


def _removed_set(lane: LaneState, data: Packed) -> None:
    for first, count, mask in decode(data):
        if mask:
            block = first >> BLOCK_SHIFT
            lane.settle_block(block, mask)
            lane.removed.add_set({block: mask})
        else:
            lane.settle_run(first, count)
            lane.removed.add(first, first + count)


def _start(lane: LaneState, data: Packed) -> None:
    lane.removed.forget(data.number())


def _cursor(lane: LaneState, data: Packed) -> None:
    lane.hold(data.number())


def _failed(lane: LaneState, data: Packed) -> None:
    count = data.number()
    if not count:
        raise data.damaged("tells of a failure that was none")
    for first, many, mask in decode(data):
        if mask:
            lane.failed(first >> BLOCK_SHIFT, mask, count)
        else:
            lane.failed_run(first, many, count)


_OPERATIONS = {
    ord(CLIP): _clip,
    ord(RUN): _run,
    ord(SET): _set,
    ord(REMOVED_RUN): _removed_run,
    ord(REMOVED_SET): _removed_set,
    ord(START): _start,
    ord(CURSOR): _cursor,
    ord(FAILED): _failed,
}
