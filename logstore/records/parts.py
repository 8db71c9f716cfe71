"""A batch's records a part at a time: a batch of a few kilobytes may hold hundreds of megabytes.

``decode`` decodes the records; this module bounds how much of a batch is decompressed at once: at
most a chunk and the beginning of a record.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from logstore.errors import CorruptBatch, OpensTooLarge
from logstore.records.batch import HEADER_BYTES, Batch
from logstore.records.compression import DECOMPRESSED_BYTES_MAX, STEP_BYTES, decompressed
from logstore.records.decode import CUT_OFF, fault_at_end, opened, read, restamped
from logstore.records.reader import Reader
from logstore.records.record import Record
from logstore.records.varint import decoded, signed

PART_BYTES: Final = STEP_BYTES  # a batch of no more bytes is one part
_LENGTH_BYTES: Final = 5  # of a record's length, at most


class Part(NamedTuple):
    """Some records of a batch, and their size in its decompressed bytes."""

    records: list[Record]
    bytes: int


def parts(
    batch: Batch,
    topic: str = "",
    partition: int = 0,
    *,
    check: bool = True,
    bytes_max: int = DECOMPRESSED_BYTES_MAX,
    record_bytes_max: int = DECOMPRESSED_BYTES_MAX,
    part_bytes: int = PART_BYTES,
) -> Iterator[Part]:
    """The records, in order, in parts of about ``part_bytes``.

    Up to a megabyte of the batch is decompressed at a time. A batch of up to ``part_bytes`` is one
    part. A larger record is still whole in its part; one of more than ``record_bytes_max`` bytes is
    not opened. Raises CorruptBatch as ``decode`` does, but yields the records before the fault
    first if the batch has several parts.
    """
    if check:
        batch.check()
    view = memoryview(batch.data)[HEADER_BYTES:]
    chunks = _cut(decompressed(batch.compression, view, bytes_max), part_bytes)
    try:
        first = next(chunks, b"")
        second = next(chunks, None)
    except CorruptBatch as error:
        raise _at(batch, error) from None
    if second is None:
        yield Part(opened(batch, first, topic, partition), len(first))
        return
    reader = Reader(b"", topic, partition, batch.base_offset, batch.base_timestamp_ms)
    both = chain((first, second), chunks)
    first, second = b"", None  # the iterator alone holds them
    try:
        yield from _in_parts(batch, reader, both, record_bytes_max)
    except CorruptBatch as error:
        raise _at(batch, error) from None


def _cut(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    for chunk in chunks:
        if len(chunk) <= most:
            yield chunk
        else:
            yield from (chunk[at : at + most] for at in range(0, len(chunk), most))


def _at(batch: Batch, error: CorruptBatch) -> CorruptBatch:
    return type(error)(f"batch at offset {batch.base_offset}: {error}")


def _in_parts(
    batch: Batch, reader: Reader, chunks: Iterator[bytes], record_bytes_max: int
) -> Iterator[Part]:
    """As ``parts``. Raises CorruptBatch, without the batch's name."""
    left, held = batch.record_count, _Held()
    while left:
        last = not held.fill(chunks)
        reader.go_on(held.take())
        _read_whole(reader, left, last=last)
        if reader.last_offset > batch.last_offset:
            raise CorruptBatch(fault_at_end(batch, reader))
        left -= len(reader.records)
        part = Part(restamped(batch, reader.records), reader.at)
        held.put(reader.data[reader.at :])
        reader.go_on(b"")
        if part.records:
            yield part
        part = Part([], 0)  # the receiver may release it
        if left:
            held.expect(reader.last_offset + 1, record_bytes_max)
    follow = held.size or len(next(chunks, b""))
    if follow:  # the number is not needed: there may be 256 MB
        raise CorruptBatch(f"{follow} bytes or more follow the last record")


class _Held:
    """Decompressed bytes that were not read yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0
        self._needed = 1

    def put(self, rest: bytes) -> None:
        self._pieces = [rest] if rest else []
        self.size = len(rest)

    def expect(self, offset: int, record_bytes_max: int) -> None:
        """Expect the record of this offset next, if none is missing.

        Raises CorruptBatch for a record that is too large.
        """
        self._needed = _needed(b"".join(self._pieces)[:_LENGTH_BYTES], offset, record_bytes_max)
        self._needed = max(self._needed, self.size + 1)

    def fill(self, chunks: Iterator[bytes]) -> bool:
        """Add chunks until the expected record is complete; False if they end before."""
        for chunk in chunks:
            self._pieces.append(chunk)
            self.size += len(chunk)
            if self.size >= self._needed:
                return True
        return False

    def take(self) -> bytes:
        """All bytes, joined."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _needed(data: bytes, offset: int, record_bytes_max: int) -> int:
    """The size of the record at the start of ``data``, as far as ``data`` tells it."""
    try:
        zigzag, at = decoded(data, 0)
    except IndexError:
        return 0
    if zigzag & 1:
        raise CorruptBatch(f"a record has length {signed(zigzag)}")
    if zigzag >> 1 > record_bytes_max:
        raise OpensTooLarge(
            f"the record at offset {offset} has {zigzag >> 1} bytes, decompressed: no more than "
            f"{record_bytes_max} are opened"
        )
    return at + (zigzag >> 1)


def _read_whole(reader: Reader, left: int, *, last: bool) -> None:
    """Read the complete records; with ``last`` there must be ``left`` of them.

    Raises CorruptBatch.
    """
    if last:
        _read(reader, left)
        return
    while len(reader.records) < left and reader.at < len(reader.data):
        try:
            read(reader, left)
        except (IndexError, CorruptBatch):
            # The data end within this record, or it is damaged: report that.
            if not _is_whole(reader.data, reader.at):
                return
            _read(reader, len(reader.records) + 1)


def _read(reader: Reader, count: int) -> None:
    try:
        read(reader, count)
    except IndexError:
        raise CorruptBatch(CUT_OFF) from None


def _is_whole(data: bytes, at: int) -> bool:
    """Whether the record that begins there is complete, by its length."""
    try:
        zigzag, at = decoded(data, at)
    except IndexError:
        return False
    return bool(zigzag & 1) or at + (zigzag >> 1) <= len(data)
