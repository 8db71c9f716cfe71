"""A batch on its way into a log that keeps repeats out, looked into by who had time for it.

Opening a compressed batch and compressing what is left of it may take long, so it is done before
the log's lock is taken. Under the lock it is only seen whether the same ids are still unknown.
"""

from collections.abc import Sequence

from logstore.broker.rules import level_of
from logstore.records.batch import Batch, Buffer
from logstore.records.keyed import keyed, thinned
from logstore.settings import TopicSettings


class Prepared(Batch):
    """It is the batch as it is to be stored, if nothing has come since."""

    __slots__ = ("header", "ids", "places", "times", "whole")

    def __init__(
        self,
        data: Buffer,
        whole: Batch,
        header: str,
        ids: Sequence[bytes | None],
        times: Sequence[int],
        places: Sequence[int] | None,
    ) -> None:
        """``places``: those of the records of ``whole`` that stay; None: all."""
        super().__init__(data)
        self.whole, self.header = whole, header
        self.ids, self.times, self.places = ids, times, places


def without(batch: Batch, places: Sequence[int], settings: TopicSettings) -> Batch:
    """The batch with the records at these places alone; offsets stay, and the last is counted.

    As compaction leaves it: readers know such batches. Raises CorruptBatch.
    """
    spans = keyed(batch).spans(places)
    return thinned(batch, spans, level_of(settings, batch.compression))
