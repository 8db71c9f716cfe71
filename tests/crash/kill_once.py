"""Kill a real server with SIGKILL while messages with ids are sent again and again, by two doors.

    python -m tests.crash.kill_once --rounds 50 [--seed 7]

A client publishes messages with confirms, many of them more than once, to an exchange that sends
each on once and to a queue that keeps repeats out, and records to such a topic; in a part of the
rounds consumers acknowledge some of the queue. It is not waited for most of it. After a random
number of such steps and a random fraction of a moment the server is killed. Then the store is
opened and read:

    what was confirmed is there; nothing is there twice; both queues of the exchange have the same;
    and at the end, once all was sent again to a server that lives, each id is everywhere once.
"""

import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import Producer

import logstore
from logstore.amqp import methods
from logstore.amqp.properties import Properties
from tests.kit.amqp_wire import Line
from tests.kit.killing import begin, check_undamaged
from tests.kit.serving import Serving

STEPS_MOST = 30
EXTRA_S = 0.004  # and then at most so long until the server is killed
DEADLINE_S = 60
EXCHANGE, BOUND, QUEUE, TOPIC = "x", ("a", "b"), "once", "payments"
PLACES = (EXCHANGE, QUEUE, TOPIC)
HEADER = "x-deduplication-header"
SETTINGS = {"queue_segment_bytes": 1 << 20, "recovery_bytes": 1 << 16}


@dataclass
class Known:
    """What was sent where, and what of it was confirmed: ids."""

    sent: dict = field(default_factory=lambda: {it: set() for it in PLACES})
    confirmed: dict = field(default_factory=lambda: {it: set() for it in PLACES})


@dataclass
class Totals:
    rounds: int = 0
    confirmed: int = 0
    repeats: int = 0  # sent again

    def __str__(self):
        return f"{self.rounds} rounds: {self.confirmed} ids confirmed, {self.repeats} sent again"


def prepare(path):
    with logstore.open(path) as store:
        store.create_topic(TOPIC, settings={"deduplication.header": HEADER})
        for name in BOUND:
            store.queue(name)
        store.queue(QUEUE, arguments={"x-message-deduplication": True, "x-cache-ttl": 86_400_000})
        exchange = store.exchange(
            EXCHANGE, "x-message-deduplication", arguments={"x-cache-size": 1_000_000}
        )
        for name in BOUND:
            store.queue(name).bind(exchange)


class Round:
    """One life of a server."""

    def __init__(self, server, choose, known, totals):
        self.line = Line(server.amqp, channels=(1,))
        self.producer = Producer({
            "bootstrap.servers": server.address, "linger.ms": 1, "log_level": 0,
            "message.timeout.ms": 1000 * DEADLINE_S,
        })  # fmt: skip
        self.choose, self.known, self.totals = choose, known, totals
        self.tags = []  # (place, id) of each tag
        self.line.tell(1, methods.ConfirmSelect(False))

    def pick(self, place):
        """A new id, or one that was sent."""
        sent = self.known.sent[place]
        it = self.choose.randrange(len(sent)) if sent and self.choose.random() < 0.5 else len(sent)
        self.totals.repeats += it in sent
        sent.add(it)
        return it

    def step(self):
        place = self.choose.choice(PLACES)
        for _ in range(self.choose.randrange(1, 9)):
            self.send(place, self.pick(place))

    def send(self, place, it):
        body = b"%d|" % it + bytes(self.choose.randrange(2000))
        if place == TOPIC:
            self.producer.produce(
                TOPIC, body, headers=[(HEADER, b"%d" % it)],
                on_delivery=lambda error, _: error or self.known.confirmed[TOPIC].add(it),
            )  # fmt: skip
            self.producer.poll(0)
            return
        properties = Properties(headers={HEADER: it}, delivery_mode=2)
        exchange, key = (EXCHANGE, "") if place == EXCHANGE else ("", QUEUE)
        self.line.tell(1, methods.BasicPublish(0, exchange, key, False, False), properties, body)
        self.tags.append((place, it))

    def hear(self):
        for tag, taken in self.line.channels[1].confirms.items():
            place, it = self.tags[tag - 1]
            if taken:
                self.known.confirmed[place].add(it)

    def drain(self):
        """What the server had sent before it was killed."""
        with suppress(AssertionError, OSError):  # that is its end
            while True:
                self.line._file(*self.line._frame())
        self.hear()
        self.line.end()
        self.producer.purge()
        self.producer.poll(0)

    def finish(self):
        """All confirms."""
        assert self.producer.flush(DEADLINE_S) == 0
        while len(self.line.channels[1].confirms) < len(self.tags):
            self.line._file(*self.line._frame())
        self.hear()
        self.line.end()


def serving(path, choose):
    often = choose.random() < 0.5
    return Serving(
        path, resp_port=-1, amqp_port=0, upkeep_interval_ms=50 if often else -1, **SETTINGS
    )


def killed(path, choose, known, totals):
    """A server, used and killed."""
    server = serving(path, choose)
    one = Round(server, choose, known, totals)
    try:
        for _ in range(choose.randrange(3, STEPS_MOST)):
            one.step()
        time.sleep(choose.uniform(0, EXTRA_S))  # the random moment itself
    finally:
        code, errors = server.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL, errors
    one.drain()


def contents(path):
    """Of each place the ids that it has, as they stand there."""
    with logstore.open(path) as store:
        found = {}
        for name in (*BOUND, QUEUE):
            found[name] = []
            while (message := store.queue(name).get()) is not None:
                found[name].append(int(message.body.split(b"|")[0]))
        with store.consumer(TOPIC, start="earliest") as consumer:
            found[TOPIC] = []
            while some := consumer.poll(1000):
                found[TOPIC] += [int(it.value.split(b"|")[0]) for it in some]
        check_undamaged(store)
    return found


def check(known, found):
    """The law."""
    for name, ids in found.items():
        twice = sorted({it for it in ids if ids.count(it) > 1})
        assert not twice, f"{name} has {twice} more than once"
    first, second = (set(found[name]) for name in BOUND)
    assert first == second, f"one queue has {first ^ second}, and the other has not"
    there = {EXCHANGE: first, QUEUE: set(found[QUEUE]), TOPIC: set(found[TOPIC])}
    for place in PLACES:
        lost = known.confirmed[place] - there[place]
        assert not lost, f"{sorted(lost)} sent to {place} are lost"
        assert there[place] <= known.sent[place]


def run(rounds, seed, path):
    """All the rounds. Raises AssertionError when the law is broken; the seed tells which."""
    choose, known, totals = random.Random(seed), Known(), Totals()
    prepare(path)
    for number in range(rounds):
        try:
            killed(path, choose, known, totals)
            check(known, contents(path))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, in round {number}: {error}") from error
        totals.rounds += 1
    server = serving(path, choose)
    last = Round(server, choose, known, totals)
    for place in PLACES:
        for it in sorted(known.sent[place]):
            last.send(place, it)
    last.finish()
    server.stop()
    found = contents(path)
    check(known, found)
    for place, names in ((EXCHANGE, BOUND), (QUEUE, (QUEUE,)), (TOPIC, (TOPIC,))):
        for name in names:
            assert set(found[name]) == known.sent[place], f"seed {seed}: {name} lacks some"
    totals.confirmed = sum(map(len, known.confirmed.values()))
    return totals


if __name__ == "__main__":
    begin(__doc__, run, 50)
