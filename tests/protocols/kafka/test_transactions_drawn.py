"""Drawn producers of transactions, of every age, with zombies, late connections, timeouts, kills.

Whatever comes of it: a transaction is whole or absent, what was answered holds, and no partition
has a transaction open of which the coordinator knows nothing (T2).
"""

import random
from itertools import count

import pytest
from mostly_long import mostly_long
from transacting_talk import TransactingTalk, batch

from logstore.broker.committed import CommittedLog
from logstore.broker.transactions.state import State
from logstore.broker.transactions.transactional_id import Producer
from logstore.records.decode import decode

NAMES, PARTITIONS, STEPS = "aabc", 3, 120  # two clients have the same id
AGES = [(10, 1, 1), (11, 3, 4), (12, None, 5), (13, None, 5)]  # Produce, AddPartitions, EndTxn
RAISES_EPOCHS = 5  # EndTxn
COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"


class Transaction:
    def __init__(self):
        self.sent = set()  # and acknowledged
        self.outcome = UNKNOWN


class Client:
    """One process with a producer."""

    def __init__(self, world, name, age):
        self.world, self.name = world, name
        self.produce, self.add, self.end = age
        self.producer, self.sequences, self.transaction = None, {}, None
        self.connect()

    def connect(self):
        self.talk = TransactingTalk(beside=self.world.talk)

    def _said(self, answer):
        """None: the connection has ended."""
        if answer is None:
            self.connect()
        return answer

    def initialize(self):
        self.transaction = None
        it = self._said(self.talk.initialize(self.name))
        if it is not None and not it.error_code:
            self._become(Producer(it.producer_id, it.producer_epoch))

    def _become(self, producer):
        self.producer, self.sequences = producer, {}

    def _give_up(self):
        """What has become of the transaction is not known; the next begins with a producer."""
        self.transaction, self.producer = None, None

    def send(self, rng):
        if self.transaction is None:
            self.transaction = Transaction()
            self.world.transactions.append(self.transaction)
        partition = rng.randrange(PARTITIONS)
        if self.add is not None:
            places = [("t", (partition,))]
            codes = self._said(self.talk.add(self.producer, places, self.add, self.name))
            if codes is None or any(codes.values()):
                self._give_up()
                return
        value = b"%d" % next(self.world.values)
        sequence = self.sequences.get(partition, 0)
        records = batch(self.producer, sequence, value)
        for _ in range(rng.choice([1, 1, 2])):  # it may come twice
            batches = [("t", partition, records)]
            [code] = self.talk.produce(*batches, version=self.produce, name=self.name)
        if code:
            self._give_up()
            return
        self.sequences[partition] = sequence + 1
        self.transaction.sent.add(value)

    def finish(self, rng, *, committed):
        if self.transaction is None:
            return
        if rng.random() < 0.3:  # it is not answered in time, and said again
            late = self.talk, self.producer, committed, self.end, self.name
            self.world.late.append(late)
            self.connect()
        done = self._said(self.talk.end(self.producer, committed, self.end, self.name))
        if done is None or done[0]:
            self._give_up()
            return
        self.transaction.outcome = COMMITTED if committed else ABORTED
        self.transaction = None
        if self.end >= RAISES_EPOCHS:
            self._become(Producer(*done[1:]))


class World:
    def __init__(self, rng):
        self.rng, self.values, self.transactions = rng, count(), []
        self.late = []  # requests that have not come yet
        self.talk = TransactingTalk()
        self.talk.topics.create("t", PARTITIONS, {})
        self.clients = [Client(self, name, rng.choice(AGES)) for name in NAMES]

    def step(self):
        client, rng = self.rng.choice(self.clients), self.rng
        what = rng.random()
        if client.producer is None or what < 0.05:
            client.initialize()
        elif what < 0.6:
            client.send(rng)
        elif what < 0.88:
            client.finish(rng, committed=rng.random() < 0.7)
        elif what < 0.92 and self.late:
            talk, *asked = self.late.pop(rng.randrange(len(self.late)))
            talk.end(*asked)
        elif what < 0.96:
            self.talk.node.pass_time(rng.choice([100, 30_000, 61_000]))
            self.talk.node.settle()
        else:
            self.restart()
        self.check()

    def restart(self):
        """A kill: what has not come yet never will."""
        self.late.clear()
        self.talk = TransactingTalk(before=self.talk)
        for it in self.clients:
            it.connect()

    def check(self):
        node = self.talk.node
        for partition in range(PARTITIONS):
            for pid in self.talk.open_in("t", partition):
                it = node.table.of_pid(pid)
                assert (it.pid, it.state) == (pid, State.ONGOING)
                assert partition in {place[1] for place in node.coordinator.logs_of(pid)}

    def committed(self):
        found = []
        for partition in range(PARTITIONS):
            log = CommittedLog(self.talk.log("t", partition))
            batches = [it for it in log.read(log.start, 1 << 30) if not it.is_control]
            found += [it.value for one in batches for it in decode(one)]
        return found


@pytest.mark.parametrize("seed", mostly_long(range(40), [0]))
def test_every_transaction_is_whole_or_absent(seed):
    rng = random.Random(seed)
    world = World(rng)
    for _ in range(STEPS):
        world.step()
    world.talk.node.pass_time(61_000)
    world.talk.node.settle()
    world.check()
    assert all(world.talk.open_in("t", it) == [] for it in range(PARTITIONS)), seed
    found = world.committed()
    assert len(found) == len(set(found)), seed
    for it in world.transactions:
        there = it.sent & set(found)
        expected = {COMMITTED: [it.sent], ABORTED: [set()], UNKNOWN: [it.sent, set()]}
        assert there in expected[it.outcome], (seed, it.outcome, it.sent, there)
    outcomes = [it.outcome for it in world.transactions]
    assert COMMITTED in outcomes, seed
