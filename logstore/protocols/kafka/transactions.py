"""Transactions for their producers: get a producer id, add partitions and offsets, end.

The logs know which partitions a transaction has written to, so adding partitions stores nothing; it
only opens the transaction. The error codes depend on a request's version: clients before KIP-588 do
not know PRODUCER_FENCED, and those before KIP-890 do not know TRANSACTION_ABORTABLE.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from logstore.access.resources import CLUSTER, CLUSTER_ACTION, TRANSACTIONAL_ID, WRITE
from logstore.broker.transacting.coordinator import TransactionCoordinator
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.transactional_id import (
    TV1,
    TV2,
    Missing,
    Producer,
    TransactionalId,
)
from logstore.errors import LogstoreError, Superseded
from logstore.kafka.messages import (
    add_offsets_to_txn as add_offsets_messages,
)
from logstore.kafka.messages import (
    add_partitions_to_txn as add_messages,
)
from logstore.kafka.messages import (
    end_txn as end_messages,
)
from logstore.kafka.messages import (
    init_producer_id as init_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.door import InWorker, Later
from logstore.protocols.kafka.errors import coordinator_code
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps, parts

OF_NODES: Final = 4  # AddPartitionsToTxn: of another node, for many transactions (KIP-890)
WITH_NEXT: Final = 5  # EndTxn: each end raises the epoch, and the answer has it (KIP-890)
AT_ONCE: Final = 100  # partitions that are looked at while others wait


class _Knows(NamedTuple):
    """The first versions of a request whose reply may have these codes."""

    fenced: int  # PRODUCER_FENCED (KIP-588)
    abortable: int  # TRANSACTION_ABORTABLE (KIP-890)


_INIT, _ADD, _ADD_OFFSETS, _END = _Knows(4, 5), _Knows(2, 5), _Knows(2, 4), _Knows(2, 4)

Response = TypeVar("Response")


def _code(error: LogstoreError, version: int, knows: _Knows) -> int:
    return coordinator_code(
        error, knows_fenced=version >= knows.fenced, knows_abortable=version >= knows.abortable
    )


def _refusal(
    error: LogstoreError, version: int, knows: _Knows, told: Callable[[int], Response]
) -> Response | LogstoreError:
    """The error response; or an error, which ends the connection without a response.

    The latter for a superseded connection: its request was sent before the takeover, and may
    concern an earlier transaction (``Superseded``).
    """
    return error if isinstance(error, Superseded) else told(_code(error, version, knows))


# InitProducerId


def initialize(
    client: KafkaClient, version: int, name: str, request: init_messages.Request
) -> init_messages.Response | Later:
    """Key 22 with a transactional id: starts the next epoch and fences all earlier producers."""
    if not client.may(WRITE, TRANSACTIONAL_ID, name):
        return no_producer(CODES[TRANSACTIONAL_ID])
    asked = Producer(request.producer_id, request.producer_epoch)
    later = Later()

    def told(found: TransactionalId | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            later.give(_refusal(found, version, _INIT, no_producer))
        else:
            later.give(init_messages.Response(producer_id=found.pid, producer_epoch=found.epoch))

    def opened(found: TransactionCoordinator | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            told(found)
        else:
            timeout_ms = request.transaction_timeout_ms
            found.initialize(name, timeout_ms, asked, client.number, told)

    client.door.transactions_of.when_open(opened)
    return later


def no_producer(error_code: int) -> init_messages.Response:
    """An answer without producer id and epoch (-1, as 0 is a valid epoch)."""
    return init_messages.Response(error_code=error_code, producer_epoch=-1)


# AddPartitionsToTxn

Topic = add_messages.RequestTopic | add_messages.Topic
Topics = Sequence[Topic]
Codes = Sequence[Sequence[int]]  # by topic, by partition


def add_partitions_to_txn(
    client: KafkaClient, version: int, request: add_messages.Request
) -> Steps:
    """Key 24: sent by a client, or from version 4 on by another node."""
    if version >= OF_NODES:
        return (yield from _of_another_node(client, version, request))
    name, topics = request.v3_and_below_transactional_id, request.v3_and_below_topics
    if not client.may(WRITE, TRANSACTIONAL_ID, name):
        return _added(topics, CODES[TRANSACTIONAL_ID])
    unfit = yield from _unfit(client, topics, of_client=True)
    if unfit is not None:
        return _added(topics, unfit)
    asked = Producer(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch)
    try:
        client.door.transactions_of.coordinator().add(name, asked, client.number)
    except Superseded:
        raise  # it ends the connection
    except LogstoreError as error:
        return _added(topics, _code(error, version, _ADD))
    return _added(topics, errors.NONE)


def _added(topics: Topics, codes: Codes | int) -> add_messages.Response | InWorker:
    """``codes``: one code for all partitions, or one for each."""

    def answer() -> add_messages.Response:
        return add_messages.Response(
            results_by_topic_v3_and_below=[
                add_messages.ResponseTopicResult(
                    topic.name,
                    [
                        add_messages.ResponsePartitionResult(*it)
                        for it in zip(topic.partitions, of_topic, strict=True)
                    ],
                )
                for topic, of_topic in _with_codes(topics, codes)
            ]
        )

    return InWorker(answer) if _are_many(topics) else answer()


def _with_codes(topics: Topics, codes: Codes | int) -> Iterator[tuple[Topic, Sequence[int]]]:
    for number, topic in enumerate(topics):
        yield topic, [codes] * len(topic.partitions) if isinstance(codes, int) else codes[number]


def _are_many(topics: Topics) -> bool:
    return len(topics) > AT_ONCE or sum(len(it.partitions) for it in topics) > AT_ONCE


def _of_another_node(client: KafkaClient, version: int, request: add_messages.Request) -> Steps:
    """Process the request of another node, which is trusted to have checked the rights."""
    if not client.may_cluster(CLUSTER_ACTION):
        return add_messages.Response(error_code=CODES[CLUSTER])
    results: list[tuple[add_messages.Transaction, Codes | int]] = []
    many = len(request.transactions) > AT_ONCE
    for it in request.transactions:
        codes: Codes | int | None = yield from _unfit(client, it.topics, of_client=False)
        if codes is None:
            codes = _added_by_node(client, version, it)
        results.append((it, codes))
        many = many or _are_many(it.topics)
        yield ASK_UNITS

    def answer() -> add_messages.Response:
        return add_messages.Response(
            results_by_transaction=[
                add_messages.Result(
                    it.transactional_id,
                    [
                        add_messages.TopicResult(
                            topic.name,
                            [
                                add_messages.PartitionResult(*one)
                                for one in zip(topic.partitions, of_topic, strict=True)
                            ],
                        )
                        for topic, of_topic in _with_codes(it.topics, codes)
                    ],
                )
                for it, codes in results
            ]
        )

    return InWorker(answer) if many else answer()


def _added_by_node(client: KafkaClient, version: int, it: add_messages.Transaction) -> int:
    """Add all partitions of one transaction for a node; returns the code. A node has no identity of
    its own.
    """
    producer = Producer(it.producer_id, it.producer_epoch)
    abortable = version >= _ADD.abortable
    try:
        coordinator = client.door.transactions_of.coordinator()
        if it.verify_only:
            missing = Missing.ABORTABLE if abortable else Missing.REFUSED
            coordinator.verify(it.transactional_id, producer, missing)
        else:
            coordinator.admit(it.transactional_id, producer, Missing.ADDED)
    except LogstoreError as error:
        return _code(error, version, _ADD)
    return errors.NONE


def _unfit(
    client: KafkaClient, topics: Topics, *, of_client: bool
) -> Generator[int, None, Codes | None]:
    """The codes of all partitions if any is invalid, in which case none is added; otherwise
    None.
    """
    found: list[list[int]] = []
    fit = True
    for topic in topics:
        code, count = _known(client, topic.name, of_client=of_client)
        yield ASK_UNITS
        codes: list[int] = []
        for some in parts(topic.partitions, AT_ONCE):
            codes += [
                code or (errors.NONE if 0 <= it < count else errors.UNKNOWN_TOPIC_OR_PARTITION)
                for it in some
            ]
            yield len(some)
        fit = fit and not any(codes)
        found.append(codes)
    if fit:
        return None
    for of_topic in parts(found, AT_ONCE):
        for codes in of_topic:
            codes[:] = [it or errors.OPERATION_NOT_ATTEMPTED for it in codes]
        yield sum(map(len, of_topic))
    return found


def _known(client: KafkaClient, name: str, *, of_client: bool) -> tuple[int, int]:
    """The error code of a topic, and its number of partitions."""
    if of_client and not client.may_topic(WRITE, name):
        return errors.TOPIC_AUTHORIZATION_FAILED, 0
    topic = client.door.topics.get(name)
    return (errors.UNKNOWN_TOPIC_OR_PARTITION, 0) if topic is None else (0, len(topic.partitions))


# AddOffsetsToTxn


def add_offsets_to_txn(
    client: KafkaClient, version: int, request: add_offsets_messages.Request
) -> Later:
    """Key 25: the group itself learns of the transaction with the offsets."""
    asked, later = Producer(request.producer_id, request.producer_epoch), Later()

    def refused(code: int) -> add_offsets_messages.Response:
        return add_offsets_messages.Response(error_code=code)

    try:
        coordinator = client.door.transactions_of.coordinator()
        coordinator.add(request.transactional_id, asked, client.number)
    except LogstoreError as error:
        later.give(_refusal(error, version, _ADD_OFFSETS, refused))
    else:
        later.give(add_offsets_messages.Response())
    return later


# EndTxn


def end_txn(
    client: KafkaClient, version: int, request: end_messages.Request
) -> end_messages.Response | Later:
    """Key 26. Durable when answered; the markers are written to the partitions after that."""
    later = Later()

    def refused(code: int) -> end_messages.Response:
        return end_messages.Response(error_code=code)

    def told(found: TransactionalId | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            later.give(_refusal(found, version, _END, refused))
        else:
            later.give(end_messages.Response(producer_id=found.pid, producer_epoch=found.epoch))

    try:
        coordinator = client.door.transactions_of.coordinator()
    except LogstoreError as error:
        return refused(_code(error, version, _END))
    coordinator.end(
        request.transactional_id,
        Producer(request.producer_id, request.producer_epoch),
        Outcome(request.committed),
        TV2 if version >= WITH_NEXT else TV1,
        client.number,
        told,
    )
    return later


HANDLERS: Final = {
    24: handler(add_messages.Request, add_messages.Response, add_partitions_to_txn),
    25: handler(add_offsets_messages.Request, add_offsets_messages.Response, add_offsets_to_txn),
    26: handler(end_messages.Request, end_messages.Response, end_txn),
}
