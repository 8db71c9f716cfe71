"""What a mirror has noted: for each partition, where the records of the source will stand.

One file of JSON lines. A line is durable before the records that it speaks of are written to the
target, so after any crash it says at least as much as the target holds, and the target's end says
how much of it is true. Lines of the same partition follow each other in the order of the target.

    ["begin", topic, source's topic id, target's topic id]   a copy of the one into the other
    ["run", topic, partition, source, target, count]         so many records, from where to where
    ["spoiled", topic]                                       others wrote to that copy
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from logstore import portable
from logstore.errors import CorruptStore, Refused
from logstore.log import TopicPartition
from logstore.storage.disk import Disk
from logstore.storage.lock import LockFile, owner_of

from .track import Run, Track

FILE: Final = "journal.jsonl"
LOCK: Final = "lock"
LINES_SPARE: Final = 10_000  # superfluous lines; beyond this it is rewritten


class Journal:
    """Open in one process at a time."""

    def __init__(self, directory: Path) -> None:
        """Open the journal, in a new directory if necessary. Raises Refused, CorruptStore,
        OSError.
        """
        self._path = directory / FILE
        _make(directory)
        lock = str(directory / LOCK)
        self._lock = LockFile(Disk(), lock)
        if not self._lock.take():
            raise Refused(
                f"{directory}: is in use by {owner_of(Disk(), lock)}: wait until it ends, or stop"
                " it"
            )
        self.tracks: dict[TopicPartition, Track] = {}
        self._begun: dict[str, tuple[str, str]] = {}
        self._spoiled: set[str] = set()
        self._lines = 0
        self._fd = -1
        try:
            self._load()
            self._write_anew()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()

    # Reading

    def _load(self) -> None:
        with suppress(FileNotFoundError):
            data = self._path.read_bytes()
            end = data.rfind(b"\n") + 1  # a line cut off by a crash describes nothing written
            lines = data[:end].splitlines()
            for number, line in enumerate(lines, 1):
                try:
                    self._take(msgspec.json.decode(line))
                except (msgspec.DecodeError, ValueError, TypeError):
                    if all(_torn(it) for it in lines[number - 1 :]):
                        return  # a power cut while it was written, before it was durable
                    raise CorruptStore(
                        f"{self._path}: line {number} is damaged, so the progress of the copy"
                        " is unknown: delete the copy and this file, then start again"
                    ) from None

    def _take(self, line: object) -> None:
        match line:
            case ["begin", str(topic), str(source_id), str(target_id)]:
                self._begin(topic, source_id, target_id)
            case ["run", str(topic), int(partition), int(source), int(target), int(count)]:
                track = self.tracks.setdefault((topic, partition), Track())
                track.add(Run(source, target, count))
            case ["spoiled", str(topic)]:
                self._spoiled.add(topic)
            case _:
                raise ValueError

    def begun(self, topic: str) -> tuple[str, str] | None:
        """The ids of source and target of a topic's copy, if there is one."""
        return self._begun.get(topic)

    def is_spoiled(self, topic: str) -> bool:
        return topic in self._spoiled

    def _begin(self, topic: str, source_id: str, target_id: str) -> None:
        self._spoiled.discard(topic)
        self._begun[topic] = source_id, target_id
        for place in [it for it in self.tracks if it[0] == topic]:
            del self.tracks[place]

    # Writing

    def begin(self, topic: str, source_id: str, target_id: str) -> None:
        """Begin a copy durably; notes of an earlier copy are void."""
        self._begin(topic, source_id, target_id)
        self._append([("begin", topic, source_id, target_id)])

    def spoil(self, topic: str) -> None:
        """Note durably that the copy is invalid."""
        self._spoiled.add(topic)
        self._append([("spoiled", topic)])

    def note(self, runs: Mapping[TopicPartition, Iterable[Run]]) -> None:
        """Note durably what is about to be written."""
        lines = []
        for place, some in runs.items():
            track = self.tracks.setdefault(place, Track())
            for run in some:
                track.add(run)
                lines.append(("run", *place, *run))
        self._append(lines)
        if self._lines > 2 * sum(map(len, self.tracks.values())) + LINES_SPARE:
            self._write_anew()

    def _append(self, lines: Iterable[object]) -> None:
        data = [msgspec.json.encode(line) + b"\n" for line in lines]
        _write_all(self._fd, b"".join(data))
        portable.sync(self._fd)
        self._lines += len(data)

    def _write_anew(self) -> None:
        """Rewrite the journal with the fewest lines; the rename makes it effective."""
        lines: list[object] = [("begin", topic, *ids) for topic, ids in self._begun.items()]
        lines += [("spoiled", topic) for topic in self._spoiled]
        lines += [("run", *place, *run) for place, track in self.tracks.items() for run in track]
        new = self._path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            _write_all(fd, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            portable.sync_whole(fd)
            new.rename(self._path)
            portable.sync_directory(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._lines = fd, len(lines)


def _torn(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except msgspec.DecodeError:
        return True
    return False


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _make(directory: Path) -> None:
    """Create the directory; its name and those of its parents are durable."""
    missing = [it for it in (directory, *directory.parents) if not it.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for made in missing:
        portable.sync_directory(made.parent)
