"""Kill a real server with SIGKILL while MQTT clients are at it, and check what waits for them.

    python -m tests.crash.kill_mqtt --rounds 100 [--seed 7]

In each round a client publishes numbered messages with QoS 1; another one, whose session lasts,
acknowledges some, and loses its connection now and then; a third one begins a new session each
time. Then the server is killed at a random moment, and the store is opened and read:

    what was acknowledged to the publisher waits for whoever had subscribed, until it has been
    acknowledged in turn, in order; the sessions are there, with what they had subscribed to; a new
    session has nothing of those before it; what comes again on another connection comes first, in
    order, with its packet identifiers; and verify finds nothing damaged.
"""

import random
import signal
import time
from dataclasses import dataclass, field

import logstore
from logstore.storage import mqtt
from tests.kit.killing import begin, check_undamaged
from tests.kit.mqtt_client import MqttLine
from tests.kit.serving import Serving

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 30
EXTRA_S = 0.004
SIZE_MOST = 30_000
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}
OLD, NEW = "old", "new"  # clients: the session of the first lasts for ever
FILTERS = {OLD: b"old/#", NEW: b"#"}


@dataclass
class Its:
    """What one client has, or may have, by number."""

    may: set = field(default_factory=set)
    must: set = field(default_factory=set)
    acked: set = field(default_factory=set)  # by it, in this life of the server
    out: dict = field(default_factory=dict)  # packet id -> number, of its connection
    line: MqttLine | None = None
    there: bool = False  # its session is known to be


@dataclass
class Totals:
    rounds: int = 0
    safe: int = 0  # acknowledged to the publisher
    acked: int = 0  # by subscribers
    again: int = 0  # come on another connection
    left: int = 0

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.safe} acknowledged to the publisher, {self.acked} by "
            f"subscribers, {self.again} sent again, {self.left} left"
        )


class Round:
    """One life of a server."""

    def __init__(self, server, choose, clients, numbers, totals):
        self.server, self.choose, self.totals = server, choose, totals
        self.clients, self.numbers = clients, numbers
        self.publisher = MqttLine(server.mqtt, "p", expiry_s=0, clean=True)
        self.sent = {}  # packet id -> number, not acknowledged
        self.come(OLD)
        self.anew()

    def run(self):
        steps = [self.publish] * 4 + [self.hear] * 3 + [self.acknowledge] * 3
        steps += [self.lose, self.lose, self.anew]
        for _ in range(self.choose.randrange(3, STEPS_MOST)):
            self.choose.choice(steps)()

    def publish(self):
        count = self.choose.randrange(1, 9)
        first = len(self.numbers)
        topic = self.choose.choice([b"old/1", b"old", b"other"])
        bodies = []
        for number in range(first, first + count):
            self.numbers.append(topic)
            bodies.append(b"%d|" % number + bytes(self.choose.randrange(SIZE_MOST)))
            for name, its in self.clients.items():
                if name == NEW or topic != b"other":
                    its.may.add(number)
        self.sent.update(zip(self.publisher.publish(topic, *bodies), range(first, first + count),
                             strict=True))  # fmt: skip

    def hear(self):
        """What has come."""
        self.publisher.ping()
        self.heard()
        for name in (OLD, NEW):
            self.clients[name].line.ping()
            self.take(name)

    def heard(self):
        for it in self.publisher.acks:
            number = self.sent.pop(it.pid)
            self.totals.safe += 1
            for its in self.clients.values():
                if number in its.may and number not in its.acked:
                    its.must.add(number)
        self.publisher.acks.clear()

    def take(self, name):
        its = self.clients[name]
        for it in its.line.published:
            number = int(it.payload.split(b"|")[0])
            assert number in its.may, f"{name} has {number}, which is not for it"
            assert its.out.get(it.pid) in (None, number), f"packet id {it.pid} is in use"
            its.out[it.pid] = number
        its.line.published.clear()

    def acknowledge(self):
        its = self.clients[self.choose.choice([OLD, NEW])]
        those = self.choose.sample(sorted(its.out), min(len(its.out), self.choose.randrange(1, 9)))
        for pid in those:
            number = its.out.pop(pid)
            its.must.discard(number)
            its.acked.add(number)
        self.totals.acked += len(those)
        if those:
            its.line.puback(*those)

    def come(self, name):
        its = self.clients[name]
        its.line = MqttLine(self.server.mqtt, name, window=65_535)
        if its.there:
            assert its.line.present, f"the session of {name} is lost"
        if not its.there:
            assert its.line.subscribe(FILTERS[name]) == b"\1"
            its.there = True

    def anew(self):
        """A new session, of which an earlier one has nothing."""
        its = self.clients[NEW]
        if its.line is not None:
            its.line.close()
        its.may, its.must, its.acked, its.out, its.there = set(), set(), set(), {}, False
        its.line = MqttLine(self.server.mqtt, NEW, clean=True, window=65_535)
        assert not its.line.present
        self.hear_publisher()
        assert its.line.subscribe(FILTERS[NEW]) == b"\1"
        its.there = True

    def hear_publisher(self):
        """All that was sent so far is published, so that a new session has none of it."""
        self.publisher.ping()
        self.heard()
        while self.sent:
            self.publisher.keep(self.publisher.read())
            self.heard()

    def lose(self):
        """The connection; what was not acknowledged comes first on the next one."""
        its = self.clients[OLD]
        its.line.ping()
        self.take(OLD)
        expected, its.out = its.out, {}
        its.line.close()
        its.line = MqttLine(self.server.mqtt, OLD, window=65_535)
        assert its.line.present
        while len(its.line.published) < len(expected):
            its.line.keep(its.line.read())
        found = [
            (it.pid, int(it.payload.split(b"|")[0])) for it in its.line.published[: len(expected)]
        ]
        assert sorted(found) == sorted(expected.items()), f"{found}, not {expected}"
        assert [number for _, number in found] == sorted(expected.values())
        assert all(it.dup for it in its.line.published[: len(expected)])
        self.totals.again += len(found)
        self.take(OLD)

    def drain(self):
        """What the server had sent before it was killed."""
        self.publisher.drain()
        self.heard()
        for its in self.clients.values():
            its.line.close()
            its.line, its.out = None, {}


