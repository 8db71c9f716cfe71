"""A batch for a log with deduplication, prepared before the log's lock is taken.

Decompressing a batch, and compressing the records that remain, may take long, so this is done
before the log's lock is taken. Under the lock, only a check remains: whether the same ids are still
unknown.
"""

from collections.abc import Sequence

from logstore.broker.rules import level_of
from logstore.records.batch import Batch, Buffer
from logstore.records.keyed import keyed, thinned
from logstore.settings import TopicSettings


class Prepared(Batch):
    """The batch as it will be stored, if none of its ids has become known meanwhile."""

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
        """``places``: the records of ``whole`` that stay; None: all."""
        super().__init__(data)
        self.whole, self.header = whole, header
        self.ids, self.times, self.places = ids, times, places


def without(batch: Batch, places: Sequence[int], settings: TopicSettings) -> Batch:
    """Return the batch with only the records at these places; offsets and the last offset stay.

    Compaction leaves such batches, so readers know them. Raises CorruptBatch.
    """
    spans = keyed(batch).spans(places)
    return thinned(batch, spans, level_of(settings, batch.compression))
