"""Checks the content of requests about queues: body, names, tables and properties."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from logstore.amqp.fields import text
from logstore.broker.queues import given
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.arguments import Arguments
from logstore.errors import InvalidName
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.replies import contents

if TYPE_CHECKING:
    from logstore.broker.queues.message import Message

_T = TypeVar("_T")

TABLES_BYTES_MAX: Final = 64 << 10  # of a request that is nothing but names and tables
# They travel in one frame, of which a client takes 128 KiB as a rule.
PROPERTIES_BYTES_MAX: Final = (128 << 10) - 64


def asked(call: Call, kind: type[_T]) -> _T:
    """The request's body; an empty body means all defaults. Raises Fault."""
    return call.json(kind) if call.given.strip() else _default(call, kind)


def _default(call: Call, kind: type[_T]) -> _T:
    try:
        return kind()
    except TypeError:  # something has no default
        return call.json(kind)


def name_of(data: bytes) -> bytes:
    """The name of a queue or an exchange. Raises InvalidName if it is too long."""
    return given.name_of(text(data))


def name_in(found: str) -> bytes:
    """As ``name_of``, from a body. Raises InvalidName."""
    return given.name_of(found)


def new_name(data: bytes) -> bytes:
    """As ``name_of``, for a new object. Also raises InvalidName if AMQP cannot express it."""
    if b"\r" in data or b"\n" in data:
        raise InvalidName(f"a name with line ends ({text(data)[:20]!r}): AMQP clients can't use it")
    return name_of(data)


def table_of(found: Mapping[str, Any]) -> Arguments:
    """The arguments of a queue, an exchange or a binding. Raises Fault."""
    return _checked(
        "arguments", lambda: arguments_of(given.table(contents.table(found), "arguments"))
    )


def message_of(
    exchange: bytes, key: str, found: Mapping[str, Any], body: str, encoding: str
) -> "Message":
    """The message to publish. Raises Fault, InvalidName, Refused."""
    data = contents.given(body, encoding)
    rest = dict(found)
    headers = contents.table(rest.pop("headers", None))
    wanted = _checked("properties", lambda: given.message_of(exchange, data, key, headers, rest))
    if len(wanted.properties) > PROPERTIES_BYTES_MAX:
        raise Fault(
            BAD_REQUEST,
            f"properties of {len(wanted.properties)} bytes: AMQP clients accept at most"
            f" {PROPERTIES_BYTES_MAX}",
        )
    return wanted


def headers_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a message. Raises Fault."""
    return _checked("headers", lambda: given.table(contents.table(found), "headers"))


def _checked(what: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except (TypeError, ValueError) as error:
        raise Fault(BAD_REQUEST, f"{what}: {error}") from None
