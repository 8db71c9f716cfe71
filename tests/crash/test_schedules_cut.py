"""The crash law of what waits for its time, whatever a power cut leaves:

a confirmed message waits, or is where it goes, once, and never both; none comes before its time;
what was cancelled, durably, never comes.
"""

import random

import pytest
from clock import NOW_MS
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import GENERATION, Machine
from lossy_store import CONFIG, StoreDisk
from queue_parts import props

import logstore
from logstore import deliveries
from logstore.broker.queues import waiting
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts

pytestmark = pytest.mark.long

SEED = 20130101
SURVIVORS = max(3, SURVIVORS_MOST // 400)
MOMENTS = 10  # of each history, in the default run
ORDERS = 2


class Promised:
    """What whoever used it knows: of each number, when it is due, and whether it is confirmed."""

    def __init__(self):
        self.places = {}  # what ``Machine`` looks at
        self.may = {}
        self.now_ms = NOW_MS
        self.due = {}
        self.confirmed = frozenset()
        self.cancelled = frozenset()  # durably
        self.cancelling = frozenset()

    def copy(self):
        new = Promised()
        new.now_ms, new.due = self.now_ms, dict(self.due)
        new.confirmed, new.cancelled = self.confirmed, self.cancelled
        new.cancelling = self.cancelling
        return new


class Delaying(Machine):
    """A machine with one exchange where messages wait, and a queue behind it."""

    def __init__(self, disk, choose, *, lax=False, known=None):
        super().__init__(disk, choose, lax=lax, known=Promised() if known is None else known)
        self.numbers = max(self.known.due, default=-1) + 1

    def made(self):
        facts = ExchangeFacts(
            b"later", "x-delayed-message", arguments=arguments_of({"x-delayed-type": "fanout"})
        )
        pending = self.vhost.declare_exchange(facts)
        self.run()
        assert pending is None or pending.error is None
        if self.vhost.topology.queue(b"q") is None:
            arguments = arguments_of({GENERATION: 1})
            self.vhost.declare_queue(QueueFacts(b"q", True, False, False, arguments), None)
        self.vhost.bind(Binding(b"later", b"q", b""))
        self.run()

    @property
    def station(self):
        return self.vhost.topology.station(b"later")

    def delayed(self, *delays):
        numbers = range(self.numbers, self.numbers + len(delays))
        self.numbers += len(delays)
        run = []
        for number, delay in zip(numbers, delays, strict=True):
            self.known.due[number] = self.now_ms + delay
            message = Message(b"later", b"k", props({"x-delay": delay}), b"%d" % number)
            run.append((self.vhost.route(message), message))
        published = self.vhost.publish(run)
        published.waiting.watch(lambda: self.calls.append(self._look))

        def confirmed():
            assert published.waiting.failed is None
            self.known.confirmed |= set(numbers)

        self._begin(published.waiting.settled, confirmed)

    def cancel(self, number):
        found = waited(self)
        if number not in found:
            return
        self.known.cancelling |= {number}
        told = []
        waiting.cancel(self.station, found[number], told.append)

        def done():
            if told[0] is None:
                self.known.cancelled |= {number}

        self._begin(lambda: told, done)


def waited(machine):
    """number -> offset, of what waits."""
    found = []
    waiting.listed(machine.station, None, 1000, found.append)
    machine.run(until=lambda: found)
    machine.run()
    return {int(it.record.value): it.offset for it in found[0]}


def some_come_and_some_wait(machine):
    machine.made()
    machine.delayed(1000, 5000, 1000)
    machine.some()
    machine.delayed(3000)
    machine.run()
    machine.later(1000)
    machine.some()
    machine.delayed(1000, 1000, 60_000)
    machine.run()
    machine.later(2500)
    machine.run()
    machine.later(3000)
    machine.some()
    machine.idle()


def some_are_cancelled(machine):
    machine.made()
    machine.delayed(1000, 2000, 3000, 4000)
    machine.run()
    machine.cancel(1)
    machine.some()
    machine.later(2500)
    machine.cancel(2)
    machine.cancel(3)
    machine.run()
    machine.later(3000)
    machine.run()


def stopped_and_begun_again(machine):
    machine.made()
    machine.delayed(1000, 9000, 9000)
    machine.run()
    machine.later(2500)
    machine.run()
    machine.again()
    machine.delayed(500)
    machine.later(1000)
    machine.some()
    machine.again()
    machine.later(9000)
    machine.run()


HISTORIES = [some_come_and_some_wait, some_are_cancelled, stopped_and_begun_again]


def check(moment, disk, choose, now_ms):
    machine = Delaying(disk, choose, known=moment.known)
    machine.now_ms = now_ms
    known = moment.known
    if b"later" not in [it.name for it in machine.vhost.topology.exchanges()] or (
        machine.vhost.topology.queue(b"q") is None
    ):
        assert not known.confirmed
        machine.crash()
        return
    machine.run()
    there, came = waited(machine), machine.taken(b"q")
    assert len(came) == len(set(came)), f"twice: {came}"
    assert not set(came) & set(there), f"{came} came, and wait: {there}"
    for number in came:
        assert known.due[number] <= now_ms, f"{number} came before its time"
        assert number not in known.cancelled, f"{number} came, and was cancelled"
    assert not set(there) & known.cancelled
    bound = any(machine.vhost.topology.bindings_from(b"later"))
    for number in known.confirmed - known.cancelling:
        assert number in came or number in there or not bound, f"{number} is lost"
    machine.made()
    machine.later(100_000)
    machine.run()
    machine.later(1000)
    machine.run()
    rest = machine.taken(b"q")
    assert sorted(rest) == sorted(there), "what waited has not come, or more has"
    machine.crash()


@pytest.mark.parametrize("history", HISTORIES)
def test_messages_that_wait_are_here_or_there_whatever_a_power_cut_leaves(base, history):
    choose, states = random.Random(SEED), 0
    for _ in range(ORDERS):
        machine = Delaying(StoreDisk(base), choose)
        times = {}
        picture = machine.picture

        def pictured(machine=machine, picture=picture, times=times):
            picture()
            times[len(machine.moments) - 1] = machine.now_ms

        machine.disk.changed = pictured
        history(machine)
        machine.crash()
        numbers = {id(it): n for n, it in enumerate(machine.moments)}
        for moment in some(machine.moments, choose, MOMENTS):
            now_ms = times.get(numbers[id(moment)], machine.now_ms)
            for disk in moment.disk.survivors(choose, SURVIVORS):
                check(moment, disk, choose, now_ms)
                states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40


# Records of topics


class Scheduling:
    """A store with a scheduled topic; what its thread does is done here, a step at a time."""

    def __init__(self, disk, clock, known=None):
        self.disk = disk.mount()
        self.moments, self.clock = [], clock
        self.confirmed = set() if known is None else set(known)
        disk.changed = self.picture
        self.store = logstore.open(
            f"{self.disk.base}/new/data", disk=self.disk, config=CONFIG, clock=lambda: clock[0]
        )
        if "orders" not in self.store.topics():
            assert not self.confirmed
            self.store.create_topic("orders", 1, {"delivery.schedule": "true"})
        if self.store._deliveries is None:
            self.store._deliver()
        self.it = self.store._deliveries

    def picture(self):
        self.moments.append((self.disk.freeze(), frozenset(self.confirmed), self.clock[0]))

    def append(self, *numbers_and_delays):
        companion = self.store.topic("orders.delayed")
        for number, delay in numbers_and_delays:
            companion.append(b"%d" % number, headers={"x-delay": b"%d" % delay})
            self.confirmed.add(number)
            self.picture()

    def later(self, ms):
        self.clock[0] += ms
        self.rounds()

    def rounds(self):
        if self.it._changed:
            self.it._changed = False
            self.it._find()
        for served in self.it._served.values():
            served.news = True
        while self.it._round():
            pass
        self.it._trim()

    def crash(self):
        self.disk.changed = lambda: None
        directory = self.store._directory
        for served in self.it._served.values():
            served.stop()
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()


@pytest.fixture
def by_hand(monkeypatch):
    monkeypatch.setattr(deliveries.Deliveries, "_start", lambda self: None)


def records_come(it):
    it.append((0, 1000), (1, 5000), (2, 1000))
    it.later(0)
    it.append((3, 100))
    it.later(1000)
    it.append((4, 3000), (5, 1))
    it.later(4000)
    it.append((6, 60_000))
    it.later(4000)


def test_records_that_wait_come_once_whatever_a_power_cut_leaves(base, by_hand):
    choose, states = random.Random(SEED), 0
    it = Scheduling(StoreDisk(base), [NOW_MS])
    records_come(it)
    it.crash()
    for frozen, confirmed, now_ms in some(it.moments, choose, 40):
        for disk in frozen.survivors(choose, SURVIVORS):
            again = Scheduling(disk, [now_ms], confirmed)
            again.rounds()
            came = [int(r.value) for r in again.store.consumer("orders")]
            assert len(came) == len(set(came)), f"twice: {came}"
            waits = [int(r.record.value) for r in again.store.scheduled("orders")]
            assert not set(came) & set(waits)
            assert confirmed <= {*came, *waits}, "some are lost"
            again.later(100_000)
            now = [int(r.value) for r in again.store.consumer("orders")]
            assert sorted(now) == sorted({*came, *waits})
            again.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 40
