"""The crash law of keys, whatever a power cut leaves, at every moment of a history:

what is there is what was there after some turn, not before the last one that was answered: each
turn is on disk as a whole, or not at all. Compaction changes nothing of that, and what has expired
does not come back.
"""

import random
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from clock import NOW_MS, Clock
from lossy_disk import SURVIVORS_MOST, some
from lossy_store import CONFIG, StoreDisk
from resp_kit import AtHand

import logstore
from logstore.broker.keys import key_topics
from logstore.broker.keys.elements import KINDS
from logstore.broker.keys.key_topics import KeyTopics
from logstore.broker.keys.keys import Keys
from logstore.errors import LogstoreError
from logstore.protocols.resp.keys.reach import make, wrote
from logstore.storage.disk_log import DiskLog

long = pytest.mark.long

SEED = 20130131
SURVIVORS = max(4, SURVIVORS_MOST // 200)
MOMENTS = 12
TURNS = 40
NAMES = [b"a", b"b", b"c", b"", b"\0F", b"\0\0x", b"long" * 20]
SMALL = {"segment.bytes": "600", "delete.retention.ms": "0", "min.cleanable.dirty.ratio": "0"}


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch):
    """Who waits syncs himself: no thread of the flusher changes the disk beside the pictures."""
    monkeypatch.setattr(DiskLog, "sync_soon", lambda *_, **__: None)
    monkeypatch.setattr(key_topics, "TOPIC_SETTINGS", key_topics.TOPIC_SETTINGS | SMALL)


def shown(value):
    """A value as it is now."""
    if type(value) is bytes:
        return value
    listed = value.items if value.kind == "list" else sorted(value.elements())
    return value.kind, tuple(listed)


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    answered: int  # worlds: the last that somebody was told of
    made: int
    now_ms: int


class Machine:
    """Keys of a store in use; takes a picture of every moment."""

    def __init__(self, disk, now_ms=NOW_MS):
        self.clock = Clock(now_ms)
        self.worlds = [{}]  # after so many turns
        self.answered, self.moments = 0, []
        self.disk = disk.mount()
        disk.changed = self.picture
        self.store = logstore.open(f"{disk.base}/data", disk=disk, config=CONFIG, clock=self.clock)
        self.around = AtHand()
        self.keys = Keys(KeyTopics(self.store.internals().topics), self.clock, self.around)
        self.around.end_turn()
        self.space, self.journal = self.keys.databases[0], self.keys.journals[0]
        door = SimpleNamespace(keys=self.keys)
        self.client = SimpleNamespace(database=0, door=door, depend=lambda *_: None)

    def picture(self):
        self.moments.append(
            Moment(self.disk.freeze(), self.answered, len(self.worlds) - 1, self.clock.ms)
        )

    def contents(self):
        """What is there, and when it expires."""
        alive, values = self.space.alive(self.space.values), self.space.values
        return {key: (shown(values[key]), self.space.deadlines.get(key)) for key in alive}

    def change(self, chance):
        """As commands do it."""
        space, key = self.space, chance.choice(NAMES)
        if chance.random() < 0.4:
            self.change_within(chance)
            return
        what = chance.random()
        until = self.clock.ms + chance.choice([5, 1000, 10**9])
        if what < 0.45:
            space.put(key, b"%d" % chance.randrange(10**6) * chance.choice([1, 30]))
        elif what < 0.65:
            space.put(key, b"dated", until)
        elif what < 0.8:
            space.remove(key)
        elif what < 0.86 and space.find(key) is not None:
            space.persist(key)
        elif what < 0.92 and space.find(key) is not None:
            space.move(key, chance.choice([it for it in NAMES if it != key]))
        elif what > 0.97:
            space.flush()

    def change_within(self, chance):
        """Elements of a collection, which are records of their own."""
        kind = chance.choice(list(KINDS))
        key = b"it:" + kind.encode()
        value = make(self.client, key, KINDS[kind])
        name = b"%d" % chance.randrange(6)
        if kind == "list":
            puts = value.push_left if chance.random() < 0.5 else value.push_right
            takes = value.pop_left if chance.random() < 0.5 else value.pop_right
            act = (lambda: puts(name)) if chance.random() < 0.6 or not len(value) else takes
        elif chance.random() < 0.6:
            act = {"hash": lambda: value.set(name, name * 3), "set": lambda: value.add(name),
                   "zset": lambda: value.set(name, chance.random())}[kind]  # fmt: skip
        else:
            act = lambda: value.remove(name)  # noqa: E731
        act()
        if len(value) or key in self.space.values:
            wrote(self.client, key, value, "changed")
        if chance.random() < 0.08:
            self.space.remove(key)

    def turn(self, chance):
        for _ in range(chance.randrange(1, 5)):
            self.change(chance)
        self.worlds.append(self.contents())
        self.around.end_turn()
        if chance.random() < 0.7:
            self.answer()
        if chance.random() < 0.1:
            self.clock.ms += chance.choice([3, 20])

    def answer(self):
        log = self.journal.log
        if log is not None:
            log.wait(log.end)
            self.around.end_turn()
            assert self.journal.done == self.journal.turn - 1
        self.answered = len(self.worlds) - 1
        self.picture()

    def compact(self):
        log = self.journal.log
        if log is not None:
            list(self.store.compaction("__keys.0", seal=True))
        self.picture()

    def crash(self):
        self.disk.changed = lambda: None
        directory = self.store._directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()


