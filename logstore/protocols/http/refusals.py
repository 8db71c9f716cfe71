"""Our errors as HTTP's statuses; the nearest class above an error counts."""

from typing import Final

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
    InvalidWeight,
    NoExchange,
    NoQueue,
    Reserved,
    UnknownType,
)
from logstore.errors import (
    BrokenProtocol,
    Closed,
    Forbidden,
    InvalidName,
    LogstoreError,
    NoneOfThatName,
    Refused,
    StorageFull,
)
from logstore.http.faults import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    INTERNAL_ERROR,
    NOT_FOUND,
    UNAVAILABLE,
)

STATUS: Final[dict[type[LogstoreError], int]] = {
    NoneOfThatName: NOT_FOUND,
    NoExchange: NOT_FOUND,
    NoQueue: NOT_FOUND,
    InvalidName: BAD_REQUEST,
    **dict.fromkeys(
        (
            InvalidExpiration,
            InvalidHeader,
            InvalidQueueArgument,
            Nameless,
            ReservedName,
            ConflictingArguments,
            InvalidArgument,
            InvalidWeight,
            Reserved,
            UnknownType,
        ),
        BAD_REQUEST,
    ),
    Forbidden: FORBIDDEN,
    BrokenProtocol: BAD_REQUEST,
    Closed: UNAVAILABLE,
    Locked: CONFLICT,
    Refused: CONFLICT,
    StorageFull: UNAVAILABLE,
    LogstoreError: INTERNAL_ERROR,
}


def status_of(error: LogstoreError) -> int:
    """The status of an answer that says this."""
    return next(STATUS[it] for it in type(error).__mro__ if it in STATUS)
