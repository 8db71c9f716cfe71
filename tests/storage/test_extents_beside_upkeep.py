"""Extents that peers are slow to take, while their log is written, compacted and trimmed."""

import os
import random

import pytest
from clock import NOW_MS

import logstore
from logstore.records.batch import split
from logstore.records.decode import decode
from logstore.records.encode import encode

STEPS = 60
KEYS = 2000
SETTINGS = {
    "cleanup.policy": "compact", "segment.bytes": "150000", "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}  # fmt: skip


class Slow:
    """One that was taken at ``at``, and what a peer has a right to find in it."""

    def __init__(self, log, at, extent):
        self.at, self.below, self.extent = at, log.safe, extent

    def check(self):
        """Whole batches, in order, from the offset asked for to what was safe."""
        extent, expected = self.extent, self.at
        data = os.pread(extent.fileno(), len(extent), extent.position)
        extent.release()
        assert len(data) == len(extent)
        batches = [*split(data)]
        assert batches[0].base_offset == self.at
        for batch in batches:
            batch.check()
            assert batch.base_offset >= expected
            assert [*decode(batch)][-1].offset <= batch.last_offset
            expected = batch.next_offset
        assert expected <= self.below
        return expected


class Run:
    """One log, and what happens to it by chance."""

    def __init__(self, path, seed):
        self.chance = random.Random(seed)
        self.store = logstore.open(path)
        self.log = self.store.create_topic("t", 1, SETTINGS).partition(0)
        self.held, self.starts, self.taken = [], [0], 0

    def append(self):
        for _ in range(self.chance.randrange(10, 40)):
            key, other = (b"%d" % self.chance.randrange(KEYS) for _ in range(2))
            value = bytes(self.chance.choice([10, 3000, 8000]))
            small = self.chance.choice([b"v", None])
            self.log.append(encode([(value, key, (), NOW_MS), (small, other, (), NOW_MS)]))
        if self.chance.random() < 0.7:
            self.log.sync()

    def take(self):
        at = self.chance.choice([self.log.start, self.chance.choice(self.starts[-5:])])
        if at >= self.log.start and (batches := self.log.read(at, 1 << 20)):
            at = self.chance.choice([batches[0], *batches[:20]]).base_offset
        extent = self.log.extent(at, self.chance.choice([70_000, 200_000, 1 << 20]))
        if extent is not None:
            self.taken += 1
            self.held.append(Slow(self.log, at, extent))

    def give(self):
        if self.held:
            self.starts.append(self.held.pop(self.chance.randrange(len(self.held))).check())

    def compact(self):
        self.log.roll()
        assert [it.broke for it in self.store.compaction("t")] == [None]

    def trim(self):
        span = self.log.safe - self.log.start
        self.log.trim(self.log.start + self.chance.randrange(span // 8 + 1))

    def go(self):
        steps = [self.append, self.take, self.give, self.compact, self.trim]
        for step in self.chance.choices(steps, [6, 12, 8, 1, 1], k=STEPS):
            step()
        while self.held:
            self.give()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 6))]
)
def test_every_byte_of_one_is_of_a_whole_batch_in_its_order_and_safe(tmp_path, seed):
    run = Run(tmp_path / "store", seed)
    run.go()
    run.store.close()
    assert run.taken > 5
    kept = [os.readlink(f"/proc/self/fd/{fd.name}") for fd in os.scandir("/proc/self/fd")
            if os.path.lexists(fd.path)]  # fmt: skip
    assert [it for it in kept if it.startswith(str(tmp_path))] == []
