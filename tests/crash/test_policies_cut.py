"""The crash law of policies, whatever a power cut leaves, at every moment of a short history:

what was set, and confirmed, counts; what was deleted does not; of one that is being changed it is
the one or the other, whole. A message keeps the time to live that it came with, whatever a policy
says meanwhile. And definitions that were being imported can be imported again: then all is there.
"""

import json
import random

import pytest
from lossy_disk import LONG, SURVIVORS_MOST, some
from lossy_queues import GENERATION, Known, Machine, Moment, check
from lossy_store import StoreDisk

from logstore.access.access import open_access
from logstore.access.identity import OWNER
from logstore.broker.policies import Policy
from logstore.definitions.carrying import carry_out
from logstore.definitions.exporting import arranged, export
from logstore.definitions.planning import Planner
from logstore.definitions.reading import read
from logstore.slices import Slices

pytestmark = pytest.mark.long

SEED = 20130101
SURVIVORS = max(2, SURVIVORS_MOST // 160)
MOMENTS = 30 if LONG else 8
HOUR_MS = 3_600_000
LONG_AGO_MS = 48 * HOUR_MS


class KnownPolicies(Known):
    """Also of policies: by name all that it may be, None among them where it may not be there."""

    def __init__(self):
        super().__init__()
        self.policies = {}
        self.timeless = frozenset()  # messages that came when nothing limited their time

    def copy(self):
        new = super().copy()
        new.policies, new.timeless = dict(self.policies), self.timeless
        return new


class Governed(Machine):
    def __init__(self, disk, choose, *, known=None, crashes=0):
        super().__init__(disk, choose, known=known or KnownPolicies(), crashes=crashes)

    def set(self, name, pattern="", priority=0, **definition):
        settings = {key.replace("_", "-"): it for key, it in definition.items()}
        policy = Policy(name, pattern, settings, priority)
        self._becomes(name, policy, self.vhost.set_policies([policy]))

    def unset(self, name):
        self._becomes(name, None, self.vhost.set_policies((), [name]))

    def _becomes(self, name, wanted, pending):
        known = self.known.policies
        known[name] = known.get(name, frozenset([None])) | {as_text(wanted)}

        def done():
            if pending.error is not None:
                self._failed(pending.error)
            else:
                self.known.policies[name] = frozenset([as_text(wanted)])

        self._begin(lambda: pending.done, done)

    def publish_timeless(self, name, count):
        before = self.numbers
        self.publish(name, count)
        self.run()
        self.known.timeless |= frozenset(range(before, before + count))


def as_text(policy):
    return None if policy is None else json.dumps(policy, sort_keys=True)


def set_changed_and_deleted(machine):
    machine.declare(b"qa")
    machine.declare(b"qb", message_ttl=LONG_AGO_MS)
    machine.publish_timeless(b"qa", 3)
    machine.later(10)
    for again in range(2):
        machine.set("ttl", "^qa", message_ttl=HOUR_MS + again)
        machine.some()
        machine.set("long", "^q", 1 if again else -1, max_length=10_000, ha_mode="all")
        if again:
            machine.run()
        machine.publish(b"qa", 2)
        machine.declare(b"qc%d" % again)
        machine.some()
        machine.get(b"qa", 1)
        machine.some()
        machine.unset("long")
        machine.some()
    machine.set("last", max_length_bytes=1 << 20, alternate_exchange="amq.fanout")
    machine.run()
    machine.unset("ttl")
    machine.run()
    machine.publish(b"qa", 1)
    machine.run()


def opened(moment, disk, choose):
    return Governed(disk, choose, known=moment.known, crashes=moment.crashes + 1)


def check_policies(machine):
    there = {it.name: as_text(it) for it in machine.vhost.policies}
    for name, may in machine.known.policies.items():
        assert there.get(name) in may, f"policy {name}: {there.get(name)} is none of {may}"
    assert there.keys() <= machine.known.policies.keys()
    topology = machine.vhost.topology
    for queue in machine.vhost.queues():
        counts = machine.vhost.policies.of_queue(queue.facts.name, "classic")
        assert queue.policy == counts
    last = "last" in there
    assert topology.alternate(b"amq.topic") == (b"amq.fanout" if last else None)


def check_law(moment, disk, choose):
    machine = opened(moment, disk, choose)
    check_policies(machine)
    machine.later(HOUR_MS * 2)  # what came with a limit is over now
    timeless = moment.known.timeless & {
        number for number, place in moment.known.places.items() if place.must
    }
    ready = {number for number, _ in machine.contents().get(b"qa", (0, []))[1]}
    assert timeless <= ready, f"{timeless - ready} had no end, and are gone"
    machine.set("again", "^qa", max_length=10_000)
    machine.run()
    last = Moment(machine.disk.freeze(), machine.known.copy(), machine.crashes)
    machine.crash()
    third = opened(last, last.disk.disk(frozenset()), choose)
    check_policies(third)
    assert "again" in third.vhost.policies.by_name
    third.crash()


@pytest.mark.parametrize("order", range(4 if LONG else 1))
def test_the_law_holds_whatever_a_power_cut_leaves(base, order):
    choose, states = random.Random(SEED + order), 0
    machine = Governed(StoreDisk(base), choose)
    set_changed_and_deleted(machine)
    machine.crash()
    assert any(len(may) > 1 for it in machine.moments for may in it.known.policies.values())
    for moment in some(machine.moments, choose, MOMENTS):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            check_law(moment, disk, choose)
            states += 1
    print(f"seed {SEED + order}: {states} states")
    assert states > 10


def test_messages_are_kept_through_changes_of_policies(base):
    """The law of queues, with policies that take nothing away."""
    choose = random.Random(SEED)
    machine = Governed(StoreDisk(base), choose)
    set_changed_and_deleted(machine)
    machine.crash()
    for moment in some(machine.moments, choose, MOMENTS // 2):
        for disk in moment.disk.survivors(choose, 2):
            again = opened(moment, disk, choose)
            check(again, moment)
            again.crash()


# Definitions


def definitions():
    def of(vhost):
        return {
            "exchanges": [
                {"name": "x", "vhost": vhost, "type": "topic"},
                {"name": "y", "vhost": vhost, "type": "headers"},
            ],
            "queues": [
                {"name": f"q{n}", "vhost": vhost, "arguments": {GENERATION: 1}} for n in range(3)
            ],
            "bindings": [
                {"source": "x", "vhost": vhost, "destination": "q0", "routing_key": "a.#",
                 "destination_type": "queue", "arguments": {"n": 1}},
                {"source": "x", "vhost": vhost, "destination": "y", "routing_key": "",
                 "destination_type": "exchange"},
            ],
            "policies": [
                {"name": "p", "vhost": vhost, "pattern": "^q", "definition": {"max-length": 5}},
            ],
        }  # fmt: skip

    both = [of(it) for it in ("/", "v")]
    found = {kind: [row for it in both for row in it[kind]] for kind in both[0]}
    return json.dumps({"vhosts": [{"name": "v"}], **found}).encode()


def carried(machine, steps):
    """What it comes to, done in slices."""
    found = []
    Slices(machine.turns.soon).begin(steps, found.append, at_once=0)
    machine.run(until=lambda: found)
    return found[0]


def imported(machine):
    access = open_access()
    plan = carried(machine, Planner(machine.queues, access, read(definitions())).steps())
    return carried(machine, carry_out(plan, machine.queues, access, OWNER))


def whole(machine):
    found = carried(machine, export(machine.queues, open_access(), "3.13.7"))
    return arranged(found).definitions


def test_definitions_that_were_being_imported_are_imported_again(base):
    choose, states = random.Random(SEED), 0
    machine = Machine(StoreDisk(base), choose)
    imported(machine)
    machine.run()
    wanted = whole(machine)
    counts = [len(wanted[it]) for it in ("queues", "exchanges", "bindings", "policies")]
    assert counts == [6, 4, 4, 2]
    machine.crash()
    for moment in some(machine.moments, choose, MOMENTS * 2):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            again = Machine(disk, choose)
            plan = imported(again)
            assert not isinstance(plan, Exception), plan
            again.run()
            assert whole(again) == wanted
            last = again.disk.freeze()
            again.crash()
            third = Machine(last.disk(frozenset()), choose)
            assert whole(third) == wanted
            third.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 10
