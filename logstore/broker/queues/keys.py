"""The key of a queued message: what ``x-ordering-key`` says that it is. Pure.

A key is a number made of its text or value, for this process only. Two keys that come to the same
number are one key, which keeps more messages in order than has to be.
"""

from collections.abc import Callable
from typing import Final

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.limits import BY_HEADER, ROUTING_KEY
from logstore.broker.queues.message import PROPERTIES
from logstore.broker.routing.arguments import CLASS_OF_KIND
from logstore.records.record import Record

KeyOf = Callable[[Record], int | None]  # None: it has none, and stands in no order

_CLASS: Final = {ord(letter): name for letter, name in CLASS_OF_KIND.items()}


def key_of(ordering_key: bytes) -> KeyOf:
    """How the key of a message is found. ``ordering_key``: as in ``Limits``."""
    if ordering_key == ROUTING_KEY:
        return _routing_key
    name = ordering_key.removeprefix(BY_HEADER)
    return lambda record: _header(record, name)


def _routing_key(record: Record) -> int:
    return hash(record.key or b"")


def _header(record: Record, name: bytes) -> int | None:
    data = next((value for header, value in record.headers if header == PROPERTIES), None)
    try:
        found = None if data is None else properties.value_of(data, name)
    except Refusal:  # a record that no door has written
        return None
    if found is None:
        return None
    kind, value = found
    name_of_kind = _CLASS[kind]
    if name_of_kind == "text":
        return hash(value)
    if name_of_kind == "integer":  # of whatever width, as AMQP compares them
        return hash((name_of_kind, fields.number(kind, value)))
    return None if name_of_kind == "void" else hash(found)
