"""What a held transaction brings, as one record of the journal.

Messages that become safe together, and together with what is settled in the same batch of the
journal: a batch is whole or absent. Each *body* is one record batch, as it is to stand in the lanes
that it names. Bodies are numbered through the whole store, in the journal's order; a batch in a
lane carries its number where an idempotent producer has its epoch and sequence. So a lane knows
which bodies it has by the last number that it has seen, and what is done again does nothing.

The key is ``H`` and the number of the first body; the value is operations, each a letter::

    L (lanes) (queue | priority)* (size) batch       the next body: it goes to these lanes

Numbers are as in ``broker/packed.py``. A letter that is not known is refused: it may be what the
rest depends on.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.state import LANE_MAX
from logstore.errors import CorruptBatch, SchemaTooNew
from logstore.kept_queues import Lane
from logstore.records.batch import Batch

HELD: Final = b"H"
TO_LANES: Final = b"L"

# No client has it: plain ids lie below, and those with a check above (``producer_ids.py``).
PRODUCER: Final = 2**32 - 1
SEQUENCE_BITS: Final = 31  # of a batch's base sequence; its epoch has the 15 bits above
NUMBER_MAX: Final = (1 << SEQUENCE_BITS + 15) - 1  # 400 years of 5,000 a second
FIRST: Final = 1  # 0: a lane that has none


class Body(NamedTuple):
    """Messages that go the same way."""

    lanes: tuple[Lane, ...]
    batch: Batch  # with its number


def producer_of(number: int) -> tuple[int, int, int]:
    """What the batch of this number has as its producer: id, epoch and base sequence."""
    assert FIRST <= number <= NUMBER_MAX
    return PRODUCER, number >> SEQUENCE_BITS, number & (1 << SEQUENCE_BITS) - 1


def number_of(batch: Batch) -> int:
    """The number of a body; 0: the batch is none."""
    if batch.producer_id != PRODUCER:
        return 0
    return batch.producer_epoch << SEQUENCE_BITS | batch.base_sequence


def held_key(first: int) -> bytes:
    """The key of the record whose first body has this number."""
    return HELD + packed(first)


def first_of(key: bytes) -> int:
    """The reverse of ``held_key``. Raises CorruptStore."""
    data = Packed(key[1:], f"the key {key[:16]!r} of the journal")
    first = data.number()
    if data or not FIRST <= first <= NUMBER_MAX:
        raise data.damaged("is no number of a transaction")
    return first


def encode(bodies: Sequence[Body]) -> bytes:
    """The value of the record."""
    parts: list[bytes | bytearray | memoryview] = []
    for lanes, batch in bodies:
        parts += (TO_LANES, packed(len(lanes)))
        for lane in lanes:
            parts += (packed(lane.queue), bytes((lane.priority,)))
        parts += (packed(batch.size), batch.data)
    return b"".join(parts)


def decode(value: bytes, first: int) -> list[Body]:
    """What ``encode`` was given. Raises CorruptStore, SchemaTooNew."""
    data = Packed(value, f"transaction {first} of the journal")
    found: list[Body] = []
    while data:
        letter = data.byte()
        if letter != ord(TO_LANES):
            raise SchemaTooNew(
                f"transaction {first} of the journal has an operation {bytes((letter,))!r}, which "
                f"this logstore does not know: open the store with the one that wrote it"
            )
        lanes = tuple([Lane(data.number(), data.byte()) for _ in range(data.number())])
        raw = data.bytes(data.number())
        try:
            batch = Batch(raw)
        except CorruptBatch as error:
            raise data.damaged(f"has what is no batch: {error}") from None
        if not lanes or number_of(batch) != first + len(found):
            raise data.damaged(f"has a body that is not the one with number {first + len(found)}")
        found.append(Body(lanes, batch))
    if not found:
        raise data.damaged("brings nothing")
    return found


assert LANE_MAX < 256, "a lane's number is one byte"
