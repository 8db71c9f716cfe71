"""One record batch v2, undecoded: its header, its checksum, its stamping, the start of the next.

Layout (KIP-98, big-endian), byte by byte::

     0  base offset          8   stamped by the log that takes the batch
     8  length               4   of all bytes after this field
    12  leader epoch         4   stamped by the log
    16  magic                1   2
    17  CRC-32C              4   of all bytes after this field
    21  attributes           2   bits 0-2 compression, 3 LogAppendTime, 4 transactional, 5 control,
                                 6 the base timestamp is a delete horizon (KIP-534)
    23  last offset delta    4   kept by compaction, so it may exceed the records' count
    27  base timestamp       8   ms; records hold deltas to it
    35  max timestamp        8   ms; every record's timestamp under LogAppendTime
    43  producer id          8   -1: none
    51  producer epoch       2
    53  base sequence        4
    57  record count         4
    61  records                  compressed together, if at all

The fields that a log sets are before the CRC and not covered by it, so an append stamps 16 bytes,
changes no others, and computes no CRC. A reader must check what the CRC does not cover: the base
offset against the expected offset, and the length against the available bytes.
"""

from collections.abc import Iterator
from struct import Struct, calcsize

from logstore.errors import CorruptBatch
from logstore.records.compression import Compression
from logstore.records.crc import crc32c

HEADER = Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size  # 61
STAMP = Struct(">qii")  # base offset, length, leader epoch: outside the CRC
LENGTH_AT = 8  # the length field counts the bytes after itself
LENGTH_END = 12
CRC_AT = 17
CRC_COVERS_FROM = 21  # attributes
MAX_TIMESTAMP_AT = 35
PRODUCER_AT = 43
NO_PRODUCER = (-1, -1, -1)  # id, epoch, base sequence
# The producer whose epoch and base sequence number each batch as a whole, and not its records
# (``broker/queues/held.py``).
NUMBERED_PRODUCER = 2**32 - 1
MAGIC = 2
LENGTH_MIN = HEADER_BYTES - LENGTH_END  # 49: a batch whose records were all compacted away
OFFSET_MAX = 2**63 - 1

# Fields that are accessed one by one have the same positions as in the whole header.
assert HEADER_BYTES == 61
assert LENGTH_END == LENGTH_AT + calcsize(">i") == calcsize(">qi")
assert calcsize(">qiib") == CRC_AT
assert CRC_AT + calcsize(">I") == CRC_COVERS_FROM
assert calcsize(">qiibIhiq") == MAX_TIMESTAMP_AT
assert MAX_TIMESTAMP_AT + calcsize(">q") == PRODUCER_AT

COMPRESSION_MASK = 0b0111
LOG_APPEND_TIME = 0b0000_1000
TRANSACTIONAL = 0b0001_0000
CONTROL = 0b0010_0000
DELETE_HORIZON = 0b0100_0000

Buffer = bytes | bytearray | memoryview

_LENGTH = Struct(">i")
_CRC_AND_ATTRIBUTES = Struct(">Ih")
_ATTRIBUTES = Struct(">h")
_TIMESTAMP = Struct(">q")
_PRODUCER = Struct(">qhi")
_COMPRESSIONS = tuple(Compression)
_LAST_COMPRESSION = max(Compression)


class Batch:
    """One complete record batch v2. The records stay bytes; ``decode`` reads them.

    ``Batch(data)`` checks the header and raises CorruptBatch. It does not compute the CRC
    (``check`` does), and keeps ``data`` as it is, so a view must outlive the batch.
    """

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp_ms",
        "crc",
        "data",
        "last_offset_delta",
        "leader_epoch",
        "max_timestamp_ms",
        "producer_epoch",
        "producer_id",
        "record_count",
    )

    base_offset: int
    leader_epoch: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    def __init__(self, data: Buffer) -> None:
        if len(data) < HEADER_BYTES:
            raise CorruptBatch(
                f"batch is cut off: a header has {HEADER_BYTES} bytes, {len(data)} are there"
            )
        self.data = data
        (
            self.base_offset,
            length,
            self.leader_epoch,
            magic,
            self.crc,
            self.attributes,
            self.last_offset_delta,
            self.base_timestamp_ms,
            self.max_timestamp_ms,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            self.record_count,
        ) = HEADER.unpack_from(data)
        if (
            magic != MAGIC
            or length != len(data) - LENGTH_END
            or not 0 <= self.record_count <= self.last_offset_delta + 1
            or self.last_offset_delta < 0
            or not 0 <= self.base_offset <= OFFSET_MAX - 1 - self.last_offset_delta
            or self.attributes & COMPRESSION_MASK > _LAST_COMPRESSION
        ):
            raise CorruptBatch(self._fault(magic, length))

    def _fault(self, magic: int, length: int) -> str:
        name = f"batch at offset {self.base_offset}"
        if magic != MAGIC:
            return f"{name} has magic {magic}, expected {MAGIC}"
        if length != len(self.data) - LENGTH_END:
            return f"{name} has length {length}, expected {len(self.data) - LENGTH_END}"
        if self.attributes & COMPRESSION_MASK > _LAST_COMPRESSION:
            return f"{name} has unknown compression {self.attributes & COMPRESSION_MASK}"
        if not 0 <= self.base_offset <= OFFSET_MAX - 1 - max(self.last_offset_delta, 0):
            return f"{name} with last offset delta {self.last_offset_delta} is outside 0 to 2**63-1"
        return (
            f"{name} has {self.record_count} records and last offset delta"
            f" {self.last_offset_delta}, expected 0 <= records <= delta + 1"
        )

    def __repr__(self) -> str:
        return (
            f"<Batch {self.base_offset}..{self.last_offset} {self.record_count} records"
            f" {self.size} bytes {self.compression.name.lower()}>"
        )

    @property
    def size(self) -> int:
        """The size of the whole batch in bytes, including the header."""
        return len(self.data)

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> Compression:
        return _COMPRESSIONS[self.attributes & COMPRESSION_MASK]

    @property
    def is_log_append_time(self) -> bool:
        """Whether every record's timestamp is the batch's max timestamp (KIP-32)."""
        return self.attributes & LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def delete_horizon_ms(self) -> int | None:
        """The time from which on compaction may remove it (KIP-534); None if not decided."""
        return self.base_timestamp_ms if self.attributes & DELETE_HORIZON else None

    def check(self) -> None:
        """Compare the CRC-32C over attributes to end. Raises CorruptBatch."""
        found = crc32c(memoryview(self.data)[CRC_COVERS_FROM:])
        if found != self.crc:
            raise CorruptBatch(
                f"batch at offset {self.base_offset} has CRC {found:#010x},"
                f" expected {self.crc:#010x}"
            )

    def stamped(self, base_offset: int, leader_epoch: int = 0) -> tuple[bytes, memoryview]:
        """The batch in its stored form: 16 new bytes and a view of the rest, for one pwritev."""
        head = STAMP.pack(base_offset, len(self.data) - LENGTH_END, leader_epoch)
        return head, memoryview(self.data)[STAMP.size :]

    def with_base_offset(self, base_offset: int, leader_epoch: int = 0) -> "Batch":
        """A stamped copy."""
        return Batch(b"".join(self.stamped(base_offset, leader_epoch)))


