"""The crash law over compaction, merging and recompression, whatever a power cut leaves of them:

of each key the latest record that was acknowledged is there, or a later one; at its offset, in
order, once; and nothing else appears. Recompression takes no record away.
"""

import random

import pytest
from clock import NOW_MS
from lossy_disk import SURVIVORS_MOST, LossyDisk
from lossy_log import SEED, Machine

from logstore.errors import LogstoreError
from logstore.records.encode import encode
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job, untold
from logstore.upkeep.rewrite import Rewrite

pytestmark = pytest.mark.long

KEYS = 3


def key_of(offset):
    return offset * offset % KEYS


class KeyedMachine(Machine):
    def __init__(self, *arguments, **given):
        super().__init__(
            *arguments, cleanup_policy=("compact",), min_cleanable_dirty_ratio=0,
            compression_sealed="zstd", **given,
        )  # fmt: skip

    def append(self, count=1):
        first = self.appended
        numbers = range(first, first + count)
        messages = [(b"%d" % n, b"%d" % key_of(n), (), NOW_MS + n) for n in numbers]
        self.appended += count
        assert self.log.append(encode(messages)) == first

    def compact(self, memory_bytes=1 << 20, job="compact"):
        worker, settings = Here(self.disk), self.log.settings
        rewrite = Rewrite(self.log, "t", 0, settings, memory_bytes, worker, untold, -1, NOW_MS)
        done = rewrite.run(Job(job))
        self._picture()
        return done


def fill(machine, count, batch=1):
    for _ in range(count):
        machine.append(batch)
    machine.wait()


def once(machine):
    fill(machine, 9)
    assert machine.compact().records_removed
    fill(machine, 1)


def twice_with_appends_between(machine):
    fill(machine, 4, batch=3)
    machine.compact()
    fill(machine, 5)
    machine.log.roll()
    machine.compact()
    machine.append()
    machine.wait()


def in_many_passes(machine):
    fill(machine, 8)
    machine.log.roll()
    assert machine.compact(memory_bytes=1).passes > 1


def recompressed(machine):
    fill(machine, 5, batch=3)
    machine.log.roll()
    assert machine.compact(job="recompress").due
    fill(machine, 2)


def merged_once_more(machine):
    fill(machine, 9)
    machine.log.roll()
    done = machine.compact()
    assert done.segments_after < done.segments_before
    fill(machine, 4)
    machine.log.roll()
    machine.compact()
    machine.compact(job="recompress")
    fill(machine, 1)


def then_trimmed(machine):
    fill(machine, 9)
    machine.compact()
    machine.trim(5)
    fill(machine, 2)


WORKLOADS = [
    once, twice_with_appends_between, in_many_passes, recompressed, merged_once_more, then_trimmed,
]  # fmt: skip


def check_law(moment, disk, slot):
    machine = KeyedMachine(disk, state=moment.state, slot=slot, appended=moment.appended)
    assert machine.damage is None, machine.damage
    found = machine.records()
    assert found == sorted(set(found))
    if not moment.state.gaps_below:
        assert found == list(range(machine.log.start, machine.log.end))
    assert moment.acknowledged <= machine.log.end <= moment.appended
    latest = {key_of(n): n for n in range(moment.acknowledged)}
    there = {key_of(n): n for n in found}
    for key, offset in latest.items():
        assert there.get(key, -1) >= offset or offset < moment.start
    # It goes on as if nothing had been, and compacts what it had not come to.
    machine.appended = machine.acknowledged = end = machine.log.end
    machine.append(2)
    machine.wait()
    machine.log.roll()
    machine.compact()
    machine.compact(job="recompress")
    wanted = {key_of(n): n for n in range(end + 2) if n >= machine.log.start}
    assert set(machine.records()) >= set(wanted.values())
    assert {key_of(n): n for n in machine.records()} == wanted


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_whatever_a_power_cut_leaves_of_a_compaction(workload):
    machine = KeyedMachine(LossyDisk())
    workload(machine)
    choose, states = random.Random(SEED), 0
    for moment in machine.moments:
        for disk in moment.disk.survivors(choose, SURVIVORS_MOST):
            check_law(moment, disk, moment.slot)
            states += 1
    print(f"seed {SEED}: {len(machine.moments)} moments, {states} states")
    assert states > 100


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_a_compacting_process_is_killed(workload):
    machine = KeyedMachine(LossyDisk())
    workload(machine)
    for moment in machine.moments:
        check_law(moment, moment.disk.killed(), moment.slot)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_a_sync_of_a_compaction_fails(workload):
    number, failed = 0, True
    while failed:
        machine = KeyedMachine(LossyDisk())
        machine.disk.fail_at(number)
        try:
            workload(machine)
        except (LogstoreError, OSError, AssertionError):
            assert machine.disk.has_failed
        failed = machine.disk.has_failed
        machine.disk.syncs_left = None
        moment = machine.moments[-1]
        check_law(moment, machine.disk, moment.slot)
        number += 1
    assert number > 5


def test_a_compaction_that_was_cut_off_leaves_no_file_behind():
    machine = KeyedMachine(LossyDisk())
    once(machine)
    seen = False
    for moment in machine.moments:
        disk = moment.disk.killed()
        seen |= any(".cleaned" in name for name in disk.names)
        KeyedMachine(disk, state=moment.state, slot=moment.slot, appended=moment.appended)
        assert not any(".cleaned" in name for name in disk.names)
    assert seen
