"""Partitions of a cluster read by nobody's group: from where each is added, to its end or on."""

import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as Place

from logstore.errors import Failed
from logstore.log import TopicPartition
from logstore.records.record import Record

from .address import Address
from .refusal import ANSWER_S, refused

FETCH_WAIT_MS: Final = 50  # how long the end of a partition takes to be noticed
NO_GROUP: Final = "logstore"  # librdkafka requires a name; nothing is committed or joined
TRANSIENT: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError._MAX_POLL_EXCEEDED,  # our output's reader is slow; the client joins again
}

# Errors of a reader without a group: librdkafka still looks for the coordinator of the required
# name, to which a reader of the topic need not have a right.
NO_MATTER: Final = TRANSIENT | {KafkaError.GROUP_AUTHORIZATION_FAILED}


class Reader:
    """Records of several partitions, as they come."""

    def __init__(self, address: Address, doing: str) -> None:
        """``doing``: the purpose, for the text of errors."""
        self._address = address
        self._doing = doing
        self.places: set[TopicPartition] = set()
        self.at_end: set[TopicPartition] = set()
        self._heard_at = time.monotonic()
        self._consumer = Consumer(
            address.settings(
                group_id=NO_GROUP,
                enable_auto_commit=False,
                auto_offset_reset="error",
                enable_partition_eof=True,
                fetch_wait_max_ms=FETCH_WAIT_MS,
            )
        )

    def add(self, place: TopicPartition, at: int) -> None:
        """Also read this partition."""
        self.places.add(place)
        self._consumer.incremental_assign([Place(*place, at)])
        self._heard_at = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the end of every partition was reached."""
        return self.places <= self.at_end

    def read(self, records_max: int, timeout_s: float) -> list[Record]:
        """Available records; if there are none, those that arrive within ``timeout_s``.

        Raises Failed if the server was silent for long before the end was reached.
        """
        first = self._consumer.poll(timeout_s)
        messages = [] if first is None else [first]
        if first is not None and records_max > 1:
            messages += self._consumer.consume(records_max - 1, timeout=0)
        records = [it for message in messages if (it := self._taken(message)) is not None]
        if messages or self.ended:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > ANSWER_S:
            raise Failed(f"{self._address}: no reply; check that the server is running")
        return records

    def _taken(self, message: Message) -> Record | None:
        error = message.error()
        if error is None:
            self.at_end.discard(place_of(message))
            return record_of(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self.at_end.add(place_of(message))
        elif error.code() not in NO_MATTER or error.fatal():
            raise refused(error, self._address, self._doing)
        return None

    def pause(self, place: TopicPartition) -> None:
        self._consumer.pause([Place(*place)])

    def resume(self, place: TopicPartition) -> None:
        self._consumer.resume([Place(*place)])
        self._heard_at = time.monotonic()

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()


def place_of(message: Message) -> TopicPartition:
    topic, partition = message.topic(), message.partition()
    return topic or "", -1 if partition is None else partition


def record_of(message: Message) -> Record:
    """A confluent-kafka message as a Record."""
    topic, partition = place_of(message)
    return Record(
        topic,
        partition,
        -1 if (offset := message.offset()) is None else offset,
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),  # type: ignore[arg-type]  # names as texts, always
    )
