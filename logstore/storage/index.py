"""The sparse indexes of one segment, in Kafka's layout. Derived: rebuilt if in doubt.

    .index      >II  last offset of a batch - base offset, position of that batch's first byte
    .timeindex  >qI  largest timestamp so far (ms), last offset of its batch - base offset

Both only grow, one entry at most every ``index.interval.bytes`` of log. Missing entries at the end
are harmless (a reader scans on from the last one); wrong ones are found by comparing with the
batch they lead to.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from operator import lt
from struct import Struct
from typing import Final

from logstore.storage.files import OpenFiles
from logstore.storage.names import INDEX, LOG, TIMEINDEX

OFFSET_ENTRY = Struct(">II")
TIME_ENTRY = Struct(">qI")
assert (OFFSET_ENTRY.size, TIME_ENTRY.size) == (8, 12), "as Kafka's"
NO_TIMESTAMP: Final = -(2**63)  # below any
ENTRY_LIMIT: Final = 2**32  # entries hold 32 bits; a damaged batch may claim any offset


class Index:
    """The position at which to start reading in one segment, by offset and by timestamp.

    ``covered`` is the position up to which batches have been indexed: code that reads the batches
    after it adds them, so a missing or incomplete index grows as it is used.
    """

    __slots__ = (
        "_largest",
        "_saved",
        "_times_saved",
        "base_offset",
        "covered",
        "interval_bytes",
        "offsets",
        "positions",
        "time_offsets",
        "times",
    )

    def __init__(self, base_offset: int, interval_bytes: int) -> None:
        self.base_offset = base_offset
        self.interval_bytes = interval_bytes
        self.offsets = array("I")  # relative to base_offset; strictly rising, as are positions
        self.positions = array("I")
        self.times = array("q")  # strictly rising, as are time_offsets
        self.time_offsets = array("I")
        self.covered = 0
        self._largest = (NO_TIMESTAMP, base_offset)  # timestamp, last offset of its batch
        self._saved = self._times_saved = 0  # entries that are in the files

    @property
    def memory_bytes(self) -> int:
        return 500 + 8 * len(self.offsets) + 12 * len(self.times)

    @property
    def file_bytes(self) -> int:
        """Size of the larger of the two files, once saved."""
        return max(OFFSET_ENTRY.size * len(self.offsets), TIME_ENTRY.size * (len(self.times) + 1))

    def note(self, position: int, size: int, last_offset: int, max_timestamp_ms: int) -> None:
        """Take the batch at ``position`` into account; nothing unless it is the next one."""
        if position != self.covered:
            return
        self.covered = position + size
        if max_timestamp_ms > self._largest[0]:
            self._largest = max_timestamp_ms, last_offset
        indexed = self.positions[-1] if self.positions else 0
        relative = last_offset - self.base_offset
        if position - indexed > self.interval_bytes and relative < ENTRY_LIMIT > position:
            # A concurrent floor() bisects offsets: what it leads to must be there before.
            self.positions.append(position)
            self.offsets.append(relative)
            self.note_largest()

    def note_largest(self) -> None:
        """Add a time entry for the largest timestamp so far, if it is a later one than the last."""
        timestamp_ms, last_offset = self._largest
        relative = last_offset - self.base_offset
        if timestamp_ms == NO_TIMESTAMP or relative >= ENTRY_LIMIT:
            return
        if not self.times or (timestamp_ms > self.times[-1] and relative > self.time_offsets[-1]):
            self.time_offsets.append(relative)
            self.times.append(timestamp_ms)

    def floor(self, offset: int) -> tuple[int, int] | None:
        """The (last offset, position) of the last indexed batch that begins at or below offset.

        Every batch before that position ends below ``offset``. None: start at position 0.
        """
        at = bisect_right(self.offsets, offset - self.base_offset) - 1
        if at < 0:
            return None
        return self.base_offset + self.offsets[at], self.positions[at]

    def floor_position(self, position: int) -> tuple[int, int] | None:
        """The (last offset, position) of the last indexed batch at or before ``position``."""
        at = bisect_right(self.positions, position, hi=len(self.offsets)) - 1
        if at < 0:
            return None
        return self.base_offset + self.offsets[at], self.positions[at]

    def floor_time(self, timestamp_ms: int, below: int) -> tuple[int, int] | None:
        """The last (timestamp, offset) entry below both: later records come after it."""
        at = bisect_left(self.times, timestamp_ms)
        # A writer's index is ahead of what its readers may see.
        at = min(at, bisect_left(self.time_offsets, below - self.base_offset)) - 1
        if at < 0:
            return None
        return self.times[at], self.base_offset + self.time_offsets[at]

    def ceiling_time(self, timestamp_ms: int) -> int | None:
        """The last offset of the batch of the first entry that is of this time or later."""
        at = bisect_left(self.times, timestamp_ms)
        return self.base_offset + self.time_offsets[at] if at < len(self.times) else None

    def cut(self, position: int) -> None:
        """Forget every batch at or after this position."""
        keep = bisect_left(self.positions, position)
        last = self.offsets[keep - 1] if keep else -1
        keep_times = bisect_right(self.time_offsets, last)
        del self.offsets[keep:], self.positions[keep:]
        del self.times[keep_times:], self.time_offsets[keep_times:]
        self._saved = min(self._saved, keep)
        self._times_saved = min(self._times_saved, keep_times)
        self._restart()

    def _restart(self) -> None:
        """Note on from the last entry's batch (again: that changes nothing)."""
        self.covered = self.positions[-1] if self.positions else 0
        self._largest = NO_TIMESTAMP, self.base_offset
        if self.times:
            self._largest = self.times[-1], self.base_offset + self.time_offsets[-1]

    def save(self, files: OpenFiles, stem: str) -> None:
        """Write the entries that the files lack; all anew where a name is no regular file's."""
        if any(files.disk.is_odd(stem + ending) for ending in (INDEX, TIMEINDEX)):
            self.replace(files, stem)
            return
        if self._saved < len(self.offsets):
            data = _interleave(self.offsets[self._saved :], self.positions[self._saved :])
            files.write(stem + INDEX, [data], self._saved * OFFSET_ENTRY.size)
            self._saved = len(self.offsets)
        if self._times_saved < len(self.times):
            entries = zip(
                self.times[self._times_saved :], self.time_offsets[self._times_saved :], strict=True
            )
            data = b"".join([TIME_ENTRY.pack(*entry) for entry in entries])
            files.write(stem + TIMEINDEX, [data], self._times_saved * TIME_ENTRY.size)
            self._times_saved = len(self.times)

    def replace(self, files: OpenFiles, stem: str) -> None:
        """Write both files anew, for instance after a cut."""
        for ending in (INDEX, TIMEINDEX):
            if files.disk.is_odd(stem + ending):
                files.forget(stem + ending)
                files.disk.remove(stem + ending)
            with files.use(stem + ending, create=True) as fd:
                files.disk.truncate(fd, 0)
        self._saved = self._times_saved = 0
        self.save(files, stem)

    @classmethod
    def load(cls, files: OpenFiles, stem: str, base_offset: int, interval_bytes: int) -> "Index":
        """What the files hold; empty on any doubt, to be noted anew.

        What can't be seen from the files alone (that an entry leads to the batch that it names) is
        checked by the reader that follows it.
        """
        index = cls(base_offset, interval_bytes)
        if any(files.disk.is_odd(stem + ending) for ending in (INDEX, TIMEINDEX)):
            return index
        try:
            data, times = _whole(files, stem + INDEX), _whole(files, stem + TIMEINDEX)
        except FileNotFoundError:
            return index
        log_bytes = files.disk.size(stem + LOG)  # after the indexes: the log grows first
        if len(data) % OFFSET_ENTRY.size or len(times) % TIME_ENTRY.size:
            return index
        index._load_offsets(data)
        index._load_times(times)
        rising = _rises(index.offsets) and _rises(index.positions) and _rises(index.times)
        rising = rising and _rises(index.time_offsets)
        if not rising or (index.positions and index.positions[-1] >= log_bytes):
            return cls(base_offset, interval_bytes)
        index._saved, index._times_saved = len(index.offsets), len(index.times)
        index._restart()
        return index

    def _load_offsets(self, data: bytes) -> None:
        pairs = array("I", data)
        if sys.byteorder == "little":
            pairs.byteswap()
        self.offsets, self.positions = pairs[0::2], pairs[1::2]

    def _load_times(self, data: bytes) -> None:
        entries = list(TIME_ENTRY.iter_unpack(data))
        self.times = array("q", [entry[0] for entry in entries])
        self.time_offsets = array("I", [entry[1] for entry in entries])


def _whole(files: OpenFiles, path: str) -> bytes:
    return files.read(path, files.disk.size(path), 0)


def _interleave(offsets: "array[int]", positions: "array[int]") -> bytes:
    pairs = array("I", bytes(8 * len(offsets)))
    pairs[0::2], pairs[1::2] = offsets, positions
    if sys.byteorder == "little":
        pairs.byteswap()
    return pairs.tobytes()


def _rises(values: "array[int]") -> bool:
    """Whether the values rise strictly."""
    return all(map(lt, values, values[1:]))
