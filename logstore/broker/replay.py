"""Replay: a topic's past again, in the order of its timestamps, as fast or slow as it happened."""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from logstore.broker.consumer import READ_BYTES, records_of
from logstore.log import Log, TopicPartition
from logstore.records.record import Record

RECORDS_AT_ONCE: Final = 1000


def records_between(
    log: Log, place: TopicPartition, from_ms: int | None, to_ms: int | None
) -> Iterator[Record]:
    """A partition's records with ``from_ms <= timestamp < to_ms``, in the order of their offsets.

    Reads to the end of what is there at the start: a late record has a timestamp below those of
    records before it, so nothing but the end tells that there are no more.
    """
    at, end = log.start if from_ms is None else log.find(from_ms), log.safe
    while at < end:
        batches = log.read(at, READ_BYTES)
        if not batches:
            return
        wanted = [b for b in batches if from_ms is None or b.max_timestamp_ms >= from_ms]
        for record in records_of(log, place, wanted, at):
            if record.offset >= end:
                return
            if (from_ms is None or record.timestamp_ms >= from_ms) and (
                to_ms is None or record.timestamp_ms < to_ms
            ):
                yield record
        at = batches[-1].next_offset


def replay(
    logs: Mapping[TopicPartition, Log],
    from_ms: int | None,
    to_ms: int | None,
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[list[Record]]:
    """Lists of a topic's records, in timestamp order across partitions; as ``in_order``."""
    streams = [records_between(log, place, from_ms, to_ms) for place, log in logs.items()]
    return in_order(streams, speed, clock, sleep)


def in_order(
    streams: Sequence[Iterator[Record]],
    speed: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[list[Record]]:
    """Lists of records, in timestamp order across streams; in a stream's own order within each.

    ``speed``: seconds of the past per second of now; 0: without waiting. A list ends where the
    next record has to be waited for.
    """
    records = heapq.merge(*streams, key=attrgetter("timestamp_ms"))
    began = clock()
    first_ms: int | None = None
    due: list[Record] = []
    for record in records:
        first_ms = record.timestamp_ms if first_ms is None else first_ms
        due_at = began + (record.timestamp_ms - first_ms) / 1000 / speed if speed else 0.0
        if due and (len(due) >= RECORDS_AT_ONCE or (speed and due_at > clock())):
            yield due
            due = []
        # Looked at anew: the receiver of a list takes its time, too.
        if speed and (wait := due_at - clock()) > 0:
            sleep(wait)
        due.append(record)
    if due:
        yield due
