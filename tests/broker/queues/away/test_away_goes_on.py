"""Whatever has happened to links and owners: once all is well again, no consumer waits in vain."""

import random
from functools import partial

import pytest
from queue_parts import KINDS_WITH_NOTES, MANY, Time
from relay_kit import FarChannel, FarClient, Joined
from roaming_parts import PARTITIONS, Common, RoamingNode
from storage_kit import Opened

from logstore.broker.queues.away.seat import seat_at
from logstore.broker.queues.roaming.queue import PATIENCE_MS

NAMES = (b"q", b"r")  # of two partitions
STEPS = 80


class World:
    """Two nodes; clients of the second one, which serves their queues itself or has them served."""

    def __init__(self, paths, seed):
        self.random = random.Random(seed)
        self.clock = Time()
        self.opened = [Opened(it) for it in paths]
        self.a, self.b = (
            RoamingNode(it.writer(kinds=KINDS_WITH_NOTES), self.clock, common, known)
            for common in [Common()]
            for it, known in zip(self.opened, (None, self), strict=True)
        )
        self.joined = Joined(self.a, self.b)
        self.denied = False  # an owner has said that it is none
        self.sent, self.got, self.clients = {it: set() for it in NAMES}, [], []
        self.queues = [[it.declare(name) for name in NAMES] for it in (self.a, self.b)]
        self.owners = [self.a] * PARTITIONS
        self.joined.connect()
        for number in range(PARTITIONS):
            self.a.own(number)
        self.look_for_owners()
        limited = FarChannel()
        limited.prefetch = 2 if seed % 3 == 0 else 0
        for name in NAMES:
            self.subscribe(name, FarClient(prefetch=self.random.choice([1, 2])))
            self.subscribe(name, FarClient(limited, prefetch=0 if limited.prefetch else 1))

    # As Elsewhere

    def seat(self, queue, partition, home):
        if self.joined.session is None or not self.joined.owner.ready:
            return None
        return seat_at(queue, b"/", self.joined.owner, self.clock, self.is_denied)

    def is_denied(self):
        self.denied = True

    def look_for_owners(self):
        self.denied = False
        for number in range(PARTITIONS):
            self.b.roamers.moved(number)

    # What happens

    def subscribe(self, name, client):
        client.queue = self.b.vhost.queue(name)
        self.clients.append(client)
        client.queue.subscribe(client)

    def publish(self):
        name = self.random.choice(NAMES)
        body = b"%d" % sum(map(len, self.sent.values()))
        self.sent[name].add(body)
        self.random.choice([self.a, self.b]).publish_soon(name, body)
        for node in (self.a, self.b):
            node.roamers.lanes_came([it.id for it in node.roamers.queues()])

    def held(self):
        return [(it, tag) for it in self.clients for tag, _ in it.had if tag in it.channel.unacked]

    def settle(self, client, tag, how="ack"):
        if client.channel.prefetch:  # as a door does it
            for it in self.clients:
                if it.channel is client.channel:
                    it.queue.wake()
        getattr(client.channel, how)(tag)

    def settle_one(self):
        if held := self.held():
            self.settle(*self.random.choice(held), self.random.choice(["ack", "requeue"]))

    def cut(self):
        if self.joined.session is not None:
            self.joined.cut(noticed=self.random.random() < 0.7)
            self.look_for_owners()

    def connect(self):
        if self.joined.session is None:
            self.joined.connect()
            self.look_for_owners()

    def move(self):
        number = self.random.randrange(PARTITIONS)
        before = self.owners[number]
        before.roamers.leave(number)
        if before is self.a:
            self.joined.door.leave(partial(self.a.roamers.is_of, number))
        before.roamers.lose(number, told=self.random.random() < 0.5)
        self.some_turns()
        now = self.owners[number] = self.b if before is self.a else self.a
        now.roamers.own(number, now.common.journal(number))

    def read_or_not(self):
        client = self.random.choice(self.clients)
        client.takes = 0 if client.takes else MANY
        if client.takes:
            client.queue.wake()

    def cancel(self):
        client = self.random.choice(self.clients)
        client.queue.unsubscribe(client)
        self.subscribe(client.queue.facts.name, FarClient(client.channel, client.prefetch))

    def fetch(self):
        client = FarClient()
        client.queue = self.b.vhost.queue(self.random.choice(NAMES))
        self.clients.append(client)
        self.got.append([])

        def then(found, answers=self.got[-1]):
            answers.append(found)
            client.had += [] if found is None else [(found.tag, found.delivery)]

        client.queue.get(client.channel, False, then)

    def some_turns(self):
        for _ in range(self.random.randrange(3)):
            for pass_on in (self.joined.send, self.joined.take):
                if self.joined.session is not None and self.random.random() < 0.5:
                    pass_on(self.random.choice([None, 7, 50]))
                self.a.turn()
                self.b.turn()

    def run(self):
        if self.joined.session is not None:
            self.joined.run()
        self.a.run()
        self.b.run()

    def retry(self):
        if self.denied:
            self.look_for_owners()

    def step(self):
        likely = {
            self.publish: 8, self.settle_one: 5, self.cut: 2, self.connect: 5, self.move: 5,
            self.read_or_not: 1, self.cancel: 1, self.fetch: 1, self.retry: 4, self.some_turns: 8,
            self.run: 9,
        }  # fmt: skip
        self.random.choices(list(likely), likely.values())[0]()

    def be_well(self):
        """All is well again, and clients settle all that they have and get."""
        self.connect()
        for it in self.clients:
            if not it.takes:
                it.takes = MANY
                it.queue.wake()
        self.run()
        for _ in range(100):
            if not (self.denied or self.held()):
                return
            self.retry()
            self.run()
            for client, tag in self.held():
                self.settle(client, tag)
            self.run()
        raise AssertionError("it has no end")

    def end(self):
        self.joined.cut()
        for node, its in zip((self.a, self.b), self.opened, strict=True):
            node.close()
            its.close_all()


@pytest.mark.parametrize("seed", range(24))
def test_once_all_is_well_again_no_consumer_waits_in_vain(tmp_path, seed):
    world = World([tmp_path / name for name in ("a", "b")], seed)
    for _ in range(STEPS):
        world.step()
    world.be_well()
    had = [it.body for client in world.clients for _, it in client.had]
    for name in NAMES:
        assert world.sent[name] <= set(had)
    world.b.later(PATIENCE_MS)
    world.run()
    assert [len(it) for it in world.got] == [1] * len(world.got)
    for node, queues in zip((world.a, world.b), world.queues, strict=True):
        for queue in queues:
            if world.owners[node.roamers.partition_of(queue.id)] is node:
                assert (queue.ready, queue.out) == (0, 0)
    world.end()
