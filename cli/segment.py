"""What stands in one segment file: a ``.log``, an ``.index`` or a ``.timeindex``. Needs no store.

Reads the bytes as they are, one batch at a time, and goes on behind damage where it can.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Literal

from logstore.errors import CorruptBatch
from logstore.records.batch import LENGTH_END, Batch, batch_size
from logstore.records.parts import parts
from logstore.records.record import Record
from logstore.storage.index import OFFSET_ENTRY, TIME_ENTRY

_NAME = re.compile(r"(\d{20})\..+", re.ASCII)
_HEAD_BYTES = LENGTH_END
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Whole:
    """A batch that passes its own checks."""

    position: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what a writer left there."""

    position: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Zeros:
    """The end of the file, zeroed in advance of appends to come: nothing is wrong with it."""

    position: int
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One index entry: an offset, and the position or the timestamp that goes with it."""

    offset: int
    leads_to: Literal["position", "timestamp_ms"]
    value: int


def base_offset(path: Path) -> int | None:
    """The offset in a segment file's name, 20 digits; None for any other name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def batches(file: BinaryIO, lowest: int = 0) -> Iterator[Whole | Damage | Zeros]:
    """The whole contents of a ``.log``, from first to last byte; offsets below ``lowest`` are
    damage.
    """
    end, at = os.fstat(file.fileno()).st_size, 0
    while at < end:
        file.seek(at)
        head = file.read(_HEAD_BYTES)
        try:
            size = batch_size(head, 0)
        except CorruptBatch as error:  # the start of the next batch is unknown
            zeros = not any(head) and _only_zeros(file)
            yield Zeros(at, end - at) if zeros else Damage(at, end - at, str(error))
            return
        if size is None or size > end - at:
            what = "a batch's header" if size is None else f"a batch of {size} bytes"
            yield Damage(at, end - at, f"cut off: {end - at} bytes of {what} are there")
            return
        found = _batch(head + file.read(size - len(head)), at, lowest)
        if isinstance(found, Whole):
            lowest = found.batch.next_offset
        yield found
        at += size


def _batch(data: bytes, position: int, lowest: int) -> Whole | Damage:
    try:
        batch = Batch(data)
        batch.check()
    except CorruptBatch as error:
        return Damage(position, len(data), str(error))
    if batch.base_offset < lowest:
        reason = f"batch at offset {batch.base_offset} stands where {lowest} or more must follow"
        return Damage(position, len(data), reason)
    return Whole(position, batch)


def _only_zeros(file: BinaryIO) -> bool:
    while block := file.read(_BLOCK_BYTES):
        if any(block):
            return False
    return True


def records(found: Whole) -> "Iterator[Record | Damage]":
    """The records of a batch with a valid checksum; its contents may still be invalid."""
    try:
        for part in parts(found.batch, check=False):
            yield from part.records
    except CorruptBatch as error:
        yield Damage(found.position, found.batch.size, str(error))


def index_entries(file: BinaryIO, base: int) -> Iterator[Entry | Damage | Zeros]:
    """The entries of an ``.index``, in which offsets and positions must rise."""
    return _entries(file, OFFSET_ENTRY, lambda pair: Entry(base + pair[0], "position", pair[1]))


def time_entries(file: BinaryIO, base: int) -> Iterator[Entry | Damage | Zeros]:
    """The entries of a ``.timeindex``, in which offsets and timestamps must rise."""
    return _entries(file, TIME_ENTRY, lambda pair: Entry(base + pair[1], "timestamp_ms", pair[0]))


def _entries(
    file: BinaryIO, layout: Struct, meaning: Callable[[tuple[int, int]], Entry]
) -> Iterator[Entry | Damage | Zeros]:
    data = file.read()  # 10 MiB at most (segment.index.bytes), unless it is something else
    whole = len(data) // layout.size
    count = min(-(-len(data.rstrip(b"\0")) // layout.size), whole)  # the rest is zeroed in advance
    last: Entry | None = None
    for at in range(0, count * layout.size, layout.size):
        entry = meaning(layout.unpack_from(data, at))
        if last and (entry.offset <= last.offset or entry.value < last.value):
            yield Damage(at, layout.size, f"offset {entry.offset} or its {entry.leads_to} is lower")
        else:
            yield entry
            last = entry
    if rest := len(data) - whole * layout.size:
        yield Damage(whole * layout.size, rest, f"ends in the middle of entry {whole}")
    elif count < whole:
        yield Zeros(count * layout.size, (whole - count) * layout.size)
