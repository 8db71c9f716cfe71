"""Held transactions in the journal that may not have reached all lanes yet.

They are checked again after a start, so the journal keeps their records, even below a recovery
point. The caller reports finished ones, once everything is synced at its destination, and perhaps
before the record itself is read here.

As bytes: the number of the next body, then for each, ascending::

    (number of its first body, less the one before) | (offset of its record in the journal)
"""

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.held import FIRST, NUMBER_MAX


class Unfinished:
    """The unfinished transactions of one journal. Not locked."""

    def __init__(self) -> None:
        self.next_number = FIRST  # of a body
        self._offsets: dict[int, int] = {}  # where each record is, by the number of its first body
        self._early: set[int] = set()  # finished before they were added

    def __bool__(self) -> bool:
        """Whether any transaction was ever added."""
        return self.next_number > FIRST

    def add(self, first: int, count: int, offset: int) -> None:
        """Add a record with ``count`` bodies, which may be known, or already finished."""
        self.next_number = max(self.next_number, first + count)
        if first in self._early:
            self._early.discard(first)
        else:
            self._offsets[first] = offset

    def finish(self, first: int) -> None:
        """Note that all of the transaction is synced in its lanes, or that these are gone."""
        if self._offsets.pop(first, None) is None:
            self._early.add(first)

    def items(self) -> list[tuple[int, int]]:
        """Return the number of each first body, and its record's offset, ascending."""
        return sorted(self._offsets.items())

    def lowest(self, below: int) -> int:
        """Return the lowest offset of a needed record, or ``below`` if none is lower."""
        return min([below, *self._offsets.values()])

    def encode(self) -> bytes:
        """As bytes."""
        parts, last = [packed(self.next_number)], 0
        for first, offset in self.items():
            parts += (packed(first - last), packed(offset))
            last = first
        return b"".join(parts)

    @classmethod
    def decode(cls, kept: bytes) -> "Unfinished":
        """Decode what ``encode`` returned. Raises CorruptStore."""
        data = Packed(kept, "what is kept of transactions beside the journal")
        it = cls()
        it.next_number = data.number()
        first = 0
        while data:
            first, offset = first + data.number(), data.number()
            if first in it._offsets or first >= it.next_number:
                raise data.damaged(f"has the number {first} out of order")
            it._offsets[first] = offset
        if not FIRST <= it.next_number <= NUMBER_MAX + 1:
            raise data.damaged(f"has {it.next_number} as the next number")
        return it
