"""Backup and restore: a consistent copy of a store, made while it is being written.

The catalogue is copied first, in one LMDB transaction, then each log up to the end of its safe
records at that moment. So no group in the copy has committed an offset beyond the end of its log.
Kafka transactions that end during the backup are aborted in the copy (``before.py``). The notes
beside a log are updated with the batches that the catalogue does not include yet. A process that
opens the copy replays the journal from the offset that the catalogue's copy states, so the journal
is not trimmed during the backup (``pin.py``). The .log file of a sealed segment never changes and
is hard-linked if the file system allows it; all other files are copied. A backup is itself a store
that was closed cleanly. ``backup.json``, written last, lists every file with its size and CRC-32C;
a copy without it is unfinished. A log that is damaged or cannot be read is left out, named in
``backup.json`` and reported at the end; the other logs are copied.
"""

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from logstore.errors import (
    CorruptBatch,
    CorruptStore,
    Damaged,
    Failed,
    LogstoreError,
    NotAStore,
    OffsetBelowStart,
    Refused,
    StorageFull,
    UnknownPartition,
)
from logstore.log import Deciding, Once
from logstore.records.crc import crc32c
from logstore.storage.catalog import Catalog, Entry, LogState
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.disk import Disk, failure, make_directories, refusal
from logstore.storage.kinds import JOURNAL, TOPIC
from logstore.storage.names import CATALOG, INDEX, LOCK_ENDING, LOG, TIMEINDEX, TXNINDEX
from logstore.storage.segment import make_indexes
from logstore.storage.whole_segment import write_segment
from logstore.upkeep.before import Before, ledger_of

_T = TypeVar("_T")

MANIFEST: Final = "backup.json"
FORMAT: Final = 1
_COPY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """One file that was backed up or restored."""

    path: str  # below the store's directory
    bytes: int
    linked: bool = False


def backup(directory: LocalDirectory, target: str, now_ms: int) -> Iterator[Copied]:
    """Copy the store into a new or empty directory; yields each file when it is done.

    Raises Refused, ReadOnly, StorageFull; at the end Failed, if the backup is finished but lacks a
    log that could not be copied.
    """
    disk = directory.disk
    try:
        _make_empty(disk, target)
        with directory.pin.shared():
            yield from _Backup(directory, target, now_ms).run()
    except OSError as error:
        raise refusal(error, "back up", error.filename or target) from None


def restore(source: str, target: str, disk: Disk) -> Iterator[Copied]:
    """Copy a backup into a new directory and check each file; completely or not at all.

    Raises NotAStore, Refused, CorruptStore, ReadOnly, StorageFull.
    """
    try:
        if disk.exists(target) and disk.list(target):
            raise Refused(
                f"{target}: already exists and is not empty: name a new directory (--data)"
            )
        manifest = _manifest(disk, source)
        part = f"{target}.restoring"
        _make_empty(disk, part)
        try:
            yield from _restored(disk, manifest, source, part)
        except BaseException:
            with suppress(OSError):
                disk.remove_tree(part)
            raise
        disk.rename(part, target)
        disk.sync_directory(os.path.dirname(target) or ".")
    except OSError as error:
        raise refusal(error, "restore", error.filename or target) from None


def _make_empty(disk: Disk, path: str) -> None:
    if disk.exists(path) and disk.list(path):
        raise Refused(f"{path}: already exists and is not empty: name a new directory")
    make_directories(disk, path)


