"""Computes what a rewrite would leave without writing anything, for dry runs.

The usual work runs on the sealed segments, but only the sizes of its results are noted. At most
``LOOKED_BYTES_MAX`` bytes are examined, so that the caller does not wait long.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from logstore.records.batch import Batch
from logstore.storage.disk import Disk
from logstore.upkeep.compaction import first_pass
from logstore.upkeep.pace import Pace
from logstore.upkeep.recompression import recompressed
from logstore.upkeep.sealed import Sealed
from logstore.upkeep.work import Cleaned, Compacting, SegmentPart, Step, Tried, Trying

# Of a log: each takes two seconds or less. Recompression takes four times as long a byte.
LOOKED_BYTES_MAX: Final = 256 << 20
RECOMPRESSED_BYTES_MAX: Final = 64 << 20


class Trial(Sealed):
    """Sealed segments of which some are examined and none is written."""

    def __init__(self, work: Trying, disk: Disk, pace: Pace) -> None:
        super().__init__(work.place, disk, pace)
        # Compaction goes backwards; what it would write, it reads once more.
        self._newest_first = isinstance(work.work, Compacting)
        self._left = LOOKED_BYTES_MAX if self._newest_first else RECOMPRESSED_BYTES_MAX
        self.whole = True  # so far
        self.looked = 0  # bytes
        self.written = 0

    def _each(self, part: SegmentPart, *, backwards: bool) -> Iterator[tuple[int, Batch]]:
        for position, batch in super()._each(part, backwards=backwards):
            if backwards is self._newest_first:
                if self.looked >= self._left:
                    self.whole = False
                    return
                self.looked += batch.size
            yield position, batch

    def write(self, base_offset: int, batches: Iterable[Batch]) -> str:
        """Note how many bytes the segment would have. Raises CorruptBatch, OSError."""
        self.written += sum(it.size for it in batches)
        return ""


def tried(work: Trying, sealed: Trial) -> Iterator[Step]:
    """The result of a dry run, at its end. Raises CorruptBatch, OSError."""
    if not isinstance(work.work, Compacting):
        yield from (it for it in recompressed(work.work, sealed) if not isinstance(it, Cleaned))
        yield Tried(sealed.looked, sealed.written, 0, sealed.whole)
        return
    bytes_of = {it.base_offset: it.bytes for it in work.work.parts}
    rewritten = removed = 0
    steps = first_pass(work.work, sealed)
    while True:
        try:
            step = next(steps)
        except StopIteration as ended:
            whole = sealed.whole and ended.value
            break
        if isinstance(step, Cleaned):
            rewritten += bytes_of[step.bases[0]]
            removed += step.records_removed
        else:
            yield step
    yield Tried(rewritten, sealed.written, removed, whole)
