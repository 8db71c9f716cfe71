"""Finds the id of a message in its properties. Pure."""

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.deduplication.headers import MESSAGE_ID, NO_IDS
from logstore.broker.deduplication.ids import id_of
from logstore.broker.deduplication.present import NONE, Mark
from logstore.broker.queues.message import Showing
from logstore.broker.queues.tables import field_of
from logstore.broker.routing.arguments import CLASS_OF_KIND
from logstore.records.batch import Batch
from logstore.records.decode import decode


def id_in(data: bytes, header: str) -> bytes | None:
    """Return the id of a message with these properties; None: it has none.

    Values are compared as in AMQP: 1 is neither 1.0 nor "1"; a void header is an id too. Raises
    Refusal for illegal properties.
    """
    found = properties.read(data)
    if header == MESSAGE_ID:
        return None if found.message_id is None else id_of(b"text:" + fields.data(found.message_id))
    if found.headers is None or header not in found.headers:
        return None
    value = found.headers[header]
    if type(value) is str:  # nearly all of them
        return id_of(b"text:" + fields.data(value))
    field = field_of(value)
    name = CLASS_OF_KIND[field.kind]
    if name in NO_IDS:
        return None
    known = field.value if isinstance(field.value, bytes) else repr(field.value).encode()
    return id_of(name.encode() + b":" + known)


def marks_of(batch: Batch, header: str, showing: Showing) -> list[Mark]:
    """Return the remembered mark of each offset of a lane's batch. Raises CorruptBatch."""
    marks = [Mark(None, 0, NONE)] * (batch.last_offset_delta + 1)
    for record in decode(batch, check=False):
        shown = showing.shown(record.headers)
        try:
            it = id_in(shown.properties, header)
        except Refusal:  # a record that no door has written
            it = None
        own = NONE if shown.expiration_ms is None else shown.expiration_ms
        marks[record.offset - batch.base_offset] = Mark(it, record.timestamp_ms, own)
    return marks
