"""Verification: reads everything and checks it. Repairs derived files on request.

In every segment: each batch's header, offset, CRC and records; that offsets have no gap (in a store
only, because partitions from Kafka may be compacted); each index entry against the batch that it
names; that each transaction has an end, and that aborted ones are in the indexes. In the directory:
the catalogue against the partition directories. Records above ``safe`` are not checked, because
they are being written.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

from logstore.errors import CorruptBatch, Failed, LogstoreError, ReadOnly, UnknownPartition
from logstore.records.batch import Batch
from logstore.records.latest import latest, recorded
from logstore.storage import group_settings, mqtt, users, wills
from logstore.storage.aborted_index import AbortedIndex
from logstore.storage.catalog import LogState
from logstore.storage.directory import LocalDirectory, SegmentedLog
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.index import OFFSET_ENTRY, TIME_ENTRY, Index
from logstore.storage.kinds import Kind
from logstore.storage.names import (
    CATALOG,
    INDEX,
    LOG,
    TIMEINDEX,
    TXNINDEX,
    parse_log_directory,
    parse_segment,
    segment_stem,
)
from logstore.storage.segment import EVERYTHING, Indexes, Segment
from logstore.storage.transactions_seen import TransactionsSeen


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    path: str
    message: str
    # An index: rebuilt as it is used, nothing is lost. Of a .log file: a header with a wrong
    # largest timestamp, by which the time index must not go.
    derived: bool = False
    left: bool = False  # by a crash, and of no meaning: the next start removes it


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one segment or one directory."""

    path: str
    batches: int = 0
    records: int = 0
    bytes: int = 0
    findings: tuple[Finding, ...] = ()
    repaired: bool = False  # those of the index: it was made anew


def verify(
    directory: LocalDirectory, only: str | None = None, *, repair: bool = False
) -> Iterator[Report]:
    """A report for each segment, in order, and one for each directory with an error.

    ``only``: this topic. ``repair``: rebuild wrong indexes, and change nothing else. Raises
    UnknownTopic; with ``repair`` ReadOnly, StorageFull.
    """
    if repair and not directory.writes:
        raise ReadOnly(f"{directory.path}: the store is open for reading")
    entries = directory.entries() if only is None else [(only, directory.topic(only))]
    for name, entry in entries:
        kind = directory.kinds[entry.kind]
        for partition in range(entry.partitions):
            path = os.path.join(directory.path, kind.directory(name, partition))
            try:
                log = directory.log(name, entry, partition)
                damage = directory.size(name, entry, partition).damage
                reports = _settled(directory, path, log)
            except UnknownPartition:
                continue  # deleted since
            except LogstoreError as error:
                yield Report(path, findings=(Finding(path, _without(path, error)),))
                continue
            except OSError as error:
                if (name, entry) in directory.entries():  # else deleted since
                    yield Report(path, findings=(_unreadable(error, path),))
                continue
            if damage is not None:
                yield Report(path, findings=(Finding(path, str(damage)),))
            for report in reports:
                yield _repaired(log, report) if repair else report
    if only is None:
        yield from _unlisted(directory)
        yield from _group_settings(directory)
        yield from _users(directory)
        yield from _mqtt(directory)


def _group_settings(directory: LocalDirectory) -> Iterator[Report]:
    """Damaged rows of groups' settings."""
    table = directory.groups
    path = os.path.join(directory.path, CATALOG)
    for error in () if table is None else group_settings.load(table.environment)[1]:
        yield Report(path, findings=(Finding(path, _without(path, error)),))


def _users(directory: LocalDirectory) -> Iterator[Report]:
    """Damaged rows of users and rules."""
    table = directory.groups
    path = os.path.join(directory.path, CATALOG)
    for row in () if table is None else users.load(table.environment).damaged:
        yield Report(path, findings=(Finding(path, row.why.removeprefix(f"{path}: ")),))


