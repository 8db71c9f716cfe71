"""The segments of one log, in order: finds and reads across them. Knows nothing of syncing."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from logstore.errors import CorruptBatch
from logstore.log import Aborted
from logstore.records.batch import Batch
from logstore.storage.aborted_index import ABORTED_ENTRY, AbortedIndex
from logstore.storage.extent import Extent
from logstore.storage.files import OpenFiles
from logstore.storage.index import NO_TIMESTAMP
from logstore.storage.names import (
    INDEX,
    LOG,
    TIMEINDEX,
    TXNINDEX,
    parse_aborted,
    parse_segment,
    segment_stem,
)
from logstore.storage.segment import EVERYTHING, Indexes, Segment, SegmentFacts


class Fresh(NamedTuple):
    """Notes about aborted transactions that may not be durable yet."""

    bases: frozenset[int]  # segments
    unnamed: bool  # a file was made, and its name may not be durable


class Chain:
    """Segments by base offset."""

    def __init__(
        self,
        directory: str,
        files: OpenFiles,
        indexes: Indexes,
        interval: int,
        *,
        gaps_below: Callable[[], int],
        times_doubtful_below: Callable[[], int] = lambda: 0,
        merged: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        """``gaps_below()``: compaction may have taken offsets below; a gap above it is damage.

        ``times_doubtful_below()``: the time entries of segments that begin below it may lack
        batches whose headers have no maximum timestamp. ``merged()``: the base offset of a merged
        segment, and the offset below which its original segments may still exist.
        """
        self.directory = directory
        self.gaps_below = gaps_below
        self._times_doubtful_below = times_doubtful_below
        self._merged = merged
        self._files = files
        self._indexes = indexes
        self.interval = interval  # bytes between two index entries of segments opened from now on
        self._segments: dict[int, Segment] = {}
        self.bases: list[int] = []  # replaced, never changed in place: readers hold on to theirs
        # Of segments that have any, by base offset, rising; None: not loaded. Replaced, likewise.
        self._aborted: dict[int, AbortedIndex | None] = {}
        self._unnamed = False  # such a file was made, and its name is not durable
        self._fresh: set[int] = set()  # segments with entries that may not be durable
        self.refresh()

    def refresh(self) -> bool:
        """List the directory again; returns whether anything changed."""
        names = self._files.disk.list(self.directory)
        bases = sorted(base for name in names if (base := parse_segment(name)) is not None)
        before = self.bases
        known = set(bases)
        aborted = sorted(base for name in names if (base := parse_aborted(name)) in known)
        if aborted != list(self._aborted):
            self._aborted = {base: self._aborted.get(base) for base in aborted}
        if bases == before:
            return False
        for base in set(self._segments) - set(bases):
            segment = self._segments.pop(base, None)
            if segment is not None:  # else another thread has looked, too
                self._indexes.forget(segment)
        gone = set(before) - set(bases)
        for base in {bases[bisect_right(bases, base) - 1] for base in gone if base > bases[0]}:
            self.renew(base)  # what is gone from behind it was merged into it
        self.bases = bases
        return True

    @property
    def listed(self) -> tuple[list[int], list[int]]:
        """The segments, and those with aborted transactions, as listed last."""
        return self.bases, list(self._aborted)

    def segment(self, base_offset: int) -> Segment:
        segment = self._segments.get(base_offset)
        if segment is None:
            segment = self._segments[base_offset] = Segment(
                self.directory, base_offset, self._files, self._indexes, self.interval
            )
        return segment

    def renew(self, base_offset: int) -> None:
        """The segment's files were replaced: forget everything known about the old ones."""
        old = self._segments.pop(base_offset, None)
        if old is not None:
            self._indexes.forget(old)
        stem = segment_stem(self.directory, base_offset)
        for ending in (LOG, INDEX, TIMEINDEX, TXNINDEX):
            self._files.forget(stem + ending)  # until then a reader may have opened the old one
        if base_offset in self._aborted:
            self._aborted = {**self._aborted, base_offset: None}

    def put(self, stem: str, bases: Sequence[int], aborts_gone: Container[int] = ()) -> None:
        """Rename a rewritten segment to the first of these; the others still exist.

        It gets the age of the youngest of them. ``aborts_gone``: markers that it lacks. Raises
        OSError.
        """
        disk, first = self._files.disk, self.segment(bases[0])
        paths = [self.segment(base).path for base in bases]
        disk.set_modified(stem + LOG, max(map(disk.modified_ms, paths)))
        self._put_aborted(stem, bases, aborts_gone)
        try:
            for ending in (LOG, INDEX, TIMEINDEX):  # an index of the old file is found out
                disk.rename(stem + ending, first.stem + ending)
        finally:
            self.renew(bases[0])

    def _put_aborted(self, stem: str, bases: Sequence[int], aborts_gone: Container[int]) -> None:
        """Store the aborted transactions of all of these segments in the first one.

        Done before the batches are replaced: an entry whose marker does not exist yet hides
        nothing, nor does an entry without remaining records. An entry that outlives its marker
        would hide records that its producer wrote later. Raises OSError.
        """
        known = list(self._entries(bases))
        found = [it for it in known if it.last not in aborts_gone]
        if len(found) == len(known) and len(bases) == 1:
            return
        first = segment_stem(self.directory, bases[0]) + TXNINDEX
        rest = {base: it for base, it in self._aborted.items() if base != bases[0]}
        if found:
            index = AbortedIndex(self._files, stem)
            index.put(found)
            self._files.sync(index.path)
            self._files.forget(index.path)
            self._files.disk.rename(index.path, first)
            rest[bases[0]] = None
        elif bases[0] in self._aborted:
            with suppress(FileNotFoundError):  # there was no room for it
                self._files.disk.remove(first)
        self._files.forget(first)
        self._aborted = dict(sorted(rest.items()))
        if len(found) < len(known):
            self._files.disk.sync_directory(self.directory)

    def count_gone(self, bases: Sequence[int], aborts_gone: Container[int]) -> int:
        """The number of entries in these segments with one of these markers. Raises OSError,
        CorruptBatch.
        """
        return sum(it.last in aborts_gone for it in self._entries(bases))

    def _entries(self, bases: Sequence[int]) -> Iterator[Aborted]:
        for base in bases:
            if base in self._aborted:
                yield from self._in(base).since(0, self._following(base))

    def _following(self, base: int) -> int:
        """Where the next segment begins. An interrupted merge leaves the entries of the others in
        this one.

        These have no meaning there, like its batches: compaction may have removed their markers
        since.
        """
        bases = self.bases
        place = bisect_right(bases, base)
        return bases[place] if place < len(bases) else EVERYTHING

    def let_go(self) -> None:
        """Remove the segments' data from memory."""
        for segment in self._segments.values():
            self._indexes.forget(segment)
        self._segments.clear()
        self._aborted = dict.fromkeys(self._aborted)

    def add(self, base_offset: int) -> Segment:
        """Add a new last segment with empty files."""
        assert not self.bases or base_offset > self.bases[-1]
        segment = self.segment(base_offset)
        try:
            segment.create()
        except BaseException:  # Ctrl-C, too
            self._segments.pop(base_offset, None)
            segment.remove()  # half a segment would end the chain at the wrong offset
            raise
        self.bases = [*self.bases, base_offset]
        return segment

    def drop(self, bases: list[int]) -> None:
        """Remove these segments and their files. Raises OSError."""
        dropped = [self.segment(base) for base in bases]
        self.bases = [base for base in self.bases if base not in bases]
        assert self.bases, "the segment that is written stays"
        for segment in dropped:
            self._segments.pop(segment.base_offset, None)
            segment.remove()
            if segment.base_offset in self._aborted:
                with suppress(FileNotFoundError):  # there was no room for it
                    self._files.disk.remove(segment.stem + TXNINDEX)
                self._files.forget(segment.stem + TXNINDEX)
        if not self._aborted.keys().isdisjoint(bases):
            self._aborted = {base: it for base, it in self._aborted.items() if base not in bases}

    # What was aborted

    def _in(self, base: int) -> AbortedIndex:
        """The loaded aborted index of one segment. Raises OSError, CorruptBatch."""
        index = self._aborted[base]
        if index is None:
            index = self._aborted[base] = AbortedIndex(
                self._files, segment_stem(self.directory, base)
            )
        return index

    def aborted(self, at: int, below: int, most: int, *, refresh: bool = False) -> list[Aborted]:
        """As Log.aborted. ``refresh``: another process writes. Raises OSError, CorruptBatch."""
        first = self.bases[self.holding(at)] if self._aborted else 0
        found: list[Aborted] = []
        for base in self._aborted:
            if base < first:
                continue
            index = self._in(base)
            if refresh and not index.refresh():
                self._files.forget(index.path)
                self._aborted[base] = None
                index = self._in(base)
            for entry in index.since(at, self._following(base)):
                if entry.first < below:
                    found.append(entry)
                if entry.stable >= below or len(found) == most:
                    return found
        return found

    def note_aborted(self, entry: Aborted) -> None:
        """Add an entry after all others. Raises OSError: it is known, but not in the file."""
        base = self.bases[self.holding(entry.last)]
        if base not in self._aborted:
            index = AbortedIndex(self._files, segment_stem(self.directory, base))
            self._aborted = dict(sorted({**self._aborted, base: index}.items()))
            self._unnamed = True
        self._fresh.add(base)
        self._in(base).note(entry)

    def take_fresh(self) -> Fresh:
        """The entries to sync before other processes use them. Raises OSError: the disk is full."""
        for base in self._fresh & self._aborted.keys():  # others were trimmed, or merged
            self._in(base).save()
        fresh = Fresh(frozenset(self._fresh), self._unnamed)
        self._fresh, self._unnamed = set(), False
        return fresh

    def put_back(self, fresh: Fresh) -> None:
        """Return entries that could not be synced."""
        self._fresh.update(fresh.bases)
        self._unnamed = self._unnamed or fresh.unnamed

    def paths_of(self, fresh: Fresh) -> list[str]:
        """The paths of the files, some of which may have been trimmed."""
        return [segment_stem(self.directory, base) + TXNINDEX for base in sorted(fresh.bases)]

    def sync(self, fresh: Fresh) -> None:
        """Sync these files. Raises OSError."""
        try:
            for path in self.paths_of(fresh):
                with suppress(FileNotFoundError):
                    self._files.sync(path)
            if fresh.unnamed:
                self._files.disk.sync_directory(self.directory)
        except BaseException:
            self.put_back(fresh)
            raise

    def cut_aborted(self, offset: int) -> None:
        """Forget entries whose marker is at or above this offset, until they are noted again.

        Then ``end_aborted`` is called. Raises OSError, CorruptBatch.
        """
        for base in list(self._aborted)[::-1]:
            self._in(base).cut(offset)
            if base <= offset:
                return

    def end_aborted(self) -> None:
        """Remove from the files what was not noted again; all is durable then. Raises OSError."""
        for base, index in self._aborted.items():
            if index is not None and index.end():
                self._fresh.add(base)
        self.sync(self.take_fresh())

    def count_aborted(self, below: int, bases: Collection[int] | None = None) -> int:
        """The number of entries whose marker is below this offset, in these segments or all. Raises
        OSError.
        """
        return sum(
            self._size_of_aborted(base)
            if index is None
            else index.count(min(below, self._following(base)))
            for base, index in self._aborted.items()
            if bases is None or base in bases
        )

    def _size_of_aborted(self, base: int) -> int:
        path = segment_stem(self.directory, base) + TXNINDEX
        try:
            return self._files.disk.size(path) // ABORTED_ENTRY.size
        except FileNotFoundError:  # there was no room for it
            return 0

    def end_merge(self, base: int) -> None:
        """Forget the entries that an interrupted merge has left beside this segment.

        Then ``end_aborted`` is called. Raises OSError, CorruptBatch.
        """
        if base in self._aborted:
            self._in(base).cut(self._following(base))

    def drop_strays(self) -> None:
        """Remove the aborted indexes of segments that no longer exist. Raises OSError."""
        for name in self._files.disk.list(self.directory):
            base = parse_aborted(name)
            if base is not None and base not in self.bases:
                self._files.disk.remove(f"{self.directory}/{name}")
                self._files.forget(f"{self.directory}/{name}")

    def restart_aborted(self) -> None:
        """Begin to note all entries again; ``end_aborted`` is called afterwards."""
        self._aborted = {
            base: AbortedIndex(self._files, segment_stem(self.directory, base), load=False)
            for base in self._aborted
        }

    def holding(self, offset: int) -> int:
        """The index in ``bases`` of the segment that contains this offset."""
        return max(bisect_right(self.bases, offset) - 1, 0)

    def path_of(self, offset: int) -> str:
        """The file that contains this offset; the directory if there is none."""
        bases = self.bases
        return self.segment(bases[self.holding(offset)]).path if bases else self.directory

    def read(self, at: int, bytes_max: int, below: int) -> list[Batch]:
        """As Log.read; empty if the files have nothing at or after ``at``."""
        bases = self.bases
        for place in range(self.holding(at), len(bases)):
            following = bases[place + 1] if place + 1 < len(bases) else EVERYTHING
            batches = self.segment(bases[place]).read(at, bytes_max, min(below, following))
            if batches:
                self._check_gaps(batches, at)
                return batches
            if following >= below:
                break
            if at < following:
                self._check_missing(at, following, bases[place])
        return []

    def _check_missing(self, at: int, following: int, base: int) -> None:
        """Raises CorruptBatch if offsets at the end of this sealed segment should exist.

        Compaction may have removed them, but it leaves only whole batches in a file.
        """
        self.check_gap(at, following)
        merged_base, merged_below = self._merged()
        if base != merged_base or following >= merged_below:
            self.segment(base).check_end(at, following)

    def extent(self, at: int, bytes_max: int, below: int, end: int | None) -> Extent | None:
        """As Log.extent, within one segment. ``end``: the position of ``below`` in the last
        segment.
        """
        bases, place = self.bases, self.holding(at)
        last = place + 1 == len(bases)
        limit = below if last else min(below, bases[place + 1])
        if limit == below and (end is None or not last):
            return None  # where the batches below end is not known
        return self.segment(bases[place]).extent(at, bytes_max, limit, end if last else None)

    def _check_gaps(self, batches: list[Batch], at: int) -> None:
        expected = at
        for batch in batches:
            if batch.base_offset > expected:
                self.check_gap(expected, batch.base_offset)
            expected = batch.next_offset

    def check_gap(self, first: int, following: int) -> None:
        """Raises CorruptBatch if these offsets should exist."""
        if following > self.gaps_below():
            raise self.lost(first, following)

    def lost(self, at: int, below: int) -> CorruptBatch:
        """The error for acknowledged offsets that no file contains."""
        if not self.bases:
            return CorruptBatch(
                f"{self.directory}: offsets {at} to {below - 1} are missing: no segment holds them"
            )
        path = self.segment(self.bases[self.holding(at)]).path
        return CorruptBatch(
            f"{path}: offsets {at} to {below - 1} are missing; run `logstore verify`"
        )

    def find(
        self, timestamp_ms: int, start: int, below: int, *, damaged: bool = False
    ) -> int | None:
        """The offset of the first record from ``start`` on with this time or a later one.

        ``damaged``: as Log.find.
        """
        doubtful_below = self._times_doubtful_below()
        for base, following in pairwise([*self.bases, EVERYTHING]):
            if base >= below:
                break
            if following <= start:
                continue
            segment, limit = self.segment(base), min(below, following)
            if base < doubtful_below:
                segment.settle_times()
            try:
                may_hold = segment.max_timestamp(limit) >= timestamp_ms
            except CorruptBatch:
                if not damaged:
                    raise
                may_hold = True
            if may_hold:
                found = segment.find(timestamp_ms, start, limit, damaged=damaged)
                if found is not None:
                    return found
        return None

    def facts(self, end: int, *, timed: bool) -> list[SegmentFacts]:
        """The facts of every segment, the last one up to ``end``; with ``timed``, also timestamps.

        Raises CorruptBatch, OSError.
        """
        disk, found = self._files.disk, []
        for base, following in pairwise([*self.bases, EVERYTHING]):
            path = self.segment(base).path
            facts = SegmentFacts(
                path, base, min(following, end), disk.size(path), NO_TIMESTAMP,
                disk.modified_ms(path), active=following == EVERYTHING,
            )  # fmt: skip
            found.append(self.timed(facts) if timed else facts)
        return found

    def timed(self, facts: SegmentFacts) -> SegmentFacts:
        """The facts with the largest timestamp, which is read from the files."""
        segment = self.segment(facts.base_offset)
        if facts.base_offset < self._times_doubtful_below():
            segment.settle_times()
        largest = segment.max_timestamp(facts.end_offset)
        return replace(facts, max_timestamp_ms=largest)

    def bytes(self, end: int) -> int:
        """The size of the batches below ``end``, without zeros written ahead. Raises OSError."""
        if not self.bases:
            return 0
        *sealed, last = self.bases
        sizes = (self._files.disk.size(self.segment(base).path) for base in sealed)
        return sum(sizes) + self.segment(last).data_bytes(end)
