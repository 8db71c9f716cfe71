"""What a partition knows of transactions, after a power cut at every moment: exactly what the
batches say that are there. So no reader of what is committed is shown what was aborted.
"""

import random

import pytest
from clock import NOW_MS
from lossy_disk import LossyDisk
from transactions_kit import Producers, every_batch, transactions_in

from logstore.records.control import ABORT, marker
from logstore.records.encode import encode
from logstore.storage.aborted_index import ABORTED_ENTRY
from logstore.storage.names import TXNINDEX
from tests.crash.test_producers_cut import Machine

SEED = 16


def check(log):
    begun, aborted = transactions_in(every_batch(log))
    assert dict(log.notes.open) == begun, SEED
    assert log.stable == min(begun.values(), default=log.safe), SEED
    assert log.aborted(0, log.safe) == aborted, SEED
    shown = log._slot.undecided
    assert shown == min(begun.values(), default=None), SEED


@pytest.mark.parametrize("every_sync", [True, False])
@pytest.mark.parametrize("bumps", [True, False])
@pytest.mark.long
def test_what_is_known_of_transactions_is_what_the_log_says(every_sync, bumps):
    rng, tried = random.Random(f"{SEED} {every_sync} {bumps}"), 0
    machine, producers = Machine(LossyDisk(), every_sync=every_sync), Producers(rng, bumps=bumps)
    for _ in range(40):
        machine.log.append(producers.next())
        if rng.random() < 0.4:
            machine.log.wait(machine.log.end)
        if rng.random() < 0.1:
            machine.log.secure()
    machine.log.wait(machine.log.end)
    check(machine.log)
    for moment in machine.moments:
        for disk in moment.disk.survivors(rng, 4):
            again = Machine(disk, moment.state, moment.note, moment.slot)
            assert moment.acknowledged <= again.log.end, SEED
            check(again.log)
            tried += 1
    print(f"{tried} states")
    assert tried > 300


def index_of(disk):
    [path] = [path for path in disk.names if path.endswith(TXNINDEX)]
    return bytes(disk.names[path].data)


def an_abort():
    machine = Machine(LossyDisk(), every_sync=False)
    machine.log.append(encode([(b"x", None, (), NOW_MS)], producer_id=7, transactional=True))
    machine.log.append(marker(ABORT, 7, 0, NOW_MS))
    return machine


def test_what_was_aborted_is_durable_before_other_processes_go_by_its_marker():
    """Else they would be shown it after a power cut, until a writer makes the index anew."""
    machine = an_abort()
    machine.log.wait(machine.log.end)
    assert (machine.slot.words[1], machine.slot.undecided) == (2, None)
    assert len(index_of(machine.disk.freeze().disk(frozenset()))) == ABORTED_ENTRY.size


@pytest.mark.parametrize("more", [b"", bytes(ABORTED_ENTRY.size)], ids=["whole", "damaged"])
def test_what_was_aborted_stays_while_a_start_looks_for_it_again(more):
    """For other processes, whatever a power cut leaves of the start."""
    machine, tried = an_abort(), 0
    machine.log.wait(machine.log.end)
    disk = machine.disk.freeze().disk(frozenset())
    entry = index_of(disk)
    [index] = [it for path, it in disk.names.items() if path.endswith(TXNINDEX)]
    index.change(len(entry), more)
    index.sync()
    again = Machine(disk, machine.state, machine.note, machine.slot.words)
    for moment in again.moments:
        for left in moment.disk.survivors(random.Random(SEED), 64):
            assert index_of(left)[: len(entry)] == entry
            tried += 1
    assert tried > 4


def test_an_entry_whose_marker_was_lost_never_comes_back():
    """Where it was, there may be another transaction by then."""
    machine, tried = an_abort(), 0
    for disk in machine.disk.freeze().survivors(random.Random(SEED), 64):
        again = Machine(disk, machine.state, machine.note, machine.slot.words)
        for _ in range(3 - again.log.end):
            again.log.append(encode([(b"y", None, (), NOW_MS)]))
        again.log.secure()
        last = again.disk.freeze().disk(frozenset())
        third = Machine(last, again.state, again.note, again.slot.words)
        check(third.log)
        tried += 1
    assert tried > 4
