"""The data directory in a process that only reads it, beside a writer or without one."""

import os
import threading
from collections.abc import Callable, Mapping

from logstore.config import Config
from logstore.errors import CorruptStore, ReadOnly, UnknownPartition
from logstore.owner import Owner
from logstore.settings import TopicSettings
from logstore.storage.catalog import Catalog, Entry, LogState, named
from logstore.storage.chain import Chain
from logstore.storage.directory import LogSize, WritableDirectory, size_of
from logstore.storage.disk import Disk, failure, refusal
from logstore.storage.files import OpenFiles
from logstore.storage.follower_log import FollowerLog
from logstore.storage.kinds import KINDS, Kinds
from logstore.storage.leftovers import Leftover, known_leftovers
from logstore.storage.lock import owner_of
from logstore.storage.names import CATALOG, LOCK, PIN, WATERMARKS
from logstore.storage.pin import Pin
from logstore.storage.segment import Indexes
from logstore.storage.watermarks import Poller, Watermark, Watermarks, is_made


class ReaderDirectory:
    """Follows the catalogue and the watermarks; commits offsets if the directory is writable."""

    def __init__(
        self,
        path: str,
        config: Config,
        disk: Disk,
        *,
        clock: Callable[[], int],
        kinds: Kinds = KINDS,
    ) -> None:
        """Raises SchemaTooNew, CorruptStore, Failed."""
        self.path, self.config, self.disk, self.kinds = path, config, disk, kinds
        self.pin = Pin(disk, self._file(PIN))
        self._marks: Watermarks | None = None
        try:
            disk.anchor(path)
        except OSError as error:
            raise refusal(error, "open the store for reading", path) from None
        try:
            self._open()
        except OSError as error:
            disk.let_go(path)
            raise refusal(error, "open the store for reading", error.filename or path) from None
        except BaseException:
            disk.let_go(path)
            raise
        self.groups = self._catalog.groups(disk, path, clock)
        self._files = OpenFiles(disk, config.store.files_open_max, write=False)
        self._indexes = Indexes()
        self._poller = Poller(config.store.reader_poll_ms / 1000)
        self._logs: dict[tuple[str, int], FollowerLog] = {}
        self._opening = threading.Lock()  # two threads must not open the same log twice

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _open(self) -> None:
        catalog = self._file(CATALOG)
        writable = self.disk.writable(self.path) and self.disk.writable(catalog)
        self._catalog = Catalog(self.disk, catalog, create=False, write=writable, kinds=self.kinds)
        try:
            self._open_marks()
        except BaseException:
            self._catalog.close()
            raise

    def _open_marks(self) -> None:
        path = self._file(WATERMARKS)
        if is_made(self.disk, path):  # else a writer is just doing that, or will
            self._marks = Watermarks(self.disk, path, write=False)

    def _marks_now(self) -> Watermarks | None:
        """The watermarks; the next writer creates them if they are missing or of an earlier
        version.
        """
        marks = self._marks
        if marks is None:
            self._open_marks()
        elif marks.is_replaced:
            self._marks = None
            self._open_marks()
            marks.close()
        return self._marks

    @property
    def schema(self) -> int:
        return self._catalog.schema

    @property
    def store_id(self) -> str:
        return self._catalog.store_id

    @property
    def settled(self) -> bool:
        """Whether the last writer closed the store and left no log unrecovered.

        A failed recovery counts, too, because this process cannot do better.
        """
        return self._catalog.clean and all(self._catalog.unrecovered().values())

    def writer(self) -> Owner | None:
        return owner_of(self.disk, self._file(LOCK))

    def topics(self) -> dict[str, Entry]:
        return self._catalog.topics()

    def topic(self, name: str) -> Entry:
        return self._catalog.known_topic(name)

    @property
    def writes(self) -> bool:
        return False

    def entries(self) -> list[tuple[str, Entry]]:
        return self._catalog.entries()

    def doomed(self) -> list[str]:
        return self._catalog.doomed()

    def damaged_entries(self) -> Mapping[tuple[str, str], CorruptStore]:
        return self._catalog.damaged_entries()

    def oldest_reader(self) -> tuple[int, int] | None:
        return self._catalog.oldest_reader()

    def leftovers(self) -> list[Leftover]:
        return known_leftovers(self._catalog, self.path)

    def look(self) -> None:
        """Does nothing, because nothing is written here."""

    def tidy(self) -> None:
        """Does nothing; the writing process does it."""

    def settings(self, entry: Entry) -> TopicSettings:
        own = self.kinds[entry.kind].settings(self.config.store)
        return self.config.topic({**own, **entry.settings})

    def log(self, name: str, entry: Entry, partition: int) -> FollowerLog:
        """The partition's log up to its safe offset. Raises UnknownPartition."""
        if not 0 <= partition < entry.partitions:
            raise UnknownPartition(
                f"topic {name!r} has no partition {partition}, only 0 to {entry.partitions - 1}"
            )
        with self._opening:
            log = self._logs.get((entry.id, partition))
            if log is None:
                log = self._logs[entry.id, partition] = self._open_log(name, entry, partition)
            return log

    def _open_log(self, name: str, entry: Entry, partition: int) -> FollowerLog:
        directory = self.kinds[entry.kind].directory(name, partition)
        self._files.forget_below(self._file(directory))  # a deleted topic of that name had others
        interval = self.settings(entry).index_interval_bytes

        def state() -> LogState:
            return self._state(name, entry, partition)

        try:
            chain = Chain(
                self._file(directory), self._files, self._indexes, interval,
                gaps_below=lambda: state().gaps_below,
                times_doubtful_below=lambda: state().times_doubtful_below,
                merged=lambda: state().merged,
            )  # fmt: skip
        except FileNotFoundError:
            raise CorruptStore(
                f"{self._file(directory)}: the catalogue knows this partition, but it is missing"
            ) from None
        except OSError as error:
            path = error.filename or self._file(directory)
            raise failure(error, f"open {directory}", path) from None
        mark = self._mark(name, entry, partition)

        def shown() -> int:
            marks = self._marks_now()
            slot = marks and marks.slot(entry.slots[partition], entry.tag(partition))
            return slot.shown() if slot else 0

        _, saved = self._saved_mark(name, entry, partition) or (0, 0)

        def undecided() -> int | None:
            marks = self._marks_now()
            slot = marks and marks.slot(entry.slots[partition], entry.tag(partition))
            published = slot.read() if slot else None
            if slot and published is not None and published[1] >= saved:
                return slot.undecided()
            return state().undecided  # what is published is behind it, after a power cut

        return FollowerLog(directory, chain, mark, self._poller.watch, state, shown, undecided)

    def _mark(
        self, name: str, entry: Entry, partition: int
    ) -> Callable[[], tuple[int, int] | None]:
        """The published (start, safe); the catalogue's saved values if none are published."""
        marks: Watermarks | None = None
        slot: Watermark | None = None
        # Neither goes back: what was saved before is a floor under what a damaged slot may say.
        start, safe = self._saved_mark(name, entry, partition) or (0, 0)
        stray: int | None = None  # a start that is published, but was never saved

        def mark() -> tuple[int, int] | None:
            nonlocal marks, slot, stray
            now = self._marks_now()
            if now is not None and now is not marks:
                marks, slot = now, now.slot(entry.slots[partition], entry.tag(partition))
                first, _ = slot.read() or (0, 0)
                saved, _ = self._saved_mark(name, entry, partition) or (0, 0)
                stray = first if first > saved else None  # it is saved before it is published
            published = slot.read() if slot is not None else None
            if published is None:
                return self._saved_mark(name, entry, partition)
            first = start if published[0] == stray else max(published[0], start)
            return first, max(published[1], safe)

        return mark

    def _saved_mark(self, name: str, entry: Entry, partition: int) -> tuple[int, int] | None:
        known = self._catalog.entry(entry.kind, name)
        if known is None or known.id != entry.id:
            return None
        state = self._state(name, entry, partition)
        return state.start, max(state.start, state.recovery_offset)

    def _state(self, name: str, entry: Entry, partition: int) -> LogState:
        """Raises CorruptStore."""
        try:
            return self._catalog.log_state(entry.log_key(partition))
        except CorruptStore as error:
            raise named(error, self.kinds[entry.kind].directory(name, partition)) from None

    def size(self, name: str, entry: Entry, partition: int) -> LogSize:
        return size_of(self.log(name, entry, partition), partition)

    def noted_upkeep(self) -> bytes:
        return self._catalog.noted_upkeep()

    def standing(self, entry: Entry, partition: int) -> tuple[LogState, bytes]:
        key = entry.log_key(partition)
        state = self._catalog.log_state(key)  # first: a note may be newer, and not older
        return state, self._catalog.note(key)

    def copy_catalog(self, path: str) -> None:
        self._catalog.environment.copy(self.disk, path)

    def writable(self) -> WritableDirectory:
        raise ReadOnly(f"{self.path}: the store is open for reading")

    def close(self) -> None:
        self._poller.close()
        self._files.close()
        if self._marks is not None:
            self._marks.close()
        self._catalog.close()
        self.disk.let_go(self.path)
