"""The crash law of changes in several databases, whatever a power cut leaves at every moment:

what a transaction, a MOVE or a SWAPDB has changed is there in all of the databases or in none; what
was answered is there; and of each database there is what was there after some turn.
"""

import random
from dataclasses import dataclass
from itertools import product

import pytest
from clock import NOW_MS, Clock
from lossy_disk import SURVIVORS_MOST, some
from lossy_store import CONFIG, StoreDisk
from resp_kit import AtHand

import logstore
from logstore.broker.keys import key_topics
from logstore.broker.keys.collection import twin_of
from logstore.broker.keys.hashes import Hash
from logstore.broker.keys.key_topics import KeyTopics
from logstore.broker.keys.keys import Keys
from logstore.errors import LogstoreError
from logstore.slices import in_one_go
from logstore.storage.disk_log import DiskLog

long = pytest.mark.long

SEED = 20260719
SURVIVORS = max(4, SURVIVORS_MOST // 200)
MOMENTS = 24
TURNS = 30
DATABASES = 3
NAMES = [b"a", b"b", b"\0S"]
SMALL = {"segment.bytes": "900", "delete.retention.ms": "0", "min.cleanable.dirty.ratio": "0"}


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch):
    """Who waits syncs himself: no thread of the flusher changes the disk beside the pictures."""
    monkeypatch.setattr(DiskLog, "sync_soon", lambda *_, **__: None)
    monkeypatch.setattr(key_topics, "TOPIC_SETTINGS", key_topics.TOPIC_SETTINGS | SMALL)


def shown(value):
    return value if type(value) is bytes else sorted(value.elements())


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    answered: int  # worlds: the last that somebody was told of
    made: int


class Machine:
    """Keys of a store in use; takes a picture of every moment."""

    def __init__(self, disk):
        self.worlds, self.ones = [[{}] * DATABASES], {}  # after turns; those of several databases
        self.answered, self.moments = 0, []
        self.disk = disk.mount()
        disk.changed = self.picture
        clock = Clock(NOW_MS)
        self.store = logstore.open(f"{disk.base}/data", disk=disk, config=CONFIG, clock=clock)
        self.around = AtHand()
        self.keys = Keys(KeyTopics(self.store.internals().topics), clock, self.around)
        self.around.end_turn()

    def picture(self):
        self.moments.append(Moment(self.disk.freeze(), self.answered, len(self.worlds) - 1))

    def contents(self):
        return [
            {key: (shown(value), it.deadlines.get(key)) for key, value in it.values.items()}
            for it in self.keys.databases[:DATABASES]
        ]

    def change(self, chance, number):
        space, key = self.keys.databases[number], chance.choice(NAMES)
        what = chance.random()
        if what < 0.5:
            deadline = chance.choice([None, NOW_MS + 10**9])
            space.put(key, b"%d" % chance.randrange(10**6) * chance.choice([1, 20]), deadline)
        elif what < 0.65:
            value = Hash()
            for _ in range(chance.randrange(1, 4)):
                value.set(b"%d" % chance.randrange(4), b"%d" % chance.randrange(100))
            value.put()
            space.put(key, value)
        elif what < 0.9:
            space.remove(key)
        else:
            space.flush()

    def turn(self, chance):
        """Of one database, or of several as one."""
        what = chance.random()
        first, second = chance.sample(range(DATABASES), 2)
        involved = {first}
        if what < 0.3:
            for _ in range(chance.randrange(1, 4)):
                self.change(chance, first)
        elif what < 0.5:
            one, other = self.keys.databases[first], self.keys.databases[second]
            for key in NAMES:
                if one.find(key) is not None and other.find(key) is None:
                    self.keys.together((first, second))
                    one.give(key, other, in_one_go(twin_of(one.values[key])))
                    involved = {first, second}
        elif what < 0.7:
            self.keys.swap(first, second)
            involved = {first, second}
        else:
            self.keys.take(self)
            for _ in range(chance.randrange(2, 7)):
                number = chance.randrange(DATABASES)
                involved.add(number)
                self.change(chance, number)
                if chance.random() < 0.1:
                    self.keys.swap(first, second)
                    involved |= {first, second}
        self.worlds.append(self.contents())
        self.ones[len(self.worlds) - 1] = involved
        if self.keys.taken:
            self.keys.let_go(self)
        self.around.end_turn()
        if chance.random() < 0.5:
            self.answer()

    def sync(self):
        """One round of the flusher, which takes the logs in any order."""
        for journal in self.keys.journals:
            if journal.log is not None:
                journal.log.wait(journal.log.end)
        self.around.end_turn()

    def answer(self):
        """Wait until all is answered: what others wait to write may come later."""
        for _ in range(5):
            if all(it.done >= it.turn - 1 and not it.changed for it in self.keys.journals):
                break
            self.sync()
        assert all(it.done >= it.turn - 1 for it in self.keys.journals)
        self.answered = len(self.worlds) - 1
        self.picture()

    def compact(self):
        for name in [it for it in self.store.topics() if it.startswith("__keys.")]:
            list(self.store.compaction(name, seal=True))
        self.picture()

    def crash(self):
        self.disk.changed = lambda: None
        directory = self.store._directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()


