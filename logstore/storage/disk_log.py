"""A log on local disk, in the process that writes it: appends, rolls, syncs, trims.

The way of a batch: ``append`` writes it to the active segment; the flusher syncs the file and
moves ``synced``; ``safe`` follows by the topic's sync policy and is published for other processes;
watchers are woken. ``start <= synced <= end``, and ``safe`` is ``synced`` unless
``flush.messages`` is over 1: then it is ``end``, openly.
"""

import threading
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from logstore import forks
from logstore.descriptors import NONE_LEFT
from logstore.errors import (
    Closed,
    CorruptBatch,
    Damaged,
    Forked,
    LogFailed,
    LogstoreError,
    OffsetAboveEnd,
    OffsetBelowStart,
    UnknownPartition,
)  # fmt: skip
from logstore.log import ABORTED_MAX, Aborted, Deciding, Notes, Once, Wake
from logstore.records.batch import Batch
from logstore.settings import FOREVER, TopicSettings
from logstore.storage.active import ActiveSegment
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain, Fresh
from logstore.storage.cold import NotHere
from logstore.storage.disk import failure, refusal, room_or_not
from logstore.storage.extent import Extent
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flusher, Unsynced
from logstore.storage.names import INDEX, LOG, TIMEINDEX
from logstore.storage.segment import EVERYTHING, Segment, SegmentFacts
from logstore.storage.watermarks import Watermark
from logstore.storage.whole_segment import remove_segment, sweep

SHOWN_WITHIN_MS: Final = 10  # where nobody watches; other processes look as often as that


def _nothing() -> bytes:
    return b""


class _Frozen(NamedTuple):
    """The notes beside a log at one moment."""

    note: Callable[[], bytes]
    end: int  # offset
    undecided: int | None


