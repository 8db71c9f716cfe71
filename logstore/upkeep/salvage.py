"""Salvage: finds every intact batch of a damaged segment, and the offsets that are lost.

Unlike all other readers, it continues after bytes that it cannot read: it searches for the next
position with a plausible header, a correct checksum and readable records. The base offset is
outside the checksum, so it may be wrong. The longest sequence of batches in order is believed, and
a batch between them that exactly fills a gap gets the offset of the gap.
"""

import mmap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from logstore.errors import CorruptBatch
from logstore.records.batch import LENGTH_END, LENGTH_MIN, MAGIC, Batch
from logstore.records.latest import recorded

_MAGIC_AT = 16
_MAGIC_BYTE = bytes((MAGIC,))
OFFSETS_MOST = 2**31  # a segment's offsets are within so many: indexes hold 31 bits


@dataclass(frozen=True, slots=True)
class Intact:
    """A batch that passes its own checks and follows the batches before it."""

    position: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Lost:
    """Offsets that no intact batch holds; ``last`` None: their number is unknown."""

    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The readable content of a segment's file."""

    intact: tuple[Intact, ...]
    lost: tuple[Lost, ...]
    bytes_lost: int  # which are no part of an intact batch; zeros written ahead do not count


def salvage(data: bytes | mmap.mmap, base_offset: int) -> Salvaged:
    """Salvage a segment whose name says ``base_offset``."""
    whole = list(_whole_batches(data, base_offset))
    intact = _restored(whole, _longest_chain(whole))
    ends = [base_offset, *(it.batch.next_offset for it in intact)]
    gaps = zip(ends, (it.batch.base_offset for it in intact), strict=False)
    lost = [Lost(end, start - 1) for end, start in gaps if start > end]
    behind = intact[-1].position + intact[-1].batch.size if intact else 0
    bytes_lost = len(data) - sum(it.batch.size for it in intact)
    if not any(data[behind:]):
        bytes_lost -= len(data) - behind
    else:
        lost.append(Lost(ends[-1], None))
    return Salvaged(tuple(intact), tuple(lost), bytes_lost)


def _whole_batches(data: bytes | mmap.mmap, base_offset: int) -> Iterator[Intact]:
    """All batches that pass their own checks, with an offset that the segment may contain."""
    place = _next_place(data, 0, base_offset)
    while place is not None:
        at = place + 1
        with suppress(CorruptBatch):  # that is what is looked for: a place where it is not raised
            batch = Batch(data[place : place + LENGTH_END + _length(data, place)])
            batch.check()
            recorded(batch)
            yield Intact(place, batch)
            at = place + batch.size
        place = _next_place(data, at, base_offset)


def _next_place(data: bytes | mmap.mmap, at: int, base_offset: int) -> int | None:
    """The next position from ``at`` on with a plausible header."""
    while (found := data.find(_MAGIC_BYTE, at + _MAGIC_AT)) >= 0:
        at = found - _MAGIC_AT
        offset = int.from_bytes(data[at : at + 8], "big")
        room = len(data) - at - LENGTH_END
        if offset - base_offset in range(OFFSETS_MOST) and LENGTH_MIN <= _length(data, at) <= room:
            return at
        at += 1
    return None


def _length(data: bytes | mmap.mmap, at: int) -> int:
    return int.from_bytes(data[at + 8 : at + LENGTH_END], "big", signed=True)


def _longest_chain(whole: Sequence[Intact]) -> list[int]:
    """The longest sequence of batches that begin at or after the end of the one before."""
    ends: list[int] = []  # of the chains of each length, the lowest
    last: list[int] = []  # the place that this chain ends with
    before: list[int | None] = []
    for place, it in enumerate(whole):
        length = bisect_right(ends, it.batch.base_offset)
        before.append(last[length - 1] if length else None)
        if length == len(ends):
            ends.append(it.batch.next_offset)
            last.append(place)
        elif it.batch.next_offset < ends[length]:
            ends[length], last[length] = it.batch.next_offset, place
    chain: list[int] = []
    at = last[-1] if last else None
    while at is not None:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def _restored(whole: Sequence[Intact], chain: list[int]) -> list[Intact]:
    """The sequence, with batches between two of its members whose records exactly fill the gap."""
    intact = [whole[place] for place in chain[:1]]
    for before, after in pairwise(chain):
        left, right = whole[before].batch, whole[after].batch
        between = whole[before + 1 : after]
        if len(between) == 1:
            stray, gap = between[0], right.base_offset - left.next_offset
            if gap == stray.batch.last_offset_delta + 1:
                batch = Batch(bytes(stray.batch.data)).with_base_offset(left.next_offset)
                intact.append(Intact(stray.position, batch))
        intact.append(whole[after])
    return intact
