"""Kill a real server with SIGKILL while MQTT clients hand messages over with QoS 2.

    python -m tests.crash.kill_exact --rounds 100 [--seed 7]

One client publishes numbered messages, another is subscribed to them, and both do what the standard
says (4.3.3, 4.4): each remembers what it has not heard of, also while there is no server, and goes
on where it was. They lose their connections now and then, and answer late. In each round the server
is killed at a random moment; or, now and then, it is stopped when all is done, and its store is
opened and read:

    each message that was begun has come exactly once, in order; nothing is left of it in a queue
    or in the journal; and verify finds nothing damaged.
"""

import random
import signal
import time
from dataclasses import dataclass, field

import logstore
from logstore.mqtt import kinds, packets, reasons, writing
from tests.kit.killing import begin, check_undamaged
from tests.kit.mqtt_client import MqttLine
from tests.kit.serving import Serving

ROUNDS_OF_A_STORE = 25
STEPS_MOST = 30
EXTRA_S = 0.004
SIZE_MOST = 3000
PIDS = 60  # that the publisher uses: each again soon
WINDOW = 30
DEADLINE_S = 60
SETTINGS = {"queue_segment_bytes": 1 << 20, "queue_retention_ms": 0}
SENT, RECEIVED = "sent", "received"  # of a message, as its publisher knows it
TOPIC = b"t"
VERSIONS = [kinds.V311, kinds.V5]


@dataclass
class Publisher:
    """What it knows, whatever becomes of the server."""

    unacked: dict = field(default_factory=dict)  # packet id -> [number, how far it is]
    done: int = 0  # messages
    begun: int = 0
    last_pid: int = 0
    there: bool = False  # its session is known to be


@dataclass
class Subscriber:
    """The same."""

    got: list = field(default_factory=list)  # numbers, as they came
    held: set = field(default_factory=set)  # packet ids that are not released
    there: bool = False


@dataclass
class Totals:
    rounds: int = 0
    done: int = 0
    again: int = 0  # known messages that came again, to either side
    stops: int = 0  # where all was done

    def __str__(self):
        return (
            f"{self.rounds} rounds: {self.done} messages exactly once, {self.again} sent again, "
            f"{self.stops} stops"
        )


