"""A directory of Kafka-format partition directories without a catalogue, which is only read.

For the sample data, and for partitions copied out of a Kafka cluster. Directory names give the
topics and partitions; settings have their defaults; ``safe`` is the end of the last whole batch,
which is found when a log is first used.
"""

import os
import threading
from collections.abc import Mapping

from logstore.config import Config
from logstore.errors import (
    CorruptBatch,
    CorruptStore,
    ReadOnly,
    Refused,
    UnknownPartition,
    UnknownTopic,
)
from logstore.owner import Owner
from logstore.settings import TopicSettings
from logstore.storage.catalog import Entry, LogState
from logstore.storage.chain import Chain
from logstore.storage.directory import LogSize, WritableDirectory, size_of
from logstore.storage.disk import Disk, failure
from logstore.storage.files import OpenFiles
from logstore.storage.follower_log import FollowerLog
from logstore.storage.groups import GroupTable
from logstore.storage.kinds import KINDS
from logstore.storage.leftovers import Leftover
from logstore.storage.names import PIN, log_directory, parse_log_directory, parse_segment
from logstore.storage.pin import Pin
from logstore.storage.segment import EVERYTHING, Indexes
from logstore.storage.watermarks import Poller


class BareDirectory:
    """A directory that can only be read."""

    schema: int | None = None
    store_id = ""
    groups: GroupTable | None = None
    kinds = KINDS

    def __init__(self, path: str, config: Config, disk: Disk) -> None:
        self.path, self.config, self.disk = path, config, disk
        self.pin = Pin(disk, f"{path}/{PIN}")
        self._files = OpenFiles(disk, config.store.files_open_max, write=False)
        self._indexes = Indexes()
        self._poller = Poller(config.store.reader_poll_ms / 1000)
        self._logs: dict[tuple[str, int], FollowerLog] = {}
        self._opening = threading.Lock()  # two threads must not open the same log twice
        with disk.anchored(path):
            self._topics = found_topics(disk, path)
            disk.anchor(path)

    def topics(self) -> dict[str, Entry]:
        return self._topics

    def topic(self, name: str) -> Entry:
        entry = self._topics.get(name)
        if entry is None:
            raise UnknownTopic(
                f"no topic {name!r} in {self.path}: it has no directory {name}-0", name
            )
        return entry

    @property
    def writes(self) -> bool:
        return False

    def entries(self) -> list[tuple[str, Entry]]:
        return list(self._topics.items())

    def doomed(self) -> list[str]:
        return []

    def damaged_entries(self) -> Mapping[tuple[str, str], CorruptStore]:
        return {}

    def oldest_reader(self) -> tuple[int, int] | None:
        return None

    def leftovers(self) -> list[Leftover]:
        return []

    def look(self) -> None:
        """Nothing is written here."""

    def tidy(self) -> None:
        """Nothing is ever removed here."""

    def settings(self, entry: Entry) -> TopicSettings:
        return self.config.topic(entry.settings)

    def writer(self) -> Owner | None:
        return None

    def log(self, name: str, entry: Entry, partition: int) -> FollowerLog:
        if not 0 <= partition < entry.partitions:
            raise UnknownPartition(
                f"topic {name!r} has no partition {partition}, only 0 to {entry.partitions - 1}"
            )
        with self._opening:
            log = self._logs.get((name, partition))
            if log is None:
                log = self._logs[name, partition] = self._open_log(name, entry, partition)
            return log

    def _open_log(self, name: str, entry: Entry, partition: int) -> FollowerLog:
        directory = log_directory(name, partition)
        interval = self.settings(entry).index_interval_bytes
        # Compacted partitions have gaps, and nothing here says which are.
        path = os.path.join(self.path, directory)
        try:
            chain = Chain(path, self._files, self._indexes, interval, gaps_below=lambda: EVERYTHING)
            mark = _whole(chain)
        except OSError as error:
            raise failure(error, f"open {directory}", error.filename or path) from None
        return FollowerLog(directory, chain, lambda: mark, self._poller.watch, LogState)

    def size(self, name: str, entry: Entry, partition: int) -> LogSize:
        return size_of(self.log(name, entry, partition), partition)

    def noted_upkeep(self) -> bytes:
        return b""

    def standing(self, entry: Entry, partition: int) -> tuple[LogState, bytes]:
        return LogState(), b""

    def copy_catalog(self, path: str) -> None:
        raise Refused(f"{self.path}: partitions without a catalogue: copy their directories")

    def writable(self) -> WritableDirectory:
        raise ReadOnly(f"{self.path}: partitions without a catalogue can only be read")

    def close(self) -> None:
        self._files.close()
        self.disk.let_go(self.path)


def found_topics(disk: Disk, path: str) -> dict[str, Entry]:
    """The topics, by directories with segments; a topic's partitions must begin at 0."""
    partitions: dict[str, set[int]] = {}
    for name in disk.list(path):
        parsed = parse_log_directory(name)
        if parsed and _has_segments(disk, os.path.join(path, name)):
            partitions.setdefault(parsed[0], set()).add(parsed[1])
    topics = {}
    for name in sorted(partitions):
        count = 0
        while count in partitions[name]:
            count += 1
        if count:
            topics[name] = Entry("", count, {}, 0, [])
    return topics


def _has_segments(disk: Disk, path: str) -> bool:
    try:
        return any(parse_segment(name) is not None for name in disk.list(path))
    except OSError:  # no directory, or one that can't be looked into: it hides no other
        return False


def _whole(chain: Chain) -> tuple[int, int]:
    """The start, and the end of the last whole batch, found from the last index entry on."""
    if not chain.bases:
        return 0, 0
    last = chain.segment(chain.bases[-1])
    end = last.base_offset
    try:
        for _, batch in last.walk(last.position_of(EVERYTHING)):
            end = batch.next_offset
    except CorruptBatch:
        # The tail of a copied log may be torn, and a damaged one is named when it is read.
        return chain.bases[0], end
    return chain.bases[0], end
