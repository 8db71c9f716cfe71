"""What a cluster or its client refuses, as errors of logstore: one line for people."""

from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from logstore.errors import (
    BrokenProtocol,
    Closed,
    CorruptBatch,
    Failed,
    Fenced,
    Forbidden,
    GroupBusy,
    InvalidName,
    InvalidRecord,
    InvalidSetting,
    InvalidTimestamp,
    LogstoreError,
    OffsetOutOfRange,
    RecordTooLarge,
    Refused,
    StorageFull,
    TopicExists,
    UnknownGroup,
    UnknownTopic,
)

from .address import Address

ANSWER_S: Final = 30.0  # how long a request may take
CONCLUDE_S: Final = 5.0  # beyond that, for the client to say so

ERROR_OF: Final[dict[int, type[LogstoreError]]] = {
    KafkaError.OFFSET_OUT_OF_RANGE: OffsetOutOfRange,
    KafkaError.INVALID_MSG: CorruptBatch,
    KafkaError.UNKNOWN_TOPIC_OR_PART: UnknownTopic,
    KafkaError.UNKNOWN_TOPIC_ID: UnknownTopic,
    KafkaError.MSG_SIZE_TOO_LARGE: RecordTooLarge,
    KafkaError.INVALID_TIMESTAMP: InvalidTimestamp,
    KafkaError.INVALID_RECORD: InvalidRecord,
    KafkaError.TOPIC_EXCEPTION: InvalidName,
    KafkaError.TOPIC_ALREADY_EXISTS: TopicExists,
    KafkaError.INVALID_CONFIG: InvalidSetting,
    KafkaError.INVALID_PARTITIONS: Refused,
    KafkaError.INVALID_REPLICATION_FACTOR: Refused,
    KafkaError.INVALID_REQUEST: Refused,
    KafkaError.POLICY_VIOLATION: Refused,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Forbidden,
    KafkaError.GROUP_AUTHORIZATION_FAILED: Forbidden,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Forbidden,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Forbidden,
    KafkaError.INVALID_GROUP_ID: InvalidName,
    KafkaError.GROUP_ID_NOT_FOUND: UnknownGroup,
    KafkaError.NON_EMPTY_GROUP: GroupBusy,
    KafkaError.GROUP_MAX_SIZE_REACHED: GroupBusy,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: GroupBusy,
    KafkaError.UNKNOWN_MEMBER_ID: Fenced,
    KafkaError.ILLEGAL_GENERATION: Fenced,
    KafkaError.FENCED_INSTANCE_ID: Fenced,
    KafkaError.REBALANCE_IN_PROGRESS: Fenced,
    KafkaError.KAFKA_STORAGE_ERROR: StorageFull,
    KafkaError.UNSUPPORTED_VERSION: BrokenProtocol,
    KafkaError._STATE: Closed,
}  # every other one: Failed
UNREACHED: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
}


def refused(error: KafkaError, address: Address, doing: str) -> LogstoreError:
    """The error for a refusal. ``doing``: the request with its names: ``create topic 'x'``."""
    if error.code() in UNREACHED:
        return Failed(
            f"{address}: can't {doing}: no reply ({error.str()}); check that the server is running,"
            " and that this is its port for Kafka clients"
        )
    kind, reason = ERROR_OF.get(error.code(), Failed), error.str()
    reason = reason.removeprefix("Commit failed: ")  # of a commit that the client made by itself
    bare = reason.startswith(("Broker: ", "Local: "))  # the client's words for a code alone
    if bare or kind is Forbidden or error.code() == KafkaError._FATAL:
        reason = f"{address}: can't {doing}: {reason}"
    return kind(reason)


def error_in(exception: KafkaException) -> KafkaError:
    error = exception.args[0]
    assert isinstance(error, KafkaError), f"a KafkaException without its error: {exception!r}"
    return error


def answer(future: "Future[Any]", address: Address, doing: str) -> Any:  # noqa: ANN401
    """The future's result. Raises LogstoreError."""
    try:
        return future.result(ANSWER_S + CONCLUDE_S)
    except KafkaException as exception:
        raise refused(error_in(exception), address, doing) from None
    except TimeoutError:
        raise Failed(
            f"{address}: can't {doing}: no reply; check that the server is running, and that this"
            " is its port for Kafka clients"
        ) from None
