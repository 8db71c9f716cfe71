"""Replay: a topic's records again, in the order of their timestamps, at a chosen speed."""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from logstore.broker.reading import Skip, chunks
from logstore.errors import Damaged
from logstore.log import Log, TopicPartition
from logstore.records.record import Record

RECORDS_AT_ONCE: Final = 1000
BYTES_AT_ONCE: Final = 1 << 20  # of values


def records_between(
    log: Log,
    place: TopicPartition,
    from_ms: int | None,
    to_ms: int | None,
    skip: Skip | None = None,
) -> Iterator[Record]:
    """Yield a partition's records with ``from_ms <= timestamp < to_ms``, in the order of offsets.

    Reads up to the end at the time of the call: a late record may have a lower timestamp than
    records before it, so only the end shows that there are no more. Raises Damaged at a batch that
    cannot be read, unless it is skipped.
    """
    at, end = log.start, log.safe
    if from_ms is not None:
        at = log.find(from_ms, damaged=True)  # read on from, that raises, or is skipped
    while at < end:
        before = at
        for chunk in chunks(log, place, at, skip, wait=True):
            for record in chunk.records:
                if record.offset >= end:
                    return
                if (from_ms is None or record.timestamp_ms >= from_ms) and (
                    to_ms is None or record.timestamp_ms < to_ms
                ):
                    yield record
            at = chunk.end
        if at == before:
            return


def replay(
    logs: Mapping[TopicPartition, Log],
    from_ms: int | None,
    to_ms: int | None,
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    skip: Skip | None = None,
) -> Iterator[list[Record]]:
    """Lists of a topic's records, in timestamp order across partitions; as ``in_order``.

    A partition ends at damage that is not skipped; the others continue, and the error is raised at
    the end.
    """
    damages: list[Damaged] = []

    def past(log: Log, place: TopicPartition) -> Iterator[Record]:
        try:
            yield from records_between(log, place, from_ms, to_ms, skip)
        except Damaged as error:
            damages.append(error)

    yield from in_order([past(log, place) for place, log in logs.items()], speed, clock, sleep)
    if damages:
        raise damages[0]


def in_order(
    streams: Sequence[Iterator[Record]],
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[list[Record]]:
    """Lists of records, in timestamp order across streams; in a stream's own order within each.

    ``speed``: seconds of the past for each real second; 0: without waiting. A list ends where the
    next record must be waited for.
    """
    records = heapq.merge(*streams, key=attrgetter("timestamp_ms"))
    began = clock()
    first_ms: int | None = None
    due: list[Record] = []
    size = 0
    for record in records:
        first_ms = record.timestamp_ms if first_ms is None else first_ms
        due_at = began + (record.timestamp_ms - first_ms) / 1000 / speed if speed else 0.0
        full = len(due) >= RECORDS_AT_ONCE or size >= BYTES_AT_ONCE
        if due and (full or (speed and due_at > clock())):
            yield due
            due, size = [], 0
        # Check the clock again: the receiver of a list takes time too.
        if speed and (wait := due_at - clock()) > 0:
            sleep(wait)
        due.append(record)
        size += len(record.value or b"")
    if due:
        yield due
