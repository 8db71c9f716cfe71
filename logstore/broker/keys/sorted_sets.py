"""A sorted set: members in the order of their scores."""

from collections.abc import Generator, Iterator, Sequence
from typing import ClassVar, Final

from logstore.broker.keys.collection import ELEMENT_BYTES, Before, Collection, Kind, some_of
from logstore.broker.keys.dense import Dense
from logstore.broker.keys.ranking import Entry, Ranking

LISTPACK_MEMBERS: Final = 128  # Redis's zset-max-listpack-entries
LISTPACK_BYTES: Final = 64  # zset-max-listpack-value


class SortedSet(Collection):
    """``scores`` by member, and ``ranking``: the members in order."""

    __slots__ = ("order", "ranking", "scores")
    kind: ClassVar[Kind] = "zset"

    def __init__(self) -> None:
        super().__init__()
        self.scores: dict[bytes, float] = {}
        self.ranking = Ranking()
        self.order: Dense | None = None  # once it is large, for scans

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def encoding(self) -> str:
        return "listpack" if self.order is None else "skiplist"

    def set(self, member: bytes, score: float) -> bool:
        """Set the score; return whether the member is new. -0 becomes 0, as in Redis's
        listpacks.
        """
        if member not in self.before:
            self.before[member] = self.element(member)
        return self._put(member, score + 0.0)

    def _put(self, member: bytes, score: float) -> bool:
        before = self.scores.get(member)
        if before is not None:
            if before != score:
                self.ranking.remove((before, member))
                self.scores[member] = score
                self.ranking.add((score, member))
            return False
        self.scores[member] = score
        self.ranking.add((score, member))
        self.held_bytes += 2 * ELEMENT_BYTES + len(member)
        if self.order is not None:
            self.order.add(member)
        elif len(self.scores) > LISTPACK_MEMBERS or len(member) > LISTPACK_BYTES:
            self.order = Dense(self.scores)
        return True

    def remove(self, member: bytes) -> bool:
        """Remove the member; return whether it existed."""
        if member not in self.scores:
            return False
        if member not in self.before:
            self.before[member] = self.element(member)
        self._drop(member)
        return True

    def removing(self, entries: Sequence[Entry]) -> Iterator[int]:
        """Remove these entries, which must exist; yields as ``copying``."""
        for some in some_of(entries):
            for _, member in some:
                self.remove(member)
            yield 2 * len(some)  # each has two places to go from

    def _drop(self, member: bytes) -> None:
        self.ranking.remove((self.scores.pop(member), member))
        self.held_bytes -= 2 * ELEMENT_BYTES + len(member)
        if self.order is not None:
            self.order.discard(member)

    def take_back(self, before: Before) -> None:
        """As Collection.take_back."""
        for member, written in before.items():
            if written is not None:
                self._put(member, float(written))
            elif member in self.scores:
                self._drop(member)

    def rank(self, member: bytes) -> int | None:
        """Return how many entries are before the member; None: it is not a member."""
        score = self.scores.get(member)
        return None if score is None else self.ranking.rank((score, member))

    def _forget(self, most: int) -> list[bytes]:
        self.order = None
        self.ranking.let_go(most)
        return [self.scores.popitem()[0] for _ in range(min(most, len(self.scores)))]

    def element(self, name: bytes) -> bytes | None:
        """As ``Collection.element``: the score as a text that is exact to the last bit."""
        score = self.scores.get(name)
        return None if score is None else repr(score).encode()

    def restore(self, name: bytes, written: bytes) -> None:
        """As Collection.restore."""
        self._put(name, float(written))

    def elements(self) -> Iterator[tuple[bytes, bytes]]:
        """As Collection.elements."""
        return ((member, repr(score).encode()) for member, score in self.scores.items())

    def copying(self) -> "Generator[int, None, SortedSet]":
        """As Collection.copying."""
        made = SortedSet()
        if self.order is not None:
            made.order = Dense()
        for some in some_of(self.scores.items()):
            for member, score in some:
                made.set(member, score)
            yield len(some)
        return made
