"""A whole store on a lossy disk, and what it has promised at each moment.

The catalogue is LMDB's own, in a real file: its bytes are kept as they are when a commit returns,
which is when LMDB has made it durable; a power cut leaves the commit before, or this one. The
watermarks are mapped and never synced: a power cut leaves them as they were at any moment before.
All else is in memory, and lost by halves.
"""

import errno
import os
import shutil
from copy import deepcopy
from dataclasses import dataclass, field

import lossy_disk
from clock import NOW_MS
from faults import Faulty, fail_commits
from lossy_disk import Inode, LossyDisk

import logstore
from logstore import Message
from logstore.broker.reading import records_of
from logstore.config import Config
from logstore.errors import LogstoreError, Refused

CATALOG = "catalog.mdb"
CONFIG = Config({"upkeep.interval.ms": ("-1", "test"), "recovery.bytes": ("65536", "test")})
GENERATION = "retention.groups.max.ms"  # a setting that tells topics of one name apart


class CatalogFile(Inode):
    """A real file. What LMDB writes itself is durable when its commit returns."""

    tears = False  # LMDB's business: two meta pages, data before them


class Mapped(Inode):
    """A file that is stored to through a map: each content that it has had may be what is left."""

    tears = False
    CONTENTS_MOST = 4

    def __init__(self, safe=b""):
        super().__init__(safe)
        self._last = self.safe

    def frozen(self):
        now = bytes(self.data)
        if now != self._last:
            if len(now) > len(self._last):
                self.pending.append((0, bytes(len(now))))  # the size is there, the bytes are not
            self._last = now
            self.pending.append((0, now))
            del self.pending[2 : -(self.CONTENTS_MOST - 2)]  # the first, and the latest
        return super().frozen()

    def change(self, position, data):
        """Change the data in place: a map of it keeps the old bytes if it grows."""
        if position + len(data) <= len(self.data):
            self.data[position : position + len(data)] = data
        else:
            self.data = self.data[:position].ljust(position, b"\0") + data

    def drop_clean(self):
        """Do nothing: the data is not synced, and stays."""


