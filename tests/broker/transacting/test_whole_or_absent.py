"""The law, over kills at any moment, with any of the logs synced: every transaction is whole or
absent, in every log and in what groups have committed; what was answered stays so.
"""

import random

import pytest
from transacting_kit import Node
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC

from logstore.broker.committed import CommittedLog
from logstore.broker.transactions.operations import Offset
from logstore.broker.transactions.transactional_id import TV1, TV2
from logstore.errors import LogstoreError
from logstore.records.decode import decode

PLACES = [(TOPIC, 0), (TOPIC, 1), (OTHER_TOPIC, 0)]
NAMES = ["copier", "other"]
SEEDS = 150


class Client:
    """One transactional id, whose next producer goes on after a kill."""

    def __init__(self, name, rng, version):
        self.name, self.rng, self.version = name, rng, version
        self.begin(None)
        self.transactions = []  # every one: what it wrote, its offset, how it was answered

    def begin(self, heard):
        self.producer, self.asked, self.now, self.ending = None, heard, None, None

    def step(self, node, number):
        rng = self.rng
        if self.producer is None:
            if self.asked is None:
                self.asked = node.initialize(self.name)
            elif self.asked:
                [it] = self.asked
                self.asked = None
                if not isinstance(it, LogstoreError):
                    self.producer = it.producer
        elif self.ending is not None:
            if self.ending:
                [it] = self.ending
                self.now["answered"] = not isinstance(it, LogstoreError)
                if self.now["answered"] and self.now["outcome"] is COMMIT and self.now["offset"]:
                    key = "g", TOPIC, NAMES.index(self.name)
                    assert node.offsets[key][1] == self.now["offset"]
                self.ending = self.now = None
                self.producer = None if isinstance(it, LogstoreError) else it.producer
        elif self.now is None or rng.random() < 0.6:
            if self.now is None:
                self.now = {"wrote": [], "offset": None, "outcome": None, "answered": False}
                self.transactions.append(self.now)
            value, place = b"%s-%d" % (self.name.encode(), number), rng.choice(PLACES)
            node.write(self.producer, place, self.name, value=value)
            self.now["wrote"].append((place, value))
            if rng.random() < 0.3:
                self.now["offset"] = number
                offset = Offset(TOPIC, NAMES.index(self.name), number)
                node.stage(self.producer, offset, name=self.name)
        else:
            self.now["outcome"] = rng.choice([COMMIT, COMMIT, ABORT])
            self.ending = node.end(self.producer, self.now["outcome"], self.version, self.name)


def seen(node):
    """By place, the values that a reader of committed records gets."""
    found = {}
    for place, its in node.logs.items():
        view, at = CommittedLog(its), 0
        while batches := view.read(at, 1 << 20):
            for batch in batches:
                if not batch.is_control:
                    found.setdefault(place, set()).update(it.value for it in decode(batch))
            at = batches[-1].next_offset
    return found


def check(node, clients, seed):
    values = seen(node)
    committed = {partition: offset for (_, _, partition), (_, offset) in node.offsets.items()}
    for number, client in enumerate(clients):
        last = None
        for it in client.transactions:
            there = {value in values.get(place, ()) for place, value in it["wrote"]}
            assert len(there) == 1, (seed, it)
            [whole] = there
            if it["answered"]:
                assert whole is (it["outcome"] is COMMIT), (seed, it)
            elif it["outcome"] is not COMMIT:
                assert not whole, (seed, it)
            if whole and it["offset"] is not None:
                last = it["offset"]
        assert committed.get(number) == last, (seed, client.transactions)


@pytest.mark.parametrize("version", [TV1, TV2])
def test_every_transaction_is_whole_or_absent(version):
    for seed in range(SEEDS):
        rng = random.Random(f"{version} {seed}")
        node, number = Node(), 0
        clients = [Client(name, rng, version) for name in NAMES]
        for _ in range(3):
            for _ in range(rng.randrange(40)):
                number += 1
                if rng.random() < 0.4:
                    logs = [*node.logs.values(), node.journal]
                    node.sync(*rng.sample(logs, rng.randrange(len(logs)) + 1))
                else:
                    rng.choice(clients).step(node, number)
                    if rng.random() < 0.8:
                        node.turn()
            for client in clients:  # an answer that was on its way has come, or never does
                if client.ending:
                    client.step(node, number)
            node = Node(node, lost=rng.random() < 0.8)
            for client in clients:
                client.begin(None)
            for client in clients:  # whose transactions are aborted by their next producers
                heard = node.initialize(client.name)
                node.settle()
                assert not isinstance(heard[0], LogstoreError), (seed, heard)
            node.settle()
            check(node, clients, seed)
            assert node.journal.notes.transactions().unfinished() == [], seed