class Round:
    """One life of a server."""

    def __init__(self, server, choose, publisher, subscriber, totals):
        self.server, self.choose, self.totals = server, choose, totals
        self.publisher, self.subscriber = publisher, subscriber
        self.down = self.up = None
        self.late = []  # acknowledgements of the subscriber that are not sent
        self.subscriber_comes()
        self.publisher_comes()

    def run(self):
        steps = [self.publish] * 4 + [self.hear] * 3 + [self.answer] * 3
        steps += [self.subscriber_comes, self.publisher_comes]
        for _ in range(self.choose.randrange(3, STEPS_MOST)):
            self.choose.choice(steps)()

    # The publisher

    def publisher_comes(self):
        """It sends again what is not acknowledged, before anything else."""
        if self.up is not None:
            self.up.close()
        known = self.publisher
        self.up = MqttLine(self.server.mqtt, "p", version=self.choose.choice(VERSIONS))
        assert self.up.present or not known.there, "the publisher's session is lost"
        known.there = True
        self.totals.again += len(known.unacked)
        for pid, (number, state) in known.unacked.items():
            if state == SENT:
                self._send(pid, number, again=True)
            else:
                self.up.send(packets.Ack(kinds.PUBREL, pid))

    def _send(self, pid, number, *, again=False):
        body = b"%d|" % number + bytes(self.choose.randrange(SIZE_MOST))
        self.up.send(packets.Publish(TOPIC, body, 2, False, again, pid))

    def publish(self):
        known = self.publisher
        for _ in range(self.choose.randrange(1, 9)):
            pid = known.last_pid % PIDS + 1
            if pid in known.unacked:
                return
            known.last_pid = pid
            known.unacked[pid] = [known.begun, SENT]
            known.begun += 1
            self._send(pid, known.begun - 1)

    def _heard(self, *, lives=True):
        known, acks = self.publisher, self.up.acks
        for it in acks:
            if it.kind == kinds.PUBREC:
                assert it.reason < 0x80, it
                if it.pid in known.unacked:
                    known.unacked[it.pid][1] = RECEIVED
                if lives:
                    self.up.send(packets.Ack(kinds.PUBREL, it.pid))
            elif known.unacked.pop(it.pid, None) is not None:  # perhaps it was over: 0x92
                known.done += 1
        acks.clear()

    # The subscriber

    def subscriber_comes(self):
        if self.down is not None:
            self.down.close()
        known, self.late = self.subscriber, []
        version = self.choose.choice(VERSIONS)
        self.down = MqttLine(self.server.mqtt, "s", version=version, window=WINDOW)
        assert self.down.present or not known.there, "the subscriber's session is lost"
        if not known.there:
            assert self.down.subscribe(TOPIC, 2) == b"\2"
            known.there = True

    def _takes(self):
        known = self.subscriber
        for it in self.down.published:
            assert it.qos == 2, it
            if it.pid in known.held:
                self.totals.again += 1
            else:
                known.held.add(it.pid)
                known.got.append(int(it.payload.split(b"|")[0]))
            self.late.append((kinds.PUBREC, it.pid))
        for it in self.down.acks:
            assert it.kind == kinds.PUBREL, it
            assert it.reason == 0, f"{it.pid} was sent, and its PUBREC is of nothing known"
            known.held.discard(it.pid)
            self.late.append((kinds.PUBCOMP, it.pid))
        self.down.published.clear()
        self.down.acks.clear()

    def answer(self, most=20):
        """Some of what it has had."""
        count = self.choose.randrange(most)
        now, self.late = self.late[:count], self.late[count:]
        self.down.send_raw(b"".join(writing.acks(kind, [pid]) for kind, pid in now))

    def hear(self):
        """What has come to both."""
        self.up.ping()
        self._heard()
        self.down.ping()
        self._takes()

    # Its end

    def drain(self):
        """What the server had sent before it was killed."""
        _drain(self.up)
        self._heard(lives=False)
        _drain(self.down)
        self._takes()

    def finish(self):
        """Until all that was begun is done."""
        deadline = time.monotonic() + DEADLINE_S
        while self.publisher.unacked or len(self.subscriber.got) < self.publisher.begun \
                or self.subscriber.held or self.late:  # fmt: skip
            assert time.monotonic() < deadline, f"it does not end: {self.publisher}"
            self.hear()
            self.answer(1000)
        self.down.ping()


def _drain(line):
    try:
        while not isinstance(packet := line.read(), packets.Disconnect):
            line.keep(packet)
        assert packet.reason == reasons.SHUTTING_DOWN, packet
    except (EOFError, OSError):
        pass
    line.close()


def killed(path, choose, publisher, subscriber, totals, *, finish):
    often = choose.random() < 0.5
    server = Serving(
        path, resp_port=-1, mqtt_port=0, upkeep_interval_ms=50 if often else -1, **SETTINGS
    )
    code = errors = None
    try:
        one = Round(server, choose, publisher, subscriber, totals)
        one.run()
        if finish:
            one.finish()
        else:
            for step in choose.sample([one.publish, one.answer, one.publish, one.hear], 3):
                step()  # of which nothing is waited for
            time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
    finally:
        calm = choose.random() < 0.3
        code, errors = server.stop(signal.SIGTERM if calm else signal.SIGKILL)
    assert code == (0 if calm else -signal.SIGKILL), errors
    assert "Traceback" not in errors, errors
    one.drain()
    got = subscriber.got
    assert got == sorted(set(got)), f"out of order, or twice: {got[-50:]}"


def check(path, publisher, subscriber):
    """All is done: each has come once, and nothing is left."""
    assert subscriber.got == list(range(publisher.begun)), "lost"
    assert publisher.done == publisher.begun
    with logstore.open(path) as store:
        assert store.queue("mqtt-subscription-sqos1").get() is None
        check_undamaged(store)
    subscriber.got = []
    publisher.begun = publisher.done = 0


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, totals = random.Random(seed), Totals()
    publisher, subscriber = Publisher(), Subscriber()
    for number in range(rounds):
        finish = number == rounds - 1 or choose.random() < 0.2
        try:
            killed(path, choose, publisher, subscriber, totals, finish=finish)
            if finish:
                totals.done += publisher.done
                totals.stops += 1
                check(path, publisher, subscriber)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 100, ROUNDS_OF_A_STORE)
