"""Counters of failures by offset, of any size, stored by block.

A block's counters are stored in bit slices: the n-th number has bit n of all 256 counters. So
incrementing a whole run is one addition for each of its blocks, and a million messages that were
returned once take 4,000 small lists; a dict from offset to count would take 90 MB.
"""

from collections.abc import Iterator

from logstore.broker.queues.bits import BIT, BLOCK_SHIFT, Bits

ByCount = dict[int, Bits]  # a count -> the offsets that have it


class Counts:
    """Counters that begin at 0. A mask selects offsets of a block."""

    __slots__ = ("_planes",)

    def __init__(self) -> None:
        self._planes: dict[int, list[int]] = {}

    def __bool__(self) -> bool:
        """Whether any counter is above 0."""
        return bool(self._planes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self._planes == other._planes

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def blocks(self) -> int:
        """How many blocks have a counter above 0."""
        return len(self._planes)

    def copy(self) -> "Counts":
        """Return an independent copy."""
        copied = Counts()
        copied._planes = {block: planes.copy() for block, planes in self._planes.items()}
        return copied

    def of(self, offset: int) -> int:
        """The count of one offset."""
        planes = self._planes.get(offset >> BLOCK_SHIFT, ())
        bit = offset & BIT
        return sum((plane >> bit & 1) << n for n, plane in enumerate(planes))

    def add(self, block: int, mask: int) -> None:
        """Increase the counter of each offset by 1."""
        planes = self._planes.setdefault(block, [])
        for n, plane in enumerate(planes):
            planes[n] = plane ^ mask
            mask &= plane  # what is carried
            if not mask:
                return
        planes.append(mask)

    def put(self, block: int, mask: int, count: int) -> None:
        """Set the counter of each offset to ``count``."""
        planes = self._planes.get(block, [])
        planes += [0] * (count.bit_length() - len(planes))
        for n, plane in enumerate(planes):
            planes[n] = plane | mask if count >> n & 1 else plane & ~mask
        self._keep(block, planes)

    def clear(self, block: int, mask: int) -> None:
        """Set the counter of each offset to 0."""
        if block in self._planes:
            self._keep(block, [plane & ~mask for plane in self._planes[block]])

    def _keep(self, block: int, planes: list[int]) -> None:
        while planes and not planes[-1]:
            planes.pop()
        if planes:
            self._planes[block] = planes
        else:
            self._planes.pop(block, None)

    def at_least(self, block: int, mask: int, count: int) -> int:
        """Return the offsets whose counter is ``count`` or more; ``count`` is at least 1."""
        planes = self._planes.get(block, [])
        if count.bit_length() > len(planes):
            return 0
        more, equal = 0, mask
        for n in range(len(planes) - 1, -1, -1):
            plane = planes[n]
            if count >> n & 1:
                equal &= plane
            else:
                more |= equal & plane
                equal &= ~plane
        return more | equal

    def within(self, bits: Bits) -> ByCount:
        """Group the offsets of a set by their counts, without those with count 0."""
        found: ByCount = {}
        for block, mask in bits.items():
            for count, those in self._apart(block, mask):
                found.setdefault(count, {})[block] = those
        return found

    def _apart(self, block: int, mask: int) -> Iterator[tuple[int, int]]:
        apart = {0: mask}
        for n, plane in enumerate(self._planes.get(block, ())):
            split: dict[int, int] = {}
            for count, those in apart.items():
                if ones := those & plane:
                    split[count | 1 << n] = ones
                if zeros := those & ~plane:
                    split[count] = zeros
            apart = split
        return ((count, those) for count, those in sorted(apart.items()) if count and those)

    def keep(self, bits: Bits) -> None:
        """Set the counters of all offsets outside the set to 0."""
        for block in list(self._planes):
            mask = bits.get(block, 0)
            self._keep(block, [plane & mask for plane in self._planes[block]])
