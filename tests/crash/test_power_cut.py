"""The crash law, on a disk that loses what was not synced, at every moment of a short workload:

what was acknowledged is there, in order, once; nothing appears that was never appended; what a
reader saw is never unread.

LMDB commits are atomic and durable when they return, so the catalogue is a dict here. The
watermarks file is never synced: after a power cut a slot may be as old as any moment before.
"""

import random
from contextlib import suppress

import pytest
from lossy_disk import SURVIVORS_MOST, LossyDisk
from lossy_log import SEED, Machine, Moment, check_after_power_cut, check_law

from logstore.errors import LogstoreError
from logstore.storage.catalog import LogState

pytestmark = pytest.mark.long


def append_roll_trim(machine):
    machine.append()
    machine.wait()
    machine.append(2)
    machine.append()  # rolls
    machine.wait()
    machine.append()
    machine.append()  # rolls
    machine.trim(machine.acknowledged)
    machine.append()
    machine.wait()
    machine.trim(2)


def many_rolls_in_one_sync(machine):
    for _ in range(8):
        machine.append()
    machine.wait()
    machine.append()
    machine.trim(5)
    machine.wait()


def explicit_rolls(machine):
    machine.append()
    machine.wait()
    machine.log.roll()
    machine.trim(1)
    machine.append()
    machine.log.roll()
    machine.append()
    machine.wait()


def closed(machine):
    machine.append(3)
    machine.wait()
    machine.append()
    machine.state = machine.log.close()
    machine.acknowledged = machine.appended
    machine._picture()


