"""The crash law of streams, at every moment of short histories:

a stream that was declared is there, and its topic with it; one that was deleted is not, nor is its
topic; what was confirmed is there, each message once and in order; and whatever a power cut leaves
of a declaration or a deletion keeps nobody from declaring it again.
"""

import random

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_queues import GENERATION, Machine, _generation
from lossy_store import StoreDisk
from queue_parts import Channel, Consumer, props

from logstore.broker.channel import Channels
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.open_topics import OpenTopics
from logstore.records.decode import decode

pytestmark = pytest.mark.long

SEED = 1
SURVIVORS = max(3, SURVIVORS_MOST // 200)
MOMENTS = 60 if LONG else 10
QUEUE = b"q"  # an ordinary one beside them


class Promised:
    """What whoever used them knows. Messages are numbers, by stream and generation."""

    def __init__(self):
        self.places = {}  # what ``Machine`` looks at
        self.there = {}  # name -> generation: its declaration is confirmed
        self.may = {}  # name -> generations that may be there
        self.gone = set()  # names: a deletion is confirmed
        self.sent = {}  # (name, generation) -> numbers
        self.together = ()  # (stream, its numbers, those of the queue): in one transaction
        self.confirmed = frozenset()
        self.now_ms = 0

    def copy(self):
        new = Promised()
        new.now_ms, new.confirmed, new.together = self.now_ms, self.confirmed, self.together
        new.there, new.gone = dict(self.there), set(self.gone)
        new.may = {name: set(those) for name, those in self.may.items()}
        new.sent = {those: list(numbers) for those, numbers in self.sent.items()}
        return new


class Streams(Machine):
    """Streams in use."""

    def __init__(self, disk, choose, *, known=None, crashes=0):
        given = Promised() if known is None else known
        super().__init__(disk, choose, known=given, crashes=crashes)
        numbers = [it for those in given.sent.values() for it in those]
        self.numbers = max(numbers, default=-1) + 1
        generations = [it for those in given.may.values() for it in those]
        self.generations = max(generations, default=0) + 1

    def surroundings(self):
        self.topics = OpenTopics(self.directory, self.clock, others_write=False)
        return Surroundings(self.topics, Channels(), self.work, tell=self.topics.tell)

    def declare(self, name, kind="stream"):
        generation, self.generations = self.generations, self.generations + 1
        arguments = arguments_of({"x-queue-type": kind, GENERATION: generation})
        self.known.may.setdefault(name, set()).add(generation)
        self.known.gone.discard(name)
        self.known.sent[name, generation] = []
        _, pending = self.vhost.declare_queue(QueueFacts(name, True, arguments=arguments), None)
        self.live[name] = generation

        def declared():
            assert pending.error is None
            if self.live.get(name) == generation:
                self.known.there[name] = generation

        self._begin(lambda: pending.done, declared)

    def publish(self, name, count=1, held=None):
        generation = self.live[name]
        numbers = range(self.numbers, self.numbers + count)
        self.numbers += count
        self.known.sent[name, generation] += numbers
        run = []
        for number in numbers:
            message = Message(b"", name, props(delivery_mode=2), b"%d" % number)
            run.append((self.vhost.route(message), message))
        published = self.vhost.publish(run, held)
        if held is None:
            self._confirm(published.waiting, name, numbers)
        return numbers

    def _confirm(self, waiting, name, numbers):
        waiting.watch(lambda: self.calls.append(self._look))
        generation = self.live[name]

        def confirmed():
            assert waiting.failed is None
            if self.live.get(name) == generation:
                self.known.confirmed |= set(numbers)
            self.picture()

        self._begin(waiting.settled, confirmed)

    def transact(self, name):
        """To a stream and to a queue."""
        held, generation, answers = Transaction(), self.live[name], []
        numbers = self.publish(name, 2, held)
        more = self.publish(QUEUE, 2, held)
        self.known.together += (((name, generation), numbers, more),)

        def confirmed():
            assert answers == [None]
            self.known.confirmed |= set(more)
            if self.live.get(name) == generation:
                self.known.confirmed |= set(numbers)

        self.vhost.commit(held, answers.append)
        self._begin(lambda: answers, confirmed)

    def delete(self, name):
        self._leaves(name)
        _, pending = self.vhost.delete_queue(self.vhost.queue(name, None))
        self._begin(lambda: pending.done, lambda: self._left(name, pending.error))

    def delete_topic(self, name):
        """As a Kafka client does."""
        self._leaves(name)
        self.topics.delete(name.decode())
        self._begin(lambda: self.vhost.topology.queue(name) is None, lambda: self._left(name, None))

    def _leaves(self, name):
        generation = self.live.pop(name)
        self.known.there.pop(name, None)
        self.known.confirmed -= set(self.known.sent[name, generation])

    def _left(self, name, error):
        assert error is None
        if name not in self.live:
            self.known.gone.add(name)
            self.known.may[name] = set()

    # What there is

    def contents(self):
        """name -> generation and numbers, of streams and of the queue."""
        self.run()
        found = {}
        for it in list(self.vhost.queues()):
            generation, name = _generation(it), it.facts.name
            if it.topic_name is None:
                had = self.ready(it)
            else:
                had = numbers_of(self.topics.get(it.topic_name).partition(0))
                assert self.consumed(it) == had
            found[name] = generation, had
        return found

    def ready(self, queue):
        channel = Channel()
        had = [int(it.body) for it in self.fetched(queue, channel)]
        channel.end()
        self.run()
        return had

    def consumed(self, stream):
        arguments = arguments_of({"x-stream-offset": "first"})
        it = Consumer(Channel(), 1000, arguments=arguments)
        stream.subscribe(it)
        self.run()
        stream.unsubscribe(it)
        self.run()
        return [int(body) for body in it.bodies]


def numbers_of(log):
    found, at = [], log.start
    while at < log.safe:
        for batch in log.read(at, 10_000):
            found += [int(it.value) for it in decode(batch)]
            at = batch.next_offset
    return found


def check(machine, known):
    contents = machine.contents()
    for name, generation in known.there.items():
        assert name in contents, f"{name} was declared, and is missing"
        assert contents[name][0] == generation, f"{name}: one of another time"
    for name in known.gone:
        assert name not in contents, f"{name} was deleted, and is there"
        assert machine.topics.get(name.decode()) is None, f"{name}'s topic is there"
    for name, (generation, had) in contents.items():
        assert generation in known.may.get(name, ()), f"{name}.{generation}: nobody declared it"
        sent = known.sent[name, generation]
        if name == QUEUE:
            assert sorted(had) == [it for it in sent if it in had], f"{name}: {had} of {sent}"
        else:
            assert had == sent[: len(had)], f"{name}: {had} of {sent}"
    for (name, generation), sent in known.sent.items():
        there, had = contents.get(name, (None, ()))
        lost = known.confirmed & set(sent) - set(had if there == generation else ())
        assert not lost, f"{name}: {lost} are lost"
    for (name, generation), first, second in known.together:
        if contents.get(name, (None,))[0] == generation and QUEUE in contents:
            queued = set(second) & set(contents[QUEUE][1])
            assert len(queued) in (0, len(second))
            assert not queued or set(first) <= set(contents[name][1]), "half of it"
    return contents


def used(machine):
    machine.declare(QUEUE, "classic")
    machine.declare(b"s")
    machine.some()
    machine.publish(b"s", 2)
    machine.some()
    machine.publish(b"s", 3)
    machine.transact(b"s")
    machine.run()
    machine.publish(b"s")
    machine.some()
    machine.transact(b"s")
    machine.some()


def deleted_and_made_anew(machine):
    machine.declare(QUEUE, "classic")
    for again in range(3):
        machine.declare(b"s")
        machine.some()
        machine.publish(b"s", 2)
        machine.some() if again else machine.run()
        machine.transact(b"s")
        machine.some()
        machine.delete(b"s")
        machine.some() if again else machine.run()
    machine.run()


def its_topic_is_deleted(machine):
    machine.declare(QUEUE, "classic")
    for _ in range(2):
        machine.declare(b"s")
        machine.declare(b"t")
        machine.run()
        machine.publish(b"s", 2)
        machine.publish(b"t", 2)
        machine.some()
        machine.run()
        machine.delete_topic(b"s")
        machine.publish(b"t", 1)
        machine.run()
        machine.delete(b"t")
        machine.run()


def begun_again(machine):
    machine.declare(QUEUE, "classic")
    machine.declare(b"s")
    machine.publish(b"s", 2)
    machine.again()
    machine.publish(b"s", 2)
    machine.some()
    machine.delete(b"s")
    machine.again()
    machine.declare(b"s")
    machine.publish(b"s", 2)
    machine.again()
    machine.transact(b"s")
    machine.run()


def went_on(machine, contents):
    """All can be declared, and published to, whatever there was."""
    machine.known = known = Promised()
    known.now_ms = machine.now_ms
    for name, (generation, had) in contents.items():
        known.there[name], known.may[name] = generation, {generation}
        known.sent[name, generation] = list(had)
        known.confirmed |= set(had)
    for name in (QUEUE, b"s", b"t"):
        if name not in contents:
            left = machine.topics.get(name.decode())  # of half a declaration, or half a deletion
            machine.declare(name, "classic" if name == QUEUE else "stream")
            machine.run()
            had = [] if left is None else numbers_of(left.partition(0))
            known.sent[name, machine.live[name]] += had
        machine.publish(name, 2)
    machine.transact(b"s")
    machine.run()
    assert len(known.there) == 3


@pytest.mark.parametrize(
    "history", [used, deleted_and_made_anew, its_topic_is_deleted, begun_again]
)
def test_the_law_holds_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for _ in range(3 if LONG else 1):
        machine = Streams(StoreDisk(base), choose)
        history(machine)
        machine.crash()
        for moment in some(machine.moments, choose, MOMENTS):
            for disk in moment.disk.survivors(choose, SURVIVORS):
                again = Streams(disk, choose, known=moment.known, crashes=1)
                went_on(again, check(again, moment.known))
                frozen, known = again.disk.freeze(), again.known.copy()
                again.crash()
                third = Streams(frozen.disk(frozenset()), choose, known=known, crashes=2)
                check(third, known)
                third.crash()
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 20
