"""What is read at once from one partition of the source."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from logstore.broker.reading import records_of
from logstore.errors import CorruptBatch
from logstore.log import Log, TopicPartition
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.record import Record


class Piece(NamedTuple):
    """Whole batches as they stand in a store, or records."""

    place: TopicPartition
    next_offset: int  # where the source is read on
    batches: Sequence[Batch] = ()
    records: Sequence[Record] = ()

    def opened(self) -> "Piece":
        """The piece with its batches decoded to records. Raises CorruptBatch."""
        records = list(self.records)
        for batch in self.batches:
            try:
                records += decode(batch, *self.place)
            except CorruptBatch as error:
                name = "{}-{}".format(*self.place)
                raise CorruptBatch(f"{name}: {error}; run `logstore verify`") from None
        return self._replace(batches=(), records=records)


def from_batches(log: Log, place: TopicPartition, batches: Sequence[Batch], at: int) -> Piece:
    """A piece from ``at`` on. A first batch that begins earlier was rewritten, and is decoded."""
    if batches[0].base_offset < at:
        first = batches[:1]
        return Piece(place, first[0].next_offset, (), records_of(log, place, first, at))
    kept = [it for it in batches if not it.is_control and it.record_count]
    return Piece(place, batches[-1].next_offset, kept)


def runs_of(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """``(offset, count)`` in order, with adjacent runs joined."""
    found: list[tuple[int, int]] = []
    for offset, count in spans:
        if found and sum(found[-1]) == offset:
            found[-1] = found[-1][0], found[-1][1] + count
        else:
            found.append((offset, count))
    return found
