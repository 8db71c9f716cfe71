"""Topics over memory, groups over a dict, and logs that fail: for tests of the models alone."""

import itertools
import threading

from clock import NOW_MS
from memory_log import MemoryLog

from logstore.broker.topic import Topic
from logstore.config import Config
from logstore.errors import LogFailed, StorageFull
from logstore.records.decode import decode
from logstore.records.record import Message

DEADLINE_S = 30  # for what must happen; nothing waits so long when the code is right


def memory_topic(partitions=1, *, log=MemoryLog, **settings):
    """``settings``: names with underscores, values as text."""
    named = {name.replace("_", "."): text for name, text in settings.items()}
    logs = [log(f"t-{number}") for number in range(partitions)]
    return Topic("t", "id", logs, Config().topic(named), NOW_MS, lambda: NOW_MS)


def batches_of(topic, partition=0):
    log = topic.partitions[partition]
    return list(log.read(log.start, 1 << 30)) if log.end > log.start else []


def records_in(topic, partition=0):
    return [r for batch in batches_of(topic, partition) for r in decode(batch, "t", partition)]


def values_in(topic, partition=0):
    return [record.value for record in records_in(topic, partition)]


def ends(topic):
    return [log.end for log in topic.partitions]


def numbered(count, **fields):
    return [Message(b"%d" % at, **fields) for at in range(count)]


class UnsyncedLog(MemoryLog):
    """``safe`` stays behind until somebody waits or ``sync`` is called; both may fail."""

    def __init__(self, name):
        super().__init__(name)
        self.synced = 0
        self.full = self.failed = False
        self.soon = 0

    @property
    def safe(self):
        return self.synced

    def append(self, batch):
        if self.full:
            raise StorageFull(f"{self.name}: full")
        if self.failed:
            raise LogFailed(f"{self.name}: failed")
        return super().append(batch)

    def wait(self, upto):
        if self.failed:
            raise LogFailed(f"{self.name}: failed")
        self.sync()

    def sync(self):
        self.synced = self.end

    def sync_soon(self, *, hurry=True, always=False):
        self.soon += 1


class Members:
    """A group's membership that only remembers."""

    def __init__(self):
        self.offsets = {}
        self.commits = []
        self.left = 0
        self.committed = threading.Event()
        self.failure = None

    def commit(self, offsets, metadata=""):
        if self.failure is not None:
            raise self.failure
        self.offsets.update(offsets)
        self.commits.append(dict(offsets))
        self.committed.set()

    def check(self):
        pass

    def settled(self):
        return True

    def poke(self):
        pass

    def leave(self):
        self.left += 1


def taken(iterator, count):
    return list(itertools.islice(iterator, count))
