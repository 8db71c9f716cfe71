"""Records into a topic of a cluster, each acknowledged by all who keep it."""

from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from logstore.errors import InvalidTimestamp, LogstoreError
from logstore.records.record import Message as Wanted

from .address import Address, last_words
from .refusal import ANSWER_S, error_in, refused
from .topic import ClusterTopic

# A server restarted within this time loses and repeats nothing.
DELIVERY_S: Final = 30.0
LINGER_MS: Final = 50  # enough to fill a batch; ``flush`` does not wait for it
QUEUE_KIB: Final = 65_536
POLL_S: Final = 0.1
CODECS: Final = {"uncompressed": "none", "producer": "none"}


def identified(producer: Producer, topic: str, address: Address) -> Producer:
    """The same idempotent producer, about to have its id. Raises LogstoreError if it gets none.

    librdkafka requests the id when it has the cluster's metadata and a connection, or otherwise
    half a second later. After its first metadata it replaces the connection; the second request
    uses the new one.
    """
    for _ in range(2):
        error = heard(lambda: producer.list_topics(topic, ANSWER_S))
        # A cluster that does not answer is told of with the first record.
        if error is not None and error.fatal():
            raise refused(error, address, f"produce to topic {topic!r}")
    return producer


def heard(call: Callable[[], object]) -> KafkaError | None:
    """Call ``poll`` or ``flush``; returns the error that ends the producer, if one has come.

    confluent-kafka raises such an error from any call that receives it; if a record's delivery is
    reported in the same call, it is the cause of a SystemError, or was lost.
    """
    try:
        call()
    except KafkaException as error:
        return error_in(error)
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            return error_in(error.__cause__)
        return KafkaError(KafkaError._FATAL, last_words() or str(error))
    return None


def _explained(error: KafkaError) -> KafkaError:
    """The error with its reason: after a client's end each call has an error, but only the first
    explains.
    """
    if error.code() == KafkaError._FATAL and last_words():
        return KafkaError(KafkaError._FATAL, last_words())
    return error


class ClusterProducer:
    """As ``logstore.broker.producer.Producer``: ``send_many`` returns before they are acknowledged.

    Keys go to the partitions that a store would choose (and Kafka's own client): murmur2.
    """

    def __init__(
        self, address: Address, topic: ClusterTopic, batch_bytes: int, compression: str | None
    ) -> None:
        self._address = address
        self._topic = topic
        self._acknowledged = 0
        self._failure: LogstoreError | None = None
        self._purged: KafkaError | None = None  # of records that went with the producer's end
        settings = topic.rules.settings
        codec = settings.compression_type
        if codec == "producer" and compression is not None:
            codec = compression
        client = Producer(
            address.settings(
                acks="all",
                enable_idempotence=True,
                partitioner="murmur2_random",
                compression_type=CODECS.get(codec, codec),
                linger_ms=LINGER_MS,
                batch_size=max(min(batch_bytes, settings.max_message_bytes), 1),
                message_max_bytes=1_000_000_000,  # the topic's rules limit the size
                message_timeout_ms=round(DELIVERY_S * 1000),
                queue_buffering_max_kbytes=QUEUE_KIB,
            )
        )
        self._producer = identified(client, topic.name, address)

    @property
    def acknowledged(self) -> int:
        """The number of records that are acknowledged."""
        self._poll()
        return self._acknowledged

    def send_many(self, messages: Sequence[Wanted], partition: int | None = None) -> None:
        """As Sink.send_many."""
        self._check()
        if not messages:
            return
        values, keys, headers, timestamps = self._topic.rules.columns(messages)
        if 0 in timestamps:
            raise InvalidTimestamp(
                f"topic {self._topic.name!r}: a timestamp of 0 can't be sent: the Kafka client"
                " treats 0 as no timestamp",
                timestamps.index(0),
            )
        if partition is None:
            partition = -1
        for row in zip(values, keys, headers, timestamps, strict=True):
            self._send(partition, *row)
        self._poll()

    def _send(
        self,
        partition: int,
        value: bytes | None,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        timestamp_ms: int,
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic.name,
                    value,
                    key,
                    partition,
                    on_delivery=self._delivered,
                    timestamp=timestamp_ms,
                    headers=list(headers),
                )
                return
            except BufferError:  # as much is under way as may be
                self._poll(POLL_S)
                self._check()
            except KafkaException as error:
                self._poll()  # if it has ended for good, this hears why
                self._check()
                raise self._refused(_explained(error_in(error))) from None

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._acknowledged += 1
        elif error.code() == KafkaError._PURGE_QUEUE:
            self._purged = error
        elif self._failure is None:
            self._failure = self._refused(error)

    def _refused(self, error: KafkaError) -> LogstoreError:
        return refused(error, self._address, f"produce to topic {self._topic.name!r}")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def push(self) -> None:
        """As Sink.push. The client sends by itself after LINGER_MS; what it has heard is heard."""
        self._poll()
        self._check()

    def flush(self) -> None:
        """As Sink.flush."""
        # Ends: a record that is not acknowledged in time has failed.
        self._note(heard(self._producer.flush))
        self._note(self._purged)
        self._check()

    def _poll(self, seconds: float = 0) -> None:
        self._note(heard(lambda: self._producer.poll(seconds)))

    def _note(self, error: KafkaError | None) -> None:
        if error is not None and self._failure is None:
            self._failure = self._refused(error)
