"""The crash law of held transactions across models, whatever a power cut leaves: what one brings to
topics and a queue, settles in another queue and commits for a group has happened as a whole, or not
at all, and once; whatever was confirmed has; and what upkeep does to the topics changes nothing.
"""

import random

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import GENERATION, Machine
from lossy_store import StoreDisk
from queue_parts import Channel, props

from logstore.broker.queues.held import Place
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.partitions import last_of
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.kept.groups import OffsetToCommit
from logstore.open_topics import OpenTopics
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.storage.committer import GroupCommitter
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job
from logstore.upkeep.jobs import Jobs

pytestmark = pytest.mark.long

SEED = 20261129
SURVIVORS = max(3, SURVIVORS_MOST // 400)
MOMENTS = 10  # of each history, in the default run
ORDERS = 2
PARTITIONS = 2
LOGS = [("t", 0), ("t", 1), ("c", 0)]  # topics, and each one's partition
SMALL = {"segment.bytes": "400", "index.interval.bytes": "60"}
COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}


class Promised:
    """What whoever used it knows."""

    def __init__(self):
        self.places = {}  # what ``Machine`` looks at
        self.may = {}
        self.now_ms = 0
        self.sent = 0  # messages that are in the queue: confirmed
        self.moved = frozenset()  # confirmed
        self.replaced = frozenset()  # numbers whose keys have a newer record in ``c``: confirmed
        self.made = False

    def copy(self):
        new = Promised()
        new.__dict__.update(self.__dict__)
        return new


class Together(Machine):
    """A machine whose transactions take from a queue, and bring to all else."""

    def __init__(self, disk, choose, *, known=None):
        super().__init__(disk, choose, known=Promised() if known is None else known)
        self.queues.keep_offsets()

    def surroundings(self):
        self.topics = OpenTopics(self.directory, self.clock, others_write=False)
        positions = GroupCommitter(self.committer, self.directory.groups)
        return Surroundings(self.topics, None, self.work, positions=positions)

    def again(self):
        super().again()
        self.queues.keep_offsets()

    def made(self):
        self.topics.create("in", 1, {})
        self.topics.create("t", PARTITIONS, {**SMALL, "compression.sealed": "zstd"})
        self.topics.create("c", 1, {**SMALL, **COMPACT})
        for name in (b"q", b"o"):
            arguments = arguments_of({GENERATION: 1})
            self.vhost.declare_queue(QueueFacts(name, True, False, False, arguments), None)
        self.run()
        self.known.made = True

    def send(self, count):
        """Messages with these numbers, by somebody who waits until they are confirmed."""
        run = []
        for number in range(self.known.sent, self.known.sent + count):
            message = Message(b"", b"q", props(delivery_mode=2), b"%d" % number)
            run.append((self.vhost.route(message), message))
        waiting = self.vhost.publish(run).waiting
        waiting.watch(lambda: self.calls.append(self._look))
        self.run(until=waiting.settled)
        self.known.sent += count
        self.picture()

    def move(self):
        """The first message: to the partitions, to the other queue, and it is settled."""
        got = []
        self.vhost.queue(b"q").get(self.channel, False, got.append)
        self.run(until=lambda: got)
        number = int(got[0].delivery.body)
        held = Transaction()
        for topic, partition in LOGS:
            place = Place(self.topics.topic(topic).uuid, partition)
            held.append(place, encode([(b"%d" % number, b"k%d" % number, (), self.now_ms)]))
        message = Message(b"", b"o", props(delivery_mode=2), b"%d" % number)
        self.vhost.publish([(self.vhost.route(message), message)], held)
        group = self.channel.unacked.ack(got[0].tag)
        held.settle(group.queue, group.lane, group.first, group.bits)
        offset = OffsetToCommit(number + 1, topic_id=self.topics.topic("in").id)
        held.commits.append(self.queues.offsets("g", {("in", 0): offset}))
        answers = []

        def confirmed():
            assert answers == [None]
            self.known.moved |= {number}

        self.vhost.commit(held, answers.append)
        self._begin(lambda: answers, confirmed)

    def replace(self, number):
        """A newer record of its key, by somebody else, and the old one goes by compaction."""
        log = self.topics.topic("c").partition(0)
        upto = log.append(encode([(b"new", b"k%d" % number, (), self.now_ms)])) + 1
        log.wait(upto)
        self.known.replaced |= {number}
        log.roll()
        self.upkeep()
        self.picture()

    def upkeep(self):
        """All of it, beside that of queues."""
        super().upkeep()
        jobs = Jobs(self.directory, self.clock, lambda groups: {}, lambda: Here(self.disk))
        for outcome in jobs.run(Job("recompress"), bytes_per_second=-1):
            assert outcome.broke is None

    def taken_again(self, name):
        """Numbers of all that is ready; they are ready again."""
        queue, channel = self.vhost.queue(name), Channel()
        found = [int(it.body) for it in self.fetched(queue, channel)]
        for it in channel.unacked.drain():
            it.queue.release(it, failed=False)
        self.run()
        return found

    def values(self, topic, partition):
        log = self.topics.topic(topic).partition(partition)
        log.wait(log.end)
        found, at = [], log.start
        while at < log.safe:  # a read ends with its segment
            batches = log.read(at, 1 << 20)
            found += [it.value for batch in batches for it in decode(batch)]
            at = batches[-1].next_offset
        return found


