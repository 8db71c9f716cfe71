"""The crash law of topics that feed exchanges, whatever a power cut leaves: a record that was
acknowledged arrives once, all arrive in order, and a route that was removed, durably, is gone.
"""

import random

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import GENERATION, Machine
from lossy_store import StoreDisk

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.open_topics import OpenTopics
from logstore.records.encode import encode
from logstore.storage.committer import GroupCommitter

pytestmark = pytest.mark.long

SEED = 20231129
SURVIVORS = max(3, SURVIVORS_MOST // 400)
MOMENTS = 12  # of each history, in the default run
ORDERS = 2


class Promised:
    """What whoever used it knows."""

    def __init__(self):
        self.places = {}  # what ``Machine`` looks at
        self.may = {}
        self.now_ms = 0
        self.routed = False  # durably: from here on all arrives
        self.removing = self.removed = False  # asked for; durably
        self.records = ()  # acknowledged, in order

    def copy(self):
        new = Promised()
        new.__dict__.update(self.__dict__)
        return new


class Feeding(Machine):
    """A machine whose topic feeds a queue."""

    def __init__(self, disk, choose, *, known=None):
        super().__init__(disk, choose, known=Promised() if known is None else known)

    def surroundings(self):
        self.topics = OpenTopics(self.directory, self.clock, others_write=False)
        positions = GroupCommitter(self.committer, self.directory.groups)
        return Surroundings(self.topics, None, self.work, positions=positions)

    def made(self):
        self.topics.create("t", 1, {"segment.bytes": "400"})
        self.vhost.declare_exchange(ExchangeFacts(b"x", "fanout"))
        arguments = arguments_of({GENERATION: 1})
        self.vhost.declare_queue(QueueFacts(b"q", True, False, False, arguments), None)
        self.vhost.bind(Binding(b"x", b"q", b""))
        self.run()

    def route(self):
        found = []
        self.queues.topic_routes().add(self.vhost, "t", b"x", found.append)

        def kept():
            self.known.routed = True

        self._begin(lambda: found, kept)

    def unroute(self):
        self.known.removing = True
        pending = self.queues.topic_routes().remove(self.vhost, "t", b"x")

        def kept():
            self.known.removed = True

        self._begin(lambda: pending.done, kept)

    def append(self, *numbers):
        """By somebody else, who waits until they are safe."""
        log = self.topics.topic("t").partition(0)
        for number in numbers:
            upto = log.append(encode([(b"%d" % number, b"k", (), self.now_ms)])) + 1
            log.wait(upto)
            self.known.records += (number,)
            self.picture()


def records_come(machine):
    machine.made()
    machine.append(0, 1)
    machine.route()
    machine.some()
    machine.append(2)
    machine.run()
    machine.append(3, 4, 5)
    machine.some()
    machine.append(6)
    machine.some()
    machine.run()
    machine.later(1000)
    machine.run()


def stopped_and_begun_again(machine):
    machine.made()
    machine.route()
    machine.append(0, 1, 2)
    machine.some()
    machine.again()
    machine.append(3, 4)
    machine.some()
    machine.again()
    machine.append(5)
    machine.later(1000)
    machine.run()


def removed(machine):
    machine.made()
    machine.route()
    machine.append(0, 1)
    machine.run()
    machine.unroute()
    machine.some()
    machine.run()


HISTORIES = [records_come, stopped_and_begun_again, removed]


def check(moment, disk, choose):
    known = moment.known
    machine = Feeding(disk, choose, known=known)
    if "t" not in machine.topics.names() or machine.vhost.topology.queue(b"q") is None:
        assert not known.routed
        machine.crash()
        return
    routes = list(machine.queues.topic_routes())
    machine.run()
    for _ in range(3):
        machine.later(1000)
        machine.run()
    came = machine.taken(b"q")
    assert len(came) == len(set(came)), f"{came} came"
    there = list(known.records)
    log = machine.topics.topic("t").partition(0)
    assert log.end >= len(there), "what was acknowledged is not in the topic"
    if known.removed:
        assert not routes, "a route that was removed is back"
    elif known.routed and not known.removing:
        assert len(routes) == 1, "a route is gone"
        assert routes[0].positions()[0].position == log.end, routes[0].stuck
        assert came[: len(there)] == there, f"{there} were acknowledged, {came} came"
    machine.crash()


@pytest.mark.parametrize("history", HISTORIES)
def test_what_a_topic_feeds_arrives_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for _ in range(ORDERS):
        machine = Feeding(StoreDisk(base), choose)
        history(machine)
        machine.crash()
        for moment in some(machine.moments, choose, MOMENTS):
            for disk in moment.disk.survivors(choose, SURVIVORS):
                check(moment, disk, choose)
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40