def lived(base, seed):
    """A history, from the first turn to the last."""
    chance = random.Random(seed)
    machine = Machine(StoreDisk(base))
    for number in range(TURNS):
        machine.turn(chance)
        if number % 13 == 12:
            machine.compact()
    machine.crash()
    return machine


def alive(world, now_ms):
    return {key: it for key, it in world.items() if it[1] is None or it[1] >= now_ms}


def check(machine, moment, worlds):
    """Which of the worlds is there."""
    assert machine.keys.damage is None
    there = machine.contents()
    found = [
        number for number in range(moment.answered, moment.made + 1)
        if alive(worlds[number], moment.now_ms) == there
    ]  # fmt: skip
    assert found, (there, worlds[moment.answered : moment.made + 1])
    return found[-1]


@long
@pytest.mark.parametrize("seed", range(4))
def test_what_is_there_is_what_was_there_after_some_turn(base, seed):
    chance, states = random.Random(SEED + seed), 0
    machine = lived(base, seed)
    for moment in some(machine.moments, chance, MOMENTS):
        for disk in moment.disk.survivors(chance, SURVIVORS):
            again = Machine(disk, moment.now_ms)
            number = check(again, moment, machine.worlds)
            again.worlds = [machine.worlds[number]]
            again.compact()
            assert again.contents() == alive(machine.worlds[number], moment.now_ms)
            again.turn(chance)  # it goes on, and the power goes again
            again.answer()
            last = again.moments[-1]
            again.crash()
            third = Machine(last.disk.disk(frozenset()), last.now_ms)
            assert third.contents() == alive(again.worlds[-1], last.now_ms)
            third.crash()
            states += 1
    print(f"seed {SEED + seed}: {states} states")
    assert states > 40


@long
@pytest.mark.parametrize("seed", range(2))
def test_what_a_killed_process_leaves_is_not_unread_by_a_power_cut(base, seed):
    chance = random.Random(SEED + seed)
    machine = lived(base, seed)
    for moment in some(machine.moments, chance, MOMENTS):
        again = Machine(moment.disk.killed(), moment.now_ms)
        number = check(again, moment, machine.worlds)
        again.picture()
        last = again.moments[-1]
        again.crash()
        for disk in last.disk.survivors(chance, 3):
            third = Machine(disk, moment.now_ms)
            assert third.contents() == alive(machine.worlds[number], moment.now_ms)
            third.crash()


def test_a_turn_is_answered_after_its_sync_and_there_after_a_power_cut(base):
    """The smallest history, always run."""
    machine = Machine(StoreDisk(base))
    machine.space.put(b"a", b"1")
    machine.space.put(b"b", b"2", NOW_MS + 5)
    machine.worlds.append(machine.contents())
    machine.around.end_turn()
    assert machine.journal.done < machine.journal.turn - 1
    machine.answer()
    moment = machine.moments[-1]
    machine.crash()
    again = Machine(moment.disk.disk(frozenset()))
    assert check(again, moment, machine.worlds) == 1
    again.crash()


def test_a_disk_that_fails_keeps_what_was_answered(base):
    machine = Machine(StoreDisk(base))
    machine.space.put(b"a", b"1")
    machine.around.end_turn()
    machine.journal.log.wait(machine.journal.log.end)
    machine.around.end_turn()
    lost = []
    machine.keys.lost = lambda *words: lost.append(words)

    def full(_):
        raise LogstoreError("no space left")

    machine.journal.log.append = full
    machine.space.put(b"a", b"2")
    machine.space.put(b"c", b"3")
    machine.around.end_turn()
    assert machine.contents() == {b"a": (b"1", None)}
    assert [str(error) for _, _, error in lost] == ["no space left"]
    machine.crash()