# Histories


def moved_one_after_another(machine):
    machine.made()
    machine.send(5)
    for _ in range(5):
        machine.move()
        machine.some()
    machine.run()


def moved_at_once(machine):
    machine.made()
    machine.send(6)
    for _ in range(3):
        machine.move()
    machine.some()
    for _ in range(3):
        machine.move()
    machine.run()
    machine.idle()


def upkeep_comes_by(machine):
    machine.made()
    machine.send(4)
    machine.move()
    machine.some()
    machine.move()
    machine.run()
    machine.replace(0)
    machine.replace(1)
    machine.move()
    for topic, partition in LOGS:
        machine.topics.topic(topic).partition(partition).roll()
    machine.some()
    machine.upkeep()
    machine.move()
    machine.run()
    machine.replace(3)
    machine.upkeep()


def begun_again(machine):
    machine.made()
    machine.send(4)
    machine.move()
    machine.some()
    machine.again()
    machine.move()
    machine.run()
    machine.again()
    machine.move()
    machine.move()
    machine.run()


HISTORIES = [moved_one_after_another, moved_at_once, upkeep_comes_by, begun_again]


def check(machine):
    """The law; the machine has what a power cut left."""
    known = machine.known
    if machine.vhost.topology.queue(b"o") is None or "c" not in machine.topics.names():
        assert not known.made
        return
    machine.run()
    left = machine.taken_again(b"q")
    there = [machine.taken_again(b"o")]
    for topic, partition in LOGS[:PARTITIONS]:
        there.append([int(it) for it in machine.values(topic, partition)])
    moved = there[0]
    assert moved == sorted(set(moved)), f"{moved} came"
    assert all(those == moved for those in there), f"half of something: {there}"
    assert sorted([*left, *moved]) == list(range(len(left) + len(moved)))
    assert len(left) + len(moved) >= known.sent, "a message is lost"
    assert known.moved.issubset(moved), f"{known.moved} were confirmed"
    compacted = machine.values("c", 0)
    for number in range(known.sent):
        count = compacted.count(b"%d" % number)
        if number in known.replaced:
            assert count <= 1, f"{number} is there twice"
            if count:
                newer = len(compacted) - compacted[::-1].index(b"new")
                assert compacted.index(b"%d" % number) < newer, f"{number} is back"
        else:
            assert count == (number in moved), f"{number} is there {count} times"
    offsets = machine.directory.groups.fetch("g")
    committed = offsets["in", 0].offset if offsets else 0
    assert committed == (max(moved) + 1 if moved else 0), "the group is not where it was"
    known.sent, known.moved = len(left) + len(moved), frozenset(moved)


def check_law(moment, disk, choose):
    """Then it goes on, is killed at some moment of that, and all holds still."""
    machine = Together(disk, choose, known=moment.known)
    check(machine)
    if machine.known.made:
        last = max(last_of(machine.topics.topic(*it[:1]).partition(it[1])) for it in LOGS)
        assert machine.queues._holding._next_number > last, "a number is about to be given again"
        machine.send(2)
        machine.move()
        machine.some()
    last = machine.disk.freeze()
    machine.crash()
    again = Together(last.killed(), choose, known=machine.known)
    check(again)
    again.crash()


@pytest.mark.parametrize("history", HISTORIES)
def test_what_is_done_together_is_whole_or_absent_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for _ in range(ORDERS):
        machine = Together(StoreDisk(base), choose)
        history(machine)
        machine.crash()
        for moment in some(machine.moments, choose, MOMENTS):
            for disk in moment.disk.survivors(choose, SURVIVORS):
                check_law(moment, disk, choose)
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40
