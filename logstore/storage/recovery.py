"""Recovery of a log, by its writer, before the first append: finds the end, cuts a torn tail.

Below the recovery point everything was synced: it is not read again, and anything that a reader
finds wrong there is damage. Above it, batches are checked one by one (header, offset, CRC). The log
ends before the first incomplete batch: the bytes from there on were never acknowledged, unless
``synced``, as last published, is higher. In that case they are damage: the file stays as it is, and
the log accepts no appends.

After a crash, the page cache is not trusted: it may have data that a failed sync could not write,
as if it were on disk. So it is dropped first, and all data is read from the disk.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from logstore.errors import CorruptBatch, Damaged
from logstore.log import Deciding, Notes
from logstore.records.batch import Batch
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk import room_or_not
from logstore.storage.files import OpenFiles
from logstore.storage.names import INDEX, TIMEINDEX
from logstore.storage.segment import Segment
from logstore.storage.whole_segment import sweep


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of a recovery."""

    end: int  # offset after the last whole batch
    position: int  # of that end in the last segment
    damage: Damaged | None = None


def recover(
    chain: Chain,
    files: OpenFiles,
    state: LogState,
    known_safe: int,
    *,
    crashed: bool,
    notes: Notes | None = None,
    new_notes: Callable[[], Notes] | None = None,
) -> Recovered:
    """Make the chain end with its last whole batch, all synced. Raises OSError.

    ``known_safe``: the offset last published as synced; 0 if unknown. ``crashed``: the last writer
    did not close the store. ``notes`` cover everything below the recovery point, and are passed the
    batches above it. ``new_notes``: creates empty notes.
    """
    known_safe = max(known_safe, state.recovery_offset, state.start)
    if crashed:
        _finish_upkeep(chain, files, state)
        _finish_trim(chain, files, state)
        chain.drop_strays()
    if not chain.bases:
        return _begin(chain, files, state, known_safe)
    place, end, position = _starting_point(chain, state)
    active = chain.segment(chain.bases[-1]).path
    if files.disk.is_odd(active):
        return Recovered(end, position, CorruptBatch(
            f"{active}: is a link, or not a regular file: the log accepts no appends until the"
            " file itself has this name"
        ))  # fmt: skip
    if state.recovery_base not in chain.bases and state.recovery_offset > chain.bases[0]:
        lost = chain.segment(state.recovery_base).path
        before = chain.segment(chain.bases[chain.holding(state.recovery_base)])
        return _damaged(f"{lost}: the file is missing", _whole_until(before), 0, known_safe)
    if crashed:
        for base in chain.bases[place:]:
            files.forget_cached(chain.segment(base).path, position if base == place else 0)
    whole = _cut_aborted(chain, end)
    check = _Check(chain, files, end, position, notes, aborts=whole)
    sentence = check.run(place)
    if not whole or chain.count_aborted(state.recovery_offset) < state.aborted:
        _find_aborted(chain, check.end, new_notes)
    segment = chain.segment(chain.bases[check.place])
    if check.end < known_safe:
        sentence = sentence or f"{segment.path}: ends at offset {check.end}"
        return _damaged(sentence, check.end, check.position, known_safe)
    cut = _cut_after(chain, files, check.place, check.position)
    with room_or_not():
        chain.end_aborted()
    if cut or check.bytes_read:
        _settle(chain, files, segment)
    # A crash, or a failure, may have come between a file's creation and its name's sync: then
    # nothing is in it yet.
    if cut or crashed or not check.position:
        files.disk.sync_directory(chain.directory)
    return Recovered(check.end, check.position)


def _cut_aborted(chain: Chain, offset: int) -> bool:
    """Forget aborted transactions at or above this offset; False if they cannot be determined."""
    try:
        chain.cut_aborted(offset)
    except CorruptBatch:
        return False
    return True


