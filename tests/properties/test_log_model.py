"""Every kind of log against the model of all (``log_model.py``): the same steps, the same answers.

Implementations: on disk, seen by another process, in memory, elsewhere. Over a cluster of real
brokers it is tried in ``tests/brokers``.
"""

import os
import shutil
import tempfile

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from log_model import FarModel, LogModel, values
from memory_log import MemoryLog

from logstore.config import Config
from logstore.records.encode import encode
from logstore.storage.disk import Disk
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory

SETTINGS = {
    "segment.bytes": "600", "index.interval.bytes": "80", "segment.index.bytes": "60",
    "segment.ms": "5000",
}  # fmt: skip


class MemoryModel(LogModel):
    def open(self):
        self.log = MemoryLog("memory")


class DiskModel(LogModel):
    """A DiskLog, closed and reopened, crashed and recovered, its indexes lost; and a follower."""

    settings = SETTINGS

    def __init__(self):
        super().__init__()
        self.scratch = tempfile.mkdtemp()
        self.generation = 0
        self.path = os.path.join(self.scratch, "0")
        self.writer = self.follower = None

    def open(self):
        self.writer = WriterDirectory(self.path, Config(), Disk(), clock=lambda: NOW_MS)
        entry = self.writer.topics().get("t")
        if entry is None:
            entry = self.writer.create_topic("t", 1, self.settings)
        self.log = self.writer.log("t", entry, 0)
        assert self.log.damage is None

    @rule()
    def roll(self):
        self.log.roll()

    def close_reader(self):
        if self.follower is not None:
            self.follower.close()
            self.follower = None

    @rule()
    def reopen(self):
        self.close_reader()
        self.writer.close()
        self.open()
        assert self.log.safe == self.log.end == len(self.records)

    @rule()
    def crash(self):
        """What is on disk now, without a close; what was acknowledged must be there."""
        self.close_reader()
        safe, old = self.log.safe, self.writer
        self.generation += 1
        path = os.path.join(self.scratch, str(self.generation))
        shutil.copytree(self.path, path)
        old.close()
        shutil.rmtree(self.path)
        self.path = path
        self.open()
        assert safe <= self.log.end <= len(self.records)
        assert self.log.end == len(self.records)  # written, if not synced: no power was cut

    @rule(kind=st.sampled_from(["missing", "short", "garbage", "stale"]))
    def lose_indexes(self, kind):
        self.close_reader()
        self.writer.close()
        directory = os.path.join(self.path, "t-0")
        names = sorted(name for name in os.listdir(directory) if name.endswith("index"))
        contents = {name: _bytes_of(os.path.join(directory, name)) for name in names}
        for name in names:
            path = os.path.join(directory, name)
            if kind == "missing":
                os.unlink(path)
                continue
            stale = contents[names[(names.index(name) + 2) % len(names)]]
            spoiled = {"short": contents[name][:-5], "garbage": b"\x7f" * 24, "stale": stale}[kind]
            with open(path, "wb") as file:
                file.write(spoiled)
        self.open()

    @rule(part=st.floats(0, 1), back_ms=st.integers(-5_000, 60_000))
    def follow(self, part, back_ms):
        if self.follower is None:
            self.follower = ReaderDirectory(self.path, Config(), Disk(), clock=lambda: NOW_MS)
        log = self.follower.log("t", self.follower.topic("t"), 0)
        assert (log.start, log.safe) == (self.log.start, self.log.safe)
        assert log.done == 0  # it appends nothing
        at = self.start + round(part * (log.safe - self.start))
        self.check_read(log, at, 200, log.safe)
        self.check_find(log, self.clock_ms - back_ms)

    @precondition(lambda self: self.log is not None)
    @rule()
    def verify(self):
        from logstore.storage.verify import verify

        self.log.sync()
        for report in verify(self.writer):
            assert not [finding for finding in report.findings if not finding.derived]

    def teardown(self):
        self.close_reader()
        if self.writer is not None:
            self.writer.close()
        shutil.rmtree(self.scratch)


def _bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


class UnsyncedModel(DiskModel):
    """flush.messages over 1: acknowledged at once, synced later."""

    settings = SETTINGS | {"flush.messages": "4"}


class PreallocatedModel(DiskModel):
    settings = SETTINGS | {"preallocate": "true"}


class ClusterModel(FarModel):
    """Over a broker: our own door."""

    def open(self):
        self.node = OneNode()
        self.log = self.node.log()
        self.under_way = []

    @rule()
    def arrive(self):
        own = len(self.placed) - len(self.under_way)
        self.placed[own:] = range(len(self.records), len(self.records) + len(self.under_way))
        self.records += [(message[3], message[0]) for message in self.under_way]
        self.under_way = []
        self.node.pass_time(1)
        assert self.log.safe == len(self.records)

    bring = arrive

    @rule(given=values)
    def append_elsewhere(self, given):
        self.arrive()  # or nobody knows which comes first
        messages = [(value, None, (), self.clock_ms) for value in given]
        self.node.topics.get("t").partition(0).append(encode(messages).with_base_offset(0))
        self.records += [(message[3], message[0]) for message in messages]

    @rule(part=st.floats(0, 1))
    def trim(self, part):
        self.arrive()  # time passes in it
        super().trim(part)

    @rule(back_ms=st.integers(-5_000, 60_000))
    def find(self, back_ms):
        self.arrive()
        super().find(back_ms)

    @rule()
    def lose_connections(self):
        self.node.cut()


TestClusterLog = ClusterModel.TestCase
TestClusterLog.settings = settings(max_examples=25, stateful_step_count=20)
TestFarLog = FarModel.TestCase
TestFarLog.settings = settings(max_examples=50, stateful_step_count=30)
TestMemoryLog = MemoryModel.TestCase
TestMemoryLog.settings = settings(max_examples=50, stateful_step_count=30)
TestDiskLog = DiskModel.TestCase
TestDiskLog.settings = settings(max_examples=15, stateful_step_count=25)
TestUnsynced = pytest.mark.long(UnsyncedModel.TestCase)
TestUnsynced.settings = settings(max_examples=12, stateful_step_count=25)
TestPreallocated = pytest.mark.long(PreallocatedModel.TestCase)
TestPreallocated.settings = settings(max_examples=12, stateful_step_count=25)