def slots_of(moments, upto):
    """What the file may say: as now, as at first, and as at some moment between."""
    said = [moment.slot for moment in moments[: upto + 1]]
    return {said[-1], said[0], said[len(said) // 2]}


def test_a_segment_begun_just_before_the_close_is_there_after_a_power_cut():
    machine = Machine(LossyDisk())
    machine.append()
    machine.wait()
    machine.log.roll()
    machine.state = machine.log.close()
    disk = machine.disk.freeze().killed()
    again = Machine(disk, machine.state, machine.slot.words, appended=1, crashed=False)
    again.append()
    again.wait()
    check_after_power_cut(again)


def retained(machine):
    """What retention does: the oldest go, and at last all, the active segment rolled first."""
    for _ in range(4):
        machine.append()
    machine.wait()
    machine.trim(machine.log.bases()[1])
    machine.append()
    machine.wait()
    machine.log.roll()
    machine.trim(machine.log.end)
    machine.append()
    machine.wait()


WORKLOADS = [append_roll_trim, many_rolls_in_one_sync, explicit_rolls, closed, retained]


@pytest.fixture(params=["one by one", "all at once"])
def syncing(request, monkeypatch):
    """Few files are synced one by one, many by one syncfs: here either, whatever their number."""
    least = 1000 if request.param == "one by one" else 1
    monkeypatch.setattr("logstore.storage.flusher.SYNC_ALL_FILES_MIN", least)


@pytest.mark.usefixtures("syncing")
@pytest.mark.parametrize("preallocate", [False, True])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_whatever_a_power_cut_leaves(workload, preallocate):
    machine = Machine(LossyDisk(), preallocate=preallocate)
    workload(machine)
    states = 0
    choose = random.Random(SEED)
    for number, moment in enumerate(machine.moments):
        slots = slots_of(machine.moments, number)
        for disk in moment.disk.survivors(choose, SURVIVORS_MOST):
            check_law(moment, disk, choose.choice(sorted(slots)), preallocate=preallocate)
            states += 1
    print(f"seed {SEED}: {len(machine.moments)} moments, {states} states")
    assert states > 40


@pytest.mark.usefixtures("syncing")
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_law_holds_when_a_killed_process_is_followed_by_a_power_cut(workload):
    """The kernel's cache outlives the process: recovery sees everything, the platter does not."""
    machine = Machine(LossyDisk())
    workload(machine)
    choose = random.Random(SEED)
    states = 0
    for moment in machine.moments:
        disk = moment.disk.killed()
        again = Machine(disk, moment.state, moment.slot, appended=moment.appended)
        shown = again.records()
        assert moment.acknowledged <= again.log.end <= moment.appended
        for after in again.disk.freeze().survivors(choose, 4):
            third = Machine(after, again.state, again.slot.words, appended=moment.appended)
            assert third.damage is None, third.damage
            assert third.records() == shown  # what was shown is never unread
            states += 1
        again.appended = again.log.end
        again.append(2)
        again.wait()
        check_after_power_cut(again)
    print(f"seed {SEED}: {states} states")
    assert states > 20


@pytest.mark.usefixtures("syncing")
@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_a_failed_sync_left_in_the_cache_is_never_acknowledged(workload):
    """The law, after the n-th sync has failed, the process has gone, and then the power.

    The last numbers fail in the recovery: it is done once more.
    """
    states, number, failed = 0, 0, True
    while failed:
        machine = Machine(LossyDisk())
        machine.disk.fail_at(number)
        with suppress(LogstoreError, OSError):  # close leaves it to the directory to name the log
            workload(machine)
        moment, failed_before = machine.moments[-1], machine.disk.has_failed
        given = {"state": moment.state, "slot": moment.slot, "appended": moment.appended}
        try:
            again = Machine(machine.disk, **given)
        except OSError:
            assert not failed_before
            again = Machine(machine.disk, **given)
        number, failed = number + 1, machine.disk.has_failed
        assert again.damage is None, again.damage
        shown = again.records()
        assert moment.acknowledged <= again.log.end <= moment.appended
        after = again.disk.freeze().disk(frozenset())
        third = Machine(after, again.state, again.slot.words, appended=moment.appended)
        assert third.damage is None, third.damage
        assert third.records() == shown
        states += 1
    assert states > 3


@pytest.mark.usefixtures("syncing")
def test_the_law_holds_when_the_power_goes_again_in_recovery():
    machine = Machine(LossyDisk())
    append_roll_trim(machine)
    choose = random.Random(SEED)
    states = 0
    for moment in machine.moments[::2]:
        for disk in list(moment.disk.survivors(choose, 4))[:4]:
            again = Machine(disk, moment.state, moment.slot, appended=moment.appended)
            for second in again.moments[:: max(1, len(again.moments) // 4)]:
                for twice in list(second.disk.survivors(choose, 4))[:4]:
                    check_law(
                        Moment(
                            None,
                            moment.state,
                            (),
                            moment.appended,
                            moment.acknowledged,
                            moment.start,
                        ),
                        twice,
                        moment.slot,
                    )
                    states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 200


def test_with_flush_messages_over_one_a_power_cut_takes_the_tail_and_no_more():
    """Acknowledged is not synced there, openly; but the log goes on with what was."""
    machine = Machine(LossyDisk(), flush_messages=1000)
    for _ in range(3):
        machine.append()
    machine.log.sync()
    synced = machine.log.synced
    for _ in range(3):
        machine.append()
    assert machine.log.safe == 6
    moment = machine.moments[-1]
    choose = random.Random(SEED)
    for disk in moment.disk.survivors(choose, SURVIVORS_MOST):
        again = Machine(disk, moment.state, moment.slot, flush_messages=1000)
        assert again.damage is None
        assert synced <= again.log.end <= 6
        assert again.records() == list(range(again.log.end))
    machine.log.trim(5)
    for disk in machine.moments[-1].disk.survivors(choose, SURVIVORS_MOST):
        again = Machine(disk, machine.state, machine.slot.words, flush_messages=1000)
        assert again.damage is None
        assert again.log.start == 5


def test_a_lost_byte_below_the_watermark_is_told_not_cut():
    machine = Machine(LossyDisk())
    machine.append(3)
    machine.wait()
    disk = machine.moments[-1].disk.disk(frozenset())
    inode = disk.names[f"t-0/{0:020d}.log"]
    inode.data[70] ^= 1
    inode.safe = content = bytes(inode.data)
    again = Machine(disk, LogState(), machine.slot.words)
    assert again.damage is not None
    assert bytes(inode.data) == content
    with pytest.raises(LogstoreError):
        again.append()
