"""Each log's start and safe offsets, where other processes can read them.

A memory-mapped file that the writer updates after a sync and readers poll: no power cut removes a
record that a reader has shown. Each log has a slot (its number is in the catalogue)::

      0            8        64          72      80     88       96          104      128
      +------------+--------+-----------+-------+------+--------+-----------+--------+---
      | "LOGSTWM2" | unused | log's tag | start | safe | synced | undecided | unused | next slot
      +------------+--------+-----------+-------+------+--------+-----------+--------+---

Numbers are 8 bytes in the machine's own order, so that one is stored by one instruction and never
seen half-written. The tag is the log's own: a slot whose tag differs belongs to another log. The
file is never synced: after a power cut it may be behind, and the next writer corrects it.
``synced`` is for that writer: the offset below which everything must exist after a crash. Readers
use ``safe``, which is higher if ``flush.messages`` is over 1. While a log still has to be recovered
after a crash, its slot is *held*: ``synced`` is stored as ``-1 - synced``, and readers stop there,
because records above it may be cut off. ``undecided`` is 1 more than the first offset of the
earliest open transaction, or 0 without one. Files of earlier versions ("LOGSTWM1") have slots of 4
words, without ``undecided``: they are read as they are, and a writer replaces them.
"""

import errno
import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from logstore import forks
from logstore.errors import Closed, CorruptStore, Forked, LogstoreError
from logstore.log import Wake
from logstore.storage.disk import Disk
from logstore.storage.in_place import is_in_place

_MAGIC: Final = b"LOGSTWM2"
_OLD_MAGIC: Final = b"LOGSTWM1"
_WORD: Final = 8
_SLOT_WORDS: Final = 8  # also the header's size: slot n starts at word 8 * (n + 1)
_OLD_SLOT_WORDS: Final = 4  # likewise
_UNDECIDED: Final = 4  # its place in a slot
_GROW_SLOTS: Final = 1024
GONE: Final = 0  # the tag of a slot without a log

assert len(_MAGIC) == _WORD, "the header is made of words, too"


class Watermark:
    """One log's slot in the file."""

    __slots__ = ("_marks", "_tag", "_word")

    def __init__(self, marks: "Watermarks", number: int, tag: int) -> None:
        self._marks = marks
        self._word = marks.slot_words * (number + 1)
        self._tag = tag
        assert tag != GONE

    def publish(self, start: int, safe: int, undecided: int | None = None) -> None:
        assert 0 <= start <= safe
        words = self._marks.words(self._word + _SLOT_WORDS)
        words[self._word + _UNDECIDED] = _as_word(undecided)
        words[self._word + 1] = start
        words[self._word + 2] = words[self._word + 3] = safe
        words[self._word] = self._tag

    def publish_start(self, start: int) -> None:
        self._marks.words(self._word)[self._word + 1] = start

    def publish_safe(self, safe: int) -> None:
        self._marks.words(self._word)[self._word + 2] = safe

    def publish_synced(self, synced: int) -> None:
        self._marks.words(self._word)[self._word + 3] = synced

    def publish_undecided(self, undecided: int | None) -> None:
        self._marks.words(self._word)[self._word + _UNDECIDED] = _as_word(undecided)

    def hold(self) -> None:
        """Until ``publish``, readers see only what was synced, if the slot belongs to the log.

        Used while the log must still be recovered, which may take long.
        """
        words = self._marks.words(self._word + _SLOT_WORDS)
        if words[self._word] == self._tag and words[self._word + 3] >= 0:
            words[self._word + 3] = -1 - words[self._word + 3]

    def synced(self) -> int:
        """As last published; 0 when the slot does not belong to this log."""
        words = self._words()
        if words is None or words[self._word] != self._tag:
            return 0
        synced = words[self._word + 3]
        return synced if synced >= 0 else -1 - synced

    def release(self) -> None:
        """The log is deleted."""
        self._marks.words(self._word + _SLOT_WORDS)[self._word] = GONE

    def read(self) -> tuple[int, int] | None:
        """(start, safe); None if the slot does not belong to this log (any more)."""
        words = self._words()
        if words is None:
            return None
        start, safe, synced = words[self._word + 1 : self._word + 4]
        if synced < 0:  # held
            safe = max(min(safe, -1 - synced), start)
        return (start, safe) if words[self._word] == self._tag else None

    def shown(self) -> int:
        """The highest offset ever published as safe; 0 if the slot is not this log's."""
        words = self._words()
        if words is None or words[self._word] != self._tag:
            return 0
        return int(words[self._word + 2])

    def undecided(self) -> int | None:
        """The published first offset of the earliest open transaction; None: none.

        Call it after ``read``.
        """
        words = self._words()
        if words is None or self._marks.slot_words == _OLD_SLOT_WORDS:
            return None
        word = int(words[self._word + _UNDECIDED])
        return word - 1 if word > 0 else None

    def _words(self) -> memoryview | None:
        """The words of all slots; None if the file does not reach this one."""
        end = self._word + self._marks.slot_words
        words = self._marks.words(end)
        return words if len(words) >= end else None


def _as_word(undecided: int | None) -> int:
    return 0 if undecided is None else undecided + 1


