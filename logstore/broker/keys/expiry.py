"""Finds keys that may have expired.

Keys are sorted by the tick of their deadline, and distant ones by blocks of ticks, which are split
when they come near. An entry is only a hint: a key whose deadline has changed or is gone is
skipped. If more than half of the entries are obsolete, they are removed, a part at a time.
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Final

TICK: Final = 7  # bits: 128 ms, and so late a key may be removed; it is not seen any more before
BLOCK: Final = 15  # bits: ticks of a block, 70 minutes
SPARE: Final = 10_000  # entries that may be void, however few keys there are
STEP: Final = 1000  # entries that are looked at in one go, at some 0.2 us each
ADDED: Final = 250  # entries that come, and then a part is swept if it is time for that

Deadlines = Mapping[bytes, int]  # ms
_NONE: Final = -1


class Expiry:
    """The deadlines of one database."""

    __slots__ = (
        "_added", "_blocks", "_deadlines", "_entries", "_far", "_near", "_near_below", "_sweep",
        "_ticks",
    )  # fmt: skip

    def __init__(self, deadlines: Deadlines) -> None:
        """``deadlines``: the current deadlines by key; the mapping is read, not copied."""
        self._deadlines = deadlines
        self._near: dict[int, list[bytes]] = {}  # by tick
        self._ticks: list[int] = []  # a heap of these
        self._far: dict[int, list[bytes]] = {}  # by block
        self._blocks: list[int] = []
        self._near_below = 0  # what is in lower blocks is near
        self._entries = self._added = 0
        self._sweep: Iterator[None] | None = None

    def __len__(self) -> int:
        """The number of entries, including void ones."""
        return self._entries

    def add(self, key: bytes, deadline_ms: int) -> None:
        """Note that the key now has this deadline."""
        self._entries += 1
        tick = deadline_ms >> TICK
        block = tick >> BLOCK
        if block < self._near_below:
            _put(self._near, self._ticks, tick, key)
        else:
            _put(self._far, self._blocks, block, key)
        self._added += 1
        if self._added >= ADDED:
            self._added = 0
            self._sweep_some()

    def step(self, now_ms: int) -> tuple[list[bytes], bool]:
        """Return some keys whose deadline has passed, and whether there is more to do now."""
        tick, left, deadlines = now_ms >> TICK, STEP, self._deadlines
        left -= self._come_near(tick >> BLOCK)
        due: list[bytes] = []
        while left > 0 and self._ticks and self._ticks[0] < tick:
            keys = self._near[self._ticks[0]]
            some = keys[-left:]
            del keys[-left:]
            due += [key for key in some if deadlines.get(key, now_ms) < now_ms]
            left -= len(some)
            self._entries -= len(some)
            if not keys:
                del self._near[heappop(self._ticks)]
        behind = bool(self._ticks) and self._ticks[0] < tick
        return due, behind or left <= 0

    def _come_near(self, block: int) -> int:
        """Split blocks up to the one after ``block``; return how many entries were looked at."""
        deadlines = self._deadlines
        looked_at, self._near_below = 0, max(self._near_below, block + 2)
        while looked_at < STEP and self._blocks and self._blocks[0] < self._near_below:
            first = self._blocks[0]
            keys = self._far[first]
            some = keys[looked_at - STEP :]
            del keys[looked_at - STEP :]
            looked_at += len(some)
            if not keys:
                del self._far[heappop(self._blocks)]
            for key in some:
                tick = deadlines.get(key, _NONE) >> TICK
                if tick >> BLOCK == first:
                    _put(self._near, self._ticks, tick, key)
                else:
                    self._entries -= 1
        return looked_at

    def let_go(self) -> int:
        """Forget some entries of a discarded object; return how many."""
        for where in (self._near, self._far):
            if where:
                return len(where.popitem()[1]) or 1
        return 0

    def due_ms(self) -> int | None:
        """Return when to call ``step`` next; None: there are no entries."""
        times = [(tick + 1) << TICK for tick in self._ticks[:1]]
        times += [(block - 1) << BLOCK + TICK for block in self._blocks[:1]]
        return min(times, default=None)

    def _sweep_some(self) -> None:
        if self._sweep is None:
            if self._entries <= 2 * len(self._deadlines) + SPARE:
                return
            self._sweep = self._swept()
        if next(self._sweep, self) is self:
            self._sweep = None

    def _swept(self) -> Iterator[None]:
        """Remove void and double entries in steps. A list that changes meanwhile is
        another list.
        """
        looked_at, deadlines = 0, self._deadlines
        for where, bits in ((self._near, TICK), (self._far, TICK + BLOCK)):
            for number in list(where):
                keys, kept, at = where.get(number, []), dict[bytes, None](), 0
                while at < len(keys):
                    some = keys[at : at + STEP]
                    kept |= dict.fromkeys(
                        key for key in some if deadlines.get(key, _NONE) >> bits == number
                    )
                    at += STEP
                    looked_at += len(some)
                    if looked_at >= STEP:
                        looked_at = 0
                        yield
                looked_at += 1
                if where.get(number) is keys:
                    self._entries -= len(keys) - len(kept)
                    keys[:] = kept  # an empty one goes when its time comes


def _put(where: dict[int, list[bytes]], heap: list[int], number: int, key: bytes) -> None:
    found = where.get(number)
    if found is None:
        where[number] = [key]
        heappush(heap, number)
    else:
        found.append(key)