def _mqtt(directory: LocalDirectory) -> Iterator[Report]:
    """Damaged rows of wills and sessions."""
    table = directory.groups
    path = os.path.join(directory.path, CATALOG)
    if table is None:
        return
    environment = table.environment
    for error in (*wills.load(environment).damaged, *mqtt.load(environment).damaged):
        yield Report(path, findings=(Finding(path, _without(path, error)),))


def _repaired(log: SegmentedLog, report: Report) -> Report:
    """The report after the segment's wrong indexes were rebuilt."""
    base = parse_segment(os.path.basename(report.path))
    if base is None or not any(it.derived for it in report.findings):
        return report
    try:
        log.rebuild_index(base)
    except (Failed, ReadOnly) as error:  # of this log alone
        return replace(report, findings=(*report.findings, Finding(report.path, str(error))))
    return replace(report, repaired=True)


def _without(path: str, error: LogstoreError) -> str:
    """The error without the path that begins it."""
    return str(error).removeprefix(f"{path}: ")


def _unreadable(error: OSError, path: str) -> Finding:
    return Finding(error.filename or path, f"can't be read: {error.strerror}")


def _unlisted(directory: LocalDirectory) -> Iterator[Report]:
    """Directories that belong to no usable logs: damaged entries, and unknown ones."""
    damaged = directory.damaged_entries()
    for (kind, name), error in damaged.items():
        path = os.path.join(directory.path, directory.kinds[kind].directory(name, 0))
        yield Report(path, findings=(Finding(path, str(error)),))
    for each in directory.kinds.values():
        yield from _strangers(
            directory, each, {name for kind, name in damaged if kind == each.name}
        )


def _strangers(directory: LocalDirectory, kind: Kind, damaged: set[str]) -> Iterator[Report]:
    """Directories where this kind has its logs that belong to none.

    A crash during the creation of a topic leaves empty directories, which the next creation uses.
    """
    disk, folder = directory.disk, os.path.join(directory.path, kind.folder)
    partitions = {name: it.partitions for name, it in directory.entries() if it.kind == kind.name}
    doomed = set(directory.doomed())  # the next start, or the next topic, removes them
    for file in sorted(disk.list(folder)) if disk.exists(folder) else ():
        parsed = parse_log_directory(file)
        if parsed is None or os.path.join(kind.folder, file) in doomed or parsed[0] in damaged:
            continue
        name, partition = parsed
        path = os.path.join(folder, file)
        if partition >= partitions.get(name, 0) and not _is_empty(disk, path):
            sentence = f"belongs to no {kind.name} of the catalogue"
            yield Report(path, findings=(Finding(path, sentence),))


def _is_empty(disk: Disk, path: str) -> bool:
    try:
        return not disk.list(path)
    except OSError:
        return False


def _settled(directory: LocalDirectory, path: str, log: SegmentedLog) -> list[Report]:
    """The reports of one log; repeated if upkeep has replaced its files meanwhile."""
    disk = directory.disk
    while True:
        before = _identities(disk, path)
        state = replace(log.state, gaps_below=log.chain.gaps_below())
        # Before: what is decided meanwhile is above.
        stable = log.stable if directory.schema is not None else None
        reports = list(_verify_log(disk, path, log.start, log.safe, state, stable))
        if not any(report.findings for report in reports) or _identities(disk, path) == before:
            return reports


def _identities(disk: Disk, path: str) -> dict[str, tuple[int, int]]:
    found = {}
    for name in disk.list(path):
        with suppress(FileNotFoundError):
            found[name] = disk.identity(os.path.join(path, name))
    return found