def _find_aborted(chain: Chain, end: int, new_notes: Callable[[], Notes] | None) -> None:
    """Rebuild the indexes of aborted transactions from all batches. Raises OSError."""
    chain.restart_aborted()
    notes = new_notes() if new_notes is not None else None
    if not isinstance(notes, Deciding):
        return
    with suppress(CorruptBatch):  # whoever reads it is told
        for base in chain.bases:
            for _, batch in chain.segment(base).walk(0, end):
                if (aborted := notes.appended(batch, batch.base_offset)) is not None:
                    chain.note_aborted(aborted)


def _finish_upkeep(chain: Chain, files: OpenFiles, state: LogState) -> None:
    """Remove unfinished files of upkeep, and segments whose batches were merged into an earlier
    one.
    """
    sweep(files.disk, chain.directory)
    behind = [base for base in chain.bases if state.merged_base < base < state.merged_below]
    if not behind or state.merged_base not in chain.bases:
        return
    files.disk.sync_directory(chain.directory)  # the rename, before what it replaces goes
    try:
        upto = chain.segment(state.merged_base).last_offset()
        covered = [base for base in behind if chain.segment(base).last_offset() <= upto]
        chain.drop(covered)
        chain.end_merge(state.merged_base)
    except CorruptBatch:
        return  # whoever reads it is told; both copies stay


def _finish_trim(chain: Chain, files: OpenFiles, state: LogState) -> None:
    """Remove everything below the start, because a crash may bring back any trimmed segment.

    Between such a segment and those above the start, others may be missing.
    """
    gone: list[int] = []
    for base, after in pairwise(chain.bases):
        if after > state.start or _reaches(chain, state, base, after):
            break
        gone.append(base)
    if gone:
        chain.drop(gone)
        files.disk.sync_directory(chain.directory)


def _reaches(chain: Chain, state: LogState, base: int, after: int) -> bool:
    """Whether a segment may contain records from the start on although another begins below the
    start.

    A merged segment does; its header does not show whether the merge was completed.
    """
    if base != state.merged_base or after >= state.merged_below:
        return False
    try:
        return chain.segment(base).last_offset() >= state.start
    except CorruptBatch:
        return True


def _begin(chain: Chain, files: OpenFiles, state: LogState, known_safe: int) -> Recovered:
    """A log without segments: a new one, or one that lost them."""
    if known_safe > state.start:
        sentence = f"{chain.directory}: every segment is missing"
        return _damaged(sentence, state.start, 0, known_safe)
    chain.add(state.start)
    files.disk.sync_directory(chain.directory)
    return Recovered(state.start, 0)


def _starting_point(chain: Chain, state: LogState) -> tuple[int, int, int]:
    """Where the check begins: (place in the chain, offset, position)."""
    if state.recovery_base in chain.bases:
        return (
            chain.bases.index(state.recovery_base),
            state.recovery_offset,
            state.recovery_position,
        )
    return 0, chain.bases[0], 0


