"""A partition that this process alone appends to, as a log, with what is kept beside it.

Beside a log on disk its notes lie in a file; here they are records of it: now and then the whole
state is appended behind a beat (a *snapshot*, in as many records as it takes), and what stands
below the beat is deleted. Who takes the partition over reads it from its start: the last whole
snapshot, and what follows.
"""

import logging
from collections.abc import Callable
from struct import Struct
from typing import Final

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
EVERY_BYTES: Final = 1 << 20  # that were appended since the last one
_HEAD: Final = Struct(">BIII")  # format, number of the snapshot, of the part, how many parts

log: Final = logging.getLogger("logstore.cluster")


class Replayed:
    """What the records below a claim come to: a ``State`` of a takeover."""

    def __init__(self, make: Callable[[], Notes]) -> None:
        """``make`` makes notes that know of nothing."""
        self._make = make
        self.notes = make()
        self.number = 0  # of the last snapshot
        self._parts: list[bytes] = []

    def apply(self, batch: Batch) -> None:
        """Raises CorruptStore, CorruptBatch, SchemaTooNew."""
        if batch.record_count == 1:
            [record] = decode(batch)
            if record.key == SNAPSHOT:
                self._part(record.offset, record.value or b"")
                return
        self.notes.appended(batch, batch.base_offset)

    def _part(self, offset: int, value: bytes) -> None:
        if len(value) < _HEAD.size:
            raise CorruptStore(f"offset {offset} is a part of a snapshot, and cut off")
        form, number, part, parts = _HEAD.unpack_from(value)
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
            notes = self._make()
            notes.load(b"".join(self._parts))
            self.notes, self._parts = notes, []


class StateLog(TakenLog):
    """As Log, over a takeover that has come to own its partition. In the loop's thread."""

    def __init__(
        self,
        takeover: Takeover,
        replayed: Replayed,
        now_ms: Callable[[], int],
        elsewhere: Callable[[Callable[[], object]], object],
    ) -> None:
        """``elsewhere``: has something done by a thread that may wait. Raises as notes do."""
        super().__init__(takeover)
        self.notes: Notes = replayed.notes
        self.notes.freeze()  # reads all that was replayed, or says why it can't be
        self._number = replayed.number
        self._now_ms = now_ms
        self._elsewhere = elsewhere
        self._since = 0  # bytes that were appended since the last snapshot
        # Of the snapshot that is on its way: the marks of the beat before it, and of its last part.
        self._saving: tuple[int, int] | None = None
        self._stop = self._log.watch(self._look)

    # Appending

    def append(self, batch: Batch) -> int:
        """As Log.append. Raises FencedProducer, ClusterBehind, LogFailed."""
        at = self._takeover.next_offset
        mark = self._takeover.append(batch)
        self.notes.appended(batch, at)
        self._since += batch.size
        if self._since > EVERY_BYTES and self._saving is None:
            self._save()
        return mark

    def _save(self) -> None:
        """Append the whole state. What was appended of it without its end counts for nothing."""
        note = self.notes.freeze()()
        parts = [note[at : at + PART_BYTES] for at in range(0, len(note), PART_BYTES)] or [b""]
        self._number += 1
        self._since = mark = 0  # not tried with each append, where it can't be
        try:
            beat = self._takeover.say_beat()
            for part, data in enumerate(parts):
                head = _HEAD.pack(FORMAT, self._number, part, len(parts))
                batch = encode([(head + data, SNAPSHOT, (), self._now_ms())])
                mark = self._takeover.append(batch)
        except LogstoreError as error:
            log.warning("%s: its state could not be saved: %s", self.name, error)
            return
        self._saving = beat, mark

    def _look(self) -> None:
        """There is news of the log."""
        if self._saving is not None and self.done > self._saving[1]:
            before = self.offset_of(self._saving[0])
            self._saving = None
            self._elsewhere(lambda: self._trim(before))

    def _trim(self, before: int) -> None:
        try:
            self._log.trim(before)
        except LogstoreError as error:
            log.warning("%s: what was saved takes room still: %s", self.name, error)

    def close(self) -> None:
        """Nobody looks after it any more."""
        self._stop()
