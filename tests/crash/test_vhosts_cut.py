"""The crash law of virtual hosts, at every moment of short histories:

one that was added is there, with all it has; one that was deleted is not; between the two, all of
it is there or nothing; and one that is made anew has nothing of an earlier one of its name. What is
in other hosts is as it was.
"""

import random

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_queues import GONE, Known, Machine, Moment, _generation, check
from lossy_store import StoreDisk

pytestmark = pytest.mark.long

SEED = 20130101
SURVIVORS = max(2, SURVIVORS_MOST // 160)
MOMENTS = 24 if LONG else 4
HOST = b"v"


class KnownHosts(Known):
    """Also of virtual hosts."""

    def __init__(self):
        super().__init__()
        self.host = "gone"  # or: adding, there, deleting
        self.before = None  # what there was as the deletion began

    def copy(self):
        new = super().copy()
        new.host, new.before = self.host, self.before
        return new


class Hosts(Machine):
    """Queues whose names begin with ``v`` are in the virtual host of that name."""

    def __init__(self, disk, choose, *, known=None, crashes=0):
        super().__init__(disk, choose, known=known or KnownHosts(), crashes=crashes)

    def open(self):
        super().open()
        self.live = {}
        for vhost in self.queues.vhosts.values():
            for queue in vhost.queues():
                self.live[queue.facts.name] = _generation(queue)

    @property
    def vhost(self):
        return self.queues.vhosts.get(self._in, self.queues.vhosts[b"/"])

    @vhost.setter
    def vhost(self, _):
        self._in = b"/"

    def within(self, name):
        self._in = name
        return self

    def add(self):
        self.known.host = "adding"
        pending = self.queues.add_vhost(HOST)

        def added():
            if pending.error is None:
                self.known.host = "there"

        if pending is not None:
            self._begin(lambda: pending.done, added)
            self.run()

    def drop(self):
        known = self.known
        known.before = (
            {n: it for n, it in known.places.items() if in_host(it)},
            {name: generation for name, generation in known.there.items() if name[:1] == HOST},
        )
        known.host = "deleting"
        for name in [it for it in self.live if it[:1] == HOST]:
            del self.live[name]
            known.there.pop(name, None)
        for number in known.before[0]:
            place = known.places[number]
            self._change(number, (), place.may, "leaving")
        self.out = {tag: it for tag, it in self.out.items() if it[1][0][:1] != HOST}
        pending = self.queues.delete_vhost(HOST)

        def deleted():
            if pending.error is not None:
                return
            known = self.known
            known.host = "gone"
            for number in known.before[0]:
                self._change(number, (), (), "gone")
            for name in [it for it in known.may if it[:1] == HOST]:
                known.may[name] = set()

        self._begin(lambda: pending.done, deleted)

    def contents(self):
        found = {}
        for name in list(self.queues.vhosts):
            found |= super(Hosts, self.within(name)).contents()
        self.within(b"/")
        return found

    def past(self, name):
        found = super(Hosts, self.within(HOST if name[:1] == HOST else b"/")).past(name)
        self.within(b"/")
        return found


def in_host(place):
    return any(name[:1] == HOST for name, _ in place.may)


def check_hosts(machine, moment):
    contents = check(machine, moment)
    known, there = moment.known, HOST in machine.queues.vhosts
    if known.host == "deleting":
        places, queues = known.before
        if there:
            assert {it: contents[it][0] for it in queues if it in contents} == queues, (
                "half of it is gone"
            )
            ready = {n for _, had in contents.values() for n, _ in had}
            lost = {n for n, it in places.items() if it.must} - ready
            assert not lost, f"{lost} are lost, and their host is there"
    elif known.host != "adding":
        assert there == (known.host == "there"), f"it is {known.host}"
    if not there:
        assert not [it for it in contents if it[:1] == HOST]
    return contents


def used_deleted_and_added_anew(machine):
    machine.declare(b"a")
    machine.publish(b"a", 2)
    machine.run()
    for again in range(2):
        machine.within(HOST).add()
        machine.declare(b"va")
        machine.some()
        machine.declare(b"vb", max_priority=2)
        machine.publish(b"va", 3)
        machine.publish(b"vb", 2, priority=1)
        machine.run()
        machine.get(b"va", 2)
        machine.run()
        machine.ack(b"va")
        if again:
            machine.some()
        else:
            machine.run()
        machine.drop()
        machine.some()
        machine.within(b"/").publish(b"a", 1)
        machine.some()
    machine.run()
    machine.get(b"a", 1)
    machine.run()
    machine.ack(b"a")
    machine.run()


def opened(moment, disk, choose):
    return Hosts(disk, choose, known=moment.known, crashes=moment.crashes + 1)


def check_law(moment, disk, choose):
    machine = opened(moment, disk, choose)
    there = HOST in machine.queues.vhosts
    contents = check_hosts(machine, moment)
    machine.known = KnownHosts()
    machine.known.host = "there" if there else "gone"
    for name, (generation, had) in contents.items():
        machine.known.there[name], machine.known.may[name] = generation, {generation}
        for number, _ in had:
            machine.known.priorities[number] = moment.known.priorities[number]
            machine._change(number, {(name, generation)}, {(name, generation)}, "there")
    if not there:
        machine.within(HOST).add()
    machine.within(HOST).declare(b"vc")
    machine.publish(b"vc", 2)
    machine.run()
    machine.within(b"/")
    last = Moment(machine.disk.freeze(), machine.known.copy(), machine.crashes)
    machine.crash()
    third = opened(last, last.disk.disk(frozenset()), choose)
    found = check_hosts(third, last)
    assert len(found[b"vc"][1]) == 2
    assert GONE not in third.known.places.values()
    third.crash()


@pytest.mark.parametrize("order", range(4 if LONG else 1))
def test_the_law_holds_whatever_a_power_cut_leaves(base, order):
    choose, states = random.Random(SEED + order), 0
    machine = Hosts(StoreDisk(base), choose)
    used_deleted_and_added_anew(machine)
    machine.crash()
    deleting = [it for it in machine.moments if it.known.host == "deleting"]
    assert deleting
    for moment in some(deleting, choose, MOMENTS) + some(machine.moments, choose, MOMENTS):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk, choose)
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 20
