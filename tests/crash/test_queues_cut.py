"""The crash law of queues, whatever a power cut leaves, at every moment of short histories:

a confirmed message is delivered until it is settled; what was settled, and synced, never comes
back; a requeued message keeps its place; between two durable queues a dead letter is never lost;
a queue that was declared is there; one that is made anew never gets what an earlier one has left.
"""

import random

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_queues import Machine, Moment, check
from lossy_store import StoreDisk
from queue_histories import HISTORIES

long = pytest.mark.long

SEED = 20130101
# Each is opened twice, with a catalogue: at 2,000 of other disks there are 100,000 states in all.
SURVIVORS = max(3, SURVIVORS_MOST // 400)
MOMENTS = 8  # of each order of a history, in the default run
STATES_LEAST = 3 * MOMENTS  # of the shortest history
ORDERS = 2 if LONG else 1  # in which the threads do what each history asks for


def moments(base, history, choose, *, lax=False, count=MOMENTS):
    """Some of the moments of a history, in each of some orders."""
    found = []
    for _ in range(ORDERS):
        machine = Machine(StoreDisk(base), choose, lax=lax)
        history(machine)
        machine.crash()
        found += some(machine.moments, choose, count)
    return found


def opened(moment, disk, choose, *, lax=False):
    """What the next process makes of it."""
    return Machine(disk, choose, lax=lax, known=moment.known, crashes=moment.crashes + 1)


def check_law(moment, disk, choose, *, lax=False):
    """The law; then the queues go on as if nothing had been, and the power goes again."""
    machine = opened(moment, disk, choose, lax=lax)
    if choose.random() < 0.5:  # at once, before anything that is left has been removed
        machine.declare(b"new")
        machine.publish(b"new", 2)
    machine.adopt(check(machine, Moment(None, machine.known, moment.crashes)))
    names = sorted(machine.live)
    for name in names:
        machine.publish(name, 2)
        machine.get(name, 2)
    machine.declare(b"a")
    machine.some()
    for name in names:
        machine.ack(name)
    machine.publish(b"a", 1)
    machine.run()
    if choose.random() < 0.5:
        machine.idle()
    if choose.random() < 0.5:
        machine.upkeep()
    machine.sync_lanes()
    last = Moment(machine.disk.freeze(), machine.known.copy(), machine.crashes)
    machine.crash()
    third = opened(last, last.disk.disk(frozenset()), choose, lax=lax)
    check(third, last)
    third.crash()


@long
@pytest.mark.parametrize("least", [1, 1000], ids=["all at once", "one by one"])
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_whatever_a_power_cut_leaves(base, monkeypatch, history, least):
    monkeypatch.setattr("logstore.storage.flusher.SYNC_ALL_FILES_MIN", least)
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk, choose)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


@long
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_where_lanes_are_synced_late(base, history):
    """What a lane has lost of what was settled is clipped, and no new message counts as settled."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, lax=True):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk, choose, lax=True)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


@long
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_when_a_killed_process_is_followed_by_a_power_cut(base, history):
    """What the next process has shown of the kernel's cache is never unread."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, count=2 * MOMENTS):
        again = opened(moment, moment.disk.killed(), choose)
        again.adopt(check(again, moment))
        last = Moment(again.disk.freeze(), again.known.copy(), again.crashes)
        again.crash()
        for disk in last.disk.survivors(choose, 2):
            third = opened(last, disk, choose)
            check(third, last)
            third.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


@long
@pytest.mark.parametrize("lax", [False, True], ids=["synced", "late"])
@pytest.mark.parametrize("history", HISTORIES)
def test_the_law_holds_when_the_power_goes_again_in_recovery(base, history, lax):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, lax=lax, count=MOMENTS // 2):
        disk = choose.choice(list(moment.disk.survivors(choose, 4)))
        again = opened(moment, disk, choose, lax=lax)
        again.contents()
        again.crash()
        for second in choose.sample(again.moments, min(2, len(again.moments))):
            for twice in second.disk.survivors(choose, 2):
                third = opened(second, twice, choose, lax=lax)
                third.adopt(check(third, second))
                third.crash()
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


