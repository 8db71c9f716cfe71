"""The crash law over a whole store: topics, groups and records, whatever a power cut leaves."""

import random

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_store import Machine, StoreDisk, check, known_of

pytestmark = pytest.mark.long

SEED = 20130101
SURVIVORS = max(6, SURVIVORS_MOST // 40)  # each is opened three times, with a catalogue
MOMENTS = 8  # of each workload, in the default run


def topics_come_and_go(machine):
    machine.create("a")
    machine.append("a", count=2)
    machine.create("b", 2)
    machine.append("b", 1)
    machine.grow("a", 3)
    machine.append("a", 2)
    machine.append("a", 0, 2)
    machine.append("a", 0, 2)  # rolls
    machine.alter("a")
    machine.delete("b")
    machine.append("a", 1)
    machine.create("b")
    machine.append("b", 0, 3)


def groups_commit(machine):
    machine.create("a", 2)
    machine.append("a", 0, 3)
    machine.consume("a", "g", 2)
    machine.append("a", 1, 2)
    machine.consume("a", "g", 1, partition=1)
    machine.consume("a", "h", 1)
    machine.trim("a", 2)
    machine.consume("a", "g", 3)
    machine.delete("a")
    machine.create("a")
    machine.append("a", 0, 1)
    machine.consume("a", "g", 1)


def closed_and_opened(machine):

    machine.create("a")
    machine.append("a", 0, 2)
    machine.close()
    machine.open()
    machine.append("a", 0, 3)
    machine.create("b")
    machine.close()
    machine.open()
    machine.delete("a")
    machine.append("b", 0, 1)
    machine.close()
    machine.open()


WORKLOADS = [topics_come_and_go, groups_commit, closed_and_opened]


def moments(base, workload, choose, count=MOMENTS):
    """Some of the moments of a workload, each of which the power may be cut at."""
    machine = Machine(StoreDisk(base))
    workload(machine)
    machine.crash()
    return some(machine.moments, choose, count)


def check_law(moment, disk):
    """The law; then the store goes on as if nothing had been, and the power goes again."""
    machine = Machine(disk)
    check(machine.store, moment.before, moment.after)
    machine.before = machine.after = known_of(machine.store)
    machine.generations = 1000
    names = machine.store.topics()
    for name in names:
        machine.append(name)
    for name in ("a", "b"):  # what was there half is there or not, and can be made anew
        if name in names:
            machine.delete(name)
        machine.create(name)
        machine.append(name)
    again = machine.disk.freeze().disk(frozenset())
    machine.crash()
    machine.disk = Machine(again)
    check(machine.disk.store, machine.before, machine.before)
    machine.disk.close()


@pytest.mark.parametrize("least", [1, 1000], ids=["all at once", "one by one"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_whatever_a_power_cut_leaves(base, monkeypatch, workload, least):
    monkeypatch.setattr("logstore.storage.flusher.SYNC_ALL_FILES_MIN", least)
    choose, states = random.Random(SEED), 0
    for moment in moments(base, workload, choose):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_a_killed_process_is_followed_by_a_power_cut(base, workload):
    """What the next process has shown of the kernel's cache is never unread."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, workload, choose, 3 * MOMENTS):
        again = Machine(moment.disk.killed())
        check(again.store, moment.before, moment.after)
        shown = known_of(again.store)
        last = again.disk.freeze()
        again.crash()
        for disk in last.survivors(choose, 2):
            third = Machine(disk)
            check(third.store, shown, shown)
            third.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 30


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_the_power_goes_again_in_recovery(base, workload):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, workload, choose):
        disk = choose.choice(list(moment.disk.survivors(choose, 4)))
        again = Machine(disk)
        again.crash()
        for second in choose.sample(again.moments, min(3, len(again.moments))):
            for twice in second.disk.survivors(choose, 2):
                third = Machine(twice)
                check(third.store, moment.before, moment.after)
                third.crash()
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 30


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_the_power_goes_while_the_rest_is_recovered(base, workload):
    """Some logs recovered in the background, some used, some not touched, some left by a close."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, workload, choose):
        again = Machine(choose.choice(list(moment.disk.survivors(choose, 4))))
        again.before, again.after = moment.before, moment.after
        again.recover_next()
        if choose.random() < 0.5:
            again.close()
            again.open()
        while again.recover_next():
            if choose.random() < 0.3:
                break
        again.crash()
        for second in choose.sample(again.moments, min(3, len(again.moments))):
            for twice in second.disk.survivors(choose, 2):
                third = Machine(twice)
                while choose.random() < 0.5 and third.recover_next():
                    pass
                check(third.store, moment.before, moment.after)
                third.crash()
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 30


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_for_a_log_recovered_in_the_background_then_used(base, workload):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, workload, choose):
        for disk in moment.disk.survivors(choose, 3):
            again = Machine(disk)
            while again.recover_next():
                pass
            assert again.store.internals().directory.recovered
            again.crash()
            check_law(moment, again.disk.freeze().disk(frozenset()))
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 30


def test_a_store_in_a_new_directory_below_a_new_one_is_there_after_a_power_cut(base):
    machine = Machine(StoreDisk(base))
    machine.create("a")
    machine.append("a")
    machine.crash()
    again = Machine(machine.moments[-1].disk.disk(frozenset()))
    check(again.store, machine.before, machine.before)
    again.crash()
