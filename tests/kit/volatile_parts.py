"""Two nodes that know each other's volatile queues, with a link each way, in one process."""

from dataclasses import replace
from itertools import count

from queue_parts import DEADLINE_S, Channel
from relay_kit import Joined
from roaming_parts import RoamingNode

from logstore.broker.queues.away.seat import seat_at
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.volatile.nodes import VolatileNodes


class VolatileNode(RoamingNode):
    """One of them: ``Reached`` and ``Around`` of its volatile queues; owns no partition."""

    def __init__(self, directory, clock, common, name, first):
        """``first``: the number of its first queue."""
        self.name = name
        self.timers = []  # (seconds, call)
        self.parked_bytes = 0
        self.link = None  # to the other one
        self.volatile = VolatileNodes(self, self)
        super().__init__(directory, clock, common)
        self.numbers = count(first)
        self.volatile.join(self.queues)

    def surroundings(self):
        return replace(super().surroundings(), neighbourhood=self.volatile)

    # As Around

    def after(self, seconds, call):
        self.timers.append((seconds, call))

    def parked(self, size):
        self.parked_bytes += size

    def late(self):
        timers, self.timers = self.timers, []
        for _, call in timers:
            call()

    # As Reached

    def owner(self, node):
        return self.link.owner if self.link is not None and self.link.owner.ready else None

    def seat_with(self, queue, vhost, node):
        owner = self.owner(node)
        if owner is None:
            return None
        return seat_at(queue, vhost, owner, self.clock, lambda: None)


class Pair:
    """Both, each linked to the other."""

    def __init__(self, a, b):
        self.nodes = self.a, self.b = a, b
        self.news = b.news = a.news  # of threads of either
        for asker, owner in ((a, b), (b, a)):
            asker.link = Joined(owner, asker, asked=dict(owner.volatile.asked))
        for node in self.nodes:
            self.connect(node)

    def connect(self, node):
        """Connect the node to the other one."""
        other = self.a if node is self.b else self.b
        node.link.connect(me=node.name, run=False)
        self.run(until=lambda: node.link.owner.ready)
        node.volatile.moved(other.name)
        self.run()

    def cut(self, node):
        node.link.cut()
        node.volatile.moved((self.a if node is self.b else self.b).name)
        self.run()

    def step(self):
        moved = False
        for node in self.nodes:
            link = node.link
            if link.session is not None:
                moved = bool(link.send()) or moved
                link.node.turn()
                moved = bool(link.take()) or moved
        for node in self.nodes:
            node.turn()
            moved = moved or bool(node.turns.left or node.calls)
        return moved

    def run(self, until=lambda: True):
        """Run until neither node has anything to send or to do."""
        for _ in range(10_000):
            if self.step():
                continue
            if until() and not any(it.busy for it in self.nodes):
                return
            with self.news:
                if not any(it.calls for it in self.nodes):
                    assert self.news.wait(DEADLINE_S), "nothing comes"
        raise AssertionError("it never ends")

    def declare(self, node, name, **given):
        """Declare a queue, which both nodes then know; returns its client's view."""
        owner = given.pop("owner", None)
        queue, pending = node.vhost.declare_queue(_facts(name, **given), owner)
        self.run(until=lambda: pending is None or pending.done)
        return queue

    def publish(self, node, key, *bodies, **given):
        """Publish; returns the result once it is known."""
        published = node.publish_soon(key, *bodies, **given)
        published.waiting.watch(lambda: node.deliver(lambda: None))
        self.run(until=published.waiting.settled)
        return published

    def bodies(self, node, name):
        found = []
        while (got := self.get(node, name)) is not None:
            found.append(got.delivery.body)
        return found

    def get(self, node, name):
        told = []
        node.vhost.queue(name).get(Channel(), True, told.append)
        self.run(until=lambda: told)
        return told[0]


def _facts(name, *, exclusive=False, auto_delete=False, durable=False):
    return QueueFacts(name, durable, exclusive, auto_delete)
