"""The latest batches of a partition in memory, without gaps. Pure.

Newly fetched batches are added at the end; beyond a limit of bytes, the oldest are dropped. It also
knows the aborted transactions among these batches: a broker names their first offsets, and their
markers are among the batches.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

from logstore.log import ABORTED_MAX, Aborted
from logstore.records.batch import Batch
from logstore.records.control import ABORT, outcome_of

UNENDED: Final = 2**63 - 1  # the offset of a marker that is not here

_base_offset = attrgetter("base_offset")


class Tail:
    """The latest batches of one partition."""

    def __init__(self, bytes_max: int, at: int = 0) -> None:
        self.start = self.end = at  # of what is here
        self.bytes = 0
        self._bytes_max = bytes_max
        self._batches: list[Batch] = []  # tens of thousands, that most read at the end of
        self._aborted: list[Aborted] = []  # whose markers were here, by these
        # Aborted transactions whose markers are still to come: first offsets in order, by producer.
        self._begun: dict[int, list[int]] = {}

    def reset(self, at: int) -> None:
        """Drop all batches; the next ones begin there."""
        self.start = self.end = at
        self.bytes = 0
        self._batches.clear()
        self._aborted.clear()
        self._begun.clear()

    def add(self, batches: Iterable[Batch], aborted: Iterable[tuple[int, int]] = ()) -> None:
        """Add batches fetched from ``end`` on; ``aborted``: their producers and first offsets."""
        for producer, first in aborted:
            if first not in self._begun.get(producer, ()) and not self._has_ended(producer, first):
                insort(self._begun.setdefault(producer, []), first)
        for batch in batches:
            if batch.next_offset <= self.end:
                continue  # a broker gives whole batches, also where a later offset was asked for
            if not self._batches:
                self.start = min(batch.base_offset, self.end)
            self._batches.append(batch)
            self.bytes += batch.size
            self.end = batch.next_offset
            if batch.is_control:
                self._ended(batch)
        gone = 0
        while self.bytes > self._bytes_max and gone < len(self._batches) - 1:
            self.bytes -= self._batches[gone].size
            self.start = self._batches[gone].next_offset
            gone += 1
        del self._batches[:gone]
        if self._aborted and self._aborted[0].last < self.start:
            del self._aborted[: bisect_left(self._aborted, self.start, key=attrgetter("last"))]

    def _has_ended(self, producer: int, first: int) -> bool:
        return first < self.end and any(
            it.producer_id == producer and it.first == first for it in reversed(self._aborted)
        )

    def _ended(self, marker: Batch) -> None:
        """Ends the earliest open entry of that producer, which may have later ones."""
        at, firsts = marker.base_offset, self._begun.get(marker.producer_id, [])
        if not firsts or firsts[0] >= at:
            return  # it was committed
        first = firsts.pop(0)
        if not firsts:
            del self._begun[marker.producer_id]
        if outcome_of(marker) == ABORT:
            self._aborted.append(Aborted(marker.producer_id, first, at, at + 1))

    def read(self, at: int, bytes_max: int, below: int) -> Sequence[Batch]:
        """The batches from ``at`` on that end at ``below`` or before; none without ``at``."""
        if not self.start <= at < self.end:
            return ()
        first = max(bisect_right(self._batches, at, key=_base_offset) - 1, 0)
        if self._batches[first].next_offset <= at:
            first += 1
        found: list[Batch] = []
        for number in range(first, len(self._batches)):
            batch = self._batches[number]
            if batch.next_offset > below or (found and bytes_max < batch.size):
                break
            found.append(batch)
            bytes_max -= batch.size
        return found

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> list[Aborted]:
        """As Log.aborted, of what is here."""
        number = bisect_left(self._aborted, at, key=attrgetter("last"))
        found = [it for it in islice(self._aborted, number, None) if it.first < below]
        found += [
            Aborted(producer, first, UNENDED, UNENDED)
            for producer, firsts in self._begun.items()
            for first in firsts
            if first < below
        ]
        return found[:most]
