"""The ordering key of a queued message, by ``x-ordering-key``. Pure.

A key is converted to a number, which is valid in this process only. Two keys with the same number
count as one, which keeps more messages in order than necessary.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.limits import BY_HEADER, ROUTING_KEY
from logstore.broker.queues.message import PROPERTIES
from logstore.broker.routing.arguments import CLASS_OF_KIND
from logstore.records.record import Record

KeysOf = Callable[[Sequence[Record], int], list[int]]

_CLASS: Final = {ord(letter): name for letter, name in CLASS_OF_KIND.items()}


def keys_of(ordering_key: bytes) -> KeysOf:
    """Return a function that finds the keys of messages. ``ordering_key``: as in ``Limits``.

    It is called with messages of a lane, and the spot of the lane's offset 0: a message without a
    key is in no order, so it gets a unique key.
    """
    if ordering_key == ROUTING_KEY:
        return lambda records, _: [hash(it.key) for it in records]
    name = ordering_key.removeprefix(BY_HEADER)

    def by_header(records: Sequence[Record], base: int) -> list[int]:
        found = []
        for record in records:
            key = key_of(record, name)
            found.append(hash((base + record.offset,)) if key is None else key)
        return found

    return by_header


def key_of(record: Record, header: bytes) -> int | None:
    """Return the key from a header; None: the message lacks it."""
    data = next((value for name, value in record.headers if name == PROPERTIES), None)
    try:
        found = None if data is None else properties.value_of(data, header)
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
