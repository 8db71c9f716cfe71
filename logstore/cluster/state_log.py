"""A partition that this process alone appends to, as a log with notes.

The notes of a log on disk are in a file beside it; here they are records of the log itself. From
time to time the whole state is appended after a beat (a *snapshot*, of one or more records), and
everything below the beat is deleted. A node that takes over the partition reads it from its start:
the last complete snapshot, and the records after it.
"""

import logging
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from logstore.cluster.taken_log import TakenLog
from logstore.cluster.takeover import Takeover
from logstore.errors import CorruptStore, LogstoreError, SchemaTooNew
from logstore.log import Notes
from logstore.records.batch import Batch
from logstore.records.decode import decode
from logstore.records.encode import encode

SNAPSHOT: Final = b"__snapshot"
FORMAT: Final = 1
PART_BYTES: Final = 512 << 10  # of a snapshot: brokers take records of 1 MiB
PARTS_AT_ONCE: Final = 4  # that are not acknowledged: of a partition no more than 16 MiB may be so
# That were appended since the last one, or as many as that had: saving a large state with each MiB
# would be most of what is appended.
EVERY_BYTES: Final = 1 << 20
# Format, number of the snapshot, of the part, how many parts, from where on records are not in it.
_HEAD: Final = Struct(">BIIIQ")

log: Final = logging.getLogger("logstore.cluster")


class Replayed:
    """The ``State`` of a takeover: the result of the records below a claim."""

    def __init__(self, make: Callable[[], Notes]) -> None:
        """``make`` creates empty notes."""
        self._make = make
        self.notes = make()
        self.number = 0  # of the last snapshot
        self.note_bytes = 0  # of the last whole one
        self._parts: list[bytes] = []
        self._after: list[Batch] = []  # what the next snapshot may not have in it

    def apply(self, batch: Batch) -> None:
        """Raises CorruptStore, CorruptBatch, SchemaTooNew."""
        if batch.record_count == 1:
            [record] = decode(batch)
            if record.key == SNAPSHOT:
                self._part(record.offset, record.value or b"")
                return
        self.notes.appended(batch, batch.base_offset)
        self._after.append(batch)

    def _part(self, offset: int, value: bytes) -> None:
        if len(value) < _HEAD.size:
            raise CorruptStore(f"offset {offset} is a part of a snapshot, and cut off")
        form, number, part, parts, taken_at = _HEAD.unpack_from(value)
        if form > FORMAT:
            raise SchemaTooNew(
                f"offset {offset} is a snapshot in format {form}, known is {FORMAT}: update this "
                f"node"
            )
        if part == 0:
            self._parts = []
        elif part != len(self._parts) or number != self.number:
            self._parts = []  # its beginning was deleted: a later one is whole
            return
        self.number = number
        self._parts.append(value[_HEAD.size :])
        if len(self._parts) == parts:
            notes, note = self._make(), b"".join(self._parts)
            notes.load(note)
            self.note_bytes = len(note)
            self._after = [it for it in self._after if it.base_offset >= taken_at]
            for it in self._after:
                notes.appended(it, it.base_offset)
            self.notes, self._parts = notes, []


class _Saving:
    """A snapshot that is being appended."""

    __slots__ = ("beat", "mark", "parts", "said", "taken_at")

    def __init__(self, beat: int, taken_at: int) -> None:
        self.beat = beat  # the mark of the beat before it
        self.taken_at = taken_at  # what is appended from there on is not in it
        self.parts: list[bytes] = []  # once the state is written out
        self.said = 0  # of these, that are appended
        self.mark: int | None = None  # of the last of them


class StateLog(TakenLog):
    """A ``Log`` over a takeover that owns its partition. Used in the loop's thread."""

    def __init__(
        self,
        takeover: Takeover,
        replayed: Replayed,
        now_ms: Callable[[], int],
        elsewhere: Callable[[Callable[[], Any], Callable[[Any], None]], object],
    ) -> None:
        """``elsewhere``: has something done by a thread that may wait, and what comes of it told in
        this one. Raises as notes do.
        """
        super().__init__(takeover)
        self.notes: Notes = replayed.notes
        self.notes.freeze()  # reads all that was replayed, or says why it can't be
        self._number = replayed.number
        self._now_ms = now_ms
        self._elsewhere = elsewhere
        self._since = 0  # bytes that were appended since the last snapshot
        self._note_bytes = replayed.note_bytes  # of the last snapshot
        self._saving: _Saving | None = None
        self._closed = False
        self._stop = self._log.watch(self._look)

    # Appending

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises FencedProducer, ClusterBehind, LogFailed."""
        at = self._takeover.next_offset
        mark = self._takeover.append(batch)
        self.notes.appended(batch, at)
        self._since += batch.size
        if self._since > max(EVERY_BYTES, self._note_bytes) and self._saving is None:
            self._save()
        return mark

    def _save(self) -> None:
        """Append the whole state as of now, encoded by another thread, without later appends. An
        incomplete snapshot is ignored.
        """
        taken_at, self._since = self._takeover.next_offset, 0  # not tried with each append
        try:
            beat = self._takeover.say_beat()
        except LogstoreError as error:
            self._failed(error)
            return
        self._saving = saving = _Saving(beat, taken_at)
        note = self.notes.freeze()

        def write() -> bytes | LogstoreError:
            try:
                return note()
            except LogstoreError as error:
                return error

        self._elsewhere(write, lambda found: self._written(found, saving))

    def _written(self, note: bytes | LogstoreError, saving: _Saving) -> None:
        if self._closed:
            return
        if isinstance(note, LogstoreError):
            self._failed(note)
            return
        self._number += 1
        self._note_bytes = len(note)
        begins = range(0, max(len(note), 1), PART_BYTES)
        saving.parts = [note[at : at + PART_BYTES] for at in begins]
        self._say_parts(saving)

    def _say_parts(self, saving: _Saving) -> None:
        count = len(saving.parts)
        try:
            for part in range(saving.said, min(saving.said + PARTS_AT_ONCE, count)):
                head = _HEAD.pack(FORMAT, self._number, part, count, saving.taken_at)
                batch = encode([(head + saving.parts[part], SNAPSHOT, (), self._now_ms())])
                saving.mark = self._takeover.append(batch)
                saving.said += 1
        except LogstoreError as error:
            self._failed(error)

    def _failed(self, error: LogstoreError) -> None:
        self._saving = None
        log.warning("%s: its state could not be saved: %s", self.name, error)

    def _look(self) -> None:
        """There is news of the log."""
        saving = self._saving
        if saving is None or saving.mark is None or self.done <= saving.mark:
            return
        if saving.said < len(saving.parts):
            self._say_parts(saving)
            return
        before = self.offset_of(saving.beat)
        self._saving = None
        self._elsewhere(lambda: self._trim(before), lambda _: None)

    def _trim(self, before: int) -> None:
        try:
            self._log.trim(before)
        except LogstoreError as error:
            log.warning("%s: what was saved takes room still: %s", self.name, error)

    def close(self) -> None:
        """Stop maintaining it."""
        self._closed = True
        self._stop()
