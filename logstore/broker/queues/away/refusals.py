"""Sends an owner's errors over the link, so that the same error is raised at the other node.

An error is sent as its kind and its facts. An error that is not in the table is sent as the nearest
base class in the table, with its text.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.broker.queues.refusals import (
    ExclusiveUse,
    InvalidConsumerArgument,
    Locked,
    NotOfStreams,
    NotOfType,
    NoVhost,
    SingleActive,
)
from logstore.broker.queues.tables import field_of, value_of
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import (
    BrokenProtocol,
    Damaged,
    Failed,
    LogFailed,
    LogstoreError,
    NotOwned,
    Refused,
    StorageFull,
)
from logstore.relay import messages

TEXT_BYTES_MAX: Final = 2000


class _Row(NamedTuple):
    facts: Callable[[Any], tuple[bytes, ...]]
    made: Callable[..., LogstoreError]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _argument(error: InvalidConsumerArgument) -> tuple[bytes, ...]:
    value = fields.table({"": value_of(error.received)})
    return error.queue, error.argument, value, error.fault.encode()


def _invalid(queue: bytes, argument: bytes, value: bytes, fault: bytes) -> LogstoreError:
    table, _ = fields.read_table(value, 0)
    if not table:
        raise BrokenProtocol("an argument that was refused has no value")
    received = field_of(next(iter(table.values())))
    return InvalidConsumerArgument(queue, argument, received, _text(fault))


def _of_queue(kind: type[Any]) -> _Row:
    return _Row(lambda error: (error.queue,), kind)


def _worded(kind: type[LogstoreError]) -> _Row:
    return _Row(lambda error: (str(error).encode()[:TEXT_BYTES_MAX],), lambda it: kind(_text(it)))


_ROWS: Final[dict[type[LogstoreError], _Row]] = {
    **{
        kind: _of_queue(kind)
        for kind in (ExclusiveUse, SingleActive, Locked, NoQueue)
    },
    NoVhost: _Row(lambda error: (error.vhost,), NoVhost),
    NotOfType: _Row(
        lambda error: (error.queue, error.argument, error.type_name.encode()),
        lambda queue, argument, type_name: NotOfType(queue, argument, _text(type_name)),
    ),
    NotOfStreams: _Row(
        lambda error: (error.queue, error.act.encode()),
        lambda queue, act: NotOfStreams(queue, _text(act)),
    ),
    InvalidConsumerArgument: _Row(_argument, _invalid),
    **{
        kind: _worded(kind)
        for kind in (StorageFull, LogFailed, Failed, Damaged, NotOwned, Refused)
    },
}  # fmt: skip
_BY_NAME: Final = {kind.__name__.encode(): row for kind, row in _ROWS.items()}


def told(id: int, error: LogstoreError) -> messages.Refused:
    """Encode the error for the link."""
    for kind in type(error).__mro__:
        row = _ROWS.get(kind)
        if row is not None:
            return messages.Refused(id, kind.__name__.encode(), row.facts(error))
    return messages.Refused(id, Failed.__name__.encode(), _worded(Failed).facts(error))


def error_of(given: messages.Refused) -> LogstoreError:
    """Return the error to raise here. Raises BrokenProtocol."""
    row = _BY_NAME.get(given.kind)
    if row is None:  # of a later version
        return Failed(_text(given.facts[0]) if given.facts else _text(given.kind))
    try:
        return row.made(*given.facts)
    except (TypeError, ValueError, Refusal):
        raise BrokenProtocol(f"an error {_text(given.kind)!r} without its facts") from None
