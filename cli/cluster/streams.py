"""Several partitions read side by side, each at the pace at which its records are wanted."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from logstore.log import TopicPartition
from logstore.records.record import Record

from .address import Address
from .reader import Reader

RECORDS_AT_ONCE: Final = 1000
RECORDS_MAX: Final = 10_000  # of a partition that come before they are wanted: then it is paused
POLL_S: Final = 0.1


class Streams:
    """Of each partition, from an offset to another, one stream of records."""

    def __init__(
        self,
        address: Address,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        self._ends = ends
        self._waiting: dict[TopicPartition, deque[Record]] = {it: deque() for it in starts}
        self._open = {it for it, at in starts.items() if at < ends[it]}
        self._paused: set[TopicPartition] = set()
        self._reader = Reader(address, "replay")
        for place in sorted(self._open):
            self._reader.add(place, starts[place])

    def of(self, place: TopicPartition) -> Iterator[Record]:
        """The partition's records, in order. Raises LogstoreError."""
        waiting = self._waiting[place]
        while True:
            while waiting:
                yield waiting.popleft()
            if place not in self._open:
                return
            if place in self._paused:
                self._paused.discard(place)
                self._reader.resume(place)
            self._read(place)

    def _read(self, wanted: TopicPartition) -> None:
        """Read until this partition has a record or has ended."""
        while not self._waiting[wanted] and wanted in self._open:
            for record in self._reader.read(RECORDS_AT_ONCE, POLL_S):
                self._take(record)
            self._open -= self._reader.at_end
        for place, waiting in self._waiting.items():
            if len(waiting) > RECORDS_MAX and place in self._open - self._paused:
                self._paused.add(place)
                self._reader.pause(place)

    def _take(self, record: Record) -> None:
        place = record.topic, record.partition
        if record.offset < self._ends[place]:
            self._waiting[place].append(record)
        if record.offset >= self._ends[place] - 1:  # what came after the start is not replayed
            self._open.discard(place)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()