class _Check:
    """The check of the batches above the recovery point: how far they are intact."""

    def __init__(
        self,
        chain: Chain,
        files: OpenFiles,
        end: int,
        position: int,
        notes: Notes | None,
        *,
        aborts: bool,
    ) -> None:
        """``aborts``: the indexes of aborted transactions are extended, otherwise rebuilt."""
        self._notes = notes
        self._aborts = aborts
        self._chain = chain
        self._files = files
        self.place = 0
        self.end = end
        self.position = position
        self.bytes_read = 0

    def run(self, first: int) -> str:
        """Check up to the end, or to the first incomplete or wrong batch; returns a sentence about
        that.
        """
        bases = self._chain.bases
        for self.place in range(first, len(bases)):
            began = self.position
            try:
                self._segment(self._chain.segment(bases[self.place]))
            except CorruptBatch as error:
                return str(error)
            finally:
                self.bytes_read += self.position - began
            if self.place + 1 == len(bases):
                return ""
            if bases[self.place + 1] != self.end:
                following = self._chain.segment(bases[self.place + 1]).path
                return f"{following}: begins at {bases[self.place + 1]}, expected {self.end}"
            _settle(self._chain, self._files, self._chain.segment(bases[self.place]))
            self.position = 0
        return ""

    def _segment(self, segment: Segment) -> None:
        size = self._files.disk.size(segment.path)
        if size < self.position:
            synced, self.position = self.position, size
            self.end = _whole_until(segment)
            raise CorruptBatch(f"{segment.path}: {size} bytes long, {synced} were synced")
        if self.position:
            self._known(segment)
        elif size:
            segment.index.cut(0)
        for position, batch in segment.walk(self.position):
            if batch.base_offset != self.end:
                raise CorruptBatch(
                    f"{segment.path} at position {position}: batch has base offset "
                    f"{batch.base_offset}, expected {self.end}"
                )
            _check(segment, position, batch)
            segment.note(position, batch, batch.last_offset)
            if self._notes is not None:
                aborted = self._notes.appended(batch, batch.base_offset)
                if aborted is not None and self._aborts:
                    with room_or_not():  # it is known, and written when there is room
                        self._chain.note_aborted(aborted)
            self.end, self.position = batch.next_offset, position + batch.size

    def _known(self, segment: Segment) -> None:
        """Check that a batch ends at the recovery point, and add earlier batches that the index
        lacks.

        If only the bytes after it were checked, a replaced file would have its end cut off.
        """
        known = self.end, self.position
        segment.index.cut(self.position)
        start = segment.position_of(self.end - 1)
        found, sentence = _walk_known(segment, start, self.end)
        if found != known:
            segment.restart_index()
            found, sentence = _walk_known(segment, 0, self.end)
        if found != known:
            found, sentence = _walk_known(segment, 0, self.end, check=True)
            self.end, self.position = found if found[0] < self.end else (segment.base_offset, 0)
            raise CorruptBatch(
                sentence
                or f"{segment.path} at position {found[1]}: offset {found[0]} is next there, "
                f"offset {known[0]} at position {known[1]} was synced"
            )


def _walk_known(
    segment: Segment, start: int, below: int, *, check: bool = False
) -> tuple[tuple[int, int], str]:
    """The end and position after the last whole batch, and the error of the next one."""
    found = segment.base_offset, 0
    try:
        for position, batch in segment.walk(start, below):
            if batch.base_offset != found[0] and (position > start or not start):
                raise CorruptBatch(
                    f"{segment.path} at position {position}: batch has base offset "
                    f"{batch.base_offset}, expected {found[0]}"
                )
            if check:
                _check(segment, position, batch)
            segment.note(position, batch, batch.last_offset)
            found = batch.next_offset, position + batch.size
    except CorruptBatch as error:
        return found, str(error)
    return found, ""


def _check(segment: Segment, position: int, batch: Batch) -> None:
    try:
        batch.check()
    except CorruptBatch as error:
        raise CorruptBatch(f"{segment.path} at position {position}: {error}") from None


def _whole_until(segment: Segment) -> int:
    """The offset after the last whole batch of a segment that is shorter than it was."""
    end = segment.base_offset
    with suppress(CorruptBatch):  # that is where it ends
        for _, batch in segment.walk():
            end = batch.next_offset
    return end


def _cut_after(chain: Chain, files: OpenFiles, place: int, position: int) -> bool:
    """End the chain here; returns whether anything was removed."""
    segment, later = chain.segment(chain.bases[place]), chain.bases[place + 1 :]
    torn = files.disk.size(segment.path) > position
    if torn:
        files.truncate(segment.path, position)
    if later:
        chain.drop(later)
    return torn or bool(later)


def _settle(chain: Chain, files: OpenFiles, segment: Segment) -> None:
    """Make the recovered segment durable before it is shown to anyone."""
    with room_or_not():  # an index that lacks entries grows as it is used
        segment.index.replace(files, segment.stem)
    for path in (segment.path, segment.stem + INDEX, segment.stem + TIMEINDEX):
        files.sync(path)


def _damaged(sentence: str, end: int, position: int, known_safe: int) -> Recovered:
    damage = CorruptBatch(
        f"{sentence}; offsets {end} to {known_safe - 1} were acknowledged: the log accepts no"
        " appends until they are restored or salvaged"
    )
    return Recovered(end, position, damage)