class Watermarks:
    """The whole mapped file."""

    def __init__(self, disk: Disk, path: str, *, write: bool) -> None:
        """Raises OSError; CorruptStore if it is another kind of file."""
        self._disk, self._path, self._write = disk, path, write
        self._fd = disk.open(path, write=write, create=write)
        self._lock = threading.Lock()
        self._closed = False
        forks.watch(self)
        self._map: mmap.mmap | None = None
        self._words = memoryview(b"").cast("q")
        self.slot_words = _SLOT_WORDS
        try:
            magic = disk.read(self._fd, len(_MAGIC), 0)
            if write and not any(magic):  # new, or a power cut has left the size but not the bytes
                disk.write(self._fd, [_MAGIC.ljust(_SLOT_WORDS * _WORD, b"\0")], 0)
            elif magic == _OLD_MAGIC and write:
                self._convert()
            elif magic == _OLD_MAGIC:
                self.slot_words = _OLD_SLOT_WORDS
            elif magic != _MAGIC:
                raise CorruptStore(
                    f"{path}: not a watermarks file: remove it; the next writer creates it again"
                )
            self._remap()
            if write:
                self.words(2 * _SLOT_WORDS)  # a full disk is told here, not by the first topic
        except BaseException:
            self.close()
            raise

    @property
    def is_replaced(self) -> bool:
        """Whether a writer has replaced the file of an earlier version since."""
        if self._write or self.slot_words == _SLOT_WORDS:
            return False
        return not is_in_place(self._disk, self._fd, self._path)

    def _convert(self) -> None:
        """Replace the file of an earlier version by a new one. Raises OSError."""
        disk, made = self._disk, self._path + ".new"
        old = disk.read(self._fd, disk.size(self._path), 0)
        header, size = _OLD_SLOT_WORDS * _WORD, _SLOT_WORDS * _WORD
        slots = [old[at : at + header].ljust(size, b"\0") for at in range(header, len(old), header)]
        fd = disk.open(made, write=True, create=True)
        try:
            disk.truncate(fd, 0)
            data = b"".join([_MAGIC.ljust(size, b"\0"), *slots])
            if disk.write(fd, [data], 0) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), made)
            disk.sync(fd)
            disk.rename(made, self._path)
        except BaseException:
            disk.close(fd)
            raise
        disk.close(self._fd)
        self._fd = fd

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the logs, which store here, are told themselves."""
        self._lock = threading.Lock()

    def words(self, count: int) -> memoryview:
        """All numbers of the file; when writing, at least ``count`` of them. Raises Closed."""
        if len(self._words) < count:
            with self._lock:
                if self._closed:
                    raise Closed(f"{self._path}: the store is closed")
                self._grow(count)
        return self._words

    def _grow(self, count: int) -> None:
        if self._write and len(self._words) < count:
            slots = count // _SLOT_WORDS + _GROW_SLOTS
            # Written, not truncated to: on a full disk a store into a hole is a SIGBUS.
            at, size = self._disk.size(self._path), slots * _SLOT_WORDS * _WORD
            while at < size:
                written = self._disk.write(self._fd, [bytes(size - at)], at)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
                at += written
        self._remap()

    def _remap(self) -> None:
        size = self._disk.size(self._path) // _WORD * _WORD
        if size > len(self._words) * _WORD:
            # The old map stays with whoever holds its words: both show the same file.
            self._map = self._disk.map(self._fd, size, write=self._write)
            self._words = memoryview(self._map).cast("q")

    def reserve(self, number: int) -> None:
        """Make room for the slot of this number, and all below it. Raises OSError: the disk is
        full.
        """
        self.words(_SLOT_WORDS * (number + 2))

    def slot(self, number: int, tag: int) -> Watermark:
        return Watermark(self, number, tag)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._words = memoryview(b"").cast("q")
            self._map = None
            self._disk.close(self._fd)


def is_made(disk: Disk, path: str) -> bool:
    """Whether a writer has created the file. Raises OSError."""
    if not disk.exists(path):
        return False
    fd = disk.open(path)
    try:
        return any(disk.read(fd, len(_MAGIC), 0))
    finally:
        disk.close(fd)


class Poller:
    """Wakes the watchers of a reading process: it checks the file every few ms, because nothing
    notifies it.
    """

    def __init__(self, interval_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._interval_s = interval_s
        self._sleep = sleep
        self._watched: dict[object, tuple[Callable[[], int], Wake, int]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: the thread is the parent's."""
        self._lock = threading.Lock()
        self._watched.clear()
        self._thread = None

    def watch(self, safe: Callable[[], int], wake: Wake) -> Wake:
        """Call ``wake`` after ``safe()`` has changed. Returns "stop watching"."""
        key = object()
        with self._lock:
            self._watched[key] = (safe, wake, _seen(safe))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
                self._thread.start()

        def stop() -> None:
            with self._lock:
                self._watched.pop(key, None)

        return stop

    def close(self) -> None:
        """Stop polling."""
        with self._lock:
            self._watched.clear()

    def _run(self) -> None:
        while True:
            self._sleep(self._interval_s)
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                moved = []
                for key, (safe, wake, seen) in self._watched.items():
                    now = _seen(safe)
                    if now != seen:
                        self._watched[key] = (safe, wake, now)
                        moved.append(wake)
            for wake in moved:
                wake()


def _seen(safe: Callable[[], int]) -> int:
    """The present safe offset; an impossible number if it is unknown, so that the next read reports
    why.
    """
    try:
        return safe()
    except (LogstoreError, OSError):
        return -2
