"""Refusals in the form of RabbitMQ's management API: a status, an error, a reason.

Tools read the status, and people the reason, which is the text of the AMQP door.
"""

from collections.abc import Callable
from typing import Any, Final

from logstore.amqp.replies import ACCESS_REFUSED, NOT_FOUND, Refusal
from logstore.broker.policies import InvalidPolicy
from logstore.broker.queues.refusals import DefaultVhost
from logstore.broker.routing.refusals import UnknownType
from logstore.definitions.refusals import InvalidDefinitions
from logstore.errors import (
    Closed,
    Damaged,
    Failed,
    Forbidden,
    InvalidName,
    LogstoreError,
    NoneOfThatName,
    StorageFull,
    UserExists,
)
from logstore.http import faults
from logstore.http.faults import BAD_REQUEST, FORBIDDEN, UNAUTHORIZED, UNAVAILABLE, Fault
from logstore.protocols.rabbit_refusals import refusal_of

Body = dict[str, Any]

ACCESS: Final = "Access refused."  # without a word on what there is
_NOTHING: Final = {"error": "Object Not Found", "reason": "Not Found"}
_ERRORS: Final = {
    BAD_REQUEST: "bad_request",
    UNAUTHORIZED: "not_authorized",
    FORBIDDEN: "not_authorised",
    faults.METHOD_NOT_ALLOWED: "method_not_allowed",
    faults.REQUEST_TIMEOUT: "request_timeout",
    faults.CONFLICT: "conflict",
    faults.CONTENT_TOO_LARGE: "payload_too_large",
    faults.INTERNAL_ERROR: "internal_server_error",
    UNAVAILABLE: "service_unavailable",
}


class RabbitFault(Fault):
    """A refusal that only this API has, with its own text."""

    def __init__(self, status: int, error: str, reason: object) -> None:
        super().__init__(status, str(reason))
        self.error, self.reason = error, reason


def bad_request(reason: object) -> RabbitFault:
    """``reason``: a text, or a list, as in RabbitMQ."""
    return RabbitFault(BAD_REQUEST, "bad_request", reason)


def not_there() -> RabbitFault:
    """The refusal if no object has that name."""
    return RabbitFault(faults.NOT_FOUND, _NOTHING["error"], _NOTHING["reason"])


def no_vhost() -> RabbitFault:
    """The refusal of some routes if the virtual host does not exist."""
    return RabbitFault(faults.NOT_FOUND, "not_found", "vhost_not_found")


def not_authorised(reason: str = ACCESS) -> RabbitFault:
    return RabbitFault(UNAUTHORIZED, "not_authorised", reason)


def worded(error: LogstoreError, vhost: str) -> tuple[int, Body]:
    """Status and body of the reply for an error about something in a virtual host."""
    if isinstance(error, RabbitFault):
        return error.status, {"error": error.error, "reason": error.reason}
    if isinstance(error, Fault):
        return _fault(error)
    known = next((_WORDED[it] for it in type(error).__mro__ if it in _WORDED), None)
    if known is not None:
        return known(error)
    return _refused(refusal_of(error, vhost), error)


def _fault(error: Fault) -> tuple[int, Body]:
    """The refusal for any route. RabbitMQ uses one status for all missing rights."""
    if error.status == faults.NOT_FOUND:
        return error.status, _NOTHING
    status = UNAUTHORIZED if error.status == FORBIDDEN else error.status
    return status, _said(error.status, str(error))


def _said(status: int, reason: object) -> Body:
    return {"error": _ERRORS.get(status, "bad_request"), "reason": reason}


def _escaped(text: str) -> str:
    """Escapes a text for HTML, as RabbitMQ does in refusals of policies."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, entity)
    return text


def _with(status: int) -> Callable[[LogstoreError], tuple[int, Body]]:
    return lambda error: (status, _said(status, str(error)))


def _not_there(_: LogstoreError) -> tuple[int, Body]:
    return faults.NOT_FOUND, _NOTHING


# The nearest class above an error counts. What is not here is refused in the AMQP door's words.
_WORDED: Final[dict[type[LogstoreError], Callable[[Any], tuple[int, Body]]]] = {
    NoneOfThatName: _not_there,  # a virtual host, a user
    UnknownType: lambda it: (
        BAD_REQUEST, _said(BAD_REQUEST, f"invalid exchange type '{it.type_name}'")
    ),
    InvalidDefinitions: lambda it: (BAD_REQUEST, _said(BAD_REQUEST, it.reason)),
    InvalidPolicy: lambda it: (
        BAD_REQUEST, _said(BAD_REQUEST, f"Validation failed\n\n{_escaped(it.fault)}\n")
    ),
    Forbidden: lambda _: (UNAUTHORIZED, {"error": "not_authorised", "reason": ACCESS}),
    InvalidName: _with(BAD_REQUEST),
    UserExists: _with(BAD_REQUEST),
    DefaultVhost: _with(BAD_REQUEST),
    Closed: _with(UNAVAILABLE),
    StorageFull: _with(UNAVAILABLE),
    Failed: _with(faults.INTERNAL_ERROR),
    Damaged: _with(faults.INTERNAL_ERROR),
}  # fmt: skip


def _refused(refusal: Refusal, error: LogstoreError) -> tuple[int, Body]:
    """The text with which the AMQP door refuses the same at a channel."""
    if refusal.code == ACCESS_REFUSED:
        return UNAUTHORIZED, {"error": "not_authorised", "reason": ACCESS}
    reason = str(refusal).partition(" - ")[2] if refusal is not error else str(error)
    if refusal.code == NOT_FOUND:
        return faults.NOT_FOUND, {"error": "not_found", "reason": reason}
    return BAD_REQUEST, _said(BAD_REQUEST, reason)


def of_channel(error: LogstoreError, vhost: str) -> RabbitFault:
    """The text with which a channel would be closed, for one that this API has used."""
    refusal = refusal_of(error, vhost)
    return bad_request(f"{refusal.code} {refusal}")
