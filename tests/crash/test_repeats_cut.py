"""Ids that a partition remembers, after a power cut at every moment: those of all records that are
there, so that nothing is stored twice; and of none that was lost, so that it can be sent again.
"""

import random
from dataclasses import dataclass

import pytest
from clock import NOW_MS
from lossy_disk import LossyDisk
from lossy_log import MemorySlot

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.ledger import Ledger
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk_log import DiskLog
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flusher
from logstore.storage.recovery import recover
from logstore.storage.segment import Indexes

SEED = 1406
SETTINGS = TopicSettings(segment_bytes=300, index_interval_bytes=60, deduplication_header="id")


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    state: LogState
    note: bytes
    slot: tuple
    acknowledged: frozenset  # ids


class Machine:
    """A log that keeps repeats out; its catalogue is two variables, which change in one step."""

    def __init__(self, disk, state=None, note=b"", slot=(0, 0, 0)):
        self.disk, self.slot = disk, MemorySlot(slot)
        self.state, self.note = state or LogState(), note
        self.moments, self.acknowledged = [], frozenset()
        disk.changed = self._picture
        files = OpenFiles(disk, 16, write=True)
        chain = Chain("t-0", files, Indexes(), 60, gaps_below=lambda: 0)
        once = Deduplication(lambda: NOW_MS, 1 << 20)
        ledger = Ledger(lambda: NOW_MS, 1000, once.of_log)
        ledger.apply(SETTINGS)
        ledger.load(note)
        found = recover(chain, files, self.state, self.slot.synced(), crashed=True, notes=ledger)
        assert found.damage is None
        self.log = DiskLog(
            "t-0", chain, files, Flusher(files, lambda logs: None), self.slot, SETTINGS, self.state,
            found.end, found.position, save=self._save, notes=ledger, note=note,
        )  # fmt: skip

    def _save(self, log, state):
        self.state, self.note = state, log.note
        self._picture()

    def _picture(self):
        self.moments.append(
            Moment(self.disk.freeze(), self.state, self.note, self.slot.words, self.acknowledged)
        )

    def send(self, ids):
        """Sent, and not waited for."""
        self.log.append(encode([(it, None, (("id", it),), NOW_MS) for it in ids]))

    def sync(self, sent):
        self.log.wait(self.log.end)
        self.acknowledged |= sent

    def stored(self):
        """The ids of all records there, each once for each that stands there."""
        found, at = [], self.log.start
        while batches := self.log.read(at, 1000):
            found += [it.value for batch in batches for it in decode(batch)]
            at = batches[-1].next_offset
        return found


def run(machine, rng):
    """Ids come twice and more, are synced now and then; recovery points, and the start goes up."""
    sent = set()
    for _ in range(30):
        ids = [b"%d" % rng.randrange(25) for _ in range(rng.randrange(1, 4))]
        machine.send(ids)
        sent |= set(ids)
        if rng.random() < 0.4:
            machine.sync(frozenset(sent))
        if rng.random() < 0.1:
            machine.log.secure()
        if rng.random() < 0.1:
            machine.log.trim(rng.randrange(machine.log.start, machine.log.safe + 1))


def check(moment, disk):
    """A client that has had no answer sends all again."""
    machine = Machine(disk, moment.state, moment.note, moment.slot)
    before = machine.stored()
    assert len(before) == len(set(before)), SEED
    everything = [b"%d" % n for n in range(25)]
    machine.send(everything)
    machine.sync(frozenset())
    after = machine.stored()
    assert len(after) == len(set(after)), SEED
    fresh = set(after) - set(before)
    assert not fresh & moment.acknowledged, SEED  # though perhaps it was trimmed away
    machine.send(everything)
    machine.sync(frozenset())
    assert machine.stored() == after, SEED
    assert set(everything) - fresh >= set(before), SEED


@pytest.mark.long
def test_what_is_there_is_known_and_nothing_else_after_a_power_cut():
    rng, tried = random.Random(SEED), 0
    machine = Machine(LossyDisk())
    run(machine, rng)
    for moment in machine.moments:
        for disk in moment.disk.survivors(rng, 3):
            check(moment, disk)
            tried += 1
    print(f"{tried} states")
    assert tried > 300


def test_what_was_trimmed_before_a_crash_is_known_after_it():
    machine = Machine(LossyDisk())
    machine.send([b"a", b"b"])
    machine.sync(frozenset())
    for n in range(20):
        machine.send([b"%d" % n])
    machine.sync(frozenset())
    machine.log.trim(20)
    again = Machine(machine.disk.freeze().killed(), machine.state, machine.note, machine.slot.words)
    end = again.log.end
    again.send([b"a", b"b"])
    again.sync(frozenset())
    assert again.log.end == end + 2
    assert not {b"a", b"b"} & set(again.stored())
