"""What a partition knows of idempotent producers, after a power cut at every moment: exactly what
the batches say that are there. So none that was acknowledged is taken twice, and none that was lost
is called a duplicate.
"""

import random
from contextlib import suppress
from dataclasses import dataclass

import pytest
from clock import NOW_MS
from lossy_disk import LossyDisk
from lossy_log import MemorySlot

from logstore.broker.ledger import Ledger
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk_log import DiskLog
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flusher
from logstore.storage.recovery import recover
from logstore.storage.segment import Indexes

SEED = 98


def a_ledger():
    return Ledger(lambda: NOW_MS, 1000)


def known(ledger):
    return {producer: (it.epoch, it.sent) for producer, it in ledger.producers()}


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    state: LogState
    note: bytes
    slot: tuple
    acknowledged: int


class Machine:
    """A log with a ledger; its catalogue is two variables, which change in one step."""

    def __init__(self, disk, state=None, note=b"", slot=(0, 0, 0), *, every_sync=True):
        self.disk, self.slot = disk, MemorySlot(slot)
        self.state, self.note = state or LogState(), note
        self.moments, self.every_sync = [], every_sync
        settings = TopicSettings(segment_bytes=300, index_interval_bytes=60)
        disk.changed = self._picture
        files = OpenFiles(disk, 16, write=True)
        chain = Chain("t-0", files, Indexes(), 60, gaps_below=lambda: self.state.gaps_below)
        ledger = a_ledger()
        ledger.load(note)
        found = recover(
            chain, files, self.state, self.slot.synced(), crashed=True, notes=ledger,
            new_notes=a_ledger,
        )  # fmt: skip
        assert found.damage is None
        self.log = DiskLog(
            "t-0", chain, files, Flusher(files, self._after_sync), self.slot, settings, self.state,
            found.end, found.position, save=self._save, notes=ledger,
        )  # fmt: skip
        self.ledger = ledger

    def _save(self, log, state):
        self.state, self.note = state, log.note
        self._picture()

    def _after_sync(self, logs):
        if self.every_sync:
            with suppress(OSError):
                self._save(self.log, self.log.recovery_point())

    def _picture(self):
        acknowledged = self.log.safe if hasattr(self, "log") else 0
        self.moments.append(
            Moment(self.disk.freeze(), self.state, self.note, self.slot.words, acknowledged)
        )

    def append(self, producer, sequence, count=1, epoch=0):
        messages = [(b"x", None, (), NOW_MS)] * count
        batch = encode(messages, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
        assert self.ledger.check(batch) is None
        self.log.append(batch)

    def told_by_the_log(self):
        ledger, at = a_ledger(), self.log.start
        while batches := self.log.read(at, 1000):
            for batch in batches:
                if batch.producer_id >= 0:
                    ledger.appended(batch, batch.base_offset)
            at = batches[-1].next_offset
        return known(ledger)


def run(machine, rng):
    """Three producers, epochs, syncs now and then, explicit recovery points."""
    sequences, epochs = {}, {}
    for _ in range(25):
        producer = rng.randrange(3)
        if rng.random() < 0.1:
            epochs[producer], sequences[producer] = epochs.get(producer, 0) + 1, 0
        count = rng.randrange(1, 3)
        machine.append(producer, sequences.get(producer, 0), count, epochs.get(producer, 0))
        sequences[producer] = sequences.get(producer, 0) + count
        if rng.random() < 0.4:
            machine.log.wait(machine.log.end)
        if rng.random() < 0.1:
            machine.log.secure()


@pytest.mark.parametrize("every_sync", [True, False])
@pytest.mark.long
def test_what_is_known_of_producers_is_what_the_log_says(every_sync):
    rng, tried = random.Random(f"{SEED} {every_sync}"), 0
    machine = Machine(LossyDisk(), every_sync=every_sync)
    run(machine, rng)
    assert known(machine.ledger) == machine.told_by_the_log()
    for moment in machine.moments:
        for disk in moment.disk.survivors(rng, 6):
            again = Machine(disk, moment.state, moment.note, moment.slot)
            assert moment.acknowledged <= again.log.end, SEED
            assert known(again.ledger) == again.told_by_the_log(), SEED
            tried += 1
    print(f"{tried} states")
    assert tried > 300


def test_a_clean_close_keeps_all():
    machine = Machine(LossyDisk())
    run(machine, random.Random(SEED))
    state = machine.log.close()
    again = Machine(machine.disk.freeze().killed(), state, machine.log.note, machine.slot.words)
    assert known(again.ledger) == known(machine.ledger)


def test_a_recovery_point_that_was_overtaken_leaves_no_older_note_beside_the_newer_state():
    machine = Machine(LossyDisk(), every_sync=False)
    log, newer = machine.log, []
    machine.append(1, 0)
    log.sync()
    sync = log._files.sync

    def overtaken(path):
        """Another thread syncs more, and has its recovery point before this one is through."""
        log._files.sync = sync
        machine.append(1, 1)
        log.sync()
        newer.append(log.recovery_point())
        sync(path)

    log._files.sync = overtaken
    log.recovery_point()
    [state] = newer
    assert state.recovery_offset == 2
    ledger = a_ledger()
    ledger.load(log.note)  # what is saved with the state, now
    assert known(ledger) == machine.told_by_the_log()
