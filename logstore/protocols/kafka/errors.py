"""Kafka's error codes, and the code for each of logstore's errors."""

from typing import Final

from logstore import errors
from logstore.broker.coordinator.refusal import GroupError

NONE: Final = 0
UNKNOWN_SERVER_ERROR: Final = -1
OFFSET_OUT_OF_RANGE: Final = 1
CORRUPT_MESSAGE: Final = 2
UNKNOWN_TOPIC_OR_PARTITION: Final = 3
LEADER_NOT_AVAILABLE: Final = 5
REQUEST_TIMED_OUT: Final = 7
MESSAGE_TOO_LARGE: Final = 10
COORDINATOR_LOAD_IN_PROGRESS: Final = 14
COORDINATOR_NOT_AVAILABLE: Final = 15
NOT_COORDINATOR: Final = 16
INVALID_TOPIC_EXCEPTION: Final = 17
NOT_ENOUGH_REPLICAS: Final = 19
INVALID_REQUIRED_ACKS: Final = 21
INCONSISTENT_GROUP_PROTOCOL: Final = 23
INVALID_GROUP_ID: Final = 24
TOPIC_AUTHORIZATION_FAILED: Final = 29
GROUP_AUTHORIZATION_FAILED: Final = 30
CLUSTER_AUTHORIZATION_FAILED: Final = 31
INVALID_TIMESTAMP: Final = 32
UNSUPPORTED_SASL_MECHANISM: Final = 33
ILLEGAL_SASL_STATE: Final = 34
UNSUPPORTED_VERSION: Final = 35
TOPIC_ALREADY_EXISTS: Final = 36
INVALID_PARTITIONS: Final = 37
INVALID_REPLICATION_FACTOR: Final = 38
INVALID_REPLICA_ASSIGNMENT: Final = 39
INVALID_CONFIG: Final = 40
INVALID_REQUEST: Final = 42
POLICY_VIOLATION: Final = 44
OUT_OF_ORDER_SEQUENCE_NUMBER: Final = 45
INVALID_PRODUCER_EPOCH: Final = 47
INVALID_TXN_STATE: Final = 48
INVALID_PRODUCER_ID_MAPPING: Final = 49
INVALID_TRANSACTION_TIMEOUT: Final = 50
CONCURRENT_TRANSACTIONS: Final = 51
TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Final = 53
SECURITY_DISABLED: Final = 54
OPERATION_NOT_ATTEMPTED: Final = 55
KAFKA_STORAGE_ERROR: Final = 56
LOG_DIR_NOT_FOUND: Final = 57
SASL_AUTHENTICATION_FAILED: Final = 58
UNKNOWN_PRODUCER_ID: Final = 59
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: Final = 64
GROUP_ID_NOT_FOUND: Final = 69
FETCH_SESSION_ID_NOT_FOUND: Final = 70
INVALID_FETCH_SESSION_EPOCH: Final = 71
UNKNOWN_LEADER_EPOCH: Final = 75
UNSUPPORTED_COMPRESSION_TYPE: Final = 76
ELECTION_NOT_NEEDED: Final = 84
NO_REASSIGNMENT_IN_PROGRESS: Final = 85
INVALID_RECORD: Final = 87
UNSTABLE_OFFSET_COMMIT: Final = 88
PRODUCER_FENCED: Final = 90
RESOURCE_NOT_FOUND: Final = 91
DUPLICATE_RESOURCE: Final = 92
UNACCEPTABLE_CREDENTIAL: Final = 93
INVALID_UPDATE_VERSION: Final = 95
UNKNOWN_TOPIC_ID: Final = 100
BROKER_ID_NOT_REGISTERED: Final = 102
TRANSACTIONAL_ID_NOT_FOUND: Final = 105
FETCH_SESSION_TOPIC_ID_ERROR: Final = 106
TRANSACTION_ABORTABLE: Final = 120
INVALID_RECORD_STATE: Final = 121
SHARE_SESSION_NOT_FOUND: Final = 122
INVALID_SHARE_SESSION_EPOCH: Final = 123
INVALID_REGULAR_EXPRESSION: Final = 128
SHARE_SESSION_LIMIT_REACHED: Final = 133

