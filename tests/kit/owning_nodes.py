"""Nodes that own partitions of one topic, each with a client of its own, over one broker."""

from clock import NOW_MS
from cluster_kit import OneNode
from transacting_talk import TransactingTalk

from logstore.cluster.claims import word_of
from logstore.cluster.ownership import Ownership, Place
from logstore.config import Config
from logstore.records.decode import decode
from logstore.records.encode import encode

TOPIC = "__logstore-queues"


def batch(*values):
    return encode([(value, None, (), NOW_MS) for value in values])


class SaidGroup:
    """``Group`` in which a test says who should own what."""

    def __init__(self, told):
        self._told = told
        self.assigned, self.heard, self.given_up, self.left = frozenset(), 0, [], False
        self.heard_at = self.joined_at = 0.0

    def say(self, *numbers):
        self.assigned = frozenset(numbers)
        self.confirm()

    def confirm(self):
        self.heard += 1
        self._told()

    def gave_up(self, number):
        self.given_up.append(number)

    def leave(self, then):
        self.left = True
        then()


class Found(list):
    """``State``: the values that stand."""

    def apply(self, it):
        self += [record.value for record in decode(it)]


class OwningNode:
    """One; it runs only while time passes for it."""

    def __init__(self, name, beside=None, seed=0, partitions=2, join=None, settings=()):
        self.name = name
        if beside is not None:
            self.client = OneNode(seed, beside=beside.client)
        else:
            self.client = OneNode(seed, talk=TransactingTalk(settings=dict(settings)))
            given = {it: (str(value), "test") for it, value in dict(settings).items()}
            self.client.topics._config = Config(given)
            self.client.topics.create(TOPIC, partitions, {})
        self.found, self.told = {}, []
        self.new_state = Found
        client = self.client
        join = join or (lambda node, told: SaidGroup(told))
        self.owns = Ownership(
            client.client, client.wait_for, TOPIC, name, f"{name}:9999",
            lambda told: join(self, told), self._state,
            lambda: int(client.now() * 1000), self.told.append,
        )  # fmt: skip
        self.group = self.owns.group

    def _state(self, number):
        self.found[number] = self.new_state()
        return self.found[number]

    def append(self, number, *values):
        """Append values; returns the mark after them."""
        taking = self.owns.served(number)
        return taking.append(batch(*values)) + len(values)

    def owned(self):
        return {
            number for number in range(len(self.owns.owners))
            if self.owns.place_of(number) is Place.OWNED
        }  # fmt: skip

    def broker(self, number):
        return self.client.topics.get(TOPIC).partition(number)


def some_nodes(count, partitions=2, **facts):
    first = OwningNode("0", partitions=partitions, **facts)
    return [
        first,
        *(OwningNode(str(it), first, it, join=facts.get("join")) for it in range(1, count)),
    ]


def pass_time(nodes, seconds=1.0):
    first, *others = (it.client for it in nodes)
    first.pass_time(seconds, others)


def take_over(nodes, which):
    """Let one node take over partition 0; returns the takeover and the state that it found."""
    for it in nodes:
        it.group.say()
    pass_time(nodes)
    node = nodes[which]
    node.group.say(0)
    pass_time(nodes)
    return node.owns.served(0), node.found[0]


def standing(node, number):
    """All batches at the broker."""
    log = node.broker(number)
    return super(type(log), log).read(log.start, 1 << 30) if log.end > log.start else []


def values(node, number):
    """The values of all records at the broker except claims, beats and fences."""
    return [
        record.value for it in standing(node, number) if word_of(it) is None
        for record in decode(it)
    ]  # fmt: skip


def words(node, number):
    """Kinds and nodes of all claims, beats and fences at the broker."""
    found = [word_of(it) for it in standing(node, number)]
    return [(it.kind, it.node) for it in found if it is not None]


def restart_broker(node):
    """Restart the broker, which learns of producers from its logs."""
    for number in range(len(node.owns.owners)):
        notes = node.broker(number).notes
        notes._producers.clear()
        for it in standing(node, number):
            notes.appended(it, it.base_offset)
