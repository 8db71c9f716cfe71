"""A Kafka cluster as a side of a mirror: its client hands out records, and takes records."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from logstore.errors import Failed, InvalidRecord, LogstoreError
from logstore.log import TopicPartition
from logstore.records.record import Record

from ..cluster.group import ClusterGroup
from ..cluster.reader import Reader, place_of
from ..cluster.refusal import ANSWER_S, error_in, refused
from .piece import Piece, runs_of
from .sides import Ready

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

RECORDS_AT_ONCE: Final = 10_000
POLL_S: Final = 0.1
BATCH_BYTES: Final = 1 << 19
MESSAGE_BYTES_MAX: Final = 1_000_000_000  # the topic decides, and the cluster says so
QUEUE_KIB: Final = 65_536
UNKNOWN_OFFSET: Final = -1


class ClusterSource:
    """Read by a consumer that is in no group."""

    def __init__(self, cluster: "Cluster") -> None:
        self.site = cluster
        self.id = cluster.admin.cluster_id()
        self._reader = Reader(cluster.address, "read what is to be copied")

    def start(self, place: TopicPartition) -> int:
        """As Source.start."""
        topic, number = place
        return self.site.admin.starts(topic, [number])[number]

    def add(self, place: TopicPartition, at: int) -> None:
        """As Source.add."""
        self._reader.add(place, at)

    @property
    def ended(self) -> bool:
        """As Source.ended."""
        return self._reader.ended

    def read(self, timeout_s: float) -> list[Piece]:
        """As Source.read."""
        found: dict[TopicPartition, list[Record]] = {}
        records = self._reader.read(RECORDS_AT_ONCE, timeout_s)
        for place, some in groupby(records, key=lambda it: (it.topic, it.partition)):
            found.setdefault(place, []).extend(some)
        return [Piece(place, some[-1].offset + 1, (), some) for place, some in found.items()]


class ClusterTarget:
    """Written by an idempotent producer, one request per partition at a time.

    So what it has written is always the first part of what it was to write.
    """

    def __init__(self, cluster: "Cluster", compression: str) -> None:
        self.site = cluster
        self.id = cluster.admin.cluster_id()
        self._sent: dict[TopicPartition, deque[tuple[int, int]]] = {}  # offsets: source, target
        self._failure: LogstoreError | None = None
        self._producer = Producer(
            cluster.address.settings(
                acks="all",
                enable_idempotence=True,
                enable_gapless_guarantee=True,
                max_in_flight_requests_per_connection=1,
                compression_type="none" if compression == "uncompressed" else compression,
                batch_size=BATCH_BYTES,
                linger_ms=5,
                message_max_bytes=MESSAGE_BYTES_MAX,
                message_timeout_ms=0,  # giving up on one and not on the next would leave a gap
                queue_buffering_max_kbytes=QUEUE_KIB,
            )
        )

    def accepts(self, topic: str, settings: Mapping[str, str]) -> None:
        """As Target.accepts."""
        self.site.admin.create(topic, 1, settings, only_check=True)

    def ends(self, topic: str, partitions: int) -> list[int]:
        """As Target.ends."""
        ends = self.site.admin.ends(topic, range(partitions))
        return [ends[number] for number in range(partitions)]

    def start(self, place: TopicPartition) -> int:
        """As Target.start."""
        topic, number = place
        return self.site.admin.starts(topic, [number])[number]

    def ready(self, piece: Piece) -> Ready:
        """As Target.ready."""
        records = piece.opened().records
        return Ready(piece.place, runs_of((it.offset, 1) for it in records), records)

    def write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        """As Target.write."""
        for piece, at in pieces:
            self._sent[piece.place] = deque()
            for number, record in enumerate(cast("Sequence[Record]", piece.payload)):
                self._send(piece.place, record, at + number)
        self._wait()

    def _send(self, place: TopicPartition, record: Record, at: int) -> None:
        topic, partition = place
        self._sent[place].append((record.offset, at))
        while True:
            self._check()
            try:
                self._producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=record.timestamp_ms,
                    headers=list(record.headers),
                )
                return
            except BufferError:  # as much is under way as may be
                self._producer.poll(POLL_S)
            except KafkaException as error:
                raise self._refused(error_in(error), place, record.offset) from None

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        place = place_of(message)
        source, target = self._sent[place].popleft()
        offset = message.offset()
        if self._failure is not None:
            return
        if error is not None:
            self._failure = self._refused(error, place, source)
        elif offset is not None and offset > UNKNOWN_OFFSET and offset != target:
            self._failure = Failed(
                f"{self.site.address}: {place[0]}-{place[1]}: the record at offset {source} of "
                f"the source was to stand at {target} and stands at {offset}: somebody else "
                f"writes to the copy; delete it to begin anew"
            )

    def _refused(self, error: KafkaError, place: TopicPartition, source: int) -> LogstoreError:
        doing = f"copy the record at offset {source} of {place[0]}-{place[1]}"
        found = refused(error, self.site.address, doing)
        if isinstance(found, InvalidRecord) and doing not in str(found):  # the server's own words
            return type(found)(f"{place[0]}-{place[1]}: the record at offset {source}: {found}")
        return found

    def _check(self) -> None:
        if self._failure is not None:
            self._producer.purge()
            raise self._failure

    def _wait(self) -> None:
        """Until all is acknowledged. Raises Failed where nothing more is."""
        left, heard_at = self._left(), time.monotonic()
        while left:
            self._producer.flush(POLL_S)
            self._check()
            now_left, now = self._left(), time.monotonic()
            if now_left < left:
                left, heard_at = now_left, now
            elif now - heard_at > ANSWER_S:
                self._producer.purge()
                raise Failed(f"{self.site.address}: no answer; is the server there?")
        self._check()

    def _left(self) -> int:
        return sum(map(len, self._sent.values()))

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """As Target.commit."""
        ClusterGroup(group, self.site.admin, self.site.partitions).commit(offsets)
