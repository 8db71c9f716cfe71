"""A power cut at every moment of a backup, while the store is written on:

what has no manifest is refused; what has one restores to a store that is whole and holds at least
what was acknowledged when the backup began; the store itself keeps the law.
"""

import random

import pytest
from clock import NOW_MS
from lossy_disk import SURVIVORS_MOST, some
from lossy_store import CONFIG, Machine, StoreDisk, check

import logstore
from logstore.errors import LogstoreError, NotAStore
from logstore.storage.disk import Disk
from logstore.upkeep.backup import MANIFEST, restore

pytestmark = pytest.mark.long

SEED = 20130101
SURVIVORS = max(4, SURVIVORS_MOST // 40)
MOMENTS = 24


class BackedUp(Machine):
    """A store that is backed up; its moments know what the backup must hold, and may."""

    held = None  # what was promised when it began

    def back_up(self, meanwhile):
        self.target = f"{self.disk.base}/away/backup"
        self.held = self.before
        self.first = len(self.moments)
        for number, _ in enumerate(self.store.backup(self.target)):
            if number in meanwhile:
                meanwhile[number](self)
        self.last = len(self.moments)
        self.picture()


def one_log(machine):
    machine.create("a")
    machine.append("a", count=4)
    machine.append("a", count=4)
    machine.consume("a", "g", 3)
    machine.back_up({})


def written_meanwhile(machine):
    machine.create("a", 2)
    machine.append("a", 0, 3)
    machine.append("a", 1, 3)
    machine.append("a", 0, 3)
    machine.consume("a", "g", 2)
    machine.back_up({
        0: lambda it: it.append("a", 0, 2),
        2: lambda it: it.consume("a", "g", 7),
        4: lambda it: it.append("a", 1, 4),
        5: lambda it: it.create("b"),
    })  # fmt: skip
    machine.append("a", 1)


def trimmed_meanwhile(machine):
    machine.create("a", 2)
    for count in (3, 3, 3):
        machine.append("a", 0, count)
        machine.append("a", 1, count)
    machine.back_up({1: lambda it: it.trim("a", 5), 3: lambda it: it.trim("a", 5, 1)})


WORKLOADS = [one_log, written_meanwhile, trimmed_meanwhile]


def check_backup(machine, disk, moment, scratch, *, done):
    """Of what is left of the backup: refused, or all there. Returns whether it was all there."""
    source, target = str(scratch / "backup"), str(scratch / "restored")
    disk.export(machine.target, source)
    finished = f"{machine.target}/{MANIFEST}" in disk.names
    assert finished or not done  # what returned is there
    if not finished:
        with pytest.raises(NotAStore, match="not a finished backup"):
            list(restore(source, target, Disk()))
        return False
    list(restore(source, target, Disk()))
    with logstore.open(target, config=CONFIG, clock=lambda: NOW_MS) as store:
        check(store, machine.held, moment.after)
    return True


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_backup_is_whole_or_refused_whatever_a_power_cut_leaves(base, tmp_path, workload):
    machine = BackedUp(StoreDisk(base))
    workload(machine)
    machine.crash()
    choose, states, whole = random.Random(SEED), 0, 0
    moments = list(enumerate(machine.moments))[machine.first :]
    for number, moment in some(moments, choose, MOMENTS):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            disk.mount()
            scratch = tmp_path / str(states)
            done = number >= machine.last
            whole += check_backup(machine, disk, moment, scratch, done=done)
            again = Machine(disk)  # the store that was backed up
            check(again.store, moment.before, moment.after)
            again.crash()
            states += 1
    print(f"seed {SEED}: {len(moments)} moments, {whole} whole backups, {states} states")
    assert 0 < whole < states


def test_a_backup_that_was_cut_off_can_be_made_again_elsewhere(base):
    machine = BackedUp(StoreDisk(base))
    one_log(machine)
    machine.crash()
    moment = machine.moments[(machine.first + machine.last) // 2]
    again = Machine(moment.disk.killed())
    with pytest.raises(LogstoreError, match="not empty: name a new directory"):
        list(again.store.backup(machine.target))
    assert list(again.store.backup(f"{base}/other"))
    again.crash()


def test_a_backup_that_returned_is_there_after_a_power_cut(base):
    machine = BackedUp(StoreDisk(base))
    one_log(machine)
    machine.crash()
    left = machine.moments[-1].disk.disk(frozenset())
    assert f"{machine.target}/{MANIFEST}" in left.names
