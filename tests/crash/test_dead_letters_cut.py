"""The crash law of share groups' dead letters, whatever a power cut leaves: what a member has
rejected, and was told so, has one letter and is given to nobody again; whatever has a letter has
one, with its record's value, and is given to nobody; and no record is lost to the group without a
letter.
"""

import random

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_queues import Machine
from lossy_store import StoreDisk

from logstore.broker.queues.partitions import last_of
from logstore.broker.queues.share_groups import Place
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.shared import dead_letters
from logstore.broker.shared.kept import kept_of
from logstore.broker.shared.letter import DELIVERY_COUNT, OFFSET
from logstore.broker.shared.rules import EARLIEST, Rules
from logstore.broker.shared.shares import Shares
from logstore.broker.shares.acknowledgement import Said, Type
from logstore.broker.shares.partition import Limits
from logstore.broker.transacting.telling import Telling
from logstore.clipped_shares import clip_shares
from logstore.open_topics import OpenTopics
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.committer import GroupCommitter

pytestmark = pytest.mark.long

SEED = 20261130
SURVIVORS = max(3, SURVIVORS_MOST // 400)
MOMENTS = 25 if LONG else 8  # of each history
ORDERS = 2
LOCK_MS = 1000
LIMIT = 2
DEAD = "dlq.g"
SMALL = {"segment.bytes": "400", "index.interval.bytes": "60"}
RULES = Rules(
    Limits(LIMIT, lock_ms=LOCK_MS, letters=True), begins=EARLIEST, dead_letters=DEAD, copies=True
)


class Promised:
    """What whoever used it knows."""

    def __init__(self):
        self.places, self.may = {}, {}  # what ``Machine`` looks at
        self.now_ms = 0
        self.made = False
        self.sent = 0  # records: confirmed
        self.accepted = frozenset()  # offsets, as members have said it, answered or not
        self.rejected = frozenset()  # answered

    def copy(self):
        new = Promised()
        new.__dict__.update(self.__dict__)
        return new


class Around:
    """``Surroundings`` of a machine's shares."""

    def __init__(self, machine):
        self._machine = machine
        self.work, self.soon = machine.work, machine.turns.soon
        self.by_id, self.by_name = machine.topics.by_uuid, machine.topics.get
        self.wall_ms = self.now_ms = machine.clock
        self.hold = machine.queues.commit
        self.telling = Telling(
            machine.queues._journaling.log, machine.clock, self.soon,
            lambda: self.soon(self.telling.end_turn),
        )  # fmt: skip
        self.tell = self.telling.tell

    def rules(self, group):
        return RULES

    def letters_prefix(self):
        return "dlq."

    def crowded(self):
        return self._machine.queues.crowded

    def alarm(self, at_ms):
        """A step of the history makes time pass."""


class Sharing(Machine):
    """A machine with a share group ``g``, which reads the topic ``in``."""

    def __init__(self, disk, choose, *, known=None):
        super().__init__(disk, choose, known=Promised() if known is None else known)

    def open(self):
        super().open()
        clip_shares(self.queues._journaling.log, self.directory, self.topics)
        around = Around(self)
        self.shares = Shares(kept_of(self.queues._journaling.log), around)
        self.shares.forget_topics()
        self.session = self.shares.sessions.begin("g", "a", "connection", ())
        self.partition = None

    def surroundings(self):
        self.topics = OpenTopics(self.directory, self.clock, others_write=False)
        positions = GroupCommitter(self.committer, self.directory.groups)
        return Surroundings(self.topics, None, self.work, positions=positions)

    def made(self):
        self.topics.create("in", 1, SMALL)
        self.topics.create(DEAD, 1, {**SMALL, "errors.deadletterqueue.group.enable": "true"})
        self.known.made = True
        self.picture()

    def send(self, count):
        log = self.topics.topic("in").partition(0)
        for number in range(self.known.sent, self.known.sent + count):
            log.wait(log.append(encode([(b"%d" % number, None, (), self.now_ms)])) + 1)
        self.known.sent += count
        self.picture()

    def find(self):
        if self.partition is None:
            found = []
            self.shares.find(Place("g", self.topics.topic("in").uuid, 0), found.append)
            self.run(until=lambda: found)
            [self.partition] = found
            self.shares.use(self.session, self.partition)
        return self.partition

    def take(self, most=100):
        """Offsets that are given."""
        partition, found = self.find(), []
        while len(found) < most:  # a take may end with a segment
            taken = partition.take(
                self.session.owner, most - len(found), 1 << 20, whole=False, first=True
            )
            if not taken.acquired:
                break
            found += [o for it in taken.acquired for o in range(it.first, it.last + 1)]
        return found

    def say(self, kind, *offsets):
        if kind is Type.ACCEPT:
            self.known.accepted |= set(offsets)
        for offset in offsets:
            answers = []

            def confirmed(offset=offset, answers=answers):
                assert answers == [None]
                if kind is Type.REJECT:
                    self.known.rejected |= {offset}

            said = [Said(offset, offset + 1, kind)]
            self.partition.acknowledge(self.session.owner, said, answers.append)
            self._begin(lambda answers=answers: answers, confirmed)

    def expire(self):
        """Whatever members have is overdue; what was to be tried again is."""
        self.later(LOCK_MS)
        self.shares.look_at_times()

    def letters(self):
        """Offsets of the records that have one."""
        log = self.topics.topic(DEAD).partition(0)
        log.wait(log.end)
        found, at = [], log.start
        while at < log.safe:  # a read ends with its segment
            batches = log.read(at, 1 << 20)
            for record in (it for batch in batches for it in decode(batch)):
                said = dict(record.headers)
                assert record.value == said[OFFSET], "it has another record's value"
                assert 1 <= int(said[DELIVERY_COUNT]) <= LIMIT
                found.append(int(said[OFFSET]))
            at = batches[-1].next_offset
        return found


# Histories


def rejected_one_after_another(machine):
    machine.made()
    machine.send(6)
    for offset in machine.take(6):
        machine.say(Type.REJECT if offset % 2 else Type.ACCEPT, offset)
        machine.some()
    machine.run()


def delivered_too_often(machine):
    machine.made()
    machine.send(5)
    machine.take()
    machine.say(Type.RELEASE, 1, 3)
    machine.some()
    machine.expire()
    machine.run()
    machine.take()
    machine.say(Type.RELEASE, 0)
    machine.say(Type.REJECT, 1)
    machine.some()
    machine.expire()
    machine.run()
    machine.expire()
    machine.run()


def begun_again_before_they_went(machine):
    machine.made()
    machine.send(6)
    machine.take()
    machine.say(Type.REJECT, 0, 2)
    machine.some()
    machine.expire()
    machine.run(until=lambda: machine.known.rejected)
    machine.again()
    machine.take()
    machine.say(Type.REJECT, *machine.known.accepted)
    machine.some()
    machine.again()
    machine.take()
    machine.run()


def upkeep_comes_by(machine):
    machine.made()
    machine.send(8)
    machine.take()
    machine.say(Type.REJECT, 0, 1, 2, 3)
    machine.run()
    machine.topics.topic(DEAD).partition(0).roll()
    machine.upkeep()
    machine.say(Type.REJECT, 4, 5)
    machine.some()
    machine.idle()


HISTORIES = [
    rejected_one_after_another, delivered_too_often, begun_again_before_they_went, upkeep_comes_by,
]  # fmt: skip


def check(machine):
    """The law; the machine has what a power cut left."""
    known = machine.known
    if DEAD not in machine.topics.names():
        assert not known.made
        return
    machine.run()
    given = machine.take()
    machine.run()
    letters = machine.letters()
    assert len(letters) == len(set(letters)), f"{letters} came"
    assert known.rejected.issubset(letters), f"{known.rejected} were rejected"
    assert not set(given).intersection(letters), f"{given} are given, {letters} have letters"
    lost = set(range(known.sent)) - {*given, *letters, *known.accepted}
    assert not lost, f"{lost} are lost"
    known.rejected = frozenset(letters)
    known.sent = machine.topics.topic("in").partition(0).end


def check_law(moment, disk, choose):
    """Then it goes on, is killed at some moment of that, and all holds still."""
    machine = Sharing(disk, choose, known=moment.known)
    check(machine)
    if machine.known.made:
        last = last_of(machine.topics.topic(DEAD).partition(0))
        assert machine.queues._holding._next_number > last, "a number is about to be given again"
        machine.send(1)
        given = machine.take(1)
        machine.say(Type.REJECT, *given)
        machine.some()
    last = machine.disk.freeze()
    machine.crash()
    again = Sharing(last.killed(), choose, known=machine.known)
    check(again)
    again.crash()


@pytest.mark.parametrize("history", HISTORIES)
def test_what_dies_has_one_letter_and_is_given_to_nobody_whatever_a_power_cut_leaves(
    base, history, monkeypatch
):
    monkeypatch.setattr(dead_letters, "STEP_MAX", 2)
    choose, states = random.Random(SEED), 0
    for _ in range(ORDERS):
        machine = Sharing(StoreDisk(base), choose)
        history(machine)
        assert machine.letters()
        machine.crash()
        for moment in some(machine.moments, choose, MOMENTS):
            for disk in moment.disk.survivors(choose, SURVIVORS):
                check_law(moment, disk, choose)
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40
