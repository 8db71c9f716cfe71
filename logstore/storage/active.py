"""The segment that a log appends to: where the next batch goes, and when the segment is full.

Knows nothing of syncing and of safe offsets. If several threads can use the log, every method is
called with the log's lock held.
"""

import errno
from collections.abc import Callable
from typing import Final

from logstore.descriptors import NONE_LEFT
from logstore.errors import CorruptBatch
from logstore.records.batch import Batch
from logstore.records.latest import latest
from logstore.settings import TopicSettings
from logstore.storage.disk import ASTRAY
from logstore.storage.files import OpenFiles
from logstore.storage.index import ENTRY_LIMIT, NO_TIMESTAMP
from logstore.storage.segment import Segment

# Zeros written ahead make a sync of a small append a quarter faster, since it changes no file
# size; they also double the bytes written, so only a run of small synced appends gets them.
AHEAD_BYTES: Final = 1 << 20
AHEAD_APPEND_BYTES_MAX: Final = 64 << 10
AHEAD_AFTER_APPENDS: Final = 32
_ZEROS = bytes(AHEAD_BYTES)

SEGMENT_OFFSETS_MAX: Final = 2**31 - 1  # the indexes hold relative offsets as Kafka's signed int32

assert AHEAD_APPEND_BYTES_MAX < AHEAD_BYTES, "zeros for one append would be no run"
assert SEGMENT_OFFSETS_MAX < ENTRY_LIMIT, "an index must hold every offset of its segment"


class ActiveSegment:
    """The last segment of a log; pinned while it is appended to."""

    __slots__ = (
        "_ahead", "_files", "_first_timestamp", "_small_appends", "position", "segment",
    )  # fmt: skip

    def __init__(self, segment: Segment, files: OpenFiles, position: int) -> None:
        """``position``: the end of the batches in the segment's file."""
        segment.pinned = True
        self.segment = segment
        self.position = position  # where the next batch goes
        self._files = files
        self._ahead = position  # zeros are written up to here
        self._small_appends = 0
        self._first_timestamp = _first_of(segment) if position else NO_TIMESTAMP

    @property
    def base_offset(self) -> int:
        """The segment's first offset."""
        return self.segment.base_offset

    @property
    def path(self) -> str:
        """The path of its .log file."""
        return self.segment.path

    def is_full(self, batch: Batch, end: int, settings: TopicSettings) -> bool:
        """Whether the batch belongs into a new segment: Kafka's rules (LogSegment.shouldRoll)."""
        position, segment = self.position, self.segment
        return position > 0 and (
            position + len(batch.data) > settings.segment_bytes
            or latest(batch) - self._first_timestamp > settings.segment_ms
            or segment.index.file_bytes >= settings.segment_index_bytes
            or end + batch.last_offset_delta - segment.base_offset > SEGMENT_OFFSETS_MAX
        )

    def append(
        self,
        batch: Batch,
        base_offset: int,
        settings: TopicSettings,
        fail: Callable[[str], None],
    ) -> None:
        """Write the whole batch at the position, or nothing. Raises OSError.

        ``fail(why)`` is called if half a batch cannot be cut off; then nothing may be appended any
        more.
        """
        segment, size = self.segment, len(batch.data)
        try:
            self._files.write(segment.path, batch.stamped(base_offset), self.position)
        except OSError as error:
            if error.errno not in NONE_LEFT:  # else it was not even opened
                self._undo(fail)
            raise
        except BaseException:  # Ctrl-C: how much was written is not known
            self._undo(fail)
            raise
        self._write_ahead(size, settings)
        if self._first_timestamp == NO_TIMESTAMP:
            self._first_timestamp = latest(batch)
        segment.note(self.position, batch, base_offset + batch.last_offset_delta)
        self.position += size

    def _undo(self, fail: Callable[[str], None]) -> None:
        path = self.segment.path
        try:
            self._files.truncate(path, self.position)
            self._ahead = self.position
        except OSError as error:
            fail(f"{path}: can't cut off a failed append: {error.strerror}")

    def _write_ahead(self, size: int, settings: TopicSettings) -> None:
        self._small_appends = self._small_appends + 1 if size <= AHEAD_APPEND_BYTES_MAX else 0
        following = self.position + size
        if following + size <= self._ahead:
            return
        wanted = settings.preallocate or (
            self._small_appends > AHEAD_AFTER_APPENDS and settings.flush_messages == 1
        )
        room = min(AHEAD_BYTES, settings.segment_bytes - following)
        if wanted and room > 0:
            try:
                self._files.write(self.segment.path, [memoryview(_ZEROS)[:room]], following)
            except OSError:
                # Only speed is lost; what the disk took of the zeros is cut off with the segment.
                self._small_appends = 0
            self._ahead = following + room

    def finish(self) -> None:
        """Cut off zeros that were written ahead (or the rest of an interrupted write), and complete
        the indexes.

        Raises OSError.
        """
        segment = self.segment
        if self._files.disk.size(segment.path) > self.position:
            self._files.truncate(segment.path, self.position)
        self._ahead = self.position
        segment.index.note_largest()
        segment.save_index()


def _first_of(segment: Segment) -> int:
    try:
        first = next((batch for _, batch in segment.walk(chunk_bytes=16 << 10)), None)
    except CorruptBatch:  # whoever reads it is told
        first = None
    except OSError as error:  # so is whoever finds another thing there, or nothing
        if error.errno not in {*ASTRAY, errno.ENXIO}:
            raise
        first = None
    return NO_TIMESTAMP if first is None else latest(first)
