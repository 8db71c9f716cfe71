"""What a request to the queues asks for: its body, names, tables and properties, checked."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from logstore.amqp.fields import text
from logstore.broker.queues import given
from logstore.broker.queues.message import Message
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.arguments import Arguments
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http import contents
from logstore.protocols.http.call import Call

_T = TypeVar("_T")


def asked(call: Call, kind: type[_T]) -> _T:
    """The request's body; without one all is as it is by default. Raises Fault."""
    return call.json(kind) if call.given.strip() else _default(call, kind)


def _default(call: Call, kind: type[_T]) -> _T:
    try:
        return kind()
    except TypeError:  # something has no default
        return call.json(kind)


def name_of(data: bytes) -> bytes:
    """Of a queue or an exchange. Raises InvalidName for one that is too long."""
    return given.name_of(text(data))


def table_of(found: Mapping[str, Any]) -> Arguments:
    """The arguments of a queue, an exchange or a binding. Raises Fault."""
    return _checked(
        "arguments", lambda: arguments_of(given.table(contents.table(found), "arguments"))
    )


def message_of(
    exchange: bytes, key: str, found: Mapping[str, Any], body: str, encoding: str
) -> Message:
    """A message that is to be published. Raises Fault, InvalidName, Refused."""
    data = contents.given(body, encoding)
    rest = dict(found)
    headers = contents.table(rest.pop("headers", None))
    return _checked("properties", lambda: given.message_of(exchange, data, key, headers, rest))


def headers_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a message. Raises Fault."""
    return _checked("headers", lambda: given.table(contents.table(found), "headers"))


def _checked(what: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except (TypeError, ValueError) as error:
        raise Fault(BAD_REQUEST, f"{what}: {error}") from None
