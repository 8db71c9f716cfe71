"""Which records of a log are settled, which are delivered, and which wait for redelivery.

It works on the offsets of any ``Log``: a lane of a queue, or a partition of a topic that a share
group reads. ``take`` delivers, ``settle`` finishes, and ``release`` returns a record to its own
place, so that the order is by offset, whenever a record was returned. Which consumer has which
record is known elsewhere (``unacked.py``), and so is what must be stored (``settled.py``); the
caller updates these, too.

Offsets at or above ``cursor`` were never delivered. Offsets below it are *held* until they are
settled; a held offset is either *out* (delivered) or *back* (returned). "Settled" is not stored: it
means below the cursor and not held. So memory grows with the unsettled records, in blocks of 256
offsets, and never with the log's length.

Not every offset has a record: compaction leaves gaps. A caller that takes offsets without a record
settles them like the others, and takes more; ``skip`` passes over a gap that begins at the cursor.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from logstore.broker.queues.bits import (
    BIT,
    BLOCK_BITS,
    BLOCK_SHIFT,
    BLOCKS_MAX,
    FULL,
    Bits,
    exclude,
    include,
    parts,
    runs_of,
    size,
    span,
    within,
)  # fmt: skip
from logstore.broker.queues.counts import ByCount, Counts
from logstore.broker.queues.removed import Removed
from logstore.broker.queues.state import LaneState


class Run(NamedTuple):
    """Consecutive offsets that are delivered together."""

    first: int
    length: int
    redelivered: bool  # they may have been given out before

    @property
    def upto(self) -> int:
        """The offset after the last one."""
        return self.first + self.length


class Purged(NamedTuple):
    """The offsets that ``purge`` has settled: returned ones, and the run never delivered."""

    back: Bits
    first: int
    length: int

    @property
    def total(self) -> int:
        """The total number."""
        return size(self.back) + self.length


class Settlement:
    """The state of one log. Calls are made one at a time; assertions check the named offsets."""

    __slots__ = (
        "_back", "_back_blocks", "_back_count", "_counts", "_held", "_held_count", "_low",
        "cursor", "delivered_below", "removed", "restored_below",
    )  # fmt: skip

    def __init__(self, start: int = 0, delivered_below: int = 0) -> None:
        """Begin without knowledge, for a log that begins at ``start``.

        ``delivered_below``: records below it may have been delivered by a process that could not
        write that, so they are delivered as redelivered.
        """
        self.cursor = start
        self.delivered_below = delivered_below
        self.removed = Removed()  # what was purged
        self.restored_below = 0  # what is held there is of an earlier process
        self._held: Bits = {}
        self._back: Bits = {}  # part of _held; a block that became empty stays until it is lowest
        self._back_blocks: list[int] = []  # the blocks of _back, a heap
        self._counts = Counts()
        self._held_count = self._back_count = 0
        self._low = start >> BLOCK_SHIFT  # no block below is held

    @classmethod
    def restored(cls, state: LaneState, end: int, delivered_below: int = 0) -> "Settlement":
        """Restore the journal's state, over a log that ends here.

        All held records are back, except claimed ones, which are out. The state of records that the
        log has lost at its end is dropped. The caller journals that, and settles what the log has
        lost at its start (``settled.reopened`` does both).
        """
        new = cls(state.cursor, delivered_below)
        new._held = dict(sorted(state.held.items()))
        new._counts = state.counts.copy()
        new.removed = state.removed.copy()
        upto = max(state.claimed, default=-1) + 1
        if upto > new.cursor:
            include(new._held, new.cursor, upto - new.cursor)
            new.cursor = upto
        new._held_count = size(new._held)
        new._low = min(new._held, default=new.cursor >> BLOCK_SHIFT)
        new._all_back()
        new._clip(end)
        new.restored_below = new.cursor
        for offset in state.claimed:
            new.take_one(offset)
        return new

    def _all_back(self) -> None:
        self._back = self._held.copy()
        self._back_blocks = sorted(self._back)  # which is a heap
        self._back_count = self._held_count

    def _clip(self, end: int) -> None:
        if self.cursor <= end:
            return
        assert self.out == 0, "a log is shorter only when it is opened"
        exclude(self._held, end, self.cursor)
        self._counts.keep(self._held)
        self.removed.clip(end)
        self.cursor = end
        self._low = min(self._low, end >> BLOCK_SHIFT)
        self._held_count = size(self._held)
        self._all_back()

    # What there is

    @property
    def out(self) -> int:
        """The number of delivered, unsettled records."""
        return self._held_count - self._back_count

    @property
    def back(self) -> int:
        """The number of returned records."""
        return self._back_count

    def ready(self, end: int) -> int:
        """The number of records to deliver, if the log ended here and everything were safe.

        Offsets are counted, including those without a record.
        """
        return max(0, end - self.cursor) + self._back_count

    @property
    def blocks(self) -> int:
        """The number of held blocks, on which memory depends."""
        return len(self._held)

    @property
    def floor(self) -> int:
        """The offset below which everything is settled, and the log may be trimmed."""
        if not self._held:
            return self.cursor
        if self._low not in self._held:
            self._low = self._next_held()
        mask = self._held[self._low]
        return (self._low << BLOCK_SHIFT) + (mask & -mask).bit_length() - 1

    def _next_held(self) -> int:
        """The lowest held block. Over a lane's life, each block is passed once."""
        held = self._held
        for block in range(self._low + 1, self._low + 1 + len(held)):
            if block in held:
                return block
        return min(held)

    def is_back(self, offset: int) -> bool:
        """Whether the record was returned."""
        return bool(self._back.get(offset >> BLOCK_SHIFT, 0) >> (offset & BIT) & 1)

    def is_out(self, offset: int) -> bool:
        """Whether the record is delivered, and neither settled nor returned."""
        return not self.is_back(offset) and bool(
            self._held.get(offset >> BLOCK_SHIFT, 0) >> (offset & BIT) & 1
        )

    def is_settled(self, offset: int) -> bool:
        """Whether the record is settled: for compaction."""
        return (
            offset < self.cursor
            and not self._held.get(offset >> BLOCK_SHIFT, 0) >> (offset & BIT) & 1
        )

    def head(self, below: int) -> int | None:
        """The first offset that ``take`` would return."""
        block = self._lowest_back()
        if block is not None:
            mask = self._back[block]
            return (block << BLOCK_SHIFT) + (mask & -mask).bit_length() - 1
        return self.cursor if self.cursor < below else None

    def failures(self, offset: int) -> int:
        """Return how often the record was returned as failed."""
        return self._counts.of(offset)

    def unsettled(self, first: int) -> Iterator[tuple[int, bool]]:
        """The unsettled offsets below the cursor from ``first`` on, and whether each was returned.

        Ascending; the settlement must not change meanwhile.
        """
        low = first >> BLOCK_SHIFT
        for block, held in self._held.items():  # ascending, as the cursor goes up
            if block < low:
                continue
            back, base = self._back.get(block, 0), block << BLOCK_SHIFT
            if block == low:
                held &= FULL >> (first & BIT) << (first & BIT)
            for begin, count in runs_of(held):
                for bit in range(begin, begin + count):
                    yield base + bit, bool(back >> bit & 1)

    def standing(self, first: int, upto: int) -> tuple[Bits, Bits]:
        """Among these offsets, those that are unsettled below the cursor, and those that were
        returned.
        """
        held = {block: self._held[block] & mask for block, mask in within(self._held, first, upto)}
        back = {block: self._back.get(block, 0) & mask for block, mask in held.items()}
        return held, back

    def failures_of(self, bits: Bits) -> ByCount:
        """Return how often these records were returned as failed, without those that never were."""
        return self._counts.within(bits)

    # Giving out

    def take(self, n: int, below: int) -> list[Run]:
        """Deliver the first ``n`` ready records, or as many as there are, none from ``below`` on.

        Returned records come first, and all of them ascend. A lane that holds ``BLOCKS_MAX`` blocks
        delivers nothing new.
        """
        found: list[Run] = []
        while n > 0 and (block := self._lowest_back()) is not None:
            taken = self._take_back(block, n, below, found)
            if not taken:
                return found
            n -= taken
        if n > 0 and self.cursor < below:
            self._take_new(min(n, below - self.cursor), found)
        return found

    def _lowest_back(self) -> int | None:
        back, blocks = self._back, self._back_blocks
        while blocks:
            if back[blocks[0]]:
                return blocks[0]
            del back[heappop(blocks)]
        return None

    def _take_back(self, block: int, n: int, below: int, found: list[Run]) -> int:
        mask, base, taken = self._back[block], block << BLOCK_SHIFT, 0
        left = mask
        if base + BLOCK_BITS > below:
            mask &= (1 << max(0, below - base)) - 1
        for bit, length in runs_of(mask):
            count = min(length, n - taken)
            first = base + bit
            if found and found[-1].upto == first:
                found[-1] = Run(found[-1].first, found[-1].length + count, True)
            else:
                found.append(Run(first, count, True))
            left ^= (1 << bit + count) - (1 << bit)
            taken += count
            if taken == n:
                break
        self._back[block] = left
        self._back_count -= taken
        return taken

    def _take_new(self, count: int, found: list[Run]) -> None:
        count = min(count, (BLOCKS_MAX - len(self._held)) * BLOCK_BITS)
        if count <= 0:
            return
        first, upto = self.cursor, self.cursor + count
        include(self._held, first, count)
        self._held_count += count
        self.cursor = upto
        before = min(upto, self.delivered_below)
        for begin, end, again in ((first, before, True), (max(first, before), upto, False)):
            if begin >= end:
                continue
            if again and found and found[-1].upto == begin:
                found[-1] = Run(found[-1].first, found[-1].length + end - begin, True)
            else:
                found.append(Run(begin, end - begin, again))

    def take_between(self, first: int, upto: int) -> list[Run]:
        """Deliver all ready records from ``first`` to before ``upto``, out of turn.

        Records that were never delivered are included if ``first`` is not above the cursor, so that
        the cursor only ascends.
        """
        found: list[Run] = []
        for block, mask in within(self._back, first, min(upto, self.cursor)):
            if not (mask := self._back[block] & mask):
                continue
            self._back[block] ^= mask
            self._back_count -= mask.bit_count()
            base = block << BLOCK_SHIFT
            found += [Run(base + bit, length, True) for bit, length in runs_of(mask)]
        if first <= self.cursor < upto:
            self._take_new(upto - self.cursor, found)
        return found

    def take_one(self, offset: int) -> bool:
        """Deliver one returned record, out of turn; False: it is not a returned one."""
        bit = 1 << (offset & BIT)
        block = offset >> BLOCK_SHIFT
        mask = self._back.get(block, 0)
        if not mask & bit:
            return False
        self._back[block] = mask ^ bit
        self._back_count -= 1
        return True

    def backs(self) -> list[tuple[int, int]]:
        """The blocks of all returned records, ascending, with their bits."""
        return sorted((block, mask) for block, mask in self._back.items() if mask)

    def back_of(self, block: int) -> int:
        """The bits of one block whose records were returned."""
        return self._back.get(block, 0)

    def failed(self, bits: Bits, count: int) -> None:
        """Set how often these delivered records have failed; they stay delivered."""
        for block, mask in bits.items():
            assert self._held[block] & ~self._back.get(block, 0) & mask == mask, (block, mask)
            self._counts.put(block, mask, count)

    def put_back(self, first: int, bits: int) -> None:
        """Records taken and given to no one are ready again: the offsets ``first + n``."""
        self._release(parts(first, bits), False, 0)

    def again(self, offset: int) -> bool:
        """Whether a held record may have been delivered before."""
        return (
            offset < self.delivered_below or offset < self.restored_below
            or bool(self._counts and self._counts.of(offset))
        )  # fmt: skip

    # Ending it

    def settle(self, first: int, count: int = 1) -> None:
        """Settle these delivered records."""
        if count == 1:
            self._settle(first >> BLOCK_SHIFT, 1 << (first & BIT))
            return
        for block, mask in span(first, count):
            self._settle(block, mask)

    def settle_bits(self, first: int, bits: int) -> None:
        """Settle the offsets ``first + n``, for each bit n of ``bits``."""
        for block, mask in parts(first, bits):
            self._settle(block, mask)

    def _settle(self, block: int, mask: int) -> None:
        held = self._held[block]
        assert held & ~self._back.get(block, 0) & mask == mask, (block, mask)  # they are out
        if held == mask:
            del self._held[block]
        else:
            self._held[block] = held ^ mask
        self._held_count -= mask.bit_count()
        if self._counts:
            self._counts.clear(block, mask)

    def release(self, first: int, count: int = 1, *, failed: bool = True, dead_at: int = 0) -> Bits:
        """Make these delivered records ready again, each at its own place.

        ``failed``: it counts as a failure. Records whose count has reached ``dead_at``, if that is
        given, stay delivered and are returned by this call: settle them once they are safe at their
        destination.
        """
        return self._release(span(first, count), failed, dead_at)

    def release_bits(self, first: int, bits: int, *, failed: bool = True, dead_at: int = 0) -> Bits:
        """Release the offsets ``first + n``, for each bit n of ``bits``; as ``release``."""
        return self._release(parts(first, bits), failed, dead_at)

    def _release(self, blocks: Iterable[tuple[int, int]], failed: bool, dead_at: int) -> Bits:
        dead: Bits = {}
        for block, mask in blocks:
            back = self._back.get(block)
            assert self._held[block] & ~(back or 0) & mask == mask, (block, mask)  # they are out
            if failed:
                self._counts.add(block, mask)
                if dead_at and (died := self._counts.at_least(block, mask, dead_at)):
                    dead[block] = died
                    mask &= ~died
                    if not mask:
                        continue
            if back is None:
                heappush(self._back_blocks, block)
                back = 0
            self._back[block] = back | mask
            self._back_count += mask.bit_count()
        return dead

    # Without having been out

    def skip(self, upto: int) -> int:
        """Settle all from the cursor to before ``upto``, in one step; returns their number."""
        count = max(0, upto - self.cursor)
        self.cursor += count
        return count

    def purge(self, upto: int) -> Purged:
        """Settle all ready records below ``upto``: returned ones, and those never delivered.

        Delivered records stay delivered. Also used if a log has lost its start. The records count
        as ``removed``.
        """
        gone: Bits = {}
        while (block := self._lowest_back()) is not None and block << BLOCK_SHIFT < upto:
            mask = self._back[block]
            if (block + 1) << BLOCK_SHIFT > upto:
                mask &= (1 << (upto & BIT)) - 1
            if not mask:
                break
            gone[block] = mask
            self._back[block] ^= mask
            self._back_count -= mask.bit_count()
            self._settle(block, mask)
        first = self.cursor
        self.removed.add_set(gone)
        self.removed.add(first, upto)
        return Purged(gone, first, self.skip(upto))
