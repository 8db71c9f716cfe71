"""The arguments of a stream's consumer. Pure.

x-stream-offset             where the consumer begins (``places.py``)
x-stream-filter             a text, or several: only messages whose header
                            ``x-stream-filter-value`` is one of these
x-stream-match-unfiltered   true: also messages without that header
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from logstore.broker.policies import STREAM
from logstore.broker.queues.refusals import (
    InvalidConsumerArgument,
    NotOfStreams,
    NotOfType,
    Unlimited,
)
from logstore.broker.queues.streams.places import ARGUMENT, Begin, begin_of
from logstore.broker.queues.subscription import Subscription
from logstore.broker.routing.arguments import Arguments, Field
from logstore.records.record import Record

FILTER: Final = b"x-stream-filter"
UNFILTERED: Final = b"x-stream-match-unfiltered"
VALUE: Final = "x-stream-filter-value"
# Of consumers of queues; they would mean nothing here.
_OF_QUEUES: Final = (b"x-priority", b"x-cancel-on-ha-failover", b"x-consumer-timeout")
FILTERS_MAX: Final = 1000  # texts of one consumer


class Filter(NamedTuple):
    """The records that a consumer wants."""

    values: Collection[bytes]
    unfiltered: bool

    def wants(self, record: Record) -> bool:
        found = [value for name, value in record.headers if name == VALUE]
        return any(it in self.values for it in found) if found else self.unfiltered


class Asked(NamedTuple):
    """All options of a consumer."""

    begin: Begin
    filter: Filter | None


def asked(stream: bytes, subscription: Subscription, now_ms: int) -> Asked:
    """Return what the consumer asks for, checked in RabbitMQ's order.

    Raises NotOfType, InvalidConsumerArgument; Unlimited, NotOfStreams.
    """
    arguments = subscription.arguments
    for name in _OF_QUEUES:
        if arguments.get(name) is not None:
            raise NotOfType(stream, name, STREAM)
    found = Asked(begin_of(stream, arguments.get(ARGUMENT), now_ms), _filter(stream, arguments))
    if not subscription.prefetch:
        raise Unlimited(stream)
    if subscription.no_ack:
        raise NotOfStreams(stream, "automatic acknowledgement")
    return found


def _filter(stream: bytes, arguments: Arguments) -> Filter | None:
    field, also = arguments.get(FILTER), arguments.get(UNFILTERED)
    if also is not None and also.kind != "t":
        raise InvalidConsumerArgument(stream, UNFILTERED, also, "no_boolean")
    if field is None:
        return None
    those = field.value if field.kind == "A" else (field,)
    if len(those) > FILTERS_MAX or not all(_is_text(it) for it in those):
        raise InvalidConsumerArgument(stream, FILTER, field, "invalid_stream_filter_arg")
    return Filter(frozenset(it.value for it in those), also is not None and also.value)


def _is_text(field: Field) -> bool:
    return field.kind == "S"
