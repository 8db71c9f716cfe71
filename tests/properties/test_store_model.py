"""A store with all its upkeep against plain lists: the same steps, the same records."""

import os
import shutil
import tempfile

import pytest
from clock import NOW_MS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import logstore
from logstore import Message
from logstore.config import Config
from logstore.storage.disk import Disk

pytestmark = pytest.mark.long

HOUR_MS = 3_600_000
OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SMALL = {"segment.bytes": "500", "index.interval.bytes": "90", "compression.sealed": "zstd"}
TOPICS = {
    "plain": SMALL | {"retention.ms": str(HOUR_MS)},
    "keyed": SMALL | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0",
                      "delete.retention.ms": str(HOUR_MS)},
}  # fmt: skip

names = st.sampled_from(sorted(TOPICS))
pairs = st.lists(
    st.tuples(st.integers(0, 4), st.none() | st.binary(max_size=60)), min_size=1, max_size=5
)


class ThisProcess(Disk):
    """Has the heavy part of upkeep done without a child process."""


class StoreModel(RuleBasedStateMachine):
    """Of each topic all that was appended, by offset, and where it starts."""

    def __init__(self):
        super().__init__()
        self.scratch = tempfile.mkdtemp()
        self.path, self.copies = os.path.join(self.scratch, "0"), 0
        self.store = None

    @initialize()
    def begin(self):
        self.ms = NOW_MS
        self.records = {name: [] for name in TOPICS}  # (key, value)
        self.starts = dict.fromkeys(TOPICS, 0)
        self.open()
        for name, given in TOPICS.items():
            self.store.create_topic(name, 1, given)

    def open(self):
        disk = ThisProcess()
        self.store = logstore.open(self.path, clock=lambda: self.ms, config=OFF, disk=disk)

    def log(self, name):
        return self.store.topic(name).partition(0)

    @rule(name=names, given=pairs)
    def append(self, name, given):
        messages = [
            Message(value, b"k%d" % key, timestamp_ms=self.ms)
            for key, value in given
        ]  # fmt: skip
        [*positions] = self.store.topic(name).append_many(messages)
        first = len(self.records[name])
        assert [it.offset for it in positions] == list(range(first, first + len(given)))
        self.records[name] += [(it.key, it.value) for it in messages]

    @rule(name=names)
    def roll(self, name):
        self.log(name).roll()

    @rule(name=names, part=st.floats(0, 1))
    def trim(self, name, part):
        before = self.starts[name] + round(part * (self.log(name).safe - self.starts[name]))
        self.store.trim(name, before)
        self.starts[name] = max(before, self.starts[name])

    @rule(ms=st.sampled_from([1, HOUR_MS // 2, 2 * HOUR_MS]))
    def later(self, ms):
        """The files' own times are the machine's, long after the clock here: they do not count."""
        self.ms += ms

    @rule()
    def retain(self):
        for outcome in self.store.retention():
            assert outcome.broke is None
            start = self.log(outcome.topic).start
            if outcome.topic == "keyed":
                assert not outcome.dropped
            assert start >= self.starts[outcome.topic]
            self.starts[outcome.topic] = start

    @rule()
    def compact(self):
        for outcome in self.store.compaction():
            assert outcome.broke is None
            assert outcome.bytes_after <= outcome.bytes_before

    @rule()
    def recompress(self):
        for outcome in self.store.recompression():
            assert outcome.broke is None
            assert outcome.bytes_after <= outcome.bytes_before

    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @rule()
    def crash(self):
        """What is on disk now, without a close."""
        old, self.copies = self.store, self.copies + 1
        path = os.path.join(self.scratch, str(self.copies))
        shutil.copytree(self.path, path, ignore=lambda *_: ["api.sock"])
        old.close()
        shutil.rmtree(self.path)
        self.path = path
        self.open()

    @rule(name=names, part=st.floats(0, 1))
    def read_from(self, name, part):
        log = self.log(name)
        at = log.start + round(part * (log.safe - log.start))
        whole, some = self.found(name), self.found(name, start=at)
        assert some == [row for row in whole if row[0] >= at]

    def found(self, name, **given):
        with self.store.consumer(name, **given) as consumer:
            return [(it.offset, it.key, it.value) for it in consumer]

    @invariant()
    def holds(self):
        if self.store is None:
            return
        for name, records in self.records.items():
            log, start = self.log(name), self.starts[name]
            assert (log.start, log.safe, log.end) == (start, len(records), len(records))
            written = [(n, *record) for n, record in enumerate(records) if n >= start]
            found = self.found(name)
            if name == "plain":
                assert found == written
                continue
            assert found == sorted(set(found))
            assert set(found) <= set(written)
            latest = {key: (n, key, value) for n, key, value in written}
            there = {key: (n, key, value) for n, key, value in found}
            for key, row in latest.items():
                assert there.get(key) == row or (row[2] is None and key not in there)

    @rule()
    def verify(self):
        assert not [
            it for report in self.store.verify() for it in report.findings if not it.derived
        ]

    def teardown(self):
        if self.store is not None:
            self.store.close()
        shutil.rmtree(self.scratch)


TestStore = StoreModel.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
