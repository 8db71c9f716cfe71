"""The purged messages of a lane, which are no longer part of its past.

All other settled messages can be read as long as the log has them. It consists of separate
ascending ranges of offsets. Below ``below``, nothing is known any more: the log has deleted these
records, or there were too many ranges.

As bytes::

    below | ranges | (offsets after the end of the range before, less 1 | length, less 1)*

Numbers are as in ``broker/packed.py``; the first range counts from ``below``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from logstore.broker.packed import NUMBER_MAX, Packed, packed
from logstore.broker.queues.bits import Bits, runs

# Of one lane: 2 MiB, and as much in the journal's note. Only repeated purges between unacknowledged
# messages make so many; then the oldest part of the past is hidden as a whole.
RANGES_MAX: Final = 1 << 16
# Held for as long as one is changed: Kafka's clients are answered in workers, too.
_CHANGING: Final = Lock()


@dataclass(slots=True)
class Removed:
    """The purged messages of one lane."""

    below: int = 0
    firsts: list[int] = field(default_factory=list)
    uptos: list[int] = field(default_factory=list)

    def __contains__(self, offset: int) -> bool:
        if offset < self.below:
            return True
        place = bisect_right(self.firsts, offset) - 1
        return place >= 0 and offset < self.uptos[place]

    def add(self, first: int, upto: int) -> None:
        """Add the offsets from ``first`` up to ``upto``."""
        if upto <= max(first, self.below):
            return
        with _CHANGING:
            self._add(first, upto)

    def _add(self, first: int, upto: int) -> None:
        begin, end = bisect_left(self.uptos, first), bisect_right(self.firsts, upto)
        if begin < end:  # those that it touches
            first, upto = min(first, self.firsts[begin]), max(upto, self.uptos[end - 1])
        if first <= self.below:
            self.below = upto
            del self.firsts[:end], self.uptos[:end]
            return
        self.firsts[begin:end], self.uptos[begin:end] = [first], [upto]
        if (more := len(self.firsts) - RANGES_MAX) > 0:
            self.below = self.uptos[more - 1]
            del self.firsts[:more], self.uptos[:more]

    def add_set(self, bits: Bits) -> None:
        """Add a set of offsets."""
        for first, count in runs(bits):
            self.add(first, first + count)

    def forget(self, start: int) -> None:
        """Note that the log now begins at ``start``."""
        self.add(self.below, start)

    def clip(self, end: int) -> None:
        """Note that the log ends here: other messages will get the offsets above."""
        with _CHANGING:
            self.below = min(self.below, end)
            keep = bisect_left(self.firsts, end)
            del self.firsts[keep:], self.uptos[keep:]
            if self.uptos:
                self.uptos[-1] = min(self.uptos[-1], end)

    def covers(self, first: int, upto: int) -> bool:
        """Return whether all of these offsets are removed."""
        first = max(first, self.below)
        place = bisect_right(self.firsts, first) - 1
        return first >= upto or (place >= 0 and upto <= self.uptos[place])

    def left(self, first: int, upto: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of these offsets that are not removed, each with its end."""
        first = max(first, self.below)
        for place in range(bisect_right(self.uptos, first), len(self.firsts)):
            begin = self.firsts[place]
            if begin >= upto:
                break
            if begin > first:
                yield first, begin
            first = self.uptos[place]
        if first < upto:
            yield first, upto

    def all_left(self, first: int, upto: int) -> list[tuple[int, int]]:
        """Return the ranges that are not removed; from any thread, during changes in
        another one.
        """
        with _CHANGING:
            return list(self.left(first, upto))

    def first_left(self, first: int, upto: int) -> tuple[int, int] | None:
        """Return the first range that is not removed, or None. From any thread."""
        with _CHANGING:
            return next(self.left(first, upto), None)

    def copy(self) -> "Removed":
        return Removed(self.below, self.firsts.copy(), self.uptos.copy())

    def encode(self) -> bytes:
        """As bytes."""
        parts = [packed(self.below), packed(len(self.firsts))]
        last = self.below
        for first, upto in zip(self.firsts, self.uptos, strict=True):
            parts += (packed(first - last - 1), packed(upto - first - 1))
            last = upto
        return b"".join(parts)

    @classmethod
    def decode(cls, data: Packed) -> "Removed":
        """Decode what ``encode`` returned. Raises CorruptStore."""
        it = cls(data.number())
        last = it.below
        if (count := data.number()) > RANGES_MAX:
            raise data.damaged(f"has more than {RANGES_MAX} ranges of removed messages")
        for _ in range(count):
            first = last + data.number() + 1
            last = first + data.number() + 1
            if last > NUMBER_MAX:
                raise data.damaged("has an offset of more than 63 bits")
            it.firsts.append(first)
            it.uptos.append(last)
        return it
