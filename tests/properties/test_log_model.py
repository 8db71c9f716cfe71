"""Every kind of log against a plain list: the same steps, the same answers.

These are the rules of the waist (``logstore/log.py``): what stands above logs may rely on nothing
else. Implementations: on disk, seen by another process, in memory, elsewhere.
"""

import os
import shutil
import tempfile

import pytest
from clock import NOW_MS
from cluster_kit import OneNode
from far_log import FarLog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from memory_log import MemoryLog

from logstore.config import Config
from logstore.errors import OffsetAboveEnd, OffsetBelowStart
from logstore.log import NOT_KNOWN
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.disk import Disk
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory

SETTINGS = {
    "segment.bytes": "600", "index.interval.bytes": "80", "segment.index.bytes": "60",
    "segment.ms": "5000",
}  # fmt: skip

values = st.lists(st.binary(max_size=40) | st.just(b"x" * 300), min_size=1, max_size=5)
codecs = st.sampled_from(list(Compression))
# Mostly forwards, in steps small and large; now and then back.
moments = st.integers(-3_000, 9_000)


class LogModel(RuleBasedStateMachine):
    """The steps; what a subclass adds is how its log is made, and what else can befall it."""

    log = None

    @initialize()
    def begin(self):
        self.records = []  # (timestamp, value), by offset
        self.placed = []  # by mark: the offset, or what is under way
        self.batches = []  # (first offset, last offset, largest timestamp)
        self.start = 0
        self.clock_ms = NOW_MS
        self.open()

    def open(self):
        raise NotImplementedError

    def acknowledge(self):
        """All that was appended is safe when this returns, and it is known where it stands."""
        self.log.wait(len(self.placed))
        assert self.log.done == len(self.placed)
        assert [self.log.offset_of(mark) for mark in range(len(self.placed))] == self.placed

    def stands(self, messages):
        """Nobody else appends, so what was appended stands behind what was there."""
        self.placed += range(len(self.records), len(self.records) + len(messages))
        self.records += [(message[3], message[0]) for message in messages]

    def bring(self):
        """What a read has asked for arrives."""
        pytest.fail("a read gave nothing, although all there is is here")

    @rule(given=values, codec=codecs, step_ms=moments, wait=st.booleans())
    def append(self, given, codec, step_ms, wait):
        self.clock_ms += step_ms
        messages = [(value, None, (), self.clock_ms + n % 3) for n, value in enumerate(given)]
        batch = encode(messages, compression=codec)
        mark = self.log.append(batch)
        assert mark == len(self.placed)
        self.stands(messages)
        if wait:
            self.acknowledge()
            assert self.log.safe > self.placed[-1]
        self.start = max(self.start, self.log.start)

    @rule(part=st.floats(0, 1), bytes_max=st.sampled_from([1, 200, 1 << 20]))
    def read(self, part, bytes_max):
        safe = self.log.safe
        at = self.start + round(part * (safe - self.start))
        self.check_read(self.log, at, bytes_max, safe)

    def check_read(self, log, at, bytes_max, safe):
        assert safe == log.safe
        batches = log.read(at, bytes_max)
        if not batches and at < safe:
            woken = []
            stop = log.watch(lambda: woken.append(True))
            self.bring()
            assert woken
            stop()
            batches, safe = log.read(at, bytes_max), log.safe
        assert bool(batches) == (at < safe)
        if not batches:
            return
        assert batches[0].base_offset <= at <= batches[0].last_offset
        assert sum(batch.size for batch in batches[1:]) <= max(bytes_max - batches[0].size, 0)
        expected = batches[0].base_offset
        for batch in batches:
            batch.check()
            for record in decode(batch):
                assert record.offset == expected
                assert (record.timestamp_ms, record.value) == self.records[expected]
                expected += 1
        assert expected <= safe

    @rule(beyond=st.integers(1, 5))
    def read_outside(self, beyond):
        with pytest.raises(OffsetAboveEnd):
            self.log.read(self.log.end + beyond, 100)
        if self.start > 0:
            with pytest.raises(OffsetBelowStart):
                self.log.read(max(0, self.start - beyond), 100)

    @rule(back_ms=st.integers(-5_000, 60_000))
    def find(self, back_ms):
        self.check_find(self.log, self.clock_ms - back_ms)

    def check_find(self, log, timestamp_ms):
        safe = log.safe
        expected = next(
            (at for at in range(self.start, safe) if self.records[at][0] >= timestamp_ms), safe
        )
        assert log.find(timestamp_ms) == expected

    @rule(part=st.floats(0, 1))
    def trim(self, part):
        before = self.start + round(part * (self.log.safe - self.start))
        self.log.trim(before)
        self.start = before

    @rule()
    def trim_too_far(self):
        with pytest.raises(OffsetAboveEnd):
            self.log.trim(self.log.end + 1)

    @rule(given=values)
    def watch(self, given):
        """Whoever watches is woken once what was appended is safe, until they stop."""
        woken = []
        stop = self.log.watch(lambda: woken.append(self.log.done))
        self.append(given, Compression.NONE, 0, wait=True)
        assert woken[-1] == len(self.placed)
        stop()
        self.append(given, Compression.NONE, 0, wait=True)
        assert woken[-1] < len(self.placed)

    @invariant()
    def bounds(self):
        if self.log is not None:
            assert self.start == self.log.start <= self.log.safe <= self.log.end
            assert self.log.done <= len(self.placed)
            self.check_end()

    def check_end(self):
        assert self.log.end == len(self.records)


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


class FarModel(LogModel):
    """The bytes are elsewhere: appends and reads are under way for a while; others append, too."""

    def open(self):
        self.log = FarLog("far")
        self.under_way = []

    def stands(self, messages):
        self.placed += [NOT_KNOWN] * len(messages)
        self.under_way += messages

    @rule()
    def arrive(self):
        own = len(self.placed) - len(self.under_way)
        self.placed[own:] = range(len(self.records), len(self.records) + len(self.under_way))
        self.records += [(message[3], message[0]) for message in self.under_way]
        self.under_way = []
        self.log.arrive()

    bring = arrive

    def acknowledge(self):
        assert [self.log.offset_of(mark) for mark in range(len(self.placed))] == self.placed
        self.arrive()
        super().acknowledge()

    @rule(given=values)
    def append_elsewhere(self, given):
        messages = [(value, None, (), self.clock_ms) for value in given]
        self.log.append_elsewhere(encode(messages))
        self.records += [(message[3], message[0]) for message in messages]

    def check_end(self):
        assert self.log.done + len(self.under_way) == len(self.placed)
        assert self.log.safe <= len(self.records)


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
TestDiskLog.settings = settings(max_examples=40, stateful_step_count=25)
TestUnsynced = pytest.mark.long(UnsyncedModel.TestCase)
TestUnsynced.settings = settings(max_examples=12, stateful_step_count=25)
TestPreallocated = pytest.mark.long(PreallocatedModel.TestCase)
TestPreallocated.settings = settings(max_examples=12, stateful_step_count=25)
