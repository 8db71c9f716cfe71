"""Reading by a caller that may wait: data that is elsewhere is fetched first."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from logstore.errors import CorruptBatch, OffsetBelowStart
from logstore.log import Log
from logstore.records.batch import Batch
from logstore.records.picked import picked
from logstore.records.record import Record

NEWS_S: Final = 1.0  # between looks whether a log that has no news has failed

log: Final = logging.getLogger("logstore.reading")


def read_when_here(source: Log, at: int, bytes_max: int) -> Sequence[Batch]:
    """As ``Log.read``, waiting for what has to be fetched. Also raises LogFailed, Damaged."""
    news = threading.Event()
    stop = source.watch(news.set)
    try:
        while True:
            news.clear()
            batches = source.read(at, bytes_max)
            if batches or at >= source.safe:
                return batches
            source.check_failure()
            news.wait(NEWS_S)
    finally:
        stop()


def records_at(source: Log, those: Sequence[int]) -> dict[int, Record | None]:
    """Return the records at these offsets; None: damaged; no entry: there is none.

    Waits for records that must be fetched. Raises LogFailed, Failed, UnknownPartition.
    """
    return {
        offset: record for _, found in looked_up(source, those) for offset, record in found.items()
    }


def looked_up(
    source: Log, those: Sequence[int]
) -> Iterator[tuple[Sequence[int], Mapping[int, Record | None]]]:
    """Look up the records of ascending offsets, batch by batch; yields as ``records_at``.

    Each part is some of the offsets and their records. All offsets are covered.
    """
    offsets = sorted(those)
    while offsets:
        found: dict[int, Record | None] = {}
        at = offsets[0]
        if at >= source.safe:
            yield offsets, found
            break
        some = offsets[:1]
        try:
            batch = read_when_here(source, at, 1)[0]
            some = [it for it in offsets if it < batch.next_offset]
            found.update((it.offset, it) for it in picked(batch, some))
        except OffsetBelowStart:
            some = [it for it in offsets if it < source.start] or some
        except (CorruptBatch, IndexError) as error:
            log.error("the record at offset %d can't be read: %s", at, error)  # noqa: TRY400
            found[at] = None
        yield some, found
        del offsets[: len(some)]