class _Backup:
    """One run of a backup."""

    def __init__(self, directory: LocalDirectory, target: str, now_ms: int) -> None:
        self._directory = directory
        self._disk = directory.disk
        self._target = target
        self._now_ms = now_ms
        self._folders: list[str] = []
        self._files: dict[str, dict[str, int]] = {}
        self._left_out: dict[str, str] = {}  # directories, and why

    def run(self) -> Iterator[Copied]:
        path = os.path.join(self._target, CATALOG)
        self._directory.copy_catalog(path)
        kinds = self._directory.kinds
        catalog = Catalog(self._disk, path, create=False, write=True, kinds=kinds)
        try:
            self._catalog, self._before = catalog, Before(self._directory)
            states, notes = yield from self._copy_logs()
            for (kind, name), damage in catalog.damaged_entries().items():
                self._leave_out(kinds[kind].directory(name, 0), damage)
            catalog.buried(catalog.doomed())
            catalog.forget_producer_ids()
            catalog.save_log_states(states, notes, unrecovered={})
        finally:
            catalog.close()
        self._disk.remove(path + LOCK_ENDING)
        yield self._noted(CATALOG)
        self._finish()
        self._check_whole()

    def _copy_logs(
        self,
    ) -> Generator[Copied, None, tuple[dict[bytes, LogState], dict[bytes, bytes]]]:
        """Returns the states of the copies, and their notes."""
        catalog, kinds = self._catalog, self._directory.kinds
        states: dict[bytes, LogState] = {}
        notes: dict[bytes, bytes] = {}
        # The journal last: what it has decided is done in the copy, too, where it is missing.
        for name, entry in sorted(catalog.entries(), key=lambda it: it[1].kind == JOURNAL.name):
            for partition in range(entry.partitions):
                key = entry.log_key(partition)
                try:
                    found, known, note = yield from self._copy_log(name, entry, partition)
                    if entry.kind == JOURNAL.name:
                        note = catalog.note(key)
                        found = _replayed(catalog.log_state(key), found)
                    else:
                        found, note = self._note(name, entry, partition, note, known, found)
                except UnknownPartition:  # deleted since
                    catalog.remove(entry.kind, name)
                    break
                except StorageFull:
                    raise
                except (Damaged, Failed) as error:
                    self._leave_out(kinds[entry.kind].directory(name, partition), error)
                    continue
                states[key] = found
                notes[key] = note
                self._tell_of_damage(name, entry, partition)
        return states, notes

    def _check_whole(self) -> None:
        """Raises Failed if something was left out."""
        if self._left_out:
            folder, why = next(iter(self._left_out.items()))
            others = len(self._left_out) - 1
            more = f" (and {others} more, named in {MANIFEST})" if others else ""
            raise Failed(
                f"{self._target}: the backup is finished, but lacks all or a part of "
                f"{folder}{more}: {why}"
            )

    def _tell_of_damage(self, name: str, entry: Entry, partition: int) -> None:
        """Report a log that the writer found damaged: only the part below was copied."""
        with suppress(LogstoreError):  # deleted just now, or it can't be measured
            damage = self._directory.size(name, entry, partition).damage
            if damage is not None:
                folder = self._directory.kinds[entry.kind].directory(name, partition)
                self._left_out[folder] = str(damage)

    def _leave_out(self, folder: str, error: LogstoreError) -> None:
        """Leave the log out of the backup. Raises OSError."""
        self._left_out[folder] = str(error)
        for path in [it for it in self._files if it.startswith(f"{folder}/")]:
            del self._files[path]
        if folder in self._folders:
            self._folders.remove(folder)
            self._disk.remove_tree(os.path.join(self._target, folder))

    def _finish(self) -> None:
        self._disk.sync_directory(self._target)
        manifest = {
            "format": FORMAT,
            "created_ms": self._now_ms,
            "directories": self._folders,
            "files": self._files,
            "left_out": self._left_out,
        }
        path = os.path.join(self._target, MANIFEST)
        _write(self._disk, path, json.dumps(manifest, indent=1).encode())
        self._disk.sync_directory(self._target)

    def _copy_log(
        self, name: str, entry: Entry, partition: int
    ) -> Generator[Copied, None, tuple[LogState, LogState, bytes]]:
        """Returns the state of the copy; and the catalogue's state and notes from just before."""
        self._directory.log(name, entry, partition)
        folder = self._make_folder(name, entry, partition)
        while True:
            log = self._directory.log(name, entry, partition)
            # Now: what is removed of the log is known to what is kept beside it by then.
            known, note = self._directory.standing(entry, partition)
            safe = self._end(log, entry, partition)
            if safe < known.recovery_offset:  # it knows of what is not copied
                key = entry.log_key(partition)
                known, note = self._catalog.log_state(key), self._catalog.note(key)
            start, bases = min(log.start, safe), _bases(log)
            copied: list[Copied] = []
            state = replace(
                known, start=start, recovery_offset=safe, recovery_base=start, recovery_position=0
            )
            try:
                for stem, base, upto in _parts(log, bases, start, safe):
                    end = next((it for it in bases if base < it < safe), safe)
                    if entry.kind == JOURNAL.name and not self._before.has(end):
                        part = list(self._copy_aborted(log, folder, base, end))
                    else:
                        part = list(self._copy_part(stem, folder, base, upto))
                    copied += part
                    state = replace(state, recovery_base=base, recovery_position=part[0].bytes)
            except FileNotFoundError as error:
                if log.bases() == bases:
                    raise CorruptBatch(f"{error.filename}: the file is missing") from None
                for one in copied:  # trimmed or merged meanwhile: once more
                    self._disk.remove(os.path.join(self._target, one.path))
                    del self._files[one.path]
                continue
            self._disk.sync_directory(os.path.join(self._target, folder))
            yield from copied
            # What was compacted since the catalogue was copied has gaps that it does not know.
            gaps_below = max(known.gaps_below, log.chain.gaps_below())
            return replace(state, gaps_below=gaps_below), known, note

    def _end(self, log: SegmentedLog, entry: Entry, partition: int) -> int:
        """The offset up to which the log is copied."""
        make = self._directory.kinds[entry.kind].notes
        if (
            entry.kind != TOPIC.name
            or make is None
            or not self._before.ends_something(log, entry, partition)
        ):
            return log.safe
        key, ledger = entry.log_key(partition), make()
        ledger.load(self._catalog.note(key))
        state = self._catalog.log_state(key)
        return self._before.end(log, entry, partition, state.recovery_offset, ledger_of(ledger))

    def _make_folder(self, name: str, entry: Entry, partition: int) -> str:
        """Create the log's directory in the target."""
        kind = self._directory.kinds[entry.kind]
        folder = kind.directory(name, partition)
        if kind.folder and kind.folder not in self._folders:
            self._disk.make_directory(os.path.join(self._target, kind.folder))
            self._folders.append(kind.folder)
        self._disk.make_directory(os.path.join(self._target, folder))
        self._folders.append(folder)
        return folder

    def _copy_aborted(
        self, log: SegmentedLog, folder: str, base: int, end: int
    ) -> Iterator[Copied]:
        """Copy a segment of the journal in which later decisions become aborts."""
        path = f"{folder}/{base:020d}"
        target = os.path.join(self._target, path)
        batches = (self._before.aborted(it) for _, it in log.segment(base).walk(0, end))
        write_segment(self._disk, target, base, log.chain.interval, batches)
        for ending in (LOG, INDEX, TIMEINDEX):
            yield self._noted(path + ending)

    def _note(
        self, name: str, entry: Entry, partition: int,
        note: bytes, known: LogState, copied: LogState,
    ) -> tuple[LogState, bytes]:  # fmt: skip
        """The notes as of the copy's recovery point, and that state.

        ``note`` is that of the catalogue when the log was copied; the batches in between must be
        added to it.
        """
        make = self._directory.kinds[entry.kind].notes
        if make is None:
            return copied, note
        log = self._directory.log(name, entry, partition)
        notes = make()
        if isinstance(notes, Once):
            notes.apply(self._directory.settings(entry))
        notes.load(note)
        at, end = max(known.recovery_offset, copied.start), copied.recovery_offset
        while at < end:
            try:
                batches = log.read(at, _COPY_BYTES)
            except OffsetBelowStart:  # trimmed just now
                at = log.start
                continue
            except CorruptBatch:  # whoever reads it there is told
                at = log.following(at) or end
                continue
            for batch in batches:
                if batch.base_offset < end:
                    notes.appended(batch, batch.base_offset)
            at = batches[-1].next_offset if batches else end
        undecided = notes.undecided if isinstance(notes, Deciding) else None
        above = 0 if undecided is None else undecided + 1
        return replace(copied, undecided_above=above), notes.freeze()()

    def _copy_part(self, stem: str, folder: str, base: int, upto: int | None) -> Iterator[Copied]:
        """Copy one segment: its log linked, or its first ``upto`` bytes; and its indexes."""
        path = f"{folder}/{base:020d}"
        if upto is None and self._linked(stem + LOG, os.path.join(self._target, path + LOG)):
            yield self._noted(path + LOG, linked=True)
        else:
            yield self._copied(stem + LOG, path + LOG, upto)
        if self._disk.exists(stem + TXNINDEX):  # what is ahead of the log's copy is cut off there
            with suppress(FileNotFoundError):
                yield self._copied(stem + TXNINDEX, path + TXNINDEX, None)
        # Those of the active segment may be ahead of what was copied; any may be missing.
        if upto is None and all(self._disk.exists(stem + ending) for ending in (INDEX, TIMEINDEX)):
            with suppress(FileNotFoundError):  # trimmed just now: its log is linked already
                for ending in (INDEX, TIMEINDEX):
                    yield self._copied(stem + ending, path + ending, None)
                return
        where = os.path.join(self._target, folder)
        make_indexes(self._disk, where, base, sealed=upto is None)
        for ending in (INDEX, TIMEINDEX):
            yield self._noted(path + ending)

    def _linked(self, source: str, target: str) -> bool:
        try:
            self._disk.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            return False
        return True

    def _copied(self, source: str, path: str, upto: int | None) -> Copied:
        size, checksum = copy_file(self._disk, source, os.path.join(self._target, path), upto)
        self._files[path] = {"bytes": size, "crc32c": checksum}
        return Copied(path, size)

    def _noted(self, path: str, *, linked: bool = False) -> Copied:
        """List a file that is already in the backup."""
        size, checksum = copy_file(self._disk, os.path.join(self._target, path), None, None)
        self._files[path] = {"bytes": size, "crc32c": checksum}
        return Copied(path, size, linked)