def killed(path, choose, clients, numbers, totals):
    often = choose.random() < 0.5
    server = Serving(
        path, resp_port=-1, mqtt_port=0, upkeep_interval_ms=50 if often else -1, **SETTINGS
    )
    try:
        one = Round(server, choose, clients, numbers, totals)
        one.run()
        for step in choose.sample([one.publish, one.acknowledge, one.publish], 2):
            step()  # of which nothing is waited for
        time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    assert "Traceback" not in errors, errors
    one.drain()


def contents(path):
    """Of each client what waits for it, by number, and what it has subscribed to."""
    with logstore.open(path) as store:
        kept = mqtt.load(store.internals().groups.environment)
        assert not kept.damaged
        found = {}
        for session in kept.sessions:
            filters = {it.filter for it in kept.subscriptions if it.session == session.id}
            numbers, queue = [], store.queue(f"mqtt-subscription-{session.client}qos1")
            while (message := queue.get()) is not None:
                numbers.append(int(message.body.split(b"|")[0]))
            found[session.client] = filters, numbers
        check_undamaged(store)
    return found


def check(clients, found):
    """The law; from then on what is there is what is known."""
    for name, its in clients.items():
        assert name in found, f"the session of {name} is lost"
        filters, numbers = found[name]
        assert filters == {FILTERS[name]}
        assert numbers == sorted(set(numbers)), f"{name}: not in order, or twice: {numbers}"
        lost = its.must - set(numbers)
        assert not lost, f"{name}: lost: {sorted(lost)}"
        assert set(numbers) <= its.may, f"{name}: {set(numbers) - its.may} is not for it"
        its.may, its.must, its.acked = set(numbers), set(numbers), set()


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, totals, numbers = random.Random(seed), Totals(), []
    clients = {OLD: Its(), NEW: Its()}
    for number in range(rounds):
        try:
            killed(path, choose, clients, numbers, totals)
            found = contents(path)
            check(clients, found)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
        totals.left = sum(len(its) for _, its in found.values())
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
