"""Deliveries on the link between nodes: a record batch v2, as in a lane.

The owner reads a record and converts it for the consumer; the result is sent as the same kind of
record, which the other node converts again with its cache of headers. Redelivered messages are
named beside the batch; the number of deliveries is in their properties.
"""

from collections.abc import Sequence
from typing import Final

from logstore.broker.queues.message import EXCHANGE, PROPERTIES, Delivery, Showing
from logstore.errors import BrokenProtocol, CorruptBatch
from logstore.records.batch import Batch
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import Columns, encode_columns, header_section
from logstore.relay.messages import Buffer

CARRIED_MAX: Final = 4096  # messages of one frame: more than a queue gives out at once
REMEMBERED_MAX: Final = 1024  # headers, of one link
REMEMBERED_BYTES_MAX: Final = 1024  # longer ones are hardly sent twice


class Carrying:
    """Encodes the deliveries of an owner; remembers the headers of the latest ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], bytes] = {}

    def batch(self, deliveries: Sequence[Delivery]) -> bytes:
        """Encode the deliveries, at least one, as a batch."""
        section = self._section
        columns = Columns(
            [it.body for it in deliveries],
            [it.key for it in deliveries],
            (),
            [it.time_ms for it in deliveries],
        )
        sections = [section(it.exchange, it.properties) for it in deliveries]
        return bytes(encode_columns(columns, sections=sections).data)

    def _section(self, exchange: bytes, properties: bytes) -> bytes:
        known = self._known.get((exchange, properties))
        if known is None:
            known = header_section(((EXCHANGE, exchange), (PROPERTIES, properties)))
            if len(properties) <= REMEMBERED_BYTES_MAX:
                if len(self._known) >= REMEMBERED_MAX:
                    self._known.clear()
                self._known[exchange, properties] = known
        return known


def again(deliveries: Sequence[Delivery]) -> bytes:
    """Return a bit mask of the redelivered messages: bit n is for the n-th. Empty:
    there are none.
    """
    found = bytearray((len(deliveries) + 7) // 8)
    for number, it in enumerate(deliveries):
        if it.redelivered:
            found[number >> 3] |= 1 << (number & 7)
    return bytes(found.rstrip(b"\0"))


def deliveries(batch: Buffer, again: bytes, showing: Showing) -> list[Delivery]:
    """Decode what ``Carrying.batch`` and ``again`` encoded. Raises BrokenProtocol."""
    try:
        found = Batch(batch)
        count = found.record_count
        if found.compression is not Compression.NONE or not 0 < count <= CARRIED_MAX:
            raise BrokenProtocol(f"a batch of the link has {count} records, or is compressed")
        records = decode(found)
    except CorruptBatch as error:
        raise BrokenProtocol(f"a batch of the link: {error}") from None
    if len(again) > (count + 7) // 8:
        raise BrokenProtocol("more messages of the link come again than there are")
    bits = int.from_bytes(again, "little")
    shown_of = showing.shown
    shown = [shown_of(it.headers) for it in records]
    return [
        Delivery(
            its.exchange, it.key or b"", its.deliver, it.value or b"", bool(bits >> n & 1),
            it.timestamp_ms,
        )
        for n, (it, its) in enumerate(zip(records, shown, strict=True))
    ]  # fmt: skip