def _verify_log(
    disk: Disk, path: str, start: int, safe: int, state: LogState, stable: int | None
) -> Iterator[Report]:
    """``stable``: by the log; None: the log is in no store, so it is unknown."""
    gaps_below, transactions = state.gaps_below, TransactionsSeen()
    files = OpenFiles(disk, 16, write=False)
    try:
        names = disk.list(path)
        bases = sorted(base for name in names if (base := parse_segment(name)) is not None)
        if safe > start and (not bases or bases[0] > max(start, gaps_below)):
            yield Report(path, findings=(Finding(path, f"offsets from {start} on are missing"),))
        expected: int | None = None
        for base, following in pairwise([*bases, EVERYTHING]):
            if base >= safe and safe > bases[0]:
                return
            below = min(safe, following)
            report, end = verify_segment(files, path, base, below, gaps_below, transactions)
            findings = list(report.findings)
            if expected is not None and not expected <= base <= max(expected, gaps_below):
                sentence = f"begins at {base}, the segment before ends at {expected}"
                findings.insert(0, Finding(report.path, sentence))
                transactions.break_off()
            merging = base == state.merged_base and following < state.merged_below
            foreign = None if merging else _left_over(disk, report)
            if following <= safe and foreign and end is not None:
                findings.append(foreign)
                end = None
            if following == EVERYTHING and end is not None and end < safe:
                findings.append(Finding(report.path, f"ends at offset {end}, expected {safe}"))
            if following >= safe and stable is not None:
                findings += [Finding(*it) for it in transactions.open_below(stable)]
            yield Report(report.path, report.batches, report.records, report.bytes, tuple(findings))
            expected = end
    finally:
        files.close()


def _left_over(disk: Disk, report: Report) -> Finding | None:
    """Bytes after the batches of a sealed segment, where nothing should be."""
    left = disk.size(report.path) - report.bytes
    if not left:
        return None
    sentence = f"at position {report.bytes}: {left} bytes that are not a batch of this log"
    return Finding(report.path, sentence)


def verify_segment(
    files: OpenFiles,
    directory: str,
    base_offset: int,
    below: int,
    gaps_below: int,
    transactions: TransactionsSeen,
) -> tuple[Report, int | None]:
    """Verify one segment up to ``below``; returns the next offset, or None if reading stopped.

    ``gaps_below``: compaction may have removed offsets below. ``transactions``: those of earlier
    segments; this segment's are added.
    """
    stem = segment_stem(directory, base_offset)
    segment = Segment(directory, base_offset, files, Indexes(), 0)
    seen = _Seen()
    findings: list[Finding] = []
    end, is_whole = base_offset, False
    try:
        for position, batch in segment.walk(0, below):
            if batch.base_offset > max(end, gaps_below):
                sentence = f"at position {position}: offsets {end} to {batch.base_offset - 1}"
                findings.append(Finding(stem + LOG, f"{sentence} are missing"))
                transactions.break_off()
            newest, wrong = _newest(batch)
            if wrong is not None:
                findings.append(Finding(stem + LOG, f"at position {position}: {wrong}"))
            seen.add(position, batch, newest)
            transactions.add(batch, stem + LOG)
            end = batch.next_offset
        is_whole = True
    except CorruptBatch as error:
        sentence = str(error).removeprefix(f"{stem}{LOG} ")
        findings.append(Finding(stem + LOG, f"{sentence}; what follows can't be read"))
    except OSError as error:
        sentence = f"after offset {end - 1}: can't be read: {error.strerror}"
        findings.append(Finding(stem + LOG, sentence))
    findings += seen.wrong_headers(stem)
    if not is_whole:
        transactions.break_off()
    findings += _of_indexes(files, stem, base_offset, below, seen, transactions)
    report = Report(stem + LOG, len(seen.positions), seen.records, seen.bytes, tuple(findings))
    return report, end if is_whole else None


def _newest(batch: Batch) -> tuple[int, CorruptBatch | None]:
    """The largest timestamp of its records, as far as known; and the error, if any."""
    try:
        batch.check()
        return recorded(batch), None
    except CorruptBatch as error:
        return latest(batch), error


