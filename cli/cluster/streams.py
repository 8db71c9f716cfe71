"""Several partitions read side by side, each at the pace at which its records are wanted."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as Place

from logstore.errors import Failed
from logstore.log import TopicPartition
from logstore.records.record import Record

from .address import Address
from .consumer import FETCH_WAIT_MS, NO_GROUP, TRANSIENT, record_of
from .refusal import ANSWER_S, refused

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
        self._address = address
        self._ends = ends
        self._waiting: dict[TopicPartition, deque[Record]] = {it: deque() for it in starts}
        self._open = {it for it, at in starts.items() if at < ends[it]}
        self._paused: set[TopicPartition] = set()
        self._consumer = Consumer(
            address.settings(
                group_id=NO_GROUP,
                enable_auto_commit=False,
                auto_offset_reset="error",
                enable_partition_eof=True,
                fetch_wait_max_ms=FETCH_WAIT_MS,
            )
        )
        self._consumer.assign([Place(*it, starts[it]) for it in sorted(self._open)])

    def of(self, place: TopicPartition) -> Iterator[Record]:
        """Its records, in order. Raises LogstoreError."""
        waiting = self._waiting[place]
        while True:
            while waiting:
                yield waiting.popleft()
            if place not in self._open:
                return
            if place in self._paused:
                self._paused.discard(place)
                self._consumer.resume([Place(*place)])
            self._read(place)

    def _read(self, wanted: TopicPartition) -> None:
        """Take what comes until there is something of this one, or its end."""
        heard_at = time.monotonic()
        while not self._waiting[wanted] and wanted in self._open:
            messages = self._consumer.consume(RECORDS_AT_ONCE, timeout=POLL_S)
            for message in messages:
                error = message.error()
                if error is None:
                    self._take(record_of(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._open.discard((message.topic() or "", message.partition() or 0))
                elif error.code() not in TRANSIENT:
                    raise refused(error, self._address, f"replay {wanted[0]}")
            now = time.monotonic()
            if messages:
                heard_at = now
            elif now - heard_at > ANSWER_S:
                raise Failed(f"{self._address}: no answer; is the server there?")
        self._pause()

    def _take(self, record: Record) -> None:
        place = record.topic, record.partition
        if record.offset < self._ends[place]:
            self._waiting[place].append(record)
        if record.offset >= self._ends[place] - 1:  # what came after the start is not replayed
            self._open.discard(place)

    def _pause(self) -> None:
        for place, waiting in self._waiting.items():
            if len(waiting) > RECORDS_MAX and place not in self._paused:
                self._paused.add(place)
                self._consumer.pause([Place(*place)])

    def close(self) -> None:
        """Ask for no more."""
        self._consumer.close()
