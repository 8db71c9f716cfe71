"""The files of sealed segments: read by path, with their replacements written beside them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.names import LOG, cleaned_stem, segment_stem
from logstore.storage.segment import Indexes, Segment
from logstore.storage.whole_segment import write_segment
from logstore.upkeep.pace import Pace
from logstore.upkeep.work import LogFiles, SegmentPart


class Sealed:
    """The sealed segments of one log. A segment that was trimmed meanwhile reads as empty."""

    def __init__(self, place: LogFiles, disk: Disk, pace: Pace) -> None:
        self._place = place
        self._disk = disk
        self._pace = pace

    @property
    def directory(self) -> str:
        return self._place.directory

    def backwards(self, part: SegmentPart) -> Iterator[tuple[int, Batch]]:
        """Each batch with its position, last first. Raises CorruptBatch, OSError.

        Also raises if the file contains more than its batches, because a rewrite would lose that.
        """
        yield from self._each(part, backwards=True)

    def walk(self, part: SegmentPart) -> Iterator[tuple[int, Batch]]:
        """As ``backwards``, first to last."""
        yield from self._each(part, backwards=False)

    def _each(self, part: SegmentPart, *, backwards: bool) -> Iterator[tuple[int, Batch]]:
        files = OpenFiles(self._disk, 4, write=False)  # of its own: by now the file may be another
        directory, interval = self._place.directory, self._place.interval_bytes
        segment = Segment(directory, part.base_offset, files, Indexes(), interval)
        end = part.end_offset
        walk = segment.backwards(end) if backwards else segment.walk(0, end)
        last = 0
        with closing(files), suppress(FileNotFoundError), files.use(segment.path) as fd:
            # Not found: it was trimmed; if not, the owner finds out.
            for position, batch in walk:
                if backwards and not last and not part.merged:
                    segment.check_ends_at(fd, position + batch.size)
                last = position + batch.size
                self._pace.spend(batch.size)
                yield position, batch
            if not (backwards and last) and not part.merged:
                segment.check_ends_at(fd, last)

    @contextmanager
    def named(self, part: SegmentPart) -> Iterator[None]:
        """A context in which errors about a batch of the part name its file."""
        path = segment_stem(self._place.directory, part.base_offset) + LOG
        try:
            yield
        except CorruptBatch as error:
            if path in str(error):
                raise
            raise type(error)(f"{path}: {error}; run `logstore verify`") from None

    def write(self, base_offset: int, batches: Iterable[Batch]) -> str:
        """Write a synced segment of these batches under a temporary name; returns its stem.

        Raises CorruptBatch, OSError.
        """
        stem = cleaned_stem(self._place.directory, base_offset, os.getpid())
        interval = self._place.interval_bytes
        write_segment(self._disk, stem, base_offset, interval, batches, self._pace.spend)
        return stem