def _of_indexes(
    files: OpenFiles,
    stem: str,
    base_offset: int,
    below: int,
    seen: "_Seen",
    transactions: TransactionsSeen,
) -> Iterator[Finding]:
    """The errors in the files beside a segment's log."""
    try:
        yield from seen.check(Index.load(files, stem, base_offset, 0), stem)
        yield from _unusable(files, stem)
        entries = AbortedIndex(files, stem).since(base_offset, below)
        yield from (Finding(stem + TXNINDEX, it) for it in transactions.end_segment(entries))
    except CorruptBatch as error:
        yield Finding(stem + TXNINDEX, str(error).removeprefix(f"{stem}{TXNINDEX}: "))
    except OSError as error:
        yield Finding(stem + INDEX, f"can't be read: {error.strerror}", derived=True)


def _unusable(files: OpenFiles, stem: str) -> Iterator[Finding]:
    """Index files that readers do not need."""
    shapes_are_good = True
    for path, entry in ((stem + INDEX, OFFSET_ENTRY), (stem + TIMEINDEX, TIME_ENTRY)):
        sentence = ""
        if files.disk.is_odd(path):
            sentence = "it is not a regular file"
        elif not files.disk.exists(path):
            sentence = "the file is missing"
        elif files.disk.size(path) % entry.size:
            sentence = "the last entry is cut off"
        if sentence:
            shapes_are_good = False
            yield Finding(path, sentence, derived=True)
    has_times = shapes_are_good and files.disk.size(stem + TIMEINDEX)
    if has_times and not Index.load(files, stem, 0, 0).times:  # one in doubt: both left alone
        yield Finding(stem + INDEX, "the entries do not rise, here or by time", derived=True)


class _Seen:
    """The batches of a segment, to compare its indexes with."""

    def __init__(self) -> None:
        self.positions = array("q")
        self.last_offsets = array("q")
        self.timestamps = array("q")  # the largest so far, by the records
        self.records = 0
        self._wrong = 0  # batches whose header says another one than their records
        self._first_wrong = ""
        self.bytes = 0

    def add(self, position: int, batch: Batch, newest: int) -> None:
        """``newest``: the largest timestamp of its records."""
        before = self.timestamps[-1] if self.timestamps else newest
        self.positions.append(position)
        self.last_offsets.append(batch.last_offset)
        self.timestamps.append(max(before, newest))
        if newest != latest(batch):
            self._wrong += 1
            self._first_wrong = self._first_wrong or (
                f"at position {position}: the header of the batch at offset {batch.base_offset} "
                f"says {batch.max_timestamp_ms} ms at the latest, its records say {newest}"
            )
        self.records += batch.record_count
        self.bytes += batch.size

    def wrong_headers(self, stem: str) -> list[Finding]:
        """One finding for all of them: a producer that writes one writes many."""
        if not self._wrong:
            return []
        more = f" (and {self._wrong - 1} more)" if self._wrong > 1 else ""
        return [Finding(stem + LOG, self._first_wrong + more, derived=True)]

    def check(self, index: Index, stem: str) -> list[Finding]:
        """Check the index entries of batches that were read."""
        findings = []
        base, last = index.base_offset, self.last_offsets[-1] if self.last_offsets else -1
        for relative, position in zip(index.offsets, index.positions, strict=True):
            at = bisect_left(self.last_offsets, base + relative)
            if base + relative <= last and self.positions[at] != position:
                sentence = f"the entry of offset {base + relative} names position {position}"
                findings.append(Finding(stem + INDEX, sentence, derived=True))
        for timestamp_ms, relative in zip(index.times, index.time_offsets, strict=True):
            at = bisect_left(self.last_offsets, base + relative)
            if base + relative <= last and self.timestamps[at] != timestamp_ms:
                sentence = f"the entry of offset {base + relative} says {timestamp_ms} ms"
                findings.append(Finding(stem + TIMEINDEX, sentence, derived=True))
        return findings
