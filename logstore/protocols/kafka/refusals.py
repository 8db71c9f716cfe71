"""What is not there: transactions, authentication.

Clients need the keys to exist, and are told in each request's own way.
"""

from typing import Final

from logstore.access.resources import (
    CLUSTER,
    CLUSTER_ACTION,
    DESCRIBE,
    TRANSACTIONAL_ID,
    WRITE,
)
from logstore.kafka.messages import (
    add_offsets_to_txn as add_offsets_messages,
)
from logstore.kafka.messages import (
    add_partitions_to_txn as add_partitions_messages,
)
from logstore.kafka.messages import (
    describe_transactions as describe_transactions_messages,
)
from logstore.kafka.messages import (
    end_txn as end_messages,
)
from logstore.kafka.messages import (
    list_transactions as list_transactions_messages,
)
from logstore.kafka.messages import (
    sasl_authenticate as authenticate_messages,
)
from logstore.kafka.messages import (
    sasl_handshake as handshake_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.asks import CODES
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.handler import handler

OF_NODES: Final = 4  # AddPartitionsToTxn (KIP-890)
NO_SASL: Final = "nobody has to authenticate here"
LOGGED_IN: Final = "SaslAuthenticate request received after successful authentication"


def sasl_handshake(
    client: KafkaClient, version: int, request: handshake_messages.Request
) -> handshake_messages.Response:
    """Key 17."""
    return handshake_messages.Response(errors.ILLEGAL_SASL_STATE)


def sasl_authenticate(
    client: KafkaClient, version: int, request: authenticate_messages.Request
) -> authenticate_messages.Response:
    """Key 36."""
    text = LOGGED_IN if client.rights.who.user else NO_SASL
    return authenticate_messages.Response(errors.ILLEGAL_SASL_STATE, text)


def add_partitions_to_txn(
    client: KafkaClient, version: int, request: add_partitions_messages.Request
) -> add_partitions_messages.Response:
    """Key 24: of another node, for many transactions, or before version 4 of a client."""
    if version >= OF_NODES:
        if not client.may_cluster(CLUSTER_ACTION):
            return add_partitions_messages.Response(error_code=CODES[CLUSTER])
        return add_partitions_messages.Response(
            results_by_transaction=[
                add_partitions_messages.Result(
                    transaction.transactional_id,
                    [
                        add_partitions_messages.TopicResult(
                            topic.name,
                            [
                                add_partitions_messages.PartitionResult(
                                    it, errors.INVALID_TXN_STATE
                                )
                                for it in topic.partitions
                            ],
                        )
                        for topic in transaction.topics
                    ],
                )
                for transaction in request.transactions
            ]
        )
    codes = _codes_of_partitions(client, request)
    return add_partitions_messages.Response(
        results_by_topic_v3_and_below=[
            add_partitions_messages.ResponseTopicResult(
                topic.name,
                [
                    add_partitions_messages.ResponsePartitionResult(it, codes[topic.name])
                    for it in topic.partitions
                ],
            )
            for topic in request.v3_and_below_topics
        ],
    )


def _codes_of_partitions(
    client: KafkaClient, request: add_partitions_messages.Request
) -> dict[str, int]:
    """By topic. One that is not allowed keeps the others from being attempted."""
    names = [it.name for it in request.v3_and_below_topics]
    if not client.may(WRITE, TRANSACTIONAL_ID, request.v3_and_below_transactional_id):
        return dict.fromkeys(names, CODES[TRANSACTIONAL_ID])
    refused = {name for name in names if not client.may_topic(WRITE, name)}
    others = errors.OPERATION_NOT_ATTEMPTED if refused else errors.INVALID_TXN_STATE
    return {
        name: errors.TOPIC_AUTHORIZATION_FAILED if name in refused else others for name in names
    }


def add_offsets_to_txn(
    client: KafkaClient, version: int, request: add_offsets_messages.Request
) -> add_offsets_messages.Response:
    """Key 25."""
    return add_offsets_messages.Response(error_code=errors.INVALID_TXN_STATE)


def end_txn(
    client: KafkaClient, version: int, request: end_messages.Request
) -> end_messages.Response:
    """Key 26."""
    return end_messages.Response(error_code=errors.INVALID_TXN_STATE)


def describe_transactions(
    client: KafkaClient, version: int, request: describe_transactions_messages.Request
) -> describe_transactions_messages.Response:
    """Key 65."""
    return describe_transactions_messages.Response(
        transaction_states=[
            describe_transactions_messages.TransactionState(
                errors.TRANSACTIONAL_ID_NOT_FOUND
                if client.may(DESCRIBE, TRANSACTIONAL_ID, transactional_id)
                else CODES[TRANSACTIONAL_ID],
                transactional_id,
            )
            for transactional_id in request.transactional_ids
        ]
    )


def list_transactions(
    client: KafkaClient, version: int, request: list_transactions_messages.Request
) -> list_transactions_messages.Response:
    """Key 66: none."""
    return list_transactions_messages.Response()


HANDLERS: Final = {
    17: handler(handshake_messages.Request, handshake_messages.Response, sasl_handshake),
    24: handler(
        add_partitions_messages.Request, add_partitions_messages.Response, add_partitions_to_txn
    ),
    25: handler(add_offsets_messages.Request, add_offsets_messages.Response, add_offsets_to_txn),
    26: handler(end_messages.Request, end_messages.Response, end_txn),
    36: handler(authenticate_messages.Request, authenticate_messages.Response, sasl_authenticate),
    65: handler(
        describe_transactions_messages.Request,
        describe_transactions_messages.Response,
        describe_transactions,
    ),
    66: handler(
        list_transactions_messages.Request, list_transactions_messages.Response, list_transactions
    ),
}
