"""The LMDB environment of a data directory: opened once per process, grows automatically."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice, takewhile
from operator import itemgetter
from struct import Struct
from typing import Any, Final, TypeVar

import lmdb

from logstore import forks
from logstore.errors import CorruptStore, Failed, Forked, LogstoreError, ReadOnly, StorageFull
from logstore.storage.disk import FILE_MODE, Disk, refusal
from logstore.storage.in_place import LOOK_S
from logstore.storage.names import LOCK_ENDING
from logstore.storage.reader_table import PLACES_MAX, has_number, table_bytes

_T = TypeVar("_T")
Change = tuple[bytes, bytes, bytes | None]  # table, key, value; None deletes the key

TABLES_MAX: Final = 32
MAP_BYTES: Final = 16 << 20  # at first; doubled whenever it is full
# A change writes anew each page that it touches, and the way to it: a small catalogue fits whole.
RESERVE_BYTES: Final = 128 << 10
RESERVE_STEP_BYTES: Final = 64 << 10  # so many more at once
RESERVE_PART: Final = 2  # and so much of a large one
FORK_WAITS_S: Final = 1.0  # for open transactions: they take milliseconds

# Of a meta page, as mdb.c has it on 64 bits: magic, size of a page, last page, transaction.
_META: Final = Struct("=16xI20xI92xQQ")
META_BYTES: Final = _META.size
_META_MAGIC: Final = 0xBEEFC0DE
PAGE_SIZES: Final = {1 << power for power in range(9, 17)}
assert MAP_BYTES % max(PAGE_SIZES) == 0, "LMDB maps whole pages"
LAST_PAGE_MAX: Final = 1 << 30  # a damaged number must not make a file of exabytes


class _Shared:
    """LMDB must not be opened twice by one process, so stores of one directory share it."""

    def __init__(self, env: lmdb.Environment) -> None:
        self.env = env
        self.page_bytes: int = env.stat()["psize"]
        self.users = 0
        # LMDB forbids two threads to open tables at once, and lmdb waits for another thread's write
        # transaction without letting go of the interpreter lock: for ever.
        self.writing = threading.Lock()
        self._transactions = self._resizing = 0
        self._idle = threading.Condition(threading.RLock())
        self.forked_error: Forked | None = None
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked. To LMDB it is of no use in a child, not even to be closed."""
        self.forked_error = error
        if not self._transactions:
            self.env.close()  # of the child's copy; else LMDB's binding would let it open no other
        else:  # of another thread, in vain waited for: what waits for its end must never run
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.env))

    def pause(self) -> None:
        """Before a fork: begin no transaction, and wait for open ones."""
        with self._idle:
            self._resizing += 1
            self._idle.wait_for(lambda: not self._transactions, FORK_WAITS_S)

    def go_on(self) -> None:
        """In the parent, after the fork: allow transactions again."""
        with self._idle:
            self._resizing -= 1
            self._idle.notify_all()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A context in which a transaction is open."""
        with self._idle:
            while self._resizing:  # or those who come and go would keep it waiting for ever
                self._idle.wait()
            self._transactions += 1
        try:
            yield
        finally:
            with self._idle:
                self._transactions -= 1
                self._idle.notify_all()

    def map_bytes(self) -> int:
        with self.in_use():  # no transaction, but nothing of LMDB's may be under way in a fork
            size: int = self.env.info()["map_size"]
        return size

    def used_bytes(self) -> int:
        """The end of the last page that is or was in use."""
        with self.in_use():
            pages: int = self.env.info()["last_pgno"] + 1
            return pages * self.page_bytes

    def resize(self, size: int) -> None:
        """Map this many bytes (0: as many as the file says), once no transaction is open, because
        LMDB would otherwise unmap memory in use.
        """
        with self._idle:
            self._resizing += 1
            try:
                while self._transactions:
                    self._idle.wait()
                self.env.set_mapsize(size)
            finally:
                self._resizing -= 1
                self._idle.notify_all()

    def grow(self, full: int) -> None:
        """Double a map that was full, unless another thread has done so."""
        with self._idle:
            if self.map_bytes() == full:
                self.resize(2 * full)


class Transaction:
    """The view and the changes of one writer."""

    def __init__(
        self,
        transaction: Any,  # noqa: ANN401  lmdb's types say that values may be memoryviews
        handles: "Mapping[bytes, lmdb._Database | None]",
    ) -> None:
        self._transaction = transaction
        self._handles = handles

    def get(self, table: bytes, key: bytes) -> bytes | None:
        value: bytes | None = self._transaction.get(key, db=self._handles[table])
        return value

    def items(self, table: bytes, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix``, in order, with their values."""
        return _items(self._transaction, self._handles[table], prefix)

    def keys(self, table: bytes, prefix: bytes, first: bytes, most: int) -> list[bytes]:
        """Up to this many keys that begin with ``prefix``, from ``first`` on, in order."""
        return _keys(self._transaction, self._handles[table], prefix, first, most)

    def put_many(self, table: bytes, items: list[tuple[bytes, bytes]]) -> None:
        """Store keys with their values, best in order: one loop in C."""
        with self._transaction.cursor(db=self._handles[table]) as cursor:
            cursor.putmulti(items)

    def change(self, table: bytes, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._transaction.delete(key, db=self._handles[table])
        else:
            self._transaction.put(key, value, db=self._handles[table])


def _items(
    transaction: Any,  # noqa: ANN401
    handle: "lmdb._Database | None",
    prefix: bytes,
) -> list[tuple[bytes, bytes]]:
    cursor = transaction.cursor(db=handle)
    if not cursor.set_range(prefix):
        return []
    items: Iterator[tuple[bytes, bytes]] = iter(cursor)
    return list(takewhile(lambda item: item[0].startswith(prefix), items))


def _keys(
    transaction: Any,  # noqa: ANN401
    handle: "lmdb._Database | None",
    prefix: bytes,
    first: bytes,
    most: int,
) -> list[bytes]:
    cursor = transaction.cursor(db=handle)
    if not cursor.set_range(first):
        return []
    keys: Iterator[bytes] = islice(cursor.iternext(keys=True, values=False), most)
    return list(takewhile(lambda key: key.startswith(prefix), keys))


def _heads(transaction: Any, handle: "lmdb._Database") -> list[bytes]:  # noqa: ANN401
    cursor = transaction.cursor(db=handle)
    found: list[bytes] = []
    there = cursor.first()
    while there:
        head: bytes = cursor.key().split(b"\0", 1)[0]
        found.append(head)
        there = cursor.set_range(head + b"\1")  # past every key of this head
    return found


def is_number_taken(disk: Disk, path: str) -> bool:
    """Whether a process of another pid namespace with this process's number uses this catalogue.

    False if that is unknown: opening the catalogue then reports the reason. Also False in a process
    that already has the catalogue open.
    """
    with _opening:
        if _open:
            return False
        try:
            return has_number(disk, path + LOCK_ENDING, os.getpid())
        except OSError:
            return False


_open: dict[tuple[int, int], _Shared] = {}
_opening = threading.Lock()


def _before_fork() -> None:
    _opening.acquire()
    for shared in _open.values():
        shared.pause()


def _after_fork() -> None:
    for shared in _open.values():
        shared.go_on()
    _opening.release()


def _begin_anew() -> None:
    """In a forked child: its own environments share nothing with its parent's."""
    _open.clear()
    _opening.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_begin_anew)


