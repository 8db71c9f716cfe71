"""Maps logstore's errors to HTTP statuses, by the nearest class above an error."""

from typing import Final

from logstore.broker.policies import InvalidPolicy
from logstore.broker.queues.refusals import (
    InvalidExpiration,
    InvalidHeader,
    InvalidQueueArgument,
    Locked,
    Nameless,
    ReservedName,
)
from logstore.broker.routing.refusals import (
    ConflictingArguments,
    InvalidArgument,
    InvalidDelay,
    InvalidWeight,
    NoDelayedType,
    NoExchange,
    NoQueue,
    Reserved,
    UnknownType,
)
from logstore.definitions.refusals import InvalidDefinitions
from logstore.errors import (
    BrokenProtocol,
    Closed,
    ClusterUnreachable,
    Forbidden,
    InvalidName,
    InvalidRecord,
    InvalidSetting,
    LogstoreError,
    NoneOfThatName,
    NotWaiting,
    Refused,
    StorageFull,
    UnknownPartition,
    UnknownSetting,
)
from logstore.http import asks
from logstore.http.asks import Ask
from logstore.http.bodies import refusal, whole
from logstore.http.faults import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHORIZED,
    UNAVAILABLE,
    Fault,
)
from logstore.protocols.http.entry import targets

STATUS: Final[dict[type[LogstoreError], int]] = {
    NoneOfThatName: NOT_FOUND,
    UnknownPartition: NOT_FOUND,
    NoExchange: NOT_FOUND,
    NoQueue: NOT_FOUND,
    NotWaiting: NOT_FOUND,
    InvalidName: BAD_REQUEST,
    **dict.fromkeys(
        (
            InvalidRecord,
            InvalidSetting,
            UnknownSetting,
            InvalidExpiration,
            InvalidHeader,
            InvalidQueueArgument,
            Nameless,
            ReservedName,
            ConflictingArguments,
            InvalidArgument,
            InvalidDefinitions,
            InvalidDelay,
            InvalidPolicy,
            InvalidWeight,
            NoDelayedType,
            Reserved,
            UnknownType,
        ),
        BAD_REQUEST,
    ),
    Forbidden: FORBIDDEN,
    BrokenProtocol: BAD_REQUEST,
    Closed: UNAVAILABLE,
    ClusterUnreachable: UNAVAILABLE,
    Locked: CONFLICT,
    Refused: CONFLICT,
    StorageFull: UNAVAILABLE,
    LogstoreError: INTERNAL_ERROR,
}


def fault_of(error: LogstoreError) -> Fault:
    """An error as what is answered."""
    if isinstance(error, Fault):
        return error
    return Fault(status_of(error), str(error), kind=type(error).__name__)


def body_of(target: bytes, fault: Fault) -> bytes:
    """What is answered to a request for this target, as those who ask there read it."""
    if fault.said is not None:
        return whole(fault.said)
    if targets.is_of(target):
        return whole({"error": RABBIT.get(fault.status, "bad_request"), "reason": str(fault)})
    return refusal(str(fault), fault.kind)


_NOT_OF: Final = {
    asks.MANAGEMENT: "Not management user",
    asks.POLICYMAKER: "User not authorised to access object",
    asks.MONITORING: "Not monitor user",
    asks.ADMINISTRATOR: "Not administrator user",
}


def refused_to_rabbit(ask: Ask) -> Fault:
    """What RabbitMQ answers to one who is logged in and may not do this: its tools look for 401."""
    reason = "Access refused." if ask.operation else _NOT_OF.get(ask.level, "Access refused.")
    fault = Fault(UNAUTHORIZED, reason)
    fault.said = {"error": "not_authorised", "reason": reason}
    return fault


# RabbitMQ's words for a status, which its tools look for.
RABBIT: Final = {
    BAD_REQUEST: "bad_request",
    UNAUTHORIZED: "not_authorized",
    FORBIDDEN: "not_authorized",
    NOT_FOUND: "Object Not Found",
    METHOD_NOT_ALLOWED: "Method Not Allowed",
    INTERNAL_ERROR: "internal_server_error",
    UNAVAILABLE: "service_unavailable",
}


def status_of(error: LogstoreError) -> int:
    """The status of an answer that says this."""
    return next(STATUS[it] for it in type(error).__mro__ if it in STATUS)
