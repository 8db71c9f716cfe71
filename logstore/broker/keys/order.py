"""The keys of a database in the order of their creation, for SCAN and random choices.

Each key has a number, higher than those of all earlier keys, and keeps it while it exists. A scan
goes from the highest number down, so that it ends in spite of new keys, and sees every key that
exists from its start to its end. The place of a deleted key is removed later, a chunk at a time; if
the key is created again before that, it gets its old place back, so no key has two places.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

CHUNK: Final = 512  # keys
SWEEP_EVERY: Final = 64  # keys that go, where there is something to sweep: then one chunk is swept
GONE_MIN: Final = 2 * CHUNK  # fewer are left where they are
TRIES: Final = 100  # random tries; at most half of the places are empty


class _Chunk:
    """Consecutive keys."""

    __slots__ = ("first", "keys", "numbers")

    def __init__(self, first: int, keys: list[bytes], numbers: "array[int] | None" = None) -> None:
        self.first = first
        self.keys = keys
        self.numbers = numbers  # None: they are consecutive

    def number(self, at: int) -> int:
        return self.first + at if self.numbers is None else self.numbers[at]

    def below(self, number: int) -> int:
        """Return how many keys have a lower number."""
        if self.numbers is None:
            return min(max(number - self.first, 0), len(self.keys))
        return bisect_left(self.numbers, number)


class Order:
    """The keys of one database; it is told which keys come and go."""

    __slots__ = ("_chunks", "_count", "_gone", "_left", "_next", "_swept", "_tail")

    def __init__(self) -> None:
        self._next = 1
        self._chunks = [_Chunk(1, [])]
        self._tail = self._chunks[-1].keys
        self._gone: set[bytes] = set()  # that have a place still
        self._count = 0  # places
        self._left = SWEEP_EVERY  # until the next chunk is looked at
        self._swept = 0  # chunks of this round

    def __len__(self) -> int:
        return self._count - len(self._gone)

    def add(self, key: bytes) -> None:
        """Add a key that is not present."""
        if self._gone and key in self._gone:
            self._gone.discard(key)
            return
        if len(self._tail) >= CHUNK:
            self._chunks.append(_Chunk(self._next, []))
            self._tail = self._chunks[-1].keys
        self._tail.append(key)
        self._count += 1
        self._next += 1

    def fill(self, keys: Iterable[bytes]) -> None:
        """Fill an empty order with these keys."""
        listed = list(keys)
        self._chunks = [
            _Chunk(1 + at, listed[at : at + CHUNK]) for at in range(0, len(listed), CHUNK)
        ] or [_Chunk(1, [])]
        self._tail = self._chunks[-1].keys
        self._count = len(listed)
        self._next = 1 + len(listed)

    def discard(self, key: bytes) -> None:
        """Remove a key that is present."""
        self._gone.add(key)
        self._left -= 1
        if self._left <= 0:
            self._left = SWEEP_EVERY
            if len(self._gone) > max(GONE_MIN, self._count // 4):
                self._sweep()

    def _sweep(self) -> None:
        """Compact the next chunk, except the last one, where keys are added."""
        if self._swept >= len(self._chunks) - 1:
            self._swept = 0
            if len(self._chunks) == 1:
                return
        at = self._swept
        chunk, gone = self._chunks[at], self._gone
        stays = [place for place, key in enumerate(chunk.keys) if key not in gone]
        if len(stays) == len(chunk.keys):
            self._swept += 1
            return
        gone.difference_update(chunk.keys)
        self._count -= len(chunk.keys) - len(stays)
        keys = [chunk.keys[place] for place in stays]
        numbers = array("q", map(chunk.number, stays))
        before = self._chunks[at - 1] if at else None
        if before is not None and len(before.keys) + len(keys) <= CHUNK:
            known = before.numbers
            if known is None:
                known = array("q", range(before.first, before.first + len(before.keys)))
            before.numbers = known + numbers
            before.keys = before.keys + keys
            del self._chunks[at]
        elif keys:
            chunk.keys, chunk.numbers, chunk.first = keys, numbers, numbers[0]
            self._swept += 1
        else:
            del self._chunks[at]

    def scan(self, cursor: int, count: int) -> tuple[list[bytes], int]:
        """Return about ``count`` keys from the cursor on, and the next cursor; 0 begins, and marks
        the end.

        Places without a key count too, so that the time of a call is bounded.
        """
        found: list[bytes] = []
        chunks, gone = self._chunks, self._gone
        upto = self._next if cursor == 0 else min(cursor, self._next)
        at = bisect_left(chunks, upto, key=lambda chunk: chunk.first) - 1
        left = count
        while at >= 0:
            chunk = chunks[at]
            end = chunk.below(upto)
            begin = max(0, end - left)
            some = chunk.keys[begin:end]
            found += [key for key in reversed(some) if key not in gone] if gone else some[::-1]
            left -= len(some)
            if left <= 0:
                return found, chunk.number(begin) if at or begin else 0
            at -= 1
        return found, 0

    def random(self, chance: Random) -> bytes | None:
        """Return a random key; None: there is none."""
        if not len(self):
            return None
        for _ in range(TRIES):
            keys = self._chunks[chance.randrange(len(self._chunks))].keys
            at = chance.randrange(CHUNK)  # fuller chunks are likelier to be hit
            if at < len(keys) and keys[at] not in self._gone:
                return keys[at]
        return next(key for chunk in self._chunks for key in chunk.keys if key not in self._gone)

    def let_go(self) -> int:
        """Forget some keys of a discarded order; return how many."""
        return len(self._chunks.pop().keys) or 1 if self._chunks else 0

    def parts(self) -> Iterable[Sequence[bytes]]:
        """Yield all keys, some at a time; a key that is added meanwhile may be left out."""
        for chunk in list(self._chunks):
            yield [key for key in chunk.keys if key not in self._gone]
