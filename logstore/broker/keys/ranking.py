"""Entries in order with their ranks: the order of a sorted set.

Entries are in blocks of a few hundred, so that an insertion moves few, with a list of the blocks'
last entries to find a block. The rank at which each block begins is computed when a rank is
requested.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, islice
from typing import Final

BLOCK_MAX: Final = 1024  # entries: one more, and it is cut in two

Entry = tuple[float, bytes]  # a score, and a member
Bound = tuple[float] | Entry  # a score alone is before all entries that have it


class Ranking:
    """Distinct entries in order."""

    __slots__ = ("_blocks", "_count", "_lasts", "_starts")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        in_order = sorted(entries)
        half = BLOCK_MAX // 2
        self._blocks: list[list[Entry]] = [
            in_order[at : at + half] for at in range(0, len(in_order), half)
        ]
        self._lasts: list[Entry] = [block[-1] for block in self._blocks]
        self._count = len(in_order)
        self._starts: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._blocks)

    def add(self, entry: Entry) -> None:
        """Add an entry that is not present."""
        self._count += 1
        self._starts = None
        if not self._blocks:
            self._blocks.append([entry])
            self._lasts.append(entry)
            return
        at = bisect_left(self._lasts, entry)
        if at == len(self._blocks):
            at -= 1
            self._blocks[at].append(entry)
            self._lasts[at] = entry
        else:
            insort(self._blocks[at], entry)
        block = self._blocks[at]
        if len(block) > BLOCK_MAX:
            half = len(block) // 2
            self._blocks[at : at + 1] = [block[:half], block[half:]]
            self._lasts[at : at + 1] = [block[half - 1], block[-1]]

    def remove(self, entry: Entry) -> None:
        """Remove an entry that is present."""
        at = bisect_left(self._lasts, entry)
        block = self._blocks[at]
        place = bisect_left(block, entry)
        assert block[place] == entry, entry
        del block[place]
        self._count -= 1
        self._starts = None
        if not block:
            del self._blocks[at], self._lasts[at]
        elif place == len(block):
            self._lasts[at] = block[-1]

    def let_go(self, most: int) -> None:
        """Forget ``most`` entries or more of a discarded ranking."""
        while self._blocks and most > 0:
            most -= len(self._blocks.pop())

    def rank(self, bound: Bound, *, after: bool = False) -> int:
        """Return how many entries are before ``bound``; with ``after``, including
        ``bound`` itself.
        """
        at = bisect_left(self._lasts, bound)
        if at == len(self._blocks):
            return self._count
        find = bisect_right if after else bisect_left
        return self._begins()[at] + find(self._blocks[at], bound)

    def _begins(self) -> list[int]:
        if self._starts is None:
            self._starts = [0, *accumulate(map(len, self._blocks))]
        return self._starts

    def slice(self, start: int, stop: int) -> list[Entry]:
        """Return the entries with ranks from ``start`` up to ``stop``."""
        start, stop = max(start, 0), min(stop, self._count)
        if start >= stop:
            return []
        begins = self._begins()
        at = bisect_right(begins, start) - 1
        block = self._blocks[at]
        start -= begins[at]
        stop -= begins[at]
        if stop <= len(block):
            return block[start:stop]
        following = chain.from_iterable(islice(self._blocks, at, None))
        return list(islice(following, start, stop))

    def at(self, rank: int) -> Entry:
        """Return the entry with this rank."""
        begins = self._begins()
        block = bisect_right(begins, rank, 0, len(self._blocks)) - 1
        return self._blocks[block][rank - begins[block]]
