"""The id of a message, by its properties. Pure."""

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.broker.deduplication.headers import MESSAGE_ID
from logstore.broker.deduplication.ids import id_of
from logstore.broker.deduplication.present import NONE, Mark
from logstore.broker.queues.message import Looked, Showing
from logstore.broker.routing.arguments import CLASS_OF_KIND
from logstore.broker.routing.once_exchange import NO_IDS
from logstore.broker.routing.properties import Properties
from logstore.records.batch import Batch
from logstore.records.decode import decode


def id_in(properties: Properties, header: str) -> bytes | None:
    """The id of a message with these properties; None: it has none.

    Values are equal as AMQP has it: 1 is neither 1.0 nor "1"; a header that is there and void is
    an id, too.
    """
    if header == MESSAGE_ID:
        found = properties.message_id
        return None if found is None else id_of(b"text:" + found)
    field = properties.headers.get(fields.data(header))
    if field is None:
        return None
    name = CLASS_OF_KIND[field.kind]
    if name in NO_IDS:
        return None
    value = field.value if isinstance(field.value, bytes) else repr(field.value).encode()
    return id_of(name.encode() + b":" + value)


def marks_of(batch: Batch, header: str, showing: Showing) -> list[Mark]:
    """What is remembered of each offset of a batch of a lane. Raises CorruptBatch."""
    marks = [Mark(None, 0, NONE)] * (batch.last_offset_delta + 1)
    for record in decode(batch, check=False):
        shown = showing.shown(record.headers)
        try:
            it = id_in(Looked(shown.properties), header)
        except Refusal:  # a record that no door has written
            it = None
        own = NONE if shown.expiration_ms is None else shown.expiration_ms
        marks[record.offset - batch.base_offset] = Mark(it, record.timestamp_ms, own)
    return marks