@pytest.mark.parametrize("seed", range(8))
def test_a_new_queue_loses_nothing_to_one_whose_declaration_never_became_durable(base, seed):
    """It had the number of the other, whose lanes were removed after the start: its own by then."""
    choose = random.Random(seed)  # whether they are removed before it has one, or after
    machine = Machine(StoreDisk(base), choose)
    machine.run()
    machine.declare(b"first")
    machine.publish(b"first", 2)
    while machine.turns.left or machine.calls or machine.works:  # but nothing is committed
        machine.end_turn()
        if machine.works:
            machine.work_next()
    last = machine.moments[-1]
    machine.crash()
    again = opened(last, last.disk.killed(), choose)
    again.declare(b"new")
    again.publish(b"new", 2)
    again.run()
    assert [number for number, _ in check(again, Moment(None, again.known, 1))[b"new"][1]] == [2, 3]
    again.crash()


def test_new_messages_do_not_count_as_settled_where_a_lane_has_lost_what_was(base):
    choose = random.Random(SEED)
    machine = Machine(StoreDisk(base), choose, lax=True)
    machine.declare(b"a")
    machine.publish(b"a", 3)
    machine.run()
    machine.get(b"a", 3)
    machine.run()
    machine.ack(b"a", 3)
    machine.run()
    last = machine.moments[-1]
    machine.crash()
    again = opened(last, last.disk.disk(frozenset()), choose, lax=True)
    assert check(again, last)[b"a"][1] == []
    again.publish(b"a", 2)
    again.run()
    again.sync_lanes()
    last = Moment(again.disk.freeze(), again.known.copy(), again.crashes)
    again.crash()
    third = opened(last, last.disk.disk(frozenset()), choose, lax=True)
    assert [number for number, _ in check(third, last)[b"a"][1]] == [3, 4]
    third.crash()


@pytest.mark.parametrize("lax", [False, True], ids=["synced", "late"])
def test_a_commit_is_whole_although_the_recovery_point_has_passed_it_before_its_lanes_were_synced(
    base, lax
):
    """The journal keeps it, whatever is trimmed, and whatever the lanes' policy calls safe."""
    choose = random.Random(SEED)
    machine = Machine(StoreDisk(base), choose, lax=lax)
    machine.declare(b"a")
    machine.declare(b"b")
    machine.publish(b"a", 2)
    machine.publish(b"b", 1)
    machine.run()
    machine.sync_lanes()
    machine.get(b"a", 2)
    machine.run()
    machine.commit([(b"a", 1), (b"b", 2)], [(b"a", 2)])
    journal, flusher = machine.queues._journaling.log, machine.directory._flusher
    while machine.known.commits:
        assert machine.step()
    lanes = [it.stock.lanes[0].log for it in machine.vhost.queues()]
    assert all(log.end > log.synced for log in lanes)
    for _ in range(8):  # more commits, of which lanes are synced no more than of the first
        for log in lanes:
            flusher._dirty.pop(log, None)
        machine.commit([(b"b", 1)])
        while machine.known.commits:
            for log in lanes:
                machine.due.pop(log, None)
                flusher._dirty.pop(log, None)
            assert machine.step()
    for log in lanes:
        flusher._dirty.pop(log, None)
    journal.secure()
    machine.queues._logs.trim_journal()
    assert journal.start < journal.state.recovery_base
    assert all(log.end > log.synced for log in lanes)
    last = Moment(machine.disk.freeze(), machine.known.copy(), machine.crashes)
    machine.crash()
    for n, disk in enumerate([last.disk.disk(frozenset()), last.disk.killed()]):
        again = opened(last, disk, choose, lax=lax)
        found = check(again, last)
        assert [number for number, _ in found[b"a"][1]] == [3], n
        assert [number for number, _ in found[b"b"][1]] == [2, 4, 5, *range(6, 14)], n
        again.run()
        again.sync_lanes()
        again.queues.close()
        assert again.queues._notes.unfinished() == []
        again.crash()