def batch_size(buffer: Buffer, at: int) -> int | None:
    """The size of the whole batch at ``at``, by its length field, including the header.

    None if fewer than 12 bytes are available. Raises CorruptBatch for a length below 49.
    """
    if len(buffer) - at < LENGTH_END:
        return None
    length: int = _LENGTH.unpack_from(buffer, at + LENGTH_AT)[0]
    if length < LENGTH_MIN:
        raise CorruptBatch(f"batch has length {length}, expected at least {LENGTH_MIN}")
    return length + LENGTH_END


def transaction_of(buffer: Buffer) -> tuple[int, int] | None:
    """The producer's id and epoch if the batch is transactional; the batch may otherwise be
    invalid.
    """
    if len(buffer) < HEADER_BYTES:
        return None
    [attributes] = _ATTRIBUTES.unpack_from(buffer, CRC_COVERS_FROM)
    if not attributes & TRANSACTIONAL:
        return None
    producer_id, epoch, _ = _PRODUCER.unpack_from(buffer, PRODUCER_AT)
    return producer_id, epoch


def split(buffer: Buffer, at: int = 0) -> Iterator[Batch]:
    """The consecutive batches of ``buffer`` from ``at``: views, not copies.

    An incomplete last batch ends the iteration silently: a fetch response and the tail of a file
    may both end within a batch. Raises CorruptBatch as ``Batch`` and ``batch_size`` do.
    """
    view = memoryview(buffer)
    while (size := batch_size(view, at)) is not None and at + size <= len(view):
        yield Batch(view[at : at + size])
        at += size


def restamp(batch: Batch, timestamp_ms: int) -> Batch:
    """A copy under LogAppendTime (KIP-32): every record's timestamp is ``timestamp_ms``.

    The attribute, the maximum timestamp and the CRC change; the records, even compressed, do not.
    """
    return _with_time(batch, batch.attributes | LOG_APPEND_TIME, timestamp_ms)


def with_max_timestamp(batch: Batch, timestamp_ms: int) -> Batch:
    """A copy under CreateTime, whose header has this maximum timestamp."""
    return _with_time(batch, batch.attributes & ~LOG_APPEND_TIME, timestamp_ms)


def _with_time(batch: Batch, attributes: int, max_timestamp_ms: int) -> Batch:
    data = bytearray(batch.data)
    _ATTRIBUTES.pack_into(data, CRC_COVERS_FROM, attributes)
    _TIMESTAMP.pack_into(data, MAX_TIMESTAMP_AT, max_timestamp_ms)
    crc = crc32c(memoryview(data)[CRC_COVERS_FROM:])
    _CRC_AND_ATTRIBUTES.pack_into(data, CRC_AT, crc, attributes)
    return Batch(data)


def anonymous(batch: Batch) -> Batch:
    """A copy without its producer, for a log in which the producer's id would mean another one.

    The copy belongs to no transaction. The header and the CRC change; the records do not.
    """
    return with_producer(batch, NO_PRODUCER)


def with_producer(batch: Batch, producer: tuple[int, int, int]) -> Batch:
    """A copy with this producer: id, epoch, base sequence. It belongs to no transaction."""
    data, attributes = bytearray(batch.data), batch.attributes & ~TRANSACTIONAL
    _ATTRIBUTES.pack_into(data, CRC_COVERS_FROM, attributes)
    _PRODUCER.pack_into(data, PRODUCER_AT, *producer)
    crc = crc32c(memoryview(data)[CRC_COVERS_FROM:])
    _CRC_AND_ATTRIBUTES.pack_into(data, CRC_AT, crc, attributes)
    return Batch(data)
