"""A Kafka cluster as a side of a mirror: its client hands out records, and takes records."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from logstore.errors import Damaged, Failed, InvalidRecord, LogstoreError, Refused
from logstore.log import TopicPartition
from logstore.records.record import Record

from ..cluster.producer import heard, identified
from ..cluster.reader import Reader, place_of
from ..cluster.refusal import ANSWER_S, error_in, refused
from ..cluster.topic import ClusterTopic
from .piece import Piece, runs_of
from .sides import Ready, Spoiled

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

RECORDS_AT_ONCE: Final = 10_000
POLL_S: Final = 0.1
BATCH_BYTES: Final = 1 << 19
MESSAGE_BYTES_MAX: Final = 1_000_000_000  # the topic decides, and the cluster says so
QUEUE_KIB: Final = 65_536
UNKNOWN_OFFSET: Final = -1
TIMESTAMPS: Final = "message.timestamp.type"


class ClusterSource:
    """Read by a consumer that is in no group."""

    def __init__(self, cluster: "Cluster") -> None:
        self.site = cluster
        self.damages: dict[TopicPartition, Damaged] = {}  # the cluster's to say
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

    def __init__(self, cluster: "Cluster", compression: str, say: Callable[[str], None]) -> None:
        self.site = cluster
        self.id = cluster.admin.cluster_id()
        self._compression = compression
        self._say = say
        self._topics: dict[str, ClusterTopic] = {}
        self._producers: dict[int, Producer] = {}  # by the size of their batches
        self._sent: dict[TopicPartition, deque[tuple[int, int]]] = {}  # offsets: source, target
        self._moved = False  # whether a timestamp had to be
        self._failure: LogstoreError | None = None

    def _topic(self, name: str) -> ClusterTopic:
        if name not in self._topics:
            topic = self._topics[name] = self.site.topic(name)
            if topic.rules.settings.message_timestamp_type == "LogAppendTime":
                self._say(
                    f"topic {name} has {TIMESTAMPS}=LogAppendTime in the target: copied records"
                    " get new timestamps"
                )
        return self._topics[name]

    def _producer(self, topic: ClusterTopic) -> Producer:
        """The producer of all topics, or of a topic that accepts only smaller batches."""
        batch_bytes = max(min(BATCH_BYTES, topic.rules.settings.max_message_bytes), 1)
        if batch_bytes not in self._producers:
            codec = self._compression
            producer = Producer(
                self.site.address.settings(
                    acks="all",
                    enable_idempotence=True,
                    enable_gapless_guarantee=True,
                    max_in_flight_requests_per_connection=1,
                    compression_type="none" if codec == "uncompressed" else codec,
                    batch_size=batch_bytes,
                    linger_ms=5,
                    message_max_bytes=MESSAGE_BYTES_MAX,
                    message_timeout_ms=0,  # giving up on one and not on the next leaves a gap
                    queue_buffering_max_kbytes=QUEUE_KIB,
                )
            )
            self._producers[batch_bytes] = identified(producer, topic.name, self.site.address)
        return self._producers[batch_bytes]

    def accepts(self, topic: str, settings: Mapping[str, str]) -> None:
        """As Target.accepts."""
        if settings.get(TIMESTAMPS) == "LogAppendTime":
            raise Refused("the copy would not have the timestamps of the source")
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
        rules = self._topic(piece.place[0]).rules
        try:
            rules.columns([(it.value, it.key, it.headers, it.timestamp_ms) for it in records])
        except InvalidRecord as error:
            offset = records[error.index].offset
            name = "{}-{}".format(*piece.place)
            said = f"{name}: the record at offset {offset} of the source: {error}"
            raise type(error)(said) from None
        return Ready(piece.place, runs_of((it.offset, 1) for it in records), records)

    def write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        """As Target.write."""
        for piece, at in pieces:
            producer = self._producer(self._topic(piece.place[0]))
            self._sent[piece.place] = deque()
            for number, record in enumerate(cast("Sequence[Record]", piece.payload)):
                self._send(producer, piece.place, record, at + number)
        self._wait()

    def _send(self, producer: Producer, place: TopicPartition, record: Record, at: int) -> None:
        topic, partition = place
        self._sent[place].append((record.offset, at))
        while True:
            self._check()
            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=record.timestamp_ms or self._moment(place, record),
                    headers=list(record.headers),
                )
                return
            except BufferError:  # as much is under way as may be
                self._heard(lambda: producer.poll(POLL_S))
            except KafkaException as error:
                self._check()
                raise self._refused(error_in(error), place, record.offset) from None

    def _moment(self, place: TopicPartition, record: Record) -> int:
        """A substitute for the timestamp 0, which the client would replace by the present."""
        if not self._moved:
            self._moved = True
            self._say(
                f"{place[0]}-{place[1]}: the record at offset {record.offset} of the source has "
                f"timestamp 0, which the client can't send: it gets 1 ms, as do others"
            )
        return 1

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        place = place_of(message)
        source, target = self._sent[place].popleft()
        offset = message.offset()
        if self._failure is not None:
            return
        if error is not None:
            self._failure = self._refused(error, place, source)
        elif offset is not None and offset > UNKNOWN_OFFSET and offset != target:
            self._failure = Spoiled(
                f"{self.site.address}: {place[0]}-{place[1]}: the record at offset {source} of "
                f"the source was to stand at {target} and stands at {offset}: somebody else "
                f"writes to the copy; delete it to begin anew",
                place[0],
            )

    def _refused(self, error: KafkaError, place: TopicPartition, source: int) -> LogstoreError:
        """``source``: the offset of the batch's first record; a cluster refuses whole batches."""
        said = f"copy the batch of {place[0]}-{place[1]} from offset {source} of the source on"
        found = refused(error, self.site.address, said)
        if said in str(found):
            return found
        return type(found)(f"{self.site.address}: can't {said}: {found}")

    def _check(self) -> None:
        if self._failure is not None:
            self._give_up()
            raise self._failure

    def _give_up(self) -> None:
        for producer in self._producers.values():
            producer.purge()

    def _wait(self) -> None:
        """Wait until everything is acknowledged. Raises Failed if acknowledgements stop."""
        left, heard_at = self._left(), time.monotonic()
        while left:
            self._flush()
            self._check()
            now_left, now = self._left(), time.monotonic()
            if now_left < left:
                left, heard_at = now_left, now
            elif now - heard_at > ANSWER_S:
                self._give_up()
                raise Failed(f"{self.site.address}: no reply; check that the server is running")
        self._check()

    def _flush(self) -> None:
        for producer in self._producers.values():
            self._heard(partial(producer.flush, POLL_S))

    def _heard(self, call: Callable[[], object]) -> None:
        fatal = heard(call)
        if fatal is not None:  # nothing more is sent
            self._check()
            raise refused(fatal, self.site.address, "copy")

    def _left(self) -> int:
        return sum(map(len, self._sent.values()))

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """As Target.commit."""
        self.site.group_of(group).commit(offsets)