class DiskLog:
    """A ``Log`` over a chain of segments. Created by ``Directory`` after recovery."""

    def __init__(
        self,
        name: str,
        chain: Chain,
        files: OpenFiles,
        flusher: Flusher,
        slot: Watermark,
        settings: TopicSettings,
        state: LogState,
        end: int,
        position: int,
        *,
        save: Callable[["DiskLog", LogState], None],
        damage: Damaged | None = None,
        notes: Notes | None = None,
        rolled: Callable[["DiskLog", int], None] | None = None,
        note: bytes = b"",
        recovery_bytes: int | None = None,
    ) -> None:
        """``end`` and ``position`` (in the last segment) as recovery found them, all synced.

        ``save(log, state)`` makes a state durable before it returns, and ``log.note`` with it; it
        is called with the log's lock held.
        ``notes`` know all batches that are there; ``note``: what was saved with ``state``.
        ``rolled(log, base_offset)`` is told of each new segment, with the log's lock held.
        """
        self.name = name
        self.chain = chain
        self.settings = settings
        self.state = state
        self.start = state.start
        self.safe = self.synced = self.end = max(end, state.start)  # damage may be below the start
        self.damage = damage
        self.notes = notes
        self.note = note  # of what is below the recovery point
        self._once = notes if isinstance(notes, Once) else None
        self._deciding = notes if isinstance(notes, Deciding) else None
        self._shown_undecided = self.undecided  # to processes that read
        # The first offset of a transaction that was begun since the last sync was.
        self._begun_since: int | None = None
        self._files = files
        self._device = files.disk.device(chain.directory)
        self._flusher = flusher
        self._slot = slot
        self._save = save
        self._rolled = rolled
        self._failure: LogstoreError | None = damage
        self._deleted: UnknownPartition | Forked | None = None  # it is nothing any more: why
        self._lock = threading.RLock()
        self._watchers: dict[object, Wake] = {}

        active = chain.segment(chain.bases[-1] if chain.bases else end)
        self._active = ActiveSegment(active, files, position)
        self._sealed: list[Segment] = []  # rolled over since the last sync; not the active one
        self._unsynced_records = self._unsynced_bytes = 0
        self._shown_late = False  # some of it is to be shown, and nobody watched by then
        self._since_recovery_point = 0  # bytes
        self._recovery_bytes = recovery_bytes
        self._synced_at = (end, self._active.base_offset, position)  # what the last sync covered
        self._begun = self._noted = self._freeze()  # when it began; of it
        self._check_law()
        if damage is None:  # else what was acknowledged stays known, or the next start would cut it
            slot.publish(self.start, self.safe, self._shown_undecided)

        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked."""
        self._lock = threading.RLock()
        self._failure = self._deleted = error

    def __repr__(self) -> str:
        return f"<DiskLog {self.name} {self.start}..{self.safe}..{self.end}>"

    def _check_law(self) -> None:
        """The law of ``log.py``, wherever one of the offsets moves."""
        assert 0 <= self.start <= self.synced <= self.safe <= self.end, repr(self)

    # Appending

    def append(self, batch: Batch) -> int:
        """As Log.append."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self.settings.deduplication_header and self._once is not None:
                batch = self._once.admitted(batch)
            if self._active.is_full(batch, self.end, self.settings):
                self._roll()
            base_offset = self.end
            end = base_offset + batch.last_offset_delta + 1
            assert self.safe <= base_offset < end
            try:
                self._active.append(batch, base_offset, self.settings, self._fail)
            except OSError as error:
                doing = f"append to {self.name} at offset {base_offset}"
                raise refusal(error, doing, self._active.path) from None
            self.end = end
            if self.notes is not None:
                aborted = self.notes.appended(batch, base_offset)
                if self._deciding is not None:
                    self._note_decision(self._deciding.undecided, aborted)
            self._unsynced_bytes += len(batch.data)
            self._unsynced_records += batch.last_offset_delta + 1
            self._flusher.written(self)
            if self.settings.flush_messages > 1:
                self._show_unsynced()
        if self.settings.flush_messages > 1 or batch.is_control:  # which may have moved ``stable``
            self._wake()
        return base_offset

    def _note_decision(self, undecided: int | None, aborted: Aborted | None) -> None:
        """What is known of transactions since the batch was appended. With the lock held."""
        if aborted is not None:
            with suppress(OSError):  # it is known here; readers elsewhere wait until it is saved
                self.chain.note_aborted(aborted)
        if undecided is not None:
            if self._begun_since is None and undecided >= self._begun.end:
                self._begun_since = undecided
            if self._shown_undecided is None:
                self._show_undecided(undecided)

    def _show_undecided(self, undecided: int | None) -> None:
        """To processes that read. A marker counts when it is synced: until then it may be lost."""
        if undecided != self._shown_undecided:
            self._shown_undecided = undecided
            self._slot.publish_undecided(undecided)

    @property
    def undecided(self) -> int | None:
        """As Deciding.undecided; None of a log that has no transactions."""
        return None if self._deciding is None else self._deciding.undecided

    @property
    def stable(self) -> int:
        """As Log.stable."""
        safe = self.safe  # first: what is decided when it is read was so below
        undecided = self.undecided
        return safe if undecided is None else max(min(safe, undecided), self.start)

    @property
    def done(self) -> int:
        """As Log.done: a mark is the offset here."""
        return self.safe

    def offset_of(self, mark: int) -> int:
        """As Log.offset_of."""
        assert mark < self.end
        return mark

    def apply(self, settings: TopicSettings) -> None:
        """It has these settings from now on."""
        with self._lock:
            self.settings = settings
            self.chain.interval = settings.index_interval_bytes
            if self._once is not None:
                self._once.apply(settings)

    def roll(self) -> None:
        """Seal the active segment and begin a new one; nothing when it is empty."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._active.position:
                self._roll()

    def _roll(self) -> None:
        self._flusher.check_in_place()  # or a file could be made in a stranger's directory
        sealed = self._active.segment
        try:
            with room_or_not():  # for the index, which grows as it is used
                self._active.finish()
            segment = self.chain.add(self.end)
        except OSError as error:
            doing = f"begin a new segment of {self.name}"
            raise refusal(error, doing, self.chain.directory) from None
        self._sealed.append(sealed)
        sealed.pinned = False
        self._active = ActiveSegment(segment, self._files, 0)
        if self._rolled is not None:
            self._rolled(self, segment.base_offset)
        if self.settings.flush_messages > 1:
            self._flusher.soon(self)

    # Syncing: called by the flusher, one at a time

    def begin_sync(self) -> Unsynced:
        with self._lock:
            aborted = self._take_aborted()
            paths = self._paths_of_sealed()
            if aborted is not None:
                paths += self.chain.paths_of(aborted)
            if self._active.position:
                paths.append(self._active.path)
            # A new segment was begun behind each sealed one: its name must be durable, too.
            named = self._sealed or (aborted is not None and aborted.unnamed)
            directory = self.chain.directory if named else None
            assert self.synced <= self.end
            job = Unsynced(
                tuple(paths), directory, self._device, self._unsynced_bytes,
                self.end, self._active.base_offset, self._active.position, len(self._sealed),
                aborted,
            )  # fmt: skip
            self._since_recovery_point += self._unsynced_bytes
            self._begun, self._begun_since = self._freeze(), None
            self._unsynced_bytes = self._unsynced_records = 0
            self._shown_late = False
            return job

    def _take_aborted(self) -> Fresh | None:
        """What other processes need before they go by a marker; None: there is no room for it."""
        try:
            return self.chain.take_fresh()
        except OSError:
            return None

    def _paths_of_sealed(self) -> list[str]:
        paths: list[str] = []
        for segment in self._sealed:
            paths += [segment.stem + ending for ending in (LOG, INDEX, TIMEINDEX)]
        return paths

    def _freeze(self) -> "_Frozen":
        if self.notes is None:
            return _Frozen(_nothing, self.end, None)
        return _Frozen(self.notes.freeze(), self.end, self.undecided)

    def end_sync(self, job: Unsynced, error: OSError | None) -> None:
        if error is not None and job.aborted is not None:
            self.chain.put_back(job.aborted)
        if error is not None and error.errno in NONE_LEFT:
            return  # what is written is still to be synced: whoever waits tries again
        if error is not None:
            # A second try on the same file may succeed without having written anything.
            self._fail(
                f"{self.name}: sync failed: {error.strerror}; offsets {self.synced} and above"
                " are not acknowledged: repair the disk, then open the store again"
            )
        with self._lock:
            if error is None and self._deleted is None:  # else the slot is another log's by now
                self._show_synced(job)
        self._wake()

    def _show_synced(self, job: Unsynced) -> None:
        del self._sealed[: job.sealed]  # not before: a sync may be interrupted
        if job.upto >= self.synced:
            self._synced_at = job.upto, job.base_offset, job.position
            self._noted = self._begun
            if job.aborted is not None:
                decided = self._begun.undecided is None
                self._show_undecided(self._begun_since if decided else self._begun.undecided)
        if job.upto > self.synced:
            self.synced = job.upto
            self._slot.publish_synced(job.upto)
            if job.upto > self.safe:
                self._slot.publish_safe(job.upto)  # first: what is acknowledged here is seen there
                self.safe = job.upto
            self._check_law()

    def needs(self, path: str) -> bool:
        """Whether the file must be there: not an index, nor trimmed away or deleted."""
        if self._deleted is not None or not path.endswith(LOG):
            return False
        return any(self.chain.segment(base).path == path for base in self.chain.bases)

    def check_failure(self) -> None:
        """Raises LogFailed (or the damage that recovery found)."""
        if self._failure is not None:
            raise self._failure

    def _fail(self, sentence: str) -> None:
        if self._failure is None:
            self._failure = LogFailed(sentence)

    def _show_unsynced(self) -> None:
        """flush.messages over 1: show and acknowledge now, sync later."""
        self._slot.publish_safe(self.end)
        self.safe = self.end
        self._check_law()
        if self._unsynced_records >= self.settings.flush_messages:
            self._flusher.soon(self)
        elif self.settings.flush_ms < FOREVER:
            self._flusher.soon(self, self.settings.flush_ms)

    def wait(self, upto: int) -> None:
        """As Log.wait."""
        assert upto <= self.end  # else it would never come
        if self.safe < upto:
            self._flusher.wait(self, upto)

    def sync_soon(self, *, hurry: bool = True, always: bool = False) -> None:
        """As Log.sync_soon: by the flusher's thread."""
        if always or self.settings.flush_messages == 1:
            self._flusher.soon(self, 0 if hurry else self.settings.flush_ms)

    def show_soon(self) -> None:
        """As Log.show_soon."""
        if self.settings.flush_messages == 1:
            self._shown_late = not self._watchers
            self._flusher.soon(self, SHOWN_WITHIN_MS if self._shown_late else 0)

    def sync(self) -> None:
        """Sync all that is written, whatever the policy. Raises LogFailed."""
        self._flusher.wait(self, self.end)

    # The recovery point

    def recovery_point_due(self, bytes_max: int) -> bool:
        """Whether as many bytes are synced since, or as few as its kind says."""
        if self._recovery_bytes is not None:
            bytes_max = min(bytes_max, self._recovery_bytes)
        return self._since_recovery_point >= bytes_max and self._failure is None

    def recovery_point(self) -> LogState:
        """The state to save after the last sync, its indexes synced. Raises OSError."""
        with self._lock:
            if self._failure is not None:
                return self.state
            offset, base_offset, position = self._synced_at
            assert self.state.recovery_offset <= offset <= self.synced, repr(self)
            if base_offset not in self.chain.bases:  # trimmed since, as a whole
                base_offset, position = offset, 0
            segment = self.chain.segment(base_offset)
            segment.save_index()
            fresh = self.chain.take_fresh()
            self._since_recovery_point = 0
            noted = self._noted
        self.chain.sync(fresh)
        for ending in (INDEX, TIMEINDEX):
            with suppress(FileNotFoundError):  # trimmed just now, or done without
                self._files.sync(segment.stem + ending)
        note = noted.note()
        with self._lock:
            # Another thread may have moved it further meanwhile. A note must not be older than the
            # state beside it: recovery tells only of the batches above, and producers between the
            # two would be forgotten.
            if offset >= self.state.recovery_offset:
                self.note = note
                self.state = replace(
                    self.state, recovery_offset=offset, recovery_base=base_offset,
                    recovery_position=position, aborted=self.chain.count_aborted(offset),
                    undecided_above=0 if noted.undecided is None else noted.undecided + 1,
                )  # fmt: skip
            return self.state

    # Reading

    def read(self, at: int, bytes_max: int) -> list[Batch]:
        """As Log.read."""
        if self._deleted is not None:  # the files of that name may be another topic's
            raise self._deleted
        safe = self.safe
        if at < self.start:
            raise OffsetBelowStart(
                f"{self.name}: offset {at} is below the start, {self.start}: it was trimmed away"
            )
        if self.damage is not None and at >= self.end:
            raise self.damage
        if at > self.end:
            raise OffsetAboveEnd(f"{self.name}: offset {at} is above the end, {self.end}")
        if at >= safe:
            return []
        bases = self.chain.bases
        try:
            batches = self.chain.read(at, bytes_max, safe)
        except NotHere as missing:
            self._files.fetch(missing, self._wake)
            return []
        except FileNotFoundError as error:
            if self._deleted is not None or self.chain.bases != bases:  # trimmed or merged since
                return self.read(at, bytes_max)
            raise CorruptBatch(f"{error.filename}: the file is missing") from None
        except OSError as error:
            raise failure(error, f"read at offset {at}", self.chain.directory) from None
        if batches:  # the pair of what append asserts
            assert batches[0].last_offset >= at
            assert batches[-1].base_offset < safe
        elif at >= self.start:
            self.chain.check_gap(at, safe)
        return batches

    def extent(self, at: int, bytes_max: int) -> Extent | None:
        """As Log.extent."""
        if self._active.segment.ends_soon_after(at):
            return None  # who reads at the end of the log asks so for each batch
        safe, end = self._end_of_safe()
        if self._deleted is not None or self.damage is not None or not self.start <= at < safe:
            return None
        try:
            return self.chain.extent(at, bytes_max, safe, end)
        except (CorruptBatch, OSError, NotHere):
            return None  # who reads it is told, or has it fetched

    def _end_of_safe(self) -> tuple[int, int | None]:
        """What is safe, and where it ends in the last segment, if it ends there."""
        upto, base_offset, position = self._synced_at
        if self.settings.flush_messages > 1 and self._lock.acquire(blocking=False):
            upto, base_offset, position = self.end, self._active.base_offset, self._active.position
            self._lock.release()  # where others hold it: a trim, which syncs, is not waited for
        safe = self.safe  # less, while a sync ends or after flush.messages was raised
        here = upto == safe and base_offset == self._active.base_offset
        return min(upto, safe), position if here else None

    def aborted(self, at: int, below: int, most: int = ABORTED_MAX) -> list[Aborted]:
        """As Log.aborted."""
        try:
            return self.chain.aborted(at, below, most)
        except OSError as error:
            raise failure(error, "read what was aborted", self.chain.directory) from None

    def where(self, offset: int) -> str:
        """As Log.where."""
        return self.chain.path_of(offset)

    def following(self, at: int) -> int | None:
        """As Log.following: the next segment."""
        return next((base for base in self.chain.bases if at < base < self.safe), None)

    def find(self, timestamp_ms: int, *, damaged: bool = False) -> int:
        """As Log.find."""
        if self._deleted is not None:
            raise self._deleted
        start, safe, bases = self.start, self.safe, self.chain.bases
        try:
            found = self.chain.find(timestamp_ms, start, safe, damaged=damaged)
        except FileNotFoundError as error:
            if self._deleted is not None or self.chain.bases != bases:  # trimmed or merged since
                return self.find(timestamp_ms, damaged=damaged)
            raise CorruptBatch(f"{error.filename}: the file is missing") from None
        except OSError as error:
            raise failure(error, f"find {timestamp_ms} ms", self.chain.directory) from None
        return safe if found is None else found

    def latest_timestamp(self) -> int:
        """As Log.latest_timestamp."""
        return max((segment.max_timestamp_ms for segment in self.segments()), default=-1)

    def watch(self, wake: Wake) -> Wake:
        """As Log.watch."""
        key = object()
        self._watchers[key] = wake
        if self._shown_late:
            self._shown_late = False
            self._flusher.soon(self)

        def stop() -> None:
            self._watchers.pop(key, None)

        return stop

    def _wake(self) -> None:
        if self._watchers:
            # The thread that has just appended came last, and is answered before others read its
            # records.
            for wake in reversed(list(self._watchers.values())):
                wake()

    def bytes(self) -> int:
        """Size of all batches, without zeros written ahead."""
        if self._deleted is not None:
            raise self._deleted
        bases = self.chain.bases[:-1]
        sizes = (self._files.disk.size(self.chain.segment(base).path) for base in bases)
        return sum(sizes) + self._active.position

    def bases(self) -> list[int]:
        """The base offsets of its segments now."""
        return self.chain.bases

    def segments(self, *, timed: bool = True) -> list[SegmentFacts]:
        """What upkeep decides by. Raises Damaged, Failed, UnknownPartition."""
        if self._deleted is not None:
            raise self._deleted
        if self.damage is not None:
            raise self.damage
        bases = self.chain.bases
        try:
            facts = self.chain.facts(self.end, timed=timed)
        except OSError as error:
            if self.chain.bases != bases:  # trimmed or merged since
                return self.segments(timed=timed)
            raise failure(error, "look at the segments", self.chain.directory) from None
        facts[-1] = replace(facts[-1], bytes=self._active.position)  # without zeros written ahead
        return facts

    def timed(self, facts: SegmentFacts) -> SegmentFacts:
        """With the largest timestamp. Raises Damaged, Failed."""
        try:
            return self.chain.timed(facts)
        except OSError as error:
            raise failure(error, "look at a segment", facts.path) from None

    def rebuild_index(self, base_offset: int) -> None:
        """Make a segment's index files anew. Appends wait where it is the active one.

        Raises StorageFull, Failed; ValueError for a segment that is not there.
        """
        if base_offset not in self.chain.bases:
            raise ValueError(f"{self.name}: no segment begins at offset {base_offset}")
        segment = self.chain.segment(base_offset)
        try:
            with self._lock:
                sealed = base_offset != self._active.base_offset
                if not sealed:
                    segment.rebuild_index(self.end, sealed=False, by_records=True)
            if sealed:
                segment.rebuild_index(EVERYTHING, sealed=True, by_records=True)
        except OSError as error:
            raise refusal(error, "rebuild the index", segment.stem + INDEX) from None

    # Upkeep

    def segment(self, base_offset: int) -> Segment:
        """One of its segments."""
        return self.chain.segment(base_offset)

    def secure(self) -> int:
        """Sync all and move the recovery point up; no recovery reads below the offset returned.

        Raises LogFailed, Damaged, Failed.
        """
        self.check_failure()
        self.sync()
        try:
            with self._lock:
                if self.synced == self.end:
                    self._sync_roll()
            self.recovery_point()
            with self._lock:  # or a trim could come between, and be undone
                self._save(self, self.state)
        except OSError as error:
            raise refusal(error, "save the recovery point", self.chain.directory) from None
        return self.state.recovery_base

    def mark(self, **marks: int) -> None:
        """Remember these fields of the state, by which upkeep knows how far it is.

        Durable on return. Raises Failed, UnknownPartition.
        """
        with self._lock:
            if self._deleted is not None:
                raise self._deleted
            now = replace(self.state, **marks)
            self._save(self, now)
            self.state = now

    def sweep(self) -> None:
        """Remove what is left of segments that were being written anew."""
        with suppress(OSError):  # it means nothing: the next recovery removes it
            sweep(self._files.disk, self.chain.directory)

    def swap(self, bases: Sequence[int], stem: str, aborts_gone: Sequence[int] = ()) -> bool:
        """Put a segment that was written anew in the place of these adjacent sealed ones.

        ``aborts_gone``: markers of aborted transactions that it lacks, of which nothing is left.

        One rename does it. Whoever reads them meanwhile reads on in the old files. The age of the
        youngest is kept. False, and nothing is changed, where one of them was trimmed since.
        Raises Failed, StorageFull, UnknownPartition.
        """
        try:
            swapped = self._rename(bases, stem, set(aborts_gone))
            if swapped:
                self._drop_merged(bases)
        except OSError as error:
            raise refusal(error, "swap a segment", self.chain.directory) from None
        finally:
            remove_segment(self._files.disk, stem)  # what was renamed is not there any more
        return swapped

    def _rename(self, bases: Sequence[int], stem: str, aborts_gone: Set[int]) -> bool:
        self._flusher.check_in_place()
        with self._lock:
            if self._deleted is not None:
                raise self._deleted
            known = self.chain.bases
            if not set(bases) <= set(known):
                return False
            place = known.index(bases[0])
            assert known[place : place + len(bases)] == list(bases)
            assert known[place + len(bases)] <= self.state.recovery_base  # what recovery reads
            if len(bases) > 1:
                self.mark(merged_base=bases[0], merged_below=known[place + len(bases)])
            if gone := self.chain.count_gone(bases, aborts_gone):
                # First: a start that finds fewer than were counted makes all of them anew.
                self.mark(aborted=max(self.state.aborted - gone, 0))
            self.chain.put(stem, bases, aborts_gone)
            return True

    def _drop_merged(self, bases: Sequence[int]) -> None:
        """Remove segments whose batches stand in the first of these, by now."""
        disk = self._files.disk
        disk.sync_directory(self.chain.directory)
        if len(bases) > 1:
            with self._lock:
                # A trim may have come since, to which the first ended where the second began: then
                # what it did not let go of stands in the others alone.
                if bases[0] in self.chain.bases:
                    self.chain.drop([base for base in bases[1:] if base in self.chain.bases])
            disk.sync_directory(self.chain.directory)

    # Trimming, settings, end

    def trim(self, before: int) -> None:
        """As Log.trim: whole segments go, the rest of the records below are hidden."""
        if self._deleted is None and self.synced < before <= self.safe:
            self.sync()  # a start above what a power cut leaves would be damage
        if self.settings.deduplication_header and self.state.recovery_offset < before <= self.safe:
            self.secure()  # the ids of what goes are still known: no start can read them again
        with self._lock:
            if self._deleted is not None:
                raise self._deleted
            if before > self.safe:
                raise OffsetAboveEnd(f"{self.name}: can't trim to {before}, above {self.safe}")
            if before <= self.start:
                return
            self._flusher.check_in_place()
            gone = [base for base, after in pairwise(self.chain.bases) if after <= before]
            try:
                aborted = self.chain.count_aborted(self.state.recovery_offset, gone)
            except OSError as error:
                raise failure(error, "look at what was aborted", self.chain.directory) from None
            # Else a start would miss them, and look for them in all that is there.
            left = max(self.state.aborted - aborted, 0)
            state = replace(self.state, start=before, aborted=left)
            self._save(self, state)
            self.state, self.start = state, before
            self._check_law()
            self._slot.publish_start(before)
            try:
                self.chain.drop(gone)
                self._files.disk.sync_directory(self.chain.directory)
            except OSError as error:
                raise refusal(error, "remove trimmed segments", self.chain.directory) from None
        self._wake()

    def close(self) -> LogState:
        """Sync, cut off zeros written ahead; the state to save. Raises LogFailed, OSError."""
        if self.damage is None:
            self.check_failure()
            state = self.state
            now = self.end, self._active.base_offset, self._active.position
            if now == (state.recovery_offset, state.recovery_base, state.recovery_position):
                return state  # nothing was written since: three syncs less, for each of many logs
            self.sync()
            with self._lock:
                self._active.finish()
                self._files.sync(self._active.path)
                self._sync_roll()
        state = self.recovery_point()
        with self._lock:
            if self._failure is None:  # from now on another process may be the writer
                self._failure = Closed(f"{self.name}: the store is closed")
        return state

    def let_go(self) -> None:
        """Its state is saved, and nobody uses it: keep nothing of it. It takes no appends."""
        with self._lock:
            assert self.synced == self.end, repr(self)
            self._failure = self._failure or Closed(f"{self.name}: the log is closed")
        self.chain.let_go()

    def _sync_roll(self) -> None:
        """All is synced, but for a segment that was begun since and has nothing in it yet."""
        if not self._sealed:
            return
        for path in self._paths_of_sealed():
            try:
                self._files.sync(path)
            except FileNotFoundError:
                if self.needs(path):
                    raise
        self._files.disk.sync_directory(self.chain.directory)
        self._sealed.clear()
        self._synced_at = self.end, self._active.base_offset, self._active.position
        self._noted = self._freeze()

    def look(self) -> LogstoreError | None:
        """See whether the file that is appended to is where it was, though nobody appends.

        The error that everybody gets from now on; None where all is well, or was known to be lost.
        """
        path = self._active.path
        if self._failure is not None or self._files.stands(path):
            return None
        with self._lock:  # no other segment is begun, and none is removed
            lost = self._failure is None and path == self._active.path
            if lost and not self._files.stands(path):
                self._failure = LogFailed(
                    f"{path}: was removed or moved: offsets {self.synced} and above are not"
                    " acknowledged: put it back, then open the store again"
                )
            failure = self._failure if lost else None
        if failure is not None:
            self._wake()
        return failure

    def lose(self, error: LogFailed) -> None:
        """Its directory is not where it was: take no more appends, tell those who wait."""
        if self._failure is None:
            self._failure = error
        self._wake()

    def discard(self) -> None:
        """The topic is deleted: take no more appends, wake those who wait."""
        with self._lock:
            self._failure = self._deleted = UnknownPartition(f"{self.name}: its topic was deleted")
            self._slot.release()
        self._wake()
