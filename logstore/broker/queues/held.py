"""The messages of a held transaction, as one record of the journal.

These messages become safe together, and together with the settlements in the same batch of the
journal, because a batch is complete or absent. Each *body* is one record batch in its final form
for the lanes that it names, or for a partition of a topic. Bodies are numbered through the whole
store, in the journal's order; a batch in a log carries its number in the fields for an idempotent
producer's epoch and sequence. So a log knows which bodies it has by the last number that it has
seen (a lane by its note, a partition by its ledger of producers), and repeating an append has no
effect.

The key is ``H`` and the number of the first body; the value is a sequence of operations, each with
a letter::

    L (lanes) (queue | priority)* (size) batch       the next body, for these lanes
    T (topic id, 16 bytes) (partition) (size) batch  the next body, for this partition

Numbers are as in ``broker/packed.py``. An unknown letter is refused, because the rest may depend on
it.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.packed import Packed, packed
from logstore.broker.queues.state import LANE_MAX
from logstore.errors import CorruptBatch, SchemaTooNew
from logstore.kept.queues import Lane
from logstore.records.batch import NUMBERED_PRODUCER, Batch

HELD: Final = b"H"
TO_LANES: Final = b"L"
TO_TOPIC: Final = b"T"
TOPIC_ID_BYTES: Final = 16
PARTITION_MAX: Final = 2**31 - 1

# No client has it: plain ids lie below, and those with a check above (``producer_ids.py``).
PRODUCER: Final = NUMBERED_PRODUCER
SEQUENCE_BITS: Final = 31  # of a batch's base sequence; its epoch has the 15 bits above
NUMBER_MAX: Final = (1 << SEQUENCE_BITS + 15) - 1  # 400 years of 5,000 a second
FIRST: Final = 1  # 0: a lane that has none


class Place(NamedTuple):
    """A partition of a topic."""

    topic_id: bytes  # 16 bytes
    partition: int


class Body(NamedTuple):
    """Messages with the same destination."""

    to: tuple[Lane, ...] | Place
    batch: Batch  # with its number


def producer_of(number: int) -> tuple[int, int, int]:
    """Return the batch fields that hold this number: producer id, epoch and base sequence."""
    assert FIRST <= number <= NUMBER_MAX
    return PRODUCER, number >> SEQUENCE_BITS, number & (1 << SEQUENCE_BITS) - 1


def number_of(batch: Batch) -> int:
    """Return the number of a body; 0: the batch is not one."""
    if batch.producer_id != PRODUCER:
        return 0
    return number_from(batch.producer_epoch, batch.base_sequence)


def number_from(epoch: int, sequence: int) -> int:
    """Return the number from a batch's epoch and base sequence."""
    return epoch << SEQUENCE_BITS | sequence


def held_key(first: int) -> bytes:
    """Return the key of the record whose first body has this number."""
    return HELD + packed(first)


def first_of(key: bytes) -> int:
    """Return the number in a key made by ``held_key``. Raises CorruptStore."""
    data = Packed(key[1:], f"the key {key[:16]!r} of the journal")
    first = data.number()
    if data or not FIRST <= first <= NUMBER_MAX:
        raise data.damaged("is not a number of a transaction")
    return first


def encode(bodies: Sequence[Body]) -> bytes:
    """Encode the value of the record."""
    parts: list[bytes | bytearray | memoryview] = []
    for to, batch in bodies:
        if isinstance(to, Place):
            assert len(to.topic_id) == TOPIC_ID_BYTES
            parts += (TO_TOPIC, to.topic_id, packed(to.partition))
        else:
            parts += (TO_LANES, packed(len(to)))
            for lane in to:
                parts += (packed(lane.queue), bytes((lane.priority,)))
        parts += (packed(batch.size), batch.data)
    return b"".join(parts)


def decode(value: bytes, first: int) -> list[Body]:
    """Decode what ``encode`` encoded. Raises CorruptStore, SchemaTooNew."""
    data = Packed(value, f"transaction {first} of the journal")
    found: list[Body] = []
    while data:
        letter = data.bytes(1)
        to: tuple[Lane, ...] | Place
        if letter == TO_LANES:
            to = tuple([Lane(data.number(), data.byte()) for _ in range(data.number())])
        elif letter == TO_TOPIC:
            to = Place(data.bytes(TOPIC_ID_BYTES), data.number())
            if to.partition > PARTITION_MAX:
                raise data.damaged(f"has the partition {to.partition}")
        else:
            raise SchemaTooNew(
                f"transaction {first} of the journal has an operation {letter!r}, which "
                f"this logstore does not know: open the store with the one that wrote it"
            )
        raw = data.bytes(data.number())
        try:
            batch = Batch(raw)
        except CorruptBatch as error:
            raise data.damaged(f"has data that is not a batch: {error}") from None
        if not to or number_of(batch) != first + len(found):
            raise data.damaged(f"has a body that is not the one with number {first + len(found)}")
        found.append(Body(to, batch))
    if not found:
        raise data.damaged("brings nothing")
    return found


assert LANE_MAX < 256, "a lane's number is one byte"
