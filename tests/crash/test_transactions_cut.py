"""The crash law of streaming transactions, whatever a power cut leaves, at every moment of short
histories:

what was answered stays; each transaction is whole or absent, in every log and in what its groups
have committed; nobody who reads committed records, in this process or beside it, is ever shown a
part of one that is not; what was read is never unread; what the indexes say was aborted is what the
batches say; and no producer is handed out twice. After it the next process finds nothing open or
unfinished but what clients go on with.

The last tests break the order that this rests on, and show that it is found.
"""

import random
from itertools import product

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_store import StoreDisk
from lossy_transactions import SLOW, Machine, check
from transaction_breaks import BREAKS
from transaction_histories import HISTORIES, many_beside_one, two_clients, two_in_a_row
from transaction_parts import ABORT, COMMIT

from logstore.broker.transactions.transactional_id import TV1, TV2
from logstore.errors import LogstoreError

long = pytest.mark.long

SEED = 20130101
# Each is opened twice or three times, with a catalogue.
SURVIVORS = max(2, SURVIVORS_MOST // 400)
MOMENTS = 4  # of each history, in the default run
STATES_LEAST = 2 * MOMENTS  # of the shortest history


def in_a_row(version, topics, outcome, offsets, roll):
    def history(machine):
        two_in_a_row(machine, version, topics, outcome, offsets=offsets, roll=roll)

    parts = ["two in a row", f"TV{version}", *topics, outcome.name.lower()]
    parts += ["offsets"] * offsets + ["roll"] * roll
    return pytest.param(history, id=" ".join(parts))


YES_OR_NO = [False, True]
# In the long run; else some, in which each value of each is.
MATRIX = list(product([TV1, TV2], ["a", "ab"], [COMMIT, ABORT], YES_OR_NO, YES_OR_NO))
SOME = [(TV1, "ab", ABORT, True, False), (TV2, "a", COMMIT, False, True)]
EVERY = [*(in_a_row(*it) for it in (MATRIX if LONG else SOME)), *HISTORIES]


def moments(base, history, choose, *, count=MOMENTS, **given):
    """Some of the moments of a history, each of which the power may be cut at."""
    machine = Machine(StoreDisk(base), choose, **given)
    history(machine)
    machine.crash()
    return some(machine.moments, choose, count)


def opened(moment, disk, choose, **given):
    """What the next process makes of it."""
    return Machine(disk, choose, known=moment.known, **given)


def check_law(moment, disk, choose, **given):
    """The law; then the clients go on as if nothing had been, and the power goes again."""
    machine = opened(moment, disk, choose, **given)
    machine.settle()
    check(machine)
    machine.go_on()
    check(machine)
    known = machine.known
    last = machine.disk.freeze().disk(frozenset())
    machine.crash()
    again = Machine(last, choose, known=known, **given)
    again.settle()
    check(again)
    again.crash()


def test_a_transaction_is_whole_or_absent_after_a_power_cut(base):
    """Of the long run, a little."""
    choose = random.Random(SEED)
    for moment in moments(base, two_clients, choose, count=2)[:2]:
        check_law(moment, choose.choice(list(moment.disk.survivors(choose, 4))), choose)


@long
@pytest.mark.parametrize("least", [1, 1000], ids=["all at once", "one by one"])
@pytest.mark.parametrize("history", EVERY)
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
@pytest.mark.parametrize("history", EVERY)
def test_the_law_holds_where_partitions_are_synced_late(base, history):
    """With flush.messages over 1 what is acknowledged may go, but no half of a transaction."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, lax=True):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk, choose, lax=True)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


@long
@pytest.mark.parametrize("history", EVERY)
def test_the_law_holds_when_a_killed_process_is_followed_by_a_power_cut(base, history):
    """What the next process has shown of the kernel's cache is never unread."""
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose, count=2 * MOMENTS):
        again = opened(moment, moment.disk.killed(), choose)
        again.settle()
        check(again)
        known, last = again.known, again.disk.freeze()
        again.crash()
        for disk in last.survivors(choose, 2):
            third = Machine(disk, choose, known=known)
            third.settle()
            check(third)
            third.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 10


@long
@pytest.mark.parametrize("history", EVERY)
def test_the_law_holds_when_the_power_goes_again_in_recovery(base, history):
    choose, states = random.Random(SEED), 0
    for moment in moments(base, history, choose):
        disk = choose.choice(list(moment.disk.survivors(choose, 4)))
        again = opened(moment, disk, choose)
        again.settle()
        again.go_on()
        again.crash()
        for second in choose.sample(again.moments, min(3, len(again.moments))):
            for twice in second.disk.survivors(choose, 2):
                third = opened(second, twice, choose)
                third.settle()
                check(third)
                third.crash()
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states >= STATES_LEAST


def test_an_abort_whose_data_was_lost_is_not_of_what_comes_in_its_place(base):
    """With TV1 both transactions are of the same producer, and may begin at the same offset."""
    choose = random.Random(SEED)
    machine = Machine(StoreDisk(base), choose)
    machine.create("a")
    client = machine.client("x", TV1)
    machine.initialize(client)
    machine.begin(client)
    machine.write(client, "a")
    machine.end(client, ABORT)
    while client.asked:
        if not machine.step_without(machine.log("a")):  # is not synced, if nothing needs that
            assert machine.step()
    known, disk = machine.known, machine.disk.freeze().disk(frozenset())
    machine.crash()

    again = Machine(disk, choose, known=known)
    again.coordinator()
    client = again.client("x", TV1)
    client.producer = known.producers[-1]
    again.run()
    again.begin(client)
    again.write(client, "a")
    again.run()
    known, disk = again.known, again.disk.freeze().disk(frozenset())
    again.crash()

    third = Machine(disk, choose, known=known)
    third.coordinator()
    client = third.client("x", TV1)
    client.producer, client.at = known.producers[-1], 1
    third.end(client, COMMIT)
    third.run()
    check(third)
    third.crash()


def hunt(base):
    """The law, wherever the order may be broken: what was not synced is gone."""
    for seed, patient, slow in product(range(SEED, SEED + 8), YES_OR_NO, SLOW):
        choose = random.Random(seed)
        machine = Machine(StoreDisk(base), choose, watched=False, slow=slow)
        many_beside_one(machine, patient=patient)
        machine.crash()
        for moment in choose.sample(machine.moments, min(60, len(machine.moments))):
            again = opened(moment, moment.disk.disk(frozenset()), choose, watched=False)
            again.settle()
            check(again)
            again.crash()


@long
@pytest.mark.parametrize("break_it", BREAKS)
def test_a_broken_order_is_found(base, monkeypatch, break_it):
    break_it(monkeypatch)
    with pytest.raises((AssertionError, LogstoreError)) as found:
        hunt(base)
    print(found.value)
