"""The journal's state of a queue: unsettled offsets of each lane, and their failures.

The state follows from the operations of the journal (``settled.py``) alone. Applying all operations
from any point to the last again gives the same state, so a snapshot may be newer than the beginning
of a replay. It does not contain which consumer has which message: after a start, none has any.

As bytes: format 2 (a byte), then for each lane, ascending::

    lane (a byte) | cursor | held (a set) | counts | (count | offsets (a set))* | removed

Numbers are as in ``broker/packed.py``, sets as in ``bits.py``, removed messages as in
``removed.py``. Format 1 lacks these, so it is unknown which settled messages were purged, and none
is shown.
"""

from dataclasses import dataclass, field
from typing import Final

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.bits import (
    BLOCK_SHIFT,
    KEPT_BLOCKS_MAX,
    Bits,
    decode_set,
    encode,
    exclude,
    include,
    runs,
    within,
)  # fmt: skip
from logstore.broker.queues.counts import Counts
from logstore.broker.queues.removed import Removed
from logstore.errors import CorruptStore, SchemaTooNew

FORMAT: Final = 2
WITHOUT_REMOVED: Final = 1  # the format before
LANE_MAX: Final = 255  # a lane's number is a message's priority


class DoesNotFit(CorruptStore):
    """An operation that would make a lane hold more than any lane can, so the record is damaged."""


@dataclass(slots=True)
class LaneState:
    """The state of one lane. Offsets below ``cursor`` that are not in ``held`` are settled."""

    cursor: int = 0
    held: Bits = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)  # of what is held
    removed: Removed = field(default_factory=Removed)  # of what is settled: it was purged
    # Offsets that clients are getting exactly once (``handovers.py``): they are out. In no bytes.
    claimed: list[int] = field(default_factory=list)

    def hold(self, upto: int) -> None:
        """Move the cursor up to here; the passed offsets are not settled. Raises DoesNotFit."""
        more = upto - self.cursor
        if more <= 0:
            return
        if len(self.held) + (more >> BLOCK_SHIFT) > KEPT_BLOCKS_MAX:
            raise DoesNotFit(f"offsets {self.cursor} to {upto - 1} are to be held at once")
        include(self.held, self.cursor, more)
        self.cursor = upto

    def settle_run(self, first: int, count: int) -> None:
        """Settle consecutive offsets, held or not. Raises DoesNotFit."""
        self.hold(first)
        self._forget(first, first + count)
        self.cursor = max(self.cursor, first + count)

    def settle_block(self, block: int, mask: int) -> None:
        """Settle offsets of one block. Raises DoesNotFit."""
        if (upto := (block << BLOCK_SHIFT) + mask.bit_length()) > self.cursor:
            self.hold(upto)
        left = self.held.get(block, 0) & ~mask
        if left:
            self.held[block] = left
        else:
            self.held.pop(block, None)
        if self.counts:
            self.counts.clear(block, mask)

    def failed(self, block: int, mask: int, count: int) -> None:
        """Set the number of failures of the held offsets of a block. Raises DoesNotFit."""
        self.hold((block << BLOCK_SHIFT) + mask.bit_length())
        mask &= self.held.get(block, 0)
        if mask:
            self.counts.put(block, mask, count)

    def failed_run(self, first: int, count: int, failures: int) -> None:
        """Set the number of failures of consecutive held offsets. Raises DoesNotFit."""
        self.hold(first + count)
        for block, mask in within(self.held, first, first + count):
            if mask & self.held[block]:
                self.counts.put(block, mask & self.held[block], failures)

    def clip(self, end: int) -> None:
        """Note that the log ends here: the state of later offsets belongs to lost records."""
        self.removed.clip(end)
        if self.cursor > end:
            self._forget(end, self.cursor)
            self.cursor = end

    def remove_settled(self) -> None:
        """Count all settled offsets as removed."""
        at = 0
        for first, count in runs(self.held):
            self.removed.add(at, first)
            at = first + count
        self.removed.add(at, self.cursor)

    def _forget(self, first: int, upto: int) -> None:
        if exclude(self.held, first, upto) and self.counts:
            self.counts.keep(self.held)

    @property
    def floor(self) -> int:
        """The offset below which all is settled."""
        if not self.held:
            return self.cursor
        block = min(self.held)
        return (block << BLOCK_SHIFT) + (self.held[block] & -self.held[block]).bit_length() - 1

    def unsettled(self, first: int, upto: int) -> int:
        """Return how many of these offsets below the cursor are not settled."""
        return sum(
            (self.held[block] & mask).bit_count() for block, mask in within(self.held, first, upto)
        )

    def encode(self) -> bytes:
        """Encode the state, without the lane's number."""
        parts = [packed(self.cursor), encode(self.held)]
        by_count = self.counts.within(self.held)
        parts.append(packed(len(by_count)))
        for count, those in sorted(by_count.items()):
            parts += (packed(count), encode(those))
        parts.append(self.removed.encode())
        return b"".join(parts)

    @classmethod
    def decode(cls, data: Packed, format_: int = FORMAT) -> "LaneState":
        """Decode what ``encode`` returned. Raises CorruptStore."""
        lane = cls(cursor=data.number())
        lane.held = decode_set(data, lane.cursor)
        last = 0
        for _ in range(data.number()):
            count = data.number()
            if count <= last:
                raise data.damaged("has its counts out of order")
            last = count
            for block, mask in decode_set(data, lane.cursor).items():
                if mask & ~lane.held.get(block, 0) or lane.counts.at_least(block, mask, 1):
                    raise data.damaged(f"has a count of what is not held in block {block}")
                lane.counts.put(block, mask, count)
        if format_ == WITHOUT_REMOVED:
            lane.remove_settled()
        else:
            lane.removed = Removed.decode(data)
            if lane.removed.uptos and lane.removed.uptos[-1] > lane.cursor:
                raise data.damaged(f"has removed an offset that is not below {lane.cursor}")
        return lane


@dataclass(slots=True)
class QueueState:
    """The states of one queue's lanes, by number."""

    lanes: dict[int, LaneState] = field(default_factory=dict)

    def lane(self, number: int) -> LaneState:
        """Return the state of the lane; a new one is empty."""
        assert 0 <= number <= LANE_MAX
        return self.lanes.setdefault(number, LaneState())

    def encode(self) -> bytes:
        """As bytes."""
        parts = [bytes((FORMAT,))]
        for number, lane in sorted(self.lanes.items()):
            parts += (bytes((number,)), lane.encode())
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, what: str = "the state of a queue") -> "QueueState":
        """Decode what ``encode`` returned. Raises CorruptStore, SchemaTooNew, with ``what``."""
        reader = Packed(data, what)
        if (found := reader.byte()) not in (FORMAT, WITHOUT_REMOVED):
            raise SchemaTooNew(
                f"{what} has format {found}, known is {FORMAT}: open the store with the logstore "
                f"that wrote it"
            )
        state, last = cls(), -1
        while reader:
            number = reader.byte()
            if number <= last:
                raise reader.damaged("has its lanes out of order")
            state.lanes[number] = LaneState.decode(reader, found)
            last = number
        return state
