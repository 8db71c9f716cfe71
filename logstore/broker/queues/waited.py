"""Delayed messages at an exchange: the due time of each, and the message when it is due.

The record is that of any queued message. Its own headers contain the delay, counted from the
record's timestamp, so the log alone determines when each is due.
"""

from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.message import DEATHS, EXCHANGE, PROPERTIES, Content, Framed, Framing
from logstore.broker.queues.refusals import InvalidExpiration, InvalidHeader
from logstore.broker.schedules.delays import DELAY, DELIVER_AT, due_of
from logstore.records.record import Record

_INT32: Final = range(-(1 << 31), 1 << 31)


class Waited(NamedTuple):
    """A message that is due."""

    key: bytes
    body: Content
    framed: Framed


def _headers_of(data: bytes) -> dict[str, Any]:
    try:
        return properties.read(data).headers or {}
    except Refusal:  # a record that no door has written
        return {}


def _moment(value: object) -> object:
    return int(value) * 1000 if isinstance(value, fields.Timestamp) else value


def _delay(value: object) -> object:
    return None if isinstance(value, fields.Timestamp) else value


def due_ms(data: bytes, arrived_ms: int) -> int | None:
    """Return when a message with these properties and arrival time is due; None: at once."""
    headers = _headers_of(data)
    return due_of(_delay(headers.get(DELAY)), _moment(headers.get(DELIVER_AT)), arrived_ms)


def due_of_record(record: Record) -> int:
    """Return when the message in this record is due, at the earliest at its arrival."""
    data = next((value for name, value in record.headers if name == PROPERTIES), None)
    found = None if data is None else due_ms(data, record.timestamp_ms)
    return max(0, record.timestamp_ms) if found is None else found


def waited(record: Record, framing: Framing) -> Waited:
    """Return the message as it is published: with a negative delay, as RabbitMQ's plugin does.

    Consumers can thus see that it has waited, and another delaying exchange lets it pass.
    """
    values = {name: value or b"" for name, value in record.headers}
    data, deaths = values.get(PROPERTIES, properties.NONE), values.get(DEATHS, b"")
    exchange = values.get(EXCHANGE, b"")
    due = due_ms(data, record.timestamp_ms)
    if due is not None:
        data = _negated(data, due - record.timestamp_ms)
    try:
        framed = framing.framed(exchange, data, deaths, once=True)
    except (Refusal, InvalidExpiration, InvalidHeader):  # a record that no door has written
        framed = framing.framed(exchange, properties.NONE, deaths, once=True)
    return Waited(record.key or b"", record.value or b"", framed)


def _negated(data: bytes, waited_ms: int) -> bytes:
    value = -waited_ms if -waited_ms in _INT32 else fields.Long(-waited_ms)
    found = properties.read(data)
    headers = dict(found.headers or {})
    if DELIVER_AT not in headers:
        return properties.with_header(data, DELAY, value)
    del headers[DELIVER_AT]
    return properties.write(found._replace(headers={**headers, DELAY: value}))