class StoreDisk(LossyDisk):
    """``base``: a real directory, for the catalogues; one such disk at a time is mounted on it."""

    mounted = None

    def mount(self):
        """Put the catalogues where LMDB finds them."""
        StoreDisk.mounted = self
        shutil.rmtree(self.base)
        os.makedirs(self.base)
        for path, inode in self.names.items():
            if isinstance(inode, CatalogFile):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(inode.safe)
        return self

    def listen(self, path):
        """Refuse: memory has no sockets, and no thread may wait for a dead process."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)

    def export(self, path, target):
        """Write everything below ``path`` to real files."""
        for name, inode in self.names.items():
            if name.startswith(path + "/"):
                there = target + name[len(path) :]
                if isinstance(inode, lossy_disk.Folder):
                    os.makedirs(there, exist_ok=True)
                    continue
                os.makedirs(os.path.dirname(there), exist_ok=True)
                with open(there, "wb") as file:
                    file.write(inode.data)

    def committed(self, path):
        """Note that LMDB has committed to this catalogue."""
        if path in self.names:
            with open(path, "rb") as file:
                self.names[path].data = bytearray(file.read())
            self.names[path].sync()
            self.names[path].safe = bytes(self.names[path].data)
            self.changed()

    def new_inode(self, path):
        name = os.path.basename(path)
        return CatalogFile() if name == CATALOG else Mapped() if name == "watermarks" else Inode()

    @staticmethod
    def _is_real(path):
        return os.path.basename(path).startswith(CATALOG)

    def open(self, path, *, write=False, create=False):
        fd = super().open(path, write=write, create=create)
        if not self._is_real(path):
            return fd
        os.makedirs(os.path.dirname(path), exist_ok=True)
        real = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.opened[real] = self.opened.pop(fd)
        return real

    def close(self, fd):
        super().close(fd)
        if fd < 1_000_000:
            os.close(fd)

    def sync(self, fd):
        inode = self.opened[fd]
        if isinstance(inode, CatalogFile):
            whole = os.pread(fd, 1 << 30, 0)
            inode.change(0, whole)
            self.changed()
        super().sync(fd)

    def read(self, fd, size, position):
        if fd < 1_000_000:
            return os.pread(fd, size, position)
        return super().read(fd, size, position)

    def size(self, path):
        return os.path.getsize(path) if self._is_real(path) else super().size(path)

    def remove(self, path):
        if self._is_real(path):
            os.unlink(path)
            if path not in self.names:
                return  # LMDB's own lock file
        super().remove(path)

    def identity(self, path):
        if not self._is_real(path):
            return super().identity(path)
        facts = os.stat(path)
        return facts.st_dev, facts.st_ino

    def map(self, fd, size, *, write):
        return memoryview(self.opened[fd].data)[:size]

    def lock(self, fd):
        return True

    def share(self, fd):
        pass

    def locked(self, fd):
        return False

    def writable(self, path):
        return True


class FaultyStoreDisk(Faulty, StoreDisk):
    """One that fails at the Nth call."""

    def lose(self, fd):
        for inode in self.names.values() if fd is None else [self.opened[fd]]:
            inode.fail_to_sync()


def tell_of_commits(monkeypatch):
    """Tell the mounted disk of each durable transaction; the disk may make it fail."""
    fail_commits(
        monkeypatch,
        lambda: getattr(StoreDisk.mounted, "faults", None),
        then=lambda environment: StoreDisk.mounted.committed(environment.path),
    )


@dataclass
class Part:
    """One partition: records 0 to ``count`` were sent, those below ``start`` may be gone."""

    count: int = 0
    start: int = 0


@dataclass
class Known:
    """What somebody who used the store knows of it."""

    topics: dict = field(default_factory=dict)  # name -> (generation, [Part])
    groups: dict = field(default_factory=dict)  # (group, topic, partition) -> offset

    def parts(self, name):
        return self.topics.get(name, (0, []))[1]

    def of(self, name, generation):
        """The partitions of the topic, if it has this generation."""
        found = self.topics.get(name)
        return found[1] if found is not None and found[0] == generation else None


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    before: Known  # the promised state
    after: Known  # what may be true already


def value(name, generation, partition, n):
    return f"{name}.{generation}.{partition}.{n}".encode()


class Machine:
    """A store in use; takes a picture of every moment."""

    SETTINGS = {"segment.bytes": "260", "index.interval.bytes": "60", "retention.ms": "-1"}  # noqa: RUF012

    def __init__(self, disk):
        self.disk = disk.mount()
        self.start()
        disk.changed = self.picture
        self.open()

    def start(self):
        self.moments = []
        self.before = self.after = Known()
        self.errors = None  # a list: steps may fail
        self.generations = 0
        self.path = f"{self.disk.base}/new/data"

    def open(self):
        self.store = logstore.open(self.path, disk=self.disk, config=CONFIG, clock=lambda: NOW_MS)

    def picture(self):
        self.moments.append(Moment(self.disk.freeze(), self.before, self.after))

    def do(self, change, work, *, only_may=False):
        """``change(known)`` may hold at once, and must (or may) once ``work()`` returns.

        If errors are allowed (``errors`` is a list), an error leaves that open.
        """
        before, self.after = self.after, deepcopy(self.after)
        change(self.after)
        try:
            work()
        except LogstoreError as error:
            if self.errors is None:
                raise
            self.errors.append(error)
            if isinstance(error, Refused):  # then nothing was changed
                self.after = before
            elif self.store is not None:
                self._look_again()
        else:
            if not only_may:
                self.before = deepcopy(self.before)
                change(self.before)
        self.picture()

    def _look_again(self):
        """After an error, find out which topics exist, from which later changes follow."""
        there = generations_of(self.store)
        self.before, self.after = deepcopy(self.before), deepcopy(self.after)
        for name in {*self.before.topics, *self.after.topics}:
            then, now = self.before.topics.get(name), self.after.topics.get(name)
            if then is not None and there.get(name) == then[0] and now is None:
                self.after.topics[name] = deepcopy(then)
            elif now is not None and there.get(name) == now[0] and (then or [None])[0] != now[0]:
                self.before.topics[name] = now[0], [Part() for _ in now[1]]

    def crash(self):
        """End the process; no more pictures are taken."""
        self.disk.changed = lambda: None
        directory = self.store._directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()

    def close(self):
        self.store.close()
        self.picture()

    # Steps

    def recover_next(self):
        """Recover as the background does after a crash; returns whether a log was left."""
        left = self.store.internals().directory.recover_next()
        self.picture()
        return left

    def create(self, name, partitions=1):
        self.generations += 1
        generation = self.generations
        settings = self.SETTINGS | {GENERATION: str(generation)}

        def change(known):
            known.topics[name] = generation, [Part() for _ in range(partitions)]

        self.do(change, lambda: self.store.create_topic(name, partitions, settings))

    def grow(self, name, partitions):
        def change(known):
            parts = known.parts(name)
            parts += [Part() for _ in range(partitions - len(parts))]

        self.do(change, lambda: self.store.alter_topic(name, partitions=partitions))

    def alter(self, name):
        changed = {"segment.bytes": "300"}
        self.do(lambda known: None, lambda: self.store.alter_topic(name, changed))

    def delete(self, name):
        def change(known):
            known.topics.pop(name, None)
            known.groups = {place: it for place, it in known.groups.items() if place[1] != name}

        self.do(change, lambda: self.store.delete_topic(name))

    def append(self, name, partition=0, count=1):
        generation = self.after.topics.get(name, (0,))[0]
        first = self.end_of(name, partition)
        messages = [
            Message(value(name, generation, partition, n), timestamp_ms=NOW_MS + n)
            for n in range(first, first + count)
        ]

        def change(known):
            for part in known.parts(name)[partition : partition + 1]:
                part.count = max(part.count, first + count)

        self.do(change, lambda: self.store.topic(name).append_many(messages, partition=partition))

    def end_of(self, name, partition):
        return self._of(name, partition, "end")

    def safe_of(self, name, partition):
        return self._of(name, partition, "safe")

    def _of(self, name, partition, what):
        try:
            return getattr(self.store.topic(name).partition(partition), what)
        except LogstoreError:
            if self.errors is None:
                raise
            return 0  # an append is refused in the same way

    def trim(self, name, before, partition=0):
        def change(known):
            for part in known.parts(name)[partition : partition + 1]:
                part.start = before

        self.do(change, lambda: self.store.trim(name, before, [partition]))

    def consume(self, name, group, upto, partition=0):
        upto = min(upto, self.safe_of(name, partition))

        def change(known):
            known.groups[group, name, partition] = upto

        def work():
            with self.store.consumer(name, group=group, partitions=[partition]) as consumer:
                while (left := upto - consumer.position(name, partition)) > 0:
                    assert consumer.poll(left)

        self.do(change, work)


def generations_of(store):
    return {
        name: next(it.value for it in store.describe_topic(name) if it.name == GENERATION)
        for name in store.topics()
    }


def known_of(store):
    """The knowledge of an observer who now looks at the store."""
    known = Known()
    for name, generation in generations_of(store).items():
        logs = store.topic(name).partitions
        known.topics[name] = generation, [Part(log.end, log.start) for log in logs]
    known.groups = committed(store)
    return known


def committed(store):
    return {
        (group, lag.topic, lag.partition): lag.committed
        for group in store.groups()
        for lag in store.group(group).describe()
        if lag.committed is not None
    }


def check(store, before, after):
    """Check the law: promised data exists, and no data that no one wrote."""
    there = generations_of(store)
    assert set(there) <= set(before.topics) | set(after.topics)
    for name in set(before.topics) | set(after.topics):
        if name not in there:
            then, now = before.topics.get(name), after.topics.get(name)
            assert then is None or now is None or then[0] != now[0], f"{name} is missing"
            continue
        generation = there[name]
        promised, possible = before.of(name, generation), after.of(name, generation)
        assert promised is not None or possible is not None, f"{name}: a topic of another time"
        check_topic(store.topic(name), generation, promised, possible)
    check_groups(store, before, after)
    findings = [it for report in store.verify() for it in report.findings if not it.derived]
    assert not findings, findings


def check_topic(topic, generation, promised, possible):
    counts = {len(parts) for parts in (promised, possible) if parts is not None}
    assert len(topic.partitions) in counts
    for number, log in enumerate(topic.partitions):
        sent = possible[number] if possible is not None else promised[number]
        kept = promised[number] if promised is not None and number < len(promised) else Part()
        assert kept.start <= log.start <= sent.start
        assert kept.count <= log.safe <= log.end <= sent.count
        assert values_of(log) == [
            (n, value(topic.name, generation, number, n)) for n in range(log.start, log.safe)
        ]


def values_of(log):
    """(offset, value) of every record."""
    found, at = [], log.start
    while batches := log.read(at, 1 << 16):
        for batch in batches:
            batch.check()
        records = records_of(log, (log.name, 0), batches, at)
        found += [(record.offset, record.value) for record in records]
        at = batches[-1].next_offset
    return found


def check_groups(store, before, after):
    there = committed(store)
    for place, offset in there.items():
        # In between: changes committed before a step that failed, of which the caller was told.
        known = before.groups.get(place, 0), after.groups.get(place, before.groups.get(place))
        assert known[0] <= offset <= known[1], (place, offset, known)
    assert before.groups.keys() & after.groups.keys() <= there.keys()
