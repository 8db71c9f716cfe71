"""What the tests of storage share: small logs, and disks that misbehave."""

import errno
import os
import sys
import threading
from contextlib import suppress
from typing import NamedTuple

from clock import NOW_MS

from logstore.config import Config
from logstore.errors import LogstoreError
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.disk import Disk
from logstore.storage.kinds import KINDS
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory

DEADLINE_S = 30  # generous: it only ends a test that would hang


def a_batch(*values, at_ms=NOW_MS, compression=Compression.NONE, **fields):
    """One batch of these values, a millisecond apart."""
    messages = [(value, None, (), at_ms + n) for n, value in enumerate(values)]
    return encode(messages, compression=compression, **fields)


def add(log, *values, at_ms=NOW_MS, **fields):
    """Append one batch and wait for its sync; returns its base offset."""
    base_offset = log.append(a_batch(*values, at_ms=at_ms, **fields))
    log.wait(base_offset + len(values))
    return base_offset


def fill(log, count, size=20, first=0, step_ms=1):
    """Append batches of one record each: values are their own numbers, padded."""
    for n in range(first, first + count):
        log.append(a_batch(numbered(n, size), at_ms=NOW_MS + n * step_ms))
    log.wait(log.end)


def numbered(n, size=20):
    return b"%d|" % n + bytes(max(0, size - len(b"%d|" % n)))


def numbers(log, at=None, bytes_max=1 << 20):
    """The numbers of all records from ``at`` on, each at its own offset (checked)."""
    found = {}
    at = log.start if at is None else at
    while batches := log.read(at, bytes_max):
        for batch in batches:
            batch.check()
            for record in decode(batch):
                if record.offset >= at:
                    found[record.offset] = int(record.value.split(b"|")[0])
        at = batches[-1].next_offset
    assert list(found) == sorted(found)
    assert at == log.safe
    return list(found.values())


def values(log, at=None, bytes_max=1 << 20):
    """The values of all records from ``at`` on; their offsets follow without a gap."""
    at = log.start if at is None else at
    found, expected = [], at
    while batches := log.read(at, bytes_max):
        for batch in batches:
            batch.check()
            for record in decode(batch):
                if record.offset >= at:
                    assert record.offset == expected
                    expected += 1
                    found.append(record.value)
        at = batches[-1].next_offset
    return found


class At(NamedTuple):
    """An offset to be committed."""

    offset: int
    metadata: str = ""
    leader_epoch: int = -1
    topic_id: str | None = None
    record: int = -1
    replayed: bool = False


def commit(directory, group, offsets, metadata=""):
    """Commit as a client that is not a member; returns the refused partitions."""
    wanted = {place: At(offset, metadata) for place, offset in offsets.items()}
    return directory.groups.change_idle(group, wanted)


def crash(directory):
    """Leave a writer's files as kill -9 would."""
    directory._flusher.close()
    directory._files.close()
    directory._marks.close()
    directory._catalog.close()
    directory._lock.release()


class Opened:
    """One data directory; ``crash`` leaves a writer's files as kill -9 would."""

    def __init__(self, path):
        self.path = path
        self._open = []

    def writer(self, disk=None, kinds=KINDS, **store_settings):
        config = Config({
            name.replace("_", "."): (str(value), "test") for name, value in store_settings.items()
        })  # fmt: skip
        directory = WriterDirectory(
            str(self.path), config, disk or Disk(), clock=lambda: NOW_MS, kinds=kinds
        )  # fmt: skip
        self._open.append(directory)
        return directory

    def reader(self, disk=None, kinds=KINDS):
        directory = ReaderDirectory(
            str(self.path), Config(), disk or Disk(), clock=lambda: NOW_MS, kinds=kinds
        )  # fmt: skip
        self._open.append(directory)
        return directory

    def log(self, disk=None, topic="t", **settings):
        """A new writer's partition 0 of the topic, which is created if necessary."""
        return self.log_of(self.writer(disk), topic, **settings)

    @staticmethod
    def log_of(directory, topic="t", partition=0, partitions=1, **settings):
        known = directory.topics().get(topic)
        if known is None:
            given = {name.replace("_", "."): str(value) for name, value in settings.items()}
            known = directory.create_topic(topic, partitions, given)
        return directory.log(topic, known, partition)

    def close(self):
        """Close the directory opened last."""
        self._open.pop().close()

    def crash(self):
        """Release the lock and the catalogue without the other work of close()."""
        crash(self._open.pop())

    def close_all(self):
        while self._open:
            with suppress(LogstoreError):
                self._open.pop().close()

    def files(self, topic="t", partition=0):
        return sorted(os.listdir(self.path / f"{topic}-{partition}"))

    def segment(self, base_offset=0, ending=".log", topic="t", partition=0):
        return self.path / f"{topic}-{partition}" / f"{base_offset:020d}{ending}"