def lived(base, seed):
    chance = random.Random(seed)
    machine = Machine(StoreDisk(base))
    for number in range(TURNS):
        machine.turn(chance)
        if number % 11 == 10:
            machine.compact()
    machine.crash()
    return machine


def is_found(there, moment, worlds, ones):
    """Whether each database is as it was after some turn, and those of one turn agree."""
    after = [
        [n for n in range(moment.answered, moment.made + 1) if worlds[n][number] == there[number]]
        for number in range(DATABASES)
    ]
    turns = [(n, ones[n]) for n in range(moment.answered + 1, moment.made + 1)]
    return any(
        all(len({reached[it] >= n for it in involved}) == 1 for n, involved in turns)
        for reached in product(*after)
    )


@long
@pytest.mark.parametrize("seed", range(4))
def test_what_is_one_is_there_in_all_databases_or_in_none(base, seed):
    chance, states = random.Random(SEED + seed), 0
    machine = lived(base, seed)
    for moment in some(machine.moments, chance, MOMENTS):
        for disk in [moment.disk.killed(), *moment.disk.survivors(chance, SURVIVORS)]:
            again = Machine(disk)
            assert again.keys.damage is None
            there = again.contents()
            assert is_found(there, moment, machine.worlds, machine.ones), there
            again.worlds = [there]
            again.compact()
            assert again.contents() == there
            again.turn(chance)  # it goes on, and the power goes again
            again.answer()
            last = again.moments[-1]
            again.crash()
            third = Machine(last.disk.disk(frozenset()))
            assert third.contents() == again.worlds[-1]
            third.crash()
            states += 1
    print(f"seed {SEED + seed}: {states} states")
    assert states > 60


def test_one_that_only_the_lead_has_is_done_when_the_store_is_opened(base):
    """The smallest history, always run."""
    machine = Machine(StoreDisk(base))
    for number in (0, 2):
        machine.keys.databases[number].put(b"a", b"%d" % number)
    machine.around.end_turn()
    machine.answer()
    machine.keys.together((0, 2))
    machine.keys.databases[0].remove(b"a")
    machine.keys.databases[2].put(b"a", b"3")
    machine.keys.swap(1, 2)
    machine.around.end_turn()
    lead, other = machine.keys.journals[0], machine.keys.journals[1]
    assert (lead.topic, other.topic) == (0, 2)
    end = other.log.end
    machine.keys.databases[1].put(b"b", b"4")  # waits for what is before it
    machine.around.end_turn()
    assert other.log.end == end
    assert other.done < other.turn - 1
    machine.picture()
    before = machine.moments[-1].disk
    lead.log.wait(lead.log.end)
    machine.picture()
    decided = machine.moments[-1].disk
    machine.around.end_turn()
    assert other.log.end == end + 1
    machine.sync()
    machine.sync()
    assert other.log.end == end + 2
    assert not lead.owed
    machine.answer()
    machine.crash()
    one, two = {b"a": (b"0", None)}, {b"a": (b"2", None)}
    for disk, contents in ((before, [one, {}, two]), (decided, [{}, {b"a": (b"3", None)}, {}])):
        again = Machine(disk.disk(frozenset()))
        assert again.contents() == contents
        again.crash()


def test_what_a_full_disk_does_not_take_is_in_none_of_them(base):
    machine = Machine(StoreDisk(base))
    for number in range(DATABASES):
        machine.keys.databases[number].put(b"a", b"%d" % number)
    machine.around.end_turn()
    machine.answer()
    there, lost = machine.contents(), []
    machine.keys.lost = lambda journal, turn, error: lost.append((journal.topic, str(error)))

    def full(_):
        raise LogstoreError("no space left")

    append, machine.keys.journals[0].log.append = machine.keys.journals[0].log.append, full
    machine.keys.together((0, 1))
    machine.keys.databases[0].put(b"b", b"x")
    machine.keys.databases[1].remove(b"a")
    machine.keys.swap(1, 2)
    machine.around.end_turn()
    assert machine.contents() == there
    assert sorted(lost) == [(it, "no space left") for it in range(DATABASES)]
    machine.keys.journals[0].log.append = append
    assert machine.keys.try_now() is None
    # Where the other log is full it is decided on all the same, and written when there is room.
    other = machine.keys.journals[1]
    append, other.log.append = other.log.append, full
    machine.keys.together((0, 1))
    machine.keys.databases[0].give(b"a", machine.keys.databases[3], b"0")
    machine.keys.databases[1].put(b"a", b"new")
    machine.around.end_turn()
    machine.sync()
    assert other.done == other.turn - 1
    assert machine.keys.failing == "no space left"
    other.log.append = append
    assert machine.keys.try_now() is None
    machine.answer()
    there = machine.contents()
    last = machine.moments[-1]
    machine.crash()
    again = Machine(last.disk.disk(frozenset()))
    assert again.contents() == there
    assert there[1] == {b"a": (b"new", None)}
    again.crash()
