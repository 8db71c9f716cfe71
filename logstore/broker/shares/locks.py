"""Which member holds which offsets of a partition, and until when: separate ascending ranges. Pure.

Their number is bounded by the records that one group may have in flight in a partition, a few
thousand.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final, NamedTuple

NEVER: Final = 2**63 - 1  # a deadline


class Lock(NamedTuple):
    """The offsets from ``first`` to before ``upto``, held by one member."""

    first: int
    upto: int
    owner: str
    deadline_ms: int


_first = attrgetter("first")


class Locks:
    """The locks of one partition."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: list[Lock] = []

    def __len__(self) -> int:
        return len(self._locks)

    @property
    def deadline_ms(self) -> int | None:
        """The earliest deadline; None: there is none."""
        first = min((it.deadline_ms for it in self._locks), default=NEVER)
        return None if first == NEVER else first

    def put(self, lock: Lock) -> None:
        """Lock offsets that no one holds."""
        at = bisect_right(self._locks, lock.first, key=_first)
        assert at == 0 or self._locks[at - 1].upto <= lock.first
        assert at == len(self._locks) or lock.upto <= self._locks[at].first
        self._locks.insert(at, lock)

    def owned(self, first: int, upto: int, owner: str) -> bool:
        """Whether all of these offsets are locked by the owner."""
        begin = max(0, bisect_right(self._locks, first, key=_first) - 1)
        for at in range(begin, len(self._locks)):
            lock = self._locks[at]
            if lock.first > first or first >= upto:
                break
            if lock.upto > first:
                if lock.owner != owner:
                    return False
                first = lock.upto
        return first >= upto

    def drop(self, first: int, upto: int) -> list[Lock]:
        """Unlock these offsets; return the locks that existed."""
        return self.swap(first, upto, ())

    def swap(self, first: int, upto: int, new: Iterable[Lock]) -> list[Lock]:
        """Replace the locks of these offsets by others, disjoint and ascending."""
        begin = max(0, bisect_right(self._locks, first, key=_first) - 1)
        if begin < len(self._locks) and self._locks[begin].upto <= first:
            begin += 1
        end = begin
        left: list[Lock] = []
        right: list[Lock] = []
        dropped: list[Lock] = []
        while end < len(self._locks) and self._locks[end].first < upto:
            lock = self._locks[end]
            if lock.first < first:
                left.append(lock._replace(upto=first))
            if lock.upto > upto:
                right.append(lock._replace(first=upto))
            its = max(first, lock.first), min(upto, lock.upto)
            dropped.append(Lock(*its, lock.owner, lock.deadline_ms))
            end += 1
        self._locks[begin:end] = [*left, *new, *right]
        return dropped

    def take(self, which: Callable[[Lock], bool]) -> list[Lock]:
        """Remove and return the locks for which ``which`` is true."""
        taken = [it for it in self._locks if which(it)]
        if taken:
            self._locks = [it for it in self._locks if not which(it)]
        return taken