class NamedDisk(Disk):
    """Knows the path of each descriptor."""

    def __init__(self):
        self.paths = {}

    def open(self, path, *, write=False, create=False):
        fd = super().open(path, write=write, create=create)
        self.paths[fd] = path
        return fd


class CountingDisk(NamedDisk):
    """Counts syncs, and knows which bytes of each file they covered."""

    def __init__(self):
        super().__init__()
        self.syncs = self.sync_alls = 0
        self.synced_bytes = {}

    def sync(self, fd):
        size = os.fstat(fd).st_size
        super().sync(fd)
        self.syncs += 1
        self.synced_bytes[self.paths[fd]] = size

    def sync_all(self, fd):
        sizes = {path: os.path.getsize(path) for path in self.paths.values() if exists(path)}
        super().sync_all(fd)
        self.sync_alls += 1
        self.synced_bytes |= sizes


def exists(path):
    return os.path.exists(path)


class BlockingDisk(NamedDisk):
    """Syncs wait for ``go``; ``entered`` tells that one has begun."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def sync(self, fd):
        if self.paths[fd].endswith(".log"):
            self._wait()
        super().sync(fd)

    def sync_all(self, fd):
        self._wait()
        super().sync_all(fd)

    def _wait(self):
        self.entered.set()
        assert self.go.wait(DEADLINE_S)


class FullDisk(NamedDisk):
    """Takes ``writes`` more writes to segment files, then none; ``short``: half of one more."""

    def __init__(self, *, short=False):
        super().__init__()
        self.writes = None
        self.short = short
        self.refused = 0

    def write(self, fd, buffers, position):
        if self.writes is not None and "-0/" in self.paths[fd]:
            if self.writes <= 0:
                if self.writes == 0 and self.short:
                    self.writes -= 1
                    data = b"".join(buffers)
                    return super().write(fd, [data[: len(data) // 2]], position)
                self.refused += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.paths[fd])
            self.writes -= 1
        return super().write(fd, buffers, position)

    def open(self, path, *, write=False, create=False):
        if create and self.writes is not None and self.writes <= 0 and not exists(path):
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return super().open(path, write=write, create=create)


class SyncFailsDisk(NamedDisk):
    """The sync of a file whose path contains ``failing`` fails, ``failures`` times."""

    def __init__(self, failing="", code=errno.EIO):
        super().__init__()
        self.failing, self.code = failing, code
        self.failures = 0

    def _fail(self, path):
        if self.failures > 0 and self.failing in path:
            self.failures -= 1
            raise OSError(self.code, os.strerror(self.code), path)

    def sync(self, fd):
        self._fail(self.paths[fd])
        super().sync(fd)

    def sync_all(self, fd):
        self._fail(self.failing)
        super().sync_all(fd)


class InterruptedDisk(NamedDisk):
    """Ctrl-C arrives in the next sync."""

    def __init__(self):
        super().__init__()
        self.interrupts = 0
        self.before = lambda: None

    def sync(self, fd):
        if self.interrupts > 0:
            self.interrupts -= 1
            self.before()
            raise KeyboardInterrupt
        super().sync(fd)


def run_all(*works):
    """Run each in its own thread; the first exception of any is raised here.

    Threads are switched often, so that more interleavings occur and none starves another.
    """
    raised = []
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised again below
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "hangs"
    finally:
        sys.setswitchinterval(switch_s)
    if raised:
        raise raised[0]


def in_background(work):
    """Start a thread; returns ``finish``, which waits and returns its result or raises its
    error.
    """
    done = {}

    def run():
        try:
            done["result"] = work()
        except BaseException as error:  # noqa: BLE001  raised again by finish
            done["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def finish():
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "hangs"
        if "error" in done:
            raise done["error"]
        return done["result"]

    return finish
