"""One segment: a .log file and its indexes. Knows nothing of other segments."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import Final, Literal

from logstore.errors import CorruptBatch
from logstore.records.batch import HEADER_BYTES, LENGTH_END, LENGTH_MIN, MAGIC, Batch
from logstore.records.latest import latest, recorded
from logstore.records.parts import parts
from logstore.storage.cold import PROBE_EVERY
from logstore.storage.disk import Disk
from logstore.storage.extent import EXTENT_BYTES_MIN, Extent
from logstore.storage.files import OpenFiles
from logstore.storage.index import NO_TIMESTAMP, Index
from logstore.storage.names import INDEX, LOG, TIMEINDEX, segment_stem

EVERYTHING: Final = 2**63 - 1  # as `below`: no offset is out of bounds
CHUNK_BYTES: Final = 1 << 20  # a walk's reads: larger ones gain nothing
INDEX_INTERVAL_BYTES: Final = 4096  # Kafka's default
READ_BYTES_MIN: Final = 16 << 10  # a read has batches to step over before the one asked for
PLACES_KEPT: Final = 16  # of a segment: readers in it that go on where they were

MAGIC_END: Final = 17  # of a batch's head

_PREFIX = Struct(">qi")  # base offset, length


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """The facts by which upkeep decides."""

    path: str
    base_offset: int
    end_offset: int  # the next segment's base offset, or the log's end
    bytes: int
    max_timestamp_ms: int  # NO_TIMESTAMP without batches
    written_ms: int  # when the file was last written
    active: bool  # still appended to


class Indexes:
    """The indexes in memory, up to a number of bytes; the least recently used is dropped first."""

    def __init__(self, bytes_max: int = 32 << 20) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._loaded: OrderedDict[Segment, int] = OrderedDict()
        self._lock = threading.Lock()

    def loaded(self, segment: "Segment", memory_bytes: int) -> None:
        """The segment has loaded its index, or uses it again."""
        with self._lock:
            self._bytes += memory_bytes - self._loaded.pop(segment, 0)
            self._loaded[segment] = memory_bytes
            while self._bytes > self._bytes_max and len(self._loaded) > 1:
                oldest, oldest_bytes = self._loaded.popitem(last=False)
                self._bytes -= oldest_bytes
                oldest.drop_index()

    def forget(self, segment: "Segment") -> None:
        with self._lock:
            self._bytes -= self._loaded.pop(segment, 0)


class Segment:
    """The batches from ``base_offset`` on, in the order of their offsets.

    Each operation reads through one open file from its beginning to its end, so it sees one file,
    even if another is renamed over it meanwhile.
    """

    __slots__ = (
        "_files",
        "_index",
        "_indexes",
        "_interval_bytes",
        "_learning",
        "_max_timestamp",
        "_places",
        "_seen",
        "_times",
        "_written",
        "base_offset",
        "path",
        "pinned",
        "stem",
    )

    def __init__(
        self, directory: str, base_offset: int, files: OpenFiles, indexes: Indexes, interval: int
    ) -> None:
        self.base_offset = base_offset
        self.stem = segment_stem(directory, base_offset)
        self.path = self.stem + LOG
        self.pinned = False  # its index stays in memory: it is being appended to
        self._files = files
        self._indexes = indexes
        self._interval_bytes = interval
        self._index: Index | None = None
        self._learning = threading.Lock()
        self._max_timestamp: tuple[int, int] | None = None  # (below, timestamp)
        self._times: Literal["unknown", "right", "made anew"] = "unknown"  # its time entries
        # Between these positions this process has written or walked every header.
        self._seen = (0, 0)
        self._places: dict[int, int] = {}  # where the batch of an offset begins, of a few
        self._written = 0  # where the last batch ends that this process has put here, if any

    # The index

    @property
    def index(self) -> Index:
        """The index, loaded at first use. It may be incomplete, and is never trusted unchecked."""
        index = self._index
        if index is None:
            index = Index.load(self._files, self.stem, self.base_offset, self._interval_bytes)
            self._index = index
            self._indexes.loaded(self, index.memory_bytes)
        return index

    def drop_index(self) -> None:
        if not self.pinned:
            self._index = None
            if self._times == "made anew":  # those in the file are not
                self._times = "unknown"

    def restart_index(self) -> Index:
        """Replace a doubtful index by an empty one."""
        self._index = Index(self.base_offset, self._interval_bytes)
        return self._index

    def rebuild_index(self, below: int, *, sealed: bool, by_records: bool = False) -> None:
        """Rebuild both index files from the batches below ``below``, and sync them.

        ``by_records``: use the records' timestamps, whatever the headers claim. A damaged segment
        is indexed as far as it can be read. Raises OSError.
        """
        newest = _recorded if by_records else latest
        index = Index(self.base_offset, self._interval_bytes)
        with suppress(CorruptBatch):  # whoever reads it is told, or asked for this knowing it
            for position, batch in self.walk(0, below):
                index.note(position, batch.size, batch.last_offset, newest(batch))
        if sealed:
            index.note_largest()
        with self._learning:
            self._index, self._times, self._max_timestamp = index, "right", None
            index.replace(self._files, self.stem)
        for ending in (INDEX, TIMEINDEX):
            self._files.sync(self.stem + ending)

    def note(self, position: int, batch: Batch, last_offset: int) -> None:
        """Index the batch at ``position``; a reader may be indexing the ones before it."""
        with self._learning:
            self.index.note(position, batch.size, last_offset, latest(batch))
        self._written = position + batch.size
        self._see(position, self._written)

    def save_index(self) -> None:
        """Write the entries that the index files lack. Raises OSError."""
        with self._learning:
            self.index.save(self._files, self.stem)

    def _learn(self, walked: list[tuple[int, Batch]]) -> None:
        """Index the batches that the index lacks."""
        index = self.index
        last_position, last = walked[-1]
        self._see(walked[0][0], last_position + last.size)
        if walked[0][0] <= index.covered < last_position + last.size:
            with self._learning:
                for position, batch in walked:
                    index.note(position, batch.size, batch.last_offset, latest(batch))
            self._indexes.loaded(self, index.memory_bytes)

    def _see(self, begin: int, end: int) -> None:
        first, last = self._seen
        if begin <= last and end >= first:
            self._seen = min(first, begin), max(last, end)
        elif end - begin > last - first:
            self._seen = begin, end

    # Reading

    def extent(self, at: int, bytes_max: int, below: int, end: int | None) -> Extent | None:
        """As Log.extent. ``end``: where the batches below ``below`` end; None: with the file.

        Only from bytes whose headers this process has checked, and that are in the page cache.
        """
        if end is not None and end - self._indexed(at) < EXTENT_BYTES_MIN:
            return None  # a reader at the end of the log asks so for each batch
        first, last = self._seen
        file = self._files.use(self.path)
        kept = False
        try:
            begin = self._begin_of(file.fd, at)
            if begin is None or begin < first:
                return None
            if end is None:
                end = self._files.disk.size_of(file.fd)
            stop, following = end, below
            if end > begin + bytes_max:
                stop, following = self._last_begin(file.fd, begin + bytes_max)
            size = stop - begin
            if size < EXTENT_BYTES_MIN or stop > last or following > below:
                return None
            if not self._files.disk.cached(file.fd, begin, size, PROBE_EVERY):
                return None
            kept = self._files.lend(file)
            if not kept:
                return None
            self._keep_place(following, stop)
            return Extent(file, begin, size, following)
        finally:
            if not kept:
                self._files.release(file)

    def ends_soon_after(self, at: int) -> bool:
        """Whether so little follows that an extent is not worthwhile, as far as known."""
        place = self._places.get(at)
        return place is not None and 0 < self._written < place + EXTENT_BYTES_MIN

    def _begin_of(self, fd: int, at: int) -> int | None:
        """The position of the batch that begins with ``at``; None if it is not easily found."""
        place = self._places.get(at)
        if place is not None and self._begins(fd, place, at):
            return place
        if not self._files.disk.cached(fd, self._indexed(at), READ_BYTES_MIN, PROBE_EVERY):
            return None
        position = self._position_of(fd, at)
        now = self._files.must_not_wait()
        walked, _ = self._chunk(fd, position, READ_BYTES_MIN, EVERYTHING, self.base_offset, now=now)
        return next((it for it, batch in walked if batch.base_offset == at), None)

    def _begins(self, fd: int, position: int, at: int) -> bool:
        """Whether a batch that begins with ``at`` is there.

        False if the file was swapped between this segment's check and ``fd``.
        """
        head = self._files.disk.read(fd, MAGIC_END, position)
        return len(head) == MAGIC_END and head[-1] == MAGIC and _PREFIX.unpack_from(head)[0] == at

    def _last_begin(self, fd: int, position: int) -> tuple[int, int]:
        """The last indexed batch that begins at or before ``position``: its position and offset."""
        entry = self.index.floor_position(position)
        if entry is None or not self._leads_to(fd, entry[1], entry[0]):
            return 0, 0
        head = self._files.disk.read(fd, _PREFIX.size, entry[1])
        return entry[1], _PREFIX.unpack(head)[0]

    def _keep_place(self, offset: int, position: int) -> None:
        self._places[offset] = position
        while len(self._places) > PLACES_KEPT:
            # Another thread may have taken it out just now.
            self._places.pop(next(iter(self._places), offset), None)

    def read(self, at: int, bytes_max: int, below: int) -> list[Batch]:
        """Whole batches from the one with ``at`` (or the next), which begin below ``below``.

        At least one if there is one, then up to ``bytes_max`` bytes. Raises CorruptBatch, and
        NotHere in the thread that must not wait.
        """
        wanted = max(bytes_max, READ_BYTES_MIN)
        with self._files.use(self.path) as fd:
            now = self._files.must_not_wait()
            walked = self._from_place(fd, at, wanted, below, now=now)
            walked = walked or self._from_index(fd, at, wanted, below, now=now)
        if not walked:
            return []
        self._learn(walked)
        found = _first_bytes([it for it in walked if it[1].last_offset >= at], bytes_max)
        if self.pinned:  # its file is not swapped for another, and its readers go on from there
            position, last = found[-1]
            self._keep_place(last.next_offset, position + last.size)
        return [batch for _, batch in found]

    def _from_place(
        self, fd: int, at: int, wanted: int, below: int, *, now: bool
    ) -> list[tuple[int, Batch]]:
        """Batches from where the reader of the preceding ones has stopped; empty if that is
        unknown.
        """
        position = self._places.get(at) if self.pinned else None
        if position is None:
            return []
        size = self._there(fd, position, wanted)
        if now:
            self._files.check_here(self.path, fd, position, size)
        try:
            walked, _ = self._chunk(fd, position, size, below, at, now=now)
        except CorruptBatch:
            return []  # who comes from the index is told
        return walked if walked and walked[0][1].base_offset == at else []

    def _from_index(
        self, fd: int, at: int, wanted: int, below: int, *, now: bool
    ) -> list[tuple[int, Batch]]:
        """One chunk of batches, at least the last of which is not below ``at``."""
        here = -1  # what stands there is known to be in the page cache
        if now:
            here = self._indexed(at)
            self._files.check_here(self.path, fd, here, self._there(fd, here, wanted))
        position, expected = self._position_of(fd, at), self.base_offset
        while True:
            size = self._there(fd, position, wanted)
            if now and position != here:
                self._files.check_here(self.path, fd, position, size)
            walked, position = self._chunk(fd, position, size, below, expected, now=now)
            if not walked or walked[-1][1].last_offset >= at:
                return walked
            self._learn(walked)
            expected = walked[-1][1].next_offset

    def _there(self, fd: int, position: int, wanted: int) -> int:
        """How many bytes are worth requesting: none after the last batch."""
        end = self._written or self._files.disk.size_of(fd)
        return min(wanted, max(end - position, READ_BYTES_MIN))

    def walk(
        self, position: int = 0, below: int = EVERYTHING, *, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[tuple[int, Batch]]:
        """Each batch with its position, from one that starts at ``position``.

        Ends at the end of the file, or at zeros written ahead. Raises CorruptBatch for anything
        else.
        """
        with self._files.use(self.path) as fd:
            yield from self._walk(fd, position, below, chunk_bytes)

    def _walk(
        self, fd: int, position: int, below: int, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[tuple[int, Batch]]:
        expected = self.base_offset
        while True:
            walked, position = self._chunk(fd, position, chunk_bytes, below, expected)
            if not walked:
                return
            expected = walked[-1][1].next_offset
            yield from walked

    def backwards(self, below: int) -> Iterator[tuple[int, Batch]]:
        """Each batch with its position, the last one below ``below`` first.

        Raises CorruptBatch, OSError.
        """
        with self._files.use(self.path) as fd:
            positions, sizes = array("q"), array("q")
            for position, batch in self._walk(fd, 0, below):
                positions.append(position)
                sizes.append(batch.size)
            for position, size in zip(reversed(positions), reversed(sizes), strict=True):
                yield position, Batch(self._files.disk.read(fd, size, position))

    def last_offset(self) -> int:
        """The offset of the last record; below the base offset without any. Raises CorruptBatch,
        OSError.
        """
        last = self.base_offset - 1
        with self._files.use(self.path) as fd:
            for _, batch in self._walk(fd, self._position_of(fd, EVERYTHING - 1), EVERYTHING):
                last = batch.last_offset
        return last

    def end_position(self, below: int) -> int:
        """The end of the last batch that begins below ``below``. Raises CorruptBatch, OSError."""
        end = 0
        with self._files.use(self.path) as fd:
            for position, batch in self._walk(fd, self._position_of(fd, below - 1), below):
                end = position + batch.size
        return end

    def data_bytes(self, below: int) -> int:
        """The size of its batches below an offset, without zeros; of the file if it is damaged.

        Raises OSError.
        """
        with self._files.use(self.path) as fd:
            end = self._position_of(fd, below)
            try:
                for position, batch in self._walk(fd, end, below):
                    end = position + batch.size
            except CorruptBatch:
                return self._files.disk.size(self.path)
            return end

    def check_end(self, at: int, below: int) -> None:
        """For a sealed segment: check that its batches from ``at`` to ``below`` end with the file.

        Raises CorruptBatch, because further bytes may be batches that no one can find; OSError.
        """
        end = 0
        with self._files.use(self.path) as fd:
            for position, batch in self._walk(fd, self._position_of(fd, at), below):
                end = position + batch.size
            self.check_ends_at(fd, end)

    def check_ends_at(self, fd: int, position: int) -> None:
        """Raises CorruptBatch."""
        if left := self._files.disk.size_of(fd) - position:
            sentence = f"{left} bytes that are not a batch of this log; run `logstore verify`"
            raise self._corrupt(position, sentence)

    def position_of(self, at: int) -> int:
        """The position from which to search for ``at``; a misleading index is rebuilt."""
        with self._files.use(self.path) as fd:
            return self._position_of(fd, at)

    def _indexed(self, at: int) -> int:
        """The position from which to search for ``at``, by the index."""
        entry = self.index.floor(at)
        return 0 if entry is None else entry[1]

    def _position_of(self, fd: int, at: int) -> int:
        entry = self.index.floor(at)
        if entry is None:
            return 0
        last_offset, position = entry
        if self._leads_to(fd, position, last_offset):
            return position
        self.restart_index()
        return 0

    def _leads_to(self, fd: int, position: int, last_offset: int) -> bool:
        head = self._files.disk.read(fd, HEADER_BYTES, position)
        if len(head) < HEADER_BYTES:
            return False
        base, _ = _PREFIX.unpack_from(head)
        delta = int.from_bytes(head[23:27], "big", signed=True)
        return head[16] == 2 and base + delta == last_offset

    def _chunk(
        self, fd: int, position: int, size: int, below: int, expected: int, *, now: bool = False
    ) -> tuple[list[tuple[int, Batch]], int]:
        """The whole batches in one read from ``position`` on, and the position after them.

        ``now``: do not wait for a batch that is larger than the read, either.

        An error is raised only if no whole batch precedes it, so that preceding batches are read
        first.
        """
        data = self._files.disk.read(fd, size, position)
        walked: list[tuple[int, Batch]] = []
        view, count, at = memoryview(data), len(data), 0
        while count - at >= LENGTH_END:
            base, length = _PREFIX.unpack_from(data, at)
            if base >= below or (length == 0 and base == 0):
                break
            end = at + LENGTH_END + length
            if end > count:
                if walked:
                    break
                data = self._one(fd, position, length, now)
                view, count, end = memoryview(data), len(data), len(data)
            try:
                batch = Batch(view[at:end])
            except CorruptBatch as error:
                if walked:
                    break
                raise self._corrupt(position + at, str(error)) from None
            if base < expected:
                if walked:
                    break
                sentence = f"batch has base offset {base}, expected at least {expected}"
                raise self._corrupt(position + at, sentence)
            expected = base + batch.last_offset_delta + 1
            if expected > below:
                if walked:
                    break
                reaches = f"batch at offset {base} goes on to {expected - 1}"
                sentence = f"{reaches}, expected {below - 1} at most"
                raise self._corrupt(position + at, sentence)
            walked.append((position + at, batch))
            at = end
        else:
            if at < count and not walked and any(data[at:]):
                raise self._corrupt(position, f"{count - at} bytes are left: too few for a batch")
        return walked, position + at

    def _one(self, fd: int, position: int, length: int, now: bool) -> bytes:
        """The bytes of one batch that is larger than the read that found it."""
        left = self._files.disk.size_of(fd) - position
        if not LENGTH_MIN <= length <= left - LENGTH_END:
            sentence = f"batch has length {length}, but {left} bytes are left in the file"
            raise self._corrupt(position, sentence)
        if now:
            self._files.check_here(self.path, fd, position, LENGTH_END + length)
        return self._files.disk.read(fd, LENGTH_END + length, position)

    def _corrupt(self, position: int, sentence: str) -> CorruptBatch:
        return CorruptBatch(f"{self.path} at position {position}: {sentence}")

    # Timestamps

    def max_timestamp(self, below: int) -> int:
        """The largest timestamp (ms) of the batches below ``below``; NO_TIMESTAMP without any.

        The last time entry may be missing, so the batches after the last one are read, once.
        """
        if self._max_timestamp is not None and self._max_timestamp[0] == below:
            return self._max_timestamp[1]
        floor = self.index.floor_time(EVERYTHING, below)
        known, last_offset = floor or (NO_TIMESTAMP, self.base_offset)
        walked = self._walk_from(last_offset, known, below)
        largest = max((latest(batch) for _, batch in walked), default=NO_TIMESTAMP)
        if (floor := self.index.floor_time(EVERYTHING, below)) is not None:
            largest = max(largest, floor[0])  # by the records, where a header says less
        self._max_timestamp = below, largest
        return largest

    def settle_times(self) -> bool:
        """Make time entries use the records where headers cannot be right.

        Done once. Returns True if there are such batches: the entries in memory are right then,
        those in the file perhaps not (``rebuild_index``). Raises OSError.
        """
        if self._times == "unknown":
            index, as_claimed = Index(self.base_offset, self._interval_bytes), True
            with suppress(CorruptBatch):  # whoever reads on from there is told
                for position, batch in self.walk():
                    newest = latest(batch)
                    as_claimed = as_claimed and newest == batch.max_timestamp_ms
                    index.note(position, batch.size, batch.last_offset, newest)
            self._times = "right" if as_claimed else "made anew"
            if not as_claimed:
                with self._learning:
                    self._index = index
                self._indexes.loaded(self, index.memory_bytes)
        return self._times == "made anew"

    def find(
        self, timestamp_ms: int, start: int, below: int, *, damaged: bool = False
    ) -> int | None:
        """The offset of the first record from ``start`` on with this time or a later one.

        ``damaged``: or the offset of an unreadable batch that may contain it. Raises CorruptBatch.
        """
        floor = self.index.floor_time(timestamp_ms, below)
        known, last_offset = floor or (NO_TIMESTAMP, self.base_offset)
        # The batch of the next entry is looked into, even if its header says less.
        named = self.index.ceiling_time(timestamp_ms)
        at = max(self.base_offset, start)
        try:
            for position, batch in self._walk_from(last_offset, known, below):
                at = max(batch.base_offset, start)
                if batch.last_offset >= start and (
                    latest(batch) >= timestamp_ms or batch.last_offset == named
                ):
                    found = self._first_in(position, batch, timestamp_ms, start)
                    if found is not None:
                        return found
                at = max(batch.next_offset, start)
        except CorruptBatch:  # the batch at ``at``, or the way to it and to all that follow
            if damaged:
                return at
            raise
        return None

    def _first_in(self, position: int, batch: Batch, timestamp_ms: int, start: int) -> int | None:
        try:
            return _first_from(batch, timestamp_ms, start)
        except CorruptBatch as error:
            raise self._corrupt(position, f"{error}; run `logstore verify`") from None

    def _walk_from(
        self, offset: int, max_timestamp_ms: int, below: int
    ) -> Iterator[tuple[int, Batch]]:
        """Read from the batch that a time entry names; from the start if it names none."""
        with self._files.use(self.path) as fd:
            position = self._position_of(fd, offset)
            if max_timestamp_ms != NO_TIMESTAMP:
                walk = self._walk(fd, position, below)
                named = next((b for _, b in walk if b.last_offset >= offset), None)
                if named is None or not _is_latest(named, max_timestamp_ms):
                    self.restart_index()
                    position = 0
            expected = self.base_offset
            while True:
                walked, position = self._chunk(fd, position, CHUNK_BYTES, below, expected)
                if not walked:
                    return
                expected = walked[-1][1].next_offset
                self._learn(walked)
                yield from walked

    # Files

    def create(self) -> None:
        """Create the files empty, whatever existed there. The caller syncs the directory."""
        with self._files.use(self.path, create=True) as fd:
            self._files.disk.truncate(fd, 0)
        self.restart_index().replace(self._files, self.stem)

    def remove(self) -> None:
        """Remove the files; open readers continue. Raises OSError."""
        self._indexes.forget(self)
        for path in (self.path, self.stem + INDEX, self.stem + TIMEINDEX):
            with suppress(FileNotFoundError):
                self._files.disk.remove(path)
            self._files.forget(path)  # after: a reader may have opened it until then


def _recorded(batch: Batch) -> int:
    try:
        return recorded(batch)
    except CorruptBatch:
        return latest(batch)


def _is_latest(batch: Batch, timestamp_ms: int) -> bool:
    """Whether this is the batch's largest timestamp: by the header, otherwise by the records."""
    return timestamp_ms in (latest(batch), _recorded(batch))


def _first_from(batch: Batch, timestamp_ms: int, start: int) -> int | None:
    """The offset of its first record from ``start`` on with this time or a later one."""
    for part in parts(batch):
        for record in part.records:
            if record.timestamp_ms >= timestamp_ms and record.offset >= start:
                return record.offset
    return None


def make_indexes(disk: Disk, directory: str, base_offset: int, *, sealed: bool) -> None:
    """Rebuild both indexes of a segment that is not open; synced. Raises OSError."""
    files = OpenFiles(disk, 8, write=True)
    try:
        segment = Segment(directory, base_offset, files, Indexes(), INDEX_INTERVAL_BYTES)
        segment.rebuild_index(EVERYTHING, sealed=sealed)
    finally:
        files.close()


def _first_bytes(walked: list[tuple[int, Batch]], bytes_max: int) -> list[tuple[int, Batch]]:
    """The first batch, and following ones that fit into ``bytes_max`` with it."""
    total = 0
    for count, (_, batch) in enumerate(walked):
        total += batch.size
        if total > bytes_max:
            return walked[: max(count, 1)]
    return walked