# Codes of a group's errors.
GROUP_CODES: Final = {
    GroupError.COORDINATOR_LOAD_IN_PROGRESS: COORDINATOR_LOAD_IN_PROGRESS,
    GroupError.COORDINATOR_NOT_AVAILABLE: COORDINATOR_NOT_AVAILABLE,
    GroupError.FENCED_INSTANCE_ID: 82,
    GroupError.FENCED_MEMBER_EPOCH: 110,
    GroupError.GROUP_ID_NOT_FOUND: GROUP_ID_NOT_FOUND,
    GroupError.GROUP_MAX_SIZE_REACHED: 81,
    GroupError.GROUP_SUBSCRIBED_TO_TOPIC: 86,
    GroupError.ILLEGAL_GENERATION: 22,
    GroupError.INCONSISTENT_GROUP_PROTOCOL: INCONSISTENT_GROUP_PROTOCOL,
    GroupError.INVALID_GROUP_ID: INVALID_GROUP_ID,
    GroupError.INVALID_REGULAR_EXPRESSION: INVALID_REGULAR_EXPRESSION,
    GroupError.INVALID_REQUEST: INVALID_REQUEST,
    GroupError.INVALID_SESSION_TIMEOUT: 26,
    GroupError.MEMBER_ID_REQUIRED: 79,
    GroupError.NON_EMPTY_GROUP: 68,
    GroupError.OFFSET_METADATA_TOO_LARGE: 12,
    GroupError.REBALANCE_IN_PROGRESS: 27,
    GroupError.STALE_MEMBER_EPOCH: 113,
    GroupError.UNKNOWN_MEMBER_ID: 25,
    GroupError.UNKNOWN_TOPIC_OR_PARTITION: UNKNOWN_TOPIC_OR_PARTITION,
    GroupError.UNRELEASED_INSTANCE_ID: 111,
    GroupError.UNSUPPORTED_ASSIGNOR: 112,
}

# The first that fits counts.
_CODES: Final[tuple[tuple[type[errors.LogstoreError], int], ...]] = (
    (errors.OffsetOutOfRange, OFFSET_OUT_OF_RANGE),
    (errors.CorruptBatch, CORRUPT_MESSAGE),
    (errors.UnknownTopic, UNKNOWN_TOPIC_OR_PARTITION),
    (errors.UnknownPartition, UNKNOWN_TOPIC_OR_PARTITION),
    (errors.RecordTooLarge, MESSAGE_TOO_LARGE),
    (errors.InvalidTimestamp, INVALID_TIMESTAMP),
    (errors.InvalidRecord, INVALID_RECORD),
    (errors.InvalidName, INVALID_TOPIC_EXCEPTION),
    (errors.TopicExists, TOPIC_ALREADY_EXISTS),
    (errors.TooManyPartitions, POLICY_VIOLATION),  # as Kafka's controller calls too many
    (errors.UnknownSetting, INVALID_CONFIG),
    (errors.InvalidSetting, INVALID_CONFIG),
    (errors.OutOfSequence, OUT_OF_ORDER_SEQUENCE_NUMBER),
    # Clients abort, raise the epoch and restart their numbering. As with Kafka, a batch taken for a
    # repeat would be lost: after an abort librdkafka 2.16 reuses the numbers of unreported batches.
    (errors.OfEndedTransaction, UNKNOWN_PRODUCER_ID),
    (errors.FencedProducer, INVALID_PRODUCER_EPOCH),
    # Clients ask for another id, or end: told of UNKNOWN_PRODUCER_ID, Kafka's Java client would
    # raise its epoch and try again with the same id, for ever.
    (errors.UnknownProducer, INVALID_PRODUCER_ID_MAPPING),
    (errors.TransactionAbortable, TRANSACTION_ABORTABLE),
    (errors.InvalidTransactionState, INVALID_TXN_STATE),
    (errors.ConcurrentTransactions, CONCURRENT_TRANSACTIONS),
    (errors.CoordinatorLoading, COORDINATOR_LOAD_IN_PROGRESS),
    (errors.InvalidTransactionTimeout, INVALID_TRANSACTION_TIMEOUT),
    (errors.InvalidRecordState, INVALID_RECORD_STATE),
    (errors.ShareSessionNotFound, SHARE_SESSION_NOT_FOUND),
    (errors.InvalidShareSessionEpoch, INVALID_SHARE_SESSION_EPOCH),
    (errors.TooManyShareSessions, SHARE_SESSION_LIMIT_REACHED),
    # To a client every such error means that the node is unavailable, and it tries again or
    # elsewhere.
    (errors.Closed, KAFKA_STORAGE_ERROR),
    (errors.ReadOnly, KAFKA_STORAGE_ERROR),
    (errors.Damaged, KAFKA_STORAGE_ERROR),
    (errors.Failed, KAFKA_STORAGE_ERROR),
    (errors.Refused, INVALID_REQUEST),
)


def code_of(error: errors.LogstoreError) -> int:
    """Kafka's code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNKNOWN_SERVER_ERROR)


def coordinator_code(
    error: errors.LogstoreError, *, knows_fenced: bool, knows_abortable: bool = True
) -> int:
    """Kafka's code for an error of the transaction coordinator.

    ``knows_fenced``: the request's version is of KIP-588 or later, which distinguishes a producer
    that was fenced by the coordinator from one whose batch was refused. Earlier clients know only
    the latter. ``knows_abortable``: the version is of KIP-890 or later.
    """
    if knows_fenced and isinstance(error, errors.FencedProducer):
        return PRODUCER_FENCED
    if not knows_abortable and isinstance(error, errors.TransactionAbortable):
        return INVALID_TXN_STATE
    code = code_of(error)
    # A producer that is told of the storage gives up; of a coordinator, it asks again.
    return COORDINATOR_NOT_AVAILABLE if code == KAFKA_STORAGE_ERROR else code


def group_code(error: GroupError | None) -> int:
    """Kafka's code for a group's error; NONE without an error."""
    return NONE if error is None else GROUP_CODES[error]