def _replayed(known: LogState, copied: LogState) -> LogState:
    """The copy's state, such that a process that opens it replays what the catalogue lacks."""
    if known.recovery_offset >= copied.recovery_offset:
        return copied
    assert copied.start <= known.recovery_base, "the journal was trimmed although it was pinned"
    return replace(
        copied,
        recovery_offset=known.recovery_offset,
        recovery_base=known.recovery_base,
        recovery_position=known.recovery_position,
    )


def _parts(
    log: SegmentedLog, bases: Sequence[int], start: int, safe: int
) -> Iterator[tuple[str, int, int | None]]:
    """(stem, base offset, bytes to copy; None: the whole file) of segments with these offsets."""
    if safe > start and (not bases or bases[0] > start):
        log.chain.check_gap(start, bases[0] if bases else safe)
    for place, base in enumerate(bases):
        following = bases[place + 1] if place + 1 < len(bases) else None
        if (following is not None and following <= start) or base >= safe:
            continue
        segment = log.chain.segment(base)
        if following is not None and following <= safe:
            yield segment.stem, base, None
        else:
            end = _attempt(segment.path, partial(segment.end_position, safe))
            yield segment.stem, base, end


def copy_file(disk: Disk, source: str, target: str | None, upto: int | None) -> tuple[int, int]:
    """Copy and sync a file; returns its size and CRC-32C. ``target`` None: only read it.

    Raises FileNotFoundError, Failed if the source cannot be read; OSError of the target.
    """
    reading = _attempt(source, lambda: disk.open(source))
    writing = None if target is None else disk.open(target, write=True, create=True)
    at, checksum = 0, 0
    try:
        while upto is None or at < upto:
            size = _COPY_BYTES if upto is None else min(_COPY_BYTES, upto - at)
            data = _attempt(source, partial(disk.read, reading, size, at))
            if not data:
                break
            if writing is not None:
                _write_all(disk, writing, data, at)
            checksum = crc32c(data, checksum)
            at += len(data)
        if writing is not None:
            disk.sync(writing)
    finally:
        disk.close(reading)
        if writing is not None:
            disk.close(writing)
    return at, checksum


