"""Administration of transactions: DescribeTransactions, ListTransactions, WriteTxnMarkers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.access.resources import (
    ALTER,
    CLUSTER,
    CLUSTER_ACTION,
    DESCRIBE,
    TRANSACTIONAL_ID,
)
from logstore.broker.coordinator.pattern import compiled
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.transacting.coordinator import (
    GATHERED_AT_ONCE,
    TransactionCoordinator,
    first_of,
)
from logstore.broker.transactions.listing import asked
from logstore.broker.transactions.table import Table
from logstore.broker.transactions.transactional_id import (
    NO_EPOCH,
    NO_PID,
    Producer,
    TransactionalId,
)
from logstore.errors import LogstoreError
from logstore.kafka.messages import describe_transactions as describe_messages
from logstore.kafka.messages import list_transactions as list_messages
from logstore.kafka.messages import write_txn_markers as markers_messages
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import InWorker
from logstore.protocols.kafka.errors import coordinator_code
from logstore.protocols.kafka.handler import handler
from logstore.slices import GoOn, Steps, parts

AT_ONCE: Final = 100  # ids, or partitions, that are looked at while others wait
ABORT_UNITS: Final = 20  # to have a transaction aborted takes some 50 us, and a few a partition


# DescribeTransactions


def describe_transactions(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> Steps:
    """Key 65."""
    found = []
    named: set[str] = set()
    for name in request.transactional_ids:
        if name in named:  # described once
            yield 1
            continue
        named.add(name)
        if not client.may(DESCRIBE, TRANSACTIONAL_ID, name):
            found.append(_undescribed(CODES[TRANSACTIONAL_ID], name))
            yield ASK_UNITS
            continue
        try:
            coordinator = client.door.transactions_of.coordinator()
        except LogstoreError as error:
            found.append(_undescribed(_code(error), name))
            yield ASK_UNITS
            continue
        it = coordinator.table.get(name)
        if it is None:
            found.append(_undescribed(errors.TRANSACTIONAL_ID_NOT_FOUND, name))
        else:
            topics = yield from _topics_of(client, coordinator, it)
            found.append(_described(it, topics))
        yield ASK_UNITS + 1
    return describe_messages.Response(transaction_states=found)


def _undescribed(error_code: int, name: str) -> describe_messages.TransactionState:
    return describe_messages.TransactionState(error_code, name)


def _described(
    it: TransactionalId, topics: Sequence[describe_messages.TopicData]
) -> describe_messages.TransactionState:
    return describe_messages.TransactionState(
        transactional_id=it.name,
        transaction_state=it.state.wire_name,
        transaction_timeout_ms=it.timeout_ms,
        transaction_start_time_ms=it.began_ms,
        producer_id=it.pid,
        producer_epoch=it.epoch,
        topics=topics,
    )


def _topics_of(
    client: KafkaClient, coordinator: TransactionCoordinator, it: TransactionalId
) -> Steps:
    """The partitions with data of the transaction, in topics that the client may see."""
    found: dict[bytes, list[int]] = {}
    for some in parts(list(coordinator.logs_of(it.pid).items()), AT_ONCE):
        for (topic_id, partition), its in some:
            if first_of(its, it.pid) is not None:
                found.setdefault(topic_id, []).append(partition)
        yield len(some)
    topics = []
    for topic_id, partitions in found.items():
        topic = client.door.topics.by_uuid(topic_id)
        if topic is not None and client.sees_topic(DESCRIBE, topic.name):
            topics.append(describe_messages.TopicData(topic.name, sorted(partitions)))
        yield ASK_UNITS + len(partitions) // AT_ONCE
    return topics


# ListTransactions


def list_transactions(
    client: KafkaClient, version: int, request: list_messages.Request
) -> list_messages.Response | InWorker:
    """Key 66. Without a filter all transactions are listed; several filters are combined
    with and.
    """
    try:
        coordinator = client.door.transactions_of.coordinator()
    except LogstoreError as error:
        return list_messages.Response(error_code=_code(error))
    return InWorker(partial(_listed, client, request, coordinator.table))


def _listed(
    client: KafkaClient, request: list_messages.Request, table: Table
) -> list_messages.Response:
    try:
        pattern = compiled(request.transactional_id_pattern or "")
    except Refusal:
        return list_messages.Response(error_code=errors.INVALID_REGULAR_EXPRESSION)
    wanted, unknown = asked(
        request.state_filters,
        request.producer_id_filters,
        request.duration_filter,
        pattern if request.transactional_id_pattern else None,
    )
    return list_messages.Response(
        unknown_state_filters=unknown,
        transaction_states=[
            list_messages.TransactionState(it.name, it.pid, it.state.wire_name)
            for it in wanted.of(table.each(), client.door.clock())
            if client.sees(DESCRIBE, TRANSACTIONAL_ID, it.name)
        ],
    )


# WriteTxnMarkers


class _Named(NamedTuple):
    """A marker as requested."""

    marker: markers_messages.Marker
    producer: Producer
    codes: Sequence[Sequence[int]]  # the partitions' errors: by topic, by partition
    refused: int  # the error of the whole marker


def write_txn_markers(
    client: KafkaClient, version: int, request: markers_messages.Request
) -> Steps:
    """Key 27: an administrator aborts a transaction (KIP-664).

    The whole transaction is aborted, and its producer is fenced. Kafka aborts it in the named
    partitions only, and its producer may commit the rest.
    """
    if not (client.sees_cluster(ALTER) or client.may_cluster(CLUSTER_ACTION)):
        return InWorker(partial(_unmarked, request.markers, CODES[CLUSTER]))
    aborts, found = _Aborts(client), []
    for marker in request.markers:
        producer = Producer(marker.producer_id, marker.producer_epoch)
        codes, is_open = yield from _named(client, marker)
        refused = aborts.refusal(marker, producer)
        if is_open and not refused:
            yield ABORT_UNITS + aborts.begin(producer)
        yield ASK_UNITS
        found.append(_Named(marker, producer, codes, refused))
    yield aborts.over
    return InWorker(partial(_marked, found, aborts.codes))


def _unmarked(markers: Sequence[markers_messages.Marker], code: int) -> markers_messages.Response:
    nobody = Producer(NO_PID, NO_EPOCH)
    fine = ([[errors.NONE] * len(one.partition_indexes) for one in it.topics] for it in markers)
    named = [_Named(it, nobody, codes, code) for it, codes in zip(markers, fine, strict=True)]
    return _marked(named, {})


def _marked(found: Sequence[_Named], codes: Mapping[Producer, int]) -> markers_messages.Response:
    return markers_messages.Response(
        markers=[
            markers_messages.Result(
                it.marker.producer_id,
                [
                    markers_messages.TopicResult(
                        topic.name,
                        [
                            markers_messages.PartitionResult(
                                number, code or it.refused or codes.get(it.producer, errors.NONE)
                            )
                            for number, code in zip(topic.partition_indexes, of_topic, strict=True)
                        ],
                    )
                    for topic, of_topic in zip(it.marker.topics, it.codes, strict=True)
                ],
            )
            for it in found
        ]
    )


def _named(client: KafkaClient, marker: markers_messages.Marker) -> Steps:
    """The error codes of the partitions, and whether the producer has a transaction open in one."""
    codes: list[list[int]] = []
    is_open = False
    for asked_topic in marker.topics:
        topic, of_topic = client.door.topics.get(asked_topic.name), []
        yield 1
        for some in parts(asked_topic.partition_indexes, AT_ONCE):
            for number in some:
                code = errors.UNKNOWN_TOPIC_OR_PARTITION
                if topic is not None and 0 <= number < len(topic.partitions):
                    code, its = errors.NONE, topic.at_hand(number)
                    # A log that is not open has no open transaction: the start checks for those.
                    if its is not None and first_of(its, marker.producer_id) is not None:
                        is_open = True
                of_topic.append(code)
            yield len(some)
        codes.append(of_topic)
    return codes, is_open


class _Aborts:
    """The transactions that one request aborts."""

    def __init__(self, client: KafkaClient) -> None:
        self.codes: dict[Producer, int] = {}  # what came of it
        self._door = client.door
        self._left = 0
        self._go_on: GoOn | None = None

    def refusal(self, marker: markers_messages.Marker, producer: Producer) -> int:
        """The error code of an invalid request; NONE if it is valid."""
        if producer in self.codes:
            return errors.NONE
        if marker.transaction_result:  # of a commit the producer alone knows whether it is whole
            return errors.INVALID_REQUEST
        try:
            it = self._door.transactions_of.coordinator().table.of_pid(producer.pid)
        except LogstoreError as error:
            return _code(error)
        if it is None:
            return errors.INVALID_PRODUCER_ID_MAPPING
        is_of_it = producer.pid == it.pid and producer.epoch >= it.epoch
        return errors.NONE if is_of_it else errors.INVALID_PRODUCER_EPOCH

    def begin(self, producer: Producer) -> int:
        """Abort the transaction once; returns how many partitions are examined for that."""
        if producer in self.codes:
            return 0
        coordinator = self._door.transactions_of.coordinator()
        it = coordinator.table.of_pid(producer.pid)
        assert it is not None, "else it is refused"
        self.codes[producer] = errors.NONE
        self._left += 1
        looked_at = min(coordinator.partitions(it.pid), GATHERED_AT_ONCE)
        coordinator.abort(it.name, partial(self._told, producer))
        return looked_at

    def _told(self, producer: Producer, found: TransactionalId | LogstoreError) -> None:
        self._left -= 1
        if isinstance(found, LogstoreError):
            self.codes[producer] = _code(found)
        if not self._left and self._go_on is not None:
            self._go_on(None)

    def over(self, go_on: GoOn) -> None:
        """A Wait until all aborts have a result."""
        if self._left:
            self._go_on = go_on
        else:
            go_on(None)


def _code(error: LogstoreError) -> int:
    return coordinator_code(error, knows_fenced=True)


HANDLERS: Final = {
    27: handler(markers_messages.Request, markers_messages.Response, write_txn_markers),
    65: handler(describe_messages.Request, describe_messages.Response, describe_transactions),
    66: handler(list_messages.Request, list_messages.Response, list_transactions),
}
