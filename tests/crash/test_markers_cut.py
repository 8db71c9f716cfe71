"""Compaction of a log with transactions, after a power cut at every moment: nothing that was
aborted is shown, nothing that was committed is hidden, and what is told of aborted transactions
fits the markers that are there.
"""

import random

import pytest
from clock import NOW_MS
from lossy_disk import LossyDisk
from transactions_kit import every_batch, read_as_kafka

from logstore.broker.committed import CommittedLog
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job, untold
from logstore.upkeep.rewrite import Rewrite
from tests.crash.test_producers_cut import Machine

SEED = 1326
SETTINGS = TopicSettings(
    cleanup_policy=("compact",), segment_bytes=300, min_cleanable_dirty_ratio=0,
    delete_retention_ms=1000,
)  # fmt: skip


class Writer:
    """Three producers with transactions, whose markers raise their epochs; a few keys."""

    def __init__(self, machine, rng):
        self.machine, self.rng = machine, rng
        self.committed, self.aborted = [], set()  # rows (offset, key); offsets

    def transaction(self, outcome):
        log, producer, rows = self.machine.log, self.rng.randrange(3), []
        known = dict(self.machine.ledger.producers()).get(producer)
        epoch = known.epoch if known is not None else 0
        for n in range(self.rng.randrange(1, 3)):
            key = b"k%d" % self.rng.randrange(3)
            row = (b"%d" % log.end, key, (), NOW_MS)
            batch = encode(
                [row], producer_id=producer, producer_epoch=epoch, base_sequence=n,
                transactional=True,
            )  # fmt: skip
            rows.append((log.append(batch), key))
        log.append(marker(outcome, producer, epoch + 1, NOW_MS))
        log.wait(log.end)
        if outcome == COMMIT:
            self.committed += rows
        else:
            self.aborted |= {offset for offset, _ in rows}


def compact(machine, at_ms):
    rewrite = Rewrite(
        machine.log, "t", 0, SETTINGS, 1 << 20, Here(machine.disk), untold, -1, NOW_MS + at_ms
    )
    return rewrite.run(Job("compact"))


def check(machine, writer, acknowledged):
    log = machine.log
    latest = {key: offset for offset, key in writer.committed if offset < acknowledged}
    for batches in (every_batch(CommittedLog(log)), read_as_kafka(log, 0, 1 << 20)):
        there = {
            it.key: it.offset for batch in batches if not batch.is_control for it in decode(batch)
        }
        assert not writer.aborted.intersection(there.values()), SEED
        assert all(there.get(key, -1) >= offset for key, offset in latest.items()), SEED
    markers = {it.base_offset for it in every_batch(log) if it.is_control}
    assert {it.last for it in log.aborted(0, log.safe)} <= markers, SEED
    assert log.stable == log.safe or log.stable in log.notes.open.values(), SEED


@pytest.mark.long
def test_what_is_committed_is_shown_whatever_a_power_cut_leaves_of_a_compaction():
    rng, tried = random.Random(SEED), 0
    machine = Machine(LossyDisk())
    writer = Writer(machine, rng)
    for round_ in range(4):
        for _ in range(4):
            writer.transaction(rng.choice([ABORT, ABORT, COMMIT]))
        machine.log.roll()
        before = sum(it.is_control for it in every_batch(machine.log))
        for step in range(3):
            compact(machine, 10_000 * round_ + 1000 * step)
        assert sum(it.is_control for it in every_batch(machine.log)) < before, SEED
    check(machine, writer, machine.log.safe)
    for moment in machine.moments:
        for disk in moment.disk.survivors(rng, 2):
            again = Machine(disk, moment.state, moment.note, moment.slot)
            check(again, writer, moment.acknowledged)
            tried += 1
            for step in range(3 if tried % 4 == 0 else 0):  # it goes on from there
                compact(again, 100_000 + 1000 * step)
            check(again, writer, moment.acknowledged)
    print(f"{tried} states")
    assert tried > 300