def _attempt(source: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise failure(error, "read", source) from None


def _bases(log: SegmentedLog) -> list[int]:
    """Raises Failed."""
    try:
        return log.bases()
    except OSError as error:
        raise failure(error, "back up", error.filename or log.name) from None


def _write_all(disk: Disk, fd: int, data: bytes, at: int) -> None:
    while data:
        written = disk.write(fd, [data], at)
        data, at = data[written:], at + written


def _write(disk: Disk, path: str, data: bytes) -> None:
    """Write a small file completely or not at all: it is synced under another name first."""
    part = path + ".part"
    fd = disk.open(part, write=True, create=True)
    try:
        _write_all(disk, fd, data, 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(part, path)


@dataclass(frozen=True, slots=True)
class _Manifest:
    directories: list[str]
    files: dict[str, tuple[int, int]]  # bytes, CRC-32C


def _manifest(disk: Disk, source: str) -> _Manifest:
    """Raises NotAStore, CorruptStore, Refused."""
    path = os.path.join(source, MANIFEST)
    if not disk.exists(path):
        raise NotAStore(f"{source}: not a finished backup: it has no {MANIFEST}")
    fd = disk.open(path)
    try:
        data = disk.read(fd, disk.size(path), 0)
    finally:
        disk.close(fd)
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise Refused(
                f"{path}: format {found['format']}, but this logstore knows only {FORMAT}"
            )
        files = {name: (it["bytes"], it["crc32c"]) for name, it in found["files"].items()}
        directories = [name for name in found["directories"] if isinstance(name, str)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptStore(f"{path}: not as a backup left it: {error!r}") from None
    for name in [*files, *directories]:
        if name.startswith("/") or ".." in name.split("/"):
            raise CorruptStore(f"{path}: names a file outside of the backup: {name!r}")
    return _Manifest(directories, files)


def _restored(disk: Disk, manifest: _Manifest, source: str, target: str) -> Iterator[Copied]:
    for folder in manifest.directories:
        disk.make_directory(os.path.join(target, folder))
    for name, (size, checksum) in manifest.files.items():
        path = os.path.join(source, name)
        try:
            found = copy_file(disk, path, os.path.join(target, name), None)
        except FileNotFoundError:
            raise CorruptStore(f"{path}: the file is missing; nothing was restored") from None
        if found != (size, checksum):
            raise CorruptStore(
                f"{path}: {found[0]} bytes with CRC {found[1]:#010x}, the backup had {size} with "
                f"{checksum:#010x}; nothing was restored"
            )
        yield Copied(name, size)
    for folder in manifest.directories:
        disk.sync_directory(os.path.join(target, folder))
    disk.sync_directory(target)
