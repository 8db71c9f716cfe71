"""The data directory in the one process that writes it."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeVar

from logstore.config import Config
from logstore.counts.recoveries import Recoveries
from logstore.counts.syncs import Syncs
from logstore.errors import (
    CorruptStore,
    LogFailed,
    LogstoreError,
    StorageFull,
    StoreLocked,
    TopicExists,
    UnknownPartition,
    UnknownTopic,
)
from logstore.log import Once
from logstore.names import check_apart, check_folded, check_topic
from logstore.owner import Owner, in_the_way
from logstore.settings import TopicSettings
from logstore.storage.bare import found_topics
from logstore.storage.catalog import Catalog, Entry, GivenIds, LogState, named
from logstore.storage.chain import Chain
from logstore.storage.directory import LogSize, WritableDirectory, size_of
from logstore.storage.disk import OTHERS, Disk, failure, make_directories, refusal
from logstore.storage.disk_log import DiskLog
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flushable, Flusher
from logstore.storage.in_place import InPlace, are_in_place, identities
from logstore.storage.kinds import KINDS, LANE, TOPIC, Kind, Kinds
from logstore.storage.leftovers import Leftover, Leftovers
from logstore.storage.lock import LockFile, owner_of
from logstore.storage.names import (
    CATALOG,
    LOCK,
    LOCK_ENDING,
    PIN,
    WATERMARKS,
    parse_segment,
)  # fmt: skip
from logstore.storage.pin import Pin
from logstore.storage.readiness import unready
from logstore.storage.recovery import recover
from logstore.storage.segment import Indexes
from logstore.storage.unrecovered import LogPlace, Unrecovered
from logstore.storage.volatile import VolatileLogs
from logstore.storage.watermarks import Watermarks

LOOKS_MAX: Final = 1024  # logs at one time, half a second after the last: 4 us each
READERS_S: Final = 30.0  # a dead reader of the catalogue keeps pages from being used again so long

NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})

_log = logging.getLogger("logstore.storage")

_T = TypeVar("_T")


class WriterDirectory:
    """Holds the lock from construction to ``close``; recovers logs one by one after a crash."""

    def __init__(
        self,
        path: str,
        config: Config,
        disk: Disk,
        *,
        clock: Callable[[], int],
        kinds: Kinds = KINDS,
    ) -> None:
        """Creates the directory if it does not exist.

        Raises StoreLocked, SchemaTooNew, CorruptStore, ReadOnly, StorageFull.
        """
        self.path, self.config, self.disk, self.kinds = path, config, disk, kinds
        self.pin = Pin(disk, self._file(PIN))
        self._clock = clock
        # Told of each segment that a log begins, by the log's name and the segment's base offset.
        self.rolled: Callable[[str, int], None] | None = None
        self._changing = threading.RLock()  # which topics there are, and which logs are open
        self._saving = threading.Lock()  # where logs stand; taken after a log's own lock
        self._lock = LockFile(disk, self._file(LOCK))
        self._attempt("open the store for writing", self._enter)
        try:
            self._attempt("open the store for writing", self._take_lock)
            self._attempt("open the store for writing", self._open_store)
        except BaseException:
            self._lock.release()
            disk.let_go(path)
            raise

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _attempt(self, doing: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except OSError as error:
            raise refusal(error, doing, error.filename or self.path) from None

    def _enter(self) -> None:
        if not self.disk.exists(self._file(CATALOG)):
            make_directories(self.disk, self.path)
        self.disk.anchor(self.path)

    def _take_lock(self) -> None:
        if not self._lock.take(untold=True):
            owner = owner_of(self.disk, self._lock.path)
            raise StoreLocked(f"{self.path}: {in_the_way(owner)}", owner)

    def _keep_others_out(self, path: str, *, tell: bool) -> None:
        """Restrict a directory: other users must not reach older files in it."""
        try:
            mode = self.disk.mode(path)
            if not mode & OTHERS:
                return
            self.disk.set_mode(path, mode & ~OTHERS)
        except OSError as error:
            _log.warning(
                "%s: others of this machine may read it, and that can't be changed: %s: give it to "
                "the user that logstore runs as, with mode 700", path, error.strerror,
            )  # fmt: skip
            return
        if tell:
            _log.warning(
                "%s: others of this machine could read it: its mode was %03o, and is %03o now",
                path, mode, mode & ~OTHERS,
            )  # fmt: skip

    def _open_store(self) -> None:
        new = not self.disk.exists(self._file(CATALOG)) or not self.disk.size(self._file(CATALOG))
        if new and (found := found_topics(self.disk, self.path)):
            raise CorruptStore(
                f"{self._file(CATALOG)}: is empty, but topics such as {min(found)!r} have records: "
                f"restore it from a backup"
            )
        self._catalog = Catalog(
            self.disk, self._file(CATALOG), create=True, write=True, kinds=self.kinds
        )
        try:
            self._keep_others_out(self.path, tell=not new)
            if new:
                self.disk.sync_directory(self.path)
            with suppress(StorageFull):  # the room already allocated must do for freeing some
                self._catalog.environment.check_room()
            self.groups = self._catalog.groups(self.disk, self.path, self._clock)
            self._marks = Watermarks(self.disk, self._file(WATERMARKS), write=True)
            # Without one of these, what is committed or shown here is found by nobody else.
            shared = (CATALOG, CATALOG + LOCK_ENDING, WATERMARKS)
            self._shared = identities(self.disk, map(self._file, shared))
            self._files = OpenFiles(self.disk, self.config.store.files_open_max, write=True)
            self._indexes = Indexes()
            self._logs: dict[str, DiskLog] = {}
            self._readers_due_s = 0.0
            self._to_look_at: list[DiskLog] = []
            self._in_place = InPlace(self.path, self._is_in_place, self._lose)
            self._catalog.environment.guard = self._in_place.check
            self._flusher = Flusher(self._files, self._after_sync, self._in_place)
            self._keys: dict[DiskLog, bytes] = {}
            self._unrecovered = Unrecovered()
            self.recoveries = Recoveries()
            self._stirred: set[str] = set()  # directories of logs; see ``stirred``
            self._opening: set[str] = set()  # directories of logs that are being opened
            self._opened = threading.Condition(self._changing)
            self._leftovers = Leftovers(
                self.disk, self.path, self._catalog, self._files, self._discard
            )
            self._leftovers.bury()
            self._mark_unrecovered()
            self._volatile = VolatileLogs(
                self.path, self._files, self._in_place, self._kind_settings(LANE)
            )
            self._catalog.opened()
        except BaseException:
            self._catalog.close()
            raise

    def _mark_unrecovered(self) -> None:
        """After a crash, each log is recovered at its first use, or by ``recover_next``.

        Until then, other processes see only what was synced.
        """
        states, left = self._catalog.log_states(), self._catalog.unrecovered()
        crashed = not self._catalog.clean
        for name, entry in self._catalog.entries():
            for partition in range(entry.partitions):
                key = entry.log_key(partition)
                slot = self._marks.slot(entry.slots[partition], entry.tag(partition))
                if crashed or key in left:
                    slot.hold()
                    self._unrecovered.found(
                        key, LogPlace(name, entry, partition), tried=left.get(key, False)
                    )
                    continue
                state = states.get(key, LogState())
                if state is None:  # damaged: whoever opens that partition is told
                    continue
                _, safe = slot.read() or (0, 0)
                slot.publish(
                    state.start, max(safe, state.recovery_offset, state.start), state.undecided
                )

    def recover_next(self) -> bool:
        """Recover a log that nothing has used since a crash; False: none is left.

        The log is then closed cleanly, so that unused logs take no memory. A log that cannot be
        recovered delays no other, and using it raises the reason.
        """
        place = self._unrecovered.next()
        if place is None:
            return False
        damage: LogstoreError | None
        try:
            damage = self._open(place.name, place.entry, place.partition, keep=False).damage
        except (UnknownTopic, UnknownPartition):  # deleted since
            return True
        except LogstoreError as error:
            damage = error
        if damage is not None:
            _log.warning("not recovered: %s", damage)
        return True

    def undecided(self, name: str, entry: Entry, partition: int) -> int | None:
        """As WritableDirectory.undecided."""
        log = self._logs.get(self.kinds[entry.kind].directory(name, partition))
        key = entry.log_key(partition)
        if log is None and key in self._unrecovered:
            log = self._open(name, entry, partition, keep=False)
        return self._catalog.log_state(key).undecided if log is None else log.undecided

    def _is_in_place(self) -> bool:
        return (
            self.disk.at_home(self.path)
            and self._lock.in_place()
            and are_in_place(self.disk, self._shared)
        )

    def _lose(self, error: LogFailed) -> None:
        """The directory is no longer the one that was opened."""
        _log.error("%s", error)
        for log in list(self._logs.values()):
            log.lose(error)

    def look(self) -> None:
        """Called about twice a second. Raises LogFailed if the directory was moved or removed.

        It raises once; from then on, every write is refused with this error.
        """
        if self._in_place.error is None:
            with suppress(LogFailed):
                self._in_place.check_now()
                self._look_at_logs()
        now_s = time.monotonic()
        if now_s >= self._readers_due_s:
            self._readers_due_s = now_s + READERS_S
            with suppress(LogstoreError):  # it is tried again
                self._catalog.environment.clear_readers()

    def _look_at_logs(self) -> None:
        """Also checks logs without writes, because readers and waiting callers must learn of it,
        too.
        """
        if not self._to_look_at:
            self._to_look_at = list(self._logs.values())
        now, self._to_look_at = self._to_look_at[:LOOKS_MAX], self._to_look_at[LOOKS_MAX:]
        for log in now:
            if (error := log.look()) is not None:
                _log.error("%s", error)

    @property
    def recovered(self) -> bool:
        """Whether every log was closed cleanly, or was recovered."""
        return not self.unrecovered

    @property
    def unrecovered(self) -> int:
        """As WritableDirectory.unrecovered."""
        return len(self._unrecovered)

    def is_recovered(self, entry: Entry, partition: int) -> bool:
        return entry.log_key(partition) not in self._unrecovered

    @property
    def schema(self) -> int:
        return self._catalog.schema

    @property
    def store_id(self) -> str:
        return self._catalog.store_id

    def writer(self) -> Owner | None:
        return owner_of(self.disk, self._lock.path)

    # Topics

    def topics(self) -> dict[str, Entry]:
        return self._catalog.topics()

    def topic(self, name: str) -> Entry:
        return self._catalog.known_topic(name)

    @property
    def writes(self) -> bool:
        return True

    def entries(self) -> list[tuple[str, Entry]]:
        return self._catalog.entries()

    def doomed(self) -> list[str]:
        return self._catalog.doomed()

    def damaged_entries(self) -> Mapping[tuple[str, str], CorruptStore]:
        return self._catalog.damaged_entries()

    def oldest_reader(self) -> tuple[int, int] | None:
        return self._catalog.oldest_reader()

    def leftovers(self) -> list[Leftover]:
        return self._leftovers.known()

    def tidy(self) -> None:
        self._in_place.check_now()
        with self._changing:
            self._leftovers.bury()

    def settings(self, entry: Entry) -> TopicSettings:
        return self._kind_settings(self.kinds[entry.kind], entry.settings)

    def _kind_settings(self, kind: Kind, given: Mapping[str, str] = NO_SETTINGS) -> TopicSettings:
        return self.config.topic({**kind.settings(self.config.store), **given})

    def note_upkeep(self, text: bytes) -> None:
        with self._changing:
            self._catalog.note_upkeep(text)

    def noted_upkeep(self) -> bytes:
        return self._catalog.noted_upkeep()

    def standing(self, entry: Entry, partition: int) -> tuple[LogState, bytes]:
        key = entry.log_key(partition)
        state = self._catalog.log_state(key)  # first: a note may be newer, and not older
        return state, self._catalog.note(key)

    def copy_catalog(self, path: str) -> None:
        self._catalog.environment.copy(self.disk, path)

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> Entry:
        return self.create(TOPIC.name, check_topic(name), partitions, settings)

    def create(self, kind: str, name: str, partitions: int, settings: Mapping[str, str]) -> Entry:
        """As ``create_topic``, logs of any kind."""
        with self._changing:
            if self._catalog.entry(kind, name) is not None:
                raise TopicExists(f"{kind} {name!r} already exists")
            if kind == TOPIC.name:
                check_apart(name, self._catalog.topic_names())
                if self.disk.exists(self._file(CATALOG.upper())):
                    check_folded(name, self._catalog.topic_names())
            self._attempt(
                f"create {kind} {name!r}",
                lambda: self._make_directories(kind, name, range(partitions)),
            )
            slots = self._reserve_slots(name, partitions)
            entry = self._catalog.add(kind, name, slots, settings, self._clock())
            self._publish_new(entry, 0)
            return entry

    def _reserve_slots(self, name: str, count: int) -> list[int]:
        """Reserve slots in the watermarks before the catalogue lists the logs."""
        slots = self._catalog.free_slots(count)
        self._attempt(f"make room for {name!r}", lambda: self._marks.reserve(max(slots, default=0)))
        return slots

    def _publish_new(self, entry: Entry, first: int) -> None:
        for partition in range(first, entry.partitions):
            self._marks.slot(entry.slots[partition], entry.tag(partition)).publish(0, 0)

    def _make_directories(self, kind: str, name: str, partitions: Iterable[int]) -> None:
        """Create directories before the catalogue lists the logs; empty ones left by a crash are
        reused.
        """
        self._in_place.check_now()
        names = [self.kinds[kind].directory(name, partition) for partition in partitions]
        self._leftovers.make_way(names)  # or the next start would remove what is made here
        folder = os.path.join(self.path, self.kinds[kind].folder).removesuffix("/")
        if folder != self.path:
            self.disk.make_directory(folder)
            self.disk.sync_directory(self.path)
        for directory in map(self._file, names):
            self.disk.make_directory(directory)
            if any(parse_segment(file) is not None for file in self.disk.list(directory)):
                raise CorruptStore(
                    f"{directory}: holds segments, but the catalogue does not know the partition: "
                    f"move the directory away"
                )
        self.disk.sync_directory(folder)

    def change_topic(
        self, name: str, *, partitions: int | None = None, settings: Mapping[str, str] | None = None
    ) -> Entry:
        with self._changing:
            return self._change(TOPIC, self.topic(name), name, partitions, settings)

    def change(self, kind: str, name: str, settings: Mapping[str, str]) -> Entry:
        """As WritableDirectory.change."""
        with self._changing:
            entry = self._catalog.known(kind, name)
            return self._change(self.kinds[kind], entry, name, None, settings)

    def _change(
        self,
        kind: Kind,
        entry: Entry,
        name: str,
        partitions: int | None,
        settings: Mapping[str, str] | None,
    ) -> Entry:
        if partitions is not None:
            added = range(entry.partitions, partitions)
            self._attempt(
                f"add partitions to {name!r}",
                lambda: self._make_directories(kind.name, name, added),
            )
        slots = self._reserve_slots(name, (partitions or entry.partitions) - entry.partitions)
        changed = self._catalog.change(kind.name, name, added_slots=slots, settings=settings)
        self._publish_new(changed, entry.partitions)
        for partition in range(entry.partitions):
            self._stirred.add(kind.directory(name, partition))
            log = self._logs.get(kind.directory(name, partition))
            if log is not None:
                log.apply(self.settings(changed))
        return changed

    def writable(self) -> WritableDirectory:
        return self

    def unready(self) -> Mapping[str, str]:
        """As WritableDirectory.unready."""
        return unready(
            self.path,
            self.disk,
            self._in_place.check_now,
            self._catalog.try_write,
            list(self._logs.values()),
        )

    def announce(self, endpoints: Mapping[str, str], cluster: str = "") -> None:
        self._attempt("announce the endpoints", lambda: self._lock.announce(endpoints, cluster))

    def never_wait_in(self, thread: int) -> None:
        """As WritableDirectory.never_wait_in."""
        self._files.never_wait_in(thread)

    def producer_ids(self) -> GivenIds:
        with self._changing:
            return self._catalog.producer_ids(self._clock())

    def new_producer_ids(self, count: int) -> int:
        with self._changing:
            return self._catalog.new_producer_ids(count)

    def delete_topic(self, name: str) -> None:
        self.delete(TOPIC.name, name)

    def delete(self, kind: str, name: str) -> None:
        """As ``delete_topic``, logs of any kind."""
        self._in_place.check_now()
        with self._changing:
            self._wait_until_opened(kind, name)
            also = self.groups.offsets.without_topic(name) if kind == TOPIC.name else ()
            entry = self._catalog.remove(kind, name, also)
            for partition in range(entry.partitions):
                self._discard(self.kinds[kind].directory(name, partition))
                self._marks.slot(entry.slots[partition], entry.tag(partition)).release()
                self._unrecovered.done(entry.log_key(partition))
            self._leftovers.bury()

    def _wait_until_opened(self, kind: str, name: str) -> None:
        """Wait until no log of this name is being opened, which would still touch its files."""
        entry = self._catalog.known(kind, name)
        directories = {self.kinds[kind].directory(name, it) for it in range(entry.partitions)}
        while not directories.isdisjoint(self._opening):
            self._opened.wait()

    def _discard(self, directory: str) -> None:
        log = self._logs.pop(directory, None)
        if log is not None:
            self._keys.pop(log, None)
            log.discard()

    # Logs

    def log(self, name: str, entry: Entry, partition: int) -> DiskLog:
        """The partition's log, recovered at first use. Raises UnknownPartition."""
        directory = self.kinds[entry.kind].directory(name, partition)
        return self._logs.get(directory) or self._open(name, entry, partition)

    def _open(self, name: str, entry: Entry, partition: int, *, keep: bool = True) -> DiskLog:
        """Open one log, in one thread, because two openings of the same files would overwrite each
        other.

        Other logs can be opened meanwhile, because a recovery may take seconds. Not ``keep``: only
        recover it.
        """
        directory = self.kinds[entry.kind].directory(name, partition)
        with self._changing:
            while directory in self._opening:
                self._opened.wait()
            if (known := self._logs.get(directory)) is not None:
                return known
            entry = self._entry_now(name, entry, partition)
            self._opening.add(directory)
        log = None
        crashed, began_s = entry.log_key(partition) in self._unrecovered, time.monotonic()
        try:
            log = self._first_use(directory, entry, partition)
            keep = keep or not self._let_go(log, entry.log_key(partition))
        finally:
            if crashed:
                failed = log is None or log.damage is not None
                self.recoveries.add(time.monotonic() - began_s, failed=failed)
            with self._changing:
                self._opening.discard(directory)
                if log is not None and keep:
                    self._logs[directory] = log
                    self._keys[log] = entry.log_key(partition)
                self._opened.notify_all()
        with self._changing:
            if directory in self._logs:
                now = self._catalog.known(entry.kind, name)
                if now.settings != entry.settings:  # changed meanwhile
                    log.apply(self.settings(now))
        return log

    def _entry_now(self, name: str, entry: Entry, partition: int) -> Entry:
        """The entry again, because its settings may have changed. Raises UnknownPartition."""
        if not 0 <= partition < entry.partitions:
            raise UnknownPartition(
                f"{entry.kind} {name!r} has no partition {partition}, "
                f"only 0 to {entry.partitions - 1}"
            )
        if self._in_place.error is not None:
            raise self._in_place.error
        known = self._catalog.known(entry.kind, name)
        if known.id != entry.id:
            directory = self.kinds[entry.kind].directory(name, partition)
            raise UnknownPartition(f"{directory}: its {entry.kind} was deleted")
        return known

    def _first_use(self, directory: str, entry: Entry, partition: int) -> DiskLog:
        key = entry.log_key(partition)
        try:
            log = self._open_log(directory, entry, partition)
        except OSError as error:
            self._unrecovered.failed(key)
            path = error.filename or self._file(directory)
            raise failure(error, f"open {directory}", path) from None
        except CorruptStore as error:
            self._unrecovered.failed(key)
            raise named(error, directory) from None
        except LogstoreError:
            self._unrecovered.failed(key)
            raise
        if log.damage is None:
            self._unrecovered.done(key)
        elif key in self._unrecovered:
            self._unrecovered.failed(key)
        return log

    def _let_go(self, log: DiskLog, key: bytes) -> bool:
        """Save the log's state and close it; returns False, and it stays open, if that fails."""
        if log.damage is not None:
            return False  # what was found is told by it
        saved = log.state
        try:
            state = log.recovery_point()
            if state != saved:
                notes = {} if log.notes is None else {key: log.note}
                self._catalog.save_log_states({key: state}, notes)
        except (LogstoreError, OSError):
            return False
        log.let_go()
        return True

    def _open_log(self, name: str, entry: Entry, partition: int) -> DiskLog:
        path, settings = self._file(name), self.settings(entry)
        if not self.disk.exists(path):
            raise CorruptStore(f"{path}: the catalogue knows this partition, but it is missing")
        self._keep_others_out(path, tell=False)  # a link may lead out of the directory
        key = entry.log_key(partition)
        chain = Chain(
            path, self._files, self._indexes, settings.index_interval_bytes,
            gaps_below=lambda: self._catalog.log_state(key).gaps_below,
            times_doubtful_below=lambda: self._catalog.log_state(key).times_doubtful_below,
            merged=lambda: self._catalog.log_state(key).merged,
        )  # fmt: skip
        slot = self._marks.slot(entry.slots[partition], entry.tag(partition))
        state = self._catalog.log_state(key)
        new_notes = self.kinds[entry.kind].notes
        notes = new_notes() if new_notes is not None else None
        note = self._catalog.note(key)
        if isinstance(notes, Once):
            notes.apply(settings)
        if notes is not None:
            notes.load(note)
        found = recover(
            chain, self._files, state, slot.synced(), crashed=key in self._unrecovered,
            notes=notes, new_notes=new_notes,
        )  # fmt: skip
        return DiskLog(
            name, chain, self._files, self._flusher, slot, settings, state, found.end,
            found.position, save=self._save_state, damage=found.damage, notes=notes,
            rolled=self._tell_rolled, note=note,
            recovery_bytes=self.kinds[entry.kind].recovery_bytes,
        )  # fmt: skip

    def make_volatile(self, name: str) -> DiskLog:
        """As WritableDirectory.make_volatile."""
        return self._volatile.make(name)

    def drop_volatile(self, name: str) -> None:
        """As WritableDirectory.drop_volatile."""
        self._volatile.drop(name)

    def size(self, name: str, entry: Entry, partition: int) -> LogSize:
        log = self.log(name, entry, partition)
        return replace(size_of(log, partition), damage=log.damage)

    @property
    def syncs(self) -> Syncs:
        """As WritableDirectory.syncs."""
        return self._flusher.syncs

    def stands(self, entry: Entry, partition: int) -> tuple[int, int] | None:
        """As WritableDirectory.stands."""
        return self._marks.slot(entry.slots[partition], entry.tag(partition)).read()

    def weight(self, name: str, entry: Entry, partition: int) -> int:
        """As WritableDirectory.weight."""
        directory = self.kinds[entry.kind].directory(name, partition)
        try:
            log = self._logs.get(directory)
            if log is not None:
                return log.bytes()
            path = self._file(directory)
            files = [it for it in self.disk.list(path) if parse_segment(it) is not None]
            return sum(self.disk.size(os.path.join(path, it)) for it in files)
        except OSError as error:
            raise failure(error, "measure", error.filename or directory) from None

    def stirred(self) -> set[str]:
        """The directories of logs that were rolled or altered since the last call."""
        found, self._stirred = self._stirred, set()
        return found

    def is_worth_opening(self, name: str, entry: Entry, partition: int) -> bool:
        """Whether upkeep may find work in a log that is not in use: a sealed segment.

        Opening a log costs memory permanently. Raises OSError.
        """
        directory = self.kinds[entry.kind].directory(name, partition)
        if directory in self._logs:
            return True
        files = self.disk.list(self._file(directory))
        return sum(parse_segment(file) is not None for file in files) != 1

    def _tell_rolled(self, log: DiskLog, base_offset: int) -> None:
        self._stirred.add(log.name)
        if self.rolled is not None:
            self.rolled(log.name, base_offset)

    def _save_state(self, log: DiskLog, state: LogState) -> None:
        """From now on it is the log's."""
        with self._saving:
            key = self._keys[log]
            self._catalog.save_log_states({key: state}, self._notes_of([log]))
            log.state = state  # before anyone else saves what the log has

    def _save_states(self, logs: Iterable[DiskLog]) -> None:
        """A log whose indexes cannot be synced keeps its saved state, and delays no other."""
        keys = {}
        for log in logs:
            if (key := self._keys.get(log)) is not None:
                with suppress(LogstoreError, OSError):
                    log.recovery_point()
                    keys[log] = key
        with self._saving:
            # As they are by now: a trim or a mark that came since is not to be undone.
            states = {key: log.state for log, key in keys.items()}
            self._catalog.save_log_states(states, self._notes_of(keys))

    def _notes_of(self, logs: Iterable[DiskLog]) -> dict[bytes, bytes]:
        """As of their recovery points. Nothing of a damaged log: what is saved stays."""
        return {
            self._keys[log]: log.note for log in logs if log.notes is not None and not log.damage
        }

    def _after_sync(self, logs: Iterable[Flushable]) -> None:
        """Move the recovery points of logs that have synced enough since."""
        limit = self.config.store.recovery_bytes
        due = [log for log in logs if isinstance(log, DiskLog) and log.recovery_point_due(limit)]
        if due:
            # Only the next start takes longer: who waited for the sync must not be told it failed.
            # It is tried again with the next sync, and whoever closes the store is told.
            with suppress(LogstoreError, OSError):
                self._save_states(due)

    def close(self) -> None:
        """Sync everything, save each log's state, release the lock. Raises the first failure."""
        failures: list[LogstoreError] = []
        self._volatile.close()
        for log in list(self._logs.values()):
            try:
                self._attempt(f"close {log.name}", log.close)
            except LogstoreError as error:
                failures.append(error)
                self._unrecovered.failed(self._keys[log])  # with what the disk has of it
        self._flusher.close()
        try:
            states = {self._keys[log]: log.state for log in self._logs.values()}
            self._catalog.save_log_states(
                states, self._notes_of(self._logs.values()), unrecovered=self._unrecovered.tried()
            )
        except LogstoreError as error:
            failures.append(error)
        self._files.close()
        self._marks.close()
        self._catalog.close()
        self._lock.release()
        self.disk.let_go(self.path)
        if failures:
            raise failures[0]