class Environment:
    """Tables of bytes in the catalogue file."""

    def __init__(self, disk: Disk, path: str, *, create: bool, write: bool) -> None:
        """Raises lmdb's errors translated: CorruptStore, StorageFull, Failed; and OSError."""
        self.path = path
        self.writable = write
        self._disk = disk
        self._look_at_s = 0.0
        self.guard: Callable[[], None] = lambda: None  # called before a change; raises to refuse it
        with _opening:
            if create:
                disk.close(disk.open(path, write=True, create=True))
            self._key = disk.identity(path)
            shared = _open.get(self._key)
            if shared is None:
                _make_whole(disk, path, write=write)
                if write:
                    # LMDB maps it: if it were sparse, a full disk would end us with SIGBUS.
                    disk.reserve(path + LOCK_ENDING, table_bytes())
                place = disk.place_of(path)
                env = _translated(path, lambda: _open_lmdb(place, write))
                if place == path and not disk.at_home(os.path.dirname(path)):
                    env.close()  # who knows whose it is
                    raise _lost(path)
                shared = _open[self._key] = _Shared(env)
            shared.users += 1
            self._shared = shared
        self._tables: dict[bytes, lmdb._Database] = {}
        self._reserved = 0  # bytes of the file that are known to have room on the disk

    def clear_readers(self) -> int:
        """Free the slots of dead readers, so that old pages are reused; returns their number."""

        def work() -> int:
            with self._shared.in_use():
                dead: int = self._shared.env.reader_check()
                return dead

        return self._attempt(work)

    def oldest_reader(self) -> tuple[int, int] | None:
        """The process with the oldest state, and how many commits it is behind; None: no reader."""

        def work() -> tuple[str, int]:
            with self._shared.in_use():
                return self._shared.env.readers(), self._shared.env.info()["last_txnid"]

        text, last = self._attempt(work)
        rows = [line.split() for line in text.splitlines()]
        reading = [(int(row[2]), int(row[0])) for row in rows if row[-1:] and row[-1].isdigit()]
        if not reading:
            return None
        transaction, pid = min(reading)
        return pid, max(last - transaction, 0)

    def check_room(self) -> None:
        """Called before a change that needs more space, such as a new topic.

        The file is kept longer than necessary, so that on a full disk there is space for changes
        that free some: deleting, trimming, altering, starting. Raises StorageFull if only that
        space is left.
        """
        used = self._shared.used_bytes()
        wanted = used + max(RESERVE_BYTES, used // RESERVE_PART)
        if wanted <= self._reserved or not self.writable:
            return
        try:
            self._disk.reserve(self.path, wanted + RESERVE_STEP_BYTES)
        except OSError as error:
            raise refusal(error, "keep room for the catalogue", self.path) from None
        self._reserved = wanted + RESERVE_STEP_BYTES

    def close(self) -> None:
        if self._shared.forked_error is not None:
            return
        with _opening:
            self._shared.users -= 1
            if not self._shared.users:
                del _open[self._key]
                self._shared.env.close()

    def has(self, table: bytes) -> bool:
        """Whether the table exists; does not create it."""
        if table in self._tables:
            return True
        try:
            self._tables[table] = self._attempt(lambda: self._open_table(table, create=False))
        except _Absent:
            return False
        return True

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a key; None without one, or without the table."""
        handle = self._table(table)
        if handle is None:
            return None

        def work() -> bytes | None:
            with self._shared.in_use(), self._shared.env.begin() as transaction:
                return transaction.get(key, db=handle)

        return self._attempt(work)

    def items(self, table: bytes, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix``, in order, with their values: one consistent view."""
        handle = self._table(table)
        if handle is None:
            return []

        def work() -> list[tuple[bytes, bytes]]:
            with self._shared.in_use(), self._shared.env.begin() as transaction:
                return _items(transaction, handle, prefix)

        return self._attempt(work)

    def page(self, table: bytes, prefix: bytes, first: bytes, most: int) -> list[bytes]:
        """Up to this many keys that begin with ``prefix``, from ``first`` on, in order."""
        handle = self._table(table)
        if handle is None:
            return []

        def work() -> list[bytes]:
            with self._shared.in_use(), self._shared.env.begin() as transaction:
                return _keys(transaction, handle, prefix, first, most)

        return self._attempt(work)

    def heads(self, table: bytes) -> list[bytes]:
        """The distinct beginnings of the keys, up to the first NUL; reads no key twice."""
        handle = self._table(table)
        if handle is None:
            return []

        def work() -> list[bytes]:
            with self._shared.in_use(), self._shared.env.begin() as transaction:
                return _heads(transaction, handle)

        return self._attempt(work)

    def commit(self, changes: Iterable[Change]) -> None:
        """Make all changes or none, in one transaction; durable on return. Raises ReadOnly."""
        listed = list(changes)
        tables = {table for table, _, _ in listed}

        def work(transaction: Transaction) -> None:
            for change in listed:
                transaction.change(*change)

        self.transact(tables, work)

    def transact(self, tables: Iterable[bytes], work: "Callable[[Transaction], _T]") -> _T:
        """Read and change these tables without another writer in between; durable on return.

        An error in ``work`` undoes everything. ``work`` is called again if the map was full, so it
        must change nothing but the transaction. Raises ReadOnly, StorageFull, Failed.
        """
        if not self.writable:
            raise ReadOnly(f"{self.path}: the store can't be written here")
        self._check_in_place()
        self.guard()
        handles = {table: self._table(table) for table in tables}

        def attempt() -> _T:
            shared = self._shared
            with shared.writing, shared.in_use(), shared.env.begin(write=True) as transaction:
                return work(Transaction(transaction, handles))

        while True:
            size = self._shared.map_bytes()
            try:
                return self._attempt(attempt)
            except _Full:
                self._shared.grow(size)

    def _check_in_place(self) -> None:
        """Check that the file was not removed or moved, which would lose commits. Raises Failed."""
        now = time.monotonic()
        if now < self._look_at_s:
            return
        try:
            there = self._disk.at_home(os.path.dirname(self.path)) and (
                self._disk.identity(self.path) == self._key
            )
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except OSError:
            there = True  # it can't be told
        if not there:
            raise _lost(self.path)
        self._look_at_s = now + LOOK_S

    def copy(self, disk: Disk, path: str) -> None:
        """Copy the state of one moment to a new, synced file. Writers continue. Raises OSError."""
        fd = disk.open(path, write=True, create=True)
        try:
            self._attempt(lambda: self._copy_to(fd))
            disk.sync(fd)
        finally:
            disk.close(fd)

    def _copy_to(self, fd: int) -> None:
        with self._shared.in_use():
            self._shared.env.copyfd(fd, compact=True)

    def _table(self, name: bytes) -> "lmdb._Database | None":
        """The handle of a table; None if it does not exist and cannot be created."""
        handle = self._tables.get(name)
        if handle is None:
            try:
                handle = self._attempt(lambda: self._open_table(name, create=self.writable))
            except _Absent:
                return None
            self._tables[name] = handle
        return handle

    def _open_table(self, name: bytes, *, create: bool) -> "lmdb._Database":
        with self._shared.writing, self._shared.in_use():
            return self._shared.env.open_db(name, create=create)

    def _attempt(self, run: Callable[[], _T]) -> _T:
        """Run it with LMDB's errors translated."""
        if self._shared.forked_error is not None:
            raise self._shared.forked_error
        while True:
            try:
                return _translated(self.path, run)
            except lmdb.MapResizedError:
                self._shared.resize(0)  # another process grew it: take its size


def _lost(path: str) -> Failed:
    return Failed(
        f"{path}: was removed, moved or replaced, so it is no longer written; put it back, then"
        " start again"
    )


def _translated(path: str, run: Callable[[], _T]) -> _T:
    """Run it with LMDB's errors translated, except MapResizedError, after which the caller maps
    again.
    """
    try:
        return run()
    except lmdb.MapResizedError:
        raise
    except lmdb.MapFullError:
        raise _Full from None
    except lmdb.NotFoundError:
        raise _Absent from None
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
        raise CorruptStore(f"{path}: not a catalogue, or damaged: {_reason(path, error)}") from None
    except lmdb.VersionMismatchError as error:
        raise CorruptStore(f"{path}: another version of LMDB: {_reason(path, error)}") from None
    except lmdb.Error as error:
        raise _failure(path, error) from None


def _make_whole(disk: Disk, path: str, *, write: bool) -> None:
    """Extend the file to all pages that its meta pages count.

    LMDB maps the file, and a truncated file would end the process with SIGBUS. The last pages may
    be missing legitimately (freed in the transaction that allocated them), so the file is extended
    with zeros, which are not valid pages, so that LMDB reports them as damaged. Raises CorruptStore
    if that is impossible, OSError.
    """
    size = disk.size(path)
    fd = disk.open(path, write=write)
    try:
        wanted = _pages_bytes(
            disk.read(fd, META_BYTES, 0), lambda at: disk.read(fd, META_BYTES, at)
        )
        if size >= wanted:
            return
        if not write:
            raise CorruptStore(f"{path}: {size} bytes long, its pages take {wanted}: cut short")
        disk.allocate(fd, wanted)  # not truncated: another process may be making it longer still
    finally:
        disk.close(fd)


def _pages_bytes(first: bytes, read: Callable[[int], bytes]) -> int:
    """The size of the pages counted by the newest meta page; 0 if there is none to rely on."""
    metas = [_META.unpack(first)] if len(first) == META_BYTES else []
    if not metas or metas[0][0] != _META_MAGIC or metas[0][1] not in PAGE_SIZES:
        return 0  # LMDB refuses it
    page_bytes = metas[0][1]
    second = read(page_bytes)
    if len(second) == META_BYTES and _META.unpack(second)[0] == _META_MAGIC:
        metas.append(_META.unpack(second))
    last_page: int = max(metas, key=itemgetter(3))[2]
    if last_page >= LAST_PAGE_MAX:
        return 0
    return max(2, last_page + 1) * int(page_bytes)


class _Full(Exception):
    """The map is full: grow it and try again."""


class _Absent(Exception):
    """No such database yet."""


def _reason(path: str, error: lmdb.Error) -> str:
    """LMDB's message, without the call that led to it."""
    return str(error).rpartition(f"{os.path.basename(path)}: ")[2]


def _failure(path: str, error: lmdb.Error) -> LogstoreError:
    text = _reason(path, error)
    if isinstance(error, lmdb.DiskError) or "No space left" in text:
        return StorageFull(f"{path}: {text}: free some space")
    if "Resource temporarily unavailable" in text:
        return Failed(
            f"{path}: a process with the same pid, {os.getpid()}, has it open in another pid"
            " namespace (another container): let both share one namespace (docker run --pid,"
            " Kubernetes shareProcessNamespace), or give one of them another pid (docker run"
            " --init)"
        )
    if isinstance(error, lmdb.ReadonlyError) or "Permission denied" in text or "Read-only" in text:
        return ReadOnly(f"{path}: {text}")
    return Failed(f"{path}: {text}")


def _open_lmdb(path: str, write: bool) -> lmdb.Environment:
    env = lmdb.open(
        path,
        subdir=False,
        mode=FILE_MODE,
        map_size=MAP_BYTES,
        max_dbs=TABLES_MAX,
        readonly=not write,
        lock=write,  # readers of a read-only file system have nowhere to lock, and need not
        max_readers=PLACES_MAX,
        create=False,
    )
    if write:
        env.reader_check()  # a reader that was killed would keep old pages from being used again
    return env
