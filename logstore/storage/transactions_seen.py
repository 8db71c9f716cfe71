"""The transactions of a log as seen in its batches, for comparison with its indexes.

Batches are given in their order, segment by segment. Compaction and retention may have removed some
of them, so an index may have an earlier first offset, or a transaction of which only the marker is
left. If the batches have more than the index, the index is wrong.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from logstore.errors import CorruptBatch
from logstore.log import Aborted
from logstore.records.batch import Batch
from logstore.records.control import ABORT, outcome_of

_SHOWN: Final = "its records are shown as if they were committed"
_REMOVE: Final = "remove the file, the next start of a writer makes it anew"


class _Begun(NamedTuple):
    first: int  # offset
    path: str  # of its segment


class TransactionsSeen:
    """The transactions of one log."""

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}  # that are open, by producer
        # Of the segment at hand, by the offset of the marker: the producer, and where its
        # transaction begins; None: nothing of that is left.
        self._aborts: dict[int, tuple[int, int | None]] = {}
        self._is_whole = True

    def add(self, batch: Batch, path: str) -> None:
        """Add the next batch, which is in the file of this path."""
        if not batch.is_transactional:
            return
        if not batch.is_control:
            self._begun.setdefault(batch.producer_id, _Begun(batch.base_offset, path))
            return
        try:
            outcome = outcome_of(batch)
        except CorruptBatch:  # whoever looks into the records says so
            self.break_off()
            return
        if outcome is None:
            return
        begun = self._begun.pop(batch.producer_id, None)
        if outcome == ABORT:
            first = None if begun is None else begun.first
            self._aborts[batch.base_offset] = batch.producer_id, first

    def break_off(self) -> None:
        """Batches are missing here, so later transactions cannot be judged."""
        self._is_whole = False
        self._begun.clear()
        self._aborts.clear()

    def end_segment(self, entries: Iterable[Aborted]) -> Iterator[str]:
        """The errors in the index of the segment that ends here."""
        aborts, self._aborts = self._aborts, {}
        if not self._is_whole:
            return
        for it in entries:
            producer, first = aborts.pop(it.last, (None, None))
            if producer != it.producer_id:
                yield (
                    f"has a transaction of producer {it.producer_id} aborted at offset {it.last}, "
                    f"where no such marker is: clients are not shown what it wrote behind that; "
                    f"{_REMOVE}"
                )
            elif first is not None and first < it.first:
                yield (
                    f"has the transaction that producer {it.producer_id} aborted at offset "
                    f"{it.last} begin at {it.first}, its records begin at {first}: {_SHOWN}; "
                    f"{_REMOVE}"
                )
        for last, (producer, first) in aborts.items():
            if first is not None:
                yield (
                    f"lacks the transaction of producer {producer} from offset {first} on, which "
                    f"was aborted at {last}: {_SHOWN}; {_REMOVE}"
                )

    def open_below(self, stable: int) -> Iterator[tuple[str, str]]:
        """At the end: path and sentence for each transaction that begins below this offset and has
        no marker.
        """
        for producer, begun in self._begun.items():
            if begun.first < stable:
                sentence = (
                    f"the transaction that producer {producer} begins at offset {begun.first} has "
                    f"no end, though the log is stable up to {stable}: {_SHOWN}; restore the log "
                    f"from a backup"
                )
                yield begun.path, sentence
